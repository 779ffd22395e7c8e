//! Settings of the environment and of AWS's own files that cannot be, at which the
//! SDK would panic, and sources of credentials that do not answer.

use std::{env, fs, path::Path};

use envelope_sdk::{
    ProviderError,
    ProviderErrorKind::{AccessDenied, Invalid, Throttled, Unavailable},
};
use envelope_testkit::http_server::{Answer, HttpServer, closed_address};

use super::{
    canned::{refusal, wrap},
    lazy::{in_a_home, mode},
    *,
};

#[test]
fn retries_that_cannot_be_are_a_wrong_setting_that_is_named_and_no_panic() {
    for (name, value) in [
        ("AWS_RETRY_MODE", "x"),
        ("AWS_MAX_ATTEMPTS", "0"),
        ("AWS_MAX_ATTEMPTS", "-1"),
        ("AWS_MAX_ATTEMPTS", "x"),
        ("AWS_MAX_ATTEMPTS", "1001"),
        ("AWS_MAX_ATTEMPTS", "2147483647"),
        ("AWS_MAX_ATTEMPTS", "99999999999"),
    ] {
        in_a_home(&[(name, value)], |_| {
            let name = ["AWS_RETRY_MODE", "AWS_MAX_ATTEMPTS"].into_iter().find(|name| env::var(name).is_ok());
            let (name, server) = (name.unwrap(), HttpServer::in_turn([]));
            let error = block_on(wrap(&at(&server.url()).build())).unwrap_err();
            assert_eq!((error.kind(), error.key(), server.count()), (Invalid, None, 0), "{error}");
            let says = format!("{name} cannot be `{}`", env::var(name).unwrap());
            assert!(error.message().contains(&says), "{error}");
        });
    }
}

#[test]
fn retries_of_the_profile_that_cannot_be_are_a_wrong_setting_until_they_are_mended() {
    in_a_home(&[], |home| {
        for (line, says) in [
            ("max_attempts = 0", "max_attempts of the AWS profile cannot be `0`"),
            ("retry_mode = x", "retry_mode of the AWS profile cannot be `x`"),
        ] {
            write(home, "config", &format!("[default]\n{line}\n"));
            let error = block_on(wrap(&at("http://127.0.0.1:1").build())).unwrap_err();
            assert_eq!(error.kind(), Invalid, "{error}");
            assert!(error.message().contains(says), "{error}");
        }
        // They are read again when they are mended.
        write(home, "config", "[default]\nmax_attempts = 2\nretry_mode = adaptive\n");
        assert_eq!(attempts(), 2);
    });
}

#[test]
fn retries_are_those_of_the_environment_and_those_of_other_tools_of_aws_are_the_standard_ones() {
    for (mode, attempts_of, expected) in
        [("legacy", "2", "2"), ("", "", "3"), (" Standard ", " 4 ", "4"), ("adaptive", "1", "1")]
    {
        let variables = [("AWS_RETRY_MODE", mode), ("AWS_MAX_ATTEMPTS", attempts_of), ("EXPECTED", expected)];
        in_a_home(&variables, |home| {
            // The environment goes first.
            write(home, "config", "[default]\nmax_attempts = 7\n");
            assert_eq!(attempts().to_string(), env::var("EXPECTED").unwrap());
        });
    }
}

/// How often a call is attempted.
fn attempts() -> usize {
    let server = HttpServer::answering(|_| refusal(500, "KMSInternalException"));
    let error = block_on(wrap(&at(&server.url()).build())).unwrap_err();
    assert_eq!(error.kind(), Unavailable, "{error}");
    server.count()
}

