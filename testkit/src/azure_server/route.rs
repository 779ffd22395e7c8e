//! Which operation of the API a call is.

use std::time::SystemTime;

use serde_json::Value;

use super::{
    call::{Call, Service, Vault},
    keys::{self, Asked},
    operations::Operation,
    reply::Reply,
    roles,
    store::Store,
};

/// Does what `call` asks `vault` for.
pub(super) fn answer(store: &mut Store, call: &Call, vault: &Vault, now: SystemTime) -> Result<Value, Reply> {
    let asked = Asked { call, vault, now };
    let may = |action: &str| roles::authorize(call, vault, action);
    let path: Vec<&str> = call.path.iter().map(String::as_str).collect();
    match (call.method.as_str(), path.as_slice()) {
        ("GET", ["keys"]) => may("keys/read").and_then(|()| asked.list(store)),
        ("POST", ["keys", "restore"]) => Err(Reply::not_offered("the restoring of backups")),
        ("POST", ["keys", name, "create"]) => {
            may("keys/create/action").and_then(|()| asked.create(store, name))
        }
        ("POST", ["keys", name, "rotate"]) => {
            may("keys/rotate/action").and_then(|()| asked.rotate(store, name))
        }
        ("POST", ["keys", _, "backup"]) => Err(Reply::not_offered("backups")),
        ("GET", ["keys", name, "versions"]) => may("keys/read").and_then(|()| asked.versions(store, name)),
        ("GET", ["keys", name, "rotationpolicy"]) => {
            may("keyrotationpolicies/read").and_then(|()| asked.policy(store, name))
        }
        ("PUT", ["keys", name, "rotationpolicy"]) => {
            may("keyrotationpolicies/write").and_then(|()| asked.put_policy(store, name))
        }
        ("PUT", ["keys", _]) => Err(Reply::not_offered("the import of keys")),
        ("DELETE", ["keys", name]) => may("keys/delete").and_then(|()| asked.delete(store, name)),
        ("GET", ["keys", name, version]) => may("keys/read").and_then(|()| asked.get(store, name, version)),
        ("PATCH", ["keys", name]) => may("keys/update/action").and_then(|()| asked.update(store, name, "")),
        ("PATCH", ["keys", name, version]) => {
            may("keys/update/action").and_then(|()| asked.update(store, name, version))
        }
        ("POST", ["keys", name, version, operation]) => {
            let operation = Operation::of_path(operation)
                .ok_or_else(|| Reply::not_offered(&format!("the operation {operation}")))?;
            may(operation.action())?;
            asked.operate(store, name, version, operation)
        }
        ("GET", ["keys", _, _, "attestation"]) => Err(Reply::not_offered("attestations")),
        ("GET", ["deletedkeys"]) => may("keys/read").and_then(|()| asked.list_deleted(store)),
        ("GET", ["deletedkeys", name]) => may("keys/read").and_then(|()| asked.deleted(store, name)),
        ("POST", ["deletedkeys", name, "recover"]) => {
            may("keys/recover/action").and_then(|()| asked.recover(store, name))
        }
        ("DELETE", ["deletedkeys", name]) => may("keys/purge/action").and_then(|()| asked.purge(store, name)),
        ("POST", ["rng"]) if vault.service == Service::ManagedHsm => {
            may("keys/random/action").and_then(|()| keys::random(call))
        }
        _ => {
            let message = format!("{} /{} is not served.", call.method, call.path.join("/"));
            Err(Reply::error(404, "NotFound", message))
        }
    }
}
