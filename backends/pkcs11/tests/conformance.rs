//! The conformance suite of every key provider, on both software tokens. A file of its own, because the suite listens
//! to all that the process logs.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests are tests too")]

mod tokens;

use std::sync::{Arc, Mutex, atomic::AtomicU32, atomic::Ordering};

use envelope_pkcs11::{PinSource, Pkcs11Config, Pkcs11Provider, TokenSelector};
use envelope_sdk::{KeyAdmin, KeyUri};
use envelope_testkit::conformance::{self, Applied, Backend, Change, Subject};
use futures_executor::block_on;

use tokens::{Kind, PIN, Token, pin};

struct Tokens {
    provider: Arc<Pkcs11Provider>,
    away: Subject,
    next: AtomicU32,
}

impl Tokens {
    fn of(token: &Token, away: Token) -> Self {
        Self { provider: open(token), away: removed(away), next: AtomicU32::new(0) }
    }
}

fn open(token: &Token) -> Arc<Pkcs11Provider> {
    let config = Pkcs11Config::new(token.module(), TokenSelector::label(&token.label));
    Arc::new(Pkcs11Provider::open(config.pin(PinSource::pin(pin(PIN)))).unwrap())
}

/// A key that was used until its token was removed.
fn removed(token: Token) -> Subject {
    let provider = open(&token);
    let key = block_on(provider.create_key("away", false)).unwrap().uri;
    token.remove();
    Subject::new(provider, key)
}

impl Backend for Tokens {
    fn subject(&self) -> Subject {
        let name = format!("key-{}", self.next.fetch_add(1, Ordering::SeqCst));
        let key = block_on(self.provider.create_key(&name, false)).unwrap().uri;
        Subject::new(Arc::clone(&self.provider) as _, key)
    }

    fn other_subject(&self) -> Subject {
        self.subject()
    }

    fn unknown_key(&self) -> Option<KeyUri> {
        Some(self.provider.key_uri("nobody-made-this").unwrap())
    }

    fn unreachable(&self) -> Option<Subject> {
        Some(self.away.clone())
    }

    fn apply(&self, subject: &Subject, change: Change) -> Applied {
        block_on(conformance::apply_with_admin(&*self.provider, &subject.key, change))
    }
}

fn conforms(kind: Kind) {
    // The suite wants the process's loggers for itself.
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _guard = ONE_AT_A_TIME.lock();
    let Some(token) = kind.token() else { return };
    // A copy of the module has a state of its own, which can be shut down.
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("module.so");
    std::fs::copy(token.module(), &copy).unwrap();
    let away = kind.of_module(copy, &tokens::fresh_label());
    let report = conformance::run(&Tokens::of(&token, away));
    report.assert_conforms();
    // What a token cannot do is known, so that nothing more is left out unnoticed.
    let not_run: Vec<_> = report.not_run.iter().map(|(check, _)| *check).collect();
    let expected = [
        "a_rewrapped_dek_is_the_same_under_the_same_context_alone",
        "a_compromised_key_unwraps_and_does_not_wrap",
    ];
    assert_eq!(not_run, expected, "{kind:?}");
}

#[test]
fn softhsm_conforms() {
    conforms(Kind::SoftHsm);
}

#[test]
fn kryoptic_conforms() {
    conforms(Kind::Kryoptic);
}
