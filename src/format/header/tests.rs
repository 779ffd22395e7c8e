//! Every limit and every refusal of a header, each with its exact error.

#![allow(clippy::cast_possible_truncation, reason = "small numbers of a test")]

use super::*;

/// A header written byte by byte, so that each byte can be made wrong.
struct Raw {
    magic: Vec<u8>,
    version: u8,
    suite: u16,
    flags: u8,
    body_len: Option<u32>,
    stored: Vec<u8>,
    withheld: Vec<u8>,
    threshold: u8,
    recipient_count: Option<u8>,
    recipients: Vec<Vec<u8>>,
    padding: Vec<u8>,
}

impl Raw {
    fn new() -> Self {
        Self {
            magic: MAGIC.into(),
            version: 1,
            suite: 1,
            flags: 0,
            body_len: None,
            stored: entries(&[("purpose", "backup"), ("tenant", "42")]),
            withheld: names(&["patient"]),
            threshold: 1,
            recipient_count: None,
            recipients: vec![recipient("memory:alpha", "1", "XAES-256-GCM", &[7; 72])],
            padding: Vec::new(),
        }
    }

    fn body(&self) -> Vec<u8> {
        let mut body = vec![0xA5; 16];
        body.extend(3_u32.to_be_bytes());
        body.extend(&self.stored);
        body.extend(&self.withheld);
        body.push(self.threshold);
        body.push(self.recipient_count.unwrap_or(self.recipients.len() as u8));
        body.extend(self.recipients.concat());
        body.extend(&self.padding);
        body
    }

    fn bytes(&self) -> Vec<u8> {
        let body = self.body();
        let mut bytes = self.magic.clone();
        bytes.push(self.version);
        bytes.extend(self.suite.to_be_bytes());
        bytes.push(self.flags);
        bytes.extend(self.body_len.unwrap_or(body.len() as u32).to_be_bytes());
        bytes.extend(body);
        bytes.extend([0xEE; MAC_LEN]);
        bytes
    }

    fn parse(&self) -> Result<Header, FormatError> {
        Header::parse_exact(&self.bytes())
    }

    #[track_caller]
    fn refused(&self, error: FormatError) {
        assert_eq!(self.parse(), Err(error));
    }
}

#[test]
fn a_header_reads_as_it_was_written_and_writes_as_it_was_read() {
    for (flags, kind) in [(0, Kind::Attached), (1, Kind::Detached), (2, Kind::DataKey)] {
        let raw = Raw { flags, padding: vec![0; 9], ..Raw::new() };
        let bytes = raw.bytes();
        let (header, len) = Header::parse(&[bytes.as_slice(), b"payload"].concat()).unwrap();
        assert_eq!((header.len(), len), (bytes.len(), bytes.len()));
        assert_eq!(header.to_bytes(), bytes);
        assert_eq!(header.suite(), Suite::V1);
        assert_eq!(header.kind(), kind);
        assert_eq!(header.envelope_id(), &[0xA5; 16]);
        assert_eq!(header.generation(), 3);
        assert_eq!(
            header.stored_context().iter().map(|(k, v)| (k.as_str(), v.as_str())).collect::<Vec<_>>(),
            [("purpose", "backup"), ("tenant", "42")]
        );
        assert_eq!(header.withheld(), ["patient"]);
        assert_eq!(header.padding(), 9);
        let [recipient] = header.recipients() else { panic!("one recipient") };
        assert_eq!(recipient.key_uri().as_str(), "memory:alpha");
        assert_eq!(recipient.key_version(), "1");
        assert_eq!(recipient.wrap_algorithm(), "XAES-256-GCM");
        assert_eq!(recipient.ciphertext(), [7; 72]);
        assert_eq!(header.draft().encode().unwrap(), header.authenticated());
        assert_eq!(header.mac(), &[0xEE; 32]);
    }
}

#[test]
fn the_preamble_tells_how_long_the_header_is() {
    let bytes = Raw::new().bytes();
    let preamble = Preamble::parse(bytes.first_chunk().unwrap()).unwrap();
    assert_eq!((preamble.kind(), preamble.header_len()), (Kind::Attached, bytes.len()));
}

