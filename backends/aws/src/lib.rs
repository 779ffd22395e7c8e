#![doc = include_str!("../README.md")]

mod admin;
mod config;
mod credentials;
mod error;
mod provider;
mod reach;
mod retry;
mod scheme;
mod settings;
#[cfg(unix)]
mod shared_files;
mod sources;
mod transport;

pub use admin::{AwsKey, AwsKeyState};
pub use config::AwsKmsBuilder;
pub use provider::AwsKms;
pub use scheme::AwsScheme;
pub use settings::AwsSettings;

/// The credentials, regions and settings of the AWS SDK, for
/// [`AwsKms::from_sdk_config`].
pub use aws_config::SdkConfig;
/// Credentials from elsewhere, for [`AwsKmsBuilder::credentials`].
pub use aws_credential_types::{Credentials, provider::ProvideCredentials};
