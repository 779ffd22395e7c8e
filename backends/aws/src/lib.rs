#![doc = include_str!("../README.md")]

mod admin;
mod arn;
mod config;
mod error;
mod provider;
mod transport;

pub use admin::{AwsKey, AwsKeyState, NewKey, PastRotation, RotationKind, RotationStatus};
pub use config::AwsKmsBuilder;
pub use provider::AwsKms;

/// The credentials, regions and settings of the AWS SDK, for
/// [`AwsKms::from_sdk_config`].
pub use aws_config::SdkConfig;
/// Credentials from elsewhere, for [`AwsKmsBuilder::credentials`].
pub use aws_credential_types::{Credentials, provider::ProvideCredentials};
