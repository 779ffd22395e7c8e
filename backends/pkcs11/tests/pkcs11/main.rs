//! What must hold for keys on PKCS#11 tokens, tested on SoftHSM 2 and kryoptic in the same run.
//!
//! `scripts/with-servers` hands both over. A test whose token is missing is skipped by name; with
//! `REQUIRE_SERVERS=1` it fails.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests are tests too")]
#![allow(clippy::print_stdout, reason = "skipped tests, children and figures speak through it")]

mod admin;
mod dry_runs;
mod keys;
mod making;
mod matrix;
mod modules;
mod pins;
mod scheme;
mod sessions;
#[path = "../tokens/mod.rs"]
mod tokens;
mod whose_pin;
mod wraps;

use envelope_pkcs11::{PinSource, Pkcs11Config, Pkcs11Provider, TokenSelector, Weakness};
use envelope_sdk::{
    Dek, EncryptionContext, FullContext, KeyAdmin, KeyDescription, KeyProvider, KeyState, KeyUri, NewKey,
    ProviderError, ProviderErrorKind, WrappedDek, admin::all_keys, crypto::DefaultEngine,
};
use futures_executor::block_on;

use tokens::{Kind, PIN, Token, pin};

/// A test for each kind of token: a function that takes a [`Token`].
macro_rules! on_each_token {
    ($($name:ident),* $(,)?) => {
        mod softhsm {
            $(#[test] fn $name() {
                if let Some(token) = crate::Kind::SoftHsm.token() {
                    super::$name(&token);
                }
            })*
        }
        mod kryoptic {
            $(#[test] fn $name() {
                if let Some(token) = crate::Kind::Kryoptic.token() {
                    super::$name(&token);
                }
            })*
        }
    };
}
use on_each_token;

fn context(tenant: &str) -> FullContext {
    EncryptionContext::new().with("tenant", tenant).full().unwrap()
}

fn dek() -> Dek {
    Dek::generate::<DefaultEngine>().unwrap()
}

fn config(token: &Token) -> Pkcs11Config {
    let pin = PinSource::pin(pin(PIN));
    Pkcs11Config::new(token.module(), TokenSelector::label(&token.label)).pin(pin)
}

fn open(token: &Token) -> Pkcs11Provider {
    Pkcs11Provider::open(config(token)).unwrap()
}

/// A provider of the token, and a key `db` made by it.
fn with_key(token: &Token) -> (Pkcs11Provider, KeyUri) {
    let provider = open(token);
    let key = create(&provider, "db").uri;
    (provider, key)
}

fn create(provider: &Pkcs11Provider, name: &str) -> KeyDescription {
    block_on(provider.create_key(&NewKey::named(name))).unwrap()
}

fn list(provider: &Pkcs11Provider) -> Vec<KeyDescription> {
    block_on(all_keys(provider)).unwrap()
}

fn wrap(provider: &Pkcs11Provider, key: &KeyUri, dek: &Dek) -> Result<WrappedDek, ProviderError> {
    block_on(provider.wrap_dek(key, dek, &context("42")))
}

fn unwrap(provider: &Pkcs11Provider, wrapped: &WrappedDek) -> Result<Dek, ProviderError> {
    block_on(provider.unwrap_dek(wrapped, &context("42")))
}

/// The error of an outcome that must be of this kind and say this.
fn refused<T>(outcome: Result<T, ProviderError>, kind: ProviderErrorKind, says: &str) -> ProviderError {
    let error = outcome.err().expect("it must be refused");
    assert_eq!(error.kind(), kind, "{error:?}");
    assert!(error.message().contains(says), "{says:?} is not in {error}");
    error
}

fn states(key: &KeyDescription) -> Vec<(&str, KeyState)> {
    key.versions.iter().map(|version| (version.version.as_str(), version.state)).collect()
}
