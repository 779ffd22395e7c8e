//! The developer tools: scripts in their place, in a process of its own whose `PATH` has them.

#![cfg(unix)]

use std::{
    io::{Read as _, Write as _},
    os::unix::fs::PermissionsExt as _,
    process::{Child, Command, Stdio},
    sync::mpsc::{Receiver, channel},
};

use envelope_sdk::KeyProvider;
use envelope_testkit::secrets::shown;

use super::*;

#[test]
fn az_is_asked_for_the_tenant_of_the_settings_and_azd_after_it() {
    let tools = Tools::new();
    tools.has("az", &format!(r#"printf '%s ' "$@" >"$TOOLS/az.asked"; {AZ_SAYS}"#));
    assert_eq!(tools.run("tests"), "WRAPPED");
    let asked = tools.read("az.asked");
    assert!(asked.contains("--scope https://vault.localhost/.default"), "{asked}");
    assert!(asked.contains("--tenant tests"), "{asked}");
    assert_eq!(tools.run(""), "WRAPPED");
    assert!(!tools.read("az.asked").contains("--tenant"));

    tools.has("az", "echo 'Please run az login' >&2; exit 1");
    tools.has("azd", &format!(r#"printf '%s ' "$@" >"$TOOLS/azd.asked"; {AZD_SAYS}"#));
    assert_eq!(tools.run("tests"), "WRAPPED");
    let asked = tools.read("azd.asked");
    assert!(asked.contains("--tenant-id tests") && asked.contains("vault.localhost"), "{asked}");
    assert_eq!(tools.run(""), "WRAPPED");
    assert!(!tools.read("azd.asked").contains("--tenant-id"));
}

/// Whatever a tool says: its words may hold a token.
#[test]
fn a_tool_that_fails_or_talks_garbage_is_told_without_its_words() {
    let tools = Tools::new();
    for (what, az) in [
        ("is not there", None),
        ("an error", Some(format!("echo 'ERROR: token {CANARY} was refused' >&2; exit 1"))),
        ("garbage", Some(format!("echo '{CANARY} {{'"))),
        ("nothing", Some("exit 0".to_owned())),
        ("no token", Some(format!(r#"echo '{{"accessToken":null,"tokenType":"{CANARY}"}}'"#))),
        ("no date", Some(format!(r#"echo '{{"accessToken":"{CANARY}","tokenType":"Bearer"}}'"#))),
        ("no end", Some(format!("while echo {CANARY}; do :; done"))),
        ("no end of errors", Some(format!("while echo {CANARY} >&2; do :; done"))),
    ] {
        if let Some(az) = az {
            tools.has("az", &az);
        }
        for tenant in ["", "tests"] {
            let said = tools.run(tenant);
            assert!(
                said.starts_with("AccessDenied false ") && said.contains("run `az login`"),
                "{what}: {said}"
            );
            assert!(!said.contains(CANARY), "{what}: {said}");
        }
    }
}

/// The call ends in time, and with it the tool and all that it began.
#[test]
fn a_tool_that_hangs_ends_with_the_call() {
    let tools = Tools::new();
    let (_, has_ended) = tools.hang();
    let said = tools.run("tests");
    assert!(said.starts_with("Unavailable true ") && said.contains("did not answer in time"), "{said}");
    assert!(has_ended.recv_timeout(Duration::from_secs(30)).expect("the tool ends"));
}

/// By a signal that nobody can catch. One of a terminal does not reach the tool either.
#[test]
fn a_tool_that_hangs_ends_with_the_process_that_waits_for_it() {
    let tools = Tools::new();
    let (has_begun, has_ended) = tools.hang();
    let mut child = tools.start("tests");
    has_begun.recv_timeout(Duration::from_secs(30)).expect("the tool begins");
    child.kill().unwrap();
    assert!(!child.wait().unwrap().success());
    assert!(has_ended.recv_timeout(Duration::from_secs(30)).expect("the tool ends"));
}

/// It is the caller's: what is to be encrypted, perhaps.
#[test]
fn a_tool_reads_nothing_of_standard_input() {
    let tools = Tools::new();
    tools.has("az", &format!(r#"/bin/cat >"$TOOLS/az.read"; {AZ_SAYS}"#));
    assert_eq!(tools.run("tests"), "WRAPPED");
    assert_eq!(tools.read("az.read"), "");
}

#[test]
#[ignore = "the tests above run it, in an environment of its own"]
#[allow(clippy::print_stdout, reason = "what it says is heard there")]
fn child_with_tools() {
    let variable = |name: &str| std::env::var(name).unwrap();
    let key = KeyUri::parse(&variable("AZURE_TESTS_KEY")).unwrap();
    let mut vaults = AzureKeyVault::builder()
        .domain(format!("localhost:{}", variable("AZURE_TESTS_PORT")))
        .ca_file(variable("AZURE_TESTS_CA"))
        .developer_tools()
        .attempts(1)
        .attempt_timeout(Duration::from_secs(2));
    let tenant = variable("AZURE_TESTS_TENANT");
    if !tenant.is_empty() {
        vaults = vaults.tenant_id(tenant);
    }
    match block_on(vaults.build().wrap_dek(&key, &fresh_dek(), &context())) {
        Ok(_) => println!("SAID WRAPPED"),
        Err(error) => {
            let shown = shown(&error).replace('\n', " ");
            println!("SAID {:?} {} {shown}", error.kind(), error.is_retryable());
        }
    }
}

/// A folder with tools, and a vault.
struct Tools {
    azure: Azure,
    key: KeyUri,
}

impl Tools {
    fn new() -> Self {
        let azure = Azure::new();
        let key = azure.key();
        Self { azure, key }
    }

    fn has(&self, name: &str, script: &str) {
        let path = self.azure.folder.path().join(name);
        // Renamed into place: a file that is being written is not run.
        let new = path.with_extension("new");
        std::fs::write(&new, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&new, std::fs::Permissions::from_mode(0o700)).unwrap();
        std::fs::rename(new, path).unwrap();
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.azure.folder.path().join(name)).unwrap()
    }

    /// Has `az` hang; and tells when it has begun, and when it and all that it began are gone.
    fn hang(&self) -> (Receiver<()>, Receiver<bool>) {
        let alive = self.azure.folder.path().join("alive");
        assert!(Command::new("mkfifo").arg(&alive).status().unwrap().success());
        let ((begun, has_begun), (ended, has_ended)) = (channel(), channel());
        std::thread::spawn(move || {
            let mut pipe = std::fs::File::open(alive).unwrap();
            // Who waits for the end alone hears nothing of it.
            let _ = begun.send(());
            // Until the last of them that has it open is gone.
            let read = pipe.read_to_end(&mut Vec::new());
            ended.send(read.is_ok()).unwrap();
        });
        self.has("az", r#"exec 9>"$TOOLS/alive"; /bin/sleep 3600 & /bin/sleep 3600"#);
        (has_begun, has_ended)
    }

    /// What a process said that wrapped, or did not.
    fn run(&self, tenant: &str) -> String {
        let said = String::from_utf8(self.start(tenant).wait_with_output().unwrap().stdout).unwrap();
        let line = said.lines().find_map(|line| line.split_once("SAID "));
        line.unwrap_or_else(|| panic!("{said}")).1.to_owned()
    }

    fn start(&self, tenant: &str) -> Child {
        let folder = self.azure.folder.path();
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "tools::child_with_tools", "--ignored", "--nocapture"])
            .env("AZURE_TESTS_KEY", self.key.as_str())
            .env("AZURE_TESTS_PORT", self.azure.service.port().to_string())
            .env("AZURE_TESTS_CA", self.azure.ca())
            .env("AZURE_TESTS_TENANT", tenant)
            .env("TOOLS", folder)
            .env("PATH", folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        // Who reads nothing of it may be gone by then.
        let _ = child.stdin.take().unwrap().write_all(b"what is to be encrypted");
        child
    }
}

const AZ_SAYS: &str = r#"echo '{"accessToken":"a-test","expires_on":4102444800,"tokenType":"Bearer"}'"#;
const AZD_SAYS: &str = r#"echo '{"token":"a-test","expiresOn":"2099-01-01T00:00:00Z"}'"#;
/// Long and of no words, so that it is found wherever it stands.
const CANARY: &str = "canary-4711-b1946ac92492d2347c6235b4d2611184";
