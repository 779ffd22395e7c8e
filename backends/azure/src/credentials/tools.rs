//! The developer tools, `az` and then `azd`, as Microsoft's client runs them; but for what a
//! tool may do here: it reads no standard input, which is the caller's, its words have an
//! end, and with the call that waits for it, it ends too, or with this process, however that ends.

use std::{
    ffi::OsStr,
    fmt, io,
    process::{Output, Stdio},
    sync::Arc,
};

use async_trait::async_trait;
use azure_core::credentials::{AccessToken, TokenCredential, TokenRequestOptions};
use azure_identity::{
    AzureCliCredential, AzureCliCredentialOptions, AzureDeveloperCliCredential,
    AzureDeveloperCliCredentialOptions, Executor,
};
use envelope_sdk::http::MAX_ANSWER_LEN;
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    process::{Child, Command},
};

/// The tools, in Microsoft's order, for one tenant or that of whoever is logged in:
/// Microsoft's own chain takes no tenant.
pub(super) struct Tools {
    az: Arc<dyn TokenCredential>,
    azd: Arc<dyn TokenCredential>,
}

impl Tools {
    pub(super) fn new(tenant_id: Option<String>) -> azure_core::Result<Self> {
        let executor = || Some(Arc::new(Guarded) as _);
        let az = AzureCliCredentialOptions {
            tenant_id: tenant_id.clone(),
            executor: executor(),
            ..Default::default()
        };
        let azd = AzureDeveloperCliCredentialOptions { tenant_id, executor: executor() };
        Ok(Self { az: AzureCliCredential::new(Some(az))?, azd: AzureDeveloperCliCredential::new(Some(azd))? })
    }
}

impl fmt::Debug for Tools {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tools")
    }
}

#[async_trait]
impl TokenCredential for Tools {
    async fn get_token(
        &self,
        scopes: &[&str],
        options: Option<TokenRequestOptions<'_>>,
    ) -> azure_core::Result<AccessToken> {
        match self.az.get_token(scopes, options.clone()).await {
            Ok(token) => Ok(token),
            Err(_) => self.azd.get_token(scopes, options).await,
        }
    }
}

/// Runs a tool for as long as somebody waits for it.
#[derive(Debug)]
struct Guarded;

#[async_trait]
impl Executor for Guarded {
    async fn run(&self, program: &OsStr, args: &[&OsStr]) -> io::Result<Output> {
        let mut command = command(program, args);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.kill_on_drop(true).spawn()?;
        let (out, err) = (child.stdout.take(), child.stderr.take());
        let _lifeline = child.stdin.take();
        // Made after the child, and so dropped before it: until the child was waited for, no other group has its number.
        let group = Group::of(&child);
        let (stdout, stderr) = tokio::try_join!(read(out), read(err))?;
        let status = child.wait().await?;
        group.forget();
        Ok(Output { status, stdout, stderr })
    }
}

/// A shell runs the tool, which is a script that runs another program. All of them are one group, which no
/// signal of a terminal reaches: so another shell stands by, which ends it when this process does.
#[cfg(unix)]
fn command(program: &OsStr, args: &[&OsStr]) -> Command {
    let mut command = Command::new("/bin/sh");
    command.args(["-c", WITH_A_LIFELINE, "sh"]).arg(program).args(args);
    command.stdin(Stdio::piped()).process_group(0);
    command
}

#[cfg(not(unix))]
fn command(program: &OsStr, args: &[&OsStr]) -> Command {
    let mut command = Command::new(program);
    command.args(args).stdin(Stdio::null());
    command
}

async fn read(from: Option<impl AsyncRead + Unpin>) -> io::Result<Vec<u8>> {
    let mut words = Vec::new();
    if let Some(from) = from {
        from.take(MAX_ANSWER_LEN as u64 + 1).read_to_end(&mut words).await?;
    }
    if words.len() > MAX_ANSWER_LEN {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    Ok(words)
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

/// Nothing is ever written to the standard input of this shell, and it has an end when whoever began it has.
/// The tool has another one, which is empty.
#[cfg(unix)]
const WITH_A_LIFELINE: &str = r#"exec 3<&0 </dev/null
{ read -r lifeline <&3; kill -KILL 0; } >/dev/null 2>&1 &
exec 3<&-
"$@"
ended=$?
kill -KILL $!
exit $ended"#;
