//! The suite over the providers of this repository that need no server.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests are tests too")]

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use envelope_local::{Argon2Params, Keystore, LocalSettings, Passphrase, PassphraseProvider};
use envelope_sdk::{
    KeyAdmin, KeyProvider, KeyUri, NewKey,
    registry::{Scheme, Settings, Surroundings},
    secret::{Prompt, SecretError, Secrets},
};
use envelope_testkit::{
    MemoryProvider,
    conformance::{
        self, Applied, Backend, Change, Report, Subject,
        admin::{self, AdminBackend},
        apply_with_admin, checks,
        scheme::{self, SchemeBackend},
    },
};
use futures_executor::block_on;
use tempfile::TempDir;
use zeroize::Zeroizing;

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
        assert_eq!(not_run(&report), [IDENTITY, REWRAP, UNAVAILABLE], "it has no server");
    }
}

#[test]
fn the_management_of_a_keystore_conforms() {
    let report = admin::run(&Local::new(Configured::ByUri));
    report.assert_conforms();
    let not_run: Vec<_> = report.not_run.iter().map(|(check, _)| *check).collect();
    let expected = [
        "a_destroyed_key_is_back_when_it_is_restored",
        "an_alias_is_the_key_it_was_made_for",
        "rotation_by_itself_is_told_as_it_was_set",
    ];
    assert_eq!(not_run, expected);
}

#[test]
fn passphrases_conform() {
    let [right, wrong] = ["correct horse", "battery staple"].map(|text| {
        let passphrase = Passphrase::new(text.into()).unwrap();
        Arc::new(PassphraseProvider::with_params(passphrase, Argon2Params::MINIMUM).unwrap())
    });
    let report = conformance::run(&Passphrases { right, wrong });
    report.assert_conforms();
    let expected = [
        IDENTITY,
        REWRAP,
        UNKNOWN,
        UNKNOWN_MEANS,
        ROTATION,
        SUSPENDED,
        DEACTIVATED,
        COMPROMISED,
        DESTROYED,
        UNAVAILABLE,
    ];
    assert_eq!(not_run(&report), expected);
}

#[test]
fn the_scheme_of_keystores_and_passphrases_conforms() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys.json");
    let passphrase = Passphrase::new(PASSPHRASE.into()).unwrap();
    let keystore = Keystore::create_with(&path, &passphrase, Argon2Params::MINIMUM).unwrap();
    let main = block_on(keystore.create_key(&NewKey::named("main"))).unwrap().uri;
    let report = scheme::run(&LocalByScheme { path, main });
    report.assert_conforms();
    let not_run: Vec<_> = report.not_run.iter().map(|(check, _)| *check).collect();
    assert_eq!(not_run, ["a_survey_needs_no_secret"], "there is nothing to be surveyed");
    scheme::run_settings::<LocalSettings>().assert_conforms();
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
        let created = block_on(self.keystore.create_key(&NewKey::named(&name))).unwrap();
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

impl AdminBackend for Local {
    fn admin(&self) -> Arc<dyn KeyAdmin> {
        self.keystore.clone()
    }

    fn provider(&self) -> Arc<dyn KeyProvider> {
        self.keystore.clone()
    }

    fn new_key(&self) -> NewKey {
        NewKey::named(format!("key-{}", self.keys.fetch_add(1, Ordering::SeqCst)))
    }

    fn unknown_key(&self) -> KeyUri {
        self.keystore.key_uri("nobody").unwrap()
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

/// A keystore, and passphrases, as a configuration opens them.
struct LocalByScheme {
    path: PathBuf,
    main: KeyUri,
}

impl SchemeBackend for LocalByScheme {
    fn scheme(&self, around: &Surroundings) -> Arc<dyn Scheme> {
        let mut settings = LocalSettings::default();
        settings.set("keystore", self.path.clone().into()).unwrap();
        settings.into_scheme(around).unwrap()
    }

    fn keys(&self) -> Vec<KeyUri> {
        vec![self.main.clone(), KeyUri::parse("local:main").unwrap(), KeyUri::passphrase()]
    }

    fn around(&self) -> Surroundings {
        Surroundings::new(Arc::new(OnePassphrase))
    }
}

/// Gives one passphrase for everything.
struct OnePassphrase;

impl Secrets for OnePassphrase {
    fn given(&self, _name: &str) -> Result<Option<Zeroizing<String>>, SecretError> {
        Ok(Some(Zeroizing::new(PASSPHRASE.to_owned())))
    }

    fn ask(&self, _name: &str, _prompt: &Prompt<'_>) -> Result<Zeroizing<String>, SecretError> {
        Ok(Zeroizing::new(PASSPHRASE.to_owned()))
    }
}

const PASSPHRASE: &str = "correct horse";

fn not_run(report: &Report) -> Vec<&'static str> {
    assert_eq!(report.holds.len() + report.not_run.len(), checks::ALL.len());
    report.not_run.iter().map(|(check, _)| *check).collect()
}

const REWRAP: &str = "a_rewrapped_dek_is_the_same_under_the_same_context_alone";
const IDENTITY: &str = "a_provider_that_rewraps_has_an_identity_of_its_own";
const UNKNOWN_MEANS: &str = "an_unknown_key_means_itself_or_is_not_found";
const UNKNOWN: &str = "an_unknown_key_is_not_found";
const ROTATION: &str = "what_was_wrapped_before_a_rotation_unwraps_after_it";
const SUSPENDED: &str = "a_suspended_key_neither_wraps_nor_unwraps_until_it_is_active_again";
const DEACTIVATED: &str = "a_deactivated_key_unwraps_and_does_not_wrap";
const COMPROMISED: &str = "a_compromised_key_unwraps_and_does_not_wrap";
const DESTROYED: &str = "a_destroyed_key_neither_wraps_nor_unwraps";
const UNAVAILABLE: &str = "a_key_without_its_server_is_unavailable_and_worth_a_retry";
