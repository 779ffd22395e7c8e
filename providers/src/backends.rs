//! The key stores of this repository: a line for each, and its feature.

use crate::Builder;

/// Registers those that this build has.
pub(crate) fn register(builder: Builder) -> Builder {
    #[cfg(feature = "local")]
    let builder = builder.register::<envelope_local::LocalSettings>();
    #[cfg(feature = "aws")]
    let builder = builder.register::<envelope_aws::AwsSettings>();
    #[cfg(feature = "azure")]
    let builder = builder.register::<envelope_azure::AzureSettings>();
    #[cfg(feature = "gcp")]
    let builder = builder.register::<envelope_gcp::GcpSettings>();
    #[cfg(feature = "pkcs11")]
    let builder = builder.register::<envelope_pkcs11::Pkcs11Settings>();
    #[cfg(feature = "vault")]
    let builder = builder.register::<envelope_vault::VaultSettings>();
    builder
}
