//! What is read before the first call, and kept: [`Reach`].

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use crate::{
    credentials::{Heard, checked},
    error::failure,
    sources::Sources,
    transport::{self, CheckedEndpoints},
};
use aws_config::{Region, SdkConfig};
use aws_sdk_kms::{
    Client,
    config::{AsyncSleep, SharedHttpClient},
};
use aws_types::service_config::{LoadServiceConfig, ServiceConfigKey};
use envelope_sdk::{
    ProviderError,
    ProviderErrorKind::Invalid,
    crowd::Crowd,
    http::{EndpointError, check_endpoint},
    printable,
};

/// The way to KMS.
pub(crate) enum Reach {
    /// With settings of the SDK that were made elsewhere.
    Given(Arc<Settled>),
    /// With settings that are read when they are first needed.
    Lazy(Arc<Lazy>),
}

/// Settings that are read by the first call, and anew by the next one if that was
/// in vain.
pub(crate) struct Lazy {
    sources: Sources,
    read: Mutex<Option<Arc<Settled>>>,
    reading: Crowd<Result<Arc<Settled>, ProviderError>>,
}

impl Reach {
    pub(crate) fn given(config: SdkConfig) -> Self {
        let http = transport::for_keys(config.http_client());
        let config = match config.credentials_provider() {
            Some(provider) => {
                // Nothing is heard of the services that it asks: their client was made elsewhere.
                config.into_builder().credentials_provider(checked(provider, Heard::default())).build()
            }
            None => config,
        };
        Self::Given(Arc::new(Settled::new(config, http, None)))
    }

    /// Reads nothing yet.
    pub(crate) fn lazy(sources: Sources) -> Self {
        Self::Lazy(Arc::new(Lazy { sources, read: Mutex::default(), reading: Crowd::default() }))
    }

    /// The settings, read if they were not.
    pub(crate) async fn settled(&self) -> Result<Arc<Settled>, ProviderError> {
        let lazy = match self {
            Self::Given(settled) => return Ok(Arc::clone(settled)),
            Self::Lazy(lazy) => lazy,
        };
        if let Some(settled) = lazy.known() {
            return Ok(settled);
        }
        let reader = Arc::clone(lazy);
        let settled = lazy.reading.join(|| async move { reader.settle().await }).await;
        settled.unwrap_or_else(|panicked| {
            Err(failure(Invalid, None, "the settings were not read").with_source(panicked))
        })
    }

    /// Has the next call read the settings anew: there were no credentials, or no
    /// region, in them, and the SDK would go on to say so when they are there.
    pub(crate) fn forget(&self) {
        if let Self::Lazy(lazy) = self {
            *lazy.read() = None;
        }
    }
}

impl Lazy {
    async fn settle(&self) -> Result<Arc<Settled>, ProviderError> {
        // Somebody else may have read them since they were looked for.
        if let Some(settled) = self.known() {
            return Ok(settled);
        }
        let http = transport::for_keys(None);
        let settled = Settled::new(self.sources.load().await?, http, self.sources.endpoint_url.clone());
        settled.check_endpoints(&self.sources)?;
        settled.region().map_or(Ok(()), check_region)?;
        Ok(Arc::clone(self.read().insert(Arc::new(settled))))
    }

    fn known(&self) -> Option<Arc<Settled>> {
        self.read().clone()
    }

    fn read(&self) -> MutexGuard<'_, Option<Arc<Settled>>> {
        // Each change of it is one step.
        self.read.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Settings that were read, and a client for each region.
pub(crate) struct Settled {
    config: SdkConfig,
    http: SharedHttpClient,
    endpoint_url: Option<String>,
    clients: Mutex<BTreeMap<String, Client>>,
}

impl Settled {
    fn new(config: SdkConfig, http: SharedHttpClient, endpoint_url: Option<String>) -> Self {
        let config = transport::with_deadlines(config);
        Self { config, http, endpoint_url, clients: Mutex::default() }
    }

