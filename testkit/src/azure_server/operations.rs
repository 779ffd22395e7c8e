//! `encrypt`, `decrypt`, `wrapkey` and `unwrapkey`.

use std::time::SystemTime;

use serde_json::{Value, json};

use super::{
    call::{base64url, wrong},
    keys::Asked,
    material::{Material, Sealed},
    reply::Reply,
    store::{Store, Version, unix},
};

/// An operation as `key_ops` names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operation {
    Encrypt,
    Decrypt,
    Wrap,
    Unwrap,
}

impl Operation {
    /// By the last part of its path.
    pub(super) fn of_path(part: &str) -> Option<Self> {
        match part {
            "encrypt" => Some(Self::Encrypt),
            "decrypt" => Some(Self::Decrypt),
            "wrapkey" => Some(Self::Wrap),
            "unwrapkey" => Some(Self::Unwrap),
            _ => None,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Encrypt => "encrypt",
            Self::Decrypt => "decrypt",
            Self::Wrap => "wrapKey",
            Self::Unwrap => "unwrapKey",
        }
    }

    /// The action of a role.
    pub(super) fn action(self) -> &'static str {
        match self {
            Self::Encrypt => "keys/encrypt/action",
            Self::Decrypt => "keys/decrypt/action",
            Self::Wrap => "keys/wrap/action",
            Self::Unwrap => "keys/unwrap/action",
        }
    }
}

impl Asked<'_> {
    pub(super) fn operate(
        &self,
        store: &mut Store,
        name: &str,
        version: &str,
        operation: Operation,
    ) -> Result<Value, Reply> {
        let (_, keys) = self.keys(store);
        let key = keys.key(name, version)?;
        let id = key.version(version)?.id.clone();
        let mut answer = json!({ "kid": key.identifier(&self.call.base(), &id) });
        let version = key.version(&id)?;
        check_use(version, operation, self.now)?;
        let algorithm = self.call.text("alg")?.ok_or_else(|| wrong("alg"))?;
        let value = self.call.bytes("value")?.ok_or_else(|| wrong("value"))?;
        check_kind(&version.material, operation, algorithm)?;
        let is_gcm = algorithm.ends_with("GCM");
        let aad = self.call.bytes("aad")?;
        if !is_gcm && ["aad", "iv", "tag"].iter().any(|name| self.call.field(name).is_some()) {
            return Err(Reply::bad(format!("The algorithm {algorithm} takes neither iv nor tag nor aad.")));
        }
        let done = match operation {
            Operation::Encrypt if is_gcm => {
                // Its own only: no caller repeats one.
                if self.call.field("iv").is_some() || self.call.field("tag").is_some() {
                    return Err(Reply::bad("The service makes the iv and the tag of AES-GCM."));
                }
                let aad = aad.unwrap_or_default();
                let sealed = version.material.seal(algorithm, &aad, &value)?;
                answer["iv"] = json!(base64url(&sealed.iv));
                answer["tag"] = json!(base64url(&sealed.tag));
                if !aad.is_empty() {
                    answer["aad"] = json!(base64url(&aad));
                }
                sealed.ciphertext
            }
            Operation::Decrypt if is_gcm => {
                let iv =
                    self.call.bytes("iv")?.and_then(|iv| iv.try_into().ok()).ok_or_else(|| wrong("iv"))?;
                let tag = self.call.bytes("tag")?.filter(|tag| tag.len() == TAG_LEN);
                let sealed = Sealed { iv, ciphertext: value, tag: tag.ok_or_else(|| wrong("tag"))? };
                version.material.open(algorithm, &aad.unwrap_or_default(), &sealed)?
            }
            Operation::Encrypt | Operation::Wrap => version.material.wrap(algorithm, &value)?,
            Operation::Decrypt | Operation::Unwrap => version.material.unwrap(algorithm, &value)?,
        };
        answer["value"] = json!(base64url(&done));
        Ok(answer)
    }
}

/// A disabled key does nothing. One out of its time opens still what it closed
/// ("Date-time controlled operations", see `azure/documented`).
fn check_use(version: &Version, operation: Operation, now: SystemTime) -> Result<(), Reply> {
    let name = operation.name();
    let refuse = |inner: &str, what: &str| {
        Err(Reply::forbidden(inner, format!("Operation {name} is not allowed on {what} key.")))
    };
    if !version.enabled {
        return refuse("KeyDisabled", "a disabled");
    }
    if matches!(operation, Operation::Encrypt | Operation::Wrap) {
        let now = unix(now);
        if version.not_before.is_some_and(|from| now < from) {
            return refuse("KeyNotYetValid", "a not yet valid");
        }
        if version.expires.is_some_and(|until| until <= now) {
            return refuse("KeyExpired", "an expired");
        }
    }
    if version.operations.iter().any(|known| known == name) {
        return Ok(());
    }
    Err(Reply::forbidden("KeyOperationForbidden", format!("Operation {name} is not permitted on this key.")))
}

/// AES-GCM encrypts, AES key wrap wraps, and RSA does both.
fn check_kind(material: &Material, operation: Operation, algorithm: &str) -> Result<(), Reply> {
    let wraps = matches!(operation, Operation::Wrap | Operation::Unwrap);
    let fits = match material {
        Material::Rsa(_) => ["RSA-OAEP-256", "RSA-OAEP", "RSA1_5"].contains(&algorithm),
        Material::Oct(_) => algorithm.ends_with(if wraps { "KW" } else { "GCM" }),
        Material::Ec { .. } => false,
    };
    let message = format!("The algorithm {algorithm} is not supported for {} by this key.", operation.name());
    if fits { Ok(()) } else { Err(Reply::bad(message)) }
}

/// Whether this algorithm is understood and shall not be used: SHA-1, or no OAEP.
pub(super) fn is_weak(algorithm: &str) -> bool {
    ["RSA-OAEP", "RSA1_5"].contains(&algorithm)
}

const TAG_LEN: usize = 16;
