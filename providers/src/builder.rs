//! [`Builder`]: which configuration, and what the program says over it.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    sync::Arc,
};

use envelope_layers::{KeyStateListener, Observer, Stack};
use envelope_policy::{Actor, Decided, PolicyFile};
use envelope_sdk::{
    KeyProvider, KeyringListener,
    registry::{SettingError, Settings, Surroundings},
    secret::Secrets,
};
use serde::de::DeserializeOwned;

use crate::{
    Caches, EnvironmentSecrets, Providers, ProvidersError, Registration, backends,
    file::{self, Document},
    keyring::Common,
    policy::Governed,
    registration::{Given, OpenError},
    secrets::InTurn,
};

/// Makes [`Providers`].
#[must_use]
pub struct Builder {
    registered: Vec<Registration>,
    source: Source,
    profile: Option<String>,
    given: Vec<Given>,
    secrets: Arc<dyn Secrets>,
    observers: Vec<Arc<dyn Observer>>,
    key_states: Vec<Arc<dyn KeyStateListener>>,
    listeners: Vec<Arc<dyn KeyringListener>>,
    policy: Option<PolicyFile>,
    actor: Option<Actor>,
    decided: Vec<Arc<dyn Decided>>,
    #[cfg(feature = "audit")]
    audit: crate::audit::AuditGiven,
    outermost: Vec<Layer>,
}

/// A layer of the program's own.
type Layer = Arc<dyn Fn(Arc<dyn KeyProvider>) -> Arc<dyn KeyProvider> + Send + Sync>;

enum Source {
    Nothing,
    /// Must be there.
    File(PathBuf),
    /// The program's own.
    Text(PathBuf, String),
    /// The user's own, if it is there.
    User,
}

impl Source {
    fn read(self) -> Result<Option<(PathBuf, String)>, ProvidersError> {
        match self {
            Self::Nothing => Ok(None),
            Self::File(path) => file::read(&path).map(|text| Some((path, text))),
            Self::Text(name, text) => Ok(Some((name, text))),
            Self::User => {
                let Some(folder) = envelope_files::user_folder("XDG_CONFIG_HOME", ".config") else {
                    return Ok(None);
                };
                let path = folder.join("envctl/config.toml");
                Ok(file::read_if_there(&path)?.map(|text| (path, text)))
            }
        }
    }
}

impl Builder {
    pub(crate) fn new() -> Self {
        backends::register(Self {
            registered: Vec::new(),
            source: Source::Nothing,
            profile: None,
            given: Vec::new(),
            secrets: Arc::new(EnvironmentSecrets),
            observers: Vec::new(),
            key_states: Vec::new(),
            listeners: Vec::new(),
            policy: None,
            actor: None,
            decided: Vec::new(),
            #[cfg(feature = "audit")]
            audit: crate::audit::AuditGiven::default(),
            outermost: Vec::new(),
        })
    }

    /// Adds a kind of key store: its table `[PROVIDER]`, its schemes. One of the
    /// same provider takes the place of an earlier one.
    pub fn register<S: Settings + DeserializeOwned>(mut self) -> Self {
        self.registered.retain(|known| known.provider != S::PROVIDER);
        self.registered.push(Registration::of::<S>());
        self
    }

    /// The kinds of key stores, with the options and secrets that a program may
    /// offer its user.
    #[must_use]
    pub fn registered(&self) -> &[Registration] {
        &self.registered
    }

    /// Reads this configuration, which must be there.
    pub fn file(mut self, path: impl Into<PathBuf>) -> Self {
        self.source = Source::File(path.into());
        self
    }

    /// Takes `text` for the configuration: for a program that has its settings from elsewhere, and trusts that. Errors call
    /// it `name`.
    pub fn text(mut self, name: impl Into<PathBuf>, text: impl Into<String>) -> Self {
        self.source = Source::Text(name.into(), text.into());
        self
    }

    /// Reads the user's configuration, if it is there:
    /// `$XDG_CONFIG_HOME/envctl/config.toml`, or `~/.config/envctl/config.toml`.
    pub fn user_file(mut self) -> Self {
        self.source = Source::User;
        self
    }

    /// Puts a profile of the configuration first.
    pub fn profile(mut self, name: impl Into<String>) -> Self {
        self.profile = Some(name.into());
        self
    }

    /// Says a setting of a provider, over what the configuration says.
    pub fn set(mut self, provider: &str, setting: &str, value: impl Into<OsString>) -> Self {
        let (provider, name) = (provider.to_owned(), setting.to_owned());
        self.given.push(Given { provider, name, value: value.into() });
        self
    }

