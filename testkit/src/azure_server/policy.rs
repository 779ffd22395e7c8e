//! When keys are rotated by themselves.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use super::{
    call::{Call, wrong},
    reply::Reply,
    store::{DAY, Key, Version, unix},
};

/// The rotation policy of a key.
#[derive(Default)]
pub(super) struct Policy {
    /// When a new version expires.
    pub(super) expires_after: Option<Duration>,
    rotates: Option<Trigger>,
    /// What was put, with its times; `null` before.
    put: Value,
}

#[derive(Clone, Copy)]
enum Trigger {
    AfterCreation(Duration),
    BeforeExpiry(Duration),
}

impl Policy {
    /// Whether the latest version is to be replaced by now.
    pub(super) fn rotation_due(&self, latest: &Version, now: SystemTime) -> bool {
        match self.rotates {
            None => false,
            Some(Trigger::AfterCreation(after)) => latest.created + after <= now,
            Some(Trigger::BeforeExpiry(before)) => {
                let expiry = latest.expires.map(|seconds| UNIX_EPOCH + Duration::from_secs(seconds));
                expiry.is_some_and(|expiry| expiry <= now + before)
            }
        }
    }
}

pub(super) fn get(key: &Key, base: &str) -> Value {
    let mut policy = match &key.policy.put {
        // That of a key for which nobody has put one.
        Value::Null => json!({ "lifetimeActions": [notification()], "attributes": {} }),
        put => put.clone(),
    };
    policy["id"] = json!(format!("{}/rotationpolicy", key.identifier(base, "")));
    policy
}

pub(super) fn put(key: &mut Key, call: &Call, now: SystemTime) -> Result<Value, Reply> {
    let expiry = call.field("attributes").and_then(|attributes| attributes.get("expiryTime"));
    let expires_after =
        expiry.filter(|expiry| !expiry.is_null()).map(|expiry| duration("expiryTime", expiry));
    let expires_after = expires_after.transpose()?;
    if expires_after.is_some_and(|after| after < 28 * DAY) {
        return Err(Reply::bad("The expiryTime of a rotation policy must be at least 28 days."));
    }
    let mut rotates = None;
    let actions = call.field("lifetimeActions").and_then(Value::as_array);
    for action in actions.into_iter().flatten() {
        let trigger = trigger(&action["trigger"])?;
        let shortest = match trigger {
            Trigger::AfterCreation(time) | Trigger::BeforeExpiry(time) => time,
        };
        if shortest < 7 * DAY {
            return Err(Reply::bad("The trigger of a rotation policy must be at least 7 days."));
        }
        match action["action"]["type"].as_str() {
            Some("Rotate") => rotates = Some(trigger),
            Some("Notify") => {}
            _ => return Err(wrong("lifetimeActions")),
        }
    }
    if matches!(rotates, Some(Trigger::BeforeExpiry(_))) && expires_after.is_none() {
        return Err(Reply::bad("A rotation before expiry needs an expiryTime."));
    }
    let created = key.policy.put["attributes"]["created"].as_u64().unwrap_or_else(|| unix(now));
    let mut attributes = json!({ "created": created, "updated": unix(now) });
    if let Some(expiry) = expiry {
        attributes["expiryTime"] = expiry.clone();
    }
    let mut actions = actions.cloned().unwrap_or_default();
    if actions.iter().all(|action| action["action"]["type"] != "Notify") {
        actions.push(notification());
    }
    key.policy = Policy {
        expires_after,
        rotates,
        put: json!({ "lifetimeActions": actions, "attributes": attributes }),
    };
    Ok(get(key, &call.base()))
}

/// What the service adds by itself.
fn notification() -> Value {
    json!({ "trigger": { "timeBeforeExpiry": "P30D" }, "action": { "type": "Notify" } })
}

fn trigger(trigger: &Value) -> Result<Trigger, Reply> {
    let time = |name: &str| trigger.get(name).filter(|time| !time.is_null());
    match (time("timeAfterCreate"), time("timeBeforeExpiry")) {
        (Some(after), None) => duration("timeAfterCreate", after).map(Trigger::AfterCreation),
        (None, Some(before)) => duration("timeBeforeExpiry", before).map(Trigger::BeforeExpiry),
        _ => Err(wrong("trigger")),
    }
}

fn duration(name: &str, text: &Value) -> Result<Duration, Reply> {
    text.as_str().and_then(parse).ok_or_else(|| wrong(name))
}

/// A duration of ISO 8601 in years of 365 days, months of 30, weeks and days.
fn parse(text: &str) -> Option<Duration> {
    let (mut rest, mut days) = (text.strip_prefix('P')?, 0_u32);
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let end = rest.find(|digit: char| !digit.is_ascii_digit())?;
        let count: u32 = rest[..end].parse().ok()?;
        let unit = match rest.as_bytes()[end] {
            b'Y' => 365,
            b'M' => 30,
            b'W' => 7,
            b'D' => 1,
            _ => return None,
        };
        days = days.checked_add(count.checked_mul(unit)?)?;
        rest = &rest[end + 1..];
    }
    DAY.checked_mul(days)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_of_iso_8601() {
        for (text, days) in [("P30D", 30), ("P2Y", 730), ("P1Y2M3W4D", 365 + 60 + 21 + 4), ("P0D", 0)] {
            assert_eq!(parse(text), Some(days * DAY), "{text}");
        }
        for wrong in ["", "P", "30D", "PD", "P30", "PT1H", "P-1D", "P1.5D", "P9999999999D", "P4294967295Y"] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }
}
