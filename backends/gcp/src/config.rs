//! Where credentials come from, and how KMS is reached: [`GcpKmsBuilder`].

use std::{fmt, path::PathBuf, sync::Arc, time::Duration};

use envelope_sdk::secret::Secrets;
use google_cloud_auth::credentials::Credentials;
use zeroize::Zeroizing;

use crate::{
    GcpKms, Protection,
    call::Limits,
    credentials::{From, Sources},
    reach::Endpoint,
};

/// Settings of [`GcpKms`]. Without any, Google's defaults hold: the application
/// default credentials, and the public endpoint.
///
/// They are read when a key is first used, and not before.
#[derive(Default)]
#[must_use]
pub struct GcpKmsBuilder {
    pub(crate) sources: Sources,
    pub(crate) endpoint: Endpoint,
    pub(crate) limits: Limits,
    pub(crate) key_ring: Option<String>,
    pub(crate) protection: Option<Protection>,
    pub(crate) hsm_randomness: bool,
}

impl GcpKmsBuilder {
    /// A file of credentials in one of Google's forms, instead of the default chain:
    /// the key of a service account, a configuration of workload identity
    /// federation (`external_account`), one of an impersonated service account, or
    /// what `gcloud auth application-default login` writes.
    pub fn credentials_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.sources.from = From::File(path.into());
        self
    }

    /// What such a file holds, from wherever it is kept.
    pub fn credentials_json(mut self, text: impl Into<String>) -> Self {
        self.sources.from = From::Json(Zeroizing::new(text.into()));
        self
    }

    /// The service account of the machine, as its metadata server tells, and no
    /// other: no file of this machine chooses another one.
    pub fn metadata_server(mut self) -> Self {
        self.sources.from = From::Metadata(None);
        self
    }

    /// The same with a metadata server at another address. Plain `http` is
    /// refused but on this machine and at link-local addresses. `GCE_METADATA_HOST` must not name another one.
    pub fn metadata_server_at(mut self, url: impl Into<String>) -> Self {
        self.sources.from = From::Metadata(Some(url.into()));
        self
    }

    /// No credentials, for a server of the tests: refused, at the first call, unless
    /// [`endpoint_url`](Self::endpoint_url) is on this machine.
    pub fn anonymous(mut self) -> Self {
        self.sources.from = From::Anonymous;
        self
    }

    /// Credentials that a program was given beforehand, if it was.
    pub(crate) fn credentials_when_used(mut self, secrets: Arc<dyn Secrets>, name: &'static str) -> Self {
        self.sources.given = Some((secrets, name));
        self
    }

    /// Credentials from elsewhere, instead of the default chain.
    pub fn credentials(mut self, credentials: Credentials) -> Self {
        self.sources.from = From::Given(credentials);
        self
    }

    /// Acts as this service account, with the credentials found otherwise, through
    /// `delegates`, each of whom may make tokens for the next one. Both are e-mail
    /// addresses. The token is for Cloud KMS alone.
    pub fn impersonate(
        mut self,
        service_account: impl Into<String>,
        delegates: impl IntoIterator<Item = impl Into<String>>,
    ) -> Self {
        self.sources.impersonate = Some(service_account.into());
        self.sources.delegates = delegates.into_iter().map(Into::into).collect();
        self
    }

    /// The project for whose quotas requests count, instead of
    /// `GOOGLE_CLOUD_QUOTA_PROJECT` or that of the credentials.
    pub fn quota_project(mut self, project: impl Into<String>) -> Self {
        self.limits.quota_project = Some(project.into());
        self
    }

    /// Another endpoint of KMS: one of Private Service Connect, a regional one
    /// (`https://cloudkms.europe-west3.rep.googleapis.com`), a server of tests.
    /// Plain `http` is refused unless it stays on this machine
    /// ([`check_endpoint`](envelope_sdk::http::check_endpoint)), and then no proxy
    /// of the environment may stand before it.
    pub fn endpoint_url(mut self, url: impl Into<String>) -> Self {
        self.endpoint.url = Some(url.into());
        self
    }

    /// The key ring in which keys are made and listed, by its resource name:
    /// `projects/P/locations/L/keyRings/R`.
    pub fn key_ring(mut self, name: impl Into<String>) -> Self {
        self.key_ring = Some(name.into());
        self
    }

    /// The only protection level that is accepted: what Google says was wrapped or
    /// unwrapped at another one is refused, and keys are made with it unless
    /// another is asked for. By default each level is accepted, and keys are made
    /// in software.
    pub fn protection(mut self, level: Protection) -> Self {
        self.protection = Some(level);
        self
    }

    /// Mixes 32 random bytes of a Cloud HSM of the key's location into the DEK of
    /// each new envelope (`GenerateRandomBytes`). The DEK is the exclusive or of
    /// these and of 32 bytes of this machine's generator: nobody who knows only one of them
    /// knows the DEK. It costs one more call for each envelope; off by default.
    pub fn hsm_randomness(mut self, on: bool) -> Self {
        self.hsm_randomness = on;
        self
    }

    /// How long one attempt of a call may take. 5 seconds by default; a call with
    /// its retries, pauses and credentials, four times that.
    pub fn attempt_timeout(mut self, timeout: Duration) -> Self {
        self.limits.attempt = timeout;
        self
    }

    /// How often a call is attempted when KMS throttles, fails, does not answer, or
    /// answers with a checksum that does not fit; at least 1, by default 3. What
    /// makes a key, a version or a key ring is attempted once.
    pub fn attempts(mut self, attempts: u32) -> Self {
        self.limits.attempts = attempts.max(1);
        self
    }

    #[cfg(test)]
    pub(crate) fn attempts_of_a_call(&self) -> u32 {
        self.limits.attempts
    }

    /// Uses a file of credentials only if nobody but its owner can have written or
    /// read it. The rule is that of `envelope_files::trust`, and a file that it
    /// does not trust is an error of each call, of kind
    /// [`Invalid`](envelope_sdk::ProviderErrorKind::Invalid). Elsewhere than on Unix
    /// nothing is checked.
    pub fn trusted_files_only(mut self) -> Self {
        self.sources.trusted_files_only = true;
        self
    }

    /// The provider. Nothing is read and nobody is asked: the environment and the
    /// credentials are read by the first call that needs them.
    #[must_use]
    pub fn build(self) -> GcpKms {
        GcpKms::new(self)
    }
}

/// Without credentials.
impl fmt::Debug for GcpKmsBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GcpKmsBuilder")
            .field("key_ring", &self.key_ring)
            .field("endpoint_url", &self.endpoint.url)
            .field("quota_project", &self.limits.quota_project)
            .finish_non_exhaustive()
    }
}
