//! What an answer must hold. Plaintexts are read where they stand, in memory that is wiped.

use base64ct::{Base64, Encoding};
use envelope_sdk::{
    Dek, KeyUri, ProviderError,
    ProviderErrorKind::{Protocol, Unauthentic, Unsupported},
    WrappedDek,
};
use serde::Deserialize;

use super::{manner::Manner, text::Text};
use crate::{call::Answer, error::unreadable, failure::failure};

#[derive(Deserialize)]
struct Wrapped<'a> {
    ciphertext: &'a str,
    /// Servers of before 2020 do not tell it apart.
    key_version: Option<u32>,
}

#[derive(Deserialize)]
struct Opened<'a> {
    plaintext: &'a str,
}

/// A new wrap.
pub(super) fn wrapped(key: &KeyUri, manner: Manner, answer: &Answer) -> Result<WrappedDek, ProviderError> {
    let told: Wrapped<'_> = answer.data().ok_or_else(|| unreadable(key))?;
    wrap_of(key, manner, told.ciphertext, told.key_version)
}

/// The wrap of this text, if it is that of the version which is told.
pub(super) fn wrap_of(
    key: &KeyUri,
    manner: Manner,
    ciphertext: &str,
    version: Option<u32>,
) -> Result<WrappedDek, ProviderError> {
    let text = text(key, ciphertext)?;
    if version.is_some_and(|version| version != text.version) {
        return Err(unreadable(key));
    }
    WrappedDek::new(key.clone(), text.version.to_string(), manner.name(), text.whole.as_bytes().to_vec())
}

/// A new DEK, and its wrap.
pub(super) fn data_key(
    key: &KeyUri,
    manner: Manner,
    answer: &Answer,
) -> Result<(Dek, WrappedDek), ProviderError> {
    let wrapped = wrapped(key, manner, answer)?;
    let told: Opened<'_> = answer.data().ok_or_else(|| unreadable(key))?;
    let dek = dek(told.plaintext).ok_or_else(|| unreadable(key))?;
    Ok((dek, wrapped))
}

/// The DEK that was wrapped.
pub(super) fn opened(key: &KeyUri, answer: &Answer) -> Result<Dek, ProviderError> {
    let told: Opened<'_> = answer.data().ok_or_else(|| unreadable(key))?;
    opened_text(key, told.plaintext)
}

/// The same in a batch.
pub(super) fn opened_text(key: &KeyUri, plaintext: &str) -> Result<Dek, ProviderError> {
    if plaintext.is_empty() {
        return Err(unreadable(key));
    }
    // Wrong bytes in the wrap of another writer, not an answer that is broken.
    dek(plaintext).ok_or_else(|| failure(Unauthentic, key, "the plaintext is no DEK, which has 32 bytes"))
}

/// A ciphertext that an AEAD made of a DEK.
pub(super) fn text<'t>(key: &KeyUri, ciphertext: &'t str) -> Result<Text<'t>, ProviderError> {
    if let Some(text) = Text::read(ciphertext) {
        return Ok(text);
    }
    let is_long = ciphertext.starts_with("vault:v")
        && RSA_LENS.contains(&ciphertext.rsplit(':').next().unwrap_or_default().len());
    Err(if is_long {
        failure(
            Unsupported,
            key,
            "the key is of RSA, which wraps nothing here: use aes256-gcm96 or chacha20-poly1305",
        )
    } else {
        failure(
            Protocol,
            key,
            "the server answered with what is no wrapped DEK of Transit: do not trust what stands between",
        )
    })
}

fn dek(base64: &str) -> Option<Dek> {
    Dek::fill_with(|dek| match Base64::decode(base64, dek) {
        Ok(bytes) if bytes.len() == Dek::LEN => Ok(()),
        _ => Err(()),
    })
    .ok()
}

/// Of base64, with 2048, 3072 and 4096 bits.
const RSA_LENS: [usize; 3] = [344, 512, 684];
