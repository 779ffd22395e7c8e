//! What the server is handed to ask. Nothing here wraps, unwraps or changes a key, or opens anything that is encrypted: no
//! method takes or gives a key, a DEK, a plaintext or a secret.

use std::{sync::Arc, time::SystemTime};

use async_trait::async_trait;
use envelope_sdk::{
    Header, KeyDescription, KeyUri,
    admin::{KeyPage, RotationStatus},
};
use futures_util::stream::BoxStream;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Caller, Denial, Failure, Kind, Roots};

/// All that the tools ask. What is `None` is not configured, and its tools say so.
#[derive(Clone)]
pub struct Facade {
    /// Keys and key stores.
    pub keys: Arc<dyn KeyMetadata>,
    /// What the caller may see.
    pub policy: Arc<dyn PolicyMetadata>,
    /// The folders that files are read in.
    pub roots: Arc<Roots>,
    /// Buckets.
    pub buckets: Arc<dyn Buckets>,
    /// What calls to key stores cost.
    pub prices: Arc<dyn Prices>,
    /// The audit log that is searched and verified.
    pub audit: Option<Arc<dyn AuditMetadata>>,
    /// The installation itself.
    pub installation: Arc<dyn Installation>,
    /// Whoever writes down what was asked.
    pub recorder: Option<Arc<dyn Recorder>>,
    /// Pages of documentation, `envctl://docs/NAME`.
    pub documents: Arc<[Document]>,
}

/// What there is to know of keys.
#[async_trait]
pub trait KeyMetadata: Send + Sync {
    /// The key stores that list keys.
    fn stores(&self) -> Vec<KeyStore>;

    /// The keys that the configuration names.
    fn configured(&self) -> ConfiguredKeys;

    /// Keys of a key store, a page at a time, without those that the policy does not show to `caller`.
    ///
    /// # Errors
    ///
    /// [`Failure`] when the policy or the key store refuses, or it does not answer.
    async fn list(&self, caller: &Caller, store: &str, page: Option<&str>) -> Result<KeyPage, Failure>;

    /// One key, by URI, alias or bare name.
    ///
    /// # Errors
    ///
    /// As [`list`](Self::list), and when there is no such key.
    async fn describe(&self, caller: &Caller, key: &str) -> Result<KeyDescription, Failure>;

    /// How a key rotates, and when it did.
    ///
    /// # Errors
    ///
    /// As [`describe`](Self::describe), and when its key store keeps no such history.
    async fn rotations(&self, caller: &Caller, key: &str) -> Result<RotationStatus, Failure>;

    /// The name of the key store whose key this is, of this build.
    fn store_of(&self, key: &KeyUri) -> Option<&'static str>;
}

/// A key store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyStore {
    /// The name of its provider: `aws`, `local`, …
    pub name: &'static str,
    /// False when what it tells is read from a file whose MAC nobody checked, since that takes a passphrase.
    pub is_authenticated: bool,
}

/// The keys of the configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ConfiguredKeys {
    /// Those that encrypt.
    pub encrypt: Vec<KeyUri>,
    /// Those that decrypt besides.
    pub decrypt: Vec<KeyUri>,
}

/// What a tool does, as a policy knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Look {
    /// Lists keys: asked of each key by [`KeyMetadata`].
    List,
    /// Describes a key: asked by [`KeyMetadata`].
    Describe,
    /// Reads the headers of envelopes: asked of the keys of each.
    Inspect,
    /// Tells of policy, log, jobs and installation: asked once for a call.
    Survey,
}

impl Look {
    /// Every one.
    pub const ALL: [Self; 4] = [Self::List, Self::Describe, Self::Inspect, Self::Survey];
}

/// What a policy says.
pub trait PolicyMetadata: Send + Sync {
    /// Refuses what `caller` may not do, and counts it.
    ///
    /// # Errors
    ///
    /// [`Failure`] of kind [`KeyRefused`](crate::Kind::KeyRefused).
    fn check(&self, caller: &Caller, look: Look, key: Option<&KeyUri>) -> Result<(), Failure>;

    /// Refuses a caller to whom `look` is allowed at no key at all: a tool tells such a one nothing. Nothing is counted.
    ///
    /// # Errors
    ///
    /// As [`check`](Self::check).
    fn may(&self, caller: &Caller, look: Look) -> Result<(), Failure>;

    /// Whether `caller` may see an envelope of this key. Nothing is counted.
    fn shows(&self, caller: &Caller, key: &KeyUri) -> bool;

    /// The policy; `None` without one.
    ///
    /// # Errors
    ///
    /// [`Failure`] when its file is wrong.
    fn summary(&self) -> Result<Option<PolicySummary>, Failure>;

