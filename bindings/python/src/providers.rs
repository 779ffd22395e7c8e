//! [`Providers`]: a configuration's key stores and keys.

use std::{path::PathBuf, sync::Arc};

use envelope_policy::Actor;
use envelope_providers::{Builder, Providers as Opened};
use envelope_rotation::KeyStores;
use pyo3::prelude::*;

use crate::{
    aside::Aside,
    failure::{Failure, Result, raised},
    runtime::Home,
    secrets::Given,
};

/// The key stores of a configuration. Nothing is asked of them before a key is used.
#[pyclass(frozen, module = "envelope_sdk._envelope_sdk")]
pub(crate) struct Providers(Arc<Aside<Shared>>);

/// What envelopes and jobs have of it.
pub(crate) struct Shared {
    opened: Opened,
    recipe: Recipe,
    home: Home,
}

/// How they are made.
struct Recipe {
    configuration: Configuration,
    profile: Option<String>,
    keystore: Option<PathBuf>,
    actor: Option<Actor>,
    secrets: Arc<Given>,
}

enum Configuration {
    File(PathBuf),
    Text(String),
}

#[pymethods]
impl Providers {
    /// Reads the configuration at `path`, or that of `text`, which is TOML.
    #[new]
    #[pyo3(signature = (path, text, profile, keystore, actor, secrets))]
    fn new(
        py: Python<'_>,
        path: Option<PathBuf>,
        text: Option<String>,
        profile: Option<String>,
        keystore: Option<PathBuf>,
        actor: Option<&str>,
        secrets: Vec<(String, Bound<'_, PyAny>)>,
    ) -> PyResult<Self> {
        let configuration = match (path, text) {
            (Some(path), None) => Configuration::File(path),
            (None, Some(text)) => Configuration::Text(text),
            _ => return Err(raised(Failure::usage("a configuration is a file or a text"))),
        };
        let actor = actor.map(Actor::parse).transpose();
        let actor = actor.map_err(|error| raised(Failure::usage(error.to_string())))?;
        let recipe = Recipe { configuration, profile, keystore, actor, secrets: Given::new(secrets)? };
        let opened = py.detach(|| recipe.builder().build().map_err(Failure::from))?;
        Ok(Self(Arc::new(Aside::new(Shared { opened, recipe, home: Home::here() }))))
    }

    /// The keys that encrypt and those that may decrypt, as the configuration names them.
    fn keys(&self) -> PyResult<(Vec<String>, Vec<String>)> {
        let (encrypt, decrypt) = self.0.opened.configured_keys().map_err(raised)?;
        let texts = |keys: &[envelope_sdk::KeyUri]| keys.iter().map(ToString::to_string).collect();
        Ok((texts(&encrypt), texts(&decrypt)))
    }
}

impl Providers {
    pub(crate) fn shared(&self) -> Arc<Aside<Shared>> {
        Arc::clone(&self.0)
    }
}

impl Shared {
    /// The key stores, in the process that opened them.
    pub(crate) fn opened(&self) -> Result<&Opened> {
        self.home.check()?;
        Ok(&self.opened)
    }

    /// Key stores for a job that puts `key_stores` over them. Where a policy or an audit log stands over the key stores, that
    /// belongs below it, and they are opened anew; otherwise the job puts it over these.
    pub(crate) fn for_job(&self, key_stores: &KeyStores) -> Result<Option<Opened>> {
        let opened = self.opened()?;
        if opened.policy().is_none() && opened.audit().is_none() {
            return Ok(None);
        }
        let key_stores = key_stores.clone();
        Ok(Some(self.recipe.builder().outermost(move |below| key_stores.over(&below)).build()?))
    }
}

impl Recipe {
    fn builder(&self) -> Builder {
        let secrets = Arc::clone(&self.secrets) as Arc<dyn envelope_sdk::secret::Secrets>;
        let mut builder = Opened::builder().secrets(secrets);
        builder = match &self.configuration {
            Configuration::File(path) => builder.file(path),
            Configuration::Text(text) => builder.text("Providers.from_dict", text),
        };
        if let Some(profile) = &self.profile {
            builder = builder.profile(profile);
        }
        if let Some(keystore) = &self.keystore {
            builder = builder.set("local", "keystore", keystore);
        }
        match &self.actor {
            Some(actor) => builder.actor(actor.clone()),
            None => builder,
        }
    }
}
