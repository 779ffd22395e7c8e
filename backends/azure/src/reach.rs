//! The way to vaults: made when a vault is first asked, and kept.

use std::{
    collections::BTreeMap,
    panic::AssertUnwindSafe,
    path::PathBuf,
    sync::{Arc, Mutex as Lock, MutexGuard, PoisonError},
    time::Duration,
};

use azure_core::{
    credentials::TokenCredential,
    http::{ClientOptions, RetryOptions, Transport},
};
use azure_security_keyvault_keys::{KeyClient, KeyClientOptions};
use envelope_sdk::{
    KeyUri, ProviderError,
    ProviderErrorKind::{Invalid, Other, Unavailable, Unsupported},
    crowd::{Apart, NotDone},
    key_uri::azure::VaultKey,
};
use futures_util::FutureExt;
use tokio::{runtime::Handle, time::timeout};

use crate::{
    call::{Limits, silently},
    cloud::{Cloud, Domain, Place},
    credentials::{ForVault, Sources, Tokens, no_client, read_roots},
    failure::{NO_RUNTIME, failure},
    transport::Way,
};

/// Clients of vaults, and the credentials of each cloud.
pub(crate) struct Reach {
    pub(crate) limits: Limits,
    plan: Arc<Plan>,
    /// Of each cloud, read once by a crowd of calls, however many of them are given up.
    credentials: Arc<Lock<BTreeMap<Cloud, Caller>>>,
    reading: [Apart<Result<Caller, ProviderError>>; Cloud::COUNT],
    clients: Lock<BTreeMap<String, Vault>>,
}

struct Plan {
    sources: Sources,
    domain: Domain,
    roots: Option<PathBuf>,
    attempt: Duration,
}

/// What a caller shows, and how the servers are reached to which it is shown.
type Caller = (Arc<dyn TokenCredential>, Way);

/// A vault or managed HSM.
#[derive(Clone)]
pub(crate) struct Vault {
    pub(crate) client: Arc<KeyClient>,
    /// `https://HOST`, with a port at a server of tests.
    pub(crate) url: String,
    tokens: Arc<Tokens>,
}

impl Reach {
    pub(crate) fn new(sources: Sources, domain: Domain, roots: Option<PathBuf>, limits: Limits) -> Self {
        let plan = Arc::new(Plan { sources, domain, roots, attempt: limits.attempt });
        Self {
            limits,
            plan,
            credentials: Arc::default(),
            reading: Default::default(),
            clients: Lock::default(),
        }
    }

    /// The domain in place of Microsoft's, if one is set.
    pub(crate) fn domain(&self) -> Result<Option<&str>, ProviderError> {
        self.plan.domain.checked()
    }

    /// The vault of a key.
    pub(crate) async fn vault(&self, name: VaultKey<'_>) -> Result<Vault, ProviderError> {
        let known = lock(&self.clients).get(name.host).cloned();
        let is_over = known.as_ref().is_some_and(|vault| self.is_to_be_read_anew(vault));
        if let Some(vault) = known.as_ref().filter(|vault| !is_over && !vault.tokens.are_misled()) {
            return Ok(vault.clone());
        }
        let place = self.plan.domain.place(name)?;
        if let Some(vault) = known.filter(|_| is_over) {
            self.forget(place.cloud, &vault);
        }
        let (credential, way) = self.credential(place.cloud).await?;
        let mut clients = lock(&self.clients);
        // Somebody else may have made it meanwhile.
        let is_usable = |vault: &&Vault| !vault.tokens.are_misled() && !vault.tokens.are_denied();
        if let Some(vault) = clients.get(name.host).filter(is_usable) {
            return Ok(vault.clone());
        }
        let vault = open(place, credential, &way, self.limits.whole())?;
        clients.insert(name.host.to_owned(), vault.clone());
        Ok(vault)
    }

    /// Whether what a file says is not accepted any more, which may say something else by now.
    fn is_to_be_read_anew(&self, vault: &Vault) -> bool {
        vault.tokens.are_denied() && self.plan.sources.can_be_read_anew()
    }

