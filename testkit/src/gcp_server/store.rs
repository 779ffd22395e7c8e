//! What the server remembers: key rings, keys, versions and import jobs.

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime},
};

use envelope_sdk::crypto::{DefaultEngine, Engine, Key256};
use serde_json::{Value, json};

use super::{
    place::{ancestor, not_found},
    reply::{Code, Refusal},
    state::State,
    time::time_text,
};

/// Everything, by full names.
#[derive(Default)]
pub(super) struct Store {
    pub(super) rings: BTreeMap<String, Ring>,
    /// How long it takes until every server knows of a change.
    pub(super) propagation: Duration,
}

pub(super) struct Ring {
    pub(super) created: SystemTime,
    pub(super) keys: BTreeMap<String, Key>,
    pub(super) jobs: BTreeMap<String, Value>,
}

pub(super) struct Key {
    pub(super) name: String,
    pub(super) purpose: &'static str,
    pub(super) created: SystemTime,
    pub(super) template: Template,
    /// The number of the primary version.
    pub(super) primary: Option<usize>,
    /// The version that encrypted before, and until when some servers take it still.
    pub(super) primary_before: Option<(usize, SystemTime)>,
    pub(super) rotation_period: Option<Duration>,
    pub(super) next_rotation: Option<SystemTime>,
    pub(super) destroy_after: Duration,
    pub(super) import_only: bool,
    pub(super) labels: Value,
    pub(super) versions: Vec<Version>,
}

/// What new versions are made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Template {
    pub(super) protection_level: &'static str,
    pub(super) algorithm: &'static str,
}

pub(super) struct Version {
    pub(super) name: String,
    pub(super) template: Template,
    pub(super) state: State,
    pub(super) created: SystemTime,
    /// Until when some servers do not know that it is not enabled any more.
    pub(super) used_until: Option<SystemTime>,
    pub(super) destroy_time: Option<SystemTime>,
    pub(super) destroyed: Option<SystemTime>,
    /// Where the key of an external manager is.
    pub(super) external: Option<Value>,
    /// By this ciphertexts name their version.
    pub(super) mark: [u8; MARK_LEN],
    /// Gone with the destruction.
    pub(super) material: Option<Key256>,
}

impl Store {
    pub(super) fn ring(&mut self, name: &str) -> Result<&mut Ring, Refusal> {
        self.rings.get_mut(name).ok_or_else(|| not_found("KeyRing", name))
    }

    pub(super) fn key(&mut self, name: &str) -> Result<&mut Key, Refusal> {
        let ring = self.rings.get_mut(ancestor(name, RING));
        ring.and_then(|ring| ring.keys.get_mut(name)).ok_or_else(|| not_found("CryptoKey", name))
    }

    pub(super) fn version(&mut self, name: &str) -> Result<&mut Version, Refusal> {
        let key = self.key(ancestor(name, KEY));
        key.ok()
            .and_then(|key| key.versions.iter_mut().find(|version| version.name == name))
            .ok_or_else(|| not_found("CryptoKeyVersion", name))
    }

    /// Does what the service does by itself in the course of time: versions are
    /// destroyed, keys rotated.
    pub(super) fn settle(&mut self, now: SystemTime) -> Result<(), Refusal> {
        let known = now + self.propagation;
        for key in self.rings.values_mut().flat_map(|ring| ring.keys.values_mut()) {
            for version in &mut key.versions {
                if let Some(time) = version.destroy_time.filter(|time| *time <= now) {
                    version.state = State::Destroyed;
                    (version.destroy_time, version.destroyed, version.material) = (None, Some(time), None);
                }
            }
            if let Some(time) = key.next_rotation.filter(|time| *time <= now) {
                let number = key.add_version(now, None)?;
                key.set_primary(number, known);
                // One rotation, however long nobody asked.
                let next = |period| if time + period > now { time + period } else { now + period };
                key.next_rotation = key.rotation_period.map(next);
            }
        }
        Ok(())
    }
}

