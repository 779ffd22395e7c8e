//! Import jobs, whose state clients show. Nothing is imported through them.

use std::time::SystemTime;

use serde_json::{Value, json};

use super::{
    call::Call,
    enums::{IMPORT_METHOD, PROTECTION_LEVEL},
    page::page,
    place::{already_exists, ancestor, new_name, not_found},
    reply::Refusal,
    store::{RING, Store},
    time::{hours, parse_time, time_text},
};

pub(super) fn list(store: &mut Store, call: &Call, ring: &str, now: SystemTime) -> Result<Value, Refusal> {
    let jobs = store.ring(ring)?.jobs.values().map(|job| at(job, now));
    page(call, "importJobs", jobs.collect())
}

pub(super) fn get(store: &mut Store, name: &str, now: SystemTime) -> Result<Value, Refusal> {
    let ring = store.ring(ancestor(name, RING)).ok();
    let job = ring.and_then(|ring| ring.jobs.get(name)).ok_or_else(|| not_found("ImportJob", name))?;
    Ok(at(job, now))
}

/// It is active at once: the service takes some minutes for its wrapping key.
pub(super) fn create(store: &mut Store, call: &Call, ring: &str, now: SystemTime) -> Result<Value, Refusal> {
    let name = new_name(call, "importJobId")?;
    let jobs = &mut store.ring(ring)?.jobs;
    if jobs.contains_key(&name) {
        return Err(already_exists("ImportJob", &name));
    }
    let required = |field: &str| Refusal::invalid(format!("The field import_job.{field} must be set."));
    let fields = call.fields();
    let method = fields.named("importMethod", &IMPORT_METHOD)?.ok_or_else(|| required("import_method"))?;
    let level =
        fields.named("protectionLevel", &PROTECTION_LEVEL)?.ok_or_else(|| required("protection_level"))?;
    let job = json!({
        "name": name,
        "importMethod": method,
        "protectionLevel": level,
        "createTime": time_text(now),
        "generateTime": time_text(now),
        "expireTime": time_text(now + LIFETIME),
        "state": "ACTIVE",
    });
    jobs.insert(name, job.clone());
    Ok(job)
}

/// The job as it is now: it expires.
fn at(job: &Value, now: SystemTime) -> Value {
    let mut job = job.clone();
    let expires = job["expireTime"].as_str().and_then(parse_time);
    if expires.is_some_and(|time| time <= now) {
        job["state"] = json!("EXPIRED");
        job["expireEventTime"] = job["expireTime"].clone();
    }
    job
}

/// Import jobs expire after three days
/// (<https://cloud.google.com/kms/docs/importing-a-key>).
const LIFETIME: std::time::Duration = hours(72);
