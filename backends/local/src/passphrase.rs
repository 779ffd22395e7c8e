//! A passphrase in memory.

use std::fmt;

use zeroize::Zeroizing;

/// A passphrase: 1 to 4096 bytes of UTF-8.
///
/// Zeroized on drop, neither `Clone` nor printable: its
/// [`Debug`](fmt::Debug) shows the type's name alone.
///
/// The bytes are used exactly as given. Nothing is normalised or trimmed: `é`
/// typed as one code point and as `e` with a combining accent are two different
/// passphrases, and so are a passphrase with and without a line end. Whoever
/// reads one from a terminal or a file removes the line end first.
pub struct Passphrase(Zeroizing<String>);

impl Passphrase {
    /// Most bytes of a passphrase.
    pub const MAX_LEN: usize = 4096;

    /// Takes a passphrase. `text` is wiped also when it is refused.
    ///
    /// The caller should have read it into a string with enough capacity: a
    /// string that grows leaves copies behind that nobody can wipe.
    ///
    /// # Errors
    ///
    /// [`PassphraseError`] when it is empty or longer than
    /// [`MAX_LEN`](Self::MAX_LEN) bytes.
    pub fn new(text: String) -> Result<Self, PassphraseError> {
        let text = Zeroizing::new(text);
        match text.len() {
            0 => Err(PassphraseError::Empty),
            1..=Self::MAX_LEN => Ok(Self(text)),
            _ => Err(PassphraseError::TooLong),
        }
    }

    pub(crate) fn expose(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Passphrase(..)")
    }
}

/// A passphrase that is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PassphraseError {
    /// It has no bytes.
    #[error("the passphrase is empty")]
    Empty,
    /// It has more than [`Passphrase::MAX_LEN`] bytes.
    #[error("the passphrase is longer than 4096 bytes")]
    TooLong,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_passphrase_is_refused() {
        assert_eq!(Passphrase::new(String::new()).unwrap_err(), PassphraseError::Empty);
    }

    #[test]
    fn a_passphrase_longer_than_4096_bytes_is_refused() {
        assert!(Passphrase::new("x".repeat(4096)).is_ok());
        assert_eq!(Passphrase::new("x".repeat(4097)).unwrap_err(), PassphraseError::TooLong);
    }

    #[test]
    fn debug_of_a_passphrase_shows_nothing_of_it() {
        let passphrase = Passphrase::new("hunter2".into()).unwrap();
        assert_eq!(format!("{passphrase:?}"), "Passphrase(..)");
    }

    #[test]
    fn a_passphrase_is_its_exact_bytes() {
        let passphrase = Passphrase::new(" e\u{301}\n".into()).unwrap();
        assert_eq!(passphrase.expose(), b" e\xCC\x81\n");
    }
}
