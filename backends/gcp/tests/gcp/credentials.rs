//! Where credentials come from. Tokens are made by servers of the tests.

use std::{fs, path::PathBuf, sync::Arc};

use envelope_gcp::GcpSettings;
use envelope_sdk::{
    KeyProvider, ProviderError,
    ProviderErrorKind::{AccessDenied, Invalid, Unavailable},
    registry::{Purpose, Settings, Surroundings},
    secret::{Prompt, SecretError, Secrets},
};
use envelope_testkit::http_server::{Answer, Request};
use serde_json::{Value, json};

use super::{
    canned::{Canned, encrypted, the_key},
    *,
};

/// A provider whose token is this one: of a workload identity, as the issuer says.
pub(crate) fn bearer(endpoint: &str, token: &'static str) -> GcpKms {
    let issuer = tokens(token);
    let kms = GcpKms::builder()
        .endpoint_url(endpoint)
        .key_ring(RING)
        .attempts(1)
        .credentials_json(external_account(&issuer.url(), &subject_token()).to_string());
    kms.build()
}

#[test]
fn a_workload_identity_is_exchanged_for_a_token() {
    let (kms, seen) = asking();
    let issuer = tokens("federated");
    let json = external_account(&issuer.url(), &subject_token());
    wrap(&kms.credentials_json(json.to_string()).build()).unwrap();
    assert_eq!(seen.0.requests()[0].header("authorization"), Some("Bearer federated"));
    let asked = issuer.requests();
    assert_eq!((asked.len(), asked[0].path()), (1, "/token"));
    assert!(asked[0].text().contains("the-subject-token"), "{}", asked[0].text());
}

#[test]
fn a_file_of_credentials_is_read_when_it_is_needed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("credentials.json");
    let (kms, seen) = asking();
    let kms = kms.credentials_file(&path).build();
    let error = wrap(&kms).unwrap_err();
    assert_eq!((error.kind(), error.key()), (AccessDenied, Some(&the_key())));
    assert!(error.message().starts_with("there is no file of credentials"), "{error}");
    // Once it is there the same provider works.
    let issuer = tokens("of-a-file");
    fs::write(&path, external_account(&issuer.url(), &subject_token()).to_string()).unwrap();
    wrap(&kms).unwrap();
    assert_eq!(seen.0.requests()[0].header("authorization"), Some("Bearer of-a-file"));
}

#[test]
fn what_gcloud_leaves_for_a_person_is_refreshed() {
    let (kms, seen) = asking();
    let issuer = tokens("of-a-person");
    let json = json!({
        "type": "authorized_user", "client_id": "c", "client_secret": "s", "refresh_token": "r",
        "token_uri": format!("{}/token", issuer.url()), "quota_project_id": "of-the-file",
    });
    wrap(&kms.credentials_json(json.to_string()).build()).unwrap();
    let sent = &seen.0.requests()[0];
    assert_eq!(sent.header("authorization"), Some("Bearer of-a-person"));
    assert_eq!(sent.header("x-goog-user-project"), Some("of-the-file"));
}

/// A service account signs its own tokens: nobody is asked for one.
#[test]
fn the_key_of_a_service_account_signs_a_token() {
    let (kms, seen) = asking();
    let key = private_key();
    let json = json!({
        "type": "service_account", "project_id": "tests", "private_key_id": "1", "private_key": key,
        "client_email": "tests@tests.iam.gserviceaccount.com", "token_uri": "https://oauth2.googleapis.com/token",
    });
    wrap(&kms.credentials_json(json.to_string()).build()).unwrap();
    let token = seen.0.requests()[0].header("authorization").unwrap().to_owned();
    assert_eq!(token.trim_start_matches("Bearer ").split('.').count(), 3, "it is a JWT");
}

#[test]
fn the_metadata_server_is_asked_for_the_machines_own_account() {
    let (kms, seen) = asking();
    let issuer = tokens("of-the-machine");
    wrap(&kms.metadata_server_at(issuer.url()).build()).unwrap();
    assert_eq!(seen.0.requests()[0].header("authorization"), Some("Bearer of-the-machine"));
    let asked = issuer.requests();
    assert_eq!(asked[0].path(), "/computeMetadata/v1/instance/service-accounts/default/token");
    assert_eq!(asked[0].header("metadata-flavor"), Some("Google"));
    for url in ["http://metadata.example", "http://192.0.2.1"] {
        let error = wrap(&asking().0.metadata_server_at(url).build()).unwrap_err();
        assert_eq!(error.kind(), Invalid, "{error}");
        assert!(error.message().starts_with("the source of the credentials is not asked: plain http"));
    }
}

