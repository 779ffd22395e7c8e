//! `envctl mcp` at standard input and output, with an audit log: what is asked is recorded before it is answered.

use std::{
    fs,
    io::{BufRead, BufReader, Lines, Write},
    process::{Child, ChildStdin, ChildStdout, Stdio},
};

use serde_json::{Value, json};

use super::common::Sandbox;

/// A keystore with a key, a log, and an envelope in a folder that is served.
fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.keystore(&["main"]);
    sandbox.run(&["audit", "create", "-k", "local:main", "log"], 0);
    fs::create_dir(sandbox.file("served")).unwrap();
    sandbox.write("plain", b"plaintext");
    sandbox.run(&["encrypt", "-k", "local:main", "plain", "-o", "served/a.envelope"], 0);
    configure(&sandbox, "");
    sandbox
}

fn configure(sandbox: &Sandbox, more: &str) {
    let root = fs::canonicalize(sandbox.file("served")).unwrap();
    sandbox.configure(&format!("keys = ['local:main']\n[mcp]\nroots = [{root:?}]\n{more}"));
}

/// `[audit]` of a configuration.
fn log(sandbox: &Sandbox) -> String {
    format!("[audit]\nfile = {:?}\n", sandbox.file("log"))
}

struct Client {
    child: Child,
    send: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
    next: u64,
}

impl Client {
    fn begin(sandbox: &Sandbox, options: &[&str]) -> Self {
        let mut command = sandbox.envctl(options);
        command.arg("mcp").stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (send, read) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let mut client = Self { child, send, lines: BufReader::new(read).lines(), next: 0 };
        let hello = json!({
            "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": { "name": "test", "version": "1" }
        });
        client.request("initialize", &hello);
        client.write(&json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }));
        client
    }

    fn write(&mut self, message: &Value) {
        self.send.write_all(format!("{message}\n").as_bytes()).unwrap();
    }

    fn request(&mut self, method: &str, params: &Value) -> Value {
        self.next += 1;
        self.write(&json!({ "jsonrpc": "2.0", "id": self.next, "method": method, "params": params }));
        let answer: Value = serde_json::from_str(&self.lines.next().unwrap().unwrap()).unwrap();
        assert_eq!(answer["id"], self.next, "{answer}");
        assert!(answer["error"].is_null(), "{answer}");
        answer["result"].clone()
    }

    /// What the tool answers, or its error.
    fn call(&mut self, tool: &str, arguments: &Value) -> Result<Value, Value> {
        let result = self.request("tools/call", &json!({ "name": tool, "arguments": arguments }));
        let text: Value = serde_json::from_str(result["content"][0]["text"].as_str().unwrap()).unwrap();
        if result["isError"] == true { Err(text["error"].clone()) } else { Ok(text) }
    }

    fn tools(&mut self) -> Vec<String> {
        let listed = self.request("tools/list", &json!({}));
        let tools = listed["tools"].as_array().unwrap().iter();
        tools.map(|tool| tool["name"].as_str().unwrap().to_owned()).collect()
    }

    fn end(mut self) {
        drop(self.send);
        assert!(self.child.wait().unwrap().success());
    }
}

/// Operation, outcome, actor, error, rule of each record of a client.
fn recorded(sandbox: &Sandbox) -> Vec<(String, String, String, Value, Value)> {
    let exported = sandbox.run(&["audit", "export", "log"], 0).json();
    let text = |record: &Value, name: &str| record[name].as_str().unwrap_or_default().to_owned();
    let of_client = |record: &&Value| text(record, "operation").starts_with("mcp-");
    let told = exported.as_array().unwrap().iter().filter(of_client).map(|record| {
        let (operation, outcome) = (text(record, "operation"), text(record, "outcome"));
        (operation, outcome, text(record, "actor"), record["error"].clone(), record["rule"].clone())
    });
    told.collect()
}

fn arguments(sandbox: &Sandbox, tool: &str) -> Value {
    let served = fs::canonicalize(sandbox.file("served")).unwrap();
    match tool {
        "describe_key" => json!({ "key": "main" }),
        "inspect_envelope" => json!({ "path": served.join("a.envelope") }),
        "rotation_plan" => json!({ "to": ["main"] }),
        "rotation_status" => json!({ "key": "main" }),
        "policy_explain" => json!({ "actor": "mcp:local", "operation": "list" }),
        "explain_error" => json!({ "exit_code": 4 }),
        _ => json!({}),
    }
}

