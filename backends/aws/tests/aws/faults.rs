//! Each error that KMS may answer with, from a server that answers nothing
//! else: a stand-in for errors alone, which a real server does not give on
//! demand.

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpStream},
    sync::{Arc, Mutex},
    time::Duration,
};

use base64ct::{Base64, Encoding};
use envelope_sdk::{
    KeyProvider, ProviderError,
    ProviderErrorKind::{
        AccessDenied, Invalid, NotFound, Other, Protocol, State, Throttled, Unauthentic, Unavailable,
        Unsupported,
    },
    admin::{AutoRotation, all_keys},
};
use envelope_testkit::{
    http_server::{Answer, Request, closed_address},
    secrets::Canary,
};

use super::{
    canned::{
        Canned, call_of, described, described_as, refusal, rewrap, said, the_arn, the_key, unwrap, wrap,
    },
    *,
};

#[test]
fn each_error_code_has_its_kind_and_says_whether_to_retry() {
    for (status, code, kind, retryable) in [
        (400, "ThrottlingException", Throttled, true),
        (400, "AccessDeniedException", AccessDenied, false),
        (400, "DisabledException", State, false),
        (400, "KMSInvalidStateException", State, false),
        (400, "NotFoundException", NotFound, false),
        (400, "InvalidCiphertextException", Unauthentic, false),
        (400, "IncorrectKeyException", Unauthentic, false),
        (400, "ExpiredTokenException", AccessDenied, false),
        (403, "ExpiredToken", AccessDenied, false),
        (400, "UnrecognizedClientException", AccessDenied, false),
        (403, "InvalidSignatureException", AccessDenied, false),
        (400, "InvalidGrantTokenException", AccessDenied, false),
        (400, "InvalidKeyUsageException", Unsupported, false),
        (400, "UnsupportedOperationException", Unsupported, false),
        (400, "ValidationException", Invalid, false),
        (400, "InvalidArnException", Invalid, false),
        (400, "LimitExceededException", Other, false),
        (400, "ConflictException", State, true),
        (500, "KeyUnavailableException", Unavailable, true),
        (503, "DependencyTimeoutException", Unavailable, true),
        (500, "KMSInternalException", Unavailable, true),
        (503, "ServiceUnavailableException", Unavailable, true),
        (400, "NeverHeardOfException", Other, false),
    ] {
        let server = Canned::refusing(status, code);
        for error in
            [server.wrap().unwrap_err(), server.unwrap().unwrap_err(), server.generate().unwrap_err()]
        {
            assert_eq!((error.kind(), error.is_retryable()), (kind, retryable), "{code}: {error}");
            assert_eq!((error.provider(), error.key()), ("aws", Some(&the_key())), "{code}");
            if code == "NeverHeardOfException" {
                assert!(error.message().contains("this version does not know (status 400)"), "{error}");
                assert!(!error.message().contains(code), "{code}: {error}");
            } else {
                assert!(error.message().ends_with(&format!("({code})")) || kind == AccessDenied, "{error}");
                assert!(error.message().contains(&format!("({code})")), "{code}: {error}");
            }
        }
    }
}

#[test]
fn a_refusal_names_the_missing_permission() {
    let server = Canned::refusing(400, "AccessDeniedException");
    for (action, error) in [
        ("kms:Encrypt", server.wrap().unwrap_err()),
        ("kms:Decrypt", server.unwrap().unwrap_err()),
        ("kms:GenerateDataKey", server.generate().unwrap_err()),
    ] {
        for words in [action, "kms:EncryptionContext", "(AccessDeniedException)"] {
            assert!(error.message().contains(words), "{words}: {error}");
        }
    }
    let kms = server.kms();
    for (action, refused) in [
        ("kms:DescribeKey", block_on(kms.describe(&the_key())).map(drop)),
        ("kms:ScheduleKeyDeletion", block_on(kms.schedule_deletion(&the_key(), 7)).map(drop)),
        ("kms:ListAliases", block_on(kms.aliases(&the_key())).map(drop)),
        ("kms:GetKeyRotationStatus", block_on(kms.rotation_status(&the_key())).map(drop)),
    ] {
        let error = refused.unwrap_err();
        assert_eq!((error.kind(), error.key()), (AccessDenied, Some(&the_key())), "{action}");
        assert!(error.message().contains(&format!("needs {action} on this key")), "{action}: {error}");
    }
    let error = block_on(kms.list_keys(None)).unwrap_err();
    assert_eq!((error.kind(), error.key()), (AccessDenied, None));
    assert!(error.message().contains("needs kms:ListKeys in an IAM policy"), "{error}");
}