#[test]
fn what_does_not_begin_with_the_magic_is_not_an_envelope() {
    for magic in [b"\x89PNG\r\n\x1a\n", b"\x09ENV\r\n\x1a\n", b"\x89ENV\n\x1a\n\0", b"\x89ENV\r\n\x1a\r"] {
        Raw { magic: magic.to_vec(), ..Raw::new() }.refused(FormatError::NotAnEnvelope);
    }
    assert_eq!(Header::parse(b"hello").err(), Some(FormatError::NotAnEnvelope));
    assert_eq!(Header::parse(b"\x89ENVELOPE").err(), Some(FormatError::NotAnEnvelope));
}

#[test]
fn every_other_version_suite_and_flag_is_refused() {
    for version in (0..=255).filter(|version| *version != 1) {
        Raw { version, ..Raw::new() }.refused(FormatError::UnknownVersion(version));
    }
    for suite in [0, 2, 0x0100, 0x0101, 0xFFFF] {
        Raw { suite, ..Raw::new() }.refused(FormatError::UnknownSuite(suite));
    }
    for flags in 3..=255 {
        Raw { flags, ..Raw::new() }.refused(FormatError::UnknownFlags(flags));
    }
}

#[test]
fn every_kind_has_its_flags_and_its_name() {
    for (kind, flags, name) in
        [(Kind::Attached, 0, "attached"), (Kind::Detached, 1, "detached"), (Kind::DataKey, 2, "data-key")]
    {
        assert_eq!(Kind::from_flags(flags), Ok(kind));
        assert_eq!((kind.flags(), kind.name()), (flags, name));
    }
}

#[test]
fn a_header_cut_anywhere_is_truncated() {
    let bytes = Raw::new().bytes();
    for len in 0..bytes.len() {
        let what = match len {
            0..PREAMBLE_LEN => "preamble",
            _ if len < bytes.len() - MAC_LEN => "header",
            _ => "header MAC",
        };
        assert_eq!(Header::parse(&bytes[..len]).err(), Some(FormatError::Truncated { what }), "{len} bytes");
    }
}

#[test]
fn a_body_that_ends_inside_a_field_is_truncated() {
    let body = Raw::new().body();
    for len in 0..body.len() {
        let mut bytes = Raw { body_len: Some(len as u32), ..Raw::new() }.bytes();
        bytes.truncate(PREAMBLE_LEN + len);
        bytes.extend([0; MAC_LEN]);
        let what = match len {
            0..16 => "envelope id",
            16..20 => "generation",
            20..22 => "context",
            22..31 | 39..47 => "context name",
            31..39 | 47..51 => "context value",
            51..62 => "withheld names",
            62 => "threshold",
            63 => "recipient count",
            64..78 => "key URI",
            78..81 => "key version",
            81..94 => "wrap algorithm",
            _ => "wrapped DEK",
        };
        assert_eq!(Header::parse_exact(&bytes), Err(FormatError::Truncated { what }), "{len} bytes");
    }
}

#[test]
fn a_body_over_its_limit_is_refused_before_it_is_looked_for() {
    let limit = FormatError::TooLarge { what: "header body", limit: 65_536 };
    for body_len in [MAX_BODY_LEN as u32 + 1, 1 << 24, u32::MAX] {
        let bytes = Raw { body_len: Some(body_len), ..Raw::new() }.bytes();
        assert_eq!(Header::parse(&bytes).err(), Some(limit.clone()));
        // From the preamble alone: nobody has to hold the body.
        assert_eq!(Preamble::parse(bytes.first_chunk().unwrap()).err(), Some(limit.clone()));
    }
    let fitting = MAX_BODY_LEN - Raw::new().body().len();
    let largest = Raw { padding: vec![0; fitting], ..Raw::new() };
    assert_eq!(largest.parse().unwrap().len(), 16 + 65_536 + 32);
    Raw { padding: vec![0; fitting + 1], ..Raw::new() }.refused(limit);
}

