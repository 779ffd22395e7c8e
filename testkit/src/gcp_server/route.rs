//! Which method of the API a call is.

use std::time::SystemTime;

use serde_json::Value;

use super::{
    call::Call,
    cipher, jobs, keys,
    place::{Place, ancestor},
    reply::{Code, Refusal},
    rings, roles,
    store::{KEY, Store},
    versions,
};

/// Does what `call` asks for.
pub(super) fn answer(store: &mut Store, call: &Call, now: SystemTime) -> Result<Value, Refusal> {
    let place = Place::of(&call.path).ok_or_else(|| not_served(call))?;
    if !matches!(place, Place::Locations { .. }) {
        rings::check_location(&call.path)?;
    }
    let may = |method: &str, permission: &str, resource: &str| {
        roles::check(call.token.as_deref(), method, &format!("cloudkms.{permission}"), resource)
    };
    match (call.method.as_str(), place, call.verb.as_str()) {
        ("GET", Place::Locations { project }, "") => {
            may("ListLocations", "locations.list", &project)?;
            rings::locations(call, &project)
        }
        ("GET", Place::Location(name), "") => {
            may("GetLocation", "locations.get", &name)?;
            Ok(rings::location(&name))
        }
        ("POST", Place::Location(name), "generateRandomBytes") => {
            may("GenerateRandomBytes", "locations.generateRandomBytes", &name)?;
            cipher::generate_random(call)
        }
        ("GET", Place::Rings { location }, "") => {
            may("ListKeyRings", "keyRings.list", &location)?;
            rings::list(store, call, &location)
        }
        ("POST", Place::Rings { location }, "") => {
            may("CreateKeyRing", "keyRings.create", &location)?;
            rings::create(store, call, now)
        }
        ("GET", Place::Ring(name), "") => {
            may("GetKeyRing", "keyRings.get", &name)?;
            rings::get(store, &name)
        }
        ("GET", Place::Keys { ring }, "") => {
            may("ListCryptoKeys", "cryptoKeys.list", &ring)?;
            keys::list(store, call, &ring)
        }
        ("POST", Place::Keys { ring }, "") => {
            may("CreateCryptoKey", "cryptoKeys.create", &ring)?;
            keys::create(store, call, &ring, now)
        }
        ("GET", Place::Key(name), "") => {
            may("GetCryptoKey", "cryptoKeys.get", &name)?;
            keys::get(store, &name)
        }
        ("PATCH", Place::Key(name), "") => {
            may("UpdateCryptoKey", "cryptoKeys.update", &name)?;
            keys::patch(store, call, &name, now)
        }
        ("POST", Place::Key(name), "updatePrimaryVersion") => {
            may("UpdateCryptoKeyPrimaryVersion", "cryptoKeys.update", &name)?;
            keys::update_primary(store, call, &name, now)
        }
        ("POST", Place::Key(name), "encrypt") => {
            may("Encrypt", "cryptoKeyVersions.useToEncrypt", &name)?;
            cipher::encrypt(store, call, &name, None, now)
        }
        ("POST", Place::Version(name), "encrypt") => {
            let key = ancestor(&name, KEY);
            may("Encrypt", "cryptoKeyVersions.useToEncrypt", key)?;
            cipher::encrypt(store, call, key, Some(&name), now)
        }
        ("POST", Place::Key(name), "decrypt") => {
            may("Decrypt", "cryptoKeyVersions.useToDecrypt", &name)?;
            cipher::decrypt(store, call, &name, now)
        }
        ("GET", Place::Versions { key }, "") => {
            may("ListCryptoKeyVersions", "cryptoKeyVersions.list", &key)?;
            versions::list(store, call, &key)
        }
        ("POST", Place::Versions { key }, "") => {
            may("CreateCryptoKeyVersion", "cryptoKeyVersions.create", &key)?;
            versions::create(store, call, &key, now)
        }
        ("GET", Place::Version(name), "") => {
            may("GetCryptoKeyVersion", "cryptoKeyVersions.get", &name)?;
            versions::get(store, &name)
        }
        ("PATCH", Place::Version(name), "") => {
            may("UpdateCryptoKeyVersion", "cryptoKeyVersions.update", &name)?;
            versions::patch(store, call, &name, now)
        }
        ("POST", Place::Version(name), "destroy") => {
            may("DestroyCryptoKeyVersion", "cryptoKeyVersions.destroy", &name)?;
            versions::destroy(store, &name, now)
        }
        ("POST", Place::Version(name), "restore") => {
            may("RestoreCryptoKeyVersion", "cryptoKeyVersions.restore", &name)?;
            versions::restore(store, &name)
        }
        ("GET", Place::Jobs { ring }, "") => {
            may("ListImportJobs", "importJobs.list", &ring)?;
            jobs::list(store, call, &ring, now)
        }
        ("POST", Place::Jobs { ring }, "") => {
            may("CreateImportJob", "importJobs.create", &ring)?;
            jobs::create(store, call, &ring, now)
        }
        ("GET", Place::Job(name), "") => {
            may("GetImportJob", "importJobs.get", &name)?;
            jobs::get(store, &name, now)
        }
        _ => Err(not_served(call)),
    }
}

fn not_served(call: &Call) -> Refusal {
    let message = format!("This server does not know {} {}.", call.method, call.full_path());
    Refusal::new(Code::Unimplemented, message)
}
