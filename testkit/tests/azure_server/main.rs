//! The stand-in for Azure Key Vault and Managed HSM.
