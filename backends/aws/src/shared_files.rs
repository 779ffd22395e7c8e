//! AWS's own files, which choose endpoints, roles and programs to run
//! (`credential_process`), and hold secrets: they are used only if nobody but
//! their owner can have written them.

use std::{
    env,
    path::{Path, PathBuf},
};

use envelope_files::trust::{self, Purpose, TrustError};
use envelope_sdk::{ProviderError, ProviderErrorKind::Invalid};

use crate::error::failure;

/// Refuses files that [`trust`] does not trust. Those that are not there need no
/// trust. The SDK opens them by name afterwards: by then nobody else can exchange
/// them, since no folder on the way is theirs.
///
/// # Errors
///
/// Of kind [`Invalid`], with the [`TrustError`] as its source.
pub(crate) fn check() -> Result<(), ProviderError> {
    let home = env::var("HOME").ok();
    for (variable, name, purpose) in [
        ("AWS_CONFIG_FILE", "config", Purpose::Settings),
        ("AWS_SHARED_CREDENTIALS_FILE", "credentials", Purpose::Secret),
    ] {
        let path = shared_file(env::var(variable).ok(), home.as_deref(), name);
        // Both mean that there is none.
        if path.as_os_str().is_empty() || path == Path::new("/dev/null") {
            continue;
        }
        let hint = format!("; where it is not needed, {variable}=/dev/null leaves it out");
        check_file(&path, purpose, &hint)?;
    }
    #[cfg(feature = "sso")]
    if let Some(home) = &home {
        check_sso_tokens(Path::new(home))?;
    }
    Ok(())
}

fn check_file(path: &Path, purpose: Purpose, hint: &str) -> Result<(), ProviderError> {
    // First as settings, which a pipe cannot be: a secret may come by a pipe, whose one reader must be the SDK.
    let trusted = trust::open(path, Purpose::Settings).and_then(|_| match purpose {
        Purpose::Secret => trust::open(path, purpose).map(drop),
        _ => Ok(()),
    });
    match trusted {
        Err(error) if !error.is_not_found() => Err(refusal(error, hint)),
        _ => Ok(()),
    }
}

fn refusal(error: TrustError, hint: &str) -> ProviderError {
    failure(Invalid, None, format!("{error}{hint}")).with_source(error)
}

/// Where the SDK reads it: to it a variable that is not UTF-8 is none, and `~`
/// is a folder of this name where there is no home.
fn shared_file(named: Option<String>, home: Option<&str>, name: &str) -> PathBuf {
    let path = named.map_or_else(|| Path::new("~/.aws").join(name), PathBuf::from);
    match (path.strip_prefix("~"), home) {
        (Ok(beyond), Some(home)) => Path::new(home).join(beyond),
        _ => path,
    }
}

/// The tokens that `aws sso login` left: the SDK reads those whose name is the
/// SHA-1 of a session's name or start URL.
#[cfg(feature = "sso")]
fn check_sso_tokens(home: &Path) -> Result<(), ProviderError> {
    let folder = home.join(".aws/sso/cache");
    let failed = |source| refusal(TrustError::Open { path: folder.clone(), source }, "");
    let is_token = |path: &Path| {
        let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
        path.extension().is_some_and(|extension| extension == "json")
            && stem.len() == 40
            && stem.bytes().all(|byte| byte.is_ascii_hexdigit())
    };
    let entries = match std::fs::read_dir(&folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        entries => entries.map_err(failed)?,
    };
    for entry in entries {
        let path = entry.map_err(failed)?.path();
        if is_token(&path) {
            check_file(&path, Purpose::Secret, "; or remove it, and log in with `aws sso login` again")?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_where_the_sdk_reads_them() {
        let of = |named: Option<&str>, home| shared_file(named.map(str::to_owned), home, "config");
        assert_eq!(of(None, Some("/home/a")), Path::new("/home/a/.aws/config"));
        assert_eq!(of(None, None), Path::new("~/.aws/config"));
        assert_eq!(of(Some("~/x"), Some("/home/a")), Path::new("/home/a/x"));
        assert_eq!(of(Some("/etc/x"), Some("/home/a")), Path::new("/etc/x"));
        assert_eq!(of(Some(""), Some("/home/a")), Path::new(""));
    }
}
