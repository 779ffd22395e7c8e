//! A policy of the configuration: every command asks it, and a refusal names its rule.

use crate::common::Sandbox;

/// A sandbox with a keystore, an envelope and a policy of these rules.
fn sandbox(rules: &str) -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.keystore(&["main", "other"]);
    sandbox.write("plain", b"plaintext");
    sandbox.run(&["encrypt", "-k", "local:main", "-c", "tenant=acme", "plain", "-o", "sealed"], 0);
    sandbox.run(&["audit", "create", "-k", "local:main", "log"], 0);
    govern(&sandbox, rules);
    sandbox
}

fn govern(sandbox: &Sandbox, rules: &str) {
    let policy = sandbox.write("policy.toml", format!("version = 1\n{rules}").as_bytes());
    sandbox.configure(&format!("[policy]\nfile = {:?}\n", policy.to_str().unwrap()));
}

/// What asks no key and no keystore; what asks a table first, and then key stores like the others; and `mcp`, which asks for each
/// request of a client.
const EXEMPT: [&str; 10] = [
    "completions",
    "man",
    "policy check",
    "policy test",
    "audit list",
    "audit verify-report",
    "audit export",
    "rotate-records",
    "destroy-data-key",
    "mcp",
];

#[test]
fn every_command_is_denied_by_a_policy_that_denies_all() {
    let sandbox = sandbox("[[rule]]\nname = 'nothing'\neffect = 'deny'");
    let calls: &[&[&str]] = &[
        &["encrypt", "-k", "local:main", "plain", "-o", "new"],
        &["decrypt", "-k", "local:main", "sealed", "-o", "new"],
        &["inspect", "sealed"],
        &["rewrap", "-k", "local:other", "--from", "local:main", "sealed"],
        &["rotate", "--to", "local:other", "--from", "local:main", "sealed"],
        &["plan", "--to", "local:other", "--from", "local:main", "sealed"],
        &["keys", "create", "third"],
        &["keys", "list"],
        &["keys", "describe", "main"],
        &["keys", "rotate", "main"],
        &["keys", "usage", "sealed"],
        &["keys", "not-after", "main", "2030-01-01"],
        &["keys", "auto-rotate", "main"],
        &["keys", "rotations", "main"],
        &["keys", "alias", "alias", "main"],
        &["keys", "activate", "main"],
        &["keys", "suspend", "main"],
        &["keys", "deactivate", "main"],
        &["keys", "report-compromise", "main"],
        &["keys", "archive", "main"],
        &["keys", "destroy", "--yes", "main"],
        &["keys", "restore", "main"],
        &["keystore", "init"],
        &["keystore", "passwd"],
        &["audit", "create", "-k", "local:main", "other-log"],
        &["audit", "verify", "-k", "local:main", "log"],
        &["audit", "checkpoint", "-k", "local:main", "log"],
        &["audit", "prune", "-k", "local:main", "--up-to", "1", "log"],
        &["pkcs11", "slots"],
    ];
    let mut left = sandbox.commands();
    for call in calls {
        let ran = sandbox.run(call, 5);
        assert!(ran.stderr.contains("rule `nothing` of the policy denies cli:"), "{call:?}: {}", ran.stderr);
        assert!(ran.stdout.is_empty(), "{call:?}");
        left.retain(|name| !call.join(" ").starts_with(name.as_str()));
    }
    left.retain(|name| !EXEMPT.contains(&name.as_str()));
    assert!(left.is_empty(), "commands that nobody tried here: {left:?}");
    assert!(!sandbox.files().contains(&"new".to_owned()));
}

#[test]
fn what_one_rule_allows_another_tenant_is_denied_before_the_passphrase_is_read() {
    let rules = "default = 'deny'\n[[rule]]\nname = 'acme'\neffect = 'allow'\noperation = ['use']\n\
                 context = { tenant = 'acme' }";
    let sandbox = sandbox(rules);
    sandbox.run(&["decrypt", "-k", "local:main", "sealed", "-o", "opened"], 0);
    let mut other =
        sandbox.envctl(&["encrypt", "-k", "local:main", "-c", "tenant=other", "plain", "-o", "new"]);
    // A passphrase that nobody gives, at no terminal: to ask for it would fail otherwise.
    let ran = crate::common::Ran::of(other.env_remove("ENVCTL_PASSPHRASE").output().unwrap(), 5);
    ran.says("no rule of the policy allows cli:");
}

#[test]
fn two_recipients_are_two_keys_that_wrap() {
    let sandbox = sandbox("[[rule]]\nname = 'two'\neffect = 'allow'\nrequire = { recipients = 2 }");
    let ran = sandbox.run(&["encrypt", "-k", "local:main", "plain", "-o", "new"], 5);
    ran.says("rule `two` of the policy requires 2 recipients, and there are 1");
    sandbox.run(&["encrypt", "-k", "local:main", "-k", "local:other", "plain", "-o", "new"], 0);
    let rewrap = ["rewrap", "-k", "local:other", "--from", "local:main", "sealed"];
    sandbox.run(&rewrap, 5).says("requires 2 recipients");
    let rotate = ["rotate", "--to", "local:other", "--from", "local:main", "sealed"];
    sandbox.run(&rotate, 5).says("requires 2 recipients");
    sandbox.run(&["rotate", "--to", "local:other", "--to", "local:main", "sealed"], 0);
}

