//! A program that tells a token: what Vault's command line calls a token helper.
//! <https://developer.hashicorp.com/vault/docs/commands/token-helper>.
//!
//! It is run only if the settings name it by an absolute path. What `~/.vault` names is not
//! run: whoever writes that file would choose a program.
//!
//! It reads no standard input, which is the caller's, its words have an end, and with the call that waits for it, it ends
//! too, and what it began.

use std::{io, path::Path, process::Stdio, time::Duration};

use envelope_sdk::{ProviderError, ProviderErrorKind::Invalid, printable};
use tokio::{
    io::AsyncReadExt,
    process::{Child, Command},
    time::timeout,
};
use zeroize::Zeroizing;

use crate::failure::failure;

/// Refuses a program that is not to be run.
pub(crate) fn check(path: &Path, trusted: bool) -> Result<(), ProviderError> {
    if !path.is_absolute() {
        return Err(refusal(path, "is not run: name it by an absolute path"));
    }
    #[cfg(unix)]
    if trusted {
        use envelope_files::trust::{self, Purpose};
        trust::open(path, Purpose::Code)
            .map_err(|error| failure(Invalid, None, error.to_string()).with_source(error))?;
    }
    let _ = trusted;
    Ok(())
}

/// The token. The program is ended if it runs too long, or nobody waits for it any more.
pub(crate) async fn run(path: &Path) -> Result<Zeroizing<String>, ProviderError> {
    let mut command = Command::new(path);
    command.arg("get").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    // What it starts is of one group with it.
    #[cfg(unix)]
    command.process_group(0);
    let child = command.kill_on_drop(true).spawn();
    let mut child = child.map_err(|error| refusal(path, &format!("cannot be run: {error}")))?;
    // Made after the child, and so dropped before it: until the child was waited for, no other group has its number.
    let group = Group::of(&child);
    let failed = || refusal(path, &format!("failed, or took longer than {} seconds", LONGEST.as_secs()));
    let said = timeout(LONGEST, hear(&mut child)).await.map_err(|_| failed())?.map_err(|_| failed())?;
    let Some(bytes) = said else { return Err(refusal(path, "told what is no token")) };
    group.forget();
    match std::str::from_utf8(&bytes).map(str::trim) {
        Err(_) => Err(refusal(path, "told what is no token")),
        Ok("") => Err(refusal(path, "has no token: log in")),
        Ok(text) => Ok(Zeroizing::new(text.to_owned())),
    }
}

/// What it says, if that is not too much, and if it ends well.
async fn hear(child: &mut Child) -> io::Result<Option<Zeroizing<Vec<u8>>>> {
    // It never grows, which would leave a copy behind that is not wiped.
    let mut bytes = Zeroizing::new(Vec::with_capacity(2 * MAX_LEN));
    if let Some(said) = child.stdout.take() {
        said.take(MAX_LEN as u64 + 1).read_to_end(&mut bytes).await?;
    }
    if bytes.len() > MAX_LEN {
        return Ok(None);
    }
    let status = child.wait().await?;
    if status.success() { Ok(Some(bytes)) } else { Err(io::ErrorKind::Other.into()) }
}

fn refusal(path: &Path, why: &str) -> ProviderError {
    failure(Invalid, None, format!("the token helper {} {why}", printable::path(path)))
}

/// The processes that a child began, which end when it is dropped.
struct Group(Option<u32>);

impl Group {
    fn of(child: &Child) -> Self {
        Self(child.id())
    }

    /// Of one whose first process has ended the number may be another group's.
    fn forget(mut self) {
        self.0 = None;
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        #[cfg(unix)]
        if let Some(group) =
            self.0.and_then(|id| i32::try_from(id).ok()).and_then(rustix::process::Pid::from_raw)
        {
            // One that is gone already needs none.
            let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        }
    }
}

const LONGEST: Duration = Duration::from_secs(10);
const MAX_LEN: usize = 64 * 1024;