    /// What it decides.
    ///
    /// # Errors
    ///
    /// [`Failure`] when there is no policy, or the question names what there is not.
    fn explain(&self, question: &Question) -> Result<Explanation, Failure>;
}

/// A policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct PolicySummary {
    /// The first 16 of the 64 hexadecimal digits of its SHA-256.
    pub id: String,
    /// The names of its rules, in their order.
    pub rules: Vec<String>,
    /// Rules behind one that takes everything.
    pub unreachable: Vec<String>,
}

/// A question to a policy.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Question {
    /// Who: `cli:alice`, `library:billing`, `mcp:local`.
    pub actor: String,
    /// What: `wrap`, `unwrap`, `rewrap`, `list`, `describe`, `inspect`, `survey`, `create`, `rotate`, `destroy`, …
    pub operation: String,
    /// Which key: a URI, an alias, or the bare name of a key. Without one, no key in particular.
    #[serde(default)]
    pub key: Option<String>,
    /// The encryption context, each entry as NAME=VALUE.
    #[serde(default)]
    pub context: Vec<String>,
    /// How many recipients the envelope has, or will have.
    #[serde(default)]
    pub recipients: Option<u32>,
    /// The state of the key: `active`, `suspended`, …
    #[serde(default)]
    pub state: Option<String>,
    /// When: a day, or a time such as 2026-11-29T10:00:00Z. Now, unless it is said.
    #[serde(default)]
    pub at: Option<String>,
}

/// What a policy decides, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Explanation {
    /// Whether it is allowed, once nothing is open any more.
    pub allowed: bool,
    /// The rule that decides; null: the default.
    pub rule: Option<String>,
    /// What the rule requires and does not hold.
    pub unmet: Option<String>,
    /// What the rule requires and the question did not say. Whoever cannot find out denies.
    pub open: Vec<String>,
    /// Which policy: the first 16 hexadecimal digits of its SHA-256.
    pub policy: String,
}

/// Buckets whose envelopes are looked at.
pub trait Buckets: Send + Sync {
    /// The URLs that the configuration names: `s3://NAME/PREFIX`, `gs://…`, `az://…`.
    fn urls(&self) -> Vec<String>;

    /// The objects of one of those URLs, in the order of their names, with the headers of those that are envelopes. `after`: the
    /// name of an object, whether or not it is there still; only what comes behind it is listed. An error in the stream is of the
    /// listing.
    ///
    /// # Errors
    ///
    /// [`Failure`] when it cannot be opened.
    fn objects(
        &self,
        url: &str,
        after: Option<&str>,
    ) -> Result<BoxStream<'static, Result<FoundObject, Failure>>, Failure>;
}

/// An object that was listed, and looked at.
#[derive(Debug, Clone)]
pub struct FoundObject {
    /// Its name, such as `s3://bucket/2026/a.envelope`.
    pub name: String,
    /// What it is; `None` where it is no envelope, or is gone. The failure is of this object alone.
    pub envelope: Result<Option<FoundEnvelope>, Failure>,
}

/// An object that is an envelope, or a detached header.
#[derive(Debug, Clone)]
pub struct FoundEnvelope {
    /// Its header. Nothing of it is verified.
    pub header: Header,
    /// Whether it is armored.
    pub is_armored: bool,
    /// When it was last written.
    pub modified: Option<SystemTime>,
}

/// What calls to key stores cost.
pub trait Prices: Send + Sync {
    /// What so many calls to a key store take. `rate`: most calls in a second, as a job would make them.
    fn estimate(&self, store: &str, calls: u64, rate: Option<u32>) -> Estimate;
}

/// What the calls to one key store take, at most.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Estimate {
    /// The name of its provider.
    pub store: String,
    /// Calls.
    pub calls: u64,
    /// US dollars; null where no price is known.
    pub usd: Option<f64>,
    /// Calls in a second that it takes by default; null where no limit is known.
    pub quota_per_second: Option<u32>,
    /// Hours if the whole quota is used.
    pub hours_at_quota: Option<f64>,
    /// Hours at the rate that was asked for.
    pub hours_at_rate: Option<f64>,
    /// Where the price was read.
    pub source: Option<String>,
    /// When it was read.
    pub date: Option<String>,
    /// What the figures leave out.
    pub note: Option<String>,
}

/// An audit log.
pub trait AuditMetadata: Send + Sync {
    /// Hands the records that `filter` wants to `each`, the oldest first, until it says no. Nothing is verified. Blocks.
    ///
    /// # Errors
    ///
    /// [`Failure`] when it cannot be read, or holds what is no record.
    fn search(&self, filter: &AuditFilter, each: &mut dyn FnMut(AuditRecord) -> bool) -> Result<(), Failure>;

    /// Verifies it without its secret. Blocks.
    ///
    /// # Errors
    ///
    /// [`Failure`] of kind [`LogInvalid`](crate::Kind::LogInvalid) with the first bad line, or when it cannot be read.
    fn verify(&self) -> Result<AuditVerified, Failure>;
}

