//! Keys: made, described, changed, rotated, deleted, recovered, purged.

use std::time::SystemTime;

use serde_json::{Value, json};

use super::{
    call::{Call, Service, Vault, wrong},
    material::Material,
    page::page,
    policy,
    reply::Reply,
    store::{Deleted, Key, Keys, Store, Version, new_id, not_found},
};

/// A call about keys of one vault.
pub(super) struct Asked<'a> {
    pub(super) call: &'a Call,
    pub(super) vault: &'a Vault,
    pub(super) now: SystemTime,
}

impl Asked<'_> {
    /// Makes a key, or of a key that is there a new version.
    pub(super) fn create(&self, store: &mut Store, name: &str) -> Result<Value, Reply> {
        check_name(name)?;
        let (kty, material) = self.new_material()?;
        let operations = operations(self.call, kty)?;
        let (level, keys) = self.keys(store);
        let id = name.to_ascii_lowercase();
        if let Some(deleted) = keys.deleted.get(&id) {
            return Err(conflict(deleted, self.now));
        }
        let mut version = Version {
            id: new_id().ok_or_else(failed)?,
            kty,
            material,
            operations,
            enabled: true,
            not_before: None,
            expires: None,
            tags: None,
            created: self.now,
            updated: self.now,
        };
        change(&mut version, self.call)?;
        let key = keys.live.entry(id).or_insert_with(|| Key {
            name: name.to_owned(),
            versions: Vec::new(),
            policy: policy::Policy::default(),
        });
        key.versions.push(version);
        Ok(key.bundle(&self.call.base(), key.latest(), level))
    }

    pub(super) fn get(&self, store: &mut Store, name: &str, version: &str) -> Result<Value, Reply> {
        let (level, keys) = self.keys(store);
        let key = keys.key(name, version)?;
        let id = key.version(version)?.id.clone();
        let version = key.versions.iter().find(|known| known.id == id).ok_or_else(failed)?;
        Ok(key.bundle(&self.call.base(), version, level))
    }

    pub(super) fn list(&self, store: &mut Store) -> Result<Value, Reply> {
        let (level, keys) = self.keys(store);
        let base = self.call.base();
        page(self.call, keys.live.values().map(|key| key.item(&base, "", key.latest(), level)).collect())
    }

    /// In no order, as there.
    pub(super) fn versions(&self, store: &mut Store, name: &str) -> Result<Value, Reply> {
        let (level, keys) = self.keys(store);
        // A key that is not there has no versions, and is not missed.
        let Some(key) = keys.live.get(&name.to_ascii_lowercase()) else { return page(self.call, Vec::new()) };
        let mut versions: Vec<&Version> = key.versions.iter().collect();
        versions.sort_by(|one, other| one.id.cmp(&other.id));
        let base = self.call.base();
        let items = versions.into_iter().map(|version| key.item(&base, &version.id, version, level));
        page(self.call, items.collect())
    }

    pub(super) fn update(&self, store: &mut Store, name: &str, version: &str) -> Result<Value, Reply> {
        let (_, keys) = self.keys(store);
        let key = keys.key(name, version)?;
        let changed = key.version(version)?;
        if self.call.field("key_ops").is_some() {
            changed.operations = operations(self.call, changed.kty)?;
        }
        change(changed, self.call)?;
        changed.updated = self.now;
        self.get(store, name, version)
    }

    pub(super) fn rotate(&self, store: &mut Store, name: &str) -> Result<Value, Reply> {
        let (_, keys) = self.keys(store);
        keys.key(name, "")?.rotate(self.now).ok_or_else(failed)?;
        self.get(store, name, "")
    }

    pub(super) fn policy(&self, store: &mut Store, name: &str) -> Result<Value, Reply> {
        let (_, keys) = self.keys(store);
        Ok(policy::get(keys.key(name, "")?, &self.call.base()))
    }

    pub(super) fn put_policy(&self, store: &mut Store, name: &str) -> Result<Value, Reply> {
        let (_, keys) = self.keys(store);
        policy::put(keys.key(name, "")?, self.call, self.now)
    }

    pub(super) fn delete(&self, store: &mut Store, name: &str) -> Result<Value, Reply> {
        let done = self.now + store.deletion;
        let (level, keys) = self.keys(store);
        let id = name.to_ascii_lowercase();
        let key = keys.live.remove(&id).ok_or_else(|| not_found(name, ""))?;
        let deleted = keys.deleted.entry(id).or_insert(Deleted { key, when: self.now, done });
        Ok(self.deleted_bundle(deleted, level))
    }

    pub(super) fn deleted(&self, store: &mut Store, name: &str) -> Result<Value, Reply> {
        let (level, keys) = self.keys(store);
        Ok(self.deleted_bundle(self.find_deleted(keys, name)?, level))
    }

    pub(super) fn list_deleted(&self, store: &mut Store) -> Result<Value, Reply> {
        let (level, keys) = self.keys(store);
        let base = self.call.base();
        let item = |deleted: &Deleted| {
            let mut item = deleted.key.item(&base, "", deleted.key.latest(), level);
            deleted.add_fields(&base, &mut item);
            item
        };
        page(self.call, keys.deleted.values().filter(|deleted| deleted.done <= self.now).map(item).collect())
    }

    pub(super) fn recover(&self, store: &mut Store, name: &str) -> Result<Value, Reply> {
        let (_, keys) = self.keys(store);
        self.find_deleted(keys, name)?;
        let id = name.to_ascii_lowercase();
        if let Some(deleted) = keys.deleted.remove(&id) {
            keys.live.insert(id, deleted.key);
        }
        self.get(store, name, "")
    }

    pub(super) fn purge(&self, store: &mut Store, name: &str) -> Result<Value, Reply> {
        let protected = store.purge_protection;
        let (_, keys) = self.keys(store);
        self.find_deleted(keys, name)?;
        if protected {
            let message =
                format!("Operation \"purge\" is not enabled for this vault.\r\nVault: {}", self.vault.name);
            return Err(Reply::error(403, "Forbidden", message));
        }
        keys.deleted.remove(&name.to_ascii_lowercase());
        Ok(Value::Null)
    }

    pub(super) fn keys<'a>(&self, store: &'a mut Store) -> (&'static str, &'a mut Keys) {
        (store.recovery_level(), store.keys(self.vault))
    }

    fn find_deleted<'a>(&self, keys: &'a Keys, name: &str) -> Result<&'a Deleted, Reply> {
        let known = keys.deleted.get(&name.to_ascii_lowercase()).filter(|deleted| deleted.done <= self.now);
        known.ok_or_else(|| Reply::error(404, "KeyNotFound", format!("Deleted Key not found: {name}")))
    }

    fn deleted_bundle(&self, deleted: &Deleted, level: &str) -> Value {
        let base = self.call.base();
        let mut bundle = deleted.key.bundle(&base, deleted.key.latest(), level);
        deleted.add_fields(&base, &mut bundle);
        bundle
    }

    fn new_material(&self) -> Result<(&'static str, Material), Reply> {
        let size = self.call.field("key_size").map(|size| size.as_u64().ok_or_else(|| wrong("key_size")));
        let (size, curve) = (size.transpose()?, self.call.text("crv")?.unwrap_or("P-256"));
        let hsm = self.vault.service == Service::ManagedHsm;
        let (kty, material) = match self.call.text("kty")?.unwrap_or_default() {
            // A Managed HSM has no keys outside of it, and calls them by the longer name.
            "RSA" if !hsm => ("RSA", Material::rsa(size.unwrap_or(2048))),
            "RSA" | "RSA-HSM" => ("RSA-HSM", Material::rsa(size.unwrap_or(2048))),
            "EC" if !hsm => ("EC", Material::ec(curve)),
            "EC" | "EC-HSM" => ("EC-HSM", Material::ec(curve)),
            "oct-HSM" if hsm => ("oct-HSM", Material::oct(size.unwrap_or(256))),
            _ => return Err(wrong("kty")),
        };
        let attributes = self.call.field("attributes");
        if attributes.is_some_and(|given| given["exportable"] == true) {
            return Err(Reply::bad(
                "A key that is exportable needs a release policy, which is not offered here.",
            ));
        }
        material.map(|material| (kty, material)).ok_or_else(|| wrong("key_size"))
    }
}

