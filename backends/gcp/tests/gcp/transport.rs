//! The way to KMS: where requests may go.

use envelope_sdk::{
    KeyProvider, ProviderError,
    ProviderErrorKind::{Invalid, Other, Unavailable},
};
use envelope_testkit::http_server::{Answer, HttpServer};

use super::{
    canned::{Canned, encrypted, the_key},
    *,
};

fn wrap(kms: &GcpKms) -> Result<(), ProviderError> {
    block_on(kms.wrap_dek(&the_key(), &fresh_dek(), &context())).map(drop)
}

#[test]
fn plain_http_leaves_this_machine_in_no_setting() {
    for url in ["http://cloudkms.example", "http://192.0.2.1:9000", "http://localhost.example"] {
        let host = url.trim_start_matches("http://").split(':').next().unwrap();
        let error = wrap(&at(url).build()).unwrap_err();
        assert_eq!((error.kind(), error.is_retryable()), (Invalid, false), "{error}");
        let says = format!("Cloud KMS is not asked: plain http to {host} would show keys");
        assert!(error.message().contains(&says), "{error}");
    }
}

#[test]
fn an_endpoint_that_is_no_url_is_refused_and_shows_no_secret() {
    for url in ["", "localhost:9000", "cloudkms.example", "//cloudkms.example", "https://", "x y"] {
        let error = wrap(&at(url).build()).unwrap_err();
        assert_eq!((error.kind(), error.key()), (Invalid, Some(&the_key())), "{url}: {error}");
        assert!(error.message().contains("https://HOST:PORT"), "{url}: {error}");
    }
    let error = wrap(&at("https://user:canary-4711@localhost").build()).unwrap_err();
    assert!(error.kind() == Invalid && !format!("{error} {error:?}").contains("4711"), "{error}");
    let error = wrap(&at("http://127.0.0.1:1/?key=canary-4711").build()).unwrap_err();
    assert!(error.kind() == Invalid && !format!("{error} {error:?}").contains("4711"), "{error}");
}

#[test]
fn nobody_is_asked_without_credentials_but_on_this_machine() {
    for builder in [
        GcpKms::builder().anonymous(),
        GcpKms::builder().anonymous().endpoint_url("https://cloudkms.googleapis.com"),
        GcpKms::builder().anonymous().endpoint_url("https://192.0.2.1"),
    ] {
        let error = wrap(&builder.build()).unwrap_err();
        assert_eq!((error.kind(), error.is_retryable()), (Invalid, false));
        assert!(error.message().starts_with("without credentials Cloud KMS is asked only"), "{error}");
    }
}

/// It would send the DEK there, also by plain http.
#[test]
fn a_redirect_is_not_followed() {
    for status in [301, 302, 303, 307, 308] {
        let other = HttpServer::answering(|_| Answer::json(200, encrypted().to_string()));
        let to = other.url();
        let server = Canned::answering(move |_| Answer::new(status).header("location", format!("{to}/v1/x")));
        let error = server.wrap().unwrap_err();
        assert_eq!((error.kind(), error.is_retryable()), (Other, false), "{error}");
        assert!(error.message().contains(&format!("a redirect (status {status}), which is not followed")));
        assert_eq!(other.count(), 0, "{status}");
    }
}

#[test]
fn an_endpoint_may_have_a_path_before_it() {
    let server = Canned::saying(encrypted().to_string());
    let kms = once_at(&format!("{}/behind/a/proxy/", server.0.url())).build();
    wrap(&kms).unwrap();
    let path = server.0.requests()[0].path().to_owned();
    assert_eq!(path, format!("/behind/a/proxy/v1/{RING}/cryptoKeys/the-key:encrypt"));
}

/// The project of a domain has a colon, as the verbs of Google have.
#[test]
fn a_key_of_a_project_of_a_domain_is_asked_by_its_name() {
    let name = "projects/example.com:p-1/locations/global/keyRings/r/cryptoKeys/k";
    let answer = canned::with(encrypted(), "name", Some(format!("{name}/cryptoKeyVersions/3").into()));
    let server = Canned::saying(answer.to_string());
    let key = KeyUri::parse(name).unwrap();
    let wrapped = block_on(server.kms().wrap_dek(&key, &fresh_dek(), &context())).unwrap();
    assert_eq!((wrapped.key_uri(), wrapped.key_version()), (&key, "3"));
    assert_eq!(server.0.requests()[0].path(), format!("/v1/{name}:encrypt"));
}

#[test]
fn the_quota_project_is_sent_and_must_fit_into_a_header() {
    let server = Canned::saying(encrypted().to_string());
    wrap(&once_at(&server.0.url()).quota_project("counted-for").build()).unwrap();
    assert_eq!(server.0.requests()[0].header("x-goog-user-project"), Some("counted-for"));
    let error = wrap(&once_at(&server.0.url()).quota_project("a\r\nb: c").build()).unwrap_err();
    assert_eq!(error.kind(), Invalid);
    assert_eq!(server.0.count(), 1);
}

/// Google's client takes no limit of size: the deadline ends it.
#[test]
fn an_answer_without_an_end_ends_with_the_deadline() {
    for answer in [
        Answer::new(200).header("content-type", "application/json").endless(),
        Answer::new(503).endless(),
        Answer::json(200, encrypted().to_string()).dripping(Duration::from_millis(50)),
    ] {
        let server = Canned::answering(move |_| answer.clone());
        let kms = at(&server.0.url()).attempts(1).attempt_timeout(Duration::from_millis(100)).build();
        let error = wrap(&kms).unwrap_err();
        assert_eq!((error.kind(), error.is_retryable()), (Unavailable, true), "{error}");
    }
}
