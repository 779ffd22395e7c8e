//! The way to KMS: where requests may go, and answers without an end.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use aws_credential_types::provider::{ProvideCredentials, future};
use aws_sdk_kms::config::{HttpClient, RuntimeComponents, SharedCredentialsProvider};
use aws_smithy_runtime_api::client::{
    http::{HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector},
    orchestrator::HttpRequest,
    result::ConnectorError,
};
use base64ct::{Base64, Encoding};
use envelope_aws::SdkConfig;
use envelope_sdk::{
    KeyProvider, ProviderError,
    ProviderErrorKind::{Invalid, Protocol, Unavailable},
    http::MAX_ANSWER_LEN,
};

use super::*;

#[test]
fn plain_http_leaves_this_machine_in_no_setting() {
    let (client, sent) = Counting::client();
    for url in ["http://kms.example", "http://192.0.2.1:4566", "http://localhost.localstack.cloud"] {
        let host = url.trim_start_matches("http://").split(':').next().unwrap();
        for kms in [block_on(at(url).build()), elsewhere(url, None), elsewhere(url, Some(&client))] {
            let error = wrap(&kms).unwrap_err();
            assert_eq!((error.kind(), error.is_retryable()), (Invalid, false), "{error}");
            let says = format!("AWS KMS is not asked: plain http to {host} would show keys");
            assert!(error.message().contains(&says), "{error}");
        }
    }
    assert_eq!(sent.load(Ordering::SeqCst), 0);
    // The same client is asked where it may be: it is the check that held it back.
    assert_eq!(wrap(&elsewhere("http://127.0.0.1:9", Some(&client))).unwrap_err().kind(), Unavailable);
    assert_eq!(sent.load(Ordering::SeqCst), 1);
}

/// The SDK shows the whole request when it cannot address it.
#[test]
fn an_endpoint_that_is_no_url_shows_no_dek() {
    for url in [
        "",
        "localhost:4566",
        "127.0.0.1:4566",
        "kms.example",
        "//kms.example",
        "http:kms",
        "https://",
        "x y",
    ] {
        for kms in
            [block_on(at(url).build()), elsewhere(url, None), elsewhere(url, Some(&Counting::client().0))]
        {
            let dek = Dek::generate::<DefaultEngine>().unwrap();
            let wrapped =
                block_on(kms.wrap_dek(&key("1234abcd-12ab-34cd-56ef-1234567890ab"), &dek, &context()));
            let error = wrapped.unwrap_err();
            assert_eq!((error.kind(), error.is_retryable()), (Invalid, false), "{url}: {error}");
            assert!(error.message().contains("https://HOST:PORT"), "{url}: {error}");
            let all =
                format!("{error} {error:?} {:?}", std::error::Error::source(&error).map(ToString::to_string));
            for shown in ["Plaintext", "SdkBody", &Base64::encode_string(dek.expose())] {
                assert!(!all.contains(shown), "{url}: {all}");
            }
        }
    }
}

#[test]
fn an_answer_without_an_end_is_cut_off() {
    for status in [200, 400, 503] {
        let (address, sent) = server(move |connection, sent| {
            let head = format!("HTTP/1.1 {status} x\r\ncontent-type: application/x-amz-json-1.1\r\n\r\n");
            connection.write_all(head.as_bytes())?;
            loop {
                connection.write_all(&[b' '; 64 * 1024])?;
                sent.fetch_add(64 * 1024, Ordering::SeqCst);
            }
        });
        let error = wrap(&block_on(at(&address).attempts(1).build())).unwrap_err();
        assert_eq!((error.kind(), error.is_retryable()), (Protocol, false), "{status}: {error}");
        let says = format!("the answer of AWS KMS is longer than {MAX_ANSWER_LEN} bytes");
        assert!(error.message().contains(&says), "{status}: {error}");
        // What the sockets hold besides is some megabytes.
        let sent = sent.load(Ordering::SeqCst);
        assert!(sent < 64 * MAX_ANSWER_LEN, "{status}: {sent} bytes were taken");
    }
}

