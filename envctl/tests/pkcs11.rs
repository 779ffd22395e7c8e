//! Keys of PKCS#11 tokens at the command line, on both software tokens.

#![cfg(feature = "pkcs11")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests are tests too")]

mod common;
#[path = "../../backends/pkcs11/tests/tokens/mod.rs"]
mod tokens;

use std::{
    env, fs,
    process::{Command, Stdio},
};

use common::{Ran, Sandbox};
use tokens::{Kind, PIN, Token};

/// A token, and a sandbox whose configuration file names its module.
struct Setup {
    sandbox: Sandbox,
    token: Token,
}

impl Setup {
    fn of(kind: Kind) -> Option<Self> {
        let token = kind.token()?;
        let sandbox = Sandbox::new();
        sandbox.configure(&format!("[pkcs11]\nmodule = {:?}\n", token.module()));
        sandbox.write("pin", format!("{PIN}\n").as_bytes());
        if kind == Kind::Kryoptic {
            sandbox.write("kryoptic.conf", slot_alone(&token).as_bytes());
        }
        Some(Self { sandbox, token })
    }

    /// `envctl` with the software tokens' own settings.
    fn envctl(&self, args: &[&str]) -> Command {
        let mut command = self.sandbox.envctl(args);
        command.env("SOFTHSM2_CONF", env::var_os("SOFTHSM2_CONF").unwrap_or_default());
        command.env("KRYOPTIC_CONF", self.sandbox.file("kryoptic.conf"));
        command
    }

    fn run(&self, args: &[&str], code: i32) -> Ran {
        Ran::of(self.envctl(args).output().unwrap(), code)
    }

    /// With the PIN in a file, on this token.
    fn with_pin(&self, args: &[&str], code: i32) -> Ran {
        let global = ["--pkcs11-pin-file", "pin", "--pkcs11-token", &self.token.label];
        self.run(&[&global, args].concat(), code)
    }

    fn key(&self, rest: &str) -> String {
        format!("pkcs11:token={};{rest}", self.token.label.replace(' ', "%20"))
    }
}

/// kryoptic's settings with the slot of this token and no other: kryoptic does not start while a token of
/// another slot is being made, which has no PIN yet.
fn slot_alone(token: &Token) -> String {
    let settings = fs::read_to_string(env::var_os("KRYOPTIC_CONF").expect("settings of kryoptic")).unwrap();
    let wanted = format!("slot = {}", token.slot().id());
    let mut slots = settings.split("[[slots]]\n").filter(|slot| slot.lines().any(|line| line == wanted));
    format!("[[slots]]\n{}", slots.next().expect("the slot of the token"))
}

fn on_each_token(test: impl Fn(&Setup)) {
    for kind in [Kind::SoftHsm, Kind::Kryoptic] {
        if let Some(setup) = Setup::of(kind) {
            test(&setup);
        }
    }
}

#[test]
fn a_file_goes_through_a_token_and_its_rotations() {
    on_each_token(|setup| {
        let key = setup.key("object=backup");
        let created = setup.with_pin(&["keys", "create", "backup", "--provider", "pkcs11", "--json"], 0);
        assert_eq!(created.json()["key"], key);
        setup.sandbox.write("report", b"attack at dawn");
        setup.with_pin(&["encrypt", "-k", &key, "-c", "tenant=42", "report"], 0);
        setup.with_pin(&["keys", "rotate", &key], 0);
        let version = |name: &str| {
            let told = setup.run(&["inspect", "--json", name], 0).json();
            let recipient = told["recipients"][0].clone();
            assert_eq!(recipient["wrap_algorithm"], "PKCS11-AES-256-GCM");
            recipient["version"].as_str().unwrap().to_owned()
        };
        assert_eq!(version("report.envelope"), "1");
        setup.with_pin(&["rewrap", "-k", &key, "report.envelope"], 0);
        assert_eq!(version("report.envelope"), "2");
        setup.with_pin(&["decrypt", "-k", &key, "--expect", "tenant=42", "report.envelope", "-o", "copy"], 0);
        assert_eq!(setup.sandbox.read("copy"), b"attack at dawn");
        setup.with_pin(&["keys", "suspend", &key], 0);
        setup.with_pin(&["decrypt", "-k", &key, "report.envelope", "-o", "no"], 5).says("suspended");
    });
}

#[test]
fn keys_are_listed_described_and_destroyed() {
    on_each_token(|setup| {
        let key = setup.key("object=db");
        setup.with_pin(&["keys", "list", "--provider", "pkcs11"], 0).says("no keys yet");
        setup.with_pin(&["keys", "create", "db", "--provider", "pkcs11"], 0);
        setup.with_pin(&["keys", "create", "db", "--provider", "pkcs11", "--dry-run"], 2).says("already");
        setup.with_pin(&["keys", "rotate", &key], 0);
        let listed = setup.with_pin(&["keys", "list", "--provider", "pkcs11"], 0).text();
        assert_eq!(listed, format!("{key}  active, 2 versions\n"));
        let told = setup.with_pin(&["keys", "describe", &key], 0).text();
        assert!(told.contains("private sensitive local encrypt decrypt"), "{told}");
        assert!(told.contains("version 1: deactivated") && told.contains("version 2: active"), "{told}");
        setup.with_pin(&["keys", "destroy", &key, "--version", "1", "--yes"], 0);
        setup.with_pin(&["keys", "destroy", &key, "--yes"], 2).says("cannot become destroyed");
        setup.with_pin(&["keys", "report-compromise", &key], 1).says("no mark for compromised keys");
        setup.with_pin(&["keys", "deactivate", &key], 0);
        setup.with_pin(&["keys", "destroy", &key, "--yes"], 0);
        setup.with_pin(&["keys", "describe", &key], 5).says("no such key");
    });
}

