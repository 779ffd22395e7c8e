//! Where one line of secret comes from: a passphrase or a PIN in a file, behind a
//! descriptor, in the environment, or already there.

use std::{
    env, fmt,
    io::{self, Read},
    path::PathBuf,
    sync::{Mutex, PoisonError},
};

use envelope_sdk::{printable, secret};
use zeroize::Zeroizing;

use crate::trust::{self, Purpose, TrustError};

/// Where one line of secret comes from. Nothing is opened or read before
/// [`read`](Self::read).
///
/// Not `Clone`; its [`Debug`](fmt::Debug) names where the secret comes from, never
/// what it is.
///
/// ```
/// use envelope_files::secret::SecretSource;
///
/// let source = SecretSource::reader(&b"correct horse\ndata"[..]);
/// assert_eq!(*source.read()?, "correct horse");
/// assert_eq!(format!("{source:?}"), "SecretSource(reader)");
/// # Ok::<(), envelope_files::secret::SecretSourceError>(())
/// ```
pub struct SecretSource(Source);

enum Source {
    File(PathBuf),
    Reader(Mutex<Once>),
    Environment(String),
    Given(Zeroizing<String>),
}

/// What can be read once.
enum Once {
    Unread(Box<dyn Read + Send>),
    Line(Zeroizing<String>),
    Failed(io::ErrorKind, String),
}

impl SecretSource {
    /// The first line of a file, at most 64 KiB, read anew at each
    /// [`read`](Self::read). A named pipe will do. It and the folders on the way to
    /// it must belong to the user or to root and be writable by nobody else, and a
    /// file of the user readable by nobody else ([`Purpose::Secret`]).
    #[must_use]
    pub fn file(path: impl Into<PathBuf>) -> Self {
        Self(Source::File(path.into()))
    }

    /// The first line, at most 64 KiB, of something open, such as a descriptor that
    /// the process was given. It is read once, and not a byte beyond the line; then
    /// the line is kept in memory, or that it could not be read.
    #[must_use]
    pub fn reader(reader: impl Read + Send + 'static) -> Self {
        Self(Source::Reader(Mutex::new(Once::Unread(Box::new(reader)))))
    }

    /// The whole of an environment variable. Other processes of the same user can
    /// read it: prefer a file.
    #[must_use]
    pub fn environment(variable: impl Into<String>) -> Self {
        Self(Source::Environment(variable.into()))
    }

    /// This secret, kept in memory.
    #[must_use]
    pub fn given(secret: Zeroizing<String>) -> Self {
        Self(Source::Given(secret))
    }

    /// Reads the secret, which may be empty. This may block: a pipe is waited for.
    ///
    /// # Errors
    ///
    /// [`SecretSourceError`]: what cannot be read, and why.
    pub fn read(&self) -> Result<Zeroizing<String>, SecretSourceError> {
        match &self.0 {
            Source::File(path) => {
                let mut file = trust::open(path, Purpose::Secret)?;
                secret::read_line(&mut file)
                    .map_err(|source| SecretSourceError::Read { from: printable::path(path), source })
            }
            Source::Reader(once) => once.lock().unwrap_or_else(PoisonError::into_inner).read(),
            Source::Environment(variable) => of_environment(variable),
            Source::Given(secret) => Ok(secret.clone()),
        }
    }
}

impl fmt::Debug for SecretSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Source::File(path) => write!(f, "SecretSource(file {})", printable::path(path)),
            Source::Reader(_) => f.write_str("SecretSource(reader)"),
            Source::Environment(variable) => {
                write!(f, "SecretSource(environment {})", printable::text(variable))
            }
            Source::Given(_) => f.write_str("SecretSource(given)"),
        }
    }
}

/// Why a secret cannot be read. Nothing of the secret is in it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SecretSourceError {
    /// The file cannot be opened, or others may read or write it.
    #[error("{0}")]
    File(#[from] TrustError),
    /// The file or descriptor is open and cannot be read, or its first line is
    /// longer than 64 KiB or not UTF-8 ([`io::ErrorKind::InvalidData`]).
    #[error("cannot read the secret from {from}: {source}")]
    Read {
        /// The file, or what else it was.
        from: String,
        /// Why not.
        source: io::Error,
    },
    /// The environment variable is not set.
    #[error("the environment variable {} is not set", printable::text(.0))]
    NotSet(String),
    /// The environment variable is not UTF-8.
    #[error("the environment variable {} is not UTF-8", printable::text(.0))]
    NotText(String),
}

impl Once {
    fn read(&mut self) -> Result<Zeroizing<String>, SecretSourceError> {
        if let Self::Unread(reader) = self {
            *self = match secret::read_line(reader) {
                Ok(line) => Self::Line(line),
                Err(error) => Self::Failed(error.kind(), error.to_string()),
            };
        }
        let (kind, why) = match self {
            Self::Line(line) => return Ok(line.clone()),
            Self::Failed(kind, why) => (*kind, why.clone()),
            Self::Unread(_) => (io::ErrorKind::Other, "it was not read".into()),
        };
        Err(SecretSourceError::Read { from: "the descriptor".into(), source: io::Error::new(kind, why) })
    }
}

