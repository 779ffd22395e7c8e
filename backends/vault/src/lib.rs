#![doc = include_str!("../README.md")]

mod admin;
mod auth;
mod call;
mod config;
mod error;
mod failure;
mod files;
mod index;
mod json;
mod plan;
mod provider;
mod reach;
mod scheme;
mod settings;
mod transport;

pub use admin::TransitKey;
pub use config::HashiVaultBuilder;
pub use provider::{Binding, HashiVault};
pub use scheme::VaultScheme;
pub use settings::VaultSettings;