#[test]
fn credentials_that_fit_into_no_header_are_refused_and_not_shown() {
    let broken = "AKIA4711\nx: y";
    for variables in [
        vec![("AWS_ACCESS_KEY_ID", broken), ("AWS_SECRET_ACCESS_KEY", "s")],
        vec![("AWS_ACCESS_KEY_ID", "a"), ("AWS_SECRET_ACCESS_KEY", "s"), ("AWS_SESSION_TOKEN", broken)],
        vec![],
    ] {
        in_a_home(&variables, |home| {
            if env::var("AWS_ACCESS_KEY_ID").is_err() {
                let json = r#"{"Version":1,"AccessKeyId":"AKIA4711\nx","SecretAccessKey":"s"}"#;
                let json_file = home.join("credentials.json");
                fs::write(&json_file, json).unwrap();
                let config = format!("[default]\ncredential_process = cat {}\n", json_file.display());
                write(home, "config", &config);
            }
            let server = HttpServer::in_turn([]);
            let builder = || AwsKms::builder().endpoint_url(server.url()).region(REGION);
            for kms in [builder(), builder().assume_role("arn:aws:iam::111122223333:role/x", None)] {
                refused_and_not_shown(&block_on(wrap(&kms.build())).unwrap_err());
            }
            assert_eq!(server.count(), 0);
        });
    }
    let given = Credentials::new(broken, "s", None, None, "tests");
    let config = envelope_aws::SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .endpoint_url("http://127.0.0.1:1")
        .credentials_provider(aws_sdk_kms::config::SharedCredentialsProvider::new(given.clone()))
        .build();
    for kms in [at("http://127.0.0.1:1").credentials(given).build(), AwsKms::from_sdk_config(config)] {
        refused_and_not_shown(&block_on(wrap(&kms)).unwrap_err());
    }
}

fn refused_and_not_shown(error: &ProviderError) {
    assert_eq!((error.kind(), error.is_retryable()), (Invalid, false), "{error}");
    assert!(error.message().contains("holds a line break, a blank or another character"), "{error}");
    assert!(!format!("{error:?}").contains("4711"), "{error:?}");
}

#[test]
fn a_region_that_is_none_is_refused_and_no_panic() {
    in_a_home(&[("AWS_REGION", "eu\nx: y"), ("AWS_SDK_UA_APP_ID", "a\nb")], |_| {
        let keys = || Credentials::new("test", "s", None, None, "tests");
        let builder = || AwsKms::builder().endpoint_url("http://127.0.0.1:1").credentials(keys()).attempts(1);
        let error = block_on(wrap(&builder().build())).unwrap_err();
        assert_eq!((error.kind(), error.key()), (Invalid, None), "{error}");
        assert!(error.message().contains("is no name of an AWS region"), "{error}");
        assert!(!error.message().contains('\n'), "{error}");
        let role = builder().assume_role("arn:aws:iam::111122223333:role/x", None);
        assert_eq!(block_on(wrap(&role.build())).unwrap_err().kind(), Invalid);
        // The others of these variables are in no way.
        let error = block_on(wrap(&builder().region(REGION).build())).unwrap_err();
        assert_eq!(error.kind(), Unavailable, "{error}");
    });
}

#[test]
fn a_source_of_credentials_that_does_not_answer_throttles_or_fails_is_not_a_refusal() {
    let sts = |status: u16, code: &str| {
        let body = format!(
            "<ErrorResponse><Error><Type>Sender</Type><Code>{code}</Code><Message>words</Message></Error>\
             <RequestId>1</RequestId></ErrorResponse>"
        );
        Answer::new(status).header("content-type", "text/xml").body(body)
    };
    let cases = || {
        [
            (None, Unavailable, true, "cannot be reached"),
            (Some(Answer::hang_up()), Unavailable, true, "cannot be reached"),
            (Some(Answer::new(503)), Unavailable, true, "failed (status 503)"),
            (Some(Answer::new(502).body("<html>words</html>")), Unavailable, true, "failed (status 502)"),
            (Some(sts(500, "InternalFailure")), Unavailable, true, "failed (InternalFailure)"),
            (Some(sts(400, "IDPCommunicationError")), Unavailable, true, "failed (IDPCommunicationError)"),
            (Some(sts(400, "Throttling")), Throttled, true, "wants fewer requests"),
            (Some(Answer::new(429)), Throttled, true, "wants fewer requests"),
            (Some(sts(403, "AccessDenied")), AccessDenied, false, "AWS refuses the caller (AccessDenied)"),
            (Some(sts(403, "RegionDisabledException")), AccessDenied, false, "not enabled in this region"),
            (Some(Answer::new(403)), AccessDenied, false, "their source failed or refused"),
            (Some(Answer::new(200)), AccessDenied, false, "their source failed or refused"),
        ]
    };
    // In this process the addresses of the servers cannot be set any more.
    for at in 0..cases().len() {
        let (answer, ..) = cases()[at].clone();
        let server = answer.map(|answer| HttpServer::answering(move |_| answer.clone()));
        let url = server.map_or_else(|| format!("http://{}", closed_address()), |server| server.url());
        let number = at.to_string();
        let keys = [("AWS_ACCESS_KEY_ID", "test"), ("AWS_SECRET_ACCESS_KEY", "s"), ("AWS_MAX_ATTEMPTS", "1")];
        let variables =
            [("AWS_ENDPOINT_URL_STS", url.as_str()), ("CASE", &number), keys[0], keys[1], keys[2]];
        in_a_home(&variables, |_| {
            let case: usize = env::var("CASE").unwrap().parse().unwrap();
            let (answer, kind, retryable, says) = cases()[case].clone();
            let kms = super::at("http://127.0.0.1:1").region(REGION);
            let kms = kms.assume_role("arn:aws:iam::111122223333:role/x", None).build();
            let error = block_on(wrap(&kms)).unwrap_err();
            let told = format!("{answer:?}: {error}");
            assert_eq!((error.kind(), error.is_retryable()), (kind, retryable), "{told}");
            assert!(error.message().contains(says), "{told}");
            assert!(!error.message().contains("words"), "{told}");
            assert!(error.key().is_some(), "{told}");
        });
    }
}

