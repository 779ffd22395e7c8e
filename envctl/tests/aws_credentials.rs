//! Where credentials of AWS come from when neither the environment nor a profile
//! has any: each source answers, and LocalStack says by the account of a new key
//! whose credentials it was asked with.

#![cfg(feature = "all")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on says so")]

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpListener,
    thread,
};

use crate::common::{Ran, Sandbox};
use envelope_testkit::servers::{self, Recorder};

#[test]
fn a_web_identity_is_exchanged_for_a_role() {
    let Some(localstack) = servers::address("LOCALSTACK") else { return };
    let sandbox = Sandbox::new();
    let recorder = Recorder::before(localstack.strip_prefix("http://").unwrap()).unwrap();
    let token = sandbox.write("token", b"a-token-of-the-cluster");
    let sts = format!("http://{}", recorder.address());
    let created = create(
        &sandbox,
        &[
            ("AWS_ENDPOINT_URL_KMS", localstack.as_str()),
            ("AWS_ENDPOINT_URL_STS", &sts),
            ("AWS_ROLE_ARN", "arn:aws:iam::222233334444:role/pods"),
            ("AWS_WEB_IDENTITY_TOKEN_FILE", token.to_str().unwrap()),
        ],
    );
    assert_eq!(account(&created), "222233334444");
    let sent = recorder.take().concat();
    let sent = String::from_utf8_lossy(&sent).into_owned();
    for part in ["AssumeRoleWithWebIdentity", "a-token-of-the-cluster", "role%2Fpods"] {
        assert!(sent.contains(part), "{part}: {sent}");
    }
}

#[test]
fn a_role_is_assumed_with_its_external_id() {
    let Some(localstack) = servers::address("LOCALSTACK") else { return };
    let sandbox = Sandbox::new();
    let recorder = Recorder::before(localstack.strip_prefix("http://").unwrap()).unwrap();
    sandbox.configure(
        "[aws]\nrole = \"arn:aws:iam::333344445555:role/backups\"\nexternal-id = \"of-the-customer\"\n",
    );
    let sts = format!("http://{}", recorder.address());
    let created = create(
        &sandbox,
        &[
            ("AWS_ENDPOINT_URL_KMS", localstack.as_str()),
            ("AWS_ENDPOINT_URL_STS", &sts),
            ("AWS_ACCESS_KEY_ID", "test"),
            ("AWS_SECRET_ACCESS_KEY", "test"),
        ],
    );
    assert_eq!(account(&created), "333344445555");
    let sent = recorder.take().concat();
    let sent = String::from_utf8_lossy(&sent).into_owned();
    for part in ["Action=AssumeRole&", "ExternalId=of-the-customer", "RoleSessionName=envelope-sdk"] {
        assert!(sent.contains(part), "{part}: {sent}");
    }
}

#[test]
fn who_logged_in_with_sso_is_given_the_credentials_of_the_profile() {
    let Some(localstack) = servers::address("LOCALSTACK") else { return };
    let sandbox = Sandbox::new();
    let portal = beside_the_machine(|head| {
        let asked = "get /federation/credentials?role_name=backups&account_id=666677778888 ";
        let shown = head.starts_with(asked) && head.contains("x-amz-sso_bearer_token: of-the-login");
        shown.then(|| {
            r#"{"roleCredentials":{"accessKeyId":"666677778888","secretAccessKey":"s","sessionToken":"t",
                "expiration":32503680000000}}"#
                .into()
        })
    });
    let profile = sandbox.write(
        "config",
        b"[profile sso]\nsso_start_url = https://example.awsapps.com/start\nsso_region = eu-central-1\n\
          sso_account_id = 666677778888\nsso_role_name = backups\n",
    );
    // As `aws sso login` leaves it: the name is the SHA-1 of the start URL.
    let token = r#"{"startUrl":"https://example.awsapps.com/start","region":"eu-central-1",
        "accessToken":"of-the-login","expiresAt":"2999-01-01T00:00:00Z"}"#;
    sandbox.write_at_home(".aws/sso/cache/e8be5486177c5b5392bd9aa76563515b29358e6e.json", token);
    let variables = [
        ("AWS_ENDPOINT_URL_KMS", localstack.as_str()),
        ("AWS_ENDPOINT_URL_SSO", &portal),
        ("AWS_CONFIG_FILE", profile.to_str().unwrap()),
        ("AWS_PROFILE", "sso"),
    ];
    assert_eq!(account(&create(&sandbox, &variables)), "666677778888");
}

#[test]
fn a_container_asks_the_agent_beside_it() {
    let Some(localstack) = servers::address("LOCALSTACK") else { return };
    let agent = beside_the_machine(|head| {
        let shown = head.starts_with("get /credentials ") && head.contains("authorization: of-the-container");
        shown.then(|| credentials("444455556666"))
    });
    let created = create(
        &Sandbox::new(),
        &[
            ("AWS_ENDPOINT_URL_KMS", localstack.as_str()),
            ("AWS_CONTAINER_CREDENTIALS_FULL_URI", &format!("{agent}/credentials")),
            ("AWS_CONTAINER_AUTHORIZATION_TOKEN", "of-the-container"),
        ],
    );
    assert_eq!(account(&created), "444455556666");
}