#[test]
fn a_draft_over_the_limits_is_not_written() {
    let draft = Raw::new().parse().unwrap().draft().clone();
    let padded = HeaderDraft { padding: MAX_BODY_LEN, ..draft.clone() };
    assert_eq!(padded.encode(), Err(FormatError::TooLarge { what: "header body", limit: MAX_BODY_LEN }));
    let nobody = HeaderDraft { recipients: Vec::new(), ..draft.clone() };
    assert_eq!(nobody.encode(), Err(FormatError::RecipientCount(0)));
    let crowd = HeaderDraft { recipients: vec![draft.recipients[0].clone(); 17], ..draft.clone() };
    assert_eq!(crowd.encode(), Err(FormatError::RecipientCount(17)));
    let twice = HeaderDraft { recipients: vec![draft.recipients[0].clone(); 2], ..draft };
    assert_eq!(twice.encode(), Err(FormatError::RepeatedRecipient));
}

#[test]
fn context_names_must_ascend_be_unique_and_not_be_empty() {
    let error = FormatError::NotCanonical { what: "context" };
    for stored in [
        &[("b", "1"), ("a", "2")][..],
        &[("a", "1"), ("a", "1")],
        &[("a", "1"), ("a", "2")],
        &[("", "1")],
        &[("a", "1"), ("", "2")],
        &[("é", "1"), ("z", "2")],
    ] {
        Raw { stored: entries(stored), ..Raw::new() }.refused(error.clone());
    }
}

#[test]
fn withheld_names_must_ascend_be_unique_not_empty_and_not_be_stored() {
    let error = FormatError::NotCanonical { what: "withheld names" };
    for withheld in [&["b", "a"][..], &["a", "a"], &[""], &["a", ""], &["tenant"], &["a", "purpose"]] {
        Raw { withheld: names(withheld), ..Raw::new() }.refused(error.clone());
    }
}

#[test]
fn text_that_is_not_utf_8_is_refused_in_every_field() {
    let bad = |what| FormatError::NotUtf8 { what };
    let text = |bytes: &[u8]| [&(bytes.len() as u16).to_be_bytes(), bytes].concat();
    for wrong in [&b"\xFF"[..], b"\xC3", b"\xED\xA0\x80", b"\xC0\x80"] {
        let (wrong, right) = (text(wrong), text(b"a"));
        let stored = |name: &[u8], value: &[u8]| [&[0, 1], name, value].concat();
        Raw { stored: stored(&wrong, &right), ..Raw::new() }.refused(bad("context name"));
        Raw { stored: stored(&right, &wrong), ..Raw::new() }.refused(bad("context value"));
        Raw { withheld: [&[0, 1], &wrong[..]].concat(), ..Raw::new() }.refused(bad("withheld names"));
        let uri = vec![[&wrong[..], &[0; 9]].concat()];
        Raw { recipients: uri, ..Raw::new() }.refused(bad("key URI"));
        let version = vec![[&text(b"memory:a")[..], &wrong, &[0; 9]].concat()];
        Raw { recipients: version, ..Raw::new() }.refused(bad("key version"));
        let algorithm = vec![[&text(b"memory:a")[..], &right, &wrong[1..], &[0, 1, 1]].concat()];
        Raw { recipients: algorithm, ..Raw::new() }
            .refused(FormatError::Recipient { what: "wrap algorithm" });
    }
}

#[test]
fn a_context_of_more_than_64_entries_is_refused() {
    let numbered: Vec<String> = (0..65).map(|index| format!("{index:02}")).collect();
    let of = |range: std::ops::Range<usize>| {
        let pairs: Vec<(&str, &str)> = numbered[range].iter().map(|name| (name.as_str(), "")).collect();
        entries(&pairs)
    };
    let too_many = FormatError::TooLarge { what: "context", limit: 64 };
    assert!(Raw { stored: of(0..64), withheld: names(&[]), ..Raw::new() }.parse().is_ok());
    assert!(Raw { stored: of(0..63), ..Raw::new() }.parse().is_ok());
    Raw { stored: of(0..65), withheld: names(&[]), ..Raw::new() }.refused(too_many.clone());
    Raw { stored: of(0..64), ..Raw::new() }.refused(too_many.clone());
    // By the count alone, whatever follows it.
    Raw { stored: vec![0xFF, 0xFF], ..Raw::new() }.refused(too_many.clone());
    Raw { withheld: vec![0xFF, 0xFF], ..Raw::new() }.refused(too_many);
}

