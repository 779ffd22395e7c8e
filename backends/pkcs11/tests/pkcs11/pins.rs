use std::{
    fs,
    io::Cursor,
    os::unix::fs::PermissionsExt,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use cryptoki::{session::UserType, types::AuthPin};
use envelope_pkcs11::{Pin, PinError};
use envelope_sdk::ProviderErrorKind::AccessDenied;

use super::*;

on_each_token!(
    a_wrong_pin_is_tried_once_by_all_sessions_together,
    a_missing_pin_says_where_one_may_come_from,
    a_pin_comes_from_a_file_a_descriptor_or_a_prompt,
    a_pin_that_nobody_gives_says_why,
    a_locked_pin_is_told_as_locked,
    no_pin_is_in_an_error,
);

fn with_pin(token: &Token, pin: PinSource) -> Pkcs11Provider {
    Pkcs11Provider::open(config(token).pin(pin)).unwrap()
}

/// Any use of the token that needs a login.
fn log_in(provider: &Pkcs11Provider) -> Result<(), ProviderError> {
    block_on(provider.list_keys()).map(drop)
}

fn counted(text: &'static str) -> (PinSource, Arc<AtomicU32>) {
    let asked = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&asked);
    let source = PinSource::ask(move || {
        count.fetch_add(1, Ordering::SeqCst);
        Pin::new(text.into())
    });
    (source, asked)
}

fn a_wrong_pin_is_tried_once_by_all_sessions_together(token: &Token) {
    let (wrong, asked) = counted("wrong-pin-0815");
    let provider = with_pin(token, wrong);
    refused(log_in(&provider), AccessDenied, "the PIN is wrong");
    std::thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| refused(log_in(&provider), AccessDenied, "is not tried again"));
        }
    });
    assert_eq!(asked.load(Ordering::SeqCst), 1);
    log_in(&open(token)).unwrap();
}

fn a_missing_pin_says_where_one_may_come_from(token: &Token) {
    let provider = with_pin(token, PinSource::none());
    refused(log_in(&provider), AccessDenied, "none is configured: give one by a file");
}

fn a_pin_comes_from_a_file_a_descriptor_or_a_prompt(token: &Token) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pin");
    fs::write(&path, format!("{PIN}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    let (prompt, asked) = counted(PIN);
    let sources = [
        PinSource::file(&path),
        PinSource::reader(Cursor::new(format!("{PIN}\n"))),
        prompt,
        PinSource::pin(pin(PIN)),
    ];
    for source in sources {
        let name = format!("{source:?}");
        let provider = with_pin(token, source);
        log_in(&provider).unwrap_or_else(|error| panic!("{name}: {error}"));
        // The first session logs the process in; further ones do not ask.
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| log_in(&provider).unwrap());
            }
        });
    }
    assert_eq!(asked.load(Ordering::SeqCst), 1);
}

fn a_pin_that_nobody_gives_says_why(token: &Token) {
    let missing = "/nowhere/pin";
    let sources = [
        (PinSource::file(missing), missing),
        (PinSource::environment("ENVELOPE_NO_SUCH_PIN"), "ENVELOPE_NO_SUCH_PIN"),
        (
            PinSource::ask(|| Err(PinError::NotGiven("the terminal was closed".into()))),
            "the terminal was closed",
        ),
        (PinSource::reader(Cursor::new("\n")), "the PIN is empty"),
    ];
    for (source, says) in sources {
        let error = refused(log_in(&with_pin(token, source)), AccessDenied, "no PIN to log in with");
        let cause = std::error::Error::source(&error).expect("a cause").to_string();
        assert!(cause.contains(says), "{says:?} is not in {cause:?}");
    }
}

/// kryoptic locks after some wrong PINs; SoftHSM never does.
fn a_locked_pin_is_told_as_locked(token: &Token) {
    let session = token.context().open_ro_session(token.slot()).unwrap();
    let wrong = AuthPin::from("wrong-pin-0815".to_owned());
    for _ in 0..20 {
        session.login(UserType::User, Some(&wrong)).unwrap_err();
    }
    drop(session);
    match token.kind {
        Kind::SoftHsm => log_in(&open(token)).unwrap(),
        Kind::Kryoptic => {
            refused(log_in(&open(token)), AccessDenied, "the PIN is locked");
        }
    }
}

fn no_pin_is_in_an_error(token: &Token) {
    let provider = with_pin(token, PinSource::pin(pin("wrong-pin-0815")));
    let error = log_in(&provider).unwrap_err();
    let source = std::error::Error::source(&error).unwrap();
    let text = format!("{error} {error:?} {error:#?} {source} {source:?} {provider:?}");
    assert!(!text.contains("0815"), "{text}");
}
