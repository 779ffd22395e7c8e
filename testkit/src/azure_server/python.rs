//! Microsoft's own client of Key Vault, written in Python: an opinion on what this
//! project's client sends and takes that nobody here wrote.

use std::{io, path::PathBuf};

use crate::{
    python::{Script, from_hex, hex},
    servers,
};

/// An interpreter with the packages of `testkit/azure/requirements.txt`.
#[derive(Debug, Clone)]
pub struct PythonClient {
    interpreter: PathBuf,
}

/// What the client wrapped.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Wrapped {
    /// The identifier of the version that did.
    pub kid: String,
    /// What it made.
    pub ciphertext: Vec<u8>,
    /// The nonce; empty unless the algorithm is one of AES-GCM.
    pub iv: Vec<u8>,
    /// The tag; empty as the nonce.
    pub tag: Vec<u8>,
}

impl Wrapped {
    /// What somebody else made, for the client to unwrap.
    #[must_use]
    pub fn new(kid: &str, ciphertext: &[u8], iv: &[u8], tag: &[u8]) -> Self {
        Self { kid: kid.to_owned(), ciphertext: ciphertext.to_vec(), iv: iv.to_vec(), tag: tag.to_vec() }
    }
}

impl PythonClient {
    /// The one that `scripts/servers.d/azure` installed. `None` when there is none,
    /// and the test is to be skipped: see [`servers::address`].
    #[must_use]
    pub fn installed() -> Option<Self> {
        servers::address("AZURE_PYTHON").map(|path| Self { interpreter: path.into() })
    }

    /// Wraps by the service with the key, or the version, that `kid` identifies;
    /// with an algorithm of AES-GCM it encrypts, which is how those wrap.
    ///
    /// # Errors
    ///
    /// What the client says, such as `ResourceNotFoundError: …`.
    pub fn wrap(
        &self,
        ca_pem: &str,
        kid: &str,
        algorithm: &str,
        aad: &[u8],
        plaintext: &[u8],
    ) -> io::Result<Wrapped> {
        self.wrapped("wrap", ca_pem, kid, algorithm, &[aad, plaintext])
    }

    /// Wraps without the service, with the public key that it was given once.
    ///
    /// # Errors
    ///
    /// As [`wrap`](Self::wrap).
    pub fn wrap_locally(
        &self,
        ca_pem: &str,
        kid: &str,
        algorithm: &str,
        plaintext: &[u8],
    ) -> io::Result<Wrapped> {
        self.wrapped("wrap-locally", ca_pem, kid, algorithm, &[&[], plaintext])
    }

    /// Unwraps by the service with the version that wrapped, or decrypts.
    ///
    /// # Errors
    ///
    /// As [`wrap`](Self::wrap).
    pub fn unwrap(
        &self,
        ca_pem: &str,
        algorithm: &str,
        aad: &[u8],
        wrapped: &Wrapped,
    ) -> io::Result<Vec<u8>> {
        let given = [aad, &wrapped.ciphertext, &wrapped.iv, &wrapped.tag];
        from_hex(&self.client("unwrap", ca_pem, &wrapped.kid, algorithm, &given)?)
    }

    /// Runs the scenarios of `testkit/azure/scenarios.py` against the server at
    /// `port`, whose clock they move.
    ///
    /// # Errors
    ///
    /// What they say, when one fails.
    pub fn scenarios(&self, ca_pem: &str, port: u16) -> io::Result<String> {
        self.script("scenarios.py", ca_pem).run(&[&port.to_string()], "")
    }

    /// The API as the client has it, in the form of `testkit/azure/api.json`.
    ///
    /// # Errors
    ///
    /// What Python says, when the client is of another make.
    pub fn describe(&self) -> io::Result<String> {
        self.script("describe.py", "").run(&[], "")
    }

    fn wrapped(
        &self,
        verb: &str,
        ca_pem: &str,
        kid: &str,
        algorithm: &str,
        given: &[&[u8]],
    ) -> io::Result<Wrapped> {
        let said = self.client(verb, ca_pem, kid, algorithm, given)?;
        let mut lines = said.split('\n').chain(["", "", ""]);
        let kid = lines.next().unwrap_or_default().to_owned();
        let mut next = || from_hex(lines.next().unwrap_or_default());
        Ok(Wrapped { kid, ciphertext: next()?, iv: next()?, tag: next()? })
    }

    fn client(
        &self,
        verb: &str,
        ca_pem: &str,
        kid: &str,
        algorithm: &str,
        given: &[&[u8]],
    ) -> io::Result<String> {
        // Not by arguments, which every user of the computer may read.
        let given: String = given.iter().map(|bytes| hex(bytes) + "\n").collect();
        self.script("client.py", ca_pem).run(&[verb, kid, algorithm], &given)
    }

    fn script(&self, name: &str, ca_pem: &str) -> Script {
        Script::new(&self.interpreter, &["azure", name]).env("ENVELOPE_TEST_AZURE_CA_PEM", ca_pem)
    }
}
