//! What the environment says, in processes of their own.

use std::process::{Command, Output};

use envelope_sdk::ProviderErrorKind::{AccessDenied, Invalid};
use tempfile::TempDir;

use super::*;

#[test]
fn address_token_namespace_and_authority_come_from_the_environment() {
    let Some(server) = Server::shared() else { return };
    let (key, home) = (server.key(), TempDir::new().unwrap());
    let says = |variables: &[(&str, &str)]| child(&key, &home, variables);
    let ca = server.file("ca.pem").display().to_string();
    let (client, client_key) = (
        server.file("client.pem").display().to_string(),
        server.file("client-key.pem").display().to_string(),
    );
    let tls = server.told("tls-address");
    let socket = format!("unix://{}", server.file("agent.sock").display());
    for (variables, expected) in [
        (&[("VAULT_ADDR", &*server.url), ("VAULT_TOKEN", "root")][..], "WRAPPED"),
        (&[("BAO_ADDR", &*server.url), ("BAO_TOKEN", "root")], "WRAPPED"),
        // What is said to OpenBao goes first.
        (
            &[
                ("BAO_ADDR", &*server.url),
                ("VAULT_ADDR", "http://127.0.0.1:1"),
                ("BAO_TOKEN", "root"),
                ("VAULT_TOKEN", "x"),
            ],
            "WRAPPED",
        ),
        (&[("VAULT_ADDR", &*tls), ("VAULT_TOKEN", "root"), ("VAULT_CACERT", &*ca)], "WRAPPED"),
        (
            &[
                ("VAULT_ADDR", &*tls),
                ("VAULT_TOKEN", "root"),
                ("VAULT_CACERT", &*ca),
                ("VAULT_CLIENT_CERT", &*client),
                ("VAULT_CLIENT_KEY", &*client_key),
            ],
            "WRAPPED",
        ),
        (&[("VAULT_AGENT_ADDR", &*socket), ("VAULT_ADDR", "http://127.0.0.1:1")], "WRAPPED"),
        (&[("VAULT_ADDR", &*tls), ("VAULT_TOKEN", "root")], "AccessDenied certificate"),
        (&[("VAULT_ADDR", &*server.url)], "AccessDenied log in"),
        (&[("VAULT_TOKEN", "root")], "Invalid VAULT_ADDR"),
        (&[("VAULT_ADDR", "http://vault.example"), ("VAULT_TOKEN", "root")], "Invalid plain http"),
        (
            &[
                ("VAULT_ADDR", &*tls),
                ("VAULT_TOKEN", "root"),
                ("VAULT_CACERT", &*ca),
                ("VAULT_SKIP_VERIFY", "true"),
            ],
            "Invalid VAULT_SKIP_VERIFY is not honoured",
        ),
        (
            &[
                ("VAULT_ADDR", &*tls),
                ("VAULT_TOKEN", "root"),
                ("VAULT_CACERT", &*ca),
                ("BAO_SKIP_VERIFY", "1"),
            ],
            "Invalid VAULT_SKIP_VERIFY is not honoured",
        ),
        (
            &[
                ("VAULT_ADDR", &*tls),
                ("VAULT_TOKEN", "root"),
                ("VAULT_CACERT", &*ca),
                ("VAULT_SKIP_VERIFY", "false"),
            ],
            "WRAPPED",
        ),
    ] {
        let said = says(variables);
        for word in expected.split(' ') {
            assert!(said.contains(word), "{variables:?}: {said}");
        }
    }
    // As `vault login` writes it; and what `~/.vault` names is not run.
    std::fs::write(home.path().join(".vault"), "token_helper = \"/bin/false\"\n").unwrap();
    let token = home.path().join(".vault-token");
    std::fs::write(&token, "root").unwrap();
    let said = says(&[("VAULT_ADDR", &*server.url)]);
    assert!(said.contains("WRAPPED"), "{said}");
}

/// Requests to this machine go to nobody else.
#[test]
fn a_proxy_of_the_environment_sees_nothing_that_stays_on_this_machine() {
    let Some(server) = Server::shared() else { return };
    let (key, home) = (server.key(), TempDir::new().unwrap());
    let proxy = envelope_testkit::http_server::HttpServer::answering(|_| {
        envelope_testkit::http_server::Answer::new(502)
    });
    let url = proxy.url();
    let mut variables = vec![("VAULT_ADDR", &*server.url), ("VAULT_TOKEN", "root")];
    variables.extend(["HTTP_PROXY", "http_proxy", "ALL_PROXY", "HTTPS_PROXY"].map(|name| (name, &*url)));
    // The name of a scheme has no case.
    let upper = server.url.replace("http://", "HTTP://");
    for address in [&server.url, &upper] {
        variables[0].1 = address;
        assert!(child(&key, &home, &variables).contains("WRAPPED"), "{address}");
        assert_eq!(proxy.count(), 0, "{address}");
    }
}

fn child(key: &KeyUri, home: &TempDir, variables: &[(&str, &str)]) -> String {
    let mut command = Command::new(std::env::current_exe().unwrap());
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy().into_owned();
        if name.starts_with("VAULT_") || name.starts_with("BAO_") {
            command.env_remove(name);
        }
    }
    let Output { stdout, .. } = command
        .args(["environment::child_of_an_environment", "--exact", "--ignored", "--nocapture"])
        .env("VAULT_TESTS_KEY", key.as_str())
        .env("HOME", home.path())
        .envs(variables.iter().copied())
        .output()
        .unwrap();
    String::from_utf8_lossy(&stdout).into_owned()
}

#[test]
#[ignore = "the tests above run it, in an environment of its own"]
#[allow(clippy::print_stdout, reason = "what it says is heard there")]
fn child_of_an_environment() {
    let key = KeyUri::parse(&std::env::var("VAULT_TESTS_KEY").unwrap()).unwrap();
    let vault = HashiVault::builder().attempts(1).build();
    match wrap(&vault, &key) {
        Ok(_) => println!("WRAPPED"),
        Err(error) => {
            let kind = match error.kind() {
                AccessDenied => "AccessDenied",
                Invalid => "Invalid",
                _ => "another kind",
            };
            println!("{kind} {error}");
        }
    }
}
