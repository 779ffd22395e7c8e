//! When the environment and AWS's own files are read, and which of them are used.
//!
//! A test that needs variables of its own runs itself in a process that has them.

use std::{
    env,
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt,
    path::Path,
    process::Command,
    sync::Arc,
};

use envelope_aws::AwsSettings;
use envelope_files::trust::TrustError;
use envelope_sdk::{
    KeyProvider, ProviderErrorKind,
    ProviderErrorKind::{AccessDenied, Invalid},
    admin::Detail,
    http::find_cause,
    registry::{Purpose, Scheme, Settings, Surroundings},
};
use envelope_testkit::http_server::{Answer, HttpServer, Request};
use tempfile::TempDir;

use super::{
    canned::{refusal, said, the_arn, the_key, wrap},
    *,
};

#[test]
fn nothing_is_read_or_asked_before_a_key_is_used() {
    in_a_home(&[], |home| {
        let server = encrypting();
        let scheme = scheme();
        let (provider, admin) =
            (scheme.open(&the_key(), Purpose::Encrypt).unwrap(), scheme.admin(None).unwrap());
        let built = AwsKms::builder().build();
        // A pipe: whoever reads it waits for a writer.
        let config = home.join(".aws/config");
        assert!(Command::new("mkfifo").arg(&config).status().unwrap().success());
        let again = AwsSettings::default().into_scheme(&Surroundings::default()).unwrap();
        drop(again.open(&the_key(), Purpose::Decrypt).unwrap());
        assert!(provider.generates_deks(&the_key()) && !built.is_same_key(&the_key(), &key("other")));
        assert_eq!(block_on(provider.resolve(&the_key())).unwrap(), the_key(), "a key is no alias");
        assert_eq!((admin.provider(), server.count()), ("aws", 0));

        fs::remove_file(&config).unwrap();
        configure(home, &server);
        for kms in [&provider, &(Arc::new(built) as Arc<dyn KeyProvider>)] {
            let dek = Dek::generate::<DefaultEngine>().unwrap();
            block_on(kms.wrap_dek(&the_key(), &dek, &context())).unwrap();
        }
        assert_eq!(server.take().iter().filter(|request| is_signed(request)).count(), 2);
    });
}

#[test]
fn settings_that_had_no_credentials_or_no_region_are_read_again() {
    in_a_home(&[], |home| {
        let (server, kms) = (encrypting(), AwsKms::builder().attempts(1).build());
        for _ in 0..2 {
            let error = block_on(wrap(&kms)).unwrap_err();
            assert_eq!(error.kind(), AccessDenied, "{error}");
            assert!(error.message().contains("there are no AWS credentials"), "{error}");
        }
        let with_keys =
            AwsKms::builder().credentials(Credentials::new("of-the-home", "s", None, None, "tests"));
        let with_keys = with_keys.attempts(1).build();
        let error = block_on(with_keys.list_keys(None)).unwrap_err();
        assert!(error.message().contains("no region is configured"), "{error}");
        configure(home, &server);
        assert_eq!(block_on(with_keys.list_keys(None)).unwrap().keys, []);
        block_on(wrap(&kms)).unwrap();
        // And then they are kept.
        fs::remove_dir_all(home.join(".aws")).unwrap();
        block_on(wrap(&kms)).unwrap();
        assert!(server.take().iter().all(is_signed));
    });
}

/// Whoever logs in again replaces them, also while a service runs.
#[test]
fn credentials_that_have_expired_are_read_again() {
    for code in ["ExpiredTokenException", "UnrecognizedClientException", "AccessDeniedException"] {
        in_a_home(&[("CODE", code)], |home| {
            let code = env::var("CODE").unwrap();
            let server = encrypting_unless_refused(code.clone());
            configure(home, &server);
            let credentials = home.join(".aws/credentials");
            let valid = fs::read_to_string(&credentials).unwrap();
            let expired = valid.replace("of-the-home", "of-yesterday") + "aws_session_token = t\n";
            fs::write(&credentials, expired).unwrap();
            let kms = AwsKms::builder().attempts(1).build();
            for _ in 0..2 {
                let error = block_on(wrap(&kms)).unwrap_err();
                assert_eq!((error.kind(), error.is_retryable()), (AccessDenied, false), "{error}");
                assert!(error.message().contains(&code), "{error}");
            }
            fs::write(&credentials, valid).unwrap();
            match block_on(wrap(&kms)) {
                // A permission that is missing is not had by reading.
                Err(error) => assert_eq!(code, "AccessDeniedException", "{error}"),
                Ok(_) => assert_ne!(code, "AccessDeniedException"),
            }
        });
    }
}

