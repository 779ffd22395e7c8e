//! The stand-in for Google Cloud KMS: over HTTP, by Google's client, and against
//! what is documented.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests are tests too")]

mod documented;
mod python;
#[path = "../shared/documented.rs"]
mod shared;
mod wire;

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
};

use envelope_testkit::{gcp_server::GcpServer, http_server::HttpServer};
use serde_json::{Value, json};

/// A server with the key `k` in the key ring `r`.
struct Served {
    gcp: GcpServer,
    http: HttpServer,
}

impl Served {
    fn new() -> Self {
        let gcp = GcpServer::new();
        let served = Self { http: gcp.serve(), gcp };
        served.ok("POST", &format!("/v1/{LOCATION}/keyRings?keyRingId=r"), &json!({}));
        served.make_key("k", &json!({}));
        served
    }

    fn make_key(&self, id: &str, more: &Value) -> Value {
        let mut key = json!({ "purpose": "ENCRYPT_DECRYPT" });
        key.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        self.ok("POST", &format!("/v1/{RING}/cryptoKeys?cryptoKeyId={id}"), &key)
    }

    /// What is answered: the status and the document.
    fn ask(&self, method: &str, target: &str, token: Option<&str>, body: &Value) -> (u16, Value) {
        let authorization = token.map_or(String::new(), |token| format!("authorization: Bearer {token}\r\n"));
        let body = if body.is_null() { String::new() } else { body.to_string() };
        self.send(method, target, &authorization, &body)
    }

    /// The same of a request as it is, with these header fields.
    fn send(&self, method: &str, target: &str, fields: &str, body: &str) -> (u16, Value) {
        let mut peer = TcpStream::connect(self.http.address()).unwrap();
        let len = body.len();
        write!(
            peer,
            "{method} {target} HTTP/1.1\r\nconnection: close\r\n{fields}content-length: {len}\r\n\r\n{body}"
        )
        .unwrap();
        let mut answer = String::new();
        peer.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), serde_json::from_str(body).unwrap())
    }

    fn ok(&self, method: &str, target: &str, body: &Value) -> Value {
        let (status, answer) = self.ask(method, target, None, body);
        assert_eq!(status, 200, "{method} {target}: {answer}");
        answer
    }

    /// The code and the message of a refusal.
    fn refused(&self, method: &str, target: &str, token: Option<&str>, body: &Value) -> (String, String) {
        let (status, answer) = self.ask(method, target, token, body);
        let error = &answer["error"];
        assert_eq!(error["code"], status, "{method} {target}: {answer}");
        (error["status"].as_str().unwrap().to_owned(), error["message"].as_str().unwrap().to_owned())
    }
}

const LOCATION: &str = "projects/p/locations/europe-west3";
const RING: &str = "projects/p/locations/europe-west3/keyRings/r";
const KEY: &str = "projects/p/locations/europe-west3/keyRings/r/cryptoKeys/k";