/// Takes over what a request says of attributes and tags.
fn change(version: &mut Version, call: &Call) -> Result<(), Reply> {
    if let Some(attributes) = call.field("attributes") {
        let given = |name: &str| attributes.get(name).filter(|value| !value.is_null());
        if let Some(enabled) = given("enabled") {
            version.enabled = enabled.as_bool().ok_or_else(|| wrong("attributes.enabled"))?;
        }
        for (name, time) in [("nbf", &mut version.not_before), ("exp", &mut version.expires)] {
            if let Some(value) = given(name) {
                *time = Some(value.as_u64().ok_or_else(|| wrong(name))?);
            }
        }
        if let (Some(from), Some(until)) = (version.not_before, version.expires)
            && from >= until
        {
            return Err(Reply::bad("The expiry of a key must be after the time from which it is valid."));
        }
    }
    if let Some(tags) = call.field("tags") {
        let fits = |(name, value): (&String, &Value)| {
            name.len() <= MAX_TAG_LEN && value.as_str().is_some_and(|value| value.len() <= MAX_TAG_LEN)
        };
        let all = tags.as_object().ok_or_else(|| wrong("tags"))?;
        if all.len() > MAX_TAGS || !all.iter().all(fits) {
            return Err(wrong("tags"));
        }
        version.tags = Some(tags.clone());
    }
    Ok(())
}

