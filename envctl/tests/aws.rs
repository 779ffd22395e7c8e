//! Keys of AWS KMS at the command line, against LocalStack.

#![cfg(feature = "all")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on says so")]

use std::{
    fs,
    io::{BufRead, BufReader},
    net::{SocketAddr, TcpListener},
    os::unix::fs::{PermissionsExt, chown},
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

use crate::common::{Ran, Sandbox};
use envelope_testkit::servers::{self, Recorder};
use serde_json::Value;

#[test]
fn a_key_is_created_listed_and_described() {
    let Some(aws) = Aws::new() else { return };
    let (alias, arn) = aws.create(&["--description", "for tests", "--tag", "team=storage"]);
    let listed = aws.run(&["keys", "list", "--provider", "aws", "--json"], 0).json();
    let listed = listed.as_array().unwrap().iter().find(|key| key["key"] == arn.as_str()).unwrap();
    assert_eq!(listed["state"], "active");
    for name in [&alias, &arn] {
        let key = aws.run(&["keys", "describe", name, "--json"], 0).json();
        assert_eq!((&key["key"], &key["aws_state"]), (&Value::from(arn.as_str()), &Value::from("Enabled")));
        assert_eq!(
            (&key["description"], &key["origin"]),
            (&Value::from("for tests"), &Value::from("AWS_KMS"))
        );
        assert_eq!(key["aliases"], Value::from(vec![alias.as_str()]));
    }
    let text = aws.run(&["keys", "describe", &alias], 0).text();
    assert!(text.contains("description: for tests") && text.contains(&alias), "{text}");
    let taken = alias.rsplit_once("alias/").unwrap().1;
    aws.run(&["keys", "create", "--provider", "aws", taken], 2).says("already");
    aws.run(&["keys", "create", "--provider", "aws", "x", "--pre-active"], 2).says("suspend");
    aws.run(&["keys", "describe", &format!("{alias}-of-nobody")], 5).says("NotFoundException");
}

#[test]
fn an_envelope_of_a_local_and_an_aws_key_opens_with_either_and_by_alias() {
    let Some(aws) = Aws::new() else { return };
    let (alias, arn) = aws.create(&[]);
    aws.sandbox.keystore(&["main"]);
    aws.sandbox.write("in", b"secret");
    aws.run(&["encrypt", "-k", &alias, "-k", "local:main", "-c", "tenant=42", "in"], 0);
    let recipients = aws.run(&["inspect", "in.envelope", "--json"], 0).json()["recipients"].clone();
    assert_eq!(
        (&recipients[0]["key"], &recipients[0]["wrap_algorithm"]),
        (&arn.clone().into(), &"AWS-KMS".into())
    );
    for key in [arn.as_str(), &alias, "local:main"] {
        aws.run(&["decrypt", "-f", "-k", key, "in.envelope", "-o", "out"], 0);
        assert_eq!(aws.sandbox.read("out"), b"secret", "{key}");
    }
    // Where KMS cannot say what the alias means, it opens nothing.
    let away = Aws { endpoint: format!("http://{}", closed()), ..aws };
    away.run(&["decrypt", "-k", &alias, "in.envelope", "-o", "never"], 6).says("cannot be reached");
    // Unless another key opens the file: then nobody need know what the alias means.
    away.run(&["decrypt", "-f", "-k", &alias, "-k", "local:main", "in.envelope", "-o", "out"], 0);
    away.run(&["decrypt", "-k", &arn, "in.envelope", "-o", "never"], 6).says("cannot be reached");
    let aws = Aws { endpoint: servers::address("LOCALSTACK").unwrap(), ..away };
    // Another key of the account does not open it.
    let (other, _) = aws.create(&[]);
    aws.run(&["decrypt", "-k", &other, "in.envelope", "-o", "never"], 4).says("no configured key");
}

#[test]
fn rewrap_moves_a_file_from_a_local_key_to_kms_and_to_the_next_key_of_an_alias() {
    let Some(aws) = Aws::new() else { return };
    let (alias, arn) = aws.create(&[]);
    let (_, next) = aws.create(&[]);
    aws.sandbox.keystore(&["main"]);
    aws.sandbox.write("in", b"secret");
    aws.run(&["encrypt", "-k", "local:main", "in"], 0);
    aws.run(&["rewrap", "--from", "local:main", "-k", &alias, "in.envelope"], 0);
    aws.run(&["decrypt", "-k", "local:main", "in.envelope", "-o", "never"], 4);
    let name = alias.rsplit_once("alias/").unwrap().1;
    aws.run(&["keys", "alias", name, &next, "--dry-run"], 0);
    aws.run(&["decrypt", "-f", "-k", &alias, "in.envelope", "-o", "out"], 0);
    aws.run(&["keys", "alias", name, &next], 0);
    // The alias means the next key alone now.
    aws.run(&["decrypt", "-k", &alias, "in.envelope", "-o", "never"], 4).says("no configured key");
    aws.run(&["rewrap", "--from", &arn, "-k", &alias, "in.envelope"], 0);
    aws.run(&["decrypt", "-f", "-k", &alias, "in.envelope", "-o", "out"], 0);
    assert_eq!(aws.sandbox.read("out"), b"secret");
}

#[test]
fn kms_makes_the_dek_of_a_file_and_rewraps_it_from_key_to_key_by_itself() {
    let Some(mut aws) = Aws::new() else { return };
    let ((_, one), (_, two)) = (aws.create(&[]), aws.create(&[]));
    let recorder = Recorder::before(aws.endpoint.strip_prefix("http://").unwrap()).unwrap();
    aws.endpoint = format!("http://{}", recorder.address());
    aws.sandbox.write("in", b"secret");
    for (command, calls) in [
        (&["encrypt", "-k", &one, "in"][..], &["GenerateDataKey"][..]),
        (&["rewrap", "--from", &one, "-k", &two, "in.envelope"], &["Decrypt", "ReEncrypt"]),
        (&["decrypt", "-f", "-k", &two, "in.envelope", "-o", "out"], &["Decrypt"]),
    ] {
        recorder.take();
        aws.run(command, 0);
        let made = recorder.take_header("x-amz-target");
        let made: Vec<&str> = made.iter().map(|call| call.rsplit('.').next().unwrap()).collect();
        assert_eq!(made, calls, "{command:?}");
    }
    assert_eq!(aws.sandbox.read("out"), b"secret");
}

#[test]
fn the_life_of_a_key_of_kms_from_rotation_to_a_cancelled_deletion() {
    let Some(aws) = Aws::new() else { return };
    let (_, key) = aws.create(&[]);
    aws.sandbox.configure(&format!("[aliases]\nprod = \"{key}\"\n"));
    aws.sandbox.write("in", b"secret");
    let encrypt = ["encrypt", "-f", "-k", "prod", "in"];
    let decrypt = ["decrypt", "-f", "-k", "prod", "in.envelope", "-o", "out"];
    aws.run(&encrypt, 0);
    aws.run(&["keys", "rotate", "prod", "--dry-run"], 0);
    aws.run(&["keys", "rotate", "prod"], 0);
    aws.run(&decrypt, 0);
    aws.run(&["keys", "auto-rotate", "prod", "--every", "180"], 0);
    aws.run(&["keys", "auto-rotate", "prod", "--every", "9"], 2).says("90 to 2560");
    aws.run(&["keys", "auto-rotate", "prod", "--off"], 0);

    for dry_run in [&["--dry-run"][..], &[]] {
        aws.run(&[&["keys", "destroy", "prod", "--yes"], dry_run].concat(), 5).says("suspend it first");
        aws.run(&[&["keys", "deactivate", "prod"], dry_run].concat(), 2);
    }
    aws.run(&["keys", "suspend", "prod"], 0);
    aws.run(&encrypt, 5).says("disabled");
    aws.run(&decrypt, 5).says("DisabledException");
    aws.run(&["keys", "destroy", "prod", "--yes", "--dry-run"], 0);
    let text = aws.run(&["keys", "destroy", "prod", "--yes"], 0).text();
    assert!(text.contains("destroyed later"), "{text}");
    assert!(aws.run(&["keys", "describe", "prod", "--json"], 0).json()["deletion"].is_string());
    aws.run(&decrypt, 5).says("KMSInvalidStateException");
    aws.run(&["keys", "restore", "prod"], 0);
    aws.run(&["keys", "activate", "prod"], 0);
    aws.run(&decrypt, 0);
    assert_eq!(aws.sandbox.read("out"), b"secret");
}

#[test]
fn what_a_keystore_does_not_know_is_refused() {
    let sandbox = Sandbox::new();
    sandbox.keystore(&["main"]);
    for command in [
        &["keys", "auto-rotate", "main"][..],
        &["keys", "rotations", "main"],
        &["keys", "alias", "other", "main"],
        &["keys", "restore", "main"],
    ] {
        sandbox.run(command, 2).says("this key store cannot");
    }
    sandbox.run(&["keys", "create", "x", "--tag", "a=b"], 2).says("no tags");
    sandbox.run(&["keys", "create", "x", "--provider", "aws", "--tag", "a"], 2).says("NAME=VALUE");
}

#[test]
fn kms_is_asked_for_its_own_envelopes_alone_and_an_absent_one_is_exit_code_6() {
    let aws = Aws::at(&format!("http://{}", closed()));
    let alias = "arn:aws:kms:eu-central-1:000000000000:alias/a";
    aws.sandbox.keystore(&["main"]);
    aws.sandbox.write("in", b"secret");
    aws.run(&["encrypt", "-k", "local:main", "in"], 0);
    // The alias is of no use here, and nobody asks what it means.
    let ran = aws.run(&["decrypt", "-k", alias, "-k", "local:main", "in.envelope", "-o", "out"], 0);
    assert!(!ran.stderr.contains("warning"), "{}", ran.stderr);
    aws.run(&["encrypt", "-f", "-k", alias, "in"], 6).says("cannot be reached");
    aws.run(&["keys", "list", "--provider", "aws"], 6).says("cannot be reached");
}

#[test]
fn credentials_and_region_come_from_a_profile_and_a_role_of_the_configuration() {
    let Some(aws) = Aws::new() else { return };
    let (_, key) = aws.create(&[]);
    let shared = aws.sandbox.write(
        "credentials",
        b"[backups]\nregion = eu-central-1\naws_access_key_id = test\naws_secret_access_key = test\n",
    );
    aws.sandbox.write("in", b"secret");
    let run = |arguments: &[&str], code: i32| {
        let mut command = aws.sandbox.envctl(arguments);
        command.env("AWS_ENDPOINT_URL", &aws.endpoint).env("AWS_SHARED_CREDENTIALS_FILE", &shared);
        command.env("AWS_EC2_METADATA_DISABLED", "true");
        Ran::of(command.output().unwrap(), code)
    };
    let encrypt = ["encrypt", "-f", "-k", &key, "in"];
    run(&encrypt, 5).says("no AWS credentials");
    aws.sandbox.configure("[aws]\nprofile = \"backups\"\n");
    run(&encrypt, 0);
    assert!(run(&["keys", "list", "--provider", "aws"], 0).text().contains(&key));
    // The role's account has other keys than that of the profile.
    aws.sandbox
        .configure("[aws]\nprofile = \"backups\"\nrole = \"arn:aws:iam::111122223333:role/backups\"\n");
    run(&encrypt, 0);
    assert!(!run(&["keys", "list", "--provider", "aws"], 0).text().contains(&key));
    aws.sandbox.configure("[aws]\nprofil = \"backups\"\n");
    run(&encrypt, 2).says("profil");
}

/// Through a proxy, which sees the host that is asked for.
#[test]
fn the_host_is_that_of_the_keys_region_or_its_fips_endpoint() {
    let sandbox = Sandbox::new();
    sandbox.write("in", b"secret");
    let key = "arn:aws:kms:us-gov-west-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab";
    for (configuration, host) in [
        ("", "kms.us-gov-west-1.amazonaws.com:443"),
        ("[aws]\nfips = false\n", "kms.us-gov-west-1.amazonaws.com:443"),
        ("[aws]\nfips = true\n", "kms-fips.us-gov-west-1.amazonaws.com:443"),
    ] {
        sandbox.configure(configuration);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let proxy = format!("http://{}", listener.local_addr().unwrap());
        let asked = thread::spawn(move || {
            let (connection, _) = listener.accept().unwrap();
            let mut line = String::new();
            BufReader::new(connection).read_line(&mut line).unwrap();
            line
        });
        let mut command = sandbox.envctl(&["encrypt", "-k", key, "in"]);
        command
            .env("HTTPS_PROXY", proxy)
            .env("AWS_MAX_ATTEMPTS", "1")
            .env("AWS_EC2_METADATA_DISABLED", "true");
        command.env("AWS_ACCESS_KEY_ID", "test").env("AWS_SECRET_ACCESS_KEY", "test");
        Ran::of(command.output().unwrap(), 6).says("cannot be reached");
        assert_eq!(asked.join().unwrap(), format!("CONNECT {host} HTTP/1.1\r\n"));
    }
}

#[test]
fn an_endpoint_of_the_environment_beside_fips_endpoints_is_a_wrong_setting() {
    let aws = Aws::at(&format!("http://{}", closed()));
    aws.sandbox.configure("[aws]\nfips = true\n");
    aws.sandbox.write("in", b"secret");
    let key = "arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab";
    aws.run(&["encrypt", "-k", key, "in"], 2).says("FIPS and custom endpoint are not supported");
}

#[test]
fn plain_http_is_refused_wherever_the_endpoint_was_set() {
    let sandbox = Sandbox::new();
    sandbox.write("in", b"secret");
    let url = "http://192.0.2.1:4566";
    let profile = sandbox.write(
        "aws.config",
        format!("[default]\nservices = s\n[services s]\nkms =\n  endpoint_url = {url}\n").as_bytes(),
    );
    let key = "arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab";
    let role = "[aws]\nrole = \"arn:aws:iam::111122223333:role/backups\"\n";
    let (kms, credentials) = ("AWS KMS is not asked", "the source of AWS credentials is not asked");
    for (configuration, variable, value, who) in [
        (&*format!("[aws]\nendpoint-url = \"{url}\"\n"), "AWS_PAGER", "", kms),
        ("", "AWS_ENDPOINT_URL", url, kms),
        ("", "AWS_ENDPOINT_URL_KMS", url, kms),
        ("", "AWS_CONFIG_FILE", profile.to_str().unwrap(), kms),
        (role, "AWS_ENDPOINT_URL_STS", url, credentials),
    ] {
        sandbox.configure(configuration);
        let mut command = sandbox.envctl(&["encrypt", "-k", key, "in"]);
        command
            .env(variable, value)
            .env("AWS_REGION", "eu-central-1")
            .env("AWS_EC2_METADATA_DISABLED", "true");
        command.env("AWS_ACCESS_KEY_ID", "test").env("AWS_SECRET_ACCESS_KEY", "test");
        let ran = Ran::of(command.output().unwrap(), 2);
        ran.says(&format!("{who}: plain http to 192.0.2.1 would show keys"));
    }
    assert_eq!(sandbox.files(), ["aws.config", "in"]);
}

#[test]
fn an_empty_endpoint_is_a_wrong_setting_and_no_panic() {
    let sandbox = Sandbox::new();
    sandbox.write("in", b"secret");
    let profile =
        sandbox.write("aws.config", b"[default]\nservices = s\n[services s]\nkms =\n  endpoint_url =\n");
    let profile = profile.to_str().unwrap();
    for (configuration, variable, value) in [
        ("", "AWS_ENDPOINT_URL_KMS", ""),
        ("", "AWS_ENDPOINT_URL", ""),
        ("[aws]\nendpoint-url = \"\"\n", "AWS_PAGER", ""),
        ("", "AWS_CONFIG_FILE", profile),
    ] {
        sandbox.configure(configuration);
        let mut command = sandbox.envctl(&["encrypt", "-k", KEY, "in"]);
        command.env(variable, value).env("AWS_MAX_ATTEMPTS", "1").env("AWS_EC2_METADATA_DISABLED", "true");
        command.env("AWS_ACCESS_KEY_ID", "test").env("AWS_SECRET_ACCESS_KEY", "test");
        let ran = Ran::of(command.output().unwrap(), 2);
        ran.says("AWS KMS is not asked: the endpoint is no URL of the form https://HOST:PORT");
    }
    assert_eq!(sandbox.files(), ["aws.config", "in"]);
}

/// Whoever writes them chooses a program that runs as the user.
#[test]
fn no_program_of_an_aws_file_that_others_may_write_or_that_holds_a_secret_they_may_read_runs() {
    let sandbox = Sandbox::new();
    sandbox.write("in", b"secret");
    let run = |variables: &[(&str, &str)], code: i32| {
        let mut command = sandbox.envctl(&["encrypt", "-k", KEY, "in"]);
        command.envs(variables.iter().copied()).env("AWS_MAX_ATTEMPTS", "1");
        command.env("AWS_EC2_METADATA_DISABLED", "true").env("HTTPS_PROXY", format!("http://{}", closed()));
        Ran::of(command.output().unwrap(), code)
    };
    let text = format!("[default]\ncredential_process = /usr/bin/touch {}\n", sandbox.file("ran").display());
    for (variable, name, mode, says) in [
        ("AWS_CONFIG_FILE", "config", 0o666, "group or others may write"),
        ("AWS_CONFIG_FILE", "config", 0o620, "group or others may write"),
        ("AWS_SHARED_CREDENTIALS_FILE", "credentials", 0o622, "group or others may write"),
        ("AWS_SHARED_CREDENTIALS_FILE", "credentials", 0o644, "group or others may read"),
    ] {
        let path = sandbox.write(name, text.as_bytes());
        let at_home = format!(".aws/{name}");
        sandbox.write_at_home(&at_home, &text);
        let home = sandbox.file("../home").join(&at_home);
        for path in [&path, &home] {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        }
        let named = (variable, path.to_str().unwrap());
        for variables in [&[named][..], &[(variable, &format!("~/{at_home}"))], &[]] {
            run(variables, 3).says(says).says(&format!("{variable}=/dev/null leaves it out"));
        }
        run(&[(variable, "/dev/null")], 5).says("no AWS credentials");
        fs::remove_file(home).unwrap();
        fs::remove_file(path).unwrap();
    }
    sandbox.write_at_home(".aws/config", &text);
    let home = sandbox.file("../home/.aws/config");
    // Only root can give a file away.
    if rustix::process::geteuid().is_root() {
        chown(&home, Some(54_321), None).unwrap();
        run(&[], 3).says("belongs to user 54321").says("AWS_CONFIG_FILE=/dev/null leaves it out");
        chown(&home, Some(0), None).unwrap();
    }
    assert_eq!(sandbox.files(), ["in"]);
    // With the modes that AWS's own tools give them the program runs: it was the check that held it back.
    run(&[], 5).says("no AWS credentials");
    assert_eq!(sandbox.files(), ["in", "ran"]);
}

#[test]
fn plain_http_to_this_machine_goes_by_no_proxy() {
    let Some(aws) = Aws::new() else { return };
    let proxy = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", proxy.local_addr().unwrap());
    let mut command = aws.sandbox.envctl(&["keys", "list", "--provider", "aws"]);
    command.env("AWS_ENDPOINT_URL", &aws.endpoint).env("AWS_REGION", "eu-central-1");
    command.env("AWS_ACCESS_KEY_ID", "test").env("AWS_SECRET_ACCESS_KEY", "test");
    command.envs(["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY"].map(|name| (name, &address)));
    Ran::of(command.output().unwrap(), 0);
    proxy.set_nonblocking(true).unwrap();
    assert_eq!(proxy.accept().unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
}

const KEY: &str = "arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab";

/// An address where nobody listens.
fn closed() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// A sandbox with an environment for a server of the tests.
struct Aws {
    sandbox: Sandbox,
    endpoint: String,
}

impl Aws {
    fn new() -> Option<Self> {
        Some(Self::at(&servers::address("LOCALSTACK")?))
    }

    fn at(endpoint: &str) -> Self {
        Self { sandbox: Sandbox::new(), endpoint: endpoint.to_owned() }
    }

    fn run(&self, arguments: &[&str], code: i32) -> Ran {
        let mut command = self.sandbox.envctl(arguments);
        command
            .env("AWS_ENDPOINT_URL", &self.endpoint)
            .env("AWS_ACCESS_KEY_ID", "test")
            .env("AWS_SECRET_ACCESS_KEY", "test")
            .env("AWS_REGION", "eu-central-1")
            .env("AWS_MAX_ATTEMPTS", "1")
            .env("AWS_EC2_METADATA_DISABLED", "true");
        Ran::of(command.output().unwrap(), code)
    }

    /// A new key: the URIs of its alias and of itself.
    fn create(&self, more: &[&str]) -> (String, String) {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("envctl-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::SeqCst));
        let create = ["keys", "create", "--provider", "aws", "--json", &name];
        let key = self.run(&[&create[..], more].concat(), 0).json()["key"].as_str().unwrap().to_owned();
        let (place, _) = key.rsplit_once(':').unwrap();
        (format!("{place}:alias/{name}"), key)
    }
}
