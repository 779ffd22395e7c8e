//! The user PIN of a token, and where it comes from.

use std::{fmt, io::Read, path::PathBuf};

use cryptoki::types::AuthPin;
use envelope_files::{
    secret::{SecretSource, SecretSourceError},
    under_way,
};
use zeroize::Zeroizing;

use crate::selector::TokenSelector;

/// A PIN: 1 to 256 bytes of UTF-8.
///
/// Zeroized on drop, neither `Clone` nor printable: its
/// [`Debug`](fmt::Debug) shows the type's name alone.
pub struct Pin(Zeroizing<String>);

impl Pin {
    /// Most bytes of a PIN. Tokens have their own limit, which is less.
    pub const MAX_LEN: usize = 256;

    /// Takes a PIN. `text` is wiped, also when it is refused.
    ///
    /// # Errors
    ///
    /// [`PinError`] when it is empty or longer than [`MAX_LEN`](Self::MAX_LEN)
    /// bytes.
    pub fn new(text: String) -> Result<Self, PinError> {
        Self::of(Zeroizing::new(text))
    }

    pub(crate) fn of(text: Zeroizing<String>) -> Result<Self, PinError> {
        match text.len() {
            0 => Err(PinError::Empty),
            1..=Self::MAX_LEN => Ok(Self(text)),
            _ => Err(PinError::TooLong),
        }
    }

    /// A copy that is wiped after the login. It has exactly its length, so that
    /// boxing it moves nothing.
    pub(crate) fn to_auth(&self) -> AuthPin {
        AuthPin::from(self.0.as_str().to_owned())
    }
}

impl fmt::Debug for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pin(..)")
    }
}

/// Why there is no PIN.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PinError {
    /// It has no bytes.
    #[error("the PIN is empty")]
    Empty,
    /// It has more than [`Pin::MAX_LEN`] bytes.
    #[error("the PIN is longer than 256 bytes")]
    TooLong,
    /// The file, descriptor or environment variable cannot be read.
    #[error("{0}")]
    Source(#[from] SecretSourceError),
    /// Nobody gave one; the text says why.
    #[error("{0}")]
    NotGiven(String),
    /// A PIN that no person typed just now is not tried when few tries are left.
    #[error(
        "the token says that {0}, so a stored PIN is not tried: log in once with the right PIN typed by hand, here \
         or with the token's own tool"
    )]
    NotStored(PinTries),
}

/// What a token says of the tries that are left for its PIN, before one is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PinTries {
    /// As many as usual.
    All,
    /// A wrong PIN was tried since the last login (`CKF_USER_PIN_COUNT_LOW`).
    Few,
    /// The next wrong PIN locks it (`CKF_USER_PIN_FINAL_TRY`).
    Last,
}

/// Words for a warning; those of [`PinTries::All`] are none.
impl fmt::Display for PinTries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::All => "",
            Self::Few => "few tries are left before it locks",
            Self::Last => "the next wrong PIN locks it",
        })
    }
}

/// Where the PIN of a token comes from. It is asked for when somebody has to
/// log in, which is once, and again after the token was lost. It is never part
/// of a key URI.
///
/// When the token says that few tries are left, a PIN is tried only if somebody
/// gives it now: by [`ask`](Self::ask), or at the token's own
/// [PIN pad](Self::protected_path). A stored one may be what used up the others.
pub struct PinSource(Source);

enum Source {
    None,
    ProtectedPath,
    Stored(SecretSource),
    Ask(Box<dyn Fn(PinTries) -> Result<Pin, PinError> + Send + Sync>),
    ByToken { pins: Vec<(TokenSelector, PinSource)>, otherwise: Box<PinSource> },
}

impl PinSource {
    /// No PIN: for tokens that need no login, or ask for it by themselves.
    #[must_use]
    pub fn none() -> Self {
        Self(Source::None)
    }

    /// The token asks by itself, at a PIN pad or by a window of its driver.
    #[must_use]
    pub fn protected_path() -> Self {
        Self(Source::ProtectedPath)
    }

