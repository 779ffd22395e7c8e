//! What the server remembers: vaults, keys, versions, and keys that are deleted.

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use aws_lc_rs::rand;
use serde_json::{Value, json};

use super::{
    call::{Service, Vault},
    material::Material,
    policy::Policy,
    reply::Reply,
};

/// Everything. Vaults come into being when they are asked.
#[derive(Default)]
pub(super) struct Store {
    vaults: BTreeMap<Vault, Keys>,
    /// How long a deletion takes.
    pub(super) deletion: Duration,
    /// Whether nothing is purged before its time.
    pub(super) purge_protection: bool,
    /// Whether the firewall of every vault keeps callers out.
    pub(super) firewall: bool,
    /// How many calls are refused as too many, and what they are told to wait.
    pub(super) throttled: (usize, Duration),
}

/// The keys of a vault by their names in lower case, which is how Azure compares
/// them.
#[derive(Default)]
pub(super) struct Keys {
    pub(super) live: BTreeMap<String, Key>,
    pub(super) deleted: BTreeMap<String, Deleted>,
}

pub(super) struct Key {
    pub(super) name: String,
    /// The oldest first; at least one.
    pub(super) versions: Vec<Version>,
    pub(super) policy: Policy,
}

pub(super) struct Deleted {
    pub(super) key: Key,
    pub(super) when: SystemTime,
    /// From then on the deletion is done.
    pub(super) done: SystemTime,
}

pub(super) struct Version {
    pub(super) id: String,
    /// Versions of one key may be of several types.
    pub(super) kty: &'static str,
    pub(super) material: Material,
    pub(super) operations: Vec<String>,
    pub(super) enabled: bool,
    /// In seconds of Unix.
    pub(super) not_before: Option<u64>,
    pub(super) expires: Option<u64>,
    pub(super) tags: Option<Value>,
    pub(super) created: SystemTime,
    pub(super) updated: SystemTime,
}

impl Store {
    pub(super) fn keys(&mut self, vault: &Vault) -> &mut Keys {
        self.vaults.entry(vault.clone()).or_default()
    }

    /// Does what the service does by itself in the course of time: what is deleted
    /// is purged, and keys are rotated.
    pub(super) fn settle(&mut self, now: SystemTime) {
        for keys in self.vaults.values_mut() {
            keys.deleted.retain(|_, deleted| now < deleted.when + RETENTION);
            for key in keys.live.values_mut() {
                while key.policy.rotation_due(key.latest(), now) {
                    // Without randomness there is no rotation, and no end of trying.
                    if key.rotate(now).is_none() {
                        break;
                    }
                }
            }
        }
    }

    /// What every key says about its recovery.
    pub(super) fn recovery_level(&self) -> &'static str {
        if self.purge_protection { "Recoverable" } else { "Recoverable+Purgeable" }
    }
}

impl Keys {
    pub(super) fn key(&mut self, name: &str, version: &str) -> Result<&mut Key, Reply> {
        let missing = || not_found(name, version);
        self.live.get_mut(&name.to_ascii_lowercase()).ok_or_else(missing)
    }
}

impl Key {
    #[expect(clippy::expect_used, reason = "a key is made with a version and never loses it")]
    pub(super) fn latest(&self) -> &Version {
        self.versions.last().expect("a version")
    }

    /// The version of that identifier, or the latest one when it is empty.
    pub(super) fn version(&mut self, id: &str) -> Result<&mut Version, Reply> {
        let missing = not_found(&self.name, id);
        match id {
            "" => self.versions.last_mut(),
            id => self.versions.iter_mut().find(|version| version.id == id),
        }
        .ok_or(missing)
    }

    /// A new version as the latest one is, which expires as the policy says.
    pub(super) fn rotate(&mut self, now: SystemTime) -> Option<()> {
        let latest = self.latest();
        let expires = self.policy.expires_after.map(|after| unix(now + after));
        self.versions.push(Version {
            id: new_id()?,
            kty: latest.kty,
            material: latest.material.again()?,
            operations: latest.operations.clone(),
            enabled: true,
            not_before: None,
            expires,
            tags: latest.tags.clone(),
            created: now,
            updated: now,
        });
        Some(())
    }

    /// The identifier of the key, with that of a version unless it is empty.
    pub(super) fn identifier(&self, base: &str, version: &str) -> String {
        let slash = if version.is_empty() { "" } else { "/" };
        format!("{base}/keys/{}{slash}{version}", self.name)
    }

    /// The bundle of a version.
    pub(super) fn bundle(&self, base: &str, version: &Version, level: &str) -> Value {
        let mut key = json!({
            "kid": self.identifier(base, &version.id),
            "kty": version.kty,
            "key_ops": version.operations,
        });
        version.material.describe(&mut key);
        let mut bundle = json!({ "key": key, "attributes": version.attributes(level) });
        version.add_tags(&mut bundle);
        bundle
    }

    /// The line of a list.
    pub(super) fn item(&self, base: &str, id: &str, version: &Version, level: &str) -> Value {
        let attributes = version.attributes(level);
        let mut item = json!({ "kid": self.identifier(base, id), "attributes": attributes });
        version.add_tags(&mut item);
        item
    }
}

impl Deleted {
    /// Adds what a deleted key has beside.
    pub(super) fn add_fields(&self, base: &str, to: &mut Value) {
        to["recoveryId"] = json!(format!("{base}/deletedkeys/{}", self.key.name));
        to["deletedDate"] = json!(unix(self.when));
        to["scheduledPurgeDate"] = json!(unix(self.when + RETENTION));
    }
}

impl Version {
    fn attributes(&self, level: &str) -> Value {
        let mut attributes = json!({
            "enabled": self.enabled,
            "created": unix(self.created),
            "updated": unix(self.updated),
            "recoveryLevel": level,
            "recoverableDays": RETENTION.as_secs() / DAY.as_secs(),
            "exportable": false,
            "hsmPlatform": if self.kty.ends_with("-HSM") { "2" } else { "0" },
        });
        for (name, time) in [("nbf", self.not_before), ("exp", self.expires)] {
            if let Some(time) = time {
                attributes[name] = json!(time);
            }
        }
        attributes
    }

    fn add_tags(&self, to: &mut Value) {
        if let Some(tags) = &self.tags {
            to["tags"] = tags.clone();
        }
    }
}

impl Service {
    /// What its challenge names.
    pub(super) fn resource(self) -> &'static str {
        match self {
            Self::KeyVault => "https://vault.localhost",
            Self::ManagedHsm => "https://managedhsm.localhost",
        }
    }
}

pub(super) fn not_found(name: &str, version: &str) -> Reply {
    let slash = if version.is_empty() { "" } else { "/" };
    let message = format!(
        "A key with (name/id) {name}{slash}{version} was not found in this key vault. If you recently deleted this \
         key you may be able to recover it using the correct recovery command. For help resolving this issue, please \
         see https://go.microsoft.com/fwlink/?linkid=2125182"
    );
    Reply::error(404, "KeyNotFound", message)
}

pub(super) fn unix(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// The identifier of a version: 32 hexadecimal digits, in no order.
pub(super) fn new_id() -> Option<String> {
    let mut bytes = [0; 16];
    rand::fill(&mut bytes).ok()?;
    Some(crate::python::hex(&bytes))
}

pub(super) const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// How long what is deleted can be recovered.
const RETENTION: Duration = Duration::from_secs(90 * 24 * 60 * 60);
