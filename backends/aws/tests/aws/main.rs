//! What must hold for AWS KMS: conformance and administration against
//! LocalStack, errors against a server that returns nothing else, and the
//! dependencies.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests are tests too")]

mod admin;
mod aliases;
mod calls;
mod canned;
mod changes;
mod conformance;
mod dependencies;
mod faults;
mod fips;
#[cfg(unix)]
mod lazy;
mod live;
mod lost;
mod matrix;
mod new_keys;
mod recipients;
mod registry;
#[cfg(unix)]
mod surroundings;
mod transport;

use std::sync::{
    LazyLock,
    atomic::{AtomicUsize, Ordering},
};

use aws_config::BehaviorVersion;
use envelope_aws::{AwsKms, AwsKmsBuilder, Credentials};
use envelope_sdk::{
    Dek, EncryptionContext, FullContext, KeyAdmin, KeyDescription, KeyUri, NewKey, crypto::DefaultEngine,
};
use envelope_testkit::servers;
use tokio::runtime::Runtime;

/// One runtime for all tests of the process: connections outlive a test.
static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().unwrap());

fn block_on<T>(future: impl Future<Output = T>) -> T {
    RUNTIME.block_on(future)
}

/// A provider for LocalStack, or `None` when the test is to be skipped.
fn localstack() -> Option<AwsKms> {
    Some(at(&servers::address("LOCALSTACK")?).build())
}

/// A provider for a server of the tests, not for AWS, whatever the environment
/// says.
fn at(endpoint: &str) -> AwsKmsBuilder {
    AwsKms::builder()
        .endpoint_url(endpoint)
        .region(REGION)
        .credentials(Credentials::new("test", "test", None, None, "tests"))
}

/// A new key, with an alias that no other test has.
fn create(kms: &AwsKms) -> (KeyDescription, KeyUri) {
    let name = fresh_name();
    let key = block_on(kms.create_key(&NewKey::named(&name))).unwrap();
    (key, alias(&name))
}

/// The SDK's own client, for what the provider does not offer.
async fn client(address: &str) -> aws_sdk_kms::Client {
    let config = aws_config::defaults(BehaviorVersion::latest())
        .endpoint_url(address)
        .region(aws_config::Region::new(REGION))
        .credentials_provider(Credentials::new("test", "test", None, None, "tests"))
        .load()
        .await;
    aws_sdk_kms::Client::new(&config)
}

fn fresh_name() -> String {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    format!("tests/{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::SeqCst))
}

fn alias(name: &str) -> KeyUri {
    KeyUri::parse(&format!("arn:aws:kms:{REGION}:{ACCOUNT}:alias/{name}")).unwrap()
}

fn key(id: &str) -> KeyUri {
    KeyUri::parse(&format!("arn:aws:kms:{REGION}:{ACCOUNT}:key/{id}")).unwrap()
}

fn context() -> FullContext {
    EncryptionContext::new().with("tenant", "42").full().unwrap()
}

const REGION: &str = "eu-central-1";
/// The account of LocalStack.
const ACCOUNT: &str = "000000000000";