#[test]
fn a_context_of_more_than_8_kib_is_refused() {
    let of = |len: usize| entries(&[("a", "x".repeat(len - 7).as_str())]);
    assert!(Raw { stored: of(8192), withheld: names(&[]), ..Raw::new() }.parse().is_ok());
    Raw { stored: of(8193), withheld: names(&[]), ..Raw::new() }
        .refused(FormatError::TooLarge { what: "context", limit: 8192 });
    Raw { stored: of(60_000), withheld: names(&[]), ..Raw::new() }
        .refused(FormatError::TooLarge { what: "context", limit: 8192 });
}

#[test]
fn a_threshold_other_than_one_is_refused() {
    for threshold in [0, 2, 255] {
        Raw { threshold, ..Raw::new() }.refused(FormatError::UnknownThreshold(threshold));
    }
}

#[test]
fn there_are_one_to_sixteen_recipients() {
    let many = |count: usize| -> Vec<Vec<u8>> {
        (0..count).map(|index| recipient(&format!("memory:{index}"), "1", "A", &[1])).collect()
    };
    assert_eq!(Raw { recipients: many(16), ..Raw::new() }.parse().unwrap().recipients().len(), 16);
    Raw { recipients: many(0), ..Raw::new() }.refused(FormatError::RecipientCount(0));
    Raw { recipients: many(17), ..Raw::new() }.refused(FormatError::RecipientCount(17));
    Raw { recipient_count: Some(255), ..Raw::new() }.refused(FormatError::RecipientCount(255));
}

#[test]
fn a_repeated_recipient_is_refused() {
    let both = |one: Vec<u8>, two: Vec<u8>| Raw { recipients: vec![one, two], ..Raw::new() };
    let alpha = || recipient("memory:alpha", "1", "A", &[1]);
    both(alpha(), alpha()).refused(FormatError::RepeatedRecipient);
    both(alpha(), recipient("memory:alpha", "1", "B", &[2])).refused(FormatError::RepeatedRecipient);
    // Two versions of a key are two recipients.
    assert!(both(alpha(), recipient("memory:alpha", "2", "A", &[1])).parse().is_ok());
    assert!(both(alpha(), recipient("memory:beta", "1", "A", &[1])).parse().is_ok());
}

#[test]
fn two_passphrases_are_refused_whatever_their_version() {
    let passphrase = |version| recipient("passphrase:", version, "ARGON2ID-COBBLESTONE-256", &[1]);
    let both = Raw { recipients: vec![passphrase(""), passphrase("2")], ..Raw::new() };
    both.refused(FormatError::RepeatedRecipient);
    let beside = Raw { recipients: vec![passphrase(""), recipient("memory:a", "", "A", &[1])], ..Raw::new() };
    assert!(beside.parse().is_ok());
}

#[test]
fn a_key_uri_that_is_not_canonical_and_resolved_is_refused() {
    for uri in [
        "",
        "memory",
        "MEMORY:alpha",
        "local:NAME",
        "awskms:///arn:aws:kms:eu-central-1:111122223333:alias/backup",
        "aws-kms:///arn:aws:kms:eu-central-1:111122223333:key/a",
        "arn:aws:kms:eu-central-1:111122223333:key/a",
        "pkcs11:object=k;token=t",
        "pkcs11:token=%74;object=k",
        "https://my-vault.vault.azure.net/keys/k",
        "memory:a b",
        "memory:ä",
        "memory:a?x",
        "memory:a#x",
        "memory://user@host/a",
    ] {
        let recipients = vec![recipient(uri, "1", "A", &[1])];
        Raw { recipients, ..Raw::new() }.refused(FormatError::Recipient { what: "key URI" });
    }
    let long = format!("memory:{}", "a".repeat(KeyUri::MAX_LEN));
    Raw { recipients: vec![recipient(&long, "", "A", &[1])], ..Raw::new() }
        .refused(FormatError::Recipient { what: "key URI" });
}

