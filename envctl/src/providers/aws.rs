//! AWS KMS.

use std::{
    collections::BTreeSet,
    env,
    io::Write as _,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, OnceLock, PoisonError},
    thread,
};

use async_trait::async_trait;
use envelope_aws::{AwsKms, RotationKind};
use envelope_files::trust::{self, Purpose};
use envelope_sdk::{
    ContextBinding, Dek, FullContext, KeyAdmin, KeyChange, KeyDescription, KeyProvider, KeyState, KeyUri,
    ProviderError, WrappedDek, printable,
};
use serde_json::{Map, Value, json};

use super::{Backend, NewKey, Period};
use crate::{
    config::AwsSettings,
    error::{CliError, ErrorKind, Result},
    report,
    runtime::block_on,
};

/// AWS KMS, with the credentials of the SDK's default chain.
pub(crate) struct Aws {
    settings: AwsSettings,
    kms: OnceLock<Arc<AwsKms>>,
    /// One for all keys, so that KMS may rewrap from one to another.
    provider: OnceLock<Arc<ResolvingAliases>>,
}

impl Aws {
    pub(super) fn new(settings: &AwsSettings) -> Self {
        Self { settings: settings.clone(), kms: OnceLock::new(), provider: OnceLock::new() }
    }

    /// Reads the environment and AWS's own configuration files; nothing is asked
    /// over the network.
    fn kms(&self) -> Result<&Arc<AwsKms>> {
        if self.kms.get().is_none() {
            check_shared_files()?;
        }
        Ok(self.kms.get_or_init(|| {
            let settings = self.settings.clone();
            let mut builder = AwsKms::builder().replica_regions(settings.replica_regions);
            if let Some(profile) = settings.profile {
                builder = builder.profile(profile);
            }
            if let Some(region) = settings.region {
                builder = builder.region(region);
            }
            if let Some(url) = settings.endpoint_url {
                builder = builder.endpoint_url(url);
            }
            if let Some(fips) = settings.fips {
                builder = builder.fips_endpoints(fips);
            }
            if let Some(role) = settings.role {
                builder = builder.assume_role(role, settings.external_id);
            }
            Arc::new(block_on(builder.build()))
        }))
    }
}

impl Backend for Aws {
    fn provider(&self) -> Result<Arc<dyn KeyProvider>> {
        let kms = self.kms()?;
        let provider = self
            .provider
            .get_or_init(|| Arc::new(ResolvingAliases { kms: Arc::clone(kms), asked: Mutex::default() }));
        Ok(Arc::clone(provider) as _)
    }

    fn admin(&self) -> Result<Arc<dyn KeyAdmin>> {
        Ok(Arc::clone(self.kms()?) as _)
    }

    fn check_new(&self, new: &NewKey) -> Result<()> {
        check_words(new)
    }

    fn create(&self, new: &NewKey) -> Result<KeyDescription> {
        check_words(new)?;
        let key = envelope_aws::NewKey {
            alias: Some(new.name.clone()),
            description: new.description.clone(),
            tags: new.tags.iter().cloned().collect(),
            multi_region: false,
        };
        Ok(block_on(self.kms()?.create(&key))?.describe())
    }

    fn check_change(&self, key: &KeyDescription, version: Option<&str>, change: KeyChange) -> Result<()> {
        let refuse = |message: &str| Err(CliError::usage(format!("{}: {message}", key.uri)));
        if version.is_some() {
            return refuse("versions of an AWS KMS key have no names");
        }
        match change {
            KeyChange::State(KeyState::Active | KeyState::Suspended) => Ok(()),
            KeyChange::State(KeyState::Destroyed) if key.state == KeyState::Active => Err(CliError::new(
                ErrorKind::KeyRefused,
                format!("{}: the key is active: suspend it first", key.uri),
            )),
            KeyChange::State(KeyState::Destroyed) => Ok(()),
            _ => refuse("AWS KMS has no such state"),
        }
    }

    fn details(&self, key: &KeyUri) -> Result<Map<String, Value>> {
        let kms = self.kms()?;
        let described = block_on(kms.describe(key))?;
        let aliases = block_on(kms.aliases(&described.uri))?;
        let mut details = Map::new();
        details.insert("aws_state".into(), described.state.name().into());
        if !described.description.is_empty() {
            details.insert("description".into(), described.description.into());
        }
        details.insert("origin".into(), described.origin.into());
        details.insert("multi_region".into(), described.multi_region.into());
        details.insert("aliases".into(), aliases.iter().map(KeyUri::as_str).collect());
        if let Some(date) = described.deletion {
            details.insert("deletion".into(), report::time(date).into());
        }
        Ok(details)
    }

    fn rotate_every(&self, key: &KeyUri, period: Option<Period>) -> Result<()> {
        let kms = self.kms()?;
        Ok(match period {
            None => block_on(kms.disable_rotation(key)),
            Some(Period::Default) => block_on(kms.enable_rotation(key, None)),
            Some(Period::Days(days)) => block_on(kms.enable_rotation(key, Some(days))),
        }?)
    }

    fn rotations(&self, key: &KeyUri) -> Result<Map<String, Value>> {
        let kms = self.kms()?;
        let status = block_on(kms.rotation_status(key))?;
        let rotations = block_on(kms.rotations(key))?;
        let past = rotations.iter().map(|rotation| {
            let kind = match rotation.kind {
                RotationKind::Automatic => "automatic",
                RotationKind::OnDemand => "on demand",
                _ => "unknown",
            };
            json!({ "date": rotation.date.map(report::time), "kind": kind })
        });
        let mut details = Map::new();
        details.insert("automatic".into(), status.automatic.into());
        details.insert("period_days".into(), status.period_days.into());
        details.insert("next".into(), status.next.map(report::time).into());
        details.insert("on_demand_since".into(), status.on_demand_since.map(report::time).into());
        details.insert("rotations".into(), past.collect());
        Ok(details)
    }