/// What a key may be used for: what the request says, or all that its type can do.
fn operations(call: &Call, kty: &str) -> Result<Vec<String>, Reply> {
    let possible: &[&str] = match kty.trim_end_matches("-HSM") {
        "RSA" => &["encrypt", "decrypt", "sign", "verify", "wrapKey", "unwrapKey"],
        "EC" => &["sign", "verify"],
        _ => &["encrypt", "decrypt", "wrapKey", "unwrapKey"],
    };
    let Some(given) = call.field("key_ops") else {
        return Ok(possible.iter().copied().map(str::to_owned).collect());
    };
    let given = given.as_array().ok_or_else(|| wrong("key_ops"))?;
    let known = |value: &Value| {
        let name = value.as_str().filter(|name| possible.contains(name));
        name.map(str::to_owned).ok_or_else(|| wrong("key_ops"))
    };
    given.iter().map(known).collect()
}

fn check_name(name: &str) -> Result<(), Reply> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    if (1..=MAX_NAME_LEN).contains(&name.len()) && name.bytes().all(fits) {
        return Ok(());
    }
    Err(Reply::bad(format!("The request URI contains an invalid name: {name}")))
}

fn conflict(deleted: &Deleted, now: SystemTime) -> Reply {
    let name = &deleted.key.name;
    if now < deleted.done {
        let message = format!("Key {name} is currently being deleted and cannot be re-created; retry later.");
        return Reply::error(409, "Conflict", message).inner("ObjectIsBeingDeleted");
    }
    let message = format!(
        "Key {name} is currently in a deleted but recoverable state, and its name cannot be reused; in this state, \
         the key can only be recovered or purged."
    );
    Reply::error(409, "Conflict", message).inner("ObjectIsDeletedButRecoverable")
}

pub(super) fn random(call: &Call) -> Result<Value, Reply> {
    let count = call.field("count").and_then(Value::as_u64).and_then(|count| usize::try_from(count).ok());
    let mut bytes = vec![0; count.filter(|count| (1..=128).contains(count)).ok_or_else(|| wrong("count"))?];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| failed())?;
    Ok(json!({ "value": super::call::base64url(&bytes) }))
}

fn failed() -> Reply {
    Reply::error(500, "InternalServerError", "The system has no randomness.")
}

const MAX_NAME_LEN: usize = 127;
const MAX_TAGS: usize = 15;
const MAX_TAG_LEN: usize = 256;
