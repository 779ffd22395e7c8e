//! No secret leaves envctl but where it was asked for: not on its outputs, in
//! the arguments or environment of a process, or in a file that is left
//! behind, whatever the command and however it ends.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests are tests too")]

mod common;

use std::{
    fs,
    io::{Read, Write},
    path::Path,
    process::{Command, Stdio},
};

use common::{PASSPHRASE, Sandbox};
use envelope_local::Keystore;
use envelope_sdk::{EncryptionContext, Envelope, KeyProvider};
use envelope_testkit::secrets::{self, Canary};

#[test]
fn every_form_of_a_secret_would_be_found() {
    secrets::demand_that_every_form_is_found();
}

#[test]
fn no_command_prints_a_secret_or_leaves_one_in_a_file() {
    let sandbox = Sandbox::new();
    let keystore = sandbox.keystore(&["main", "other", "waiting"]);
    sandbox.write("in", PLAINTEXT.as_bytes());
    sandbox.write("passphrase", PASSPHRASE.as_bytes());
    sandbox.write("new", NEW_PASSPHRASE.as_bytes());
    sandbox.write("wrong", WRONG_PASSPHRASE.as_bytes());
    let mut canaries = vec![
        Canary::new("plaintext", PLAINTEXT.as_bytes()),
        Canary::new("passphrase", PASSPHRASE.as_bytes()),
        Canary::new("new passphrase", NEW_PASSPHRASE.as_bytes()),
        Canary::new("wrong passphrase", WRONG_PASSPHRASE.as_bytes()),
        Canary::new("withheld value", WITHHELD.as_bytes()),
    ];
    let withheld = format!("case={WITHHELD}");
    let wrong = format!("case={WRONG_PASSPHRASE}");
    let context = ["-c", "tenant=42", "-c", &withheld];
    let decrypt = ["decrypt", "-k", "local:main", "in.envelope", "-f", "-o"];
    let rewrap = ["rewrap", "-k", "local:other", "--from", "local:main", "in.envelope"];
    let with_context = |arguments: &[&'static str]| [arguments, &context].concat();
    let commands: Vec<(Vec<&str>, i32)> = vec![
        (with_context(&["encrypt", "-k", "local:main", "in", "--withhold", "case"]), 0),
        (
            with_context(&["encrypt", "-a", "-k", "local:main", "in", "-o", "armored", "--withhold", "case"]),
            0,
        ),
        (vec!["encrypt", "-k", "local:missing", "in", "-o", "none"], 5),
        (vec!["encrypt", "-k", "local:main", "in", "-o", "none", "-c", "nothing"], 2),
        (vec!["encrypt", "-k", "local:main", "missing"], 3),
        (vec!["encrypt", "-k", "local:main", "in", "-o", "none", "--passphrase-file", "wrong"], 4),
        (vec!["encrypt", "in", "-o", "none", "--passphrase-file", "missing"], 3),
        (vec!["encrypt", "in", "-o", "none", "--withhold", "case"], 2),
        (vec!["inspect", "in.envelope"], 0),
        (vec!["inspect", "armored"], 0),
        (vec!["inspect", "in"], 4),
        (with_context(&[&decrypt[..], &["out"]].concat()), 0),
        ([&decrypt[..], &["none"]].concat(), 4),
        ([&decrypt[..], &["none", "-c", &wrong]].concat(), 4),
        (with_context(&[&decrypt[..], &["none", "--passphrase-file", "wrong"]].concat()), 4),
        (with_context(&["decrypt", "in.envelope", "-o", "none"]), 4),
        (vec!["decrypt", "-k", "local:main", "in", "-o", "none"], 4),
        (with_context(&[&rewrap[..], &["--dry-run"]].concat()), 0),
        (with_context(&rewrap), 0),
        ([&rewrap[..], &["-c", &wrong]].concat(), 4),
        (vec!["rewrap", "-k", "local:main", "in", "missing"], 4),
        (vec!["keys", "list"], 0),
        (vec!["keys", "create", "new", "--pre-active"], 0),
        (vec!["keys", "create", "new"], 2),
        (vec!["keys", "describe", "new"], 0),
        (vec!["keys", "activate", "new"], 0),
        (vec!["keys", "suspend", "new"], 0),
        (vec!["keys", "activate", "new"], 0),
        (vec!["keys", "rotate", "new"], 0),
        (vec!["keys", "deactivate", "new"], 0),
        (vec!["keys", "archive", "new"], 0),
        (vec!["keys", "report-compromise", "waiting"], 0),
        (vec!["keys", "destroy", "new", "--yes"], 0),
        (vec!["keys", "destroy", "missing", "--yes"], 5),
        (vec!["keystore", "init"], 3),
        (vec!["keystore", "init", "--keystore", "in"], 3),
        (vec!["keys", "list", "--keystore", "in"], 3),
        (vec!["keystore", "passwd", "--passphrase-file", "wrong", "--new-passphrase-file", "new"], 4),
        (vec!["keystore", "passwd", "--new-passphrase-file", "new"], 0),
        (vec!["keys", "list"], 4),
        (vec!["keystore", "passwd", "--passphrase-file", "new", "--new-passphrase-file", "passphrase"], 0),
        (vec!["completions", "bash"], 0),
        (vec!["man"], 0),
        (vec!["--version"], 0),
        (vec!["help"], 0),
        (vec!["no-such-command"], 2),
    ];
    let dek = |name: &str, keystore: &Keystore| {
        let header = Envelope::inspect(&sandbox.read(name)).unwrap();
        let context = EncryptionContext::new().with("tenant", "42").with("case", WITHHELD).full().unwrap();
        let unwrapped = keystore.unwrap_dek(&header.recipients()[0], &context);
        Canary::new("DEK", futures_executor::block_on(unwrapped).unwrap().expose())
    };
    let mut outputs = Vec::new();
    for (arguments, code) in &commands {
        for json in [false, true] {
            if json && changes_something(arguments) {
                continue;
            }
            let options = if json { &["--trace", "--json"][..] } else { &["--trace"] };
            let arguments = [options, arguments].concat();
            let output = traced(&sandbox, &arguments).output().unwrap();
            let printed = [output.stdout, output.stderr].concat();
            let text = String::from_utf8_lossy(&printed);
            assert_eq!(output.status.code(), Some(*code), "{arguments:?}: {text}");
            outputs.push((format!("{arguments:?}"), printed));
        }
        if arguments[0] == "encrypt" && *code == 0 && !arguments.contains(&"-a") {
            canaries.push(dek("in.envelope", &keystore));
        }
    }
    for (place, printed) in &outputs {
        secrets::demand_none(&canaries, place, printed);
    }
    let calls =
        outputs.iter().filter(|(_, printed)| String::from_utf8_lossy(printed).contains(", attempt 1: "));
    assert!(calls.count() > 5, "calls of the keystore were traced");
    assert_eq!(sandbox.read("out"), PLAINTEXT.as_bytes());
    // What this test wrote itself, and what it asked for.
    for given in ["in", "passphrase", "new", "wrong", "out"] {
        fs::remove_file(sandbox.file(given)).unwrap();
    }
    let folder = sandbox.file("").parent().unwrap().to_owned();
    let searched = search_files(&canaries, &folder);
    assert!(searched >= 3, "the keystore and two envelopes");
}

/// As a client starts it, with everything on that could make it talk. The tests of the crate itself hear what its libraries log.
#[test]
fn the_server_for_agents_prints_no_secret_and_leaves_none_in_a_file() {
    let sandbox = Sandbox::new();
    sandbox.keystore(&["main"]);
    fs::create_dir(sandbox.file("served")).unwrap();
    let withheld = format!("case={WITHHELD}");
    sandbox.write("in", PLAINTEXT.as_bytes());
    let encrypt = [
        "encrypt",
        "-k",
        "local:main",
        "in",
        "-o",
        "served/a.envelope",
        "-c",
        &withheld,
        "--withhold",
        "case",
    ];
    sandbox.run(&encrypt, 0);
    sandbox.run(&["audit", "create", "-k", "local:main", "log"], 0);
    let served = fs::canonicalize(sandbox.file("served")).unwrap();
    let log = sandbox.file("log");
    sandbox
        .configure(&format!("keys = ['local:main']\n[audit]\nfile = {log:?}\n[mcp]\nroots = [{served:?}]\n"));
    let canaries = [
        Canary::new("plaintext", PLAINTEXT.as_bytes()),
        Canary::new("passphrase", PASSPHRASE.as_bytes()),
        Canary::new("withheld value", WITHHELD.as_bytes()),
        Canary::new("PIN", NEW_PASSPHRASE.as_bytes()),
        Canary::new("secret of AWS", WRONG_PASSPHRASE.as_bytes()),
    ];
    let requests = |calls: &[(String, serde_json::Value)]| -> Vec<u8> {
        let hello = serde_json::json!({
            "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": { "name": "test", "version": "1" }
        });
        let begin = [("initialize".to_owned(), hello)];
        let lines = begin.iter().chain(calls).enumerate().map(|(id, (method, params))| {
            serde_json::json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params }).to_string()
                + "\n"
        });
        lines.collect::<String>().into_bytes()
    };
    let serve = |calls: &[(String, serde_json::Value)]| {
        let mut command = traced(&sandbox, &["--trace", "mcp"]);
        command.env("ENVCTL_PKCS11_PIN", NEW_PASSPHRASE).env("AWS_SECRET_ACCESS_KEY", WRONG_PASSPHRASE);
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(&requests(calls)).unwrap();
        let output = child.wait_with_output().unwrap();
        secrets::demand_none(&canaries, "standard output", &output.stdout);
        secrets::demand_none(&canaries, "standard error", &output.stderr);
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{text} {}", String::from_utf8_lossy(&output.stderr));
        let answers = text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).expect(line));
        answers.collect::<Vec<_>>()
    };
    let listed = serve(&[("tools/list".into(), serde_json::json!({}))]);
    let tools = listed.iter().find_map(|answer| answer["result"]["tools"].as_array()).unwrap();
    let calls = tools.iter().map(|tool| {
        let tool = tool["name"].as_str().unwrap();
        let path = served.join("a.envelope");
        let arguments = match tool {
            "describe_key" | "rotation_status" => serde_json::json!({ "key": "main" }),
            "inspect_envelope" => serde_json::json!({ "path": path }),
            "policy_explain" => serde_json::json!({ "actor": "mcp:local", "operation": "list" }),
            "explain_error" => serde_json::json!({ "exit_code": 4 }),
            _ => serde_json::json!({}),
        };
        ("tools/call".to_owned(), serde_json::json!({ "name": tool, "arguments": arguments }))
    });
    let calls: Vec<_> = calls.collect();
    let answers = serve(&calls);
    assert_eq!(answers.len(), calls.len() + 1);
    let answered = answers.iter().filter(|answer| answer["result"]["isError"] == false).count();
    // No policy is configured, and the local keystore has no history.
    assert_eq!(answered, calls.len() - 2, "{answers:?}");
    fs::remove_file(sandbox.file("in")).unwrap();
    search_files(&canaries, sandbox.file("").parent().unwrap());
}

