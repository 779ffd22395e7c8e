//! Key rings and locations.

use std::{collections::BTreeMap, time::SystemTime};

use serde_json::{Value, json};

use super::{
    call::Call,
    page::page,
    place::{already_exists, ancestor, last, new_name},
    reply::{Code, Refusal},
    store::{Ring, Store},
    time::time_text,
};

pub(super) fn list(store: &Store, call: &Call, location: &str) -> Result<Value, Refusal> {
    let here = |name: &str| ancestor(name, 2) == location;
    let rings = store.rings.iter().filter(|(name, _)| here(name));
    page(call, "keyRings", rings.map(|(name, ring)| resource(name, ring)).collect())
}

pub(super) fn get(store: &mut Store, name: &str) -> Result<Value, Refusal> {
    store.ring(name).map(|ring| resource(name, ring))
}

pub(super) fn create(store: &mut Store, call: &Call, now: SystemTime) -> Result<Value, Refusal> {
    let name = new_name(call, "keyRingId")?;
    if store.rings.contains_key(&name) {
        return Err(already_exists("KeyRing", &name));
    }
    let ring = Ring { created: now, keys: BTreeMap::new(), jobs: BTreeMap::new() };
    let made = resource(&name, &ring);
    store.rings.insert(name, ring);
    Ok(made)
}

/// Refuses a name in a location that there is not.
pub(super) fn check_location(name: &str) -> Result<(), Refusal> {
    let location = last(ancestor(name, 2));
    if LOCATIONS.contains(&location) {
        return Ok(());
    }
    Err(Refusal::new(
        Code::NotFound,
        format!(
            "The request concerns location '{location}' but was sent to location 'global'. Either Cloud KMS \
             is not available in '{location}' or the request was misrouted."
        ),
    ))
}

pub(super) fn location(name: &str) -> Value {
    let id = last(name);
    json!({
        "name": name,
        "locationId": id,
        "displayName": id,
        "labels": { "cloud.googleapis.com/region": id },
        "metadata": {
            "@type": "type.googleapis.com/google.cloud.kms.v1.LocationMetadata",
            "hsmAvailable": true,
            "ekmAvailable": id != "global",
        },
    })
}

pub(super) fn locations(call: &Call, project: &str) -> Result<Value, Refusal> {
    let all = LOCATIONS.iter().map(|id| location(&format!("{project}/locations/{id}"))).collect();
    let mut answer = page(call, "locations", all)?;
    // Lists of locations say no number.
    if let Some(answer) = answer.as_object_mut() {
        answer.remove("totalSize");
    }
    Ok(answer)
}

fn resource(name: &str, ring: &Ring) -> Value {
    json!({ "name": name, "createTime": time_text(ring.created) })
}

/// Some of Google's, and two that are none of a region.
const LOCATIONS: [&str; 9] = [
    "global",
    "europe",
    "us",
    "asia-northeast1",
    "europe-west1",
    "europe-west3",
    "us-central1",
    "us-east1",
    "us-east4",
];
