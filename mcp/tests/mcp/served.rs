//! What is served: a keystore with three keys, and a tree of envelopes for them.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use envelope_local::{Argon2Params, Keystore, Passphrase};
use envelope_mcp::{
    Buckets, Caller, Check, CheckResult, ConfiguredKeys, Document, Estimate, Event, Explanation, Facade,
    Failure, FoundObject, Installation, KeyMetadata, KeyStore, Kind, Look, PolicyMetadata, PolicySummary,
    Prices, Question, Recorder, Roots, Server,
};
use envelope_sdk::{
    EncryptionContext, Envelope, KeyAdmin, KeyChange, KeyDescription, KeyState, KeyUri, Keyring, NewKey,
    admin::{KeyPage, RotationStatus},
};
use futures_util::stream::BoxStream;
use tempfile::TempDir;
use tokio::sync::Semaphore;

/// In the passphrase and in every plaintext: nowhere else may it ever be.
pub(crate) const CANARY: &str = "canary-3f9c";

pub(crate) struct Served {
    pub(crate) folder: TempDir,
    pub(crate) keystore: Arc<Keystore>,
    pub(crate) recorded: Arc<Mutex<Vec<Event>>>,
    /// Keys whose envelopes the policy does not show.
    pub(crate) hidden: Vec<String>,
    pub(crate) denies: bool,
    pub(crate) panics: bool,
    pub(crate) cannot_record: bool,
    /// The client may look at no envelope, and at all else.
    pub(crate) inspects_nothing: bool,
    /// Lists of keys wait here.
    pub(crate) gate: Option<Arc<Gate>>,
    /// Where there are any, there is a bucket.
    pub(crate) objects: Vec<FoundObject>,
    /// Behind which names the bucket was listed.
    pub(crate) listed: Arc<Mutex<Vec<Option<String>>>>,
}

/// The bucket.
pub(crate) const BUCKET: &str = "s3://bucket";

/// Calls that have come, and that may go on.
pub(crate) struct Gate {
    pub(crate) come: Semaphore,
    pub(crate) go: Semaphore,
}

impl Gate {
    pub(crate) fn closed() -> Arc<Self> {
        Arc::new(Self { come: Semaphore::new(0), go: Semaphore::new(0) })
    }

    /// Waits until so many have come.
    pub(crate) async fn wait_for(&self, calls: u32) {
        self.come.acquire_many(calls).await.unwrap().forget();
    }
}

impl Served {
    /// Keys `old` (compromised), `main` (rotated once) and `due`; `tree/both`, `tree/sub/main` and `tree/sub/only-old`.
    pub(crate) async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let passphrase = Passphrase::new(format!("{CANARY} passphrase")).unwrap();
        let path = folder.path().join("keystore.json");
        let keystore = Arc::new(Keystore::create_with(path, &passphrase, Argon2Params::MINIMUM).unwrap());
        for name in ["old", "main", "due"] {
            keystore.create_key(&NewKey::named(name)).await.unwrap();
        }
        let due = keystore.key_uri("due").unwrap();
        keystore.set_not_after(&due, None, Some(1_000_000_000)).await.unwrap();
        let served = Self {
            folder,
            keystore,
            recorded: Arc::default(),
            hidden: Vec::new(),
            denies: false,
            panics: false,
            cannot_record: false,
            inspects_nothing: false,
            gate: None,
            objects: Vec::new(),
            listed: Arc::default(),
        };
        fs::create_dir_all(served.root().join("sub")).unwrap();
        served.write("both", &["old", "main"], &EncryptionContext::new().with("tenant", "42")).await;
        served.write("sub/main", &["main"], &EncryptionContext::new().with("tenant", "7")).await;
        served.write("sub/only-old", &["old"], &EncryptionContext::new().withhold("order", "1")).await;
        fs::write(served.root().join("plain.txt"), "no envelope").unwrap();
        let old = served.keystore.key_uri("old").unwrap();
        let compromised = KeyChange::State(KeyState::Compromised);
        served.keystore.change_key(&old, None, compromised).await.unwrap();
        served.keystore.rotate_key(&served.keystore.key_uri("main").unwrap()).await.unwrap();
        served
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.folder.path().join("tree")
    }

    pub(crate) fn path(&self, name: &str) -> String {
        fs::canonicalize(self.root()).unwrap().join(name).to_str().unwrap().to_owned()
    }

    pub(crate) async fn sealed(&self, keys: &[&str], context: &EncryptionContext) -> Vec<u8> {
        let keyring = keys.iter().fold(Keyring::new(), |keyring, key| {
            keyring.encrypt(self.keystore.clone(), self.keystore.key_uri(key).unwrap())
        });
        let plaintext = format!("{CANARY} plaintext");
        Envelope::new(keyring).encrypt(plaintext.as_bytes(), context).await.unwrap()
    }

    pub(crate) async fn write(&self, name: impl AsRef<Path>, keys: &[&str], context: &EncryptionContext) {
        fs::write(self.root().join(name), self.sealed(keys, context).await).unwrap();
    }

    /// The beginning of an envelope: whose it is cannot be told.
    pub(crate) async fn write_broken(&self, name: &str) {
        let sealed = self.sealed(&["main"], &EncryptionContext::new()).await;
        fs::write(self.root().join(name), &sealed[..40]).unwrap();
    }

    pub(crate) fn server(&self) -> Server {
        Server::for_caller(self.facade(), Caller::local())
    }

    pub(crate) fn facade(&self) -> Facade {
        let asked = Arc::new(Asked {
            keystore: self.keystore.path().to_owned(),
            hidden: self.hidden.clone(),
            denies: self.denies,
            inspects_nothing: self.inspects_nothing,
            panics: self.panics,
            gate: self.gate.clone(),
            objects: self.objects.clone(),
            listed: Arc::clone(&self.listed),
        });
        Facade {
            keys: asked.clone(),
            policy: asked.clone(),
            roots: Arc::new(Roots::open(&[self.root()]).unwrap()),
            buckets: asked.clone(),
            prices: asked.clone(),
            audit: None,
            installation: asked,
            recorder: Some(Arc::new(Recorded {
                events: Arc::clone(&self.recorded),
                fails: self.cannot_record,
            })),
            documents: [Document { name: "page", title: "A page", text: "# A page\n" }].into(),
        }
    }
}

