//! The way to vaults: made when a vault is first asked, and kept.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, Mutex as Lock, PoisonError},
};

use azure_core::{
    credentials::TokenCredential,
    http::{ClientOptions, RetryOptions, Transport},
};
use azure_security_keyvault_keys::{KeyClient, KeyClientOptions};
use envelope_sdk::{
    KeyUri, ProviderError,
    ProviderErrorKind::{Invalid, Unsupported},
    key_uri::azure::VaultKey,
};
use tokio::sync::Mutex;

use crate::{
    call::{Limits, unlogged},
    cloud::{Cloud, Domain, Place},
    credentials::{ForVault, Sources, no_client, read_roots},
    error::failure,
    transport::Way,
};

/// Clients of vaults, and the credentials of each cloud.
pub(crate) struct Reach {
    pub(crate) limits: Limits,
    sources: Sources,
    domain: Domain,
    roots: Option<PathBuf>,
    /// Held while credentials are read, so that a crowd of calls reads them once.
    credentials: Mutex<BTreeMap<Cloud, Caller>>,
    clients: Lock<BTreeMap<String, Vault>>,
}

/// What a caller shows, and how the servers are reached to which it is shown.
type Caller = (Arc<dyn TokenCredential>, Way);

/// A vault or managed HSM.
#[derive(Clone)]
pub(crate) struct Vault {
    pub(crate) client: Arc<KeyClient>,
    /// `https://HOST`, with a port at a server of tests.
    pub(crate) url: String,
}

impl Reach {
    pub(crate) fn new(sources: Sources, domain: Domain, roots: Option<PathBuf>, limits: Limits) -> Self {
        Self { limits, sources, domain, roots, credentials: Mutex::default(), clients: Lock::default() }
    }

    /// The domain in place of Microsoft's, if one is set.
    pub(crate) fn domain(&self) -> Result<Option<&str>, ProviderError> {
        self.domain.checked()
    }

    /// The vault of a key.
    pub(crate) async fn vault(&self, name: VaultKey<'_>) -> Result<Vault, ProviderError> {
        let known = |clients: &Lock<BTreeMap<String, Vault>>| {
            // Each change of it is one step.
            clients.lock().unwrap_or_else(PoisonError::into_inner).get(name.host).cloned()
        };
        if let Some(vault) = known(&self.clients) {
            return Ok(vault);
        }
        let place = self.domain.place(name)?;
        let (credential, way) = self.credential(place.cloud).await?;
        if let Some(vault) = known(&self.clients) {
            return Ok(vault);
        }
        let vault = open(place, credential, &way)?;
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        clients.insert(name.host.to_owned(), vault.clone());
        Ok(vault)
    }

    async fn credential(&self, cloud: Cloud) -> Result<Caller, ProviderError> {
        let mut known = self.credentials.lock().await;
        if let Some(found) = known.get(&cloud) {
            return Ok(found.clone());
        }
        let (sources, authority) = (self.sources.clone(), self.domain.authority(cloud)?);
        let (roots, is_local) = (self.roots.clone(), self.domain.checked()?.is_some());
        let attempt = self.limits.attempt;
        // A file may be a pipe that somebody has yet to write to, and a person may be asked.
        let read = tokio::task::spawn_blocking(move || {
            let trusted = sources.trusted_files_only;
            let roots = roots.map(|path| read_roots(&path, trusted)).transpose()?;
            let way = Way { roots, is_local, attempt };
            Ok((sources.load(&authority, &way)?, way))
        });
        let read = unlogged(read).await;
        let found = read.map_err(|_| failure(Invalid, None, "the credentials were not read"))??;
        known.insert(cloud, found.clone());
        Ok(found)
    }
}

fn open(place: Place, credential: Arc<dyn TokenCredential>, way: &Way) -> Result<Vault, ProviderError> {
    let transport = way.to_vault(&place.url).map_err(|_| no_client())?;
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
    let credential = ForVault { credential, audiences: place.audiences };
    let client = KeyClient::new(&place.url, Arc::new(credential), Some(options))
        .map_err(|_| failure(Invalid, None, "the address of the vault is none that can be asked"))?;
    Ok(Vault { client: Arc::new(client), url: place.url })
}

/// The parts of a key URI of Azure.
pub(crate) fn name_of(key: &KeyUri) -> Result<VaultKey<'_>, ProviderError> {
    VaultKey::of(key).ok_or_else(|| {
        let message = "a key of Azure is named azurekeyvault://VAULT.vault.azure.net/keys/NAME, or …managedhsm.azure.net/…, \
                       without a version";
        failure(Unsupported, key, message)
    })
}