#[test]
fn a_key_that_is_added_twice_is_one_recipient() {
    let sandbox = Sandbox::new();
    let keystore = sandbox.keystore(&["main", "other"]);
    sandbox.write("plain", b"plaintext");
    sandbox.run(&["encrypt", "-k", "local:main", "plain", "-o", "sealed"], 0);
    govern(&sandbox, "[[rule]]\nname = 'two'\neffect = 'allow'\nrequire = { recipients = 2 }");
    let spelled = format!("local://{}/other", keystore.id());
    let rotate = ["rotate", "--add", "local:other", "--add", &spelled, "--from", "local:main", "sealed"];
    let ran = sandbox.run(&rotate, 5);
    ran.says("rule `two` of the policy requires 2 recipients, and there are 1");
}

#[test]
fn a_rotation_may_be_allowed_without_leave_to_open() {
    let rules =
        "default = 'deny'\n[[rule]]\nname = 'rotation'\neffect = 'allow'\noperation = ['rewrap', 'inspect']";
    let sandbox = sandbox(rules);
    sandbox.run(&["decrypt", "-k", "local:main", "sealed", "-o", "opened"], 5).says("to unwrap here");
    sandbox.run(&["rotate", "--to", "local:other", "--from", "local:main", "sealed"], 0);
    let reencrypt = ["rotate", "--reencrypt", "--to", "local:main", "--from", "local:other", "sealed"];
    sandbox.run(&reencrypt, 5).says("here");
}

#[test]
fn a_rotation_that_is_allowed_in_one_context_is_done_in_it() {
    let rules = "default = 'deny'\n[[rule]]\nname = 'acme'\neffect = 'allow'\noperation = ['rewrap']\n\
                 require = { context = { tenant = 'acme' } }";
    let sandbox = sandbox(rules);
    let rotate = ["rotate", "--to", "local:other", "--from", "local:main", "sealed"];
    sandbox.run(&rotate, 5).says("rule `acme` of the policy requires the context's entry `tenant`");
    sandbox.run(&[&rotate[..], &["-c", "tenant=acme"]].concat(), 0);
}

#[test]
fn a_policy_that_is_not_right_stops_every_command_and_says_so() {
    let sandbox = sandbox("rules = 5");
    sandbox.run(&["encrypt", "-k", "local:main", "plain", "-o", "new"], 2).says("unknown field `rules`");
    sandbox.configure("[policy]\nfile = '/nonexistent/policy.toml'\n");
    sandbox.run(&["inspect", "sealed"], 3).says("/nonexistent/policy.toml");
}

#[test]
fn a_policy_is_checked_and_tried_without_a_key_store() {
    let sandbox = Sandbox::new();
    let rules = "version = 1\n[[rule]]\nname = 'own'\neffect = 'allow'\nactor = ['mcp:*']\noperation = ['look']\n\
                 require = { context = { tenant = '$actor.tenant' } }\n\
                 [[rule]]\nname = 'two'\neffect = 'allow'\noperation = ['wrap']\nrequire = { recipients = 2 }\n\
                 [[rule]]\nname = 'all'\neffect = 'deny'\n[[rule]]\nname = 'late'\neffect = 'allow'\n";
    let file = sandbox.write("policy.toml", rules.as_bytes());
    let file = file.to_str().unwrap();
    let ran = sandbox.run(&["policy", "check", file], 0);
    assert!(
        ran.text().contains("right, 4 rules\n  never reached, behind a rule that takes everything: late")
    );
    let test = |args: &[&str], code| sandbox.run(&[&["policy", "test", file][..], args].concat(), code);
    let own =
        ["--actor", "mcp:a", "--op", "describe", "-k", "local:main", "-c", "tenant=acme", "--tenant", "acme"];
    assert_eq!(test(&own, 0).text(), "allowed by rule `own`: mcp:a to describe\n");
    test(&own[..6], 5)
        .says("denied by rule `own`: mcp:a to describe: it requires the context's entry `tenant`");
    let wrap = ["--actor", "cli:b", "--op", "wrap", "--json"];
    let said = test(&wrap, 0).json();
    assert_eq!((&said["allowed"], &said["rule"]), (&true.into(), &"two".into()));
    assert_eq!(said["open"][0], "how many recipients there are");
    let ran = test(&[&wrap[..], &["--recipients", "1"]].concat(), 5);
    assert_eq!(ran.json()["unmet"], "2 recipients, and there are 1");
    test(&["--actor", "cli:b", "--op", "open"], 2).says("an operation is one of wrap");
    test(&["--actor", "bob", "--op", "wrap"], 2).says("an actor is library:NAME");
    sandbox.run(&["policy", "test", "--actor", "cli:b", "--op", "wrap"], 2).says("names no policy");
}
