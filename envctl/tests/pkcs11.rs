//! Keys of PKCS#11 tokens at the command line, on both software tokens.

#![cfg(feature = "all")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests are tests too")]

use std::{
    env, fs,
    io::{BufRead, BufReader},
    os::unix::process::ExitStatusExt,
    process::{Child, Command, Stdio},
    thread,
};

use crate::common::{Ran, Sandbox};
use crate::tokens::{Kind, PIN, Token};
use cryptoki::object::Attribute;
use envelope_testkit::servers;
use rustix::process::{Pid, Signal, kill_process};

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
        setup.with_pin(&["keys", "report-compromise", &key], 2).says("no mark for compromised keys");
        setup.with_pin(&["keys", "deactivate", &key], 0);
        setup.with_pin(&["keys", "destroy", &key, "--yes"], 0);
        setup.with_pin(&["keys", "describe", &key], 5).says("no such key");
    });
}

#[test]
fn slots_tokens_and_mechanisms_are_told_without_a_pin() {
    on_each_token(|setup| {
        let text = setup.run(&["pkcs11", "slots"], 0).text();
        let at = text.find(&format!("label: {}\n", setup.token.label)).expect("the token");
        let told = text[at..].lines().take(10).collect::<Vec<_>>().join("\n");
        assert!(told.contains(&format!("serial: {}", setup.token.serial())), "{told}");
        assert!(told.contains("pin: needs a PIN\n"), "{told}");
        assert!(told.contains("wrap algorithms: PKCS11-AES-256-GCM"), "{told}");
        assert!(told.contains(", which --all lists"), "{told}");
        assert!(!text.contains("CKM_AES_GCM"));
        let all = setup.run(&["pkcs11", "slots", "--mechanisms"], 0).text();
        assert!(all.contains("- CKM_AES_GCM, min key size 16"), "{all}");
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
    let Some(two) = TwoTokens::new() else { return };
    // The PIN is for the token that is named; for the other there is no terminal to ask at.
    let label = &two.setup.token.label;
    let ran = two.run(
        &["--pkcs11-token", label, "--pkcs11-pin-file", "pin", "encrypt", "-k", &two.other_key, "in"],
        5,
    );
    ran.says("no PIN to log in with").says(&two.other.label.replace(' ', "%20"));
    two.other_was_left_alone();
}

/// Whoever writes a header chooses the order in which its recipients are tried.
#[test]
fn the_order_of_a_header_does_not_choose_who_gets_the_pin() {
    let Some(two) = TwoTokens::new() else { return };
    two.encrypt_for_both();
    two.setup.sandbox.write("wrong", b"wrong-pin-0815\n");
    let keys = ["-k", &two.key, "-k", &two.other_key, "in.envelope", "-o", "out"];
    let label = &two.setup.token.label;
    let with = |pin: &str, code: i32| {
        two.run(
            &[&["--pkcs11-token", label, "--pkcs11-pin-file", pin, "decrypt", "-f"][..], &keys].concat(),
            code,
        )
    };
    with("pin", 0);
    assert_eq!(two.setup.sandbox.read("out"), b"secret");
    // Tried on the one token, and not on the one that the header names first.
    with("wrong", 5).says("the PIN is wrong").says("no PIN to log in with");
    two.other_was_left_alone();
}

#[test]
fn a_pin_that_may_be_for_two_tokens_is_for_none() {
    let Some(two) = TwoTokens::new() else { return };
    let both = ["encrypt", "-k", &two.key, "-k", &two.other_key, "in"];
    for ran in [
        two.run(&[&["--pkcs11-pin-file", "pin"][..], &both].concat(), 2),
        two.run_with(&both, &[("ENVCTL_PKCS11_PIN", PIN)], 2),
        {
            let pin = two.setup.sandbox.file("pin");
            two.configure(&format!("pin-file = {pin:?}\n"));
            two.run(&both, 2)
        },
    ] {
        ran.says("it may be for several tokens").says("--pkcs11-token LABEL").says("[pkcs11.tokens.LABEL]");
    }
    two.other_was_left_alone();
}

#[test]
fn a_pin_is_for_the_one_token_of_the_keys_that_are_named() {
    let Some(two) = TwoTokens::new() else { return };
    // The module has several tokens, and the call names keys of one.
    two.run(&["--pkcs11-pin-file", "pin", "encrypt", "-k", &two.key, "in"], 0);
    let decrypt = ["--pkcs11-pin-file", "pin", "decrypt", "-f", "-k", &two.key, "in.envelope", "-o", "out"];
    two.run(&decrypt, 0);
    assert_eq!(two.setup.sandbox.read("out"), b"secret");
}

/// `pin-file` of the configuration is of the token that the configuration means, whatever the call names.
#[test]
fn a_pin_of_the_configuration_is_shown_to_its_token_alone() {
    let Some(two) = TwoTokens::new() else { return };
    // Another PIN than the other token's, which would count it as a wrong one.
    two.setup.sandbox.write("wrong", b"wrong-pin-0815\n");
    let pin = two.setup.sandbox.file("wrong");
    let list = ["keys", "list", "--provider", "pkcs11", "--pkcs11-token", &two.other.label];
    let (label, serial) = (&two.setup.token.label, two.setup.token.serial());
    for token in [format!("token = {label:?}\n"), format!("serial = {serial:?}\n")] {
        two.configure(&format!("{token}pin-file = {pin:?}\n"));
        two.run(&list, 5).says("no PIN to log in with");
        two.run_with(&list[..4], &[("ENVCTL_PKCS11_TOKEN", &two.other.label)], 5)
            .says("no PIN to log in with");
        two.run(&["encrypt", "-k", &two.other_key, "in"], 5).says("no PIN to log in with");
        two.other_was_left_alone();
    }
    let module = two.setup.token.module();
    two.setup
        .sandbox
        .configure(&format!("keys = [{:?}]\n[pkcs11]\nmodule = {module:?}\npin-file = {pin:?}\n", two.key));
    two.run(&list, 2).says("it may be for several tokens");
    two.run(&["encrypt", "-k", &two.other_key, "in"], 2).says("it may be for several tokens");
    two.other_was_left_alone();
}

/// A token of another module may bear any label.
#[test]
fn a_pin_of_the_configuration_is_not_shown_to_a_token_of_another_module() {
    let Some(two) = TwoTokens::new() else { return };
    two.setup.sandbox.write("wrong", b"wrong-pin-0815\n");
    let (pin, module) = (two.setup.sandbox.file("wrong"), two.setup.token.module());
    let label = &two.other.label;
    let list = ["keys", "list", "--provider", "pkcs11"];
    for settings in [
        format!("token = {label:?}\npin-file = {pin:?}\n"),
        format!("token = {label:?}\n[pkcs11.tokens.{label:?}]\npin-file = {pin:?}\n"),
    ] {
        let own = "[pkcs11]\nmodule = \"/nowhere/module.so\"\n";
        two.setup.sandbox.configure(&format!("{own}{settings}"));
        let module = module.to_str().unwrap();
        two.run(&[&["--pkcs11-module", module][..], &list].concat(), 5).says("no PIN to log in with");
        two.run_with(&list, &[("ENVCTL_PKCS11_MODULE", module)], 5).says("no PIN to log in with");
        two.other_was_left_alone();
        // The file's own module, though the call names it too.
        two.configure(&settings.replace("wrong", "pin"));
        two.run(&[&["--pkcs11-module", module][..], &list].concat(), 0);
    }
}

#[test]
fn a_wrong_pin_is_tried_once_on_a_token_that_is_named_in_two_ways() {
    let Some(setup) = Setup::of(Kind::SoftHsm) else { return };
    setup.sandbox.write("wrong", b"wrong-pin-0815\n");
    setup.sandbox.write("in", b"secret");
    setup.with_pin(&["keys", "create", "db", "--provider", "pkcs11"], 0);
    let by_label = setup.key("object=db");
    let by_serial = format!("pkcs11:serial={};object=db", setup.token.serial());
    let keys = ["-k", &by_label, "-k", &by_serial];
    setup.with_pin(&[&["encrypt"][..], &keys, &["in"]].concat(), 0);
    let wrong = ["--pkcs11-pin-file", "wrong", "--pkcs11-token", &setup.token.label, "decrypt"];
    let ran = setup.run(&[&wrong[..], &keys, &["in.envelope", "-o", "out"]].concat(), 5);
    ran.says("the PIN is wrong").says("It was tried once and is not tried again");
}

#[test]
fn a_stored_pin_is_not_tried_when_few_tries_are_left() {
    on_each_token(|setup| {
        setup.sandbox.write("wrong", b"wrong-pin-0815\n");
        let list = ["keys", "list", "--provider", "pkcs11", "--pkcs11-token", &setup.token.label];
        let wrong = [&list[..], &["--pkcs11-pin-file", "wrong"]].concat();
        let mut tries = 1;
        while !setup.run(&wrong, 5).stderr.contains("a stored PIN is not tried") {
            tries += 1;
            assert!(tries < 20, "the token never says that few tries are left");
        }
        let slots = setup.run(&["pkcs11", "slots", "--json"], 0).json();
        let labelled = |slot: &&serde_json::Value| slot["token"]["label"] == setup.token.label;
        let slot = slots["slots"].as_array().unwrap().iter().find(labelled).expect("the token");
        assert!(slot["token"]["pin_count_low"] == true || slot["token"]["pin_final_try"] == true, "{slot}");
        assert!(setup.run(&["pkcs11", "slots"], 0).text().contains("no stored one is tried"));
        let right = setup.run(&[&list[..], &["--pkcs11-pin-file", "pin"]].concat(), 5);
        right.says("a stored PIN is not tried: log in once with the right PIN typed by hand");
    });
}

#[test]
fn a_weakness_is_accepted_for_a_named_key_and_told() {
    on_each_token(|setup| {
        let session = setup.token.session();
        setup.token.generate(&session, "open", &[Attribute::Private(false)]);
        let key = setup.key("object=open");
        setup.sandbox.write("in", b"secret");
        let encrypt = ["encrypt", "-f", "-k", &key, "in"];
        let accept = "or accept not-private for this key in the configuration";
        setup.with_pin(&encrypt, 5).says("it is not private").says(accept);
        let configure = |weaknesses: &str| {
            let module = setup.token.module();
            setup.sandbox.configure(&format!(
                "[pkcs11]\nmodule = {module:?}\n[[pkcs11.accept]]\nkey = {key:?}\nweaknesses = [{weaknesses}]\n"
            ));
        };
        configure(r#""extractable""#);
        setup
            .with_pin(&encrypt, 2)
            .says("it names a weakness that cannot be accepted")
            .says("wraps-and-decrypts");
        configure(r#""not-private""#);
        setup.with_pin(&encrypt, 0);
        let told = setup.with_pin(&["keys", "describe", &key], 0).text();
        assert!(told.contains("accepted: not-private") && !told.contains("refused"), "{told}");
    });
}

/// The commands of the README and of the error, by the tool that they are for.
#[test]
fn a_key_made_by_pkcs11_tool_as_the_error_says_is_used() {
    let Some(tool) = servers::address("PKCS11_TOOL") else { return };
    on_each_token(|setup| {
        setup.sandbox.write("in", b"secret");
        for (label, flags, taken) in [
            ("sensitive", &["--sensitive"][..], false),
            // SoftHSM turns on each use that the tool does not name.
            ("good", &["--private", "--sensitive", "--usage-decrypt"], setup.token.kind == Kind::Kryoptic),
        ] {
            let mut make = Command::new(&tool);
            make.arg("--module").arg(setup.token.module());
            make.args(["--token-label", &setup.token.label, "--login", "--pin", PIN]);
            make.args(["--keygen", "--key-type", "AES:32", "--label", label]).args(flags);
            make.env("KRYOPTIC_CONF", setup.sandbox.file("kryoptic.conf"));
            let made = make.output().unwrap();
            assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
            let key = setup.key(&format!("object={label}"));
            let encrypt = ["encrypt", "-f", "-k", &key, "in"];
            if taken {
                setup.with_pin(&encrypt, 0);
            } else {
                let refused = setup.with_pin(&encrypt, 5);
                refused.says("--keygen --key-type AES:32 --private --sensitive --usage-decrypt");
                let module = setup.token.module();
                setup.sandbox.configure(&format!(
                    "[pkcs11]\nmodule = {module:?}\n[[pkcs11.accept]]\nkey = {key:?}\n\
                     weaknesses = [\"not-private\", \"wraps-and-decrypts\"]\n"
                ));
                setup.with_pin(&encrypt, 0);
            }
        }
    });
}

/// Two tokens of one module, each with a key `db`.
struct TwoTokens {
    setup: Setup,
    other: Token,
    key: String,
    other_key: String,
}

impl TwoTokens {
    fn new() -> Option<Self> {
        let setup = Setup::of(Kind::SoftHsm)?;
        let other = Kind::SoftHsm.token().unwrap();
        let (key, other_key) =
            (setup.key("object=db"), format!("pkcs11:token={};object=db", other.label.replace(' ', "%20")));
        setup.sandbox.write("in", b"secret");
        let two = Self { setup, other, key, other_key };
        for label in [&two.setup.token.label, &two.other.label] {
            let create = ["keys", "create", "db", "--provider", "pkcs11"];
            two.run(&[&["--pkcs11-token", label, "--pkcs11-pin-file", "pin"][..], &create].concat(), 0);
        }
        Some(two)
    }

    /// With a session of its own, in which there is no terminal.
    fn run(&self, args: &[&str], code: i32) -> Ran {
        self.run_with(args, &[], code)
    }

    fn run_with(&self, args: &[&str], variables: &[(&str, &str)], code: i32) -> Ran {
        let mut command = self.setup.envctl(args);
        command.envs(variables.iter().copied());
        Ran::of(without_terminal(&mut command), code)
    }

    fn configure(&self, more: &str) {
        self.setup.sandbox.configure(&format!("[pkcs11]\nmodule = {:?}\n{more}", self.setup.token.module()));
    }

    /// `in.envelope`, whose first recipient is the key of the other token. Each
    /// token has a PIN of its own in the configuration meanwhile.
    fn encrypt_for_both(&self) {
        let pin = self.setup.sandbox.file("pin");
        let tokens = [&self.setup.token.label, &self.other.label]
            .map(|label| format!("[pkcs11.tokens.{label:?}]\npin-file = {pin:?}\n"));
        self.configure(&tokens.concat());
        self.run(&["encrypt", "-k", &self.other_key, "-k", &self.key, "in"], 0);
        self.configure("");
    }

    /// No PIN was tried on the other token: after a wrong one it would take no
    /// stored one.
    fn other_was_left_alone(&self) {
        let list = ["--pkcs11-token", &self.other.label, "--pkcs11-pin-file", "pin", "keys", "list"];
        self.configure("");
        self.run(&[&list[..], &["--provider", "pkcs11"]].concat(), 0);
    }
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

/// `envctl keys rotate` with a module that is slow to make a key, when it is about to.
struct SlowRotation {
    setup: Setup,
    key: String,
    envctl: Child,
}

impl SlowRotation {
    fn begin() -> Option<Self> {
        let setup = Setup::of(Kind::SoftHsm)?;
        setup.with_pin(&["keys", "create", "--provider", "pkcs11", "db"], 0);
        let slow = setup.sandbox.file("slow.so");
        let file = |name: &str| format!("-D{name}={:?}", setup.sandbox.file(name));
        let defines = [file("BEGUN"), file("GO")];
        crate::tokens::in_front_of(&setup.token.module(), crate::tokens::SLOW_GENERATION, &defines, &slow);
        let key = setup.key("object=db");
        let module = slow.to_str().unwrap();
        let mut command =
            setup.envctl(&["--pkcs11-module", module, "--pkcs11-pin-file", "pin", "keys", "rotate", &key]);
        let envctl = command.stderr(Stdio::piped()).spawn().unwrap();
        while !setup.sandbox.file("BEGUN").exists() {
            thread::yield_now();
        }
        Some(Self { setup, key, envctl })
    }

    /// Sends SIGINT and waits until envctl says that it waits for the token.
    fn interrupt(&mut self) {
        self.signal();
        let mut said = String::new();
        BufReader::new(self.envctl.stderr.as_mut().unwrap()).read_line(&mut said).unwrap();
        assert_eq!(
            said,
            "waiting for the token, which may be changing a key; another signal ends this at once\n"
        );
    }

    fn signal(&self) {
        kill_process(Pid::from_child(&self.envctl), Signal::INT).unwrap();
    }

    fn ends(&mut self) {
        assert_eq!(self.envctl.wait().unwrap().signal(), Some(Signal::INT.as_raw()));
    }
}

#[test]
fn a_signal_lets_a_token_finish_the_change_that_is_under_way() {
    let Some(mut slow) = SlowRotation::begin() else { return };
    slow.interrupt();
    slow.setup.sandbox.write("GO", b"");
    slow.ends();
    let versions = slow.setup.with_pin(&["keys", "describe", &slow.key], 0).text();
    assert!(
        versions.contains("version 1: deactivated") && versions.contains("version 2: active"),
        "{versions}"
    );
}

/// timeout(1) signals its child and then its group, and a terminal that is closed may do so twice.
#[test]
fn signals_that_come_together_are_one() {
    let Some(mut slow) = SlowRotation::begin() else { return };
    kill_process(Pid::from_child(&slow.envctl), Signal::HUP).unwrap();
    slow.interrupt();
    kill_process(Pid::from_child(&slow.envctl), Signal::HUP).unwrap();
    slow.setup.sandbox.write("GO", b"");
    assert!(matches!(slow.envctl.wait().unwrap().signal(), Some(1 | 2)));
    let versions = slow.setup.with_pin(&["keys", "describe", &slow.key], 0).text();
    assert!(
        versions.contains("version 1: deactivated") && versions.contains("version 2: active"),
        "{versions}"
    );
}

#[test]
fn another_signal_ends_a_call_of_a_token_at_once() {
    let Some(mut slow) = SlowRotation::begin() else { return };
    slow.interrupt();
    slow.signal();
    slow.ends();
}