#[test]
fn the_source_of_a_profile_that_is_away_is_not_a_refusal() {
    in_a_home(&[("AWS_MAX_ATTEMPTS", "1")], |home| {
        let away = format!("http://{}", closed_address());
        write(home, "credentials", "[base]\naws_access_key_id = a\naws_secret_access_key = s\n");
        let config = |region: &str| {
            let role = "role_arn = arn:aws:iam::111122223333:role/x\nsource_profile = base";
            format!("[default]\n{region}\n{role}\n{}\n[profile base]\n", services(&away))
        };
        write(home, "config", &config("region = eu-central-1"));
        let kms = || AwsKms::builder().endpoint_url("http://127.0.0.1:1").build();
        let error = block_on(wrap(&kms())).unwrap_err();
        assert_eq!((error.kind(), error.is_retryable()), (Unavailable, true), "{error}");
        assert!(error.message().contains("the source of AWS credentials cannot be reached"), "{error}");
        // And without a region nobody can be asked.
        write(home, "config", &config("").replace(&services(&away), ""));
        let error = block_on(wrap(&kms())).unwrap_err();
        assert_eq!((error.kind(), error.is_retryable()), (Invalid, false), "{error}");
        assert!(error.message().contains("no region is configured"), "{error}");
    });
}

#[test]
fn the_agent_of_a_container_that_is_away_is_not_a_refusal() {
    let url = format!("http://{}/credentials", closed_address());
    in_a_home(&[("AWS_CONTAINER_CREDENTIALS_FULL_URI", &url), ("AWS_MAX_ATTEMPTS", "1")], |_| {
        let kms = AwsKms::builder().endpoint_url("http://127.0.0.1:1").region(REGION).build();
        let error = block_on(wrap(&kms)).unwrap_err();
        assert_eq!((error.kind(), error.is_retryable()), (Unavailable, true), "{error}");
        assert!(error.message().contains("the source of AWS credentials cannot be reached"), "{error}");
    });
}

#[test]
fn a_role_without_a_region_is_a_wrong_setting() {
    in_a_home(&[("AWS_ACCESS_KEY_ID", "test"), ("AWS_SECRET_ACCESS_KEY", "s")], |_| {
        let kms = AwsKms::builder().endpoint_url("http://127.0.0.1:1");
        let kms = kms.assume_role("arn:aws:iam::111122223333:role/x", None).build();
        let error = block_on(wrap(&kms)).unwrap_err();
        assert_eq!((error.kind(), error.is_retryable()), (Invalid, false), "{error}");
        assert!(error.message().contains("no region is configured"), "{error}");
    });
}

#[test]
fn an_execution_environment_that_fits_into_no_header_is_a_wrong_setting() {
    in_a_home(&[("AWS_EXECUTION_ENV", "a\nb")], |_| {
        let error = block_on(wrap(&at("http://127.0.0.1:1").build())).unwrap_err();
        assert_eq!((error.kind(), error.is_retryable()), (Invalid, false), "{error}");
        assert!(error.message().contains("AWS_EXECUTION_ENV cannot have a line break"), "{error}");
    });
}

