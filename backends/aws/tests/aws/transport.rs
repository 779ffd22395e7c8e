//! The way to KMS: where requests may go, and answers without an end.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
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
    ProviderErrorKind::{Invalid, Other, Protocol, Unavailable},
    http::MAX_ANSWER_LEN,
};
use envelope_testkit::http_server::{Answer, HttpServer};

use super::*;

#[test]
fn plain_http_leaves_this_machine_in_no_setting() {
    let (client, sent) = Counting::client();
    for url in ["http://kms.example", "http://192.0.2.1:4566", "http://localhost.localstack.cloud"] {
        let host = url.trim_start_matches("http://").split(':').next().unwrap();
        for kms in [at(url).build(), elsewhere(url, None), elsewhere(url, Some(&client))] {
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
        for kms in [at(url).build(), elsewhere(url, None), elsewhere(url, Some(&Counting::client().0))] {
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
        let answer = Answer::new(status).header("content-type", "application/x-amz-json-1.1").endless();
        let server = HttpServer::in_turn([answer]);
        let error = wrap(&at(&server.url()).attempts(1).build()).unwrap_err();
        assert_eq!((error.kind(), error.is_retryable()), (Protocol, false), "{status}: {error}");
        let says = format!("the answer of AWS KMS is longer than {MAX_ANSWER_LEN} bytes");
        assert!(error.message().contains(&says), "{status}: {error}");
        // What the sockets hold besides is some megabytes.
        let sent = server.sent();
        assert!(sent < 64 * MAX_ANSWER_LEN, "{status}: {sent} bytes were taken");
    }
}

#[test]
fn an_answer_that_drips_ends_with_the_attempt() {
    let drip = Answer::new(200).content_length(100_000).dripping(Duration::from_millis(20));
    let server = HttpServer::in_turn([drip]);
    let begun = Instant::now();
    let kms = at(&server.url()).attempts(1).attempt_timeout(Duration::from_millis(500)).build();
    let error = wrap(&kms).unwrap_err();
    assert_eq!((error.kind(), error.is_retryable()), (Unavailable, true), "{error}");
    assert!(error.message().contains("did not answer in time"), "{error}");
    // Less than a tenth of what the whole answer would take.
    assert!(begun.elapsed() < Duration::from_secs(100), "{:?}", begun.elapsed());
}

#[test]
fn credentials_that_do_not_come_in_time_are_not_blamed_on_kms_alone() {
    let server = HttpServer::in_turn([]);
    let kms = at(&server.url()).credentials(Never).attempts(1).attempt_timeout(Duration::from_millis(100));
    let error = wrap(&kms.build()).unwrap_err();
    assert_eq!((error.kind(), error.is_retryable()), (Unavailable, true), "{error}");
    assert!(error.message().contains("or the source of the credentials for it"), "{error}");
}

/// What comes is no answer of KMS, in one way or another.
#[test]
fn answers_that_break_off_are_wrong_or_huge_are_refused_and_said_to_be_tried_again_if_that_may_help() {
    let body = "{\"KeyId\":\"x\"}";
    for (answer, kind) in [
        (Answer::json(200, body).cut_after(0), Unavailable),
        (Answer::json(200, body).cut_after(10), Unavailable),
        (Answer::json(200, body).content_length(body.len() + 1), Unavailable),
        (Answer::json(200, body).chunked().cut_after(80), Unavailable),
        (Answer::raw("no HTTP at all\r\n\r\n"), Unavailable),
        (Answer::json(200, body).header("x-huge", "x".repeat(4 * 1024 * 1024)), Unavailable),
        (Answer::new(302).header("location", "http://127.0.0.1:1/"), Other),
        (Answer::json(200, body).content_length(3), Protocol),
        (Answer::json(200, body).chunked(), Protocol),
        (Answer::json(200, body).until_closed(), Protocol),
    ] {
        let server = HttpServer::in_turn([answer.clone()]);
        let error = wrap(&at(&server.url()).attempts(1).build()).unwrap_err();
        let shown = format!("{:.200}", format!("{answer:?}"));
        assert_eq!((error.kind(), error.is_retryable()), (kind, kind == Unavailable), "{shown}: {error}");
        assert_eq!(server.count(), 1, "{shown}: no redirect is followed");
    }
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
