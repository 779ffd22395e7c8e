//! The conformance suite of every key provider, on both software tokens. A file of its own, because the suite listens
//! to all that the process logs.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests are tests too")]

mod tokens;

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicU32, Ordering},
};

use envelope_pkcs11::{PinSource, Pkcs11Config, Pkcs11Provider, Pkcs11Scheme, Pkcs11Settings, TokenSelector};
use envelope_sdk::{
    KeyAdmin, KeyProvider, KeyUri, NewKey,
    registry::{Purpose, Scheme, Settings, Surroundings},
    secret::{Prompt, SecretError, Secrets},
};
use envelope_testkit::conformance::{self, Applied, Backend, Change, Report, Subject, admin, scheme};
use futures_executor::block_on;
use zeroize::Zeroizing;

use tokens::{Kind, PIN, Token, pin};

struct Tokens {
    provider: Arc<dyn KeyProvider>,
    admin: Arc<dyn KeyAdmin>,
    unknown: KeyUri,
    away: Subject,
    next: AtomicU32,
}

/// What is tested: a provider of the token, and who manages its keys.
type Open = fn(&Token) -> (Arc<dyn KeyProvider>, Arc<dyn KeyAdmin>);

impl Tokens {
    fn of(token: &Token, away: Token, open: Open) -> Self {
        let (provider, admin) = open(token);
        let (unknown, away) = (key(token, "nobody-made-this"), removed(away));
        Self { provider, admin, unknown, away, next: AtomicU32::new(0) }
    }
}

fn key(token: &Token, name: &str) -> KeyUri {
    KeyUri::parse(&format!("pkcs11:token={};object={name}", token.label.replace(' ', "%20"))).unwrap()
}

/// As a program has it that knows one token.
fn one_token(token: &Token) -> (Arc<dyn KeyProvider>, Arc<dyn KeyAdmin>) {
    let config = Pkcs11Config::new(token.module(), TokenSelector::label(&token.label));
    let provider = Arc::new(Pkcs11Provider::open(config.pin(PinSource::pin(pin(PIN)))).unwrap());
    (Arc::clone(&provider) as _, provider)
}

/// As a program has it that reads a configuration.
fn of_settings(token: &Token) -> (Arc<dyn KeyProvider>, Arc<dyn KeyAdmin>) {
    let scheme = Pkcs11Scheme::new(settings(token), &around()).unwrap();
    (scheme.open(&key(token, "any"), Purpose::Encrypt).unwrap(), scheme.admin(None).unwrap())
}

fn settings(token: &Token) -> Pkcs11Settings {
    let mut settings = Pkcs11Settings::default();
    (settings.module, settings.token) = (Some(token.module()), Some(token.label.clone()));
    settings
}

fn around() -> Surroundings {
    Surroundings::new(Arc::new(OnePin))
}

struct OnePin;

impl Secrets for OnePin {
    fn given(&self, _: &str) -> Result<Option<Zeroizing<String>>, SecretError> {
        Ok(Some(Zeroizing::new(PIN.into())))
    }

    fn ask(&self, name: &str, _: &Prompt<'_>) -> Result<Zeroizing<String>, SecretError> {
        panic!("nobody is asked for {name}")
    }
}

/// A key that was used until its token was removed. The suite shows its provider a wrap of another token,
/// which one that knows all tokens would open.
fn removed(token: Token) -> Subject {
    let (provider, admin) = one_token(&token);
    let key = block_on(admin.create_key(&NewKey::named("away"))).unwrap().uri;
    token.remove();
    Subject::new(provider, key)
}

impl Backend for Tokens {
    fn subject(&self) -> Subject {
        let name = format!("key-{}", self.next.fetch_add(1, Ordering::SeqCst));
        let key = block_on(self.admin.create_key(&NewKey::named(name))).unwrap().uri;
        Subject::new(Arc::clone(&self.provider), key)
    }

    fn other_subject(&self) -> Subject {
        self.subject()
    }

    fn unknown_key(&self) -> Option<KeyUri> {
        Some(self.unknown.clone())
    }

    fn unreachable(&self) -> Option<Subject> {
        Some(self.away.clone())
    }

    fn apply(&self, subject: &Subject, change: Change) -> Applied {
        block_on(conformance::apply_with_admin(&*self.admin, &subject.key, change))
    }
}

impl admin::AdminBackend for Tokens {
    fn admin(&self) -> Arc<dyn KeyAdmin> {
        Arc::clone(&self.admin)
    }

    fn provider(&self) -> Arc<dyn KeyProvider> {
        Arc::clone(&self.provider)
    }

    fn new_key(&self) -> NewKey {
        NewKey::named(format!("key-{}", self.next.fetch_add(1, Ordering::SeqCst)))
    }

    fn unknown_key(&self) -> KeyUri {
        self.unknown.clone()
    }
}

struct OfSettings<'t>(&'t Token);

impl scheme::SchemeBackend for OfSettings<'_> {
    fn scheme(&self, around: &Surroundings) -> Arc<dyn Scheme> {
        settings(self.0).into_scheme(around).unwrap()
    }

    fn keys(&self) -> Vec<KeyUri> {
        vec![key(self.0, "key-0"), key(self.0, "key-1")]
    }

    fn around(&self) -> Surroundings {
        around()
    }
}

fn conforms(kind: Kind) {
    // The suites want the process's loggers for themselves.
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _guard = ONE_AT_A_TIME.lock();
    for open in [one_token as Open, of_settings] {
        let Some(token) = kind.token() else { return };
        // A copy of the module has a state of its own, which can be shut down.
        let folder = tempfile::tempdir().unwrap();
        let copy = folder.path().join("module.so");
        std::fs::copy(token.module(), &copy).unwrap();
        let away = kind.of_module(copy, &tokens::fresh_label());
        let tokens = Tokens::of(&token, away, open);
        all_but(
            &conformance::run(&tokens),
            &[
                "a_provider_that_rewraps_has_an_identity_of_its_own",
                "a_rewrapped_dek_is_the_same_under_the_same_context_alone",
                "a_compromised_key_unwraps_and_does_not_wrap",
            ],
        );
        let never = [
            "a_destroyed_key_is_back_when_it_is_restored",
            "an_alias_is_the_key_it_was_made_for",
            "rotation_by_itself_is_told_as_it_was_set",
        ];
        let without_days = [
            "the_end_of_a_cryptoperiod_is_told_and_its_key_is_due",
            "the_end_of_a_cryptoperiod_is_of_the_version_it_was_set_for",
        ];
        let days = if kind == Kind::SoftHsm { &without_days[..] } else { &[] };
        all_but(&admin::run(&tokens), &[days, &never].concat());
        all_but(&scheme::run(&OfSettings(&token)), &[]);
    }
}

/// What a token cannot do is known, so that nothing more is left out unnoticed.
fn all_but(report: &Report, expected: &[&str]) {
    report.assert_conforms();
    let not_run: Vec<_> = report.not_run.iter().map(|(check, _)| *check).collect();
    assert_eq!(not_run, expected);
}

#[test]
fn softhsm_conforms() {
    conforms(Kind::SoftHsm);
}

#[test]
fn kryoptic_conforms() {
    conforms(Kind::Kryoptic);
}

#[test]
fn settings_conform() {
    scheme::run_settings::<Pkcs11Settings>().assert_conforms();
}
