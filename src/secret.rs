//! Secrets of one line, passphrases and PINs: how one is read, and who is asked
//! for one ([`Secrets`]).

use std::io::{self, Read};

use zeroize::Zeroizing;

use crate::{ProviderErrorKind, whole_io::read_some};

/// Where key stores get the secrets that open them: a program implements it once
/// for all of them. Secrets go by names, such as `passphrase`,
/// `keystore-passphrase` or `pkcs11-pin`; each key store documents its own.
///
/// Either method may block: key stores call them where that is right. Calls may
/// overlap, on several threads: several keys are used at once. Who asks a person asks one thing
/// after the other; `envelope-providers` sees to that for what it is given.
pub trait Secrets: Send + Sync {
    /// The secret of this name that was given beforehand: with the call, in the
    /// environment, by a file. `None` if it was not.
    ///
    /// # Errors
    ///
    /// [`SecretError`] when it was given and cannot be read.
    fn given(&self, name: &str) -> Result<Option<Zeroizing<String>>, SecretError>;

    /// Whether the secret of this name was [`given`](Self::given), and is not empty. One that cannot be read was given all the
    /// same: its error is told when it is used.
    fn is_given(&self, name: &str) -> bool {
        match self.given(name) {
            Ok(given) => given.is_some_and(|secret| !secret.is_empty()),
            Err(_) => true,
        }
    }

    /// Asks a person for the secret of this name.
    ///
    /// # Errors
    ///
    /// [`SecretError`] when there is nobody to ask, or no answer.
    fn ask(&self, name: &str, prompt: &Prompt<'_>) -> Result<Zeroizing<String>, SecretError>;
}

/// How a person is asked for a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Prompt<'p> {
    /// What is asked for, such as `Passphrase of the keystore /srv/keys.json`,
    /// without a colon. Names in it may be others' words: escape them.
    pub text: &'p str,
    /// Ask twice and compare: a typing error would be found too late.
    pub twice: bool,
}

impl<'p> Prompt<'p> {
    /// Asks once.
    #[must_use]
    pub fn once(text: &'p str) -> Self {
        Self { text, twice: false }
    }

    /// Asks twice and compares.
    #[must_use]
    pub fn twice(text: &'p str) -> Self {
        Self { text, twice: true }
    }
}

/// Why there is no secret. Nothing of a secret is in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct SecretError {
    kind: ProviderErrorKind,
    message: String,
    hint: Option<String>,
}

impl SecretError {
    /// An error: what is wrong and what to do. [`ProviderErrorKind::Invalid`]
    /// where the call's words are wrong or nobody gave the secret.
    #[must_use]
    pub fn new(kind: ProviderErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), hint: None }
    }

    /// Says what the program's user may do.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// What the program's user may do.
    #[must_use]
    pub fn hint(&self) -> Option<&str> {
        self.hint.as_deref()
    }

    /// What it means for who needed the secret.
    #[must_use]
    pub fn kind(&self) -> ProviderErrorKind {
        self.kind
    }
}

/// Gives no secret: for programs whose key stores need none.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoSecrets;

impl Secrets for NoSecrets {
    fn given(&self, _name: &str) -> Result<Option<Zeroizing<String>>, SecretError> {
        Ok(None)
    }

    fn ask(&self, name: &str, _prompt: &Prompt<'_>) -> Result<Zeroizing<String>, SecretError> {
        let message = format!("the secret {name} is needed, and this program gives none");
        Err(SecretError::new(ProviderErrorKind::Invalid, message))
    }
}

/// Most bytes of such a line, without its end: 64 KiB. What is longer is another
/// kind of file.
pub const MAX_LINE_LEN: usize = 64 * 1024;

/// Reads one line, without its end (`\n` or `\r\n`) or up to the end of the
/// input, and not a byte more: what follows the line belongs to somebody else,
/// as in `(echo "$passphrase"; cat data) | …`. So it reads one byte at a time;
/// give it no buffered reader that goes on elsewhere.
///
/// ```
/// let mut input = &b"correct horse\ndata"[..];
/// assert_eq!(*envelope_sdk::secret::read_line(&mut input)?, "correct horse");
/// assert_eq!(input, b"data");
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # Errors
///
/// What the reader says; [`io::ErrorKind::InvalidData`] when the line is longer
/// than [`MAX_LINE_LEN`] or not UTF-8. No error repeats a byte of it.
pub fn read_line(input: &mut impl Read) -> io::Result<Zeroizing<String>> {
    // Never grown: a buffer that moves leaves a copy behind.
    let mut line = Zeroizing::new(Vec::with_capacity(MAX_LINE_LEN + 1));
    let mut byte = Zeroizing::new([0]);
    loop {
        match read_some(input, byte.as_mut_slice())? {
            0 => break,
            _ if byte[0] == b'\n' => break,
            // Room for the `\r` of an end of two bytes.
            _ if line.len() > MAX_LINE_LEN => return Err(invalid("the line is longer than 64 KiB")),
            _ => line.push(byte[0]),
        }
    }
    let text = line.strip_suffix(b"\r").unwrap_or(&line);
    if text.len() > MAX_LINE_LEN {
        return Err(invalid("the line is longer than 64 KiB"));
    }
    let text = std::str::from_utf8(text).map_err(|_| invalid("the line is not UTF-8"))?;
    Ok(Zeroizing::new(text.to_owned()))
}

fn invalid(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_follows_the_line_is_not_swallowed() {
        let mut input = &b"one\r\ntwo\nthree"[..];
        assert_eq!(*read_line(&mut input).unwrap(), "one");
        assert_eq!(input, b"two\nthree");
        assert_eq!(*read_line(&mut input).unwrap(), "two");
        assert_eq!(*read_line(&mut input).unwrap(), "three");
        assert_eq!(*read_line(&mut input).unwrap(), "");
    }

    #[test]
    fn a_line_of_64_kib_is_read_and_a_longer_one_refused() {
        for end in ["", "\n", "\r\n"] {
            let longest = format!("{}{end}", "x".repeat(MAX_LINE_LEN));
            assert_eq!(read_line(&mut longest.as_bytes()).unwrap().len(), MAX_LINE_LEN);
            let longer = format!("x{longest}");
            let error = read_line(&mut longer.as_bytes()).unwrap_err();
            assert_eq!(error.to_string(), "the line is longer than 64 KiB");
        }
    }

    #[test]
    fn a_reader_that_says_it_gave_more_than_was_asked_for_gives_no_secret() {
        struct Lies;
        impl Read for Lies {
            fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
                out.fill(b'x');
                Ok(out.len() + 7)
            }
        }
        let error = read_line(&mut Lies).unwrap_err();
        assert_eq!(error.to_string(), "8 bytes were reported as done where 1 were asked for");
    }

    #[test]
    fn a_line_that_is_not_text_is_refused_without_repeating_it() {
        let error = read_line(&mut &b"sec\xffret\n"[..]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        assert_eq!(error.to_string(), "the line is not UTF-8");
    }
}