#[test]
fn files_of_aws_that_others_may_write_are_not_used_until_that_is_mended() {
    in_a_home(&[], |home| {
        let server = encrypting();
        configure(home, &server);
        let config = home.join(".aws/config");
        let (kms, trusting) =
            (scheme().open(&the_key(), Purpose::Encrypt).unwrap(), AwsKms::builder().build());
        let dek = Dek::generate::<DefaultEngine>().unwrap();
        let wrap = || block_on(kms.wrap_dek(&the_key(), &dek, &context()));
        let sso = home.join(".aws/sso/cache");
        fs::create_dir_all(&sso).unwrap();
        let token = sso.join(format!("{}.json", "e8be5486177c5b5392bd9aa76563515b29358e6e"));
        fs::write(&token, "{}").unwrap();
        fs::write(sso.join("another-tool.json"), "{}").unwrap();
        mode(&sso.join("another-tool.json"), 0o666);
        mode(&token, 0o600);
        for (path, bad, good, says) in [
            (&config, 0o666, 0o644, "AWS_CONFIG_FILE=/dev/null leaves it out"),
            (&home.join(".aws/credentials"), 0o644, 0o600, "AWS_SHARED_CREDENTIALS_FILE=/dev/null"),
            (&token, 0o644, 0o600, "log in with `aws sso login` again"),
            (&sso, 0o777, 0o755, "group or others may write"),
        ] {
            if path.starts_with(home.join(".aws/sso")) && !cfg!(feature = "sso") {
                continue;
            }
            mode(path, bad);
            let error = wrap().unwrap_err();
            assert_eq!((error.kind(), error.key()), (Invalid, None), "{error}");
            assert!(error.message().contains(says), "{error}");
            assert!(find_cause::<TrustError>(&error).is_some(), "a program tells it from a wrong setting");
            assert_eq!(server.count(), 0, "{error}");
            mode(path, good);
        }
        mode(&config, 0o666);
        block_on(canned::wrap(&trusting)).unwrap();
        let error = wrap().unwrap_err();
        assert!(find_cause::<TrustError>(&error).is_some(), "only who asks for it has them checked: {error}");
        mode(&config, 0o644);
        wrap().unwrap();
    });
}

/// Whoever waits for its writer does not answer, and would take from the SDK what comes.
#[test]
fn a_pipe_in_place_of_a_file_of_aws_is_refused_and_not_waited_for() {
    in_a_home(&[], |home| {
        let pipe = home.join(".aws/credentials");
        assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        let kms = scheme().open(&the_key(), Purpose::Encrypt).unwrap();
        let dek = Dek::generate::<DefaultEngine>().unwrap();
        let error = block_on(kms.wrap_dek(&the_key(), &dek, &context())).unwrap_err();
        assert!(error.message().contains("is not a regular file"), "{error}");
    });
}

#[test]
fn an_empty_endpoint_of_a_source_of_credentials_is_a_wrong_setting_and_no_panic() {
    for variable in ["AWS_ENDPOINT_URL_STS", "AWS_ENDPOINT_URL_SSO", "AWS_ENDPOINT_URL_SSO_OIDC"] {
        let keys = [("AWS_ACCESS_KEY_ID", "test"), ("AWS_SECRET_ACCESS_KEY", "test")];
        in_a_home(&[(variable, ""), keys[0], keys[1]], |_| {
            let kms = AwsKms::builder().region(REGION).assume_role("arn:aws:iam::111122223333:role/x", None);
            let error = block_on(wrap(&kms.attempts(1).build())).unwrap_err();
            assert_eq!((error.kind(), error.key()), (Invalid, None), "{error}");
            let says = "the source of AWS credentials is not asked: the endpoint is no URL";
            assert!(error.message().contains(says), "{error}");
            // Nobody is asked for credentials that are at hand.
            let error = block_on(wrap(&at("http://127.0.0.1:1").attempts(1).build())).unwrap_err();
            assert_eq!(error.kind(), ProviderErrorKind::Unavailable, "{error}");
        });
    }
}

