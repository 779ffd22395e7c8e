//! The stand-in for Azure Key Vault and Managed HSM as a process of its own, for
//! clients that are not written in Rust and for the command line:
//!
//! ```text
//! azure-kms-server CA_FILE [ADDRESS_FILE]
//! ```
//!
//! Writes the certificate that clients are to trust to `CA_FILE`, `127.0.0.1:PORT` to
//! `ADDRESS_FILE`, or to standard output, and serves until it is stopped.

use std::{
    env, fs,
    io::{self, Write as _},
    path::PathBuf,
    thread,
};

use envelope_testkit::azure_server::AzureServer;

fn main() -> io::Result<()> {
    let mut arguments = env::args_os().skip(1).map(PathBuf::from);
    let Some(ca) = arguments.next() else {
        return Err(io::Error::other("usage: azure-kms-server CA_FILE [ADDRESS_FILE]"));
    };
    let azure = AzureServer::new();
    azure.write_ca(ca)?;
    let address = azure.serve().address().to_string();
    match arguments.next() {
        None => writeln!(io::stdout(), "{address}")?,
        Some(file) => {
            // Whoever waits for the file shall find it whole.
            let unfinished = file.with_extension("unfinished");
            fs::write(&unfinished, address)?;
            fs::rename(unfinished, file)?;
        }
    }
    loop {
        thread::park();
    }
}
