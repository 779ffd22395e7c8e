//! Files of tokens, of certificates and of sockets: what is read of them, and whose words they
//! may be.

use std::{fmt, fs::File, io::Read, path::Path};

use envelope_sdk::{ProviderError, ProviderErrorKind::Invalid, printable};
use zeroize::Zeroizing;

use crate::failure::failure;

/// The one line of a file that only its owner may read.
pub(crate) fn secret(path: &Path, trusted: bool) -> Result<Zeroizing<String>, ProviderError> {
    line(path, &read(path, trusted, true)?)
}

/// The one line of a file that others may read, but not write: of the token of a service
/// account.
pub(crate) fn token(path: &Path, trusted: bool) -> Result<Zeroizing<String>, ProviderError> {
    line(path, &read(path, trusted, false)?)
}

/// PEM, of keys (which only their owner may read) or of certificates.
pub(crate) fn pem(path: &Path, trusted: bool, is_secret: bool) -> Result<Zeroizing<Vec<u8>>, ProviderError> {
    read(path, trusted, is_secret)
}

fn line(path: &Path, bytes: &Zeroizing<Vec<u8>>) -> Result<Zeroizing<String>, ProviderError> {
    let text = std::str::from_utf8(bytes).map_err(|error| unreadable(path, &error))?.trim();
    if text.is_empty() {
        return Err(unreadable(path, &"it is empty"));
    }
    Ok(Zeroizing::new(text.to_owned()))
}

fn unreadable(path: &Path, why: &dyn fmt::Display) -> ProviderError {
    failure(Invalid, None, format!("the file {} cannot be used: {why}", printable::path(path)))
}

fn read(path: &Path, trusted: bool, is_secret: bool) -> Result<Zeroizing<Vec<u8>>, ProviderError> {
    let file = open(path, trusted, is_secret)?;
    // It never grows, which would leave a copy behind that is not wiped.
    let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_LEN + 1));
    file.take(MAX_LEN as u64 + 1).read_to_end(&mut bytes).map_err(|error| unreadable(path, &error))?;
    if bytes.len() > MAX_LEN {
        return Err(unreadable(path, &format!("it is longer than {MAX_LEN} bytes")));
    }
    Ok(bytes)
}

fn open(path: &Path, trusted: bool, is_secret: bool) -> Result<File, ProviderError> {
    #[cfg(unix)]
    if trusted {
        use envelope_files::trust::{self, Purpose};
        let purpose = if is_secret { Purpose::Secret } else { Purpose::Settings };
        return trust::open(path, purpose)
            .map_err(|error| failure(Invalid, None, error.to_string()).with_source(error));
    }
    let _ = (trusted, is_secret);
    File::open(path).map_err(|error| unreadable(path, &error))
}

/// The socket of an agent: it and each folder on the way to it belong to the user of this
/// process or to root, and nobody else can put another one in its place. The path without links.
#[cfg(unix)]
pub(crate) fn socket(path: &Path, trusted: bool) -> Result<std::path::PathBuf, ProviderError> {
    use std::os::unix::fs::{FileTypeExt, MetadataExt};

    let refuse = |why: &dyn fmt::Display| {
        let message = format!("the socket {} of the agent cannot be used: {why}", printable::path(path));
        failure(Invalid, None, message)
    };
    if !path.is_absolute() {
        return Err(refuse(&"its path must be absolute"));
    }
    let real = path.canonicalize().map_err(|error| refuse(&error))?;
    let found = real.symlink_metadata().map_err(|error| refuse(&error))?;
    if !found.file_type().is_socket() {
        return Err(refuse(&"it is none"));
    }
    if !trusted {
        return Ok(real);
    }
    let user = rustix::process::geteuid().as_raw();
    if ![0, user].contains(&found.uid()) {
        return Err(refuse(&"it belongs to another user"));
    }
    for folder in real.ancestors().skip(1) {
        let found = folder.symlink_metadata().map_err(|error| refuse(&error))?;
        // Of a sticky folder of root, such as /tmp, nobody can take away what is not theirs.
        let is_sticky = found.uid() == 0 && found.mode() & 0o1000 != 0;
        if ![0, user].contains(&found.uid()) || found.mode() & 0o022 != 0 && !is_sticky {
            let why = format!("others may write {}: chmod go-w it", printable::path(folder));
            return Err(refuse(&why));
        }
    }
    Ok(real)
}

/// Most bytes of a file; a bundle of certificates of a platform has some 250 KiB.
const MAX_LEN: usize = 1024 * 1024;
