//! The stand-in for Google Cloud KMS as a process of its own, for clients that are
//! not written in Rust and for the command line:
//!
//! ```text
//! gcp-kms-server [ADDRESS_FILE]
//! ```
//!
//! Writes `http://127.0.0.1:PORT` to `ADDRESS_FILE`, or to standard output, and
//! serves until it is stopped.

use std::{
    env, fs,
    io::{self, Write as _},
    path::PathBuf,
    thread,
};

use envelope_testkit::gcp_server::GcpServer;

fn main() -> io::Result<()> {
    let server = GcpServer::new().serve();
    match env::args_os().nth(1).map(PathBuf::from) {
        None => writeln!(io::stdout(), "{}", server.url())?,
        Some(file) => {
            // Whoever waits for the file shall find it whole.
            let unfinished = file.with_extension("unfinished");
            fs::write(&unfinished, server.url())?;
            fs::rename(unfinished, file)?;
        }
    }
    loop {
        thread::park();
    }
}
