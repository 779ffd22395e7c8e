#![doc = include_str!("../README.md")]

mod admin;
mod call;
mod cloud;
mod config;
mod credentials;
mod error;
mod failure;
mod provider;
mod reach;
mod scheme;
mod settings;
mod transport;

pub use admin::{AzureKey, AzureVersion};
/// Credentials from elsewhere, for [`AzureKeyVaultBuilder::credential`].
pub use azure_core::credentials::TokenCredential;
pub use config::AzureKeyVaultBuilder;
pub use provider::{AzureKeyVault, SymmetricAlgorithm};
pub use scheme::AzureScheme;
pub use settings::AzureSettings;
