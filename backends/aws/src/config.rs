//! Where credentials come from, and how KMS is reached: [`AwsKmsBuilder`].

use std::{fmt, time::Duration};

use aws_config::SdkConfig;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};

use crate::{
    AwsKms,
    reach::Reach,
    retry::MOST_ATTEMPTS,
    sources::{Role, Sources},
};

/// Settings of [`AwsKms`]. Without any, the AWS SDK's defaults hold: the
/// credentials of the environment, the shared configuration and credentials
/// files, IAM Identity Center, web identity, container or instance, in this
/// order.
///
/// They are read when a key is first used, and not before.
#[derive(Default)]
#[must_use]
pub struct AwsKmsBuilder {
    sources: Sources,
    replica_regions: Vec<String>,
}

impl AwsKmsBuilder {
    /// A profile of the shared configuration files, instead of `AWS_PROFILE`
    /// or `default`.
    pub fn profile(mut self, name: impl Into<String>) -> Self {
        self.sources.profile = Some(name.into());
        self
    }

    /// The region in which keys are created and listed, and STS is asked for a
    /// role, instead of `AWS_REGION` or the profile's. Wrapping and unwrapping
    /// take the region from the key's ARN.
    pub fn region(mut self, region: impl Into<String>) -> Self {
        self.sources.region = Some(region.into());
        self
    }

    /// The regions, best first, whose replicas may unwrap what any replica of
    /// a multi-region key wrapped. A region that does not answer, or has no
    /// replica, is passed over. Without any, the region of the recipient's ARN
    /// alone is asked.
    pub fn replica_regions(mut self, regions: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.replica_regions = regions.into_iter().map(Into::into).collect();
        self
    }

    /// Another endpoint of KMS for every region: a VPC endpoint, a proxy,
    /// LocalStack. STS keeps its own. The SDK also knows `AWS_ENDPOINT_URL_KMS` and `AWS_ENDPOINT_URL`.
    /// Wherever it comes from, plain `http` is refused at each call unless it stays on this machine
    /// ([`check_endpoint`](envelope_sdk::http::check_endpoint)), and no proxy is used for it then.
    pub fn endpoint_url(mut self, url: impl Into<String>) -> Self {
        self.sources.endpoint_url = Some(url.into());
        self
    }

    /// Whether to use FIPS endpoints (`kms-fips.REGION.amazonaws.com`). With the
    /// cargo feature `fips` this is the default. It says nothing about
    /// [`endpoint_url`](Self::endpoint_url), which is taken as it is; with an
    /// endpoint of the environment or the profile it must be `false`, since the SDK
    /// refuses the two together.
    pub fn fips_endpoints(mut self, fips: bool) -> Self {
        self.sources.fips = Some(fips);
        self
    }

    /// Assumes an IAM role, with the credentials found otherwise.
    pub fn assume_role(mut self, role_arn: impl Into<String>, external_id: Option<String>) -> Self {
        self.sources.role = Some(Role { arn: role_arn.into(), external_id });
        self
    }

    /// Credentials from elsewhere, instead of the default chain.
    pub fn credentials(mut self, credentials: impl ProvideCredentials + 'static) -> Self {
        self.sources.credentials = Some(SharedCredentialsProvider::new(credentials));
        self
    }

    /// How long one attempt of a call may take. 5 seconds by default; a call
    /// with its retries, four times that.
    pub fn attempt_timeout(mut self, timeout: Duration) -> Self {
        self.sources.attempt_timeout = Some(timeout);
        self
    }

    /// How often a call is attempted when KMS throttles, fails or does not
    /// answer, with exponential backoff; from 1 to 1000, the nearest of these otherwise. By default as
    /// `AWS_MAX_ATTEMPTS` or the profile says, or 3 times. A key is made, and
    /// rotated, in one attempt.
    pub fn attempts(mut self, attempts: u32) -> Self {
        self.sources.attempts = Some(attempts.clamp(1, MOST_ATTEMPTS));
        self
    }

    /// Uses AWS's own files only if nobody but their owner can have written them:
    /// `~/.aws/config` or `$AWS_CONFIG_FILE`, `~/.aws/credentials` or
    /// `$AWS_SHARED_CREDENTIALS_FILE`, and with the cargo feature `sso` the tokens
    /// that `aws sso login` left. They choose endpoints, roles and programs to run,
    /// and hold secrets. The rule is that of `envelope_files::trust`, and a file
    /// that it does not trust is an error of each call, of kind
    /// [`Invalid`](envelope_sdk::ProviderErrorKind::Invalid) with a `TrustError` of
    /// that crate as its source. Elsewhere than on Unix nothing is checked.
    pub fn trusted_files_only(mut self) -> Self {
        self.sources.trusted_files_only = true;
        self
    }

    /// The provider. Nothing is read and nobody is asked: the environment, the
    /// shared files and the credentials are read by the first call that needs
    /// them, and anew by the next one while there are no credentials in them, or
    /// none that AWS accepts.
    #[must_use]
    pub fn build(self) -> AwsKms {
        AwsKms::new(Reach::lazy(self.sources), self.replica_regions)
    }
}

/// Without credentials.
impl fmt::Debug for AwsKmsBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AwsKmsBuilder")
            .field("profile", &self.sources.profile)
            .field("region", &self.sources.region)
            .field("endpoint_url", &self.sources.endpoint_url)
            .finish_non_exhaustive()
    }
}

impl AwsKms {
    /// Settings to change.
    pub fn builder() -> AwsKmsBuilder {
        AwsKmsBuilder::default()
    }

    /// A provider with settings of the SDK that were made elsewhere, its time
    /// limits and retries included; where it has no time limit, those of this
    /// crate hold. Its region is that of new and listed keys. Its client for
    /// HTTP, if it has one, is used with the limits of this crate around it:
    /// plain `http` is refused off loopback, and answers end at
    /// [`MAX_ANSWER_LEN`](envelope_sdk::http::MAX_ANSWER_LEN). That it uses no
    /// proxy for plain `http` is up to that client. Its credentials come the way
    /// it was set up.
    #[must_use]
    pub fn from_sdk_config(config: SdkConfig) -> Self {
        Self::new(Reach::given(config), Vec::new())
    }
}