#[test]
fn a_survey_tells_region_profile_and_endpoint_and_asks_nobody() {
    in_a_home(&[], |home| {
        let server = encrypting();
        let told = |scheme: &dyn Scheme| block_on(scheme.survey()).unwrap();
        let nothing = told(&*scheme());
        let names: Vec<_> = nothing.iter().map(|(name, _)| name.to_owned()).collect();
        assert_eq!(names, ["region", "profile", "endpoint"]);
        assert_eq!(nothing.get("region"), Some(&Detail::Nothing));
        assert_eq!(nothing.get("profile"), Some(&"default".into()));
        configure(home, &server);
        let told = told(&*scheme());
        assert_eq!(told.get("region"), Some(&REGION.into()));
        assert_eq!(told.get("endpoint"), Some(&server.url().into()));
        assert_eq!(server.count(), 0);
    });
}

/// A KMS that encrypts under [`the_key`].
fn encrypting() -> HttpServer {
    HttpServer::answering(|_| encrypted())
}

/// The same for who has the credentials of [`configure`]; others are refused so.
fn encrypting_unless_refused(code: String) -> HttpServer {
    let answer = move |request: &Request| if is_signed(request) { encrypted() } else { refusal(400, &code) };
    HttpServer::answering(answer)
}

fn encrypted() -> Answer {
    said(200, format!(r#"{{"KeyId":"{}","CiphertextBlob":"AAAA"}}"#, the_arn()))
}

/// With the credentials of [`configure`].
fn is_signed(request: &Request) -> bool {
    request.header("authorization").is_some_and(|value| value.contains("Credential=of-the-home/"))
}

/// Writes AWS's own files, which name this server.
fn configure(home: &Path, server: &HttpServer) {
    let config = format!("[default]\nregion = {REGION}\nendpoint_url = {}\n", server.url());
    let credentials = "[default]\naws_access_key_id = of-the-home\naws_secret_access_key = s\n";
    for (name, text) in [("config", config.as_str()), ("credentials", credentials)] {
        let path = home.join(".aws").join(name);
        fs::write(&path, text).unwrap();
        mode(&path, 0o600);
    }
}

pub(crate) fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

fn scheme() -> Arc<dyn Scheme> {
    AwsSettings::default().into_scheme(&Surroundings::default()).unwrap()
}

/// Runs the rest of the test in a process of its own, with an empty `~/.aws`,
/// these variables and no others of AWS.
pub(crate) fn in_a_home(variables: &[(&str, &str)], rest: impl Fn(&Path)) {
    if let Some(home) = env::var_os(HOME_OF_THE_TEST) {
        return rest(Path::new(&home));
    }
    let home = TempDir::new().unwrap();
    fs::create_dir(home.path().join(".aws")).unwrap();
    let test = std::thread::current().name().unwrap().to_owned();
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(["--exact", &test, "--nocapture"]);
    for (name, _) in env::vars_os() {
        if name.to_string_lossy().starts_with("AWS_") {
            command.env_remove(name);
        }
    }
    command.env(HOME_OF_THE_TEST, home.path()).env("HOME", home.path());
    command.env("AWS_EC2_METADATA_DISABLED", "true").envs(variables.iter().copied());
    let ran = command.output().unwrap();
    let said = String::from_utf8_lossy(&ran.stdout) + String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success() && said.contains("1 passed"), "{variables:?}: {said}");
    assert!(!said.contains("panicked"), "{variables:?}: {said}");
}

const HOME_OF_THE_TEST: &str = "ENVELOPE_HOME_OF_THE_TEST";