fn of_environment(variable: &str) -> Result<Zeroizing<String>, SecretSourceError> {
    // Not `env::var`, whose error holds the value and does not wipe it. And a name that no
    // variable can have is none that is set: what looks it up need not bear it.
    let possible = !variable.is_empty() && !variable.contains(['=', '\0']);
    let value = possible.then(|| env::var_os(variable)).flatten();
    let value = value.ok_or_else(|| SecretSourceError::NotSet(variable.into()))?;
    let value = Zeroizing::new(value.into_encoded_bytes());
    let text = std::str::from_utf8(&value).map_err(|_| SecretSourceError::NotText(variable.into()))?;
    Ok(Zeroizing::new(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use std::{
        fs::{self, Permissions},
        os::unix::fs::PermissionsExt,
    };

    use super::*;

    /// What the debug output must never hold.
    const SECRET: &str = "canary-4711";

    #[test]
    fn debug_names_the_source_and_nothing_of_the_secret() {
        let reader = SecretSource::reader(SECRET.as_bytes());
        reader.read().unwrap();
        for (source, shown) in [
            (SecretSource::file("/run/a\nb"), "SecretSource(file /run/a\\u{a}b)"),
            (reader, "SecretSource(reader)"),
            (SecretSource::environment("HOME"), "SecretSource(environment HOME)"),
            (SecretSource::given(Zeroizing::new(SECRET.into())), "SecretSource(given)"),
        ] {
            assert_eq!(format!("{source:?}"), shown);
        }
    }

    #[test]
    fn a_given_secret_is_read_as_it_is_and_again() {
        let source = SecretSource::given(Zeroizing::new(" two\nlines ".into()));
        for _ in 0..2 {
            assert_eq!(*source.read().unwrap(), " two\nlines ");
        }
    }

    #[test]
    fn a_descriptor_is_read_once_up_to_the_end_of_its_line_and_kept() {
        let (reader, mut writer) = io::pipe().unwrap();
        let mut rest = reader.try_clone().unwrap();
        io::Write::write_all(&mut writer, b"1234\r\nsecond line").unwrap();
        drop(writer);
        let source = SecretSource::reader(reader);
        for _ in 0..2 {
            assert_eq!(*source.read().unwrap(), "1234");
        }
        assert_eq!(io::read_to_string(&mut rest).unwrap(), "second line");
    }

    #[test]
    fn a_descriptor_that_cannot_be_read_says_so_each_time() {
        let source = SecretSource::reader(&b"sec\xffret\n"[..]);
        for _ in 0..2 {
            let error = source.read().unwrap_err();
            assert_eq!(
                error.to_string(),
                "cannot read the secret from the descriptor: the line is not UTF-8"
            );
            assert!(matches!(
                error,
                SecretSourceError::Read { source, .. } if source.kind() == io::ErrorKind::InvalidData
            ));
        }
    }

    #[test]
    fn an_empty_line_is_an_empty_secret() {
        assert_eq!(*SecretSource::reader(&b"\nx"[..]).read().unwrap(), "");
        assert_eq!(*SecretSource::reader(io::empty()).read().unwrap(), "");
    }

    #[test]
    fn a_variable_that_is_not_set_is_named() {
        for name in ["ENVELOPE_NO_SUCH_SECRET", "", "A=B"] {
            let error = SecretSource::environment(name).read().unwrap_err();
            assert_eq!(error.to_string(), format!("the environment variable {name} is not set"));
        }
        assert_eq!(
            SecretSource::environment("A\0B").read().unwrap_err().to_string(),
            "the environment variable A\\u{0}B is not set"
        );
    }

    #[test]
    fn a_variable_that_is_set_is_read_whole() {
        // Cargo sets it for every test.
        assert_eq!(*SecretSource::environment("CARGO_PKG_NAME").read().unwrap(), "envelope-files");
    }

    #[test]
    fn a_file_is_opened_at_each_read_under_the_rule_for_secrets() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        let source = SecretSource::file(&path);
        let refused = || match source.read().unwrap_err() {
            SecretSourceError::File(error) => error,
            other => panic!("{other}"),
        };
        assert!(refused().is_not_found());
        fs::write(&path, " 12 34 \nrest").unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(refused(), TrustError::Readable { mode: 0o640, .. }));
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        assert_eq!(*source.read().unwrap(), " 12 34 ");
        fs::write(&path, "56").unwrap();
        assert_eq!(*source.read().unwrap(), "56");
    }

    #[test]
    fn a_line_of_a_file_that_is_no_text_is_refused_with_the_file_s_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        fs::write(&path, b"sec\xffret").unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        let error = SecretSource::file(&path).read().unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("cannot read the secret from {}: the line is not UTF-8", path.display())
        );
    }
}
