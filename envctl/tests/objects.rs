//! Envelopes in a bucket at the command line, against LocalStack.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on says so")]

use std::{
    hash::{BuildHasher, Hasher, RandomState},
    io::{Read, Write},
    net::TcpStream,
};

use crate::common::{Ran, Sandbox};
use envelope_testkit::servers;

#[test]
fn envelopes_in_a_bucket_are_planned_counted_and_rotated() {
    let Some(bucket) = Bucket::new() else { return };
    bucket.encrypt("small", &[1; 100]);
    bucket.encrypt("deep/er/large", &vec![7; 9 * 1024 * 1024]);
    bucket.request("PUT", "/notes.txt", b"notes");
    let url = bucket.url("");
    let usage = bucket.run(&["keys", "usage", &url, "--json"], 0).json();
    assert_eq!(opened_by(&usage), [("old".to_owned(), 2)]);
    let to_new = ["--to", "local:new", "--from", "local:old", url.as_str()];
    let said = bucket.run(&[&["plan"], &to_new[..]].concat(), 0).text();
    assert!(said.starts_with("3 items: 2 would be changed\n"), "{said}");
    bucket.run(&[&["rotate"], &to_new[..]].concat(), 0);
    let usage = bucket.run(&["keys", "usage", &url, "--json"], 0).json();
    assert_eq!(opened_by(&usage), [("new".to_owned(), 2)]);
    bucket.run(&[&["rotate", "--reencrypt"], &to_new[..]].concat(), 0);
    for (key, plaintext) in [("small", vec![1; 100]), ("deep/er/large", vec![7; 9 * 1024 * 1024])] {
        bucket.sandbox.write("got", &bucket.request("GET", &format!("/{key}"), b""));
        bucket.run(&["decrypt", "-k", "local:new", "got", "-fo", "out"], 0);
        assert!(bucket.sandbox.read("out") == plaintext, "{key}");
    }
    assert_eq!(bucket.request("GET", "/notes.txt", b""), b"notes");
}

#[test]
fn what_is_wrong_with_a_url_is_said() {
    let Some(bucket) = Bucket::new() else { return };
    let url = bucket.url("absent");
    bucket.run(&["keys", "usage", &url], 3).says(&url).says("it is not there");
    bucket.run(&["keys", "usage", &url, "x.envelope"], 2).says("name either of them");
    bucket.run(&["keys", "usage", "file://x"], 2).says("three slashes");
    let mut command = bucket.sandbox.envctl(&["keys", "usage", &url]);
    command.env("AWS_ENDPOINT", "http://192.0.2.1:1");
    Ran::of(command.output().unwrap(), 2).says("plain http is spoken to this machine only");
}

#[test]
fn a_file_url_is_a_path() {
    let sandbox = Sandbox::new();
    sandbox.keystore(&["old"]);
    sandbox.write("in", b"secret");
    sandbox.run(&["encrypt", "-k", "local:old", "in"], 0);
    let url = format!("file://{}", sandbox.file("in.envelope").display());
    let usage = sandbox.run(&["keys", "usage", &url, "--json"], 0).json();
    assert_eq!(opened_by(&usage), [("old".to_owned(), 1)]);
}

/// Which keys, by the last part of their URIs, open how many envelopes.
fn opened_by(usage: &serde_json::Value) -> Vec<(String, u64)> {
    let keys = usage["keys"].as_object().unwrap().iter();
    let opens = |versions: &serde_json::Value| {
        versions.as_object().unwrap().values().map(|opens| opens["envelopes"].as_u64().unwrap()).sum()
    };
    keys.map(|(key, versions)| (key.rsplit('/').next().unwrap().to_owned(), opens(versions))).collect()
}

struct Bucket {
    sandbox: Sandbox,
    address: String,
    name: String,
}

impl Bucket {
    fn new() -> Option<Self> {
        let address = servers::address("LOCALSTACK")?.replace("http://", "");
        let name = format!("e{:016x}", RandomState::new().build_hasher().finish());
        let bucket = Self { sandbox: Sandbox::new(), address, name };
        bucket.sandbox.keystore(&["old", "new"]);
        bucket.request("PUT", "", b"");
        Some(bucket)
    }

    fn url(&self, key: &str) -> String {
        format!("s3://{}/{key}", self.name)
    }

    fn encrypt(&self, key: &str, plaintext: &[u8]) {
        self.sandbox.write("in", plaintext);
        self.sandbox.run(&["encrypt", "-k", "local:old", "in", "-fo", "sealed"], 0);
        self.request("PUT", &format!("/{key}"), &self.sandbox.read("sealed"));
    }

    fn run(&self, arguments: &[&str], code: i32) -> Ran {
        let mut command = self.sandbox.envctl(arguments);
        command.env("AWS_ENDPOINT", format!("http://{}", self.address));
        command.envs([
            ("AWS_ACCESS_KEY_ID", "test"),
            ("AWS_SECRET_ACCESS_KEY", "test"),
            ("AWS_REGION", "us-east-1"),
        ]);
        Ran::of(command.output().unwrap(), code)
    }

    /// A request below the bucket, and the body of its answer: of HTTP/1.0, which has no chunks.
    fn request(&self, method: &str, path: &str, body: &[u8]) -> Vec<u8> {
        let mut server = TcpStream::connect(&self.address).unwrap();
        let head = format!(
            "{method} /{}{path} HTTP/1.0\r\nhost: {}\r\ncontent-length: {}\r\n\r\n",
            self.name,
            self.address,
            body.len()
        );
        server.write_all(&[head.as_bytes(), body].concat()).unwrap();
        let mut answer = Vec::new();
        server.read_to_end(&mut answer).unwrap();
        let end = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n").unwrap();
        assert!(answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer[..end]));
        answer.split_off(end + 4)
    }
}