/// Which records are wanted. Times in milliseconds since 1970; `*` in a pattern stands for any characters.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuditFilter {
    /// The key URI.
    pub key: Option<String>,
    /// The actor.
    pub actor: Option<String>,
    /// The operation.
    pub operation: Option<String>,
    /// `ok`, `failed`, `denied`, `begun`, `not_offered` or `dropped`.
    pub outcome: Option<String>,
    /// What records of one request have in common.
    pub request: Option<String>,
    /// The envelope id, 32 hexadecimal digits.
    pub envelope: Option<String>,
    /// Not before.
    pub since: Option<u64>,
    /// Before.
    pub until: Option<u64>,
}

/// One record of an audit log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct AuditRecord {
    /// Its position in the log, from 1.
    pub seq: u64,
    /// When, RFC 3339.
    pub time: String,
    /// Who.
    pub actor: Option<String>,
    /// What.
    pub operation: String,
    /// What came of it.
    pub outcome: String,
    /// The key URI.
    pub key: Option<String>,
    /// Its version.
    pub key_version: Option<String>,
    /// The envelope id, in hexadecimal.
    pub envelope: Option<String>,
    /// The kind of the error.
    pub error: Option<String>,
    /// The rule of the policy that decided.
    pub rule: Option<String>,
    /// What it has in common with others of one request.
    pub request: Option<String>,
    /// Listed context entries and other details, each as NAME=VALUE.
    pub details: Vec<String>,
}

/// A log that is as it was written, as far as that shows without its secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct AuditVerified {
    /// Records that are kept.
    pub records: u64,
    /// The `seq` of the first.
    pub first: u64,
    /// The `seq` of the last.
    pub last: u64,
    /// The last `seq` that a signature covers. What follows only agrees with itself: whoever may write the folder could have
    /// written it, or cut it off.
    pub signed_to: Option<u64>,
    /// Whether the public key came from the configuration, and not from the folder of the log.
    pub public_key_is_pinned: bool,
    /// Bytes at the end that a crash left.
    pub remains: u64,
    /// How often the clock was set back.
    pub clock_set_back: u64,
}

/// The installation.
#[async_trait]
pub trait Installation: Send + Sync {
    /// Looks whether configuration, keystore, policy and log are as they should be. Asks no key store.
    async fn doctor(&self) -> Vec<Check>;

    /// The configuration as text, without what may be secret.
    ///
    /// # Errors
    ///
    /// [`Failure`] when it cannot be read.
    fn configuration(&self) -> Result<String, Failure>;
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Check {
    /// What.
    pub name: String,
    /// How it is.
    pub result: CheckResult,
    /// What was found.
    pub detail: String,
    /// What to do.
    pub what_to_do: Option<String>,
}

/// How something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum CheckResult {
    /// As it should be.
    Ok,
    /// It works, and may not be what was meant.
    Warning,
    /// It does not work.
    Problem,
    /// It is not configured.
    NotConfigured,
}

/// Writes down what was asked. A call whose record cannot be written is not answered.
#[async_trait]
pub trait Recorder: Send + Sync {
    /// Writes it down.
    ///
    /// # Errors
    ///
    /// [`Failure`] when it was not written.
    async fn record(&self, event: &Event) -> Result<(), Failure>;
}

/// Something that a client did.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Event {
    /// Who; `mcp:…`.
    pub actor: String,
    /// `mcp-TOOL`, `mcp-resource` or `mcp-prompt`: 1 to 64 of `a–z 0–9 -`.
    pub operation: String,
    /// Why it was not answered; `None` when it was.
    pub failure: Option<Kind>,
    /// The decision, where a policy was the reason.
    pub denial: Option<Denial>,
    /// Other facts, such as a peer's address. Never what a client asked for: it may be anything.
    pub details: Vec<(&'static str, String)>,
}

impl Event {
    /// What `actor` did, and what came of it.
    pub fn new(actor: impl Into<String>, operation: impl Into<String>, failure: Option<Kind>) -> Self {
        Self { actor: actor.into(), operation: operation.into(), failure, denial: None, details: Vec::new() }
    }

    /// Denied by a policy.
    #[must_use]
    pub fn denied(mut self, denial: Option<Denial>) -> Self {
        self.denial = denial;
        self
    }

    /// With one more fact.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.details.push((name, value.into()));
        self
    }
}

/// A page of documentation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// Its name in `envctl://docs/NAME`.
    pub name: &'static str,
    /// Its title.
    pub title: &'static str,
    /// The text, Markdown.
    pub text: &'static str,
}

impl std::fmt::Debug for Facade {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Facade").field("roots", &self.roots).finish_non_exhaustive()
    }
}