#[test]
fn a_key_version_has_at_most_512_bytes() {
    let of = |len: usize| Raw {
        recipients: vec![recipient("memory:a", &"v".repeat(len), "A", &[1])],
        ..Raw::new()
    };
    assert!(of(0).parse().is_ok());
    assert!(of(512).parse().is_ok());
    of(513).refused(FormatError::TooLarge { what: "key version", limit: 512 });
    of(60_000).refused(FormatError::TooLarge { what: "key version", limit: 512 });
}

#[test]
fn a_wrap_algorithm_is_a_name_of_1_to_255_characters() {
    let of = |name: &str| Raw { recipients: vec![recipient("memory:a", "", name, &[1])], ..Raw::new() };
    assert!(of(&"A".repeat(255)).parse().is_ok());
    assert!(of("RSA-OAEP-256_x.y+z").parse().is_ok());
    for name in ["", " ", "A B", "A/B", "Ä", "A\0"] {
        of(name).refused(FormatError::Recipient { what: "wrap algorithm" });
    }
}

#[test]
fn a_wrapped_dek_has_1_to_4096_bytes() {
    let of =
        |len: usize| Raw { recipients: vec![recipient("memory:a", "", "A", &vec![1; len])], ..Raw::new() };
    assert!(of(1).parse().is_ok());
    assert!(of(4096).parse().is_ok());
    of(0).refused(FormatError::Recipient { what: "wrapped DEK" });
    of(4097).refused(FormatError::TooLarge { what: "wrapped DEK", limit: 4096 });
    of(60_000).refused(FormatError::TooLarge { what: "wrapped DEK", limit: 4096 });
}

#[test]
fn padding_must_be_zero() {
    assert_eq!(Raw { padding: vec![0; 1000], ..Raw::new() }.parse().unwrap().padding(), 1000);
    for position in [0, 500, 999] {
        let mut padding = vec![0; 1000];
        padding[position] = 1;
        Raw { padding, ..Raw::new() }.refused(FormatError::NonZeroPadding);
    }
    // A recipient that the count leaves out is not padding.
    let mut hidden = Raw::new();
    hidden.recipients.push(recipient("memory:beta", "1", "A", &[1]));
    hidden.recipient_count = Some(1);
    hidden.refused(FormatError::NonZeroPadding);
}

#[test]
fn bytes_after_a_whole_header_are_refused_where_it_must_stand_alone() {
    let mut bytes = Raw::new().bytes();
    bytes.push(0);
    assert!(Header::parse(&bytes).is_ok());
    assert_eq!(Header::parse_exact(&bytes), Err(FormatError::TrailingData { what: "the header" }));
}

#[test]
fn whatever_parses_writes_the_same_bytes() {
    let bytes = Raw { padding: vec![0; 3], ..Raw::new() }.bytes();
    let mut parsed = 0;
    for position in 0..bytes.len() {
        for value in 0..=255 {
            let mut changed = bytes.clone();
            changed[position] = value;
            if let Ok((header, len)) = Header::parse(&changed) {
                assert_eq!(header.to_bytes(), changed[..len], "byte {position} = {value}");
                parsed += 1;
            }
        }
    }
    assert!(parsed > bytes.len(), "changed ids, values and MACs are well-formed");
}

fn text16(text: &str) -> Vec<u8> {
    [&(text.len() as u16).to_be_bytes(), text.as_bytes()].concat()
}

fn entries(entries: &[(&str, &str)]) -> Vec<u8> {
    let mut bytes = (entries.len() as u16).to_be_bytes().to_vec();
    for (name, value) in entries {
        bytes.extend(text16(name));
        bytes.extend(text16(value));
    }
    bytes
}

fn names(names: &[&str]) -> Vec<u8> {
    let mut bytes = (names.len() as u16).to_be_bytes().to_vec();
    bytes.extend(names.iter().flat_map(|name| text16(name)));
    bytes
}

fn recipient(uri: &str, version: &str, algorithm: &str, ciphertext: &[u8]) -> Vec<u8> {
    let mut bytes = [text16(uri), text16(version)].concat();
    bytes.push(algorithm.len() as u8);
    bytes.extend(algorithm.as_bytes());
    bytes.extend((ciphertext.len() as u16).to_be_bytes());
    bytes.extend(ciphertext);
    bytes
}
