//! A program that tells a token: what Vault's command line calls a token helper.
//! <https://developer.hashicorp.com/vault/docs/commands/token-helper>.
//!
//! It is run only if the settings name it by an absolute path. What `~/.vault` names is not
//! run: whoever writes that file would choose a program.

use std::{
    io::Read,
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use envelope_sdk::{ProviderError, ProviderErrorKind::Invalid, printable};
use zeroize::Zeroizing;

use crate::failure::failure;

/// The token. Blocks as long as the program runs, and ends it if that is too long.
pub(crate) fn run(path: &Path, trusted: bool) -> Result<Zeroizing<String>, ProviderError> {
    let refuse =
        |why: String| failure(Invalid, None, format!("the token helper {} {why}", printable::path(path)));
    if !path.is_absolute() {
        return Err(refuse("is not run: name it by an absolute path".to_owned()));
    }
    #[cfg(unix)]
    if trusted {
        use envelope_files::trust::{self, Purpose};
        trust::open(path, Purpose::Code)
            .map_err(|error| failure(Invalid, None, error.to_string()).with_source(error))?;
    }
    let _ = trusted;
    let mut child = Command::new(path)
        .arg("get")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| refuse(format!("cannot be run: {error}")))?;
    let Some(said) = child.stdout.take() else { return Err(refuse("says nothing".to_owned())) };
    // On a thread of its own: a helper that neither speaks nor ends would be waited for.
    let reading = thread::spawn(move || {
        let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_LEN + 1));
        let read = said.take(MAX_LEN as u64 + 1).read_to_end(&mut bytes);
        read.is_ok().then_some(bytes)
    });
    if !wait(&mut child) {
        return Err(refuse(format!("failed, or took longer than {} seconds", LONGEST.as_secs())));
    }
    let bytes = reading.join().ok().flatten().filter(|bytes| bytes.len() <= MAX_LEN);
    let text = bytes.as_ref().and_then(|bytes| std::str::from_utf8(bytes).ok()).map(str::trim);
    match text {
        None => Err(refuse("told what is no token".to_owned())),
        Some("") => Err(refuse("has no token: log in".to_owned())),
        Some(text) => Ok(Zeroizing::new(text.to_owned())),
    }
}

/// Whether it ended well, in time.
fn wait(child: &mut Child) -> bool {
    let start = Instant::now();
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return status.success(),
            Ok(None) if start.elapsed() < LONGEST => thread::sleep(STEP),
            _ => {
                // Gone already, or it is ended now; either way it is not believed.
                let _ = child.kill();
                let _ = child.wait();
                return false;
            }
        }
    }
}

const LONGEST: Duration = Duration::from_secs(10);
const STEP: Duration = Duration::from_millis(5);
const MAX_LEN: usize = 64 * 1024;