    fn set_alias(&self, alias: &str, key: &KeyUri) -> Result<KeyUri> {
        let kms = self.kms()?;
        // An alias lies beside its key.
        let beside = key.as_str().rsplit_once(':').map_or("", |(place, _)| place);
        let uri = KeyUri::parse(&format!("{beside}:alias/{alias}"))?;
        match block_on(kms.resolve(&uri)) {
            Ok(_) => block_on(kms.switch_alias(&uri, key))?,
            Err(error) if error.kind() == envelope_sdk::ProviderErrorKind::NotFound => {
                block_on(kms.create_alias(alias, key))?;
            }
            Err(error) => return Err(error.into()),
        }
        Ok(uri)
    }

    fn restore(&self, key: &KeyUri) -> Result<KeyDescription> {
        let kms = self.kms()?;
        block_on(kms.cancel_deletion(key))?;
        Ok(block_on(kms.describe_key(key))?)
    }
}

fn check_words(new: &NewKey) -> Result<()> {
    if new.pre_active {
        return Err(CliError::usage("AWS KMS makes active keys alone").hint("create it, then suspend it"));
    }
    Ok(())
}

/// AWS's shared files choose endpoints, roles and programs to run
/// (`credential_process`), and hold secrets. The SDK opens them by name afterwards:
/// by then nobody else can exchange them, since no folder on the way is theirs.
fn check_shared_files() -> Result<()> {
    for (variable, name, purpose) in [
        ("AWS_CONFIG_FILE", "config", Purpose::Settings),
        ("AWS_SHARED_CREDENTIALS_FILE", "credentials", Purpose::Secret),
    ] {
        let path = shared_file(env::var(variable).ok(), env::var("HOME").ok(), name);
        // Both mean that there is none.
        if path.as_os_str().is_empty() || path == Path::new("/dev/null") {
            continue;
        }
        match trust::open(&path, purpose) {
            Err(error) if !error.is_not_found() => {
                let hint = format!("where it is not needed, {variable}=/dev/null leaves it out");
                return Err(CliError::from(error).hint(hint));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Where the SDK reads it: to it a variable that is not UTF-8 is none, and `~`
/// is a folder of this name where there is no home.
fn shared_file(named: Option<String>, home: Option<String>, name: &str) -> PathBuf {
    let path = named.map_or_else(|| Path::new("~/.aws").join(name), PathBuf::from);
    match (path.strip_prefix("~"), home) {
        (Ok(beyond), Some(home)) => Path::new(&home).join(beyond),
        _ => path,
    }
}

/// Asks KMS what an alias means when an envelope has a recipient of KMS, and
/// not before: other envelopes open without a network.
struct ResolvingAliases {
    kms: Arc<AwsKms>,
    asked: Mutex<BTreeSet<KeyUri>>,
}

impl ResolvingAliases {
    fn resolve_once(&self, alias: &KeyUri) {
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        if !asked.insert(alias.clone()) {
            return;
        }
        // This is called where a future is being waited for: another thread can wait for one more.
        let resolved = thread::scope(|scope| {
            let asking = thread::Builder::new().spawn_scoped(scope, || block_on(self.kms.resolve(alias)));
            let answer = asking.map_err(|error| error.to_string())?.join();
            answer.map_or(Ok(()), |answer| answer.map(drop).map_err(|error| error.to_string()))
        });
        if let Err(error) = resolved {
            let line = printable::text(&format!("warning: {error}; it opens nothing"));
            // Where standard error is closed, nobody reads it.
            let _ = writeln!(anstream::stderr(), "{line}");
        }
    }
}

#[async_trait]
impl KeyProvider for ResolvingAliases {
    fn name(&self) -> &'static str {
        self.kms.name()
    }

    fn context_binding(&self, wrapped: &WrappedDek) -> ContextBinding {
        self.kms.context_binding(wrapped)
    }

    fn is_same_key(&self, configured: &KeyUri, recipient: &KeyUri) -> bool {
        if self.kms.is_same_key(configured, recipient) {
            return true;
        }
        if !configured.is_resolved() && recipient.scheme() == configured.scheme() {
            self.resolve_once(configured);
        }
        self.kms.is_same_key(configured, recipient)
    }

    async fn wrap_dek(
        &self,
        key: &KeyUri,
        dek: &Dek,
        context: &FullContext,
    ) -> std::result::Result<WrappedDek, ProviderError> {
        self.kms.wrap_dek(key, dek, context).await
    }

    async fn unwrap_dek(
        &self,
        wrapped: &WrappedDek,
        context: &FullContext,
    ) -> std::result::Result<Dek, ProviderError> {
        self.kms.unwrap_dek(wrapped, context).await
    }

    fn generates_deks(&self, key: &KeyUri) -> bool {
        self.kms.generates_deks(key)
    }

    async fn generate_dek(
        &self,
        key: &KeyUri,
        context: &FullContext,
    ) -> std::result::Result<(Dek, WrappedDek), ProviderError> {
        self.kms.generate_dek(key, context).await
    }

    async fn rewrap_dek(
        &self,
        wrapped: &WrappedDek,
        key: &KeyUri,
        context: &FullContext,
    ) -> std::result::Result<Option<WrappedDek>, ProviderError> {
        self.kms.rewrap_dek(wrapped, key, context).await
    }
}