#[test]
fn a_configuration_that_does_not_parse_is_not_repeated() {
    let sandbox = Sandbox::new();
    let canaries = [Canary::new("passphrase", NEW_PASSPHRASE.as_bytes())];
    for line in [
        format!("passphrase = \"{NEW_PASSPHRASE}\""),
        format!("keys = \"{NEW_PASSPHRASE}\""),
        format!("keys = [ {NEW_PASSPHRASE} ]"),
        format!("[profiles]\nbackup = \"{NEW_PASSPHRASE}\""),
    ] {
        sandbox.configure(&format!("\n{line}\n"));
        let ran = sandbox.run(&["encrypt", "-", "-o", "-"], 2);
        ran.says("config.toml").says(", line ");
        secrets::demand_none(&canaries, &line, ran.stderr.as_bytes());
    }
    sandbox.configure(&format!("keys = [\"passphrase:{NEW_PASSPHRASE}\"]"));
    let ran = sandbox.run(&["encrypt", "-", "-o", "-"], 2);
    secrets::demand_none(&canaries, "a passphrase as a key", ran.stderr.as_bytes());
}

#[cfg(target_os = "linux")]
#[test]
fn a_running_process_shows_its_own_arguments_and_starts_no_other() {
    let sandbox = Sandbox::new();
    sandbox.keystore(&["main"]);
    let passphrase = sandbox.write("passphrase", PASSPHRASE.as_bytes());
    let arguments =
        ["encrypt", "-k", "local:main", "-", "-o", "-", "--passphrase-file", "../work/passphrase"];
    let mut command = traced(&sandbox, &arguments);
    command.env_remove("ENVCTL_PASSPHRASE").stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // The first block comes out after the passphrase was used.
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(&PLAINTEXT.as_bytes().repeat((1 << 20) / PLAINTEXT.len() + 1)).unwrap();
    let mut start = [0; 16];
    let mut stdout = child.stdout.take().unwrap();
    stdout.read_exact(&mut start).unwrap();
    let id = child.id();
    let read = |name: &str| fs::read(format!("/proc/{id}/{name}"));
    let passed = std::iter::once(env!("CARGO_BIN_EXE_envctl")).chain(arguments);
    let expected: Vec<u8> = passed.flat_map(|argument| [argument.as_bytes(), &[0]].concat()).collect();
    assert_eq!(read("cmdline").unwrap(), expected);
    assert_eq!(read(&format!("task/{id}/children")).unwrap_or_default(), b"", "it starts no process");
    // The kernel shows the environment of an undumpable process to root alone.
    if let Ok(environment) = read("environ") {
        let canaries = [
            Canary::new("passphrase", PASSPHRASE.as_bytes()),
            Canary::new("plaintext", PLAINTEXT.as_bytes()),
        ];
        secrets::demand_none(&canaries, "the environment", &environment);
    }
    // Killed half-way, it leaves nothing.
    child.kill().unwrap();
    child.wait().unwrap();
    fs::remove_file(passphrase).unwrap();
    assert_eq!(sandbox.files(), [""; 0]);
}

