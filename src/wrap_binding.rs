//! What the wraps of our own backends are bound to.

use crate::{
    FullContext, KeyUri, ProviderError, ProviderErrorKind, WrappedDek,
    format::{LABEL, Suite},
    wire::put_str16,
};

/// What a wrap by the local keystore or a passphrase is bound to: suite, the
/// recipient's own key URI and version, and the context.
///
/// For backends that wrap with [`xaes`](crate::crypto::xaes) or
/// [`cobblestone`](crate::crypto::cobblestone).
///
/// # Errors
///
/// [`ProviderError`] of kind [`ProviderErrorKind::Protocol`] when the key version is longer than
/// [`WrappedDek::MAX_VERSION_LEN`]: no header could hold it.
pub fn wrap_binding(
    key_uri: &KeyUri,
    key_version: &str,
    context: &FullContext,
) -> Result<Vec<u8>, ProviderError> {
    if key_version.len() > WrappedDek::MAX_VERSION_LEN {
        let message = "the key version is longer than 512 bytes";
        return Err(ProviderError::new(ProviderErrorKind::Protocol, "core", key_uri, message));
    }
    let names = key_uri.as_str().len() + key_version.len();
    let mut binding = Vec::with_capacity(LABEL.len() + 7 + names + context.as_bytes().len());
    binding.extend_from_slice(LABEL);
    binding.extend(Suite::V1.id().to_be_bytes());
    binding.push(KIND_WRAP);
    put_str16(&mut binding, key_uri.as_str());
    put_str16(&mut binding, key_version);
    binding.extend_from_slice(context.as_bytes());
    Ok(binding)
}

const KIND_WRAP: u8 = 3;
