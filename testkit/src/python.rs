//! Scripts of this package in Python, run by an interpreter that a test was given.

use std::{
    io::{self, Write as _},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

/// A script about to be run.
pub(crate) struct Script(Command);

impl Script {
    /// The script at `parts` in this package.
    pub(crate) fn new(interpreter: &Path, parts: &[&str]) -> Self {
        let path: PathBuf = [env!("CARGO_MANIFEST_DIR")].iter().chain(parts).collect();
        let mut command = Command::new(interpreter);
        command
            // No compiled scripts in the source tree.
            .arg("-B")
            .arg(path)
            .env("PYTHONPATH", concat!(env!("CARGO_MANIFEST_DIR"), "/python"))
            // What the network of this computer is reached by is nothing to loopback.
            .env("no_proxy", "127.0.0.1,localhost,.localhost");
        Self(command)
    }

    /// With a variable of the environment.
    #[cfg(feature = "azure-server")]
    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.0.env(name, value);
        self
    }

    /// Runs it with `given` as standard input. Returns what it wrote to standard
    /// output; as an error all that it wrote, when it fails.
    pub(crate) fn run(mut self, arguments: &[&str], given: &str) -> io::Result<String> {
        let pipes =
            self.0.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = pipes.spawn()?;
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

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(crate) fn from_hex(text: &str) -> io::Result<Vec<u8>> {
    let wrong = || io::Error::new(io::ErrorKind::InvalidData, "the client did not write hex");
    let pair = |start: usize| text.get(start..start + 2).and_then(|pair| u8::from_str_radix(pair, 16).ok());
    (0..text.len()).step_by(2).map(|start| pair(start).ok_or_else(wrong)).collect()
}
