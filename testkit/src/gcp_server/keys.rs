//! Keys: made, described, listed, changed.

use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

use super::{
    call::Call,
    enums::{ALGORITHM, PROTECTION_LEVEL, PURPOSE},
    fields::Fields,
    page::page,
    place::{already_exists, new_name},
    reply::Refusal,
    state::State,
    store::{Key, Store, Template},
    time::hours,
};

pub(super) fn list(store: &mut Store, call: &Call, ring: &str) -> Result<Value, Refusal> {
    page(call, "cryptoKeys", store.ring(ring)?.keys.values().map(Key::resource).collect())
}

pub(super) fn get(store: &mut Store, name: &str) -> Result<Value, Refusal> {
    store.key(name).map(|key| key.resource())
}

pub(super) fn create(store: &mut Store, call: &Call, ring: &str, now: SystemTime) -> Result<Value, Refusal> {
    let name = new_name(call, "cryptoKeyId")?;
    let ring = store.ring(ring)?;
    if ring.keys.contains_key(&name) {
        return Err(already_exists("CryptoKey", &name));
    }
    let fields = call.fields();
    let purpose = fields
        .named("purpose", &PURPOSE)?
        .ok_or_else(|| Refusal::invalid("The field crypto_key.purpose must be set."))?;
    let template = template(fields.message("versionTemplate"), purpose)?;
    let mut key = Key {
        name,
        purpose,
        created: now,
        template,
        primary: None,
        primary_before: None,
        rotation_period: None,
        next_rotation: None,
        destroy_after: fields.duration("destroyScheduledDuration")?.unwrap_or(DEFAULT_DESTROY_AFTER),
        import_only: fields.flag("importOnly")?,
        labels: labels(fields)?,
        versions: Vec::new(),
    };
    if !(hours(24)..=hours(120 * 24)).contains(&key.destroy_after) {
        return Err(Refusal::invalid(
            "The destroy_scheduled_duration must be between 24 hours and 120 days.",
        ));
    }
    key.rotation_period = fields.duration("rotationPeriod")?;
    key.next_rotation = fields.time("nextRotationTime")?;
    check_rotation(&key, now, true)?;
    if call.parameter("skipInitialVersionCreation") != Some("true") {
        if template.protection_level.starts_with("EXTERNAL") || key.import_only {
            return Err(Refusal::invalid(
                "The initial version must be skipped for external keys and for keys that are imported only.",
            ));
        }
        let first = key.add_version(now, None)?;
        key.primary = (purpose == SYMMETRIC).then_some(first);
    }
    let made = key.resource();
    ring.keys.insert(key.name.clone(), key);
    Ok(made)
}

pub(super) fn patch(store: &mut Store, call: &Call, name: &str, now: SystemTime) -> Result<Value, Refusal> {
    let key = store.key(name)?;
    let fields = call.fields();
    let (mut period, mut next) = (key.rotation_period, key.next_rotation);
    let (mut new_labels, mut new_template) = (None, None);
    let mut next_changes = false;
    for path in mask(call)? {
        match path.as_str() {
            "labels" => new_labels = Some(labels(fields)?),
            "rotationPeriod" => period = fields.duration("rotationPeriod")?,
            "nextRotationTime" => {
                (next, next_changes) = (fields.time("nextRotationTime")?, true);
            }
            "versionTemplate" | "versionTemplate.algorithm" | "versionTemplate.protectionLevel" => {
                new_template = Some(template(fields.message("versionTemplate"), key.purpose)?);
            }
            path => return Err(Refusal::invalid(format!("The field {path} cannot be updated."))),
        }
    }
    let before = (key.rotation_period, key.next_rotation);
    (key.rotation_period, key.next_rotation) = (period, next);
    if let Err(refusal) = check_rotation(key, now, next_changes) {
        (key.rotation_period, key.next_rotation) = before;
        return Err(refusal);
    }
    if let Some(labels) = new_labels {
        key.labels = labels;
    }
    if let Some(template) = new_template {
        key.template = template;
    }
    Ok(key.resource())
}

pub(super) fn update_primary(
    store: &mut Store,
    call: &Call,
    name: &str,
    now: SystemTime,
) -> Result<Value, Refusal> {
    let known = now + store.propagation;
    let key = store.key(name)?;
    if key.purpose != SYMMETRIC {
        return Err(Refusal::invalid(format!(
            "CryptoKey {name} has purpose {}: it has no primary version.",
            key.purpose
        )));
    }
    let id = call.fields().text("cryptoKeyVersionId")?.unwrap_or_default();
    let version = format!("{name}/cryptoKeyVersions/{id}");
    let number = key.versions.iter().position(|known| known.name == version);
    let number = number.ok_or_else(|| super::place::not_found("CryptoKeyVersion", &version))?;
    key.versions[number].state.check_change(&version, &[State::Enabled])?;
    key.set_primary(number + 1, known);
    Ok(key.resource())
}

