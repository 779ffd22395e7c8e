//! Keys of Google Cloud KMS at the command line, against the stand-in.

#![cfg(feature = "all")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on says so")]

use crate::common::{Ran, Sandbox};
use envelope_testkit::{
    gcp_server::GcpServer,
    http_server::{Answer, HttpServer},
};

#[test]
fn a_key_is_created_described_listed_rotated_suspended_and_destroyed() {
    let gcp = Gcp::new();
    let made = gcp.run(
        &[
            "keys",
            "create",
            "--provider",
            "gcp",
            "--json",
            "orders",
            "--tag",
            "team=shop",
            "--option",
            "create-key-ring=true",
            "--option",
            "protection=hsm",
        ],
        0,
    );
    let key = format!("gcpkms://{RING}/cryptoKeys/orders");
    assert_eq!(made.json()["key"], key.as_str());
    let listed = gcp.run(&["keys", "list", "--provider", "gcp", "--json"], 0).json();
    assert_eq!(listed[0]["key"], key.as_str());
    let told = gcp.run(&["keys", "describe", &key, "--json"], 0).json();
    assert_eq!((&told["state"], &told["protection"]), (&"active".into(), &"hsm".into()));
    assert_eq!(told["labels"][0], "team=shop");
    gcp.run(&["keys", "create", "--provider", "gcp", "orders"], 2).says("there is a key orders already");
    gcp.run(&["keys", "create", "--provider", "gcp", "x", "--description", "words"], 2).says("use a tag");
    gcp.run(&["keys", "rotate", &key], 0);
    gcp.run(&["keys", "auto-rotate", &key, "--every", "30"], 0);
    gcp.run(&["keys", "suspend", &key], 0);
    gcp.run(&["keys", "destroy", "--yes", &key], 0);
    gcp.run(&["keys", "restore", &key], 0);
    gcp.run(&["keys", "activate", &key], 0);
    let text = gcp.run(&["keys", "describe", &key], 0).text();
    assert!(text.contains("active") && text.contains("hsm"), "{text}");
    gcp.run(&["keys", "describe", &format!("{key}-of-nobody")], 5).says("NOT_FOUND");
}

#[test]
fn a_file_of_a_local_and_a_google_key_opens_with_either_and_moves_to_another() {
    let gcp = Gcp::new();
    for name in ["one", "two"] {
        let create = ["keys", "create", "--provider", "gcp", name, "--option", "create-key-ring=true"];
        gcp.run(&create, 0);
    }
    let key = |name: &str| format!("{RING}/cryptoKeys/{name}");
    gcp.sandbox.keystore(&["main"]);
    gcp.sandbox.write("in", b"secret");
    gcp.run(&["encrypt", "-k", &key("one"), "-k", "local:main", "-c", "tenant=42", "in"], 0);
    let recipients = gcp.run(&["inspect", "in.envelope", "--json"], 0).json()["recipients"].clone();
    assert_eq!(recipients[0]["wrap_algorithm"], "GCP-KMS");
    for name in [key("one").as_str(), "local:main"] {
        gcp.run(&["decrypt", "-f", "-k", name, "in.envelope", "-o", "out"], 0);
        assert_eq!(gcp.sandbox.read("out"), b"secret", "{name}");
    }
    gcp.run(&["decrypt", "-k", &key("two"), "in.envelope", "-o", "never"], 4).says("no configured key");
    gcp.run(&["rewrap", "--from", &key("one"), "-k", &key("two"), "in.envelope"], 0);
    gcp.run(&["decrypt", "-f", "-k", &key("two"), "in.envelope", "-o", "out"], 0);
    assert_eq!(gcp.sandbox.read("out"), b"secret");
    gcp.run(&["decrypt", "-k", &key("one"), "in.envelope", "-o", "never"], 4);
}

/// However the exception from proxies is spelt.
#[test]
fn no_proxy_of_the_environment_reads_what_is_sent_in_plain_http() {
    let gcp = Gcp::new();
    let proxy = HttpServer::answering(|_| Answer::json(200, "{}"));
    gcp.sandbox.write("in", b"secret");
    let key = format!("{RING}/cryptoKeys/k");
    for (variable, exceptions) in [
        ("HTTP_PROXY", &[][..]),
        ("all_proxy", &[]),
        ("HTTP_PROXY", &[("NO_PROXY", "*")]),
        ("HTTP_PROXY", &[("NO_PROXY", "corp.example"), ("no_proxy", "127.0.0.1")]),
        ("HTTP_PROXY", &[("NO_PROXY", ""), ("no_proxy", "127.0.0.1")]),
    ] {
        let mut command = gcp.sandbox.envctl(&["encrypt", "-k", &key, "in"]);
        command.env(variable, proxy.url()).envs(exceptions.iter().copied());
        Ran::of(command.output().unwrap(), 2)
            .says("a proxy of the environment")
            .says("name 127.0.0.1 in NO_PROXY");
    }
    assert_eq!(proxy.count(), 0);
}

#[test]
fn a_metadata_server_of_the_environment_that_is_elsewhere_is_not_asked_in_plain_http() {
    let gcp = Gcp::new();
    gcp.sandbox.configure("[gcp]\n");
    gcp.sandbox.write("in", b"secret");
    let mut command = gcp.sandbox.envctl(&["encrypt", "-k", &format!("{RING}/cryptoKeys/k"), "in"]);
    command.env("GCE_METADATA_HOST", "192.0.2.1");
    Ran::of(command.output().unwrap(), 2).says("the source of the credentials is not asked");
}

struct Gcp {
    sandbox: Sandbox,
    _http: HttpServer,
}

impl Gcp {
    fn new() -> Self {
        let (sandbox, http) = (Sandbox::new(), GcpServer::new().serve());
        let url = http.url();
        sandbox.configure(&format!("[gcp]\nkey-ring = '{RING}'\nanonymous = true\nendpoint-url = '{url}'\n"));
        Self { sandbox, _http: http }
    }

    fn run(&self, arguments: &[&str], code: i32) -> Ran {
        Ran::of(self.sandbox.envctl(arguments).output().unwrap(), code)
    }
}

const RING: &str = "projects/tests/locations/europe-west3/keyRings/envctl";
