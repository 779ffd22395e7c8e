//! Where credentials come from, and how vaults are reached: [`AzureKeyVaultBuilder`].

use std::{fmt, path::PathBuf, sync::Arc, time::Duration};

use azure_core::credentials::TokenCredential;
use envelope_sdk::secret::Secrets;
use zeroize::Zeroizing;

use crate::{
    AzureKeyVault, SymmetricAlgorithm,
    call::Limits,
    cloud::Domain,
    credentials::{Assigned, From, Sources, Text},
    provider::Ways,
};

/// Settings of [`AzureKeyVault`]. Without any, the environment says which credentials
/// are used (`AZURE_TENANT_ID`, `AZURE_CLIENT_ID` with `AZURE_CLIENT_SECRET`,
/// `AZURE_CLIENT_CERTIFICATE_PATH` or `AZURE_FEDERATED_TOKEN_FILE`; `IDENTITY_ENDPOINT`),
/// and the developer tools (`az login`) if it says none.
///
/// They are read when a key is first used, and not before.
#[derive(Default)]
#[must_use]
pub struct AzureKeyVaultBuilder {
    pub(crate) sources: Sources,
    pub(crate) domain: Domain,
    pub(crate) roots: Option<PathBuf>,
    pub(crate) limits: Limits,
    pub(crate) vault: Option<String>,
    pub(crate) ways: Ways,
}

impl AzureKeyVaultBuilder {
    /// Who is logged in with `az login` or `azd auth login`, and nobody else.
    pub fn developer_tools(mut self) -> Self {
        self.sources.from = From::DeveloperTools;
        self
    }

    /// The identity of this machine, that of the system: a virtual machine, App
    /// Service, a container app.
    pub fn managed_identity(mut self) -> Self {
        self.sources.from = From::ManagedIdentity(None);
        self
    }

    /// An identity that was assigned to this machine, by its client id.
    pub fn managed_identity_of_client(mut self, id: impl Into<String>) -> Self {
        self.sources.from = From::ManagedIdentity(Some(Assigned::Client(id.into())));
        self
    }

    /// The same by its object id.
    pub fn managed_identity_of_object(mut self, id: impl Into<String>) -> Self {
        self.sources.from = From::ManagedIdentity(Some(Assigned::Object(id.into())));
        self
    }

    /// The same by its resource id (`/subscriptions/…`); not on App Service.
    pub fn managed_identity_of_resource(mut self, id: impl Into<String>) -> Self {
        self.sources.from = From::ManagedIdentity(Some(Assigned::Resource(id.into())));
        self
    }

    /// The token of a Kubernetes service account in a file, which is read each time
    /// that a token is asked for; `None`: that of `AZURE_FEDERATED_TOKEN_FILE`.
    pub fn workload_identity(mut self, token_file: Option<PathBuf>) -> Self {
        self.sources.from = From::WorkloadIdentity(token_file);
        self
    }

    /// The secret of a client.
    pub fn client_secret(mut self, secret: impl Into<String>) -> Self {
        self.sources.from = From::ClientSecret(Text::Given(Zeroizing::new(secret.into())));
        self
    }