#[test]
fn an_impersonated_service_account_acts_with_its_own_token() {
    let (kms, seen) = asking();
    let issuer = HttpServer::answering(|request| match request.path() {
        "/token" => token("of-the-source"),
        path if path.ends_with(":generateAccessToken") => {
            assert_eq!(request.header("authorization"), Some("Bearer of-the-source"));
            let answer = json!({"accessToken": "of-the-account", "expireTime": "2099-01-01T00:00:00Z"});
            Answer::json(200, answer.to_string())
        }
        path => panic!("{path}"),
    });
    let account = "projects/-/serviceAccounts/a@tests.iam.gserviceaccount.com:generateAccessToken";
    let json = json!({
        "type": "impersonated_service_account",
        "service_account_impersonation_url": format!("{}/v1/{account}", issuer.url()),
        "source_credentials": {
            "type": "authorized_user", "client_id": "c", "client_secret": "s", "refresh_token": "r",
            "token_uri": format!("{}/token", issuer.url()),
        },
    });
    wrap(&kms.credentials_json(json.to_string()).build()).unwrap();
    assert_eq!(seen.0.requests()[0].header("authorization"), Some("Bearer of-the-account"));
}

#[test]
fn a_service_account_is_impersonated_by_its_address_alone() {
    for (account, delegate) in [("a", None), ("a@b/../c", None), ("a@b\n", None), ("a@b", Some("c?d@e"))] {
        let kms = asking().0.impersonate(account, delegate).build();
        let error = wrap(&kms).unwrap_err();
        assert_eq!((error.kind(), error.key()), (Invalid, Some(&the_key())), "{account}");
        assert!(error.message().contains("NAME@PROJECT.iam.gserviceaccount.com"), "{error}");
    }
}

#[test]
fn credentials_that_cannot_be_are_refused_and_not_shown() {
    for (json, words) in [
        ("canary-4711".to_owned(), "not JSON"),
        (json!({"type": "canary-4711"}).to_string(), "no type that is known"),
        (json!({"client_id": "canary-4711"}).to_string(), "no type that is known"),
        (json!({"type": "service_account", "private_key": "canary-4711"}).to_string(), "make it anew"),
        (
            json!({"type": "authorized_user", "refresh_token": "canary-4711", "token_uri": "http://evil.example"})
                .to_string(),
            "plain http to evil.example",
        ),
    ] {
        let error = wrap(&asking().0.credentials_json(json).build()).unwrap_err();
        assert_eq!((error.kind(), error.is_retryable()), (Invalid, false), "{error}");
        assert!(error.message().contains(words), "{words}: {error}");
        assert!(!format!("{error} {error:?}").contains("4711"), "{error}");
    }
}

