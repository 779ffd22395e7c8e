//! Answers that are lost when something is made: nothing is made twice, and nobody
//! is told that it was not made when it may have been.

use envelope_sdk::{
    KeyAdmin,
    ProviderErrorKind::{Invalid, Protocol, Unavailable},
};
use envelope_testkit::{
    gcp_server::{Code, GcpServer, Reply},
    http_server::Answer,
};

use super::{canned::call_of, *};

/// The stand-in does it and its answer to that call is another one.
fn losing(gcp: &Gcp, lost: &'static str, answer: Answer) -> (HttpServer, GcpKms) {
    let http = gcp.server.serve_with(
        move |request, reply| {
            if call_of(request) == lost { answer.clone() } else { reply.into() }
        },
    );
    let kms = at(&http.url()).build();
    (http, kms)
}

fn counted(http: &HttpServer, call: &str) -> usize {
    http.requests().iter().filter(|request| call_of(request) == call).count()
}

#[test]
fn a_key_or_version_is_made_in_one_attempt_and_a_lost_answer_says_how_to_look() {
    let gcp = Gcp::new();
    let rotated = gcp.key();
    for (answer, kind) in [
        (Reply::error(Code::Unavailable, "m").into(), Unavailable),
        (Reply::error(Code::Internal, "m").into(), Unavailable),
        (Answer::new(502), Unavailable),
        (Answer::hang_up(), Unavailable),
        (Answer::json(200, "garbage"), Protocol),
        (Answer::json(200, "{}"), Protocol),
    ] {
        let (http, kms) = losing(&gcp, "POST cryptoKeys", answer.clone());
        let name = fresh_name();
        let error = block_on(kms.create_key(&NewKey::named(&name))).unwrap_err();
        assert_eq!((error.kind(), error.is_retryable()), (kind, false), "{error}");
        let words =
            "It is not known whether it was done all the same: describe the key, before another is made";
        assert!(error.message().ends_with(words), "{error}");
        assert_eq!(counted(&http, "POST cryptoKeys"), 1);
        assert!(block_on(gcp.kms.describe(&key(&name))).is_ok(), "it was made");

        let (http, kms) = losing(&gcp, "POST cryptoKeyVersions", answer);
        let error = block_on(kms.rotate_key(&rotated)).unwrap_err();
        assert_eq!((error.kind(), error.is_retryable(), error.key()), (kind, false, Some(&rotated)));
        assert!(error.message().contains("make the newest version the primary one"), "{error}");
        assert_eq!(counted(&http, "POST cryptoKeyVersions"), 1);
    }
    let versions = block_on(gcp.kms.describe(&rotated)).unwrap().versions.len();
    assert_eq!(versions, 7, "one for each attempt");
}

#[test]
fn a_version_that_was_made_and_is_not_primary_says_so() {
    let gcp = Gcp::new();
    let key = gcp.key();
    let refused: Answer = Reply::error(Code::PermissionDenied, "m").into();
    let (_http, kms) = losing(&gcp, "updatePrimaryVersion", refused);
    let error = block_on(kms.rotate_key(&key)).unwrap_err();
    assert!(!error.is_retryable());
    let words = "version 2 was made, and is not the primary one: make it that, or rotate again: ";
    assert!(error.message().starts_with(words), "{error}");
    assert!(error.message().contains("cloudkms.cryptoKeys.update"), "{error}");
}

/// Somebody else was faster than the look before.
#[test]
fn a_name_that_was_taken_meanwhile_is_told_as_taken() {
    let gcp = Gcp::new();
    let (_http, kms) = losing(&gcp, "POST cryptoKeys", Reply::error(Code::AlreadyExists, "m").into());
    let name = fresh_name();
    let error = block_on(kms.create_key(&NewKey::named(&name))).unwrap_err();
    assert_eq!((error.kind(), error.is_retryable()), (Invalid, false));
    assert_eq!(error.message(), format!("there is a key {name} already: rotate it, or take another name"));
}

#[test]
fn a_key_ring_whose_answer_was_lost_is_looked_for() {
    let server = GcpServer::new();
    let http =
        server.serve_with(
            |request, reply| {
                if call_of(request) == "POST keyRings" { Answer::hang_up() } else { reply.into() }
            },
        );
    let kms = at(&http.url()).build();
    block_on(kms.create_key_ring(RING)).unwrap();
    assert_eq!(counted(&http, "POST keyRings"), 1);
}