    /// The client of a region.
    pub(crate) fn client(&self, region: &str) -> Result<Client, ProviderError> {
        check_region(region)?;
        // Each change of it is one insertion.
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = clients.get(region) {
            return Ok(client.clone());
        }
        let mut config = aws_sdk_kms::config::Builder::from(&self.config)
            .region(Region::new(region.to_owned()))
            .endpoint_resolver(CheckedEndpoints::default())
            .http_client(self.http.clone());
        if let Some(url) = &self.endpoint_url {
            // As it is: the SDK refuses an endpoint of one's own beside FIPS endpoints, which STS may still use.
            config = config.endpoint_url(url).use_fips(false);
        }
        let client = Client::from_conf(config.build());
        clients.insert(region.to_owned(), client.clone());
        Ok(client)
    }

    /// The region of new and listed keys.
    pub(crate) fn region(&self) -> Option<&str> {
        self.config.region().map(AsRef::as_ref).filter(|region| !region.is_empty())
    }

    /// Waits as the settings have waits done, or not at all.
    pub(crate) async fn wait(&self, time: Duration) {
        if let Some(sleep) = self.config.sleep_impl() {
            sleep.sleep(time).await;
        }
    }

    /// The endpoint of KMS, if one is set anywhere.
    pub(crate) fn endpoint_url(&self) -> Option<String> {
        self.endpoint_url.clone().or_else(|| self.endpoint_of(KMS))
    }

    /// Of a service, by the name that AWS has for it, as the SDK reads it.
    fn endpoint_of(&self, service: &str) -> Option<String> {
        let key = ServiceConfigKey::builder().service_id(service);
        let key = key.env("AWS_ENDPOINT_URL").profile("endpoint_url").build().ok()?;
        let of_service =
            self.config.service_config().and_then(|set| LoadServiceConfig::load_config(set, key));
        of_service.or_else(|| self.config.endpoint_url().map(str::to_owned))
    }

    /// Refuses endpoints at which the SDK panics: those that are empty. It asks
    /// KMS through [`CheckedEndpoints`], but services for credentials by clients
    /// of its own.
    fn check_endpoints(&self, sources: &Sources) -> Result<(), ProviderError> {
        let is_empty = |endpoint: Option<String>| endpoint.is_some_and(|url| url.is_empty());
        let refuse =
            |who: &str| Err(failure(Invalid, None, format!("{who}: {}", EndpointError::NotAnEndpoint)));
        if is_empty(self.endpoint_url()) {
            return refuse("AWS KMS is not asked");
        }
        if sources.asks_for_credentials()
            && CREDENTIAL_SERVICES.iter().any(|service| is_empty(self.endpoint_of(service)))
        {
            return refuse("the source of AWS credentials is not asked");
        }
        Ok(())
    }

    /// The endpoint of KMS, safe to show.
    pub(crate) fn shown_endpoint(&self) -> Result<Option<String>, ProviderError> {
        let Some(url) = self.endpoint_url() else { return Ok(None) };
        // A user name or password in it is refused, and not shown.
        check_endpoint(&url)
            .map_err(|error| failure(Invalid, None, format!("AWS KMS is not asked: {error}")))?;
        Ok(Some(url))
    }
}

/// Refuses what is no name of a region: the SDK would sign with it, and panic at
/// a line break.
fn check_region(region: &str) -> Result<(), ProviderError> {
    let fits = region.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    if fits && (1..=MAX_REGION_LEN).contains(&region.len()) {
        return Ok(());
    }
    let shown = printable::cut(region, MAX_REGION_LEN);
    let message =
        format!("`{shown}` is no name of an AWS region: correct AWS_REGION, the profile or the settings");
    Err(failure(Invalid, None, message))
}

/// It is a label of a host's name.
const MAX_REGION_LEN: usize = 63;
const KMS: &str = "KMS";
/// Those that the SDK may ask for credentials.
const CREDENTIAL_SERVICES: [&str; 3] = ["STS", "SSO", "SSO OIDC"];