#[test]
fn a_source_of_tokens_that_refuses_or_is_away_is_told_apart_and_not_repeated() {
    for (answer, kind, retryable) in [
        (
            Answer::json(400, r#"{"error":"invalid_grant","error_description":"canary-4711"}"#),
            AccessDenied,
            false,
        ),
        (Answer::json(401, r#"{"error":"canary-4711"}"#), AccessDenied, false),
        (Answer::new(503).body("canary-4711"), Unavailable, true),
    ] {
        let issuer = HttpServer::answering(move |_| answer.clone());
        let json = json!({
            "type": "authorized_user", "client_id": "c", "client_secret": "s", "refresh_token": "r",
            "token_uri": format!("{}/token", issuer.url()),
        });
        let kms =
            asking().0.credentials_json(json.to_string()).attempt_timeout(Duration::from_secs(1)).build();
        let error = wrap(&kms).unwrap_err();
        assert_eq!((error.kind(), error.is_retryable(), error.key()), (kind, retryable, Some(&the_key())));
        assert!(!format!("{error} {error:?}").contains("4711"), "{error}");
    }
}

/// The secret of the program goes before the file of the settings.
#[test]
fn credentials_that_a_program_was_given_go_first() {
    struct Given(String);
    impl Secrets for Given {
        fn given(&self, name: &str) -> Result<Option<zeroize::Zeroizing<String>>, SecretError> {
            assert_eq!(name, "gcp-credentials");
            Ok(Some(self.0.clone().into()))
        }
        fn ask(&self, _: &str, _: &Prompt<'_>) -> Result<zeroize::Zeroizing<String>, SecretError> {
            panic!("nobody is asked for credentials")
        }
    }
    let server = Canned::saying(encrypted().to_string());
    let issuer = tokens("of-the-program");
    let json = external_account(&issuer.url(), &subject_token()).to_string();
    let mut settings = GcpSettings::default();
    settings.endpoint_url = Some(server.0.url());
    settings.credentials_file = Some("/nowhere".into());
    let scheme = settings.into_scheme(&Surroundings::new(Arc::new(Given(json)))).unwrap();
    let provider = scheme.open(&the_key(), Purpose::Encrypt).unwrap();
    block_on(provider.wrap_dek(&the_key(), &fresh_dek(), &context())).unwrap();
    assert_eq!(server.0.requests()[0].header("authorization"), Some("Bearer of-the-program"));
}

#[cfg(unix)]
#[test]
fn a_scheme_takes_no_file_of_credentials_that_others_can_read() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("credentials.json");
    let issuer = tokens("x");
    fs::write(&path, external_account(&issuer.url(), &subject_token()).to_string()).unwrap();
    let server = Canned::saying(encrypted().to_string());
    for (mode, fits) in [(0o644, false), (0o600, true)] {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        let mut settings = GcpSettings::default();
        settings.endpoint_url = Some(server.0.url());
        settings.credentials_file = Some(path.clone());
        let scheme = settings.into_scheme(&Surroundings::default()).unwrap();
        let provider = scheme.open(&the_key(), Purpose::Encrypt).unwrap();
        let wrapped = block_on(provider.wrap_dek(&the_key(), &fresh_dek(), &context()));
        assert_eq!(wrapped.is_ok(), fits, "{mode:o}");
        if let Err(error) = wrapped {
            assert_eq!(error.kind(), Invalid);
            assert!(error.message().contains("chmod 600"), "{error}");
        }
    }
}

/// As the console of Google gives it out, in PEM.
fn private_key() -> String {
    use aws_lc_rs::{encoding::AsDer, rsa};
    use base64ct::Encoding as _;
    let key = rsa::KeyPair::generate(rsa::KeySize::Rsa2048).unwrap();
    let der = AsDer::<aws_lc_rs::encoding::Pkcs8V1Der<'_>>::as_der(&key).unwrap();
    let text = base64ct::Base64::encode_string(der.as_ref());
    let lines: Vec<&str> =
        text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", lines.join("\n"))
}

fn wrap(kms: &GcpKms) -> Result<(), ProviderError> {
    block_on(kms.wrap_dek(&the_key(), &fresh_dek(), &context())).map(drop)
}

/// Settings for a KMS that answers, without credentials yet.
fn asking() -> (GcpKmsBuilder, Canned) {
    let server = Canned::saying(encrypted().to_string());
    (GcpKms::builder().endpoint_url(server.0.url()).attempts(1), server)
}

/// Gives everybody this token.
fn tokens(name: &'static str) -> HttpServer {
    HttpServer::answering(move |_: &Request| token(name))
}

fn token(name: &str) -> Answer {
    let answer = json!({
        "access_token": name, "token_type": "Bearer", "expires_in": 3600,
        "issued_token_type": "urn:ietf:params:oauth:token-type:access_token",
    });
    Answer::json(200, answer.to_string())
}

fn external_account(issuer: &str, subject_token: &std::path::Path) -> Value {
    json!({
        "type": "external_account",
        "audience": "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/providers/q",
        "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
        "token_url": format!("{issuer}/token"),
        "credential_source": {"file": subject_token},
    })
}

/// A file with the token of another identity provider. It stays until the process ends.
fn subject_token() -> PathBuf {
    static FILE: LazyLock<tempfile::NamedTempFile> = LazyLock::new(|| {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), "the-subject-token").unwrap();
        file
    });
    FILE.path().to_owned()
}
