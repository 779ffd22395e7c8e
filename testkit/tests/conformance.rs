//! The suite over the providers of this repository that need no server.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests are tests too")]

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use envelope_local::{Argon2Params, Keystore, Passphrase, PassphraseProvider};
use envelope_sdk::{KeyAdmin, KeyUri};
use envelope_testkit::{
    MemoryProvider,
    conformance::{self, Applied, Backend, Change, Report, Subject, apply_with_admin, checks},
};
use futures_executor::block_on;
use tempfile::TempDir;

#[test]
fn the_memory_provider_conforms() {
    for provider in [MemoryProvider::new(), MemoryProvider::new().without_context_binding()] {
        let [one, two] = ["one", "two"].map(MemoryProvider::key);
        let provider = Arc::new(provider.with_key(&one).with_key(&two));
        let report = conformance::run(&Memory { provider, one, two });
        report.assert_conforms();
        let expected = [REWRAP, ROTATION, SUSPENDED, DEACTIVATED, COMPROMISED, DESTROYED, UNAVAILABLE];
        assert_eq!(not_run(&report), expected);
    }
}

#[test]
fn the_memory_provider_conforms_that_generates_and_rewraps() {
    let [one, two] = ["one", "two"].map(MemoryProvider::key);
    for provider in [MemoryProvider::new(), MemoryProvider::new().without_context_binding()] {
        let provider = provider.that_generates_deks().that_rewraps().with_key(&one).with_key(&two);
        let report =
            conformance::run(&Memory { provider: Arc::new(provider), one: one.clone(), two: two.clone() });
        report.assert_conforms();
        let expected = [ROTATION, SUSPENDED, DEACTIVATED, COMPROMISED, DESTROYED, UNAVAILABLE];
        assert_eq!(not_run(&report), expected);
    }
}

#[test]
fn the_keystore_conforms_with_rotation_and_states() {
    for configured in [Configured::ByUri, Configured::ByName] {
        let report = conformance::run(&Local::new(configured));
        report.assert_conforms();
        assert_eq!(not_run(&report), [REWRAP, UNAVAILABLE], "it has no server");
    }
}

#[test]
fn passphrases_conform() {
    let [right, wrong] = ["correct horse", "battery staple"].map(|text| {
        let passphrase = Passphrase::new(text.into()).unwrap();
        Arc::new(PassphraseProvider::with_params(passphrase, Argon2Params::MINIMUM).unwrap())
    });
    let report = conformance::run(&Passphrases { right, wrong });
    report.assert_conforms();
    assert_eq!(
        not_run(&report),
        [REWRAP, UNKNOWN, ROTATION, SUSPENDED, DEACTIVATED, COMPROMISED, DESTROYED, UNAVAILABLE]
    );
}

struct Memory {
    provider: Arc<MemoryProvider>,
    one: KeyUri,
    two: KeyUri,
}

impl Backend for Memory {
    fn subject(&self) -> Subject {
        Subject::new(self.provider.clone(), self.one.clone())
    }

    fn other_subject(&self) -> Subject {
        Subject::new(self.provider.clone(), self.two.clone())
    }

    fn unknown_key(&self) -> Option<KeyUri> {
        Some(MemoryProvider::key("three"))
    }
}

/// A keystore with a new key for each subject.
struct Local {
    _folder: TempDir,
    keystore: Arc<Keystore>,
    configured: Configured,
    keys: AtomicUsize,
}

#[derive(Clone, Copy)]
enum Configured {
    ByUri,
    ByName,
}

impl Local {
    fn new(configured: Configured) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let passphrase = Passphrase::new("correct horse".into()).unwrap();
        let path = folder.path().join("keys.json");
        let keystore = Keystore::create_with(path, &passphrase, Argon2Params::MINIMUM).unwrap();
        Self { _folder: folder, keystore: Arc::new(keystore), configured, keys: AtomicUsize::new(0) }
    }
}

impl Backend for Local {
    fn subject(&self) -> Subject {
        let name = format!("key-{}", self.keys.fetch_add(1, Ordering::SeqCst));
        let created = block_on(self.keystore.create_key(&name, false)).unwrap();
        let key = match self.configured {
            Configured::ByUri => created.uri,
            Configured::ByName => KeyUri::parse(&format!("local:{name}")).unwrap(),
        };
        Subject::new(self.keystore.clone(), key)
    }

    fn other_subject(&self) -> Subject {
        self.subject()
    }

    fn unknown_key(&self) -> Option<KeyUri> {
        Some(self.keystore.key_uri("nobody").unwrap())
    }

    fn apply(&self, subject: &Subject, change: Change) -> Applied {
        block_on(apply_with_admin(&*self.keystore, &subject.key, change))
    }
}

/// One key URI, whatever the passphrase.
struct Passphrases {
    right: Arc<PassphraseProvider>,
    wrong: Arc<PassphraseProvider>,
}

impl Backend for Passphrases {
    fn subject(&self) -> Subject {
        Subject::new(self.right.clone(), KeyUri::passphrase())
    }

    fn other_subject(&self) -> Subject {
        Subject::new(self.wrong.clone(), KeyUri::passphrase())
    }
}

fn not_run(report: &Report) -> Vec<&'static str> {
    assert_eq!(report.holds.len() + report.not_run.len(), checks::ALL.len());
    report.not_run.iter().map(|(check, _)| *check).collect()
}

const REWRAP: &str = "a_rewrapped_dek_is_the_same_under_the_same_context_alone";
const UNKNOWN: &str = "an_unknown_key_is_not_found";
const ROTATION: &str = "what_was_wrapped_before_a_rotation_unwraps_after_it";
const SUSPENDED: &str = "a_suspended_key_neither_wraps_nor_unwraps_until_it_is_active_again";
const DEACTIVATED: &str = "a_deactivated_key_unwraps_and_does_not_wrap";
const COMPROMISED: &str = "a_compromised_key_unwraps_and_does_not_wrap";
const DESTROYED: &str = "a_destroyed_key_neither_wraps_nor_unwraps";
const UNAVAILABLE: &str = "a_key_without_its_server_is_unavailable_and_worth_a_retry";
