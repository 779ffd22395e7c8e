//! Google's own client of Cloud KMS, written in Python: an opinion on what this
//! project's client sends and takes that nobody here wrote.

use std::{
    ffi::OsStr,
    io::{self, Write as _},
    path::PathBuf,
    process::{Command, Output, Stdio},
};

use crate::servers;

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
        self.run("scenarios.py", &[url], "")
    }

    fn client(&self, verb: &str, url: &str, name: &str, aad: &[u8], data: &[u8]) -> io::Result<String> {
        // Not by arguments, which every user of the computer may read.
        let given = format!("{}\n{}\n", hex(aad), hex(data));
        self.run("client.py", &[verb, url, name], &given)
    }

    fn run(&self, script: &str, arguments: &[&str], given: &str) -> io::Result<String> {
        let path: PathBuf = [env!("CARGO_MANIFEST_DIR"), "gcp", script].iter().collect();
        let arguments = [path.as_os_str()].into_iter().chain(arguments.iter().map(OsStr::new));
        let mut child = Command::new(&self.interpreter)
            // No compiled scripts in the source tree.
            .arg("-B")
            .args(arguments)
            // What the network of this computer is reached by is nothing to loopback.
            .env("no_proxy", "127.0.0.1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        if let Some(mut stdin) = child.stdin.take() {
            stdin.write_all(given.as_bytes())?;
        }
        let Output { status, stdout, stderr } = child.wait_with_output()?;
        let (said, complained) = (String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
        if status.success() {
            Ok(said.trim_end().to_owned())
        } else {
            Err(io::Error::other(format!("{said}{complained}").trim_end().to_owned()))
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn from_hex(text: &str) -> io::Result<Vec<u8>> {
    let wrong = || io::Error::new(io::ErrorKind::InvalidData, "the client did not write hex");
    let pair = |start: usize| text.get(start..start + 2).and_then(|pair| u8::from_str_radix(pair, 16).ok());
    (0..text.len()).step_by(2).map(|start| pair(start).ok_or_else(wrong)).collect()
}
