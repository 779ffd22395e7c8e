//! The way to KMS: read before the first call, and kept.

use std::{
    env,
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use envelope_sdk::{
    ProviderError,
    ProviderErrorKind::{Invalid, Other, Unavailable},
    crowd::{Apart, Crowd, NotDone},
    http::check_endpoint,
};
use futures_util::FutureExt;
use google_cloud_auth::credentials::Credentials;
use google_cloud_gax::client_builder::internal::with_follow_redirects;
use google_cloud_kms_v1::client::KeyManagementService;
use tokio::{runtime::Handle, time::timeout};

use crate::{
    call::{Limits, silently, unlogged},
    credentials::Sources,
    error::failure,
    proxies,
};

/// Settings that are read by the first call, and anew by the next one if that was
/// in vain.
pub(crate) struct Reach {
    plan: Arc<Plan>,
    read: Arc<Mutex<Option<Settled>>>,
    reading: Crowd<Result<Settled, ProviderError>>,
}

struct Plan {
    sources: Sources,
    endpoint: Endpoint,
    limits: Limits,
    loading: Apart<Result<Credentials, ProviderError>>,
    /// What was loaded when nobody waited any more: a pipe is not read twice.
    loaded: Arc<Mutex<Option<Result<Credentials, ProviderError>>>>,
}

/// The client, and how it is used.
#[derive(Clone)]
pub(crate) struct Settled {
    pub(crate) client: KeyManagementService,
    pub(crate) limits: Limits,
}

impl Reach {
    /// Reads nothing yet.
    pub(crate) fn new(sources: Sources, endpoint: Endpoint, limits: Limits) -> Self {
        let plan =
            Arc::new(Plan { sources, endpoint, limits, loading: Apart::default(), loaded: Arc::default() });
        Self { plan, read: Arc::default(), reading: Crowd::default() }
    }

    /// The settings, read if they were not.
    pub(crate) async fn settled(&self) -> Result<Settled, ProviderError> {
        if let Some(settled) = lock(&self.read).clone() {
            return Ok(settled);
        }
        if Handle::try_current().is_err() {
            return Err(failure(Other, None, NO_RUNTIME));
        }
        let (plan, read) = (Arc::clone(&self.plan), Arc::clone(&self.read));
        let settled = self.reading.join(|| async move {
            // Somebody else may have read them since they were looked for.
            if let Some(settled) = lock(&read).clone() {
                return Ok(settled);
            }
            let settled = plan.settle().await?;
            Ok(lock(&read).insert(settled).clone())
        });
        // Without timers, that panics.
        let settled =
            AssertUnwindSafe(async { timeout(self.plan.limits.whole(), settled).await }).catch_unwind().await;
        let settled = settled.map_err(|_| failure(Other, None, NO_RUNTIME))?;
        let settled = settled.map_err(|_| failure(Unavailable, None, NOT_READ_IN_TIME))?;
        settled.unwrap_or_else(|panicked| {
            Err(failure(Invalid, None, "the settings were not read").with_source(panicked))
        })
    }

    /// Has the next call read the settings anew: there were no credentials in them.
    pub(crate) fn forget(&self) {
        *lock(&self.read) = None;
    }

    /// The endpoint, if one is set, safe to show.
    pub(crate) fn shown_endpoint(&self) -> Result<Option<String>, ProviderError> {
        self.plan.endpoint.checked().map(|url| url.map(str::to_owned))
    }
}

fn lock<T>(read: &Mutex<T>) -> MutexGuard<'_, T> {
    // Each change of it is one step.
    read.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Plan {
    async fn settle(&self) -> Result<Settled, ProviderError> {
        let endpoint = self.endpoint.checked()?;
        if self.sources.are_anonymous() && !endpoint.is_some_and(is_on_this_machine) {
            return Err(failure(Invalid, None, ANONYMOUS));
        }
        if let Some(url) = endpoint {
            proxies::refuse(url)?;
        }
        let mut limits = self.limits.clone();
        if limits.quota_project.is_none() {
            limits.quota_project = env::var(QUOTA).ok().filter(|project| !project.is_empty());
        }
        if limits.quota_project.as_deref().is_some_and(|project| !is_project(project)) {
            let message =
                format!("the quota project is no name of a project: correct {QUOTA} or the settings");
            return Err(failure(Invalid, None, message));
        }
        let credentials = self.credentials().await?;
        let mut builder = KeyManagementService::builder().with_credentials(credentials);
        if let Some(url) = endpoint {
            builder = builder.with_endpoint(url);
        }
        // A redirect would send the DEK to whomever it names, also by plain http.
        let built = with_follow_redirects(builder, false).build();
        let client = unlogged(built).await.map_err(|error| {
            let why = if error.is_universe_domain_mismatch() {
                "the credentials are of another cloud than GOOGLE_CLOUD_UNIVERSE_DOMAIN says, or than Google's own"
            } else {
                "see the endpoint, if one is set, and the certificates of this machine (SSL_CERT_FILE)"
            };
            failure(Invalid, None, format!("the client of Cloud KMS cannot be made: {why}"))
        })?;
        Ok(Settled { client, limits })
    }

    /// A file may be a pipe that somebody has yet to write to.
    async fn credentials(&self) -> Result<Credentials, ProviderError> {
        if let Some(loaded) = lock(&self.loaded).take() {
            return loaded;
        }
        let (sources, runtime, kept) = (self.sources.clone(), Handle::current(), Arc::clone(&self.loaded));
        let loaded = self.loading.join(move || {
            // Google's client has a task of the runtime renew its tokens.
            let _within = runtime.enter();
            let loaded = silently(|| sources.load());
            *lock(&kept) = Some(loaded.clone());
            loaded
        });
        let loaded = loaded.await;
        *lock(&self.loaded) = None;
        loaded.map_err(|error| {
            let (kind, message) = match &error {
                NotDone::NoThread(_) => {
                    (Unavailable, "the credentials were not read: the system gives no thread for it")
                }
                _ => (Invalid, "the credentials were not read: Google's client failed"),
            };
            failure(kind, None, message).with_source(error)
        })?
    }
}

/// Where KMS is asked.
#[derive(Clone, Default)]
pub(crate) struct Endpoint {
    pub(crate) url: Option<String>,
}

impl Endpoint {
    fn checked(&self) -> Result<Option<&str>, ProviderError> {
        let Some(url) = &self.url else { return Ok(None) };
        // A user name or password in it is refused, and not shown.
        check_endpoint(url)
            .map_err(|error| failure(Invalid, None, format!("Cloud KMS is not asked: {error}")))?;
        if url.contains(['?', '#']) {
            return Err(failure(
                Invalid,
                None,
                "Cloud KMS is not asked: its endpoint has no query and no fragment",
            ));
        }
        Ok(Some(url))
    }
}

/// Plain `http` may go there.
fn is_on_this_machine(url: &str) -> bool {
    let rest = url.split_once("://").map_or("", |(_, rest)| rest);
    check_endpoint(&format!("http://{rest}")).is_ok()
}

/// It stands in a header.
fn is_project(name: &str) -> bool {
    (1..=MAX_PROJECT_LEN).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-.:".contains(&byte))
}

pub(crate) const NO_RUNTIME: &str =
    "Cloud KMS is asked within a tokio runtime with time and I/O, and there is none";
const NOT_READ_IN_TIME: &str =
    "the settings and credentials were not read in time: see the file of credentials, which may be a pipe";
const QUOTA: &str = "GOOGLE_CLOUD_QUOTA_PROJECT";
const ANONYMOUS: &str = "without credentials Cloud KMS is asked only at an endpoint on this machine (127.0.0.1, ::1, \
                         localhost): set one, or credentials";
/// Those of a domain are longer than the 30 characters of others.
const MAX_PROJECT_LEN: usize = 255;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_endpoint_on_this_machine_is_asked_without_credentials() {
        for (url, here) in [
            ("http://127.0.0.1:9000", true),
            ("https://localhost:1", true),
            ("https://[::1]:1/", true),
            ("https://cloudkms.googleapis.com", false),
            ("https://127.0.0.1.example", false),
            ("nothing", false),
        ] {
            assert_eq!(is_on_this_machine(url), here, "{url}");
        }
    }

    #[test]
    fn a_quota_project_is_one_that_a_header_can_hold() {
        assert!(is_project("example.com:p-1"));
        assert!(
            !is_project("") && !is_project("a\nb") && !is_project("a b") && !is_project(&"a".repeat(256))
        );
    }
}
