//! Each error that KMS may answer with, from a server that answers nothing
//! else: a stand-in for errors alone, which a real server does not give on
//! demand.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use base64ct::{Base64, Encoding};
use envelope_sdk::{
    KeyProvider, ProviderError,
    ProviderErrorKind::{
        AccessDenied, Invalid, NotFound, Other, Protocol, State, Throttled, Unauthentic, Unavailable,
        Unsupported,
    },
    WrappedDek,
};
use envelope_testkit::secrets::Canary;

use super::*;

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
        let server = Server::answering(Answer::Error { status, code });
        for error in
            [server.wrap().unwrap_err(), server.unwrap().unwrap_err(), server.generate().unwrap_err()]
        {
            assert_eq!((error.kind(), error.is_retryable()), (kind, retryable), "{code}: {error}");
            assert_eq!((error.provider(), error.key()), ("aws", &the_key()), "{code}");
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
    let server = Server::answering(Answer::Error { status: 400, code: "AccessDeniedException" });
    for (action, error) in [
        ("kms:Encrypt", server.wrap().unwrap_err()),
        ("kms:Decrypt", server.unwrap().unwrap_err()),
        ("kms:GenerateDataKey", server.generate().unwrap_err()),
    ] {
        for words in [action, "kms:EncryptionContext", "(AccessDeniedException)"] {
            assert!(error.message().contains(words), "{words}: {error}");
        }
    }
    for (action, refused) in [
        ("kms:DescribeKey", block_on(server.kms().describe(&the_key())).map(drop)),
        ("kms:ListKeys", block_on(server.kms().list()).map(drop)),
        ("kms:CreateKey", block_on(server.kms().create(&NewKey::default())).map(drop)),
        ("kms:EnableKey", block_on(server.kms().enable(&the_key()))),
        ("kms:DisableKey", block_on(server.kms().disable(&the_key()))),
        ("kms:ScheduleKeyDeletion", block_on(server.kms().schedule_deletion(&the_key(), 7)).map(drop)),
        ("kms:CancelKeyDeletion", block_on(server.kms().cancel_deletion(&the_key()))),
        ("kms:CreateAlias", block_on(server.kms().create_alias("a", &the_key())).map(drop)),
        ("kms:UpdateAlias", block_on(server.kms().switch_alias(&alias("a"), &the_key()))),
        ("kms:ListAliases", block_on(server.kms().aliases(&the_key())).map(drop)),
        ("kms:RotateKeyOnDemand", block_on(server.kms().rotate_on_demand(&the_key()))),
        ("kms:EnableKeyRotation", block_on(server.kms().enable_rotation(&the_key(), None))),
        ("kms:DisableKeyRotation", block_on(server.kms().disable_rotation(&the_key()))),
        ("kms:GetKeyRotationStatus", block_on(server.kms().rotation_status(&the_key())).map(drop)),
        ("kms:ListKeyRotations", block_on(server.kms().rotations(&the_key())).map(drop)),
    ] {
        let error = refused.unwrap_err();
        assert_eq!(error.kind(), AccessDenied, "{action}");
        assert!(error.message().contains(&format!("needs {action} on")), "{action}: {error}");
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
        let server = Server::answering(Answer::Success(body));
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
    let server = Server::answering(Answer::Success(body));
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
        let error = Server::answering(Answer::Success(body)).generate().unwrap_err();
        assert_eq!((error.kind(), error.key()), (Protocol, &the_key()), "{what}: {error}");
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
        let error = Server::answering(Answer::Success(body)).rewrap().unwrap_err();
        assert_eq!(error.kind(), Protocol, "{what}: {error}");
    }
}

