//! Key versions: made, described, listed, enabled, disabled, destroyed, restored.

use std::time::SystemTime;

use serde_json::{Value, json};

use super::{
    call::Call,
    enums::VERSION_STATE,
    fields::Fields,
    keys::mask,
    page::page,
    reply::Refusal,
    state::State,
    store::{Store, Version},
};

pub(super) fn list(store: &mut Store, call: &Call, key: &str) -> Result<Value, Refusal> {
    page(call, "cryptoKeyVersions", store.key(key)?.versions.iter().map(Version::resource).collect())
}

pub(super) fn get(store: &mut Store, name: &str) -> Result<Value, Refusal> {
    store.version(name).map(|version| version.resource())
}

/// It is enabled, unless the request says that it be disabled. It becomes the
/// primary version by `updatePrimaryVersion` only.
pub(super) fn create(store: &mut Store, call: &Call, key: &str, now: SystemTime) -> Result<Value, Refusal> {
    let key = store.key(key)?;
    let fields = call.fields();
    let state = match fields.named("state", &VERSION_STATE)? {
        None | Some("ENABLED") => State::Enabled,
        Some("DISABLED") => State::Disabled,
        Some(state) => {
            return Err(Refusal::invalid(format!("A version cannot be made in the state {state}.")));
        }
    };
    if key.import_only {
        return Err(Refusal::invalid(format!("CryptoKey {} takes imported versions only.", key.name)));
    }
    let external = external(key.template.protection_level, fields)?;
    let number = key.add_version(now, external)?;
    let made = &mut key.versions[number - 1];
    made.state = state;
    Ok(made.resource())
}

/// Enables or disables.
pub(super) fn patch(store: &mut Store, call: &Call, name: &str, now: SystemTime) -> Result<Value, Refusal> {
    let known = now + store.propagation;
    let version = store.version(name)?;
    for path in mask(call)? {
        if path != "state" {
            return Err(Refusal::invalid(format!("The field {path} cannot be updated.")));
        }
    }
    let state = match call.fields().named("state", &VERSION_STATE)? {
        Some("ENABLED") => State::Enabled,
        Some("DISABLED") => State::Disabled,
        _ => return Err(Refusal::invalid("The state may be changed to ENABLED or DISABLED only.")),
    };
    version.state.check_change(name, &[State::Enabled, State::Disabled])?;
    version.leave_for(state, known);
    Ok(version.resource())
}

pub(super) fn destroy(store: &mut Store, name: &str, now: SystemTime) -> Result<Value, Refusal> {
    let after = store.version(name).map(|_| ()).and_then(|()| {
        let key = super::place::ancestor(name, super::store::KEY);
        store.key(key).map(|key| key.destroy_after)
    })?;
    let known = now + store.propagation;
    let version = store.version(name)?;
    version.state.check_change(name, &[State::Enabled, State::Disabled])?;
    version.leave_for(State::DestroyScheduled, known);
    version.destroy_time = Some(now + after);
    Ok(version.resource())
}

pub(super) fn restore(store: &mut Store, name: &str) -> Result<Value, Refusal> {
    let version = store.version(name)?;
    version.state.check_change(name, &[State::DestroyScheduled])?;
    (version.state, version.destroy_time) = (State::Disabled, None);
    Ok(version.resource())
}

/// Where an external manager has the key, which the service does not make.
fn external(protection_level: &str, fields: Fields<'_>) -> Result<Option<Value>, Refusal> {
    let field = match protection_level {
        "EXTERNAL" => "externalKeyUri",
        "EXTERNAL_VPC" => "ekmConnectionKeyPath",
        _ => return Ok(None),
    };
    let options = fields.message("externalProtectionLevelOptions");
    let place = options.text(field)?.ok_or_else(|| {
        Refusal::invalid(format!(
            "The field external_protection_level_options.{field} must be set for {protection_level} keys."
        ))
    })?;
    Ok(Some(json!({ field: place })))
}
