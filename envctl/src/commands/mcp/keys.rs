//! Keys and key stores, looked at for one client or another.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use async_trait::async_trait;
use envelope_mcp::{Caller, ConfiguredKeys, Failure, KeyMetadata, KeyStore};
use envelope_policy::{Actor, Guard};
use envelope_providers::{Builder, Providers};
use envelope_sdk::{
    KeyAdmin, KeyDescription, KeyUri,
    admin::{KeyPage, RotationStatus},
    key_uri::is_key_name,
    secret::{NoSecrets, Prompt, SecretError, Secrets},
};
use zeroize::Zeroizing;

use super::{failure, failure_of_call, keystore::LookedAt, settings::Settings};
use crate::{
    cli::Global,
    error::{CliError, Result},
    key_stores::registered,
    passphrase::Passphrases,
    providers::builder,
};

/// The key stores of the configuration, with the policy for each client before them.
pub(super) struct Keys {
    make: Box<dyn Fn() -> Result<Builder> + Send + Sync>,
    /// By client. Each has few; more than [`MOST_CLIENTS`] begin anew.
    opened: Mutex<HashMap<Caller, Arc<Providers>>>,
    local: Arc<Providers>,
    stores: Vec<KeyStore>,
}

impl Keys {
    /// `secrets`: what was given at the start.
    pub(super) fn new(global: &Global, settings: &Settings, secrets: Arc<Passphrases>) -> Result<Self> {
        let secrets: Arc<dyn Secrets> = Arc::new(Credentials(secrets));
        let global = global.clone();
        // Each call of a client has its record, whatever it asks of key stores.
        let make = move || {
            let builder = builder(&global)?.without_audit();
            Ok(builder.register::<LookedAt>().secrets(Arc::clone(&secrets)))
        };
        let local = Arc::new(open(make()?, &Caller::local())?);
        let is_served = |name: &str| {
            settings.key_stores.contains(name) || (name == LOCAL && settings.key_stores.is_empty())
        };
        let stores = registered().iter().map(|store| store.provider).filter(|name| is_served(name));
        let stores = stores.map(|name| KeyStore { name, is_authenticated: name != LOCAL }).collect();
        Ok(Self { make: Box::new(make), opened: Mutex::default(), local, stores })
    }

    /// The key stores as `caller` may see them.
    fn of(&self, caller: &Caller) -> std::result::Result<Arc<Providers>, Failure> {
        if *caller == Caller::local() {
            return Ok(Arc::clone(&self.local));
        }
        let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(providers) = opened.get(caller) {
            return Ok(Arc::clone(providers));
        }
        let opened_by = |builder: Result<Builder>| {
            builder.and_then(|builder| open(builder, caller)).map_err(|error| failure(&error))
        };
        let mut providers = opened_by((self.make)())?;
        // The configuration is read anew for each client. Without its policy, a new client would see every key.
        if policy_of(&providers) != policy_of(&self.local) {
            let what = "the configuration names another policy than when the server began, or none";
            return Err(Failure::new(envelope_mcp::Kind::KeyRefused, what).hint("start the server anew"));
        }
        // One and the same for all: its limits count on when what is opened here is forgotten.
        if let Some(policy) = self.local.policy() {
            providers = opened_by((self.make)().map(|builder| builder.policy(policy.clone())))?;
        }
        let providers = Arc::new(providers);
        if opened.len() >= MOST_CLIENTS {
            opened.clear();
        }
        opened.insert(caller.clone(), Arc::clone(&providers));
        Ok(providers)
    }

    /// The policy as `caller` meets it, if there is one.
    pub(super) fn guard(&self, caller: &Caller) -> std::result::Result<Option<Guard>, Failure> {
        match self.local.guard() {
            None => Ok(None),
            Some(guard) => Ok(Some(guard.for_actor(actor(caller).map_err(|error| failure(&error))?))),
        }
    }

    pub(super) fn configuration(&self) -> &Providers {
        &self.local
    }

    /// A key by its name, its alias or its URI.
    pub(super) fn key(&self, name: &str) -> std::result::Result<KeyUri, Failure> {
        if is_key_name(name) && !self.local.has_alias(name) {
            return KeyUri::parse(&format!("{LOCAL}:{name}")).map_err(|error| failure(&error.into()));
        }
        self.local.key(name).map_err(|error| failure(&error.into()))
    }

    fn admin(
        &self,
        caller: &Caller,
        name: &str,
    ) -> std::result::Result<(KeyUri, Arc<dyn KeyAdmin>), Failure> {
        let uri = self.key(name)?;
        let admin = self.of(caller)?.registry().admin(&uri);
        Ok((uri, admin.map_err(failure_of_call)?))
    }
}

fn open(builder: Builder, caller: &Caller) -> Result<Providers> {
    Ok(builder.actor(actor(caller)?).build()?)
}

fn policy_of(providers: &Providers) -> Option<&std::path::Path> {
    providers.policy().map(envelope_policy::PolicyFile::path)
}

pub(super) fn actor(caller: &Caller) -> Result<Actor> {
    Actor::parse(caller.actor()).map_err(|error| CliError::other(error.to_string()))
}

#[async_trait]
impl KeyMetadata for Keys {
    fn stores(&self) -> Vec<KeyStore> {
        self.stores.clone()
    }

    fn configured(&self) -> ConfiguredKeys {
        let (encrypt, decrypt) = self.local.configured_keys().unwrap_or_default();
        ConfiguredKeys { encrypt, decrypt }
    }

    async fn list(
        &self,
        caller: &Caller,
        store: &str,
        page: Option<&str>,
    ) -> std::result::Result<KeyPage, Failure> {
        let providers = self.of(caller)?;
        let admin = providers.registry().named(store).and_then(|scheme| scheme.admin(None));
        let admin = admin.map_err(failure_of_call)?;
        admin.list_keys(page).await.map_err(failure_of_call)
    }

    async fn describe(&self, caller: &Caller, key: &str) -> std::result::Result<KeyDescription, Failure> {
        let (uri, admin) = self.admin(caller, key)?;
        admin.describe_key(&uri).await.map_err(failure_of_call)
    }

    async fn rotations(&self, caller: &Caller, key: &str) -> std::result::Result<RotationStatus, Failure> {
        let (uri, admin) = self.admin(caller, key)?;
        admin.rotation_status(&uri).await.map_err(failure_of_call)
    }

    fn store_of(&self, key: &KeyUri) -> Option<&'static str> {
        // A passphrase is none that anybody lists, and costs as a key of a keystore does: nothing.
        self.local.registry().of(key).ok().map(|scheme| scheme.provider())
    }
}

/// What key stores are asked with, such as a token of Vault. Nobody is asked for one: there is no person at this standard input.
/// What opens a keystore or a file is none of them.
struct Credentials(Arc<Passphrases>);

impl Secrets for Credentials {
    fn given(&self, name: &str) -> std::result::Result<Option<Zeroizing<String>>, SecretError> {
        if name.ends_with("passphrase") { Ok(None) } else { self.0.given(name) }
    }

    fn ask(&self, name: &str, prompt: &Prompt<'_>) -> std::result::Result<Zeroizing<String>, SecretError> {
        NoSecrets.ask(name, prompt)
    }
}

const LOCAL: &str = "local";
const MOST_CLIENTS: usize = 64;
