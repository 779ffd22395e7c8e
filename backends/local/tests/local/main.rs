//! What must hold for passphrase recipients and keystore files.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests are tests too")]
#![allow(clippy::print_stdout, reason = "children and seeds speak through it")]

mod asynchronous;
mod cryptoperiods;
mod dry_runs;
mod files;
mod freshness;
mod golden;
mod keys;
mod on_use;
mod passphrase;
mod processes;
mod scheme;
mod secrets;
mod tampering;
mod unlocking;
mod vectors;

use std::path::PathBuf;

use envelope_local::{Argon2Params, Keystore, Passphrase};
use envelope_sdk::{
    Dek, EncryptionContext, FullContext, KeyProvider, KeyUri, NewKey, ProviderError, WrappedDek,
    crypto::DefaultEngine,
};
use futures_executor::block_on;
use tempfile::TempDir;

/// As cheap as it is allowed: these tests are not about guessing.
const FAST: Argon2Params = Argon2Params::MINIMUM;
const SECRET: &str = "correct horse";

fn passphrase(text: &str) -> Passphrase {
    Passphrase::new(text.into()).unwrap()
}

fn context(tenant: &str) -> FullContext {
    EncryptionContext::new().with("tenant", tenant).full().unwrap()
}

fn dek() -> Dek {
    Dek::generate::<DefaultEngine>().unwrap()
}

fn wrap(provider: &impl KeyProvider, key: &str, dek: &Dek) -> Result<WrappedDek, ProviderError> {
    block_on(provider.wrap_dek(&KeyUri::parse(key).unwrap(), dek, &context("42")))
}

fn unwrap(provider: &impl KeyProvider, wrapped: &WrappedDek) -> Result<Dek, ProviderError> {
    block_on(provider.unwrap_dek(wrapped, &context("42")))
}

/// A folder with a keystore in it.
struct Store {
    folder: TempDir,
    keystore: Keystore,
}

impl Store {
    fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let keystore =
            Keystore::create_with(folder.path().join("keys.json"), &passphrase(SECRET), FAST).unwrap();
        Self { folder, keystore }
    }

    fn path(&self) -> PathBuf {
        self.keystore.path().into()
    }

    fn text(&self) -> String {
        std::fs::read_to_string(self.path()).unwrap()
    }

    fn open(&self) -> Keystore {
        Keystore::open(self.path(), &passphrase(SECRET)).unwrap()
    }

    fn names(&self) -> Vec<String> {
        let mut names: Vec<_> = std::fs::read_dir(self.folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }
}
