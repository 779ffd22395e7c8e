//! What must hold for Google Cloud KMS: conformance and administration against a
//! stand-in, which the testkit keeps honest; faults of each answer; credentials; and
//! the dependencies.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests are tests too")]

mod admin;
mod answers;
mod canned;
mod changes;
mod conformance;
mod credentials;
mod dependencies;
mod external;
mod faults;
mod halves;
mod interop;
mod lists;
mod live;
mod load;
mod lost;
mod matrix;
mod permissions;
mod recipients;
mod registry;
mod retries;
mod transport;

use std::{
    sync::{
        LazyLock,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use envelope_gcp::{GcpKms, GcpKmsBuilder};
use envelope_sdk::{Dek, EncryptionContext, FullContext, KeyAdmin, KeyUri, NewKey, crypto::DefaultEngine};
use envelope_testkit::{gcp_server::GcpServer, http_server::HttpServer};
use tokio::runtime::Runtime;

/// One runtime for all tests of the process: connections outlive a test.
static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().unwrap());

fn block_on<T>(future: impl Future<Output = T>) -> T {
    RUNTIME.block_on(future)
}

/// The stand-in with a key ring, and a provider for it.
struct Gcp {
    server: GcpServer,
    http: HttpServer,
    kms: GcpKms,
}

impl Gcp {
    fn new() -> Self {
        Self::with(|builder| builder)
    }

    /// With other settings of the provider.
    fn with(settings: impl FnOnce(GcpKmsBuilder) -> GcpKmsBuilder) -> Self {
        let server = GcpServer::new();
        let http = server.serve();
        let kms = settings(at(&http.url())).build();
        block_on(kms.create_key_ring(RING)).unwrap();
        Self { server, http, kms }
    }

    /// A new key.
    fn key(&self) -> KeyUri {
        self.key_with(|new| new)
    }

    fn key_with(&self, more: impl FnOnce(NewKey) -> NewKey) -> KeyUri {
        block_on(self.kms.create_key(&more(NewKey::named(fresh_name())))).unwrap().uri
    }

    /// The calls since the last time, in their order, such as `POST …:encrypt` as
    /// `encrypt`.
    fn calls(&self) -> Vec<String> {
        self.http.take().iter().map(canned::call_of).collect()
    }
}

/// Whatever passed was as Google describes it.
impl Drop for Gcp {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            assert_eq!(self.server.violations(), [] as [&str; 0]);
        }
    }
}

/// A provider for a server of the tests, not for Google, whatever the environment
/// says.
fn at(endpoint: &str) -> GcpKmsBuilder {
    GcpKms::builder().endpoint_url(endpoint).anonymous().key_ring(RING)
}

/// As [`at`], with one attempt: long enough for an answer, short for those that
/// never come.
fn once_at(endpoint: &str) -> GcpKmsBuilder {
    at(endpoint).attempts(1).attempt_timeout(Duration::from_millis(1500))
}

fn fresh_name() -> String {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    format!("tests-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::SeqCst))
}

fn key(name: &str) -> KeyUri {
    KeyUri::parse(&format!("{RING}/cryptoKeys/{name}")).unwrap()
}

fn context() -> FullContext {
    EncryptionContext::new().with("tenant", "42").full().unwrap()
}

fn fresh_dek() -> Dek {
    Dek::generate::<DefaultEngine>().unwrap()
}

const RING: &str = "projects/tests/locations/europe-west3/keyRings/tests";