    /// Asks these for secrets, in place of the environment.
    pub fn secrets(mut self, secrets: Arc<dyn Secrets>) -> Self {
        self.secrets = secrets;
        self
    }

    /// Tells this observer of each call of a key store, whatever the configuration says of layers.
    pub fn observe(mut self, observer: Arc<dyn Observer>) -> Self {
        self.observers.push(observer);
        self
    }

    /// Tells this listener of each key whose state changes through the [registry](Providers::registry), before the
    /// call returns: such as [`DataKeys`](envelope_layers::DataKeys). The [caches](Providers::caches) hear of it anyway.
    pub fn report_to(mut self, listener: Arc<dyn KeyStateListener>) -> Self {
        self.key_states.push(listener);
        self
    }

    /// Tells this listener what the keyrings do: hedges, failovers, keys that did not wrap.
    pub fn tell(mut self, listener: Arc<dyn KeyringListener>) -> Self {
        self.listeners.push(listener);
        self
    }

    /// Puts a layer of the program's own over each key store: over the layers of the configuration, and under whatever may
    /// refuse a call, such as a policy, or writes it down. So one that answers by itself, as a cache does, hides no use of a key.
    /// It is made once for each instance of a key store.
    pub fn outermost(
        mut self,
        layer: impl Fn(Arc<dyn KeyProvider>) -> Arc<dyn KeyProvider> + Send + Sync + 'static,
    ) -> Self {
        self.outermost.push(Arc::new(layer));
        self
    }

    /// Puts this policy before every key store, in place of the one that the configuration names.
    pub fn policy(mut self, policy: PolicyFile) -> Self {
        self.policy = Some(policy);
        self
    }

    /// Says who asks the policy, and acts in the audit log. `library:` and the name of the program's file, unless it is said.
    pub fn actor(mut self, actor: Actor) -> Self {
        self.actor = Some(actor);
        self
    }

    /// Tells this listener of each decision of the policy.
    pub fn decided(mut self, listener: Arc<dyn Decided>) -> Self {
        self.decided.push(listener);
        self
    }