/// Those that come behind other calls, which succeed.
#[test]
fn a_refusal_behind_calls_that_are_permitted_names_the_missing_permission() {
    use envelope_sdk::{
        KeyChange,
        KeyState::{Active, Destroyed, Suspended},
    };
    let status = said(200, r#"{"KeyRotationEnabled":false}"#);
    let behind = |refused: &'static str, state: &'static str, found: bool| {
        let answer = |call: &str| match call {
            call if call == refused => refusal(400, "AccessDeniedException"),
            "DescribeKey" if !found => refusal(400, "NotFoundException"),
            "DescribeKey" => described(state, ""),
            _ => status.clone(),
        };
        let calls = ["DescribeKey", "CreateKey", "CreateAlias", "UpdateAlias", "EnableKey", "DisableKey"];
        let more = [
            "ScheduleKeyDeletion",
            "CancelKeyDeletion",
            "RotateKeyOnDemand",
            "EnableKeyRotation",
            "DisableKeyRotation",
            "GetKeyRotationStatus",
            "ListKeyRotations",
        ];
        Canned::by_call(calls.into_iter().chain(more).map(|call| (call, answer(call))).collect()).kms()
    };
    let change = |kms: AwsKms, state| block_on(kms.change_key(&the_key(), None, KeyChange::State(state)));
    for (action, refused) in [
        (
            "kms:CreateKey",
            block_on(behind("CreateKey", "Enabled", false).create_key(&NewKey::named("a"))).map(drop),
        ),
        ("kms:EnableKey", change(behind("EnableKey", "Disabled", true), Active).map(drop)),
        ("kms:DisableKey", change(behind("DisableKey", "Enabled", true), Suspended).map(drop)),
        (
            "kms:ScheduleKeyDeletion",
            change(behind("ScheduleKeyDeletion", "Disabled", true), Destroyed).map(drop),
        ),
        (
            "kms:CancelKeyDeletion",
            block_on(behind("CancelKeyDeletion", "PendingDeletion", true).restore_key(&the_key())).map(drop),
        ),
        (
            "kms:EnableKeyRotation",
            block_on(
                behind("EnableKeyRotation", "Enabled", true).set_rotation(&the_key(), AutoRotation::Default),
            ),
        ),
        (
            "kms:DisableKeyRotation",
            block_on(
                behind("DisableKeyRotation", "Enabled", true).set_rotation(&the_key(), AutoRotation::Off),
            ),
        ),
        (
            "kms:RotateKeyOnDemand",
            block_on(behind("RotateKeyOnDemand", "Enabled", true).rotate_key(&the_key())).map(drop),
        ),
        (
            "kms:ListKeyRotations",
            block_on(behind("ListKeyRotations", "Enabled", true).rotation_status(&the_key())).map(drop),
        ),
    ] {
        let error = refused.unwrap_err();
        assert_eq!(error.kind(), AccessDenied, "{action}: {error}");
        assert!(error.message().contains(&format!("needs {action} ")), "{action}: {error}");
    }
    // The alias means no key before, or another one.
    for (before, action) in [(None, "kms:CreateAlias"), (Some(key("other")), "kms:UpdateAlias")] {
        let server = Canned::answering(move |request| match (call_of(request).as_str(), &before) {
            ("DescribeKey", _) if !request.text().contains("alias/") => described("Enabled", ""),
            ("DescribeKey", Some(before)) => described_as(before, "Enabled", ""),
            ("DescribeKey", None) => refusal(400, "NotFoundException"),
            _ => refusal(400, "AccessDeniedException"),
        });
        let error = block_on(server.kms().set_alias("a", &the_key())).unwrap_err();
        assert!(error.message().contains(&format!("needs {action} on")), "{error}");
    }
}

#[test]
fn answers_that_lack_what_they_must_hold_are_refused() {
    let other = format!("arn:aws:kms:{REGION}:{ACCOUNT}:key/other");
    let own = the_arn();
    // Base64 of 31 bytes and of none.
    let short = "A".repeat(40) + "AA==";
    for (what, body, wraps, unwraps) in [
        ("nothing", String::new(), Protocol, Protocol),
        ("no field", "{}".into(), Protocol, Protocol),
        ("garbage", "<html>Please log in</html>".into(), Protocol, Protocol),
        ("half", r#"{"KeyId":"#.into(), Protocol, Protocol),
        ("the key alone", format!(r#"{{"KeyId":"{own}"}}"#), Protocol, Protocol),
        (
            "empty values",
            format!(r#"{{"KeyId":"{own}","CiphertextBlob":"","Plaintext":""}}"#),
            Protocol,
            Protocol,
        ),
        (
            "another key",
            format!(r#"{{"KeyId":"{other}","CiphertextBlob":"AAAA","Plaintext":"{DEK_OF_ZEROS}"}}"#),
            Protocol,
            Protocol,
        ),
        (
            "no key",
            format!(r#"{{"CiphertextBlob":"AAAA","Plaintext":"{DEK_OF_ZEROS}"}}"#),
            Protocol,
            Protocol,
        ),
        (
            "no DEK",
            format!(
                r#"{{"KeyId":"{own}","CiphertextBlob":"{}","Plaintext":"{short}"}}"#,
                "AAAA".repeat(1400)
            ),
            Protocol,
            Unauthentic,
        ),
    ] {
        let server = Canned::saying(body);
        for (error, kind) in [
            (server.wrap().unwrap_err(), wraps),
            (server.unwrap().unwrap_err(), unwraps),
            (server.generate().unwrap_err(), Protocol),
            (server.rewrap().unwrap_err(), Protocol),
        ] {
            assert_eq!((error.kind(), error.is_retryable()), (kind, false), "{what}: {error}");
        }
    }
}

/// The same answer with all it must hold is taken: the test above fails for
/// what it names.
#[test]
fn an_answer_with_all_it_must_hold_is_taken() {
    let own = the_arn();
    let body = format!(
        r#"{{"KeyId":"{own}","SourceKeyId":"{own}","CiphertextBlob":"AAAA","Plaintext":"{DEK_OF_ZEROS}"}}"#
    );
    let server = Canned::saying(body);
    assert_eq!(server.wrap().unwrap().ciphertext(), [0; 3]);
    assert_eq!(server.unwrap().unwrap().expose(), &[0; 32]);
    let (dek, wrapped) = server.generate().unwrap();
    assert_eq!((dek.expose(), wrapped.ciphertext()), (&[0; 32], [0; 3].as_slice()));
    assert_eq!(server.rewrap().unwrap().unwrap().ciphertext(), [0; 3]);
}

#[test]
fn a_generated_dek_is_taken_with_its_wrap_by_the_right_key_alone() {
    let own = the_arn();
    let other = format!("arn:aws:kms:{REGION}:{ACCOUNT}:key/other");
    for (what, body) in [
        ("no wrap", format!(r#"{{"KeyId":"{own}","Plaintext":"{DEK_OF_ZEROS}"}}"#)),
        ("an empty wrap", format!(r#"{{"KeyId":"{own}","CiphertextBlob":"","Plaintext":"{DEK_OF_ZEROS}"}}"#)),
        ("no DEK", format!(r#"{{"KeyId":"{own}","CiphertextBlob":"AAAA"}}"#)),
        ("a short DEK", format!(r#"{{"KeyId":"{own}","CiphertextBlob":"AAAA","Plaintext":"AAAA"}}"#)),
        (
            "another key",
            format!(r#"{{"KeyId":"{other}","CiphertextBlob":"AAAA","Plaintext":"{DEK_OF_ZEROS}"}}"#),
        ),
    ] {
        let error = Canned::saying(body).generate().unwrap_err();
        assert_eq!((error.kind(), error.key()), (Protocol, Some(&the_key())), "{what}: {error}");
    }
}

#[test]
fn a_rewrap_is_taken_from_the_right_key_to_the_right_key_alone() {
    let own = the_arn();
    let other = format!("arn:aws:kms:{REGION}:{ACCOUNT}:key/other");
    for (what, body) in [
        (
            "from another key",
            format!(r#"{{"KeyId":"{own}","SourceKeyId":"{other}","CiphertextBlob":"AAAA"}}"#),
        ),
        ("from no key", format!(r#"{{"KeyId":"{own}","CiphertextBlob":"AAAA"}}"#)),
        ("to another key", format!(r#"{{"KeyId":"{other}","SourceKeyId":"{own}","CiphertextBlob":"AAAA"}}"#)),
        ("to no key", format!(r#"{{"SourceKeyId":"{own}","CiphertextBlob":"AAAA"}}"#)),
        ("no wrap", format!(r#"{{"KeyId":"{own}","SourceKeyId":"{own}"}}"#)),
    ] {
        let error = Canned::saying(body).rewrap().unwrap_err();
        assert_eq!(error.kind(), Protocol, "{what}: {error}");
    }
}

#[test]
fn a_rewrap_that_is_refused_is_left_to_the_caller_and_not_asked_for_again() {
    for (status, code) in [(400, "AccessDeniedException"), (501, "NotImplemented")] {
        let server = Canned::refusing(status, code);
        let kms = server.kms();
        for _ in 0..3 {
            assert_eq!(block_on(rewrap(&kms, &the_key())).unwrap(), None, "{code}");
        }
        assert_eq!(server.0.count(), 1, "{code}");
        // Of other keys nothing is known.
        assert_eq!(block_on(rewrap(&kms, &key("other"))).unwrap(), None);
        assert_eq!(server.0.count(), 2, "{code}");
    }
    for (code, kind) in [
        ("DisabledException", State),
        ("InvalidCiphertextException", Unauthentic),
        ("ExpiredTokenException", AccessDenied),
    ] {
        let server = Canned::refusing(400, code);
        let kms = server.kms();
        for _ in 0..2 {
            let error = block_on(rewrap(&kms, &the_key())).unwrap_err();
            assert_eq!(error.kind(), kind, "{error}");
            assert!(error.message().contains(code), "{error}");
        }
        assert_eq!(server.0.count(), 2, "{code}: it is asked for again");
    }
}

#[test]
fn keys_of_other_regions_and_accounts_are_not_rewrapped_inside() {
    let server = Canned::answering(|_| Answer::hang_up());
    for to in [
        format!("arn:aws:kms:us-east-1:{ACCOUNT}:key/1a"),
        format!("arn:aws:kms:{REGION}:111122223333:key/1a"),
        format!("arn:aws-cn:kms:{REGION}:{ACCOUNT}:key/1a"),
    ] {
        let to = KeyUri::parse(&to).unwrap();
        assert_eq!(block_on(rewrap(&server.kms(), &to)).unwrap(), None, "{to}");
    }
    assert_eq!(server.0.count(), 0);
}

#[test]
fn a_server_that_does_not_answer_in_time_is_unavailable() {
    let server = Canned::answering(|_| Answer::never());
    for error in [
        server.wrap().unwrap_err(),
        server.unwrap().unwrap_err(),
        server.generate().unwrap_err(),
        server.rewrap().unwrap_err(),
    ] {
        assert_eq!((error.kind(), error.is_retryable()), (Unavailable, true), "{error}");
        assert!(error.message().contains("in time"), "{error}");
    }
}

#[test]
fn a_server_that_is_not_there_or_hangs_up_is_unavailable() {
    let hanging_up = Canned::answering(|_| Answer::hang_up());
    let away = at(&format!("http://{}", closed_address())).attempts(1).build();
    for error in [
        hanging_up.wrap().unwrap_err(),
        hanging_up.unwrap().unwrap_err(),
        block_on(wrap(&away)).unwrap_err(),
        block_on(unwrap(&away)).unwrap_err(),
    ] {
        assert_eq!((error.kind(), error.is_retryable()), (Unavailable, true), "{error}");
        assert!(error.message().contains("cannot be reached"), "{error}");
    }
}

#[test]
fn what_may_pass_is_tried_again_and_what_may_not_is_not() {
    for (status, code, requests) in [
        (400, "ThrottlingException", 3_u32),
        (500, "KMSInternalException", 3),
        (400, "AccessDeniedException", 1),
    ] {
        let server = Canned::refusing(status, code);
        let kms = at(&server.0.url()).attempts(3).build();
        let error = block_on(wrap(&kms)).unwrap_err();
        assert_eq!((server.0.count(), error.attempts()), (requests as usize, requests), "{code}");
    }
}

#[test]
fn the_pause_that_an_answer_asks_for_is_told() {
    for (name, value, pause) in [
        ("x-amz-retry-after", "1500", Some(Duration::from_millis(1500))),
        ("retry-after", "3600", Some(Duration::from_secs(3600))),
        ("retry-after", "Wed, 21 Oct 2026 07:28:00 GMT", None),
        ("x-amz-retry-after", "soon", None),
    ] {
        let server = Canned::answering(move |_| refusal(400, "ThrottlingException").header(name, value));
        let error = server.wrap().unwrap_err();
        assert_eq!((error.kind(), error.retry_after()), (Throttled, pause), "{name}: {value}");
    }
}

#[test]
fn without_credentials_the_error_says_how_to_get_some() {
    let nobody = Nobody;
    let kms = at("http://127.0.0.1:1").credentials(nobody).build();
    let error = block_on(wrap(&kms)).unwrap_err();
    assert_eq!((error.kind(), error.is_retryable()), (AccessDenied, false), "{error}");
    for words in ["no AWS credentials", "AWS_PROFILE", "aws sso login"] {
        assert!(error.message().contains(words), "{error}");
    }
}

/// Whatever stands before KMS may repeat a request anywhere in its answer.
#[test]
fn no_error_repeats_a_dek_that_the_server_sends_or_was_sent() {
    let dek = Dek::generate::<DefaultEngine>().unwrap();
    let canary = Canary::new("the DEK", dek.expose());
    let statuses =
        [200, 204, 206, 301, 302, 400, 401, 403, 404, 408, 409, 413, 418, 429, 431, 500, 501, 502, 503, 504];
    for status in statuses {
        for place in [Echoed::Body, Echoed::Message, Echoed::Type, Echoed::TypeOfAKnownCode, Echoed::Headers]
        {
            let server = echoing(status, place);
            let error = block_on(server.kms().wrap_dek(&the_key(), &dek, &context())).unwrap_err();
            let text = told(&error);
            assert_eq!(canary.find(text.as_bytes()), None, "{status}, {place:?}: {text}");
            assert_eq!(server.0.count(), 1, "{status}, {place:?}");
        }
    }
    // A DEK that KMS made, in an answer that is refused.
    let encoded = Base64::encode_string(dek.expose());
    assert!(canary.find(encoded.as_bytes()).is_some());
    for body in [
        format!(r#"{{"Plaintext":"{encoded}"}}"#),
        format!(r#"{{"KeyId":"{}","Plaintext":"{encoded}"}}"#, the_arn()),
        format!(r#"{{"KeyId":"{}","CiphertextBlob":"?","Plaintext":"{encoded}"}}"#, the_arn()),
        format!(r#"{{"Plaintext":"{encoded}"#),
    ] {
        let error = Canned::saying(body).generate().unwrap_err();
        let text = told(&error);
        assert_eq!(canary.find(text.as_bytes()), None, "{text}");
    }
    // Each echo holds the DEK: what was searched is not nothing.
    for place in [Echoed::Body, Echoed::Message, Echoed::Type, Echoed::TypeOfAKnownCode, Echoed::Headers] {
        let server = echoing(400, place);
        let echoed = exchange(&server, &dek);
        assert!(canary.find(&echoed).is_some(), "{place:?}");
    }
}

/// At level TRACE, the SDK writes answers down as they are, but for those that it takes for sensitive.
#[test]
fn no_log_repeats_a_dek_that_the_server_sends_or_was_sent() {
    let dek = Dek::generate::<DefaultEngine>().unwrap();
    let canary = Canary::new("the DEK", dek.expose());
    let encoded = Base64::encode_string(dek.expose());
    for status in [200, 400, 500] {
        for place in [Echoed::Body, Echoed::Message, Echoed::Type, Echoed::TypeOfAKnownCode, Echoed::Headers]
        {
            let server = echoing(status, place);
            let kms = server.kms();
            let heard = Ear::hears(|| {
                block_on(kms.wrap_dek(&the_key(), &dek, &context())).unwrap_err();
            });
            assert_eq!(canary.find(heard.as_bytes()), None, "{status}, {place:?}: {heard}");
        }
        let body = format!(r#"{{"__type":"{encoded}","message":"{encoded}","Plaintext":"{encoded}"}}"#);
        let server = Canned::by_call(vec![
            ("Decrypt", said(status, body.clone())),
            ("GenerateDataKey", said(status, body.clone())),
            ("ReEncrypt", said(status, body)),
        ]);
        let heard = Ear::hears(|| {
            server.unwrap().unwrap_err();
            server.generate().unwrap_err();
            server.rewrap().unwrap_err();
        });
        assert_eq!(canary.find(heard.as_bytes()), None, "{status}: {heard}");
    }
    // The ear hears what is said beside it.
    let heard = Ear::hears(|| tracing::trace!(said = %encoded));
    assert!(canary.find(heard.as_bytes()).is_some());
}

/// Hears what this thread logs, and with it what the futures do that it waits for.
#[derive(Clone, Default)]
struct Ear(Arc<Mutex<String>>);

impl Ear {
    fn hears(what: impl FnOnce()) -> String {
        let ear = Self::default();
        tracing::subscriber::with_default(ear.clone(), what);
        let heard = ear.0.lock().unwrap();
        heard.clone()
    }
}

impl tracing::Subscriber for Ear {
    fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
        true
    }

    fn register_callsite(&self, _: &'static tracing::Metadata<'static>) -> tracing::subscriber::Interest {
        tracing::subscriber::Interest::sometimes()
    }

    fn new_span(&self, span: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        span.record(&mut self.clone());
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::span::Id, values: &tracing::span::Record<'_>) {
        values.record(&mut self.clone());
    }

    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        event.record(&mut self.clone());
    }

    fn enter(&self, _: &tracing::span::Id) {}

    fn exit(&self, _: &tracing::span::Id) {}
}

impl tracing::field::Visit for Ear {
    fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn std::fmt::Debug) {
        let text = format!("{field}={value:?} ");
        self.0.lock().unwrap().push_str(&text);
    }
}

#[test]
fn a_list_without_an_end_is_refused() {
    let page = r#"{"Keys":[],"Aliases":[],"Rotations":[],"Truncated":true,"NextMarker":"REQUEST"}"#;
    let server = Canned::saying(page);
    let kms = server.kms();
    let aliases = block_on(kms.aliases(&the_key())).map(drop);
    let rotations = block_on(kms.rotation_status(&the_key())).map(drop);
    for listed in [block_on(all_keys(&kms)).map(drop), aliases, rotations] {
        let error = listed.unwrap_err();
        assert_eq!(error.kind(), Protocol, "{error}");
        assert!(error.message().contains("more than 2000 pages"), "{error}");
    }
    let error =
        block_on(Canned::saying(r#"{"Keys":[],"Truncated":true}"#).kms().list_keys(None)).unwrap_err();
    assert_eq!((error.kind(), error.key()), (Protocol, None));
    assert!(error.message().contains("and not where"), "{error}");
}

/// "Not found" is for KMS to say: of an alias that is there it would make another.
#[test]
fn a_page_that_is_not_there_is_no_key_that_is_not_there() {
    for status in [404, 410] {
        let server = Canned::answering(move |_| Answer::new(status).body("<html>no page</html>"));
        let kms = server.kms();
        for refused in [
            block_on(kms.create_key(&NewKey::named("a"))).map(drop),
            block_on(kms.set_alias("a", &the_key())).map(drop),
            block_on(kms.describe_key(&the_key())).map(drop),
        ] {
            let error = refused.unwrap_err();
            assert_eq!((error.kind(), error.is_retryable()), (Other, false), "{status}: {error}");
        }
        assert!(server.calls().iter().all(|call| call == "DescribeKey"), "nothing is made");
    }
}

/// All that may be printed of an error, its causes included.
fn told(error: &ProviderError) -> String {
    let mut text = format!("{error} {error:?} {error:#?}");
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text += &format!(" {error} {error:?} {error:#?}");
        cause = error.source();
    }
    text
}

/// Finds no credentials, as a machine without any.
#[derive(Debug)]
struct Nobody;

impl envelope_aws::ProvideCredentials for Nobody {
    fn provide_credentials<'a>(&'a self) -> aws_credential_types::provider::future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        let missing = aws_credential_types::provider::error::CredentialsError::not_loaded("nobody is here");
        aws_credential_types::provider::future::ProvideCredentials::ready(Err(missing))
    }
}

/// Where a server repeats the request's body.
#[derive(Debug, Clone, Copy)]
enum Echoed {
    Body,
    Message,
    Type,
    TypeOfAKnownCode,
    Headers,
}

/// A server that repeats what it is sent.
fn echoing(status: u16, place: Echoed) -> Canned {
    Canned::answering(move |request: &Request| {
        // On one line, and without what would end a string of JSON.
        let words = request.text().replace(['"', '\r', '\n', '\\'], "'");
        match place {
            Echoed::Body => said(status, request.body.clone()),
            Echoed::Message => {
                said(status, format!(r#"{{"__type":"AccessDeniedException","message":"{words}"}}"#))
            }
            Echoed::Type => refusal(status, &words),
            Echoed::TypeOfAKnownCode => refusal(status, &format!("{words}#ValidationException:{words}")),
            Echoed::Headers => {
                ["x-amzn-requestid", "x-amzn-errortype", "x-amz-id-2", "location", "retry-after"]
                    .iter()
                    .fold(Answer::new(status).body("{}"), |answer, name| answer.header(*name, &words))
            }
        }
    })
}

/// What an echo returns for a request with this DEK.
fn exchange(server: &Canned, dek: &Dek) -> Vec<u8> {
    let mut connection = TcpStream::connect(server.0.address()).unwrap();
    let body = Base64::encode_string(dek.expose());
    let request = format!("POST / HTTP/1.1\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    connection.write_all(request.as_bytes()).unwrap();
    connection.shutdown(Shutdown::Write).unwrap();
    let mut answer = Vec::new();
    connection.read_to_end(&mut answer).unwrap();
    answer
}

/// 32 zero bytes in base64.
const DEK_OF_ZEROS: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