#[test]
fn slots_tokens_and_mechanisms_are_told_without_a_pin() {
    on_each_token(|setup| {
        let text = setup.run(&["pkcs11", "slots"], 0).text();
        let at = text.find(&format!("token: {}", setup.token.label)).expect("the token");
        let told: String = text[at..].lines().take(4).collect();
        assert!(told.contains(&setup.token.serial()) && told.contains("needs a PIN"), "{told}");
        assert!(told.contains("wraps by: PKCS11-AES-256-GCM"), "{told}");
        assert!(!text.contains("CKM_AES_GCM"));
        let all = setup.run(&["pkcs11", "slots", "--mechanisms"], 0).text();
        assert!(all.contains("CKM_AES_GCM, keys of"), "{all}");
        let told = setup.run(&["pkcs11", "slots", "--json"], 0).json();
        let labelled = |slot: &&serde_json::Value| slot["token"]["label"] == setup.token.label;
        let slot = told["slots"].as_array().unwrap().iter().find(labelled).expect("the token");
        assert_eq!(slot["token"]["wrap_algorithms"][0], "PKCS11-AES-256-GCM");
    });
}

#[test]
fn a_pin_comes_from_a_descriptor_the_environment_or_the_configuration() {
    on_each_token(|setup| {
        let list = ["keys", "list", "--provider", "pkcs11", "--pkcs11-token", &setup.token.label];
        let mut with_descriptor = setup.envctl(&[&list[..], &["--pkcs11-pin-fd", "0"]].concat());
        let file = fs::File::open(setup.sandbox.file("pin")).unwrap();
        Ran::of(with_descriptor.stdin(Stdio::from(file)).output().unwrap(), 0);
        let mut with_variable = setup.envctl(&list);
        Ran::of(with_variable.env("ENVCTL_PKCS11_PIN", PIN).output().unwrap(), 0);
        let (module, label) = (setup.token.module(), &setup.token.label);
        let pin_file = setup.sandbox.file("pin");
        setup.sandbox.configure(&format!(
            "[pkcs11]\nmodule = {module:?}\ntoken = {label:?}\npin-file = {pin_file:?}\nsessions = 1\n"
        ));
        setup.run(&["keys", "list", "--provider", "pkcs11"], 0);
    });
}

#[test]
fn a_wrong_pin_is_refused_and_never_shown() {
    on_each_token(|setup| {
        setup.sandbox.write("wrong", b"wrong-pin-0815\n");
        let args = ["keys", "list", "--provider", "pkcs11", "--pkcs11-token", &setup.token.label];
        let ran = setup.run(&[&args[..], &["--pkcs11-pin-file", "wrong"]].concat(), 5);
        ran.says("the PIN is wrong");
        assert!(!ran.stderr.contains("0815"), "{}", ran.stderr);
    });
}

#[test]
fn the_pin_of_one_token_is_not_tried_on_another() {
    let Some(setup) = Setup::of(Kind::SoftHsm) else { return };
    let other = Kind::SoftHsm.token().unwrap();
    setup.with_pin(&["keys", "create", "db", "--provider", "pkcs11"], 0);
    setup.sandbox.write("report", b"attack at dawn");
    let other_key = format!("pkcs11:token={};object=db", other.label.replace(' ', "%20"));
    let mut command = setup.envctl(&[
        "--pkcs11-pin-file",
        "pin",
        "encrypt",
        "-k",
        &setup.key("object=db"),
        "-k",
        &other_key,
        "report",
    ]);
    // In a session of its own there is no terminal to ask for the second PIN.
    let ran = Ran::of(without_terminal(&mut command), 5);
    ran.says("no PIN to log in with").says(&other.label.replace(' ', "%20"));
}

fn without_terminal(command: &mut Command) -> std::process::Output {
    let args: Vec<_> = command.get_args().map(ToOwned::to_owned).collect();
    let mut detached = Command::new("setsid");
    detached.arg("--wait").arg(command.get_program()).args(args);
    detached.env_clear().stdin(Stdio::null());
    for (name, value) in command.get_envs() {
        if let Some(value) = value {
            detached.env(name, value);
        }
    }
    detached.current_dir(command.get_current_dir().unwrap()).output().unwrap()
}

#[test]
fn a_module_is_named_by_whoever_runs_envctl_and_absolutely() {
    let sandbox = Sandbox::new();
    sandbox.write("report", b"attack at dawn");
    let key = "pkcs11:token=t;object=k";
    sandbox.run(&["encrypt", "-k", key, "report"], 2).says("--pkcs11-module");
    sandbox.run(&["encrypt", "-k", &format!("{key}?module-path=/x.so"), "report"], 2).says("no query");
    let with = |module: &str| sandbox.run(&["--pkcs11-module", module, "encrypt", "-k", key, "report"], 2);
    with("libsofthsm2.so").says("must be given by an absolute path");
    with("/nowhere/module.so").says("no PKCS#11 module at /nowhere/module.so");
    let text = sandbox.file("report");
    with(text.to_str().unwrap()).says("cannot be loaded as a shared library");
    assert_eq!(sandbox.files(), ["report"]);
}
