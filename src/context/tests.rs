//! The one encoding, its limits, and what a reader may demand.

use super::*;

#[test]
fn the_empty_context_is_two_zero_bytes() {
    assert_eq!(EncryptionContext::new().full().unwrap().as_bytes(), [0, 0]);
    assert_eq!(FullContext::empty().as_bytes(), [0, 0]);
    assert_eq!(EncryptionContext::new().full().unwrap(), FullContext::empty());
    assert_eq!(FullContext::empty().entries().count(), 0);
}

#[test]
fn entries_are_encoded_in_order_of_their_names_stored_and_withheld_together() {
    let context = EncryptionContext::new().with("tenant", "42").withhold("b", "").with("ä", "ß");
    let full = context.full().unwrap();
    assert_eq!(
        full.as_bytes(),
        b"\x00\x03\x00\x01b\x00\x00\x00\x06tenant\x00\x0242\x00\x02\xC3\xA4\x00\x02\xC3\x9F"
    );
    assert_eq!(full.entries().collect::<Vec<_>>(), [("b", ""), ("tenant", "42"), ("ä", "ß")]);
    for (name, value) in full.entries() {
        assert_eq!(full.value(name), Some(value));
    }
    assert_eq!((full.value("42"), full.value("c"), FullContext::empty().value("b")), (None, None, None));
}

#[test]
fn names_are_ordered_by_bytes_and_not_by_alphabet() {
    let context =
        EncryptionContext::new().with("a", "").with("Z", "").with("é", "").with("aa", "").with("0", "");
    let full = context.full().unwrap();
    let names: Vec<&str> = full.entries().map(|(name, _)| name).collect();
    assert_eq!(names, ["0", "Z", "a", "aa", "é"]);
}

#[test]
fn a_context_is_empty_until_it_has_an_entry_stored_or_withheld() {
    assert!(EncryptionContext::new().is_empty());
    assert!(!EncryptionContext::new().with("a", "").is_empty());
    assert!(!EncryptionContext::new().withhold("a", "").is_empty());
}

#[test]
fn a_later_entry_of_the_same_name_replaces_the_earlier() {
    let context = EncryptionContext::new().with("a", "1").withhold("a", "2");
    assert_eq!(context.get("a"), Some("2"));
    assert_eq!(context.iter().collect::<Vec<_>>(), [("a", "2", true)]);
    assert_eq!(context.stored().len(), 0);
    assert_eq!(context.withheld(), ["a"]);
}

#[test]
fn an_empty_name_is_refused_and_an_empty_value_is_not() {
    assert_eq!(EncryptionContext::new().with("", "x").full(), Err(ContextError::EmptyName));
    assert_eq!(EncryptionContext::new().withhold("", "x").full(), Err(ContextError::EmptyName));
    assert!(EncryptionContext::new().with("x", "").full().is_ok());
}

#[test]
fn sixty_four_entries_fit_and_sixty_five_do_not() {
    let context = |count: usize| {
        (0..count).fold(EncryptionContext::new(), |context, index| {
            if index % 2 == 0 {
                context.with(format!("{index}"), "")
            } else {
                context.withhold(format!("{index}"), "")
            }
        })
    };
    assert_eq!(context(64).full().unwrap().entries().count(), 64);
    assert_eq!(context(65).full(), Err(ContextError::TooManyEntries));
}

#[test]
fn eight_kibibytes_fit_and_one_byte_more_does_not() {
    let context = |len: usize| EncryptionContext::new().with("a", "x".repeat(len - 7));
    assert_eq!(context(MAX_ENCODED_LEN).full().unwrap().as_bytes().len(), 8192);
    assert_eq!(context(MAX_ENCODED_LEN + 1).full(), Err(ContextError::TooLong));
    let withheld = EncryptionContext::new().with("a", "x".repeat(5000)).withhold("b", "x".repeat(5000));
    assert_eq!(withheld.full(), Err(ContextError::TooLong));
    // Longer than a length of two bytes can say.
    assert_eq!(EncryptionContext::new().with("a", "x".repeat(65_536)).full(), Err(ContextError::TooLong));
}

#[test]
fn a_reader_may_give_all_some_or_no_stored_entries() {
    let written = EncryptionContext::new().with("a", "1").with("b", "2");
    let bound = written.full().unwrap();
    for demanded in [
        EncryptionContext::new(),
        EncryptionContext::new().with("b", "2"),
        EncryptionContext::new().withhold("b", "2"),
        written.clone(),
    ] {
        assert_eq!(demanded.complete(&written.stored(), &[]), Some(bound.clone()), "{demanded:?}");
    }
}

#[test]
fn a_reader_supplies_withheld_values_either_way() {
    let written = EncryptionContext::new().with("a", "1").withhold("b", "2");
    let (stored, withheld) = (written.stored(), written.withheld());
    let bound = written.full().ok();
    assert_eq!(EncryptionContext::new().with("b", "2").complete(&stored, &withheld), bound);
    assert_eq!(EncryptionContext::new().withhold("b", "2").complete(&stored, &withheld), bound);
    let other = EncryptionContext::new().with("b", "3").complete(&stored, &withheld);
    assert!(other.is_some() && other != bound, "another value is another context");
}

#[test]
fn a_contradicting_superfluous_or_missing_entry_completes_nothing() {
    let written = EncryptionContext::new().with("a", "1").withhold("b", "2");
    let (stored, withheld) = (written.stored(), written.withheld());
    for demanded in [
        EncryptionContext::new(),
        EncryptionContext::new().with("a", "1"),
        EncryptionContext::new().with("a", "2").with("b", "2"),
        EncryptionContext::new().with("a", "1").with("b", "2").with("c", "3"),
        EncryptionContext::new().with("A", "1").with("b", "2"),
    ] {
        assert_eq!(demanded.complete(&stored, &withheld), None, "{demanded:?}");
    }
}

#[test]
fn debug_shows_no_withheld_value() {
    let context = EncryptionContext::new().with("tenant", "42").withhold("patient", "CANARY");
    assert_eq!(format!("{context:?}"), r#"{"patient": "(withheld)", "tenant": "42"}"#);
    assert_eq!(format!("{:?}", context.full().unwrap()), "FullContext(31 bytes)");
}
