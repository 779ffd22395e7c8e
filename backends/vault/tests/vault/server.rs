//! HashiCorp's server, asked past the provider: for what the provider does not do.

use std::{
    io::Write as _,
    path::PathBuf,
    process::{Child, Command, Stdio},
    thread,
    time::Instant,
};

use envelope_testkit::servers;
use tempfile::TempDir;

use super::*;

/// The server that all tests share, or one of a test alone.
pub(crate) struct Server {
    pub(crate) url: String,
    /// Where it wrote what tests need.
    pub(crate) folder: PathBuf,
    _own: Option<Own>,
}

struct Own {
    child: Child,
    _folder: TempDir,
}

impl Drop for Own {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Server {
    /// The one that is shared: it is never sealed, and nothing of it is changed that others use. `None` when the test is
    /// to be skipped.
    pub(crate) fn shared() -> Option<Self> {
        let url = servers::address("VAULT")?;
        let folder = std::env::var_os("ENVELOPE_TEST_VAULT_FOLDER").map(PathBuf::from).unwrap_or_default();
        Some(Self { url, folder, _own: None })
    }

    /// One of this test alone.
    pub(crate) fn own(arguments: &[&str]) -> Option<Self> {
        let program = servers::address("VAULT_SERVER")?;
        let own = TempDir::new().unwrap();
        let folder = own.path().join("server");
        let mut child = Command::new(program)
            .arg("-dir")
            .arg(&folder)
            .arg("-with-parent")
            .args(arguments)
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        // Its standard input is open as long as this process lives.
        child.stdin.as_mut().unwrap().flush().unwrap();
        let start = Instant::now();
        let url = loop {
            if let Ok(url) = std::fs::read_to_string(folder.join("address")) {
                break url.trim().to_owned();
            }
            assert!(start.elapsed() < Duration::from_secs(60), "the server does not start");
            thread::sleep(Duration::from_millis(20));
        };
        Some(Self { url, folder, _own: Some(Own { child, _folder: own }) })
    }

    pub(crate) fn builder(&self) -> HashiVaultBuilder {
        at(&self.url)
    }

    pub(crate) fn vault(&self) -> HashiVault {
        self.builder().build()
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// What a file of the server holds.
    pub(crate) fn told(&self, name: &str) -> String {
        std::fs::read_to_string(self.file(name)).unwrap().trim().to_owned()
    }

    /// A call of the API by root: status and answer.
    pub(crate) fn api(&self, method: &str, path: &str, body: &Value) -> (u16, Value) {
        self.api_as("root", method, path, body)
    }

    pub(crate) fn api_as(&self, token: &str, method: &str, path: &str, body: &Value) -> (u16, Value) {
        let url = format!("{}/v1/{path}", self.url);
        block_on(async {
            let client = reqwest::Client::builder().no_proxy().build().unwrap();
            let answer = client
                .request(method.parse().unwrap(), url)
                .header("x-vault-token", token)
                .body(body.to_string())
                .send()
                .await
                .unwrap();
            let (status, text) = (answer.status().as_u16(), answer.text().await.unwrap());
            (status, serde_json::from_str(&text).unwrap_or_default())
        })
    }

    /// As [`api`](Self::api), and it must be done.
    pub(crate) fn does(&self, method: &str, path: &str, body: &Value) -> Value {
        let (status, answer) = self.api(method, path, body);
        assert!((200..300).contains(&status), "{method} {path}: {status} {answer}");
        answer
    }

    /// A new key.
    pub(crate) fn key(&self) -> KeyUri {
        self.key_with(&json!({}))
    }

    pub(crate) fn derived_key(&self) -> KeyUri {
        self.key_with(&json!({"derived": true}))
    }

    pub(crate) fn key_with(&self, what: &Value) -> KeyUri {
        let name = fresh_name();
        self.does("POST", &format!("transit/keys/{name}"), what);
        key(&name)
    }

    /// A token with this policy and nothing else.
    pub(crate) fn token(&self, policy: &str, more: &Value) -> String {
        let name = fresh_name();
        self.does("PUT", &format!("sys/policies/acl/{name}"), &json!({"policy": policy}));
        let mut body = json!({"policies": [name], "no_parent": true});
        for (field, value) in more.as_object().unwrap() {
            body[field] = value.clone();
        }
        let made = self.does("POST", "auth/token/create", &body);
        made["auth"]["client_token"].as_str().unwrap().to_owned()
    }
}

pub(crate) fn name(key: &KeyUri) -> &str {
    key.as_str().rsplit('/').next().unwrap()
}