    /// The same in a file.
    pub fn client_secret_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.sources.from = From::ClientSecret(Text::File(path.into()));
        self
    }

    /// The certificate of a client and its RSA key, both as PEM in one file, without a
    /// passphrase.
    pub fn client_certificate_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.sources.from = From::ClientCertificate(Text::File(path.into()));
        self
    }

    /// What such a file holds, from wherever it is kept.
    pub fn client_certificate(mut self, pem: impl Into<String>) -> Self {
        self.sources.from = From::ClientCertificate(Text::Given(Zeroizing::new(pem.into())));
        self
    }

    /// A secret or certificate that is asked for when a key is first used.
    pub(crate) fn asked(mut self, certificate: bool) -> Self {
        let of = if certificate { From::ClientCertificate } else { From::ClientSecret };
        self.sources.from = of(Text::Asked);
        self
    }

    /// Whom to ask for these, and who may have been given them beforehand.
    pub(crate) fn secrets(mut self, secrets: Arc<dyn Secrets>) -> Self {
        self.sources.given = Some(secrets);
        self
    }

    /// Credentials from elsewhere. Tokens are asked of them for Key Vault or Managed
    /// HSM alone.
    pub fn credential(mut self, credential: Arc<dyn TokenCredential>) -> Self {
        self.sources.from = From::Given(credential);
        self
    }

    /// The tenant of the client, instead of `AZURE_TENANT_ID`.
    pub fn tenant_id(mut self, id: impl Into<String>) -> Self {
        self.sources.tenant = Some(id.into());
        self
    }

    /// The client, instead of `AZURE_CLIENT_ID`.
    pub fn client_id(mut self, id: impl Into<String>) -> Self {
        self.sources.client = Some(id.into());
        self
    }

    /// Whom tokens are asked of, as `https://HOST`, instead of the Microsoft Entra of
    /// the cloud that a key's vault is in.
    pub fn authority_host(mut self, url: impl Into<String>) -> Self {
        self.sources.authority = Some(url.into());
        self
    }

    /// The vault or managed HSM in which keys are made and listed, by its host:
    /// `NAME.vault.azure.net`.
    pub fn vault(mut self, host: impl Into<String>) -> Self {
        self.vault = Some(host.into());
        self
    }

    /// A server of tests on this machine in place of Microsoft's domain: with
    /// `localhost:PORT` the vault `NAME.vault.azure.net` is asked at
    /// `https://NAME.vault.localhost:PORT`, by `https` and with its challenge verified
    /// as anywhere else. Nothing else than `localhost` and `localhost:PORT` is taken. Tokens, and those of
    /// the identity of virtual machines too, are asked of `https://login.localhost:PORT`.
    pub fn domain(mut self, domain: impl Into<String>) -> Self {
        self.domain = Domain(Some(domain.into()));
        self
    }

    /// The only certificate authorities that are trusted, as PEM in a file, instead of
    /// those of the platform: for servers of tests, and for proxies that look into TLS,
    /// which then read every DEK.
    pub fn ca_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.roots = Some(path.into());
        self
    }

    /// With what symmetric keys of a managed HSM wrap. By default
    /// [`A256Gcm`](SymmetricAlgorithm::A256Gcm), which binds the context.
    pub fn symmetric_algorithm(mut self, algorithm: SymmetricAlgorithm) -> Self {
        self.ways.symmetric = algorithm;
        self
    }

    /// Wraps under RSA keys on this machine, with the public key of the version that
    /// was current when it was fetched, once: no call for each wrap. Off by default,
    /// since then nobody asks the vault whether the key is still enabled, or rotated,
    /// before this provider is made anew. Unwrapping always asks the vault. Keys below
    /// 3072 bits are refused.
    pub fn local_wraps(mut self, on: bool) -> Self {
        self.ways.local_wraps = on;
        self
    }

    /// Refuses to wrap under RSA keys, which are not post-quantum safe, and to make them
    /// ([`Invalid`](envelope_sdk::ProviderErrorKind::Invalid)). Off by default. What they
    /// wrapped is unwrapped all the same: so old envelopes are read, and rewrapped to
    /// another key.
    pub fn post_quantum_safe_only(mut self, on: bool) -> Self {
        self.ways.post_quantum_safe_only = on;
        self
    }

    /// How long one attempt of a call may take. 5 seconds by default; a call with its
    /// retries, pauses and credentials, four times that.
    pub fn attempt_timeout(mut self, timeout: Duration) -> Self {
        self.limits.attempt = timeout;
        self
    }

    /// How often a call is attempted when a vault throttles, fails or does not answer;
    /// at least 1, by default 3. What makes or rotates a key is attempted once. A pause
    /// that the vault asks for (`Retry-After`) is kept, up to 10 seconds and within the
    /// time of the call; a longer one ends the call.
    pub fn attempts(mut self, attempts: u32) -> Self {
        self.limits.attempts = attempts.max(1);
        self
    }

    #[cfg(test)]
    pub(crate) fn attempts_of_a_call(&self) -> u32 {
        self.limits.attempts
    }

    /// Uses files of secrets and certificates only if nobody but their owner can have
    /// written, or, of secrets, read them. The rule is that of `envelope_files::trust`,
    /// and a file that it does not trust is an error of each call, of kind
    /// [`Invalid`](envelope_sdk::ProviderErrorKind::Invalid). Elsewhere than on Unix
    /// nothing is checked.
    pub fn trusted_files_only(mut self) -> Self {
        self.sources.trusted_files_only = true;
        self
    }

    /// The provider. Nothing is read and nobody is asked: the environment and the
    /// credentials are read by the first call that needs them.
    #[must_use]
    pub fn build(self) -> AzureKeyVault {
        AzureKeyVault::new(self)
    }
}

/// Without credentials.
impl fmt::Debug for AzureKeyVaultBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AzureKeyVaultBuilder")
            .field("vault", &self.vault)
            .field("ways", &self.ways)
            .finish_non_exhaustive()
    }
}