#[test]
fn an_instance_asks_its_metadata_with_a_token() {
    let Some(localstack) = servers::address("LOCALSTACK") else { return };
    let metadata = beside_the_machine(|head| {
        if head.starts_with("put /latest/api/token ") {
            return Some("of-the-instance".into());
        }
        let path = head.strip_prefix("get /latest/meta-data/iam/security-credentials/")?;
        if !head.contains("x-aws-ec2-metadata-token: of-the-instance") {
            return None;
        }
        Some(if path.starts_with("writer ") { credentials("555566667777") } else { "writer".into() })
    });
    let created = create(
        &Sandbox::new(),
        &[
            ("AWS_ENDPOINT_URL_KMS", localstack.as_str()),
            ("AWS_EC2_METADATA_SERVICE_ENDPOINT", &metadata),
            ("AWS_EC2_METADATA_DISABLED", "false"),
        ],
    );
    assert_eq!(account(&created), "555566667777");
}

/// STS is sent the token of the machine, and may repeat it.
#[test]
fn no_word_of_an_answer_to_a_token_is_shown() {
    let sandbox = Sandbox::new();
    sandbox.write("in", b"secret");
    let token = sandbox.write("token", b"canary-0815-token");
    for (status, code, says) in [
        (400, "InvalidIdentityToken", "(InvalidIdentityTokenException)"),
        (400, "ExpiredTokenException", "(ExpiredTokenException)"),
        (403, "AccessDenied", "(AccessDenied)"),
        (400, "canary-0815-token", "their source failed or refused"),
        (200, "none", "their source failed or refused"),
    ] {
        let sts = echoing(status, code);
        let mut command = sandbox.envctl(&["encrypt", "-k", KEY, "in"]);
        command
            .env("AWS_REGION", "eu-central-1")
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .env("AWS_MAX_ATTEMPTS", "1")
            .env("AWS_ROLE_ARN", "arn:aws:iam::111122223333:role/backups")
            .env("AWS_WEB_IDENTITY_TOKEN_FILE", &token)
            .env("AWS_ENDPOINT_URL_STS", &sts);
        let ran = Ran::of(command.output().unwrap(), 5);
        ran.says("there are no AWS credentials").says(says);
        assert!(!ran.stderr.contains("0815"), "{code}: {}", ran.stderr);
    }
}

/// An STS that repeats what it is sent as the message of an error with this code.
fn echoing(status: u16, code: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        for connection in listener.incoming() {
            let mut connection = connection.unwrap();
            let mut request = vec![0; 64 * 1024];
            let mut len = 0;
            while !String::from_utf8_lossy(&request[..len]).contains("canary-0815") {
                len += connection.read(&mut request[len..]).unwrap();
            }
            let said = String::from_utf8_lossy(&request[..len]).replace(['<', '&', '\r', '\n'], " ");
            let body = format!(
                "<ErrorResponse><Error><Type>Sender</Type><Code>{code}</Code><Message>{said}</Message></Error></ErrorResponse>"
            );
            let answer = format!(
                "HTTP/1.1 {status} x\r\ncontent-type: text/xml\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
                body.len()
            );
            connection.write_all(answer.as_bytes()).unwrap();
        }
    });
    address
}

/// Creates a key with these variables and no others of AWS, and uses it: its
/// URI.
fn create(sandbox: &Sandbox, variables: &[(&str, &str)]) -> String {
    let run = |arguments: &[&str]| {
        let mut command = sandbox.envctl(arguments);
        command.env("AWS_REGION", "eu-central-1").env("AWS_EC2_METADATA_DISABLED", "true");
        command.envs(variables.iter().copied());
        Ran::of(command.output().unwrap(), 0)
    };
    let name = format!("credentials-{}-{:?}", std::process::id(), thread::current().id());
    let name: String = name.chars().filter(|char| char.is_ascii_alphanumeric() || *char == '-').collect();
    let created = run(&["keys", "create", "--provider", "aws", "--json", &name]).json();
    let key = created["key"].as_str().unwrap().to_owned();
    sandbox.write("in", b"secret");
    run(&["encrypt", "-k", &key, "in"]);
    run(&["decrypt", "-k", &key, "in.envelope", "-o", "out"]);
    assert_eq!(sandbox.read("out"), b"secret");
    key
}

/// The account in the ARN of a key.
fn account(key: &str) -> &str {
    key.rsplit(':').nth(1).unwrap()
}

/// LocalStack takes the access key for the account.
fn credentials(account: &str) -> String {
    format!(
        r#"{{"Code":"Success","Type":"AWS-HMAC","LastUpdated":"2026-01-01T00:00:00Z","AccessKeyId":"{account}",
        "SecretAccessKey":"s","Token":"t","Expiration":"2999-01-01T00:00:00Z"}}"#
    )
}

/// A stand-in for the agent of a container platform or the metadata of an
/// instance, which are no servers that one can start: answers a request's head,
/// in lower case, or refuses it. Its address; it ends with the process.
fn beside_the_machine(answer: impl Fn(&str) -> Option<String> + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        for connection in listener.incoming() {
            let mut connection = connection.unwrap();
            let mut head = String::new();
            let mut reader = BufReader::new(&connection);
            while !head.ends_with("\r\n\r\n") && reader.read_line(&mut head).unwrap() > 0 {}
            let answer = answer(&head.to_lowercase());
            let status = if answer.is_some() { "200 OK" } else { "403 Forbidden" };
            let body = answer.unwrap_or_default();
            let kind = if body.starts_with('{') { "application/json" } else { "text/plain" };
            let answer = format!(
                "HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {}\r\nconnection: close\r\n\
                 x-aws-ec2-metadata-token-ttl-seconds: 21600\r\n\r\n{body}",
                body.len()
            );
            connection.write_all(answer.as_bytes()).unwrap();
        }
    });
    address
}

const KEY: &str = "arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab";