    /// Has the credentials read anew with which the tokens for this vault were asked for, unless they were since.
    fn forget(&self, cloud: Cloud, vault: &Vault) {
        let mut read = lock(&self.credentials);
        if read.get(&cloud).is_some_and(|(credential, _)| vault.tokens.are_of(credential)) {
            read.remove(&cloud);
        }
    }

    async fn credential(&self, cloud: Cloud) -> Result<Caller, ProviderError> {
        if Handle::try_current().is_err() {
            return Err(failure(Other, None, NO_RUNTIME));
        }
        if let Some(found) = lock(&self.credentials).get(&cloud).cloned() {
            return Ok(found);
        }
        let (plan, read) = (Arc::clone(&self.plan), Arc::clone(&self.credentials));
        // A file may be a pipe that somebody has yet to write to, and a person may be asked.
        let reading = self.reading[cloud as usize].join(move || {
            // Somebody else may have read them since they were looked for.
            if let Some(found) = lock(&read).get(&cloud).cloned() {
                return Ok(found);
            }
            let found = silently(|| plan.load(cloud))?;
            lock(&read).insert(cloud, found.clone());
            Ok(found)
        });
        // A person thinks as long as it takes.
        let read = if self.plan.sources.asks() {
            reading.await
        } else {
            // Without timers, that panics.
            let read =
                AssertUnwindSafe(async { timeout(self.limits.whole(), reading).await }).catch_unwind().await;
            let read = read.map_err(|_| failure(Other, None, NO_RUNTIME))?;
            read.map_err(|_| failure(Unavailable, None, NOT_READ_IN_TIME))?
        };
        read.map_err(not_read)?
    }
}

/// The error of credentials that were not read, for want of a thread or by a fault.
fn not_read(error: NotDone) -> ProviderError {
    let (kind, message) = match &error {
        NotDone::NoThread(_) => {
            (Unavailable, "the credentials were not read: the system gives no thread for it")
        }
        _ => (Invalid, "the credentials were not read"),
    };
    failure(kind, None, message).with_source(error)
}

impl Plan {
    /// Reads, and may block for ever.
    fn load(&self, cloud: Cloud) -> Result<Caller, ProviderError> {
        let authority = self.domain.authority(cloud)?;
        let trusted = self.sources.trusted_files_only;
        let roots = self.roots.as_deref().map(|path| read_roots(path, trusted)).transpose()?;
        let way = Way { roots, local: self.domain.checked()?.map(str::to_owned), attempt: self.attempt };
        Ok((self.sources.load(&authority, &way)?, way))
    }
}

fn lock<T>(what: &Lock<T>) -> MutexGuard<'_, T> {
    // Each change of it is one step.
    what.lock().unwrap_or_else(PoisonError::into_inner)
}

fn open(
    place: Place,
    credential: Arc<dyn TokenCredential>,
    way: &Way,
    limit: Duration,
) -> Result<Vault, ProviderError> {
    let tokens = Tokens::new(credential, place.audiences, limit);
    let transport = way.to_vault(&place.url, Arc::clone(&tokens)).map_err(|_| no_client())?;
    let options = KeyClientOptions {
        client_options: ClientOptions {
            retry: RetryOptions::none(),
            transport: Some(Transport::new(Arc::new(transport))),
            ..ClientOptions::default()
        },
        // Always: and what is narrower is checked by `ForVault`.
        verify_challenge_resource: Some(true),
        ..KeyClientOptions::default()
    };
    let client = KeyClient::new(&place.url, Arc::new(ForVault(Arc::clone(&tokens))), Some(options))
        .map_err(|_| failure(Invalid, None, "the address of the vault is none that can be asked"))?;
    Ok(Vault { client: Arc::new(client), url: place.url, tokens })
}

/// The parts of a key URI of Azure.
pub(crate) fn name_of(key: &KeyUri) -> Result<VaultKey<'_>, ProviderError> {
    VaultKey::of(key).ok_or_else(|| {
        let message = "a key of Azure is named azurekeyvault://VAULT.vault.azure.net/keys/NAME, or …managedhsm.azure.net/…, \
                       without a version";
        failure(Unsupported, key, message)
    })
}

const NOT_READ_IN_TIME: &str =
    "the settings and credentials were not read in time: see the files of secrets, which may be pipes";