/// With everything on that could make it talk, and a folder for temporary
/// files of its own.
fn traced(sandbox: &Sandbox, arguments: &[&str]) -> Command {
    let mut command = sandbox.envctl(arguments);
    command.env("RUST_LOG", "trace").env("RUST_BACKTRACE", "full").env("TMPDIR", sandbox.file("."));
    command
}

/// Run twice, it would say something else.
fn changes_something(arguments: &[&str]) -> bool {
    let verbs =
        ["create", "activate", "suspend", "rotate", "deactivate", "archive", "report-compromise", "destroy"];
    let encrypts = arguments[0] == "encrypt" && !arguments.contains(&"none");
    let rewraps = arguments[0] == "rewrap" && !arguments.contains(&"--dry-run");
    let passwords = arguments.get(1) == Some(&"passwd");
    encrypts || rewraps || passwords || arguments.get(1).is_some_and(|verb| verbs.contains(verb))
}

/// Searches every file below `folder`, names included.
fn search_files(canaries: &[Canary], folder: &Path) -> usize {
    let mut searched = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        secrets::demand_none(canaries, "a file's name", path.as_os_str().as_encoded_bytes());
        if path.is_dir() {
            searched += search_files(canaries, &path);
        } else {
            secrets::demand_none(canaries, &path.display().to_string(), &fs::read(&path).unwrap());
            searched += 1;
        }
    }
    searched
}

const PLAINTEXT: &str = "canary of a plaintext 6f1ad0";
const NEW_PASSPHRASE: &str = "canary-of-a-passphrase-b93e27";
const WRONG_PASSPHRASE: &str = "second-canary-passphrase-04c8d1";
const WITHHELD: &str = "withheld-canary-value-5e72a9";