    /// Records in the log at this path, in place of the one that the configuration names, and as `[audit]` says otherwise.
    #[cfg(feature = "audit")]
    pub fn audit_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.audit.file = Some(path.into());
        self
    }

    /// Records nothing, whatever the configuration says: for who looks after the log itself.
    #[cfg(feature = "audit")]
    pub fn without_audit(mut self) -> Self {
        self.audit.is_off = true;
        self
    }

    /// The request that everything belongs to which is recorded: for a process that is one request. 1 to 128 bytes.
    #[cfg(feature = "audit")]
    pub fn request(mut self, id: impl Into<String>) -> Self {
        self.audit.request = Some(id.into());
        self
    }

    /// Lets the log be [written by whoever records](envelope_audit::LogOptions::write_on_callers_threads), for a program whose threads
    /// may wait for a disk.
    #[cfg(feature = "audit")]
    pub fn record_on_callers_threads(mut self) -> Self {
        self.audit.on_callers_threads = true;
        self
    }

    /// Leaves the sink `stdout` of `[audit]` out: standard output is the program's own.
    #[cfg(feature = "audit")]
    pub fn keep_standard_output(mut self) -> Self {
        self.audit.keeps_stdout = true;
        self
    }

    /// Reads the configuration. No key store is opened yet.
    ///
    /// # Errors
    ///
    /// [`ProvidersError`] that names the file and what is wrong with it, or the
    /// setting that is not taken.
    pub fn build(self) -> Result<Providers, ProvidersError> {
        self.check_given()?;
        let source = self.source.read()?;
        let (path, text) = source.as_ref().map_or((Path::new(""), ""), |(path, text)| (path, text.as_str()));
        let wrong = |error: &toml::de::Error| ProvidersError::Content {
            path: path.into(),
            what: file::without_values(text, error),
        };
        let mut document = Document::parse(text, &self.registered).map_err(|error| wrong(&error))?;
        let of_profile = document.choose_profile(self.profile.as_deref())?;
        let mut given = self.given;
        // The one setting of a key store that a profile has too; what the call says goes before it.
        if let Some(path) = of_profile {
            let (provider, name) = ("local".to_owned(), "keystore".to_owned());
            given.insert(0, Given { provider, name, value: path.into() });
        }
        let is_keystore = |given: &&Given| given.provider == "local" && given.name == "keystore";
        let named = given.iter().rfind(is_keystore).map(|given| PathBuf::from(&given.value));
        let of_table = document
            .settle_keystore(named.is_some())
            .map_err(|what| ProvidersError::Content { path: path.into(), what: what.into() })?;
        let keystore = named.or(of_table);
        let keys = document.keys();
        let secrets: Arc<dyn Secrets> = Arc::new(InTurn::new(self.secrets));
        let around = Surroundings::new(Arc::clone(&secrets)).keys(keys.all());
        let told = |error: OpenError, provider: &'static str| match error {
            OpenError::Table(error) => wrong(&error),
            OpenError::Setting { name, error } => {
                ProvidersError::Setting { provider: provider.to_owned(), setting: name, error }
            }
            OpenError::Scheme(error) if path.as_os_str().is_empty() => error.into(),
            OpenError::Scheme(error) => {
                ProvidersError::Table { path: path.into(), provider, error: Box::new(error) }
            }
        };
        let mut caches = Caches::default();
        let policy = match self.policy {
            Some(policy) => Some(policy),
            None => {
                let named = document
                    .policy()
                    .map_err(|what| ProvidersError::Content { path: path.into(), what: what.into() })?;
                named.map(PolicyFile::open).transpose()?
            }
        };
        // Before the key stores take their tables.
        let own = source.as_ref().map(|(path, _)| path.clone());
        let of_policy = policy.as_ref().map(|policy| policy.path().to_owned());
        let files = own.into_iter().chain(of_policy).chain(document.files()).collect();
        let mut metrics = None;
        let mut schemes = Vec::with_capacity(self.registered.len());
        for registration in &self.registered {
            let of_it = |given: &&Given| given.provider == registration.provider;
            let given = given.iter().filter(of_it).cloned().collect();
            let layers = document.layers(registration.provider);
            document
                .keyring()
                .check(&layers)
                .map_err(|what| ProvidersError::Content { path: path.into(), what })?;
            // One counts what all keyrings do: it is not of any key store.
            metrics = metrics.or_else(|| layers.listener());
            let stack = layers.stack(document.retry_budget());
            let scheme = (registration.open)(document.table(registration.provider), given, &around);
            let scheme = scheme.map_err(|error| told(error, registration.provider))?;
            let stack = self.observers.iter().map(Arc::clone).fold(stack, Stack::observe);
            let stack = self.key_states.iter().map(Arc::clone).fold(stack, Stack::report_to);
            if let Some(store) = stack.cache_store() {
                caches.add(registration.provider, store.clone());
            }
            let outermost = self.outermost.iter().map(Arc::clone);
            let stack = outermost.fold(stack, |stack, layer| stack.outermost(move |below| layer(below)));
            // The policy stands over the cache, which asks nobody below.
            schemes.push(stack.over_scheme(scheme));
        }
        let listeners = self.listeners.into_iter().chain(metrics).collect();
        let common = Common::new(document.keyring(), listeners);
        #[cfg(not(feature = "audit"))]
        if document.audit().is_some() {
            let what = "[audit]: this program has no audit log (the feature `audit` of envelope-providers)";
            return Err(ProvidersError::Content { path: path.into(), what: what.into() });
        }
        #[cfg(feature = "audit")]
        let (log, decided) = {
            let actor_is_given = self.actor.is_some();
            let words = document.audit();
            let around = crate::audit::Around {
                actor: match &self.actor {
                    Some(actor) => actor.to_string(),
                    None => crate::policy::this_program()?.to_string(),
                },
                actor_is_given,
                configuration: source.as_ref().map(|(_, text)| text.as_str()),
                policy: policy.as_ref(),
                schemes: &schemes,
                keys: &keys,
            };
            let log = crate::audit::AuditWords::log(words, self.audit, &around)
                .map_err(|what| ProvidersError::Content { path: path.into(), what: what.into() })?;
            let noted = log.as_ref().map(|_| Arc::new(crate::audit::Noted) as Arc<dyn Decided>);
            (log, self.decided.into_iter().chain(noted).collect())
        };
        #[cfg(not(feature = "audit"))]
        let decided = self.decided;
        let governed = Governed::new(schemes, policy, self.actor, decided)?;
        #[cfg(feature = "audit")]
        let governed = governed.recorded_in(log);
        let registry = governed.registry();
        Ok(Providers { registry, governed, keys, keystore, files, secrets, caches, common })
    }

    fn check_given(&self) -> Result<(), ProvidersError> {
        let is_registered =
            |given: &&Given| self.registered.iter().any(|known| known.provider == given.provider);
        match self.given.iter().find(|given| !is_registered(given)) {
            None => Ok(()),
            Some(Given { provider, name, .. }) => {
                let (provider, setting) = (provider.clone(), name.clone());
                Err(ProvidersError::Setting { provider, setting, error: SettingError::Unknown })
            }
        }
    }
}
