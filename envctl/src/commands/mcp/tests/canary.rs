//! Canaries in every secret that the server is given or could come to, through every tool, resource and prompt, over both transports,
//! with everything heard that is logged at whatever level: none is in an answer, a log, a record or an error.
//!
//! Secrets of the environment need a process of their own: the test starts itself anew.

use std::{
    env, fs,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    path::Path,
    process::Command,
    sync::{Arc, Mutex},
    thread,
};

use envelope_mcp::{Caller, Server};
use envelope_testkit::{
    listener::Listening,
    secrets::{Canary, demand_none},
};
use serde_json::{Value, json};

use super::{
    super::{facade, listen::network},
    client::{Client, message},
    installed::{AGENT, Installed, Sealed},
};
use crate::runtime;

// Each is looked for by its first 12 bytes.
const PASSPHRASE: &str = "1f7d02b8-canary-of-a-passphrase";
const PLAINTEXT: &str = "8c3b5577 canary of a plaintext";
const WITHHELD: &str = "a90e41d3-canary-of-a-withheld-value";
const PIN: &str = "730c1dee-canary-of-a-pin";
const VAULT_TOKEN: &str = "hvs.5d2e9b04-canary-of-a-token";
const AWS_SECRET: &str = "66ab0f19/canary/of/an/aws/secret";
const AWS_SESSION: &str = "e4c71852-canary-of-a-session";
const CLIENT_SECRET: &str = "2b94f6aa-canary-of-a-client-secret";
const STORE_KEY: &str = "cc0d833c-canary-of-an-object-store-key";

fn canaries() -> Vec<Canary> {
    let secrets = [
        ("passphrase", PASSPHRASE),
        ("plaintext", PLAINTEXT),
        ("withheld value", WITHHELD),
        ("PIN", PIN),
        ("token of Vault", VAULT_TOKEN),
        ("secret of AWS", AWS_SECRET),
        ("session of AWS", AWS_SESSION),
        ("secret of Azure", CLIENT_SECRET),
        ("key of an object store", STORE_KEY),
    ];
    secrets.iter().map(|(name, secret)| Canary::new(name, secret.as_bytes())).collect()
}

/// Where the installation is, for the process of the canaries.
const FOLDER: &str = "CANARY_FOLDER";

#[test]
fn no_tool_tells_logs_or_records_a_secret_over_either_transport() {
    if let Some(folder) = env::var_os(FOLDER) {
        return look_at_everything(&Installed::at(Path::new(&folder)));
    }
    let folder = tempfile::tempdir().unwrap();
    let store = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", store.local_addr().unwrap());
    let heard = Arc::new(Mutex::new(Vec::new()));
    let hears = Arc::clone(&heard);
    // Ends with this process.
    thread::spawn(move || store.incoming().for_each(|stream| refuse(stream.unwrap(), &hears)));
    let key_stores = format!(
        "[vault]\naddress = '{address}'\nattempts = 1\n[aws]\nregion = 'eu-central-1'\nattempts = 1\n[aliases]\nleaked = '{VAULT_KEY}'\n"
    );
    let sealed = Sealed { plaintext: PLAINTEXT, withheld: WITHHELD };
    let installed = Installed::create(folder.path(), PASSPHRASE, &sealed, &key_stores);
    installed.write("pin", PIN);
    let name = module_path!().split_once("::").unwrap().1;
    let test = format!("{name}::no_tool_tells_logs_or_records_a_secret_over_either_transport");
    let output = Command::new(env::current_exe().unwrap())
        .args(["--exact", &test, "--nocapture"])
        .env_clear()
        .env("PATH", env::var_os("PATH").unwrap_or_default())
        .env("HOME", folder.path())
        .env("RUST_BACKTRACE", "full")
        .env("RUST_LOG", "trace")
        .env(FOLDER, installed.path("."))
        .env("VAULT_TOKEN", VAULT_TOKEN)
        .env("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE")
        .env("AWS_SECRET_ACCESS_KEY", AWS_SECRET)
        .env("AWS_SESSION_TOKEN", AWS_SESSION)
        .env("AWS_ENDPOINT_URL", &address)
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .env("AZURE_CLIENT_SECRET", CLIENT_SECRET)
        .env("AZURE_STORAGE_ACCOUNT_KEY", STORE_KEY)
        .output()
        .unwrap();
    let said = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&said);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
    let canaries = canaries();
    demand_none(&canaries, "what the process said", &said);
    // They were in use: the stand-in for Vault was shown its token, that for AWS the session.
    let heard = heard.lock().unwrap();
    for used in [VAULT_TOKEN, AWS_SESSION] {
        assert!(Canary::new("", used.as_bytes()).find(&heard).is_some(), "{used} was never used");
    }
    for name in ["passphrase", "pin"] {
        fs::remove_file(installed.path(name)).unwrap();
    }
    let searched = search(&canaries, folder.path());
    assert!(searched > 8, "keystore, log, envelope, certificates, configuration: {searched}");
}

