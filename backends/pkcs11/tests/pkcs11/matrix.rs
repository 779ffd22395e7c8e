//! All that may go wrong between the provider and a token: the fault matrix of key stores behind HTTP, as far as it means
//! something here, with the troubles that a token has of its own.
//!
//! A module in front of SoftHSM makes them. (Kryoptic is asked by messages, which the oldest list of functions does not
//! have.) There are no statuses, no connection to be reset or cut, and no answer that comes twice: a function returns once.

use std::{fs, path::PathBuf, sync::Arc, time::Duration};

use envelope_layers::{Deadline, Retry, RetryBudget};
use envelope_sdk::{Envelope, Keyring, ProviderErrorKind::Unavailable};
use tempfile::TempDir;

use super::*;

struct Rig {
    provider: Arc<Pkcs11Provider>,
    key: KeyUri,
    trouble: PathBuf,
    _folder: TempDir,
}

fn rig() -> Option<Rig> {
    let token = Kind::SoftHsm.token()?;
    let (_, key) = with_key(&token);
    let folder = tempfile::tempdir().unwrap();
    let (module, trouble) = (folder.path().join("module.so"), folder.path().join("trouble"));
    tokens::in_front_of(&token.module(), tokens::TROUBLE, &[format!("-DTROUBLE={trouble:?}")], &module);
    let pin = PinSource::pin(pin(PIN));
    let config = Pkcs11Config::new(module, TokenSelector::label(&token.label)).pin(pin);
    Some(Rig { provider: Arc::new(Pkcs11Provider::open(config).unwrap()), key, trouble, _folder: folder })
}

impl Rig {
    fn make(&self, trouble: &str) {
        fs::write(&self.trouble, trouble).unwrap();
        self.take_calls();
    }

    /// How often a wrap or unwrap was begun on the token since the last time.
    fn take_calls(&self) -> u32 {
        let file = self.trouble.with_extension("calls");
        let calls = fs::read(&file).map_or(0, |calls| calls.len());
        let _ = fs::remove_file(file);
        u32::try_from(calls).unwrap()
    }
}

/// The standard's return values.
const TROUBLES: [(&str, u32); 5] = [
    ("CKR_DEVICE_ERROR", 0x30),
    ("CKR_DEVICE_REMOVED", 0x32),
    ("CKR_SESSION_CLOSED", 0xb0),
    ("CKR_SESSION_HANDLE_INVALID", 0xb3),
    ("CKR_TOKEN_NOT_PRESENT", 0xe0),
];

#[test]
fn whatever_a_token_returns_attempts_are_bounded_and_told_and_it_is_well_again_afterwards() {
    let Some(rig) = rig() else { return };
    let context = context("acme");
    let dek = dek();
    let wrapped = block_on(rig.provider.wrap_dek(&rig.key, &dek, &context)).unwrap();
    let budget = RetryBudget::new(100, 100);
    let retrying = Retry::new(rig.provider.clone(), &budget);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    for (name, code) in TROUBLES {
        for unwraps in [true, false] {
            for retries in [false, true] {
                rig.make(&format!("fail {code}"));
                let provider: &dyn KeyProvider = if retries { &retrying } else { &rig.provider };
                let error = runtime.block_on(async {
                    if unwraps {
                        provider.unwrap_dek(&wrapped, &context).await.map(drop)
                    } else {
                        provider.wrap_dek(&rig.key, &dek, &context).await.map(drop)
                    }
                });
                let (error, seen) = (error.unwrap_err(), rig.take_calls());
                assert_eq!((error.kind(), error.is_retryable()), (Unavailable, true), "{name}: {error}");
                assert_eq!(error.key(), Some(&rig.key), "{name}: {error}");
                assert!(error.message().contains(name), "{name}: {error}");
                // The session is opened anew once, and a layer that retries adds nothing to that within its three.
                assert_eq!(
                    (seen, error.attempts()),
                    (2, 2),
                    "{name}, unwraps {unwraps}, retries {retries}: {error}"
                );
            }
        }
        rig.make("");
        let opened = block_on(rig.provider.unwrap_dek(&wrapped, &context)).unwrap();
        assert_eq!(opened.expose(), dek.expose(), "after {name}");
    }
}

#[test]
fn a_slow_token_is_waited_for_unless_a_deadline_stands_over_it() {
    let Some(rig) = rig() else { return };
    let context = context("acme");
    let dek = dek();
    let wrapped = block_on(rig.provider.wrap_dek(&rig.key, &dek, &context)).unwrap();
    rig.make("slow");
    assert_eq!(block_on(rig.provider.unwrap_dek(&wrapped, &context)).unwrap().expose(), dek.expose());
    let hasty = Deadline::of(rig.provider.clone(), Duration::from_millis(20));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let error = runtime.block_on(hasty.unwrap_dek(&wrapped, &context)).unwrap_err();
    assert_eq!(error.kind(), Unavailable, "{error}");
    // What was left behind is nobody's answer.
    rig.make("");
    for _ in 0..3 {
        assert_eq!(block_on(rig.provider.unwrap_dek(&wrapped, &context)).unwrap().expose(), dek.expose());
    }
}

/// As one of several devices behind one module that is gone in the middle: the codes are those of a wrong tag, too.
#[test]
fn a_token_that_breaks_off_once_does_not_make_a_good_wrap_unauthentic() {
    let Some(rig) = rig() else { return };
    let context = context("acme");
    let dek = dek();
    let wrapped = block_on(rig.provider.wrap_dek(&rig.key, &dek, &context)).unwrap();
    // CKR_GENERAL_ERROR, CKR_FUNCTION_FAILED, CKR_DEVICE_ERROR
    for code in [0x05, 0x06, 0x30] {
        for trouble in [format!("break {code}"), String::new()] {
            rig.make(&trouble);
            let opened = block_on(rig.provider.unwrap_dek(&wrapped, &context)).unwrap();
            assert_eq!(opened.expose(), dek.expose(), "{trouble}");
        }
    }
}

#[test]
fn a_flipped_bit_and_the_dek_of_another_wrap_open_no_envelope() {
    let Some(rig) = rig() else { return };
    let context = EncryptionContext::new().with("tenant", "acme");
    let envelope = Envelope::new(Keyring::new().both(rig.provider.clone(), rig.key.clone()));
    let sealed = block_on(envelope.encrypt(b"attack at dawn", &context)).unwrap();
    let other = block_on(envelope.encrypt(b"attack at noon", &context)).unwrap();
    rig.make("keep");
    assert_eq!(block_on(envelope.decrypt(&other, &context)).unwrap(), b"attack at noon");
    for trouble in ["flip", "swap"] {
        rig.make(trouble);
        block_on(envelope.decrypt(&sealed, &context)).unwrap_err();
        assert!((1..=2).contains(&rig.take_calls()), "{trouble}");
        rig.make("");
        assert_eq!(
            block_on(envelope.decrypt(&sealed, &context)).unwrap(),
            b"attack at dawn",
            "after {trouble}"
        );
    }
}
