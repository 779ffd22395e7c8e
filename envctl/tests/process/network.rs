//! `envctl mcp --listen`: begins only with a policy and files that fit, says who was refused, and ends in order.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    os::unix::{fs::PermissionsExt, process::ExitStatusExt},
    process::{Child, Stdio},
};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, KeyUsagePurpose};
use rustix::process::{Pid, Signal, kill_process};

use super::common::{Ran, Sandbox};

/// Certificate and key of a server, and their authority, in a sandbox with a configuration.
fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new();
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let server =
        CertificateParams::new(["localhost".to_owned()]).unwrap().signed_by(&key, &authority).unwrap();
    sandbox.write("ca.pem", authority.pem().as_bytes());
    sandbox.write("server.pem", server.pem().as_bytes());
    sandbox.write("server.key", key.serialize_pem().as_bytes());
    fs::set_permissions(sandbox.file("server.key"), fs::Permissions::from_mode(0o600)).unwrap();
    sandbox.write(
        "policy.toml",
        b"version = 1\n[[rule]]\nname = \"agents\"\neffect = \"allow\"\nactor = [\"mcp:*\"]\noperation = [\"look\"]\n",
    );
    configure(&sandbox, true, "");
    sandbox
}

fn configure(sandbox: &Sandbox, policy: bool, more: &str) {
    let path = |name: &str| sandbox.file(name).display().to_string();
    let policy =
        if policy { format!("[policy]\nfile = \"{}\"\n", path("policy.toml")) } else { String::new() };
    let files = ["certificate", "key", "ca"].into_iter().zip(["server.pem", "server.key", "ca.pem"]);
    let files: String = files.map(|(setting, name)| format!("{setting} = \"{}\"\n", path(name))).collect();
    sandbox.write("config.toml", format!("{policy}[mcp.listen]\n{files}{more}").as_bytes());
}

const LISTEN: [&str; 5] = ["--config", "config.toml", "mcp", "--listen", "127.0.0.1:0"];

fn refused(sandbox: &Sandbox, code: i32) -> Ran {
    Ran::of(sandbox.envctl(&LISTEN).output().unwrap(), code)
}

#[test]
fn without_a_policy_nobody_is_served_over_a_network() {
    let sandbox = sandbox();
    configure(&sandbox, false, "");
    refused(&sandbox, 2).says("there is no policy");
}

#[test]
fn a_setting_or_file_of_the_network_that_is_not_right_is_named() {
    let sandbox = sandbox();
    configure(&sandbox, true, "origins = [\"*\"]\n");
    refused(&sandbox, 2).says("`origins`");
    configure(&sandbox, true, "");
    fs::set_permissions(sandbox.file("server.key"), fs::Permissions::from_mode(0o640)).unwrap();
    refused(&sandbox, 1).says("server.key").says("chmod 600");
}

#[test]
fn the_server_says_who_was_refused_and_ends_in_order_with_sigterm() {
    let sandbox = sandbox();
    let mut child: Child = sandbox.envctl(&LISTEN).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    let begun = lines.next().unwrap();
    let address = begun.strip_prefix("mcp-start mcp:: ok, address ").unwrap_or_else(|| panic!("{begun}"));
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(b"POST /mcp HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let _ = stream.read_to_end(&mut Vec::new());
    let told = lines.next().unwrap();
    assert!(told.starts_with("mcp-connect mcp:unidentified: key-refused, address 127.0.0.1:"), "{told}");
    assert!(told.ends_with("reason not-tls"), "{told}");
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    assert_eq!(lines.last().unwrap(), format!("mcp-stop mcp:: ok, address {address}"));
    assert_eq!(child.wait().unwrap().signal(), Some(Signal::TERM.as_raw()));
}

#[test]
fn what_happens_at_the_network_is_in_the_audit_log_and_without_the_log_nobody_is_served() {
    let sandbox = sandbox();
    sandbox.keystore(&["main"]);
    configure(&sandbox, true, &format!("[audit]\nfile = {:?}\n", sandbox.file("log")));
    refused(&sandbox, 3).says("there is no audit log");
    let create = ["--config", "config.toml", "audit", "create", "-k", "local:main", "log"];
    sandbox.run(&create, 0);
    // There is a log, and it is not the disk that is wrong.
    let mut command = sandbox.envctl(&LISTEN);
    command.env("ENVCTL_PASSPHRASE", "not this one");
    Ran::of(command.output().unwrap(), 4).says("the server is not recorded");
    let mut child: Child = sandbox.envctl(&LISTEN).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    let begun = lines.next().unwrap();
    let address = begun.strip_prefix("mcp-start mcp:: ok, address ").unwrap_or_else(|| panic!("{begun}"));
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    let _ = stream.read_to_end(&mut Vec::new());
    assert!(lines.next().unwrap().ends_with("reason not-tls"));
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    let last = lines.last().unwrap();
    assert!(last.starts_with("mcp-stop"), "{last}");
    child.wait().unwrap();
    let exported = sandbox.run(&["audit", "export", "log"], 0).json();
    let told: Vec<_> = exported
        .as_array()
        .unwrap()
        .iter()
        .filter(|record| record["operation"].as_str().unwrap().starts_with("mcp-"))
        .map(|record| ["operation", "actor", "outcome"].map(|name| record[name].as_str().unwrap()))
        .collect();
    let expected = [
        ["mcp-start", "mcp:", "ok"],
        ["mcp-connect", "mcp:unidentified", "failed"],
        ["mcp-stop", "mcp:", "ok"],
    ];
    assert_eq!(told, expected);
}
