//! What must hold for keys of Transit: conformance and administration against HashiCorp's own server, logins,
//! policies of least privilege, a server that is sealed meanwhile; faults of each answer; and the dependencies.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests are tests too")]

mod addresses;
mod admin;
mod batch;
mod between;
mod changes;
mod conformance;
mod credentials;
mod dependencies;
mod environment;
mod faults;
mod halves;
mod matrix;
mod policies;
mod recipients;
mod sealed;
mod server;
mod tokens;

use std::{
    sync::{
        LazyLock,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use envelope_sdk::{
    Dek, EncryptionContext, FullContext, KeyProvider, KeyUri, ProviderError, WrappedDek,
    crypto::DefaultEngine,
};
use envelope_vault::{HashiVault, HashiVaultBuilder};
use serde_json::{Value, json};
use server::Server;
use tokio::runtime::Runtime;

/// One runtime for all tests of the process: connections outlive a test.
static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().unwrap());

fn block_on<T>(future: impl Future<Output = T>) -> T {
    RUNTIME.block_on(future)
}

/// A provider for a server of the tests, whatever the environment says.
fn at(url: &str) -> HashiVaultBuilder {
    HashiVault::builder().address(url).token("root")
}

fn wrap(vault: &HashiVault, key: &KeyUri) -> Result<WrappedDek, ProviderError> {
    block_on(vault.wrap_dek(key, &fresh_dek(), &context()))
}

fn unwrap(vault: &HashiVault, wrapped: &WrappedDek) -> Result<Dek, ProviderError> {
    block_on(vault.unwrap_dek(wrapped, &context()))
}

fn fresh_name() -> String {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    format!("tests-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::SeqCst))
}

fn key(name: &str) -> KeyUri {
    KeyUri::parse(&format!("hashivault://transit/{name}")).unwrap()
}

fn context() -> FullContext {
    EncryptionContext::new().with("tenant", "42").full().unwrap()
}

fn other_context() -> FullContext {
    EncryptionContext::new().with("tenant", "43").full().unwrap()
}

fn fresh_dek() -> Dek {
    Dek::generate::<DefaultEngine>().unwrap()
}
