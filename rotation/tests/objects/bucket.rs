//! A bucket of its own for each test.

use std::{
    hash::{BuildHasher, Hasher, RandomState},
    sync::Arc,
};

use envelope_rotation::Objects;
use envelope_testkit::servers;
use futures_util::TryStreamExt;
use http::Request;
use object_store::{
    Attributes, ClientOptions, ObjectStore, ObjectStoreExt, PutOptions,
    aws::AmazonS3Builder,
    azure::{AzureAccessKey, AzureAuthorizer, AzureCredential, MicrosoftAzureBuilder},
    client::{HttpConnector, HttpRequestBody, ReqwestConnector},
    gcp::GoogleCloudStorageBuilder,
    path::Path,
};

#[derive(Clone)]
pub(crate) struct Bucket {
    pub(crate) scheme: &'static str,
    /// `127.0.0.1:PORT`.
    pub(crate) address: String,
    pub(crate) name: String,
    pub(crate) store: Arc<dyn ObjectStore>,
}

impl Bucket {
    pub(crate) async fn s3() -> Option<Self> {
        let url = servers::address("LOCALSTACK")?;
        let name = new_name();
        create(Request::put(format!("{url}/{name}")), None).await;
        let store = AmazonS3Builder::new()
            .with_endpoint(&url)
            .with_bucket_name(&name)
            .with_region("us-east-1")
            .with_access_key_id("test")
            .with_secret_access_key("test")
            .with_allow_http(true);
        Some(Self::of("s3", &url, name, Arc::new(store.build().unwrap())))
    }

    pub(crate) async fn azure() -> Option<Self> {
        let url = servers::address("AZURITE")?;
        let name = new_name();
        create(Request::put(format!("{url}/{ACCOUNT}/{name}?restype=container")), Some(())).await;
        let store = MicrosoftAzureBuilder::new()
            .with_account(ACCOUNT)
            .with_access_key(ACCOUNT_KEY)
            .with_endpoint(format!("{url}/{ACCOUNT}"))
            .with_container_name(&name)
            .with_allow_http(true);
        Some(Self::of("az", &url, name, Arc::new(store.build().unwrap())))
    }

    pub(crate) async fn google() -> Option<Self> {
        let url = servers::address("GCS")?;
        let name = new_name();
        create(Request::put(format!("{url}/{name}")), None).await;
        let store = GoogleCloudStorageBuilder::new()
            .with_base_url(&url)
            .with_bucket_name(&name)
            .with_bearer_token("x")
            .with_client_options(ClientOptions::new().with_allow_http(true));
        Some(Self::of("gs", &url, name, Arc::new(store.build().unwrap())))
    }

    fn of(scheme: &'static str, url: &str, name: String, store: Arc<dyn ObjectStore>) -> Self {
        Self { scheme, address: url.trim_start_matches("http://").to_owned(), name, store }
    }

    /// The objects below these keys, asked for at the server itself.
    pub(crate) fn objects(&self, keys: &[&str]) -> Objects {
        self.objects_at(&format!("http://{}", self.address), keys)
    }

    /// As [`objects`](Self::objects), at something that stands before the server.
    pub(crate) fn objects_at(&self, url: &str, keys: &[&str]) -> Objects {
        let azure = format!("{url}/{ACCOUNT}");
        let settings = [
            ("aws_endpoint", url),
            ("aws_access_key_id", "test"),
            ("aws_secret_access_key", "test"),
            ("aws_region", "us-east-1"),
            ("google_base_url", url),
            ("google_bearer_token", "x"),
            ("azure_storage_endpoint", azure.as_str()),
            ("azure_storage_account_name", ACCOUNT),
            ("azure_storage_account_key", ACCOUNT_KEY),
        ];
        let urls: Vec<_> = keys.iter().map(|key| self.url(key)).collect();
        Objects::open_with(&urls, &settings).unwrap()
    }

    pub(crate) fn url(&self, key: &str) -> String {
        format!("{}://{}/{key}", self.scheme, self.name)
    }

    pub(crate) async fn put(&self, key: &str, bytes: Vec<u8>) {
        self.store.put(&Path::from(key), bytes.into()).await.unwrap();
    }

    pub(crate) async fn put_with(&self, key: &str, bytes: Vec<u8>, attributes: Attributes) {
        let options = PutOptions { attributes, ..PutOptions::default() };
        self.store.put_opts(&Path::from(key), bytes.into(), options).await.unwrap();
    }

    pub(crate) async fn get(&self, key: &str) -> Vec<u8> {
        self.store.get(&Path::from(key)).await.unwrap().bytes().await.unwrap().into()
    }

    pub(crate) async fn attributes(&self, key: &str) -> Attributes {
        self.store.get(&Path::from(key)).await.unwrap().attributes
    }

    pub(crate) async fn delete(&self, key: &str) {
        self.store.delete(&Path::from(key)).await.unwrap();
    }

    /// All keys, in order.
    pub(crate) async fn keys(&self) -> Vec<String> {
        let mut keys: Vec<String> =
            self.store.list(None).map_ok(|object| object.location.to_string()).try_collect().await.unwrap();
        keys.sort();
        keys
    }
}

async fn create(request: http::request::Builder, signed: Option<()>) {
    let mut request = request.header("content-length", "0").body(HttpRequestBody::empty()).unwrap();
    if signed.is_some() {
        let credential = AzureCredential::AccessKey(AzureAccessKey::try_new(ACCOUNT_KEY).unwrap());
        AzureAuthorizer::new(&credential, ACCOUNT).try_authorize(&mut request).unwrap();
    }
    let client = ReqwestConnector::default().connect(&ClientOptions::new().with_allow_http(true)).unwrap();
    let answer = client.execute(request).await.unwrap();
    assert!(answer.status().is_success(), "{}", answer.status());
}

fn new_name() -> String {
    format!("t{:016x}", RandomState::new().build_hasher().finish())
}

const ACCOUNT: &str = "devstoreaccount1";
/// The key that everybody knows.
const ACCOUNT_KEY: &str =
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";
