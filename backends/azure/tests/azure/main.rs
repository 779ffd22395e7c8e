//! What must hold for Azure Key Vault and Managed HSM: conformance and administration
//! against a stand-in, which the testkit keeps honest; faults of each answer;
//! credentials; and the dependencies.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests are tests too")]

mod admin;
mod conformance;
mod credentials;
mod dependencies;
mod faults;
mod halves;
mod interop;
mod live;
mod local;
mod made;
mod managed;
mod matrix;
mod recipients;
mod tokens;
mod tools;
mod types;

use std::{
    path::PathBuf,
    sync::{
        Arc, LazyLock,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use azure_core::{
    credentials::{AccessToken, TokenRequestOptions},
    time::OffsetDateTime,
};
use envelope_azure::{AzureKeyVault, AzureKeyVaultBuilder, SymmetricAlgorithm, TokenCredential};
use envelope_sdk::{Dek, EncryptionContext, FullContext, KeyAdmin, KeyUri, NewKey, crypto::DefaultEngine};
use envelope_testkit::azure_server::{AzureServer, AzureService};
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// One runtime for all tests of the process: connections outlive a test.
static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().unwrap());

fn block_on<T>(future: impl Future<Output = T>) -> T {
    RUNTIME.block_on(future)
}

/// The stand-in, and a provider for it.
struct Azure {
    server: AzureServer,
    service: AzureService,
    folder: TempDir,
    host: &'static str,
    vaults: AzureKeyVault,
}

impl Azure {
    /// A vault.
    fn new() -> Self {
        Self::with(VAULT, |builder| builder)
    }

    /// A managed HSM.
    fn hsm() -> Self {
        Self::with(HSM, |builder| builder)
    }

    /// With other settings of the provider.
    fn with(host: &'static str, settings: impl FnOnce(AzureKeyVaultBuilder) -> AzureKeyVaultBuilder) -> Self {
        let server = AzureServer::new();
        let service = server.serve();
        let folder = TempDir::new().unwrap();
        server.write_ca(folder.path().join("ca.pem")).unwrap();
        let vaults = settings(at(&service, &folder).vault(host)).build();
        Self { server, service, folder, host, vaults }
    }

    fn builder(&self) -> AzureKeyVaultBuilder {
        at(&self.service, &self.folder)
    }

    fn ca(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// A new key.
    fn key(&self) -> KeyUri {
        self.key_with(|new| new)
    }

    fn key_with(&self, more: impl FnOnce(NewKey) -> NewKey) -> KeyUri {
        block_on(self.vaults.create_key(&more(NewKey::named(fresh_name())))).unwrap().uri
    }
}

/// Whatever passed was as Azure describes it.
impl Drop for Azure {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            assert_eq!(self.server.violations(), [] as [&str; 0]);
        }
    }
}

/// A provider for a server of the tests, with a token that may do everything.
fn at(service: &AzureService, folder: &TempDir) -> AzureKeyVaultBuilder {
    AzureKeyVault::builder()
        .domain(format!("localhost:{}", service.port()))
        .ca_file(folder.path().join("ca.pem"))
        .credential(Token::of("a-test"))
}

/// A token that is had already.
#[derive(Debug)]
struct Token(String);

impl Token {
    fn of(name: &str) -> Arc<Self> {
        Arc::new(Self(name.to_owned()))
    }
}

#[async_trait]
impl TokenCredential for Token {
    async fn get_token(
        &self,
        _: &[&str],
        _: Option<TokenRequestOptions<'_>>,
    ) -> azure_core::Result<AccessToken> {
        Ok(AccessToken::new(self.0.clone(), OffsetDateTime::now_utc() + Duration::from_secs(3600)))
    }
}

fn fresh_name() -> String {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    format!("tests-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::SeqCst))
}

fn key(host: &str, name: &str) -> KeyUri {
    KeyUri::parse(&format!("azurekeyvault://{host}/keys/{name}")).unwrap()
}

fn context() -> FullContext {
    EncryptionContext::new().with("tenant", "42").full().unwrap()
}

fn fresh_dek() -> Dek {
    Dek::generate::<DefaultEngine>().unwrap()
}

const VAULT: &str = "tests.vault.azure.net";
const HSM: &str = "tests.managedhsm.azure.net";
