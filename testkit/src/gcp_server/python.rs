//! Google's own client of Cloud KMS, written in Python: an opinion on what this
//! project's client sends and takes that nobody here wrote.

use std::{io, path::PathBuf};

use crate::{
    python::{Script, from_hex, hex},
    servers,
};

/// An interpreter with the packages of `testkit/gcp/requirements.txt`.
#[derive(Debug, Clone)]
pub struct PythonClient {
    interpreter: PathBuf,
}

impl PythonClient {
    /// The one that `scripts/servers.d/gcp` installed. `None` when there is none,
    /// and the test is to be skipped: see [`servers::address`].
    #[must_use]
    pub fn installed() -> Option<Self> {
        servers::address("GCP_PYTHON").map(|path| Self { interpreter: path.into() })
    }

    /// Encrypts with the key `name` of the server at `url`. Returns the name of the
    /// version that did, and the ciphertext.
    ///
    /// # Errors
    ///
    /// What the client says, such as `NotFound: …`.
    pub fn wrap(&self, url: &str, name: &str, aad: &[u8], plaintext: &[u8]) -> io::Result<(String, Vec<u8>)> {
        let said = self.client("wrap", url, name, aad, plaintext)?;
        let (version, ciphertext) = said.split_once('\n').unwrap_or((&said, ""));
        Ok((version.to_owned(), from_hex(ciphertext)?))
    }

    /// Decrypts with the key `name` of the server at `url`.
    ///
    /// # Errors
    ///
    /// As [`wrap`](Self::wrap).
    pub fn unwrap(&self, url: &str, name: &str, aad: &[u8], ciphertext: &[u8]) -> io::Result<Vec<u8>> {
        from_hex(&self.client("unwrap", url, name, aad, ciphertext)?)
    }

    /// Runs the scenarios of `testkit/gcp/scenarios.py` against the server at
    /// `url`, whose clock they move.
    ///
    /// # Errors
    ///
    /// What they say, when one fails.
    pub fn scenarios(&self, url: &str) -> io::Result<String> {
        self.script("scenarios.py").run(&[url], "")
    }

    fn client(&self, verb: &str, url: &str, name: &str, aad: &[u8], data: &[u8]) -> io::Result<String> {
        // Not by arguments, which every user of the computer may read.
        let given = format!("{}\n{}\n", hex(aad), hex(data));
        self.script("client.py").run(&[verb, url, name], &given)
    }

    fn script(&self, name: &str) -> Script {
        Script::new(&self.interpreter, &["gcp", name])
    }
}
