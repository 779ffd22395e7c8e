//! Keys of Vault's Transit at the command line, against HashiCorp's server.

#![cfg(feature = "all")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on says so")]

use crate::common::{Ran, Sandbox};
use envelope_testkit::servers;

#[test]
fn a_key_of_transit_is_created_described_rotated_and_opens_what_it_encrypted() {
    let Some(vault) = Vault::new("") else { return };
    let name = vault.name("orders");
    let made = vault.run(&["keys", "create", "--provider", "vault", "--json", &name], 0);
    let key = format!("hashivault://transit/{name}");
    assert_eq!(made.json()["key"], key.as_str());
    vault.run(&["keys", "create", "--provider", "vault", &name], 2);
    assert_eq!(vault.run(&["keys", "describe", &key, "--json"], 0).json()["state"], "active");
    vault.sandbox.write("in", b"secret");
    vault.run(&["encrypt", "-k", &key, "-c", "tenant=42", "in"], 0);
    vault.run(&["keys", "rotate", &key], 0);
    let recipient =
        |vault: &Vault| vault.run(&["inspect", "in.envelope", "--json"], 0).json()["recipients"][0].clone();
    assert_eq!(
        (&recipient(&vault)["version"], &recipient(&vault)["wrap_algorithm"]),
        (&"1".into(), &"VAULT-TRANSIT-AD".into())
    );
    vault.run(&["rewrap", "--from", &key, "-k", &key, "in.envelope"], 0);
    assert_eq!(recipient(&vault)["version"], "2");
    vault.run(&["decrypt", "-k", &key, "in.envelope", "-o", "out"], 0);
    assert_eq!(vault.sandbox.read("out"), b"secret");
}

#[test]
fn a_key_is_named_as_sops_and_openbao_name_it_too() {
    let Some(vault) = Vault::new("") else { return };
    let name = vault.name("sops");
    vault.run(&["keys", "create", "--provider", "vault", &name], 0);
    vault.sandbox.write("in", b"secret");
    let uri = format!("{}/v1/transit/keys/{name}", vault.url);
    vault.run(&["encrypt", "-k", &uri, "in"], 0);
    let recipient = vault.run(&["inspect", "in.envelope", "--json"], 0).json()["recipients"][0].clone();
    assert_eq!(recipient["key"], format!("hashivault://transit/{name}").as_str());
    for key in [uri, format!("openbao://transit/{name}"), format!("hashivault://{name}")] {
        vault.run(&["decrypt", "-f", "-k", &key, "in.envelope", "-o", "out"], 0);
        assert_eq!(vault.sandbox.read("out"), b"secret", "{key}");
    }
    // A token goes to no server that only the name of a key says.
    let elsewhere = format!("https://vault.example/v1/transit/keys/{name}");
    vault.run(&["decrypt", "-f", "-k", &elsewhere, "in.envelope", "-o", "out"], 2).says("another server");
}

#[test]
fn an_alias_of_the_configuration_may_be_what_sops_writes() {
    let Some(address) = servers::address("VAULT") else { return };
    let name = format!("alias-{}", std::process::id());
    let aliases = format!("[aliases]\norders = '{address}/v1/transit/keys/{name}'\n");
    let Some(vault) = Vault::new(&aliases) else { return };
    vault.run(&["keys", "create", "--provider", "vault", &name], 0);
    vault.sandbox.write("in", b"secret");
    vault.run(&["encrypt", "-k", "orders", "in"], 0);
    vault.run(&["decrypt", "-k", "orders", "in.envelope", "-o", "out"], 0);
    assert_eq!(vault.sandbox.read("out"), b"secret");
}

#[test]
fn a_token_is_given_with_the_call_and_a_wrong_one_is_told() {
    let Some(vault) = Vault::new("") else { return };
    let name = vault.name("given");
    vault.run(&["keys", "create", "--provider", "vault", &name], 0);
    let key = format!("hashivault://transit/{name}");
    vault.sandbox.configure(&format!("[vault]\naddress = '{}'\n", vault.url));
    vault.sandbox.write("in", b"secret");
    let token = vault.token.to_str().unwrap();
    vault.run(&["encrypt", "--vault-token-file", token, "-k", &key, "in"], 0);
    let bad = vault.sandbox.write("bad-token", b"nobody-4711\n");
    let ran = vault.run(
        &["decrypt", "--vault-token-file", bad.to_str().unwrap(), "-k", &key, "in.envelope", "-o", "out"],
        5,
    );
    ran.says("expired or was revoked");
}

struct Vault {
    sandbox: Sandbox,
    url: String,
    token: std::path::PathBuf,
}

impl Vault {
    fn new(more: &str) -> Option<Self> {
        let url = servers::address("VAULT")?;
        let sandbox = Sandbox::new();
        let token = sandbox.write("vault-token", b"root\n");
        sandbox.configure(&format!("{more}[vault]\naddress = '{url}'\ntoken-file = '{}'\n", token.display()));
        Some(Self { sandbox, url, token })
    }

    /// One that no other process has.
    fn name(&self, name: &str) -> String {
        format!("{name}-{}", std::process::id())
    }

    fn run(&self, arguments: &[&str], code: i32) -> Ran {
        Ran::of(self.sandbox.envctl(arguments).output().unwrap(), code)
    }
}
