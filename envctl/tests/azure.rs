//! Keys of Azure at the command line, against the stand-in.

#![cfg(feature = "all")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on says so")]

use crate::common::{Ran, Sandbox};
use envelope_testkit::azure_server::{AzureServer, AzureService};

#[test]
fn a_key_is_created_described_listed_rotated_suspended_and_deleted() {
    let azure = Azure::new();
    let made =
        azure.run(&["keys", "create", "--provider", "azure", "--json", "orders", "--tag", "team=shop"], 0);
    let key = format!("azurekeyvault://{VAULT}/keys/orders");
    assert_eq!(made.json()["key"], key.as_str());
    let listed = azure.run(&["keys", "list", "--provider", "azure", "--json"], 0).json();
    assert_eq!(listed[0]["key"], key.as_str());
    let told = azure.run(&["keys", "describe", &key, "--json"], 0).json();
    assert_eq!((&told["state"], &told["kind"]), (&"active".into(), &"RSA".into()));
    assert_eq!((&told["tags"][0], &told["post_quantum_safe"]), (&"team=shop".into(), &false.into()));
    azure.run(&["keys", "create", "--provider", "azure", "orders"], 2).says("there is a key orders already");
    azure
        .run(&["keys", "create", "--provider", "azure", "x", "--algorithm", "RSA-2048"], 2)
        .says("2048 bits");
    azure.run(&["keys", "rotate", &key], 0);
    azure.run(&["keys", "auto-rotate", &key, "--every", "90"], 0);
    azure.run(&["keys", "suspend", &key], 0);
    azure.run(&["keys", "destroy", "--yes", &key], 0);
    azure.run(&["keys", "restore", &key], 0);
    azure.run(&["keys", "activate", &key], 0);
    let text = azure.run(&["keys", "describe", &key], 0).text();
    assert!(text.contains("active"), "{text}");
    azure.run(&["keys", "describe", &format!("{key}-of-nobody")], 5).says("there is no such key");
}

#[test]
fn a_file_of_a_local_and_an_azure_key_opens_with_either_and_inspect_marks_rsa() {
    let azure = Azure::new();
    for name in ["one", "two"] {
        azure.run(&["keys", "create", "--provider", "azure", name], 0);
    }
    let key = |name: &str| format!("azurekeyvault://{VAULT}/keys/{name}");
    azure.sandbox.keystore(&["main"]);
    azure.sandbox.write("in", b"secret");
    azure.run(&["encrypt", "-k", &key("one"), "-k", "local:main", "-c", "tenant=42", "in"], 0);
    let recipients = azure.run(&["inspect", "in.envelope", "--json"], 0).json()["recipients"].clone();
    assert_eq!(recipients[0]["wrap_algorithm"], "RSA-OAEP-256");
    assert_eq!(
        (&recipients[0]["post_quantum_safe"], &recipients[1]["post_quantum_safe"]),
        (&false.into(), &true.into())
    );
    let text = azure.run(&["inspect", "in.envelope"], 0).text();
    assert_eq!(text.matches("not post-quantum safe").count(), 1, "{text}");
    for name in [key("one").as_str(), "local:main"] {
        azure.run(&["decrypt", "-f", "-k", name, "in.envelope", "-o", "out"], 0);
        assert_eq!(azure.sandbox.read("out"), b"secret", "{name}");
    }
    azure.run(&["rewrap", "--from", &key("one"), "-k", &key("two"), "in.envelope"], 0);
    azure.run(&["decrypt", "-f", "-k", &key("two"), "in.envelope", "-o", "out"], 0);
    azure.run(&["decrypt", "-k", &key("one"), "in.envelope", "-o", "never"], 4);
}

#[test]
fn settings_refuse_rsa_for_new_files_and_keys_and_still_open_and_move_what_it_wrapped() {
    let azure = Azure::new();
    azure.run(&["keys", "create", "--provider", "azure", "one"], 0);
    azure.sandbox.keystore(&["main"]);
    azure.sandbox.write("in", b"secret");
    let key = format!("azurekeyvault://{VAULT}/keys/one");
    azure.run(&["encrypt", "-k", &key, "in"], 0);
    azure.sandbox.configure(&(azure.settings.clone() + "post-quantum-safe-only = true\n"));
    azure
        .run(&["encrypt", "-k", &key, "-k", "local:main", "in", "-o", "never"], 2)
        .says("RSA is not post-quantum safe")
        .says("post-quantum-safe-only");
    azure
        .run(&["keys", "create", "--provider", "azure", "two", "--algorithm", "RSA-HSM-4096"], 2)
        .says("post-quantum-safe-only");
    azure.run(&["decrypt", "-k", &key, "in.envelope", "-o", "out"], 0);
    assert_eq!(azure.sandbox.read("out"), b"secret");
    azure.run(&["rewrap", "--from", &key, "-k", "local:main", "in.envelope"], 0);
    azure.run(&["decrypt", "-k", "local:main", "in.envelope", "-f", "-o", "out"], 0);
    azure.sandbox.configure(&(azure.settings.clone() + "post-quantum-safe-only = 'no'\n"));
    azure.run(&["keys", "describe", &key], 2).says("expected a boolean, line 8");
}

struct Azure {
    sandbox: Sandbox,
    settings: String,
    _service: AzureService,
}

impl Azure {
    fn new() -> Self {
        let (sandbox, server) = (Sandbox::new(), AzureServer::new());
        let service = server.serve();
        let ca = sandbox.write("ca.pem", server.ca_pem().as_bytes());
        let secret = sandbox.write("azure-secret", b"secret\n");
        let settings = format!(
            "[azure]\nvault = '{VAULT}'\ndomain = 'localhost:{}'\nca-file = '{}'\ntenant-id = 'tests'\n\
             client-id = 'a-test'\nclient-secret-file = '{}'\n",
            service.port(),
            ca.display(),
            secret.display()
        );
        sandbox.configure(&settings);
        Self { sandbox, settings, _service: service }
    }

    fn run(&self, arguments: &[&str], code: i32) -> Ran {
        Ran::of(self.sandbox.envctl(arguments).output().unwrap(), code)
    }
}

const VAULT: &str = "tests.vault.azure.net";
