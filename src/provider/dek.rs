//! [`Dek`]: what a provider wraps.

use std::fmt;

use subtle::ConstantTimeEq;

use crate::crypto::{Engine, Key256, RandomError};

/// A data-encryption key: 32 random bytes, one per envelope or data key.
///
/// Zeroized on drop, compared in constant time, neither `Clone` nor printable.
pub struct Dek(Key256);

impl Dek {
    /// Bytes of a DEK.
    pub const LEN: usize = 32;

    /// A fresh DEK from the operating system's generator.
    ///
    /// # Errors
    ///
    /// [`RandomError`] when the system has no randomness to give.
    pub fn generate<E: Engine>() -> Result<Self, RandomError> {
        Key256::generate::<E>().map(Self)
    }

    /// A DEK that `fill` writes in place, so that no copy is left elsewhere.
    ///
    /// # Errors
    ///
    /// Whatever `fill` returns.
    pub fn fill_with<R>(fill: impl FnOnce(&mut [u8; 32]) -> Result<(), R>) -> Result<Self, R> {
        Key256::fill_with(fill).map(Self)
    }

    /// Copies a DEK that a KMS returned. Wiping `bytes` stays with the caller.
    ///
    /// # Errors
    ///
    /// [`DekLengthError`] when there are not exactly 32 bytes.
    pub fn from_slice(bytes: &[u8]) -> Result<Self, DekLengthError> {
        let bytes: &[u8; 32] = bytes.try_into().map_err(|_| DekLengthError { actual: bytes.len() })?;
        Ok(Self(Key256::copy_from(bytes)))
    }

    /// The DEK itself: for wrapping only.
    #[must_use]
    pub fn expose(&self) -> &[u8; 32] {
        self.0.expose()
    }
}

impl ConstantTimeEq for Dek {
    fn ct_eq(&self, other: &Self) -> subtle::Choice {
        self.0.ct_eq(&other.0)
    }
}

impl fmt::Debug for Dek {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Dek(..)")
    }
}

/// What came back as a DEK does not have 32 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a DEK has 32 bytes, not {actual}")]
pub struct DekLengthError {
    /// How many there were.
    pub actual: usize,
}