    /// This PIN, kept in memory.
    #[must_use]
    pub fn pin(pin: Pin) -> Self {
        Self(Source::Stored(SecretSource::given(pin.0)))
    }

    /// The first line of a file, read at each login, under the rules of
    /// [`SecretSource::file`].
    #[must_use]
    pub fn file(path: impl Into<PathBuf>) -> Self {
        Self(Source::Stored(SecretSource::file(path)))
    }

    /// The first line of something open, such as a file descriptor that the
    /// process was given: read at the first login, and then kept in memory
    /// ([`SecretSource::reader`]).
    #[must_use]
    pub fn reader(reader: impl Read + Send + 'static) -> Self {
        Self(Source::Stored(SecretSource::reader(reader)))
    }

    /// An environment variable. Other processes of the same user can read it:
    /// prefer a file.
    #[must_use]
    pub fn environment(variable: impl Into<String>) -> Self {
        Self(Source::Stored(SecretSource::environment(variable)))
    }

    /// Asks `ask`, on a thread that may block: somebody at a terminal, who must
    /// be told how many tries are left. Not for a token that asks by itself. A
    /// secret store that answers here must refuse unless these are
    /// [all](PinTries::All).
    #[must_use]
    pub fn ask(ask: impl Fn(PinTries) -> Result<Pin, PinError> + Send + Sync + 'static) -> Self {
        Self(Source::Ask(Box::new(ask)))
    }

    /// A PIN for each of these tokens, and `otherwise` for every other. A PIN is
    /// for the one token of the module that its selector fits; where it fits
    /// several, none of them gets it.
    #[must_use]
    pub fn by_token(
        pins: impl IntoIterator<Item = (TokenSelector, PinSource)>,
        otherwise: PinSource,
    ) -> Self {
        Self(Source::ByToken { pins: pins.into_iter().collect(), otherwise: Box::new(otherwise) })
    }

    /// The source for one token. `is` says whether a selector means it, and fails
    /// where that cannot be told.
    pub(crate) fn of_token<E>(&self, is: &dyn Fn(&TokenSelector) -> Result<bool, E>) -> Result<&Self, E> {
        let Source::ByToken { pins, otherwise } = &self.0 else { return Ok(self) };
        for (token, pin) in pins {
            if is(token)? {
                return pin.of_token(is);
            }
        }
        otherwise.of_token(is)
    }

    pub(crate) fn is_none(&self) -> bool {
        matches!(self.0, Source::None)
    }

    /// Whether somebody gives it for each login, here or at the token if that asks by `itself`:
    /// then another one may come after a wrong one.
    pub(crate) fn is_given_anew(&self, itself: bool) -> bool {
        matches!(self.0, Source::Ask(_)) || self.leaves_it_to_the_token(itself)
    }

    /// Whether the token shall ask, which can do it (`itself`) or cannot.
    pub(crate) fn leaves_it_to_the_token(&self, itself: bool) -> bool {
        match self.0 {
            Source::ProtectedPath => true,
            Source::None | Source::Ask(_) => itself,
            Source::Stored(_) | Source::ByToken { .. } => false,
        }
    }

    /// Hands the PIN to `login`, if it may be tried when so many tries are left.
    pub(crate) fn with<T>(&self, tries: PinTries, login: impl FnOnce(&Pin) -> T) -> Result<T, PinError> {
        if tries != PinTries::All && !matches!(self.0, Source::Ask(_)) {
            return Err(PinError::NotStored(tries));
        }
        let pin = match &self.0 {
            Source::None | Source::ProtectedPath | Source::ByToken { .. } => {
                return Err(PinError::NotGiven("no source of a PIN is configured".into()));
            }
            Source::Stored(secret) => Pin::of(under_way::aside(|| secret.read())?)?,
            Source::Ask(ask) => under_way::aside(|| ask(tries))?,
        };
        Ok(login(&pin))
    }
}

