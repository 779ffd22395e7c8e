//! 32 secret bytes on the heap, wiped when dropped.

use core::fmt;

use subtle::ConstantTimeEq;
use zeroize::Zeroize;

use super::{Engine, RandomError};

/// A 256-bit key.
///
/// Boxed, so that moving it leaves no copies on the stack; zeroized on drop;
/// compared in constant time. It is neither `Clone` nor printable: its
/// [`Debug`](fmt::Debug) shows the type's name alone.
pub struct Key256(Box<[u8; 32]>);

impl Key256 {
    /// A fresh key from the operating system's generator.
    ///
    /// # Errors
    ///
    /// [`RandomError`] when the system has no randomness to give.
    pub fn generate<E: Engine>() -> Result<Self, RandomError> {
        Self::fill_with(|bytes| E::fill_random(bytes))
    }

    /// A key written in place by `fill`, so that no copy of it is left where
    /// it was made.
    ///
    /// # Errors
    ///
    /// Whatever `fill` returns; what it wrote is wiped then.
    pub fn fill_with<R>(fill: impl FnOnce(&mut [u8; 32]) -> Result<(), R>) -> Result<Self, R> {
        let mut key = Self(Box::new([0; 32]));
        fill(&mut key.0)?;
        Ok(key)
    }

    /// Copies a key from `bytes`. Wiping `bytes` stays with the caller.
    #[must_use]
    pub fn copy_from(bytes: &[u8; 32]) -> Self {
        let mut key = Self(Box::new([0; 32]));
        key.0.copy_from_slice(bytes);
        key
    }

    /// The key itself: do not copy it, print it or keep it.
    #[must_use]
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }
}

impl Drop for Key256 {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl ConstantTimeEq for Key256 {
    fn ct_eq(&self, other: &Self) -> subtle::Choice {
        self.0.as_slice().ct_eq(other.0.as_slice())
    }
}

impl fmt::Debug for Key256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key256(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_of_a_key_shows_no_byte_of_it() {
        let key = Key256::copy_from(&[0xA7; 32]);
        assert_eq!(format!("{key:?}"), "Key256(..)");
    }

    #[test]
    fn keys_compare_by_all_their_bytes() {
        let one = Key256::copy_from(&[1; 32]);
        let mut other = [1; 32];
        assert!(bool::from(one.ct_eq(&Key256::copy_from(&other))));
        other[31] = 2;
        assert!(!bool::from(one.ct_eq(&Key256::copy_from(&other))));
    }
}