/// Whatever else the SDK reads: its values are ignored, or an error.
#[test]
fn other_settings_that_cannot_be_are_no_panic() {
    let odd = "\u{fc} \t\"x\n: y";
    let of_the_metadata = [
        ("AWS_EC2_METADATA_DISABLED", "false"),
        ("AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE", "x"),
        ("AWS_EC2_METADATA_SERVICE_ENDPOINT", odd),
    ];
    let of_requests = [
        ("AWS_USE_FIPS_ENDPOINT", odd),
        ("AWS_USE_DUALSTACK_ENDPOINT", odd),
        ("AWS_ACCOUNT_ID_ENDPOINT_MODE", odd),
        ("AWS_REQUEST_MIN_COMPRESSION_SIZE_BYTES", odd),
        ("AWS_DISABLE_REQUEST_COMPRESSION", odd),
        ("AWS_AUTH_SCHEME_PREFERENCE", odd),
        ("AWS_SIGV4A_SIGNING_REGION_SET", odd),
        ("AWS_SDK_UA_APP_ID", odd),
        ("AWS_LAMBDA_FUNCTION_NAME", odd),
        ("_X_AMZN_TRACE_ID", odd),
    ];
    let of_files = [("AWS_CONFIG_FILE", odd), ("AWS_SHARED_CREDENTIALS_FILE", ""), ("AWS_PROFILE", odd)];
    let of_a_container = [("AWS_CONTAINER_CREDENTIALS_FULL_URI", odd)];
    let token = [
        ("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://127.0.0.1:1"),
        ("AWS_CONTAINER_AUTHORIZATION_TOKEN", odd),
    ];
    let of_the_web =
        [("AWS_WEB_IDENTITY_TOKEN_FILE", odd), ("AWS_ROLE_ARN", odd), ("AWS_ROLE_SESSION_NAME", odd)];
    for variables in [&of_the_metadata[..], &of_requests, &of_files, &of_a_container, &token, &of_the_web] {
        in_a_home(variables, |_| {
            let kms = || AwsKms::builder().endpoint_url("http://127.0.0.1:1").region(REGION).attempts(1);
            let given = kms().credentials(Credentials::new("test", "s", None, None, "tests"));
            assert_eq!(block_on(wrap(&given.build())).unwrap_err().kind(), Unavailable);
            block_on(wrap(&kms().build())).unwrap_err();
        });
    }
    in_a_home(&[], |home| {
        for profile in [
            "[default]\nrole_arn = x\nsource_profile = default\n",
            "[default]\nrole_arn = x\ncredential_source = x\n",
            "[default]\nrole_arn = x\nsource_profile = none\nregion = \u{fc} x\n",
            "[default]\nsso_session = x\nsso_account_id = 1\nsso_role_name = x\n[sso-session x]\nsso_region = \u{fc} x\n",
            "[default]\nservices = x\n[services x]\nkms = 1\n",
            "[default]\ncredential_process = \n",
            "[default]\nuse_fips_endpoint = x\nendpoint_url = x y\n",
            "[default",
        ] {
            write(home, "config", profile);
            let kms = AwsKms::builder().region(REGION).attempts(1).build();
            block_on(wrap(&kms)).unwrap_err();
        }
    });
}

/// The SDK's own panic behind a role of the profile is an error, and tells no secret.
#[test]
fn a_source_of_credentials_that_panics_is_a_wrong_setting() {
    #[derive(Debug)]
    struct Panics;

    impl envelope_aws::ProvideCredentials for Panics {
        fn provide_credentials<'a>(&'a self) -> aws_credential_types::provider::future::ProvideCredentials<'a>
        where
            Self: 'a,
        {
            aws_credential_types::provider::future::ProvideCredentials::new(async {
                panic!("of the test, 4711")
            })
        }
    }

    let error = block_on(wrap(&at("http://127.0.0.1:1").credentials(Panics).build())).unwrap_err();
    assert_eq!((error.kind(), error.is_retryable()), (Invalid, false), "{error}");
    assert!(error.message().contains("the AWS SDK failed over the settings of their source"), "{error}");
    assert!(!format!("{error:?}").contains("4711"));
}

/// Where a profile has STS.
fn services(url: &str) -> String {
    format!("endpoint_url = {url}")
}

fn write(home: &Path, name: &str, text: &str) {
    let path = home.join(".aws").join(name);
    fs::write(&path, text).unwrap();
    mode(&path, 0o600);
}