impl Key {
    /// Makes the next version and returns its number.
    pub(super) fn add_version(&mut self, now: SystemTime, external: Option<Value>) -> Result<usize, Refusal> {
        let no_random = |_| Refusal::new(Code::Internal, "The system has no randomness.");
        let mut mark = [0; MARK_LEN];
        DefaultEngine::fill_random(&mut mark).map_err(no_random)?;
        let number = self.versions.len() + 1;
        self.versions.push(Version {
            name: format!("{}/cryptoKeyVersions/{number}", self.name),
            template: self.template,
            state: State::Enabled,
            created: now,
            used_until: None,
            destroy_time: None,
            destroyed: None,
            external,
            mark,
            material: Some(Key256::generate::<DefaultEngine>().map_err(no_random)?),
        });
        Ok(number)
    }

    pub(super) fn primary(&self) -> Option<&Version> {
        self.versions.get(self.primary? - 1)
    }

    /// The version that encrypts at this time.
    pub(super) fn encrypting(&self, now: SystemTime) -> Option<&Version> {
        match self.primary_before {
            Some((number, until)) if now < until => self.versions.get(number - 1),
            _ => self.primary(),
        }
    }

    /// Makes the version of that number the primary one; some servers know it
    /// at `known` only.
    pub(super) fn set_primary(&mut self, number: usize, known: SystemTime) {
        self.primary_before = self.primary.map(|before| (before, known));
        self.primary = Some(number);
    }

    /// The resource as it is answered.
    pub(super) fn resource(&self) -> Value {
        let mut resource = json!({
            "name": self.name,
            "purpose": self.purpose,
            "createTime": time_text(self.created),
            "versionTemplate": {
                "protectionLevel": self.template.protection_level,
                "algorithm": self.template.algorithm,
            },
            "destroyScheduledDuration": super::time::duration_text(self.destroy_after),
        });
        if let Some(primary) = self.primary() {
            resource["primary"] = primary.resource();
        }
        if let Some(period) = self.rotation_period {
            resource["rotationPeriod"] = json!(super::time::duration_text(period));
        }
        if let Some(time) = self.next_rotation {
            resource["nextRotationTime"] = json!(time_text(time));
        }
        if self.import_only {
            resource["importOnly"] = json!(true);
        }
        if self.labels.as_object().is_some_and(|labels| !labels.is_empty()) {
            resource["labels"] = self.labels.clone();
        }
        resource
    }
}

impl Version {
    /// Goes to another state. Enabling is known at once, other changes are `known`
    /// to some servers then only.
    pub(super) fn leave_for(&mut self, state: State, known: SystemTime) {
        self.used_until = match (self.state, state) {
            (_, State::Enabled) => None,
            (State::Enabled, _) => Some(known),
            _ => self.used_until,
        };
        self.state = state;
    }

    /// Refuses to use a version that is not enabled.
    pub(super) fn check_use(&self, now: SystemTime) -> Result<(), Refusal> {
        if self.used_until.is_some_and(|until| now < until) {
            Ok(())
        } else {
            self.state.check_use(&self.name)
        }
    }

    /// The resource as it is answered.
    pub(super) fn resource(&self) -> Value {
        let mut resource = json!({
            "name": self.name,
            "state": self.state.name(),
            "protectionLevel": self.template.protection_level,
            "algorithm": self.template.algorithm,
            "createTime": time_text(self.created),
        });
        if self.state.was_generated() {
            resource["generateTime"] = json!(time_text(self.created));
        }
        for (field, time) in [("destroyTime", self.destroy_time), ("destroyEventTime", self.destroyed)] {
            if let Some(time) = time {
                resource[field] = json!(time_text(time));
            }
        }
        if let Some(external) = &self.external {
            resource["externalProtectionLevelOptions"] = external.clone();
        }
        if let Some((field, reason)) = self.state.failure() {
            resource[field] = json!(reason);
        }
        resource
    }
}

/// Pairs of `COLLECTION/ID` in the name of a key ring.
pub(super) const RING: usize = 3;
/// Pairs of `COLLECTION/ID` in the name of a key.
pub(super) const KEY: usize = 4;
/// Bytes by which a ciphertext names its version.
pub(super) const MARK_LEN: usize = 8;
