//! Dry runs of rotations by themselves, of aliases and of restorations.

use envelope_sdk::{
    KeyAdmin, ProviderError,
    ProviderErrorKind::{Invalid, State, Unsupported},
    admin::AutoRotation,
};

use super::{
    canned::{Canned, call_of, described, described_as, refusal, said, the_key},
    *,
};

#[test]
fn a_dry_run_of_a_rotation_by_itself_refuses_what_the_setting_refuses() {
    let (off, default) = (AutoRotation::Off, AutoRotation::Default);
    for (rotation, state, more, kind) in [
        (default, "Enabled", "", None),
        (AutoRotation::Days(90), "Enabled", "", None),
        (off, "Enabled", "", None),
        (off, "Enabled", r#","Origin":"EXTERNAL""#, None),
        (AutoRotation::Days(89), "Enabled", "", Some(Invalid)),
        (AutoRotation::Days(2561), "Enabled", "", Some(Invalid)),
        (default, "Disabled", "", Some(State)),
        (off, "PendingDeletion", "", Some(State)),
        (default, "Enabled", r#","KeyUsage":"SIGN_VERIFY""#, Some(Unsupported)),
        (default, "Enabled", r#","Origin":"AWS_CLOUDHSM""#, Some(Unsupported)),
        (default, "Enabled", r#","Origin":"EXTERNAL""#, Some(Unsupported)),
    ] {
        let server = Canned::by_call(vec![
            ("DescribeKey", described(state, more)),
            ("EnableKeyRotation", said(200, "{}")),
            ("DisableKeyRotation", said(200, "{}")),
        ]);
        let kms = server.kms();
        same(
            &server,
            kind,
            || block_on(kms.check_set_rotation(&the_key(), rotation)),
            || block_on(kms.set_rotation(&the_key(), rotation)),
        );
    }
}

#[test]
fn a_dry_run_of_a_restoration_refuses_a_key_that_does_not_wait_for_its_deletion() {
    for (state, kind) in [
        ("PendingDeletion", None),
        ("PendingReplicaDeletion", None),
        ("Enabled", Some(State)),
        ("Disabled", Some(State)),
        ("PendingImport", Some(State)),
    ] {
        let server = Canned::by_call(vec![
            ("DescribeKey", described(state, "")),
            ("CancelKeyDeletion", said(200, "{}")),
        ]);
        let kms = server.kms();
        same(
            &server,
            kind,
            || block_on(kms.check_restore_key(&the_key())),
            || block_on(kms.restore_key(&the_key())).map(drop),
        );
    }
}

#[test]
fn a_dry_run_of_an_alias_refuses_what_the_setting_refuses() {
    let other = |more: &str| described_as(&key("other"), "Enabled", more);
    let nothing = || refusal(400, "NotFoundException");
    for (name, alias, of_the_key, kind) in [
        ("a", nothing(), described("Enabled", ""), None),
        ("a", other(""), described("Enabled", ""), None),
        ("a", described("Enabled", ""), described("Enabled", ""), None),
        ("no blanks", nothing(), described("Enabled", ""), Some(Invalid)),
        ("aws/a", nothing(), described("Enabled", ""), Some(Invalid)),
        ("a", other(r#","KeyUsage":"SIGN_VERIFY""#), described("Enabled", ""), Some(Unsupported)),
        ("a", nothing(), described("Enabled", r#","KeyManager":"AWS""#), Some(Unsupported)),
        ("a", nothing(), described("PendingDeletion", ""), Some(State)),
        ("a", nothing(), nothing(), Some(envelope_sdk::ProviderErrorKind::NotFound)),
    ] {
        let server = Canned::answering(move |request| match call_of(request).as_str() {
            "DescribeKey" if request.text().contains("alias/") => alias.clone(),
            "DescribeKey" => of_the_key.clone(),
            _ => said(200, "{}"),
        });
        let kms = server.kms();
        same(
            &server,
            kind,
            || block_on(kms.check_set_alias(name, &the_key())),
            || block_on(kms.set_alias(name, &the_key())).map(drop),
        );
    }
}

#[test]
fn the_end_of_a_cryptoperiod_is_refused_by_the_dry_run_too() {
    let kms = at("http://127.0.0.1:1").build();
    let dry = block_on(kms.check_set_not_after(&the_key(), None, Some(1))).unwrap_err();
    let wet = block_on(kms.set_not_after(&the_key(), None, Some(1))).unwrap_err();
    assert_eq!((dry.kind(), dry.to_string()), (Unsupported, wet.to_string()));
}

/// The dry run asks and changes nothing, and refuses in the words of the operation.
fn same(
    server: &Canned,
    kind: Option<envelope_sdk::ProviderErrorKind>,
    dry: impl FnOnce() -> Result<(), ProviderError>,
    wet: impl FnOnce() -> Result<(), ProviderError>,
) {
    let dry = dry().err();
    assert!(server.calls().iter().all(|call| call == "DescribeKey"));
    let wet = wet().err();
    assert_eq!(wet.as_ref().map(ProviderError::kind), kind, "{wet:?}");
    assert_eq!(dry.map(|error| error.to_string()), wet.map(|error| error.to_string()));
    if kind.is_some() {
        assert!(server.calls().iter().all(|call| call == "DescribeKey"));
    }
}
