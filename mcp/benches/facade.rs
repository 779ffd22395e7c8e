//! What the MCP server asks, for its fuzz target and its benchmark: an installation without keys, and one folder.

use std::{path::PathBuf, sync::Arc};

use async_trait::async_trait;
use envelope_mcp::{
    Buckets, Caller, Check, ConfiguredKeys, Document, Estimate, Explanation, Facade, Failure, FoundObject,
    Installation, KeyMetadata, KeyStore, Kind, Look, PolicyMetadata, PolicySummary, Prices, Question, Roots,
};
use envelope_sdk::{
    KeyDescription, KeyUri,
    admin::{KeyPage, RotationStatus},
};
use futures_util::stream::{BoxStream, empty};

/// A server's facade over `folder`.
#[must_use]
#[allow(clippy::expect_used, clippy::missing_panics_doc, reason = "for benchmarks and fuzzing")]
pub fn facade(folder: PathBuf) -> Facade {
    let nothing = Arc::new(Nothing);
    Facade {
        keys: nothing.clone(),
        policy: nothing.clone(),
        roots: Arc::new(Roots::open(&[folder]).expect("a folder")),
        buckets: nothing.clone(),
        prices: nothing.clone(),
        audit: None,
        installation: nothing,
        recorder: None,
        documents: Arc::new([Document { name: "mcp", title: "MCP", text: "# MCP" }]),
    }
}

struct Nothing;

fn none<T>() -> Result<T, Failure> {
    Err(Failure::new(Kind::Other, "there is none"))
}

#[async_trait]
impl KeyMetadata for Nothing {
    fn stores(&self) -> Vec<KeyStore> {
        vec![KeyStore { name: "local", is_authenticated: false }]
    }

    fn configured(&self) -> ConfiguredKeys {
        ConfiguredKeys::default()
    }

    async fn list(&self, _: &Caller, _: &str, _: Option<&str>) -> Result<KeyPage, Failure> {
        none()
    }

    async fn describe(&self, _: &Caller, _: &str) -> Result<KeyDescription, Failure> {
        none()
    }

    async fn rotations(&self, _: &Caller, _: &str) -> Result<RotationStatus, Failure> {
        none()
    }

    fn store_of(&self, _: &KeyUri) -> Option<&'static str> {
        Some("local")
    }
}

impl PolicyMetadata for Nothing {
    fn check(&self, _: &Caller, _: Look, _: Option<&KeyUri>) -> Result<(), Failure> {
        Ok(())
    }

    fn may(&self, _: &Caller, _: Look) -> Result<(), Failure> {
        Ok(())
    }

    fn shows(&self, _: &Caller, _: &KeyUri) -> bool {
        true
    }

    fn summary(&self) -> Result<Option<PolicySummary>, Failure> {
        Ok(None)
    }

    fn explain(&self, _: &Question) -> Result<Explanation, Failure> {
        none()
    }
}

impl Buckets for Nothing {
    fn urls(&self) -> Vec<String> {
        Vec::new()
    }

    fn objects(
        &self,
        _: &str,
        _: Option<&str>,
    ) -> Result<BoxStream<'static, Result<FoundObject, Failure>>, Failure> {
        Ok(Box::pin(empty()))
    }
}

impl Prices for Nothing {
    fn estimate(&self, store: &str, calls: u64, _: Option<u32>) -> Estimate {
        Estimate {
            store: store.into(),
            calls,
            usd: None,
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
impl Installation for Nothing {
    async fn doctor(&self) -> Vec<Check> {
        Vec::new()
    }

    fn configuration(&self) -> Result<String, Failure> {
        Ok(String::new())
    }
}