#[test]
fn a_rewrap_that_is_refused_is_left_to_the_caller_and_not_asked_for_again() {
    for (status, code) in [(400, "AccessDeniedException"), (501, "NotImplemented")] {
        let server = Server::answering(Answer::Error { status, code });
        let kms = server.kms();
        for _ in 0..3 {
            assert_eq!(block_on(rewrap(&kms, &the_key())).unwrap(), None, "{code}");
        }
        assert_eq!(server.requests.load(Ordering::SeqCst), 1, "{code}");
        // Of other keys nothing is known.
        assert_eq!(block_on(rewrap(&kms, &key("other"))).unwrap(), None);
        assert_eq!(server.requests.load(Ordering::SeqCst), 2, "{code}");
    }
    for (code, kind) in [
        ("DisabledException", State),
        ("InvalidCiphertextException", Unauthentic),
        ("ExpiredTokenException", AccessDenied),
    ] {
        let server = Server::answering(Answer::Error { status: 400, code });
        let kms = server.kms();
        for _ in 0..2 {
            let error = block_on(rewrap(&kms, &the_key())).unwrap_err();
            assert_eq!(error.kind(), kind, "{error}");
            assert!(error.message().contains(code), "{error}");
        }
        assert_eq!(server.requests.load(Ordering::SeqCst), 2, "{code}: it is asked for again");
    }
}

#[test]
fn keys_of_other_regions_and_accounts_are_not_rewrapped_inside() {
    let server = Server::answering(Answer::HangUp);
    for to in [
        format!("arn:aws:kms:us-east-1:{ACCOUNT}:key/1a"),
        format!("arn:aws:kms:{REGION}:111122223333:key/1a"),
        format!("arn:aws-cn:kms:{REGION}:{ACCOUNT}:key/1a"),
    ] {
        let to = KeyUri::parse(&to).unwrap();
        assert_eq!(block_on(rewrap(&server.kms(), &to)).unwrap(), None, "{to}");
    }
    assert_eq!(server.requests.load(Ordering::SeqCst), 0);
}

