//! What is wrong with a configuration, or with a key that was named.

use std::path::PathBuf;

use envelope_files::trust::TrustError;
use envelope_policy::{ActorError, PolicyFileError};
use envelope_sdk::{KeyUriError, ProviderError, printable, registry::SettingError};

/// Why there are no providers, or no keyring of them. No error repeats a value of
/// the configuration or a name that may be a secret in the wrong place.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProvidersError {
    /// The configuration cannot be opened, or others may write it.
    #[error("{0}")]
    File(#[from] TrustError),
    /// The configuration is not right.
    #[error("configuration {}: {what}", printable::path(path))]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong, and on which line.
        what: String,
    },
    /// What the table of a key store says cannot be.
    #[error("configuration {}: [{provider}]: {}", printable::path(path), error.message())]
    Table {
        /// The file.
        path: PathBuf,
        /// The provider, and its table.
        provider: &'static str,
        /// What is wrong.
        error: Box<ProviderError>,
    },
    /// The configuration has no profile of that name.
    #[error("there is no profile {name:?} in the configuration")]
    NoProfile {
        /// The profile that was named.
        name: String,
        /// Those that there are.
        known: Vec<String>,
    },
    /// A setting that was given is not taken.
    #[error("{provider} {setting}: {error}")]
    Setting {
        /// The provider.
        provider: String,
        /// The setting.
        setting: String,
        /// Why not.
        error: SettingError,
    },
    /// An alias of the configuration means no key.
    #[error("alias {}: {error}", printable::text(alias))]
    Alias {
        /// The alias.
        alias: String,
        /// What it is instead.
        error: KeyUriError,
    },
    /// A key that was named is no key URI.
    #[error("{0}")]
    KeyUri(#[from] KeyUriError),
    /// A key that was named is neither a key URI nor an alias.
    #[error("a key that was named ({bytes} bytes) is neither a key URI nor an alias of the configuration")]
    NoSuchName {
        /// Bytes of what was named.
        bytes: usize,
        /// The aliases that there are.
        aliases: Vec<String>,
    },
    /// The policy that the configuration names cannot be used.
    #[error("{0}")]
    Policy(#[from] PolicyFileError),
    /// There is a policy, and nobody whom it could know.
    #[error("the policy cannot know who this is: {error}; say it by `Builder::actor`")]
    Actor {
        /// What is wrong with the program's name.
        error: ActorError,
    },
    /// There is no provider for a key, or its settings lack something.
    #[error("{0}")]
    Provider(#[from] ProviderError),
}

impl ProvidersError {
    /// What to do, where it is more than the error says.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        let list =
            |names: &[String]| names.iter().map(|name| printable::text(name)).collect::<Vec<_>>().join(", ");
        match self {
            Self::NoProfile { known, .. } if known.is_empty() => Some("profiles there: none".into()),
            Self::NoProfile { known, .. } => Some(format!("profiles there: {}", list(known))),
            Self::NoSuchName { aliases, .. } => {
                let aliases = if aliases.is_empty() {
                    String::new()
                } else {
                    format!("; aliases of the configuration: {}", list(aliases))
                };
                Some(format!("the keystore has no such key either: `keys list` shows them{aliases}"))
            }
            _ => None,
        }
    }
}