struct Asked {
    keystore: PathBuf,
    hidden: Vec<String>,
    denies: bool,
    inspects_nothing: bool,
    panics: bool,
    gate: Option<Arc<Gate>>,
    objects: Vec<FoundObject>,
    listed: Arc<Mutex<Vec<Option<String>>>>,
}

#[async_trait]
impl KeyMetadata for Asked {
    fn stores(&self) -> Vec<KeyStore> {
        vec![KeyStore { name: "local", is_authenticated: false }]
    }

    fn configured(&self) -> ConfiguredKeys {
        let uri = KeyUri::parse("local:main").unwrap();
        ConfiguredKeys { encrypt: vec![uri], decrypt: Vec::new() }
    }

    async fn list(&self, _: &Caller, _: &str, _: Option<&str>) -> Result<KeyPage, Failure> {
        assert!(!self.panics, "{CANARY} in a panic");
        if let Some(gate) = &self.gate {
            gate.come.add_permits(1);
            gate.go.acquire().await.unwrap().forget();
        }
        let keys = Keystore::read_keys(&self.keystore)
            .map_err(|error| Failure::new(Kind::InputOutput, error.to_string()))?;
        Ok(KeyPage::new(keys, None))
    }

    async fn describe(&self, caller: &Caller, key: &str) -> Result<KeyDescription, Failure> {
        let keys = self.list(caller, "local", None).await?.keys;
        let name = key.strip_prefix("local:").unwrap_or(key);
        let is_it = |known: &KeyDescription| {
            known.uri.as_str() == key || known.uri.as_str().ends_with(&format!("/{name}"))
        };
        keys.into_iter()
            .find(is_it)
            .ok_or_else(|| Failure::new(Kind::KeyRefused, format!("there is no key {key}")))
    }

    async fn rotations(&self, _: &Caller, _: &str) -> Result<RotationStatus, Failure> {
        Err(Failure::usage("this key store keeps no history"))
    }

    fn store_of(&self, key: &KeyUri) -> Option<&'static str> {
        (key.scheme() == "local").then_some("local")
    }
}

impl PolicyMetadata for Asked {
    fn check(&self, _: &Caller, look: Look, key: Option<&KeyUri>) -> Result<(), Failure> {
        if self.denies
            || (self.inspects_nothing && look == Look::Inspect)
            || key.is_some_and(|key| self.hidden.iter().any(|hidden| key.as_str().ends_with(hidden)))
        {
            return Err(Failure::new(Kind::KeyRefused, "denied by the default"));
        }
        Ok(())
    }

    fn may(&self, caller: &Caller, look: Look) -> Result<(), Failure> {
        self.check(caller, look, None)
    }

    fn shows(&self, caller: &Caller, key: &KeyUri) -> bool {
        self.check(caller, Look::Inspect, Some(key)).is_ok()
    }

    fn summary(&self) -> Result<Option<PolicySummary>, Failure> {
        Ok(None)
    }

    fn explain(&self, question: &Question) -> Result<Explanation, Failure> {
        Ok(Explanation {
            allowed: question.operation == "list",
            rule: None,
            unmet: None,
            open: Vec::new(),
            policy: "0123456789abcdef".into(),
        })
    }
}

impl Buckets for Asked {
    fn urls(&self) -> Vec<String> {
        if self.objects.is_empty() { Vec::new() } else { vec![BUCKET.into()] }
    }

    fn objects(
        &self,
        url: &str,
        after: Option<&str>,
    ) -> Result<BoxStream<'static, Result<FoundObject, Failure>>, Failure> {
        assert_eq!(url, BUCKET);
        self.listed.lock().unwrap().push(after.map(ToOwned::to_owned));
        let behind = |object: &&FoundObject| after.is_none_or(|after| object.name.as_str() > after);
        let objects: Vec<_> = self.objects.iter().filter(behind).cloned().map(Ok).collect();
        Ok(Box::pin(futures_util::stream::iter(objects)))
    }
}

impl Prices for Asked {
    fn estimate(&self, store: &str, calls: u64, _: Option<u32>) -> Estimate {
        Estimate {
            store: store.into(),
            calls,
            usd: Some(0.0),
            quota_per_second: None,
            hours_at_quota: None,
            hours_at_rate: None,
            source: None,
            date: None,
            note: None,
        }
    }
}

#[async_trait]
impl Installation for Asked {
    async fn doctor(&self) -> Vec<Check> {
        let detail = self.keystore.display().to_string();
        vec![Check { name: "keystore".into(), result: CheckResult::Ok, detail, what_to_do: None }]
    }

    fn configuration(&self) -> Result<String, Failure> {
        Ok("{}".into())
    }
}

struct Recorded {
    events: Arc<Mutex<Vec<Event>>>,
    fails: bool,
}

#[async_trait]
impl Recorder for Recorded {
    async fn record(&self, event: &Event) -> Result<(), Failure> {
        if self.fails {
            return Err(Failure::new(Kind::InputOutput, "the audit log cannot be written"));
        }
        self.events.lock().unwrap().push(event.clone());
        Ok(())
    }
}