#[test]
fn an_answer_that_drips_ends_with_the_attempt() {
    let (address, _) = server(|connection, _| {
        connection.write_all(b"HTTP/1.1 200 x\r\ncontent-length: 100000\r\n\r\n")?;
        loop {
            connection.write_all(b" ")?;
            // The drip itself: nothing waits for it.
            thread::sleep(Duration::from_millis(20));
        }
    });
    let begun = Instant::now();
    let kms = block_on(at(&address).attempts(1).attempt_timeout(Duration::from_millis(500)).build());
    let error = wrap(&kms).unwrap_err();
    assert_eq!((error.kind(), error.is_retryable()), (Unavailable, true), "{error}");
    assert!(error.message().contains("did not answer in time"), "{error}");
    // Less than a tenth of what the whole answer would take.
    assert!(begun.elapsed() < Duration::from_secs(100), "{:?}", begun.elapsed());
}

#[test]
fn credentials_that_do_not_come_in_time_are_not_blamed_on_kms_alone() {
    let (address, _) = server(|_, _| Ok(()));
    let kms = at(&address).credentials(Never).attempts(1).attempt_timeout(Duration::from_millis(100));
    let error = wrap(&block_on(kms.build())).unwrap_err();
    assert_eq!((error.kind(), error.is_retryable()), (Unavailable, true), "{error}");
    assert!(error.message().contains("or the source of the credentials for it"), "{error}");
}

/// Credentials that never come.
#[derive(Debug)]
struct Never;

impl ProvideCredentials for Never {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(std::future::pending())
    }
}

/// With settings of the SDK that somebody else made.
fn elsewhere(url: &str, client: Option<&Counting>) -> AwsKms {
    let credentials = Credentials::new("test", "test", None, None, "tests");
    let mut settings = SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .endpoint_url(url)
        .region(aws_config::Region::new(REGION))
        .retry_config(aws_config::retry::RetryConfig::disabled())
        .credentials_provider(SharedCredentialsProvider::new(credentials));
    if let Some(client) = client {
        settings = settings.http_client(client.clone());
    }
    AwsKms::from_sdk_config(settings.build())
}

fn wrap(kms: &AwsKms) -> Result<(), ProviderError> {
    let dek = Dek::generate::<DefaultEngine>().unwrap();
    block_on(kms.wrap_dek(&key("1234abcd-12ab-34cd-56ef-1234567890ab"), &dek, &context())).map(drop)
}

/// Answers each connection, once its request's head has come, until the peer
/// goes. Its address; it ends with the process.
fn server(
    answer: impl Fn(&mut TcpStream, &AtomicUsize) -> std::io::Result<()> + Send + Sync + 'static,
) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let sent = Arc::new(AtomicUsize::new(0));
    let count = sent.clone();
    thread::spawn(move || {
        for connection in listener.incoming() {
            let mut connection = connection.unwrap();
            let mut head = [0; 16 * 1024];
            if connection.read(&mut head).unwrap() > 0 {
                // Ends when the peer has gone.
                let _ = answer(&mut connection, &count);
            }
        }
    });
    (address, sent)
}

/// A client for HTTP of somebody else, which counts and sends nothing.
#[derive(Debug, Clone)]
struct Counting(Arc<AtomicUsize>);

impl Counting {
    fn client() -> (Self, Arc<AtomicUsize>) {
        let sent = Arc::new(AtomicUsize::new(0));
        (Self(sent.clone()), sent)
    }
}

impl HttpClient for Counting {
    fn http_connector(&self, _: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}

impl HttpConnector for Counting {
    fn call(&self, _: HttpRequest) -> HttpConnectorFuture {
        self.0.fetch_add(1, Ordering::SeqCst);
        HttpConnectorFuture::ready(Err(ConnectorError::io("nothing is sent".into())))
    }
}
