#![doc = include_str!("../README.md")]

mod admin;
mod call;
mod config;
mod crc32c;
mod credentials;
mod error;
mod integrity;
mod protection;
mod provider;
mod proxies;
mod reach;
mod retry;
mod scheme;
mod settings;

pub use admin::{GcpImportJob, GcpKey, GcpVersion, GcpVersionState};
pub use config::GcpKmsBuilder;
pub use protection::Protection;
pub use provider::GcpKms;
pub use scheme::GcpScheme;
pub use settings::GcpSettings;

/// Credentials from elsewhere, for [`GcpKmsBuilder::credentials`].
pub use google_cloud_auth::credentials::Credentials;
