#![doc = include_str!("../README.md")]

#[cfg(not(unix))]
compile_error!("envelope-local protects its files with Unix owners and permission bits");

mod argon2id;
mod blocking;
mod error;
mod keystore;
mod on_use;
mod passphrase;
mod passphrase_provider;
mod scheme;
mod settings;

pub use argon2id::{Argon2Error, Argon2Params};
pub use error::KeystoreError;
pub use keystore::Keystore;
pub use on_use::{KeystoreOnUse, PassphraseOnUse};
pub use passphrase::{Passphrase, PassphraseError};
pub use passphrase_provider::PassphraseProvider;
pub use scheme::LocalScheme;
pub use settings::{LocalSettings, default_keystore};

/// The name of the keystore as a provider, and its scheme.
const NAME: &str = "local";
