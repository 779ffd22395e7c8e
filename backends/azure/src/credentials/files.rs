//! Files of secrets, tokens and certificates.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use async_trait::async_trait;
use azure_core::{Error, error::ErrorKind, http::ClientMethodOptions};
use azure_identity::ClientAssertion;
use envelope_sdk::{ProviderError, ProviderErrorKind::Invalid, crowd::Apart, printable};
use zeroize::Zeroizing;

use crate::failure::failure;

/// A file of a secret, or of a token that others may read but not write.
pub(super) fn read(path: &Path, trusted: bool, secret: bool) -> Result<Zeroizing<String>, ProviderError> {
    let unreadable = |why: &dyn fmt::Display| {
        let message = format!("the file {} cannot be used: {why}", printable::path(path));
        failure(Invalid, None, message)
    };
    #[cfg(unix)]
    if trusted {
        use envelope_files::trust::{self, Purpose};
        let purpose = if secret { Purpose::Secret } else { Purpose::Settings };
        let bytes = trust::read(path, purpose, MAX_LEN)
            .map(Zeroizing::new)
            .map_err(|error| failure(Invalid, None, error.to_string()).with_source(error))?;
        let text = std::str::from_utf8(&bytes).map_err(|error| unreadable(&error))?;
        return Ok(Zeroizing::new(text.to_owned()));
    }
    let _ = (trusted, secret);
    std::fs::read_to_string(path).map(Zeroizing::new).map_err(|error| unreadable(&error))
}

/// Of certificate authorities: no secret, but nobody else may write it.
pub(crate) fn read_roots(path: &Path, trusted: bool) -> Result<Vec<u8>, ProviderError> {
    read(path, trusted, false).map(|text| text.as_bytes().to_vec())
}

/// The token of a Kubernetes service account, which is renewed in its file.
pub(super) struct TokenFile {
    file: PathBuf,
    trusted: bool,
    reading: Apart<Result<Zeroizing<String>, ProviderError>>,
}

impl TokenFile {
    pub(super) fn new(file: PathBuf, trusted: bool) -> Self {
        Self { file, trusted, reading: Apart::default() }
    }
}

impl fmt::Debug for TokenFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenFile")
    }
}

#[async_trait]
impl ClientAssertion for TokenFile {
    async fn secret(&self, _: Option<ClientMethodOptions<'_>>) -> azure_core::Result<String> {
        let (file, trusted) = (self.file.clone(), self.trusted);
        let text = self.reading.join(move || read(&file, trusted, false)).await;
        let text = text.map_err(|error| Error::new(ErrorKind::Credential, error))?;
        Ok(text.map_err(|error| Error::new(ErrorKind::Credential, error))?.trim().to_owned())
    }
}

/// Most bytes of a file; a bundle of certificates of a platform has some 250 KiB.
#[cfg(unix)]
const MAX_LEN: u64 = 1024 * 1024;