/// The fields that a `PATCH` names, in lower camel case.
pub(super) fn mask(call: &Call) -> Result<Vec<String>, Refusal> {
    let mask = call.parameter("updateMask").unwrap_or_default();
    if mask.is_empty() {
        return Err(Refusal::invalid("The field update_mask must be set."));
    }
    Ok(mask.split(',').map(camel).collect())
}

fn camel(path: &str) -> String {
    let mut words = path.split('_');
    let mut camel = words.next().unwrap_or_default().to_owned();
    for word in words {
        let (first, rest) = word.split_at(word.len().min(1));
        camel += &first.to_ascii_uppercase();
        camel += rest;
    }
    camel
}

fn template(fields: Fields<'_>, purpose: &str) -> Result<Template, Refusal> {
    let protection_level = fields.named("protectionLevel", &PROTECTION_LEVEL)?.unwrap_or("SOFTWARE");
    let implied = (purpose == SYMMETRIC && !protection_level.starts_with("EXTERNAL"))
        .then_some("GOOGLE_SYMMETRIC_ENCRYPTION");
    let algorithm = fields
        .named("algorithm", &ALGORITHM)?
        .or(implied)
        .ok_or_else(|| Refusal::invalid("The field crypto_key.version_template.algorithm must be set."))?;
    let fits = match algorithm {
        "GOOGLE_SYMMETRIC_ENCRYPTION" => purpose == SYMMETRIC && !protection_level.starts_with("EXTERNAL"),
        "EXTERNAL_SYMMETRIC_ENCRYPTION" => purpose == SYMMETRIC && protection_level.starts_with("EXTERNAL"),
        _ => purpose != SYMMETRIC,
    };
    if !fits {
        return Err(Refusal::invalid(format!(
            "The algorithm {algorithm} does not fit the purpose {purpose} and the protection level \
             {protection_level}."
        )));
    }
    Ok(Template { protection_level, algorithm })
}

fn check_rotation(key: &Key, now: SystemTime, next_is_new: bool) -> Result<(), Refusal> {
    let wrong = |message: &str| Err(Refusal::invalid(message));
    if (key.rotation_period.is_some() || key.next_rotation.is_some()) && key.purpose != SYMMETRIC {
        return wrong("Only keys with the purpose ENCRYPT_DECRYPT are rotated.");
    }
    if key.rotation_period.is_some_and(|period| !(hours(24)..=hours(876_000)).contains(&period)) {
        return wrong("The rotation_period must be between 24 hours and 876,000 hours.");
    }
    if key.rotation_period.is_some() && key.next_rotation.is_none() {
        return wrong("If rotation_period is set, next_rotation_time must also be set.");
    }
    if next_is_new && key.next_rotation.is_some_and(|time| time <= now) {
        return wrong("The next_rotation_time must be in the future.");
    }
    Ok(())
}

/// What <https://cloud.google.com/kms/docs/labeling-keys> allows.
fn labels(fields: Fields<'_>) -> Result<Value, Refusal> {
    let Some(given) = fields.get("labels") else { return Ok(json!({})) };
    let allowed = |c: char| (c.is_alphanumeric() && !c.is_uppercase()) || matches!(c, '_' | '-');
    let fits = |text: &str| text.chars().count() <= 63 && text.chars().all(allowed);
    let all = given.as_object().ok_or_else(|| Refusal::invalid("Invalid value at 'labels'"))?;
    for (name, value) in all {
        let value =
            value.as_str().ok_or_else(|| Refusal::invalid("Invalid value at 'labels' (TYPE_STRING)"))?;
        let begins = name.chars().next().is_some_and(char::is_alphabetic);
        if !begins || !fits(name) || !fits(value) {
            return Err(Refusal::invalid(format!(
                "The label '{name}' or its value '{value}' is not allowed."
            )));
        }
    }
    if all.len() > MAX_LABELS {
        return Err(Refusal::invalid("A key has at most 64 labels."));
    }
    Ok(given.clone())
}

/// The purpose of the keys that encrypt.
pub(super) const SYMMETRIC: &str = "ENCRYPT_DECRYPT";
const DEFAULT_DESTROY_AFTER: Duration = hours(30 * 24);
const MAX_LABELS: usize = 64;
