//! The stand-in for Azure Key Vault and Managed HSM: over HTTPS, by Microsoft's
//! client, and against what is documented.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests are tests too")]

mod documented;
mod python;
#[path = "../shared/documented.rs"]
mod shared;
mod tls;
mod wire;

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    sync::Arc,
};

use envelope_testkit::azure_server::{AzureServer, AzureService};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned,
    crypto::aws_lc_rs::default_provider,
    pki_types::{CertificateDer, ServerName, pem::PemObject as _},
};
use serde_json::{Value, json};

/// A server with the key `k` in the vault `v` and the key `o` in the HSM `h`.
struct Served {
    azure: AzureServer,
    service: AzureService,
    /// The identifiers of the versions.
    key: String,
    oct: String,
}

/// What came back.
#[derive(Debug)]
struct Answer {
    status: u16,
    /// The head as it came.
    head: String,
    body: Value,
}

impl Served {
    fn new() -> Self {
        let azure = AzureServer::new();
        let service = azure.serve();
        let mut served = Self { service, azure, key: String::new(), oct: String::new() };
        let rsa = served.ok("POST", VAULT, "/keys/k/create", &json!({ "kty": "RSA" }));
        let oct = served.ok("POST", HSM, "/keys/o/create", &json!({ "kty": "oct-HSM" }));
        served.key = rsa["key"]["kid"].as_str().unwrap().to_owned();
        served.oct = oct["key"]["kid"].as_str().unwrap().to_owned();
        served
    }

    /// What is answered at `host`, without its port, by the present API.
    fn ask(&self, method: &str, host: &str, path: &str, token: Option<&str>, body: &Value) -> Answer {
        let authorization = token.map_or(String::new(), |token| format!("authorization: Bearer {token}\r\n"));
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let parameter = if path.contains('?') { "&" } else { "?" };
        let target = format!("{path}{parameter}api-version=2025-07-01");
        self.send(method, host, &target, &authorization, &body)
    }

    /// The same of a request as it is, with these header fields.
    fn send(&self, method: &str, host: &str, target: &str, fields: &str, body: &str) -> Answer {
        let (len, port) = (body.len(), self.service.port());
        let mut peer = self.connect(host);
        write!(
            peer,
            "{method} {target} HTTP/1.1\r\nhost: {host}:{port}\r\nconnection: close\r\n{fields}content-length: \
             {len}\r\n\r\n{body}"
        )
        .unwrap();
        let mut answer = String::new();
        peer.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let body = if body.is_empty() { Value::Null } else { serde_json::from_str(body).unwrap() };
        Answer { status: head.split(' ').nth(1).unwrap().parse().unwrap(), head: head.to_owned(), body }
    }

    /// Over TLS, with the CA of the server trusted and nothing else.
    fn connect(&self, host: &str) -> StreamOwned<ClientConnection, TcpStream> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.azure.ca_pem().as_bytes()).unwrap()).unwrap();
        let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = ServerName::try_from(host.to_owned()).unwrap();
        let session = ClientConnection::new(Arc::new(config), name).unwrap();
        StreamOwned::new(session, TcpStream::connect(self.service.address()).unwrap())
    }

    fn ok(&self, method: &str, host: &str, path: &str, body: &Value) -> Value {
        let answer = self.ask(method, host, path, Some("all"), body);
        assert!([200, 204].contains(&answer.status), "{method} {path}: {answer:?}");
        answer.body
    }

    /// The status, the code and the inner code of a refusal, and the message.
    fn refused(
        &self,
        method: &str,
        host: &str,
        path: &str,
        token: &str,
        body: &Value,
    ) -> (u16, String, String) {
        let answer = self.ask(method, host, path, Some(token), body);
        let error = &answer.body["error"];
        let inner = error["innererror"]["code"].as_str().map_or(String::new(), |inner| format!("/{inner}"));
        let code = error["code"].as_str().unwrap_or_else(|| panic!("{method} {path}: {answer:?}"));
        (answer.status, format!("{code}{inner}"), error["message"].as_str().unwrap().to_owned())
    }
}

/// The path of an identifier.
fn path(kid: &str) -> &str {
    &kid[kid.find("/keys/").unwrap()..]
}

const VAULT: &str = "v.vault.localhost";
const HSM: &str = "h.managedhsm.localhost";