#[test]
fn each_call_of_an_agent_leaves_one_record_and_the_log_that_is_written_is_the_one_that_is_searched() {
    let sandbox = sandbox();
    // Chosen by the flag, and by the configuration.
    for (options, more) in [(&["--audit-log", "log"][..], String::new()), (&[], log(&sandbox))] {
        configure(&sandbox, &more);
        let before = recorded(&sandbox).len();
        let mut client = Client::begin(&sandbox, options);
        let tools = client.tools();
        let outcomes: Vec<_> =
            tools.iter().map(|tool| client.call(tool, &arguments(&sandbox, tool)).is_ok()).collect();
        let found = client.call("audit_search", &json!({ "actor": "mcp:local", "limit": 100 })).unwrap();
        let found: Vec<_> = found["records"]
            .as_array()
            .unwrap()
            .iter()
            .map(|one| one["operation"].as_str().unwrap())
            .collect();
        // The newest first.
        let expected: Vec<_> = tools.iter().map(|tool| operation(tool)).collect();
        assert_eq!(found.iter().rev().skip(before).copied().collect::<Vec<_>>(), expected);
        client.end();
        let records = recorded(&sandbox).split_off(before);
        assert_eq!(records.len(), tools.len() + 1, "{records:?}");
        for ((tool, is_ok), record) in tools.iter().zip(outcomes).zip(&records) {
            let outcome = if is_ok { "ok" } else { "failed" };
            assert_eq!((&*record.0, &*record.1, &*record.2), (&*operation(tool), outcome, "mcp:local"));
        }
        sandbox.run(&["audit", "verify", "-k", "local:main", "log"], 0);
    }
}

#[test]
fn what_the_policy_denies_an_agent_is_recorded_with_its_rule() {
    let rules = "version = 1\ndefault = \"allow\"\n\
        [[rule]]\nname = \"no-lists\"\neffect = \"deny\"\nactor = [\"mcp:*\"]\noperation = [\"list\"]\n\
        [[rule]]\nname = \"no-inspection\"\neffect = \"deny\"\nactor = [\"mcp:*\"]\noperation = [\"inspect\"]\n";
    let sandbox = sandbox();
    let policy = sandbox.write("policy.toml", rules.as_bytes());
    configure(&sandbox, &format!("[policy]\nfile = {policy:?}\n{}", log(&sandbox)));
    let mut client = Client::begin(&sandbox, &[]);
    for tool in ["inspect_envelope", "describe_key", "doctor"] {
        let error = client.call(tool, &arguments(&sandbox, tool)).unwrap_err();
        assert_eq!(error["kind"], "key-refused", "{error}");
    }
    client.end();
    let denied = |tool: &str, rule: Value| {
        (operation(tool), "denied".to_owned(), "mcp:local".to_owned(), Value::Null, rule)
    };
    // By a rule; and by no rule, which is enough for an agent whatever the default is.
    let expected = [
        denied("inspect_envelope", "no-inspection".into()),
        denied("describe_key", Value::Null),
        denied("doctor", Value::Null),
    ];
    assert_eq!(recorded(&sandbox), expected);
}

#[test]
fn a_policy_that_changes_while_the_server_runs_is_told_before_the_next_record() {
    let sandbox = sandbox();
    let policy = sandbox.write("policy.toml", b"version = 1\ndefault = \"allow\"\n");
    configure(&sandbox, &format!("[policy]\nfile = {policy:?}\n{}", log(&sandbox)));
    let mut client = Client::begin(&sandbox, &[]);
    let _ = client.call("explain_error", &arguments(&sandbox, "explain_error"));
    sandbox.write("policy.toml", b"version = 1\ndefault = \"deny\"\n");
    for _ in 0..2 {
        let _ = client.call("explain_error", &arguments(&sandbox, "explain_error"));
    }
    client.end();
    let changed = sandbox.run(&["audit", "export", "--operation", "policy-changed", "log"], 0).json();
    let [changed] = changed.as_array().unwrap().as_slice() else { panic!("{changed}") };
    let detail =
        |name: &str| changed["detail"].as_array().unwrap().iter().find(|pair| pair[0] == name).unwrap();
    assert_ne!(detail("policy")[1], detail("before")[1], "{changed}");
    assert_eq!(recorded(&sandbox).len(), 3);
}

#[test]
fn an_agent_is_told_nothing_that_cannot_be_recorded() {
    let sandbox = sandbox();
    configure(&sandbox, &format!("[audit]\nfile = {:?}\n", sandbox.file("none")));
    let mut client = Client::begin(&sandbox, &[]);
    for tool in client.tools() {
        let error = client.call(&tool, &arguments(&sandbox, &tool)).unwrap_err();
        let message = error["message"].as_str().unwrap();
        assert!(message.contains("cannot be recorded: there is no audit log"), "{tool}: {error}");
        assert_eq!(error["kind"], "input-output", "{tool}: {error}");
    }
    client.end();
}

fn operation(tool: &str) -> String {
    format!("mcp-{}", tool.replace('_', "-"))
}