/// Names where it comes from, never what it is.
impl fmt::Debug for PinSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Source::None => f.write_str("PinSource(none)"),
            Source::ProtectedPath => f.write_str("PinSource(protected path)"),
            Source::Stored(secret) => write!(f, "PinSource({secret:?})"),
            Source::Ask(_) => f.write_str("PinSource(ask)"),
            Source::ByToken { pins, otherwise } => {
                f.debug_tuple("PinSource").field(pins).field(otherwise).finish()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        fs::{self, Permissions},
        io::Cursor,
        os::unix::fs::PermissionsExt,
    };

    use envelope_files::trust::TrustError;
    use envelope_sdk::http::find_cause;

    use super::*;

    /// What the debug output must never hold.
    const SECRET: &str = "canary-4711";

    #[test]
    fn a_pin_has_1_to_256_bytes() {
        assert!(matches!(Pin::new(String::new()), Err(PinError::Empty)));
        assert!(matches!(Pin::new("1".repeat(257)), Err(PinError::TooLong)));
        assert!(Pin::new("1".repeat(256)).is_ok());
    }

    #[test]
    fn debug_shows_nothing_of_a_pin() {
        let pin = Pin::new(SECRET.into()).unwrap();
        assert_eq!(format!("{pin:?}"), "Pin(..)");
        assert_eq!(format!("{:?}", PinSource::pin(pin)), "PinSource(SecretSource(given))");
        let reader = PinSource::reader(Cursor::new(SECRET));
        reader.with(PinTries::All, |_| ()).unwrap();
        assert_eq!(format!("{reader:?}"), "PinSource(SecretSource(reader))");
    }

    #[test]
    fn a_descriptor_is_read_once_and_its_pin_kept() {
        let source = PinSource::reader(Cursor::new("1234\r\nsecond line"));
        for _ in 0..2 {
            assert!(source.with(PinTries::All, |pin| pin.0.as_str() == "1234").unwrap());
        }
    }

    #[test]
    fn an_empty_descriptor_or_variable_gives_no_pin() {
        let source = PinSource::reader(Cursor::new("\n"));
        for _ in 0..2 {
            assert!(matches!(source.with(PinTries::All, |_| ()), Err(PinError::Empty)));
        }
        let error = PinSource::environment("ENVELOPE_NO_SUCH_PIN").with(PinTries::All, |_| ()).unwrap_err();
        assert_eq!(error.to_string(), "the environment variable ENVELOPE_NO_SUCH_PIN is not set");
    }

    #[test]
    fn a_file_is_read_under_the_rule_for_secrets() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pin");
        let refused = || PinSource::file(&path).with(PinTries::All, |_| ()).unwrap_err();
        fs::write(&path, "1234\nrest").unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(
            refused(),
            PinError::Source(SecretSourceError::File(TrustError::Readable { mode: 0o640, .. }))
        ));
        let error = refused();
        assert!(find_cause::<SecretSourceError>(&error).is_some(), "it is not hidden behind the error");
        assert!(find_cause::<TrustError>(&error).is_some(), "nor is what is wrong with the file");
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        assert!(PinSource::file(&path).with(PinTries::All, |pin| pin.0.as_str() == "1234").unwrap());
    }

    #[test]
    fn a_stored_pin_is_not_tried_when_few_tries_are_left() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pin");
        fs::write(&path, SECRET).unwrap();
        for tries in [PinTries::Few, PinTries::Last] {
            for stored in [
                PinSource::file(&path),
                PinSource::environment("HOME"),
                PinSource::reader(Cursor::new(SECRET)),
                PinSource::pin(Pin::new(SECRET.into()).unwrap()),
            ] {
                let outcome = stored.with(tries, |_| panic!("it is tried"));
                assert!(
                    matches!(outcome, Err::<(), _>(PinError::NotStored(told)) if told == tries),
                    "{stored:?}"
                );
            }
            let person = PinSource::ask(move |told| {
                assert_eq!(told, tries);
                Pin::new(SECRET.into())
            });
            assert!(person.with(tries, |pin| pin.0.as_str() == SECRET).unwrap());
        }
    }
}
