//! Which method of the API a call is.

use std::time::SystemTime;

use serde_json::Value;

use super::{
    call::Call,
    cipher, jobs, keys,
    place::{Place, ancestor},
    reply::{Code, Refusal},
    rings,
    roles::{self, DECRYPT, ENCRYPT},
    store::{KEY, Store},
    versions,
};

/// Does what `call` asks for.
pub(super) fn answer(store: &mut Store, call: &Call, now: SystemTime) -> Result<Value, Refusal> {
    let place = Place::of(&call.path).ok_or_else(|| not_served(call))?;
    if !matches!(place, Place::Locations { .. }) {
        rings::check_location(&call.path)?;
    }
    let may = |permission: &str, resource: &str| {
        roles::check(call.token.as_deref(), &format!("cloudkms.{permission}"), resource)
    };
    match (call.method.as_str(), place, call.verb.as_str()) {
        ("GET", Place::Locations { project }, "") => {
            may("locations.list", &project)?;
            rings::locations(call, &project)
        }
        ("GET", Place::Location(name), "") => {
            may("locations.get", &name)?;
            Ok(rings::location(&name))
        }
        ("POST", Place::Location(name), "generateRandomBytes") => {
            may("locations.generateRandomBytes", &name)?;
            cipher::generate_random(call)
        }
        ("GET", Place::Rings { location }, "") => {
            may("keyRings.list", &location)?;
            rings::list(store, call, &location)
        }
        ("POST", Place::Rings { location }, "") => {
            may("keyRings.create", &location)?;
            rings::create(store, call, now)
        }
        ("GET", Place::Ring(name), "") => {
            may("keyRings.get", &name)?;
            rings::get(store, &name)
        }
        ("GET", Place::Keys { ring }, "") => {
            may("cryptoKeys.list", &ring)?;
            keys::list(store, call, &ring)
        }
        ("POST", Place::Keys { ring }, "") => {
            may("cryptoKeys.create", &ring)?;
            keys::create(store, call, &ring, now)
        }
        ("GET", Place::Key(name), "") => {
            may("cryptoKeys.get", &name)?;
            keys::get(store, &name)
        }
        ("PATCH", Place::Key(name), "") => {
            may("cryptoKeys.update", &name)?;
            keys::patch(store, call, &name, now)
        }
        ("POST", Place::Key(name), "updatePrimaryVersion") => {
            may("cryptoKeys.update", &name)?;
            keys::update_primary(store, call, &name)
        }
        ("POST", Place::Key(name), "encrypt") => {
            roles::check(call.token.as_deref(), ENCRYPT, &name)?;
            cipher::encrypt(store, call, &name, None)
        }
        ("POST", Place::Version(name), "encrypt") => {
            let key = ancestor(&name, KEY);
            roles::check(call.token.as_deref(), ENCRYPT, key)?;
            cipher::encrypt(store, call, key, Some(&name))
        }
        ("POST", Place::Key(name), "decrypt") => {
            roles::check(call.token.as_deref(), DECRYPT, &name)?;
            cipher::decrypt(store, call, &name)
        }
        ("GET", Place::Versions { key }, "") => {
            may("cryptoKeyVersions.list", &key)?;
            versions::list(store, call, &key)
        }
        ("POST", Place::Versions { key }, "") => {
            may("cryptoKeyVersions.create", &key)?;
            versions::create(store, call, &key, now)
        }
        ("GET", Place::Version(name), "") => {
            may("cryptoKeyVersions.get", &name)?;
            versions::get(store, &name)
        }
        ("PATCH", Place::Version(name), "") => {
            may("cryptoKeyVersions.update", &name)?;
            versions::patch(store, call, &name)
        }
        ("POST", Place::Version(name), "destroy") => {
            may("cryptoKeyVersions.destroy", &name)?;
            versions::destroy(store, &name, now)
        }
        ("POST", Place::Version(name), "restore") => {
            may("cryptoKeyVersions.restore", &name)?;
            versions::restore(store, &name)
        }
        ("GET", Place::Jobs { ring }, "") => {
            may("importJobs.list", &ring)?;
            jobs::list(store, call, &ring, now)
        }
        ("POST", Place::Jobs { ring }, "") => {
            may("importJobs.create", &ring)?;
            jobs::create(store, call, &ring, now)
        }
        ("GET", Place::Job(name), "") => {
            may("importJobs.get", &name)?;
            jobs::get(store, &name, now)
        }
        _ => Err(not_served(call)),
    }
}

fn not_served(call: &Call) -> Refusal {
    let verb = if call.verb.is_empty() { String::new() } else { format!(":{}", call.verb) };
    let message = format!("This server does not know {} /v1/{}{verb}.", call.method, call.path);
    Refusal::new(Code::Unimplemented, message)
}