/// Notes what comes and denies everything, as key stores deny whoever may do nothing.
fn refuse(mut stream: TcpStream, heard: &Mutex<Vec<u8>>) {
    let mut came = Vec::new();
    let mut bytes = [0; 4096];
    while let Ok(read) = stream.read(&mut bytes) {
        came.extend_from_slice(&bytes[..read]);
        if read == 0 || came.windows(4).any(|four| four == b"\r\n\r\n") {
            break;
        }
    }
    heard.lock().unwrap().extend(came);
    let body = r#"{"__type":"AccessDeniedException","message":"no","errors":["permission denied"]}"#;
    let head =
        format!("HTTP/1.1 403 Forbidden\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
    let _ = stream.write_all(format!("{head}{body}").as_bytes());
}

fn look_at_everything(installed: &Installed) {
    let canaries = canaries();
    let listening = Listening::start().unwrap();
    runtime::start().unwrap();
    let pin = installed.path("pin");
    let global = installed.global(&["--trace", "--pkcs11-pin-file", pin.to_str().unwrap()]);
    let local = Server::for_caller(facade(&global).unwrap(), Caller::local());
    let network = network(&global, None).unwrap();
    let answers = runtime::block_on(async {
        let mut answers = Vec::new();
        let mut client = Client::at_standard_input(local).await;
        look("standard input", &mut client, installed, &mut answers).await;
        let (mut client, _) = Client::over_mtls(&network, installed, AGENT).await;
        look("mTLS", &mut client, installed, &mut answers).await;
        answers
    });
    for (place, answer) in &answers {
        demand_none(&canaries, place, answer.as_bytes());
    }
    let heard = listening.heard();
    demand_none(&canaries, "the log", &heard);
    // It was heard, at the lowest level and of the server's own library.
    let log = String::from_utf8_lossy(&heard);
    for control in ["received request", "new event", "find_envelopes", "mcp-connect"] {
        assert!(log.contains(control), "{control:?} was not logged");
    }
}

/// Every tool, resource and prompt, with what suits it and with what does not.
async fn look(
    transport: &str,
    client: &mut Client,
    installed: &Installed,
    answers: &mut Vec<(String, String)>,
) {
    let mut worked = 0;
    for tool in client.tools().await {
        for arguments in arguments(&tool, installed) {
            let (told, came) = client.call(&tool, &arguments).await;
            worked += u32::from(told.is_ok());
            answers.push((format!("{tool} {arguments} over {transport}"), came));
        }
    }
    assert!(worked >= 15, "{worked} calls were answered");
    let listed = message(&client.ask("resources/list", &json!({})).await);
    let resources = listed["result"]["resources"].as_array().unwrap();
    assert!(resources.len() > 3, "{listed}");
    let uris = resources.iter().map(|resource| resource["uri"].clone());
    for uri in uris.chain([json!("envctl://docs/none"), json!("file:///etc/passwd")]) {
        let came = client.ask("resources/read", &json!({ "uri": uri })).await;
        answers.push((format!("{uri} over {transport}"), came));
    }
    let listed = message(&client.ask("prompts/list", &json!({})).await);
    for prompt in listed["result"]["prompts"].as_array().unwrap() {
        let asked = json!({ "name": prompt["name"], "arguments": { "key": "main" } });
        answers.push((format!("{prompt} over {transport}"), client.ask("prompts/get", &asked).await));
    }
}

const VAULT_KEY: &str = "hashivault://transit/main";
const AWS_KEY: &str =
    "awskms:///arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab";

/// What each tool is asked. A tool that is not here fails the test.
fn arguments(tool: &str, installed: &Installed) -> Vec<Value> {
    let path = |name: &str| installed.path(name).canonicalize().unwrap();
    match tool {
        "list_keys" => ["local", "aws", "vault", "none"].map(|store| json!({ "store": store })).to_vec(),
        "describe_key" => {
            ["main", "leaked", "none", VAULT_KEY, AWS_KEY, "pkcs11:token=t;object=k", "passphrase:"]
                .map(|key| json!({ "key": key }))
                .to_vec()
        }
        "keys_due" => vec![json!({}), json!({ "by": "2099-01-01" }), json!({ "by": "never" })],
        "inspect_envelope" => {
            ["served/a.envelope", "passphrase", "pin", "keystore.json", "config.toml", "server.key"]
                .map(|name| json!({ "path": path(name) }))
                .to_vec()
        }
        "find_envelopes" => vec![
            json!({}),
            json!({ "key": "main", "alone": true }),
            json!({ "context_name": "case" }),
            json!({ "context_name": "tenant", "context_value": "42" }),
            json!({ "under": "/" }),
        ],
        "key_usage" => vec![json!({}), json!({ "under": path("served") }), json!({ "cursor": "AAAA" })],
        "rotation_plan" => vec![json!({}), json!({ "to": ["old"] }), json!({ "to": [VAULT_KEY] })],
        "rotation_status" => ["main", VAULT_KEY, AWS_KEY]
            .map(|key| json!({ "key": key }))
            .into_iter()
            .chain([json!({ "path": path("served/a.envelope") })])
            .collect(),
        "audit_search" => vec![json!({}), json!({ "key": "*" }), json!({ "outcome": "none" })],
        "policy_explain" => vec![
            json!({ "actor": "mcp:local", "operation": "unwrap", "key": "main", "context": ["case=1"] }),
            json!({ "actor": "nobody", "operation": "none" }),
        ],
        "explain_error" => vec![json!({ "exit_code": 4 }), json!({ "exit_code": 99 })],
        "audit_verify" | "doctor" => vec![json!({}), json!({ "more": 1 })],
        tool => panic!("say here what `{tool}` is to be asked"),
    }
}

/// Searches every file below `folder`, names included.
fn search(canaries: &[Canary], folder: &Path) -> usize {
    let mut searched = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        demand_none(canaries, "a file's name", path.as_os_str().as_encoded_bytes());
        if path.is_dir() {
            searched += search(canaries, &path);
        } else {
            demand_none(canaries, &envelope_sdk::printable::path(&path), &fs::read(&path).unwrap());
            searched += 1;
        }
    }
    searched
}