#[test]
fn a_key_whose_alias_cannot_be_made_is_scheduled_for_deletion() {
    let described = format!(
        r#"{{"KeyMetadata":{{"KeyId":"1a","Arn":"arn:aws:kms:{REGION}:{ACCOUNT}:key/1a","KeyState":"Enabled"}}}}"#
    );
    let refuse = |code: &str| (400, format!(r#"{{"__type":"{code}","message":"no"}}"#));
    for (scheduled, words) in [
        ((200, "{}".to_owned()), "it is scheduled for deletion"),
        (refuse("AccessDeniedException"), "delete it yourself"),
    ] {
        let server = Server::answering(Answer::ByCall(vec![
            ("DescribeKey", refuse("NotFoundException")),
            ("CreateKey", (200, described.clone())),
            ("CreateAlias", refuse("AlreadyExistsException")),
            ("ScheduleKeyDeletion", scheduled),
        ]));
        let new = NewKey { alias: Some("a".into()), ..NewKey::default() };
        let error = block_on(server.kms().create(&new)).unwrap_err();
        assert_eq!((error.kind(), error.key()), (Invalid, &key("1a")), "{error}");
        for words in [words, "AlreadyExistsException"] {
            assert!(error.message().contains(words), "{error}");
        }
        assert_eq!(server.requests.load(Ordering::SeqCst), 4);
    }
}

#[test]
fn a_server_that_does_not_answer_in_time_is_unavailable() {
    let server = Server::answering(Answer::Never);
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
    let hanging_up = Server::answering(Answer::HangUp);
    let closed = {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        format!("http://{}", listener.local_addr().unwrap())
    };
    let away = block_on(at(&closed).attempts(1).build());
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
    for (status, code, requests) in
        [(400, "ThrottlingException", 3), (500, "KMSInternalException", 3), (400, "AccessDeniedException", 1)]
    {
        let server = Server::answering(Answer::Error { status, code });
        let kms = block_on(at(&server.address).attempts(3).build());
        block_on(wrap(&kms)).unwrap_err();
        assert_eq!(server.requests.load(Ordering::SeqCst), requests, "{code}");
    }
}

#[test]
fn without_credentials_the_error_says_how_to_get_some() {
    let nobody = Nobody;
    let kms = block_on(at("http://127.0.0.1:1").credentials(nobody).build());
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
            let server = Server::answering(Answer::Echo { status, place });
            let error = block_on(server.kms().wrap_dek(&the_key(), &dek, &context())).unwrap_err();
            let text = told(&error);
            assert_eq!(canary.find(text.as_bytes()), None, "{status}, {place:?}: {text}");
            assert_eq!(server.requests.load(Ordering::SeqCst), 1, "{status}, {place:?}");
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
        let error = Server::answering(Answer::Success(body)).generate().unwrap_err();
        let text = told(&error);
        assert_eq!(canary.find(text.as_bytes()), None, "{text}");
    }
    // Each echo holds the DEK: what was searched is not nothing.
    for place in [Echoed::Body, Echoed::Message, Echoed::Type, Echoed::TypeOfAKnownCode, Echoed::Headers] {
        let server = Server::answering(Answer::Echo { status: 400, place });
        let echoed = server.exchange(&dek);
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
            let server = Server::answering(Answer::Echo { status, place });
            let kms = server.kms();
            let heard = Ear::hears(|| {
                block_on(kms.wrap_dek(&the_key(), &dek, &context())).unwrap_err();
            });
            assert_eq!(canary.find(heard.as_bytes()), None, "{status}, {place:?}: {heard}");
        }
        let body = format!(r#"{{"__type":"{encoded}","message":"{encoded}","Plaintext":"{encoded}"}}"#);
        let server = Server::answering(Answer::ByCall(vec![
            ("Decrypt", (status, body.clone())),
            ("GenerateDataKey", (status, body.clone())),
            ("ReEncrypt", (status, body)),
        ]));
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
    let server = Server::answering(Answer::Success(page.into()));
    let aliases = block_on(server.kms().aliases(&the_key())).map(drop);
    let rotations = block_on(server.kms().rotations(&the_key())).map(drop);
    for listed in [block_on(server.kms().list()).map(drop), aliases, rotations] {
        let error = listed.unwrap_err();
        assert_eq!(error.kind(), Protocol, "{error}");
        assert!(error.message().contains("more than 2000 pages"), "{error}");
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

#[derive(Clone)]
enum Answer {
    Error {
        status: u16,
        code: &'static str,
    },
    Success(String),
    /// The request's body, in a place of the answer.
    Echo {
        status: u16,
        place: Echoed,
    },
    /// Status and body for each call, by its name.
    ByCall(Vec<(&'static str, (u16, String))>),
    Never,
    HangUp,
}

#[derive(Debug, Clone, Copy)]
enum Echoed {
    Body,
    Message,
    Type,
    TypeOfAKnownCode,
    Headers,
}

/// Gives every request the same answer.
struct Server {
    address: String,
    requests: Arc<AtomicUsize>,
}

impl Server {
    fn answering(answer: Answer) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::new(AtomicUsize::new(0));
        let count = requests.clone();
        // Ends with the process.
        thread::spawn(move || {
            for connection in listener.incoming() {
                let (answer, count) = (answer.clone(), count.clone());
                thread::spawn(move || serve(&connection.unwrap(), &answer, &count));
            }
        });
        Self { address, requests }
    }

    fn kms(&self) -> AwsKms {
        // Long enough for an answer, short for those that never come.
        block_on(at(&self.address).attempts(1).attempt_timeout(Duration::from_millis(1500)).build())
    }

    fn wrap(&self) -> Result<WrappedDek, ProviderError> {
        block_on(wrap(&self.kms()))
    }

    fn unwrap(&self) -> Result<Dek, ProviderError> {
        block_on(unwrap(&self.kms()))
    }

    fn generate(&self) -> Result<(Dek, WrappedDek), ProviderError> {
        block_on(self.kms().generate_dek(&the_key(), &context()))
    }

    fn rewrap(&self) -> Result<Option<WrappedDek>, ProviderError> {
        block_on(rewrap(&self.kms(), &the_key()))
    }

    /// What an echo returns for a request with this DEK.
    fn exchange(&self, dek: &Dek) -> Vec<u8> {
        let mut connection = TcpStream::connect(self.address.strip_prefix("http://").unwrap()).unwrap();
        let body = Base64::encode_string(dek.expose());
        let request = format!("POST / HTTP/1.1\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        connection.write_all(request.as_bytes()).unwrap();
        connection.shutdown(Shutdown::Write).unwrap();
        let mut answer = Vec::new();
        connection.read_to_end(&mut answer).unwrap();
        answer
    }
}

fn serve(connection: &TcpStream, answer: &Answer, count: &AtomicUsize) {
    let mut reader = BufReader::new(connection);
    while let Some((call, request)) = read_request(&mut reader) {
        let number = count.fetch_add(1, Ordering::SeqCst);
        // On one line, and without what would end a string of JSON.
        let said = String::from_utf8_lossy(&request).replace(['"', '\r', '\n', '\\'], "'");
        let code = |code: &str| format!(r#"{{"__type":"{code}","message":"no"}}"#).into_bytes();
        let mut headers = "x-amzn-requestid: 0123-request\r\n".to_owned();
        let (status, body) = match answer {
            Answer::Error { status, code } => {
                (*status, format!(r#"{{"__type":"{code}","message":"the service's words"}}"#).into_bytes())
            }
            // Each page of a list with a marker of its own.
            Answer::Success(body) => (200, body.replace("REQUEST", &number.to_string()).into_bytes()),
            Answer::Echo { status, place: Echoed::Body } => (*status, request),
            Answer::Echo { status, place: Echoed::Message } => {
                let message = format!(r#"{{"__type":"AccessDeniedException","message":"{said}"}}"#);
                (*status, message.into_bytes())
            }
            Answer::Echo { status, place: Echoed::Type } => (*status, code(&said)),
            Answer::Echo { status, place: Echoed::TypeOfAKnownCode } => {
                (*status, code(&format!("{said}#ValidationException:{said}")))
            }
            Answer::Echo { status, place: Echoed::Headers } => {
                headers = ["x-amzn-requestid", "x-amzn-errortype", "x-amz-id-2", "location", "retry-after"]
                    .map(|name| format!("{name}: {said}\r\n"))
                    .concat();
                (*status, b"{}".to_vec())
            }
            Answer::ByCall(answers) => {
                let of_call = answers.iter().find(|(name, _)| call.ends_with(&format!(".{name}")));
                let (_, (status, body)) = of_call.unwrap_or_else(|| panic!("nothing is said of {call}"));
                (*status, body.clone().into_bytes())
            }
            Answer::Never => continue,
            Answer::HangUp => return,
        };
        let head = format!(
            "HTTP/1.1 {status} x\r\ncontent-type: application/x-amz-json-1.1\r\n{headers}content-length: {}\r\n\r\n",
            body.len()
        );
        let mut writer = connection;
        if writer.write_all(&[head.as_bytes(), &body].concat()).is_err() {
            return;
        }
    }
}

/// The call and the body of the next request, or `None` at the end of the
/// connection.
fn read_request(reader: &mut impl BufRead) -> Option<(String, Vec<u8>)> {
    let (mut call, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        if line == "\r\n" {
            break;
        }
        match line.split_once(':') {
            Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                length = value.trim().parse().unwrap();
            }
            Some((name, value)) if name.eq_ignore_ascii_case("x-amz-target") => {
                call = value.trim().to_owned();
            }
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some((call, body))
}

async fn wrap(kms: &AwsKms) -> Result<WrappedDek, ProviderError> {
    kms.wrap_dek(&the_key(), &Dek::generate::<DefaultEngine>().unwrap(), &context()).await
}

async fn unwrap(kms: &AwsKms) -> Result<Dek, ProviderError> {
    kms.unwrap_dek(&some_wrap(), &context()).await
}

async fn rewrap(kms: &AwsKms, to: &KeyUri) -> Result<Option<WrappedDek>, ProviderError> {
    kms.rewrap_dek(&some_wrap(), to, &context()).await
}

fn some_wrap() -> WrappedDek {
    WrappedDek::new(the_key(), "", "AWS-KMS", vec![1; 184]).unwrap()
}

fn the_key() -> KeyUri {
    key("1234abcd-12ab-34cd-56ef-1234567890ab")
}

fn the_arn() -> String {
    the_key().rest().trim_start_matches('/').to_owned()
}

/// 32 zero bytes in base64.
const DEK_OF_ZEROS: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
