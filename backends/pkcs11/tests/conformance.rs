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
    next: AtomicU32,
}

impl Tokens {
    fn of(token: &Token) -> Self {
        let config = Pkcs11Config::new(token.module(), TokenSelector::label(&token.label));
        let provider = Pkcs11Provider::open(config.pin(PinSource::pin(pin(PIN)))).unwrap();
        Self { provider: Arc::new(provider), next: AtomicU32::new(0) }
    }
}

impl Backend for Tokens {
    /// Used once, so that the provider knows how the key wraps.
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

    fn apply(&self, subject: &Subject, change: Change) -> Applied {
        block_on(conformance::apply_with_admin(&*self.provider, &subject.key, change))
    }
}

fn conforms(kind: Kind) {
    // The suite wants the process's loggers for itself.
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _guard = ONE_AT_A_TIME.lock();
    let Some(token) = kind.token() else { return };
    let report = conformance::run(&Tokens::of(&token));
    report.assert_conforms();
    // What a token cannot do is known, so that nothing more is left out unnoticed.
    let not_run: Vec<_> = report.not_run.iter().map(|(check, _)| *check).collect();
    assert_eq!(
        not_run,
        [
            "a_compromised_key_unwraps_and_does_not_wrap",
            "a_key_without_its_server_is_unavailable_and_worth_a_retry",
        ],
        "{kind:?}"
    );
}

#[test]
fn softhsm_conforms() {
    conforms(Kind::SoftHsm);
}

#[test]
fn kryoptic_conforms() {
    conforms(Kind::Kryoptic);
}
