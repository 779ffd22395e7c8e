#![doc = include_str!("../README.md")]

#[cfg(not(unix))]
compile_error!("envelope-local protects its files with Unix owners and permission bits");

mod argon2id;
mod blocking;
mod error;
mod keystore;
mod passphrase;
mod passphrase_provider;

pub use argon2id::{Argon2Error, Argon2Params};
pub use error::KeystoreError;
pub use keystore::Keystore;
pub use passphrase::{Passphrase, PassphraseError};
pub use passphrase_provider::PassphraseProvider;
