//! The enumerations of the API: names in the discovery document, numbers for the
//! clients that ask for them by `$alt=json;enum-encoding=int`.

use serde_json::Value;

/// An enumeration: its names with their numbers.
pub(super) struct Enum(&'static [(&'static str, u64)]);

impl Enum {
    /// The name of a value that came as a name or as a number.
    pub(super) fn name(&self, value: &Value) -> Option<&'static str> {
        let known = match value {
            Value::String(name) => self.0.iter().find(|(known, _)| known == name),
            Value::Number(number) => self.0.iter().find(|(_, known)| Some(*known) == number.as_u64()),
            _ => None,
        };
        known.map(|(name, _)| *name)
    }

    fn number(&self, name: &str) -> Option<u64> {
        self.0.iter().find(|(known, _)| *known == name).map(|(_, number)| *number)
    }
}

/// Replaces the names of enumerations by their numbers, everywhere in `value`.
pub(super) fn to_numbers(value: &mut Value) {
    match value {
        Value::Array(values) => values.iter_mut().for_each(to_numbers),
        Value::Object(fields) => {
            let of_import_job = fields.contains_key("importMethod");
            for (field, value) in fields {
                let kind = match field.as_str() {
                    // Of users, who may call a label anything.
                    "labels" => continue,
                    "state" if of_import_job => &IMPORT_JOB_STATE,
                    "state" => &VERSION_STATE,
                    "protectionLevel" => &PROTECTION_LEVEL,
                    "purpose" => &PURPOSE,
                    "algorithm" => &ALGORITHM,
                    "importMethod" => &IMPORT_METHOD,
                    _ => {
                        to_numbers(value);
                        continue;
                    }
                };
                if let Some(number) = value.as_str().and_then(|name| kind.number(name)) {
                    *value = number.into();
                }
            }
        }
        _ => {}
    }
}

pub(super) const PROTECTION_LEVEL: Enum = Enum(&[
    ("PROTECTION_LEVEL_UNSPECIFIED", 0),
    ("SOFTWARE", 1),
    ("HSM", 2),
    ("EXTERNAL", 3),
    ("EXTERNAL_VPC", 4),
    ("HSM_SINGLE_TENANT", 5),
]);

pub(super) const PURPOSE: Enum = Enum(&[
    ("CRYPTO_KEY_PURPOSE_UNSPECIFIED", 0),
    ("ENCRYPT_DECRYPT", 1),
    ("ASYMMETRIC_SIGN", 5),
    ("ASYMMETRIC_DECRYPT", 6),
    ("RAW_ENCRYPT_DECRYPT", 7),
    ("MAC", 9),
]);

pub(super) const VERSION_STATE: Enum = Enum(&[
    ("CRYPTO_KEY_VERSION_STATE_UNSPECIFIED", 0),
    ("ENABLED", 1),
    ("DISABLED", 2),
    ("DESTROYED", 3),
    ("DESTROY_SCHEDULED", 4),
    ("PENDING_GENERATION", 5),
    ("PENDING_IMPORT", 6),
    ("IMPORT_FAILED", 7),
    ("GENERATION_FAILED", 8),
    ("PENDING_EXTERNAL_DESTRUCTION", 9),
    ("EXTERNAL_DESTRUCTION_FAILED", 10),
]);

/// Those of symmetric keys, and one for each other purpose.
pub(super) const ALGORITHM: Enum = Enum(&[
    ("CRYPTO_KEY_VERSION_ALGORITHM_UNSPECIFIED", 0),
    ("GOOGLE_SYMMETRIC_ENCRYPTION", 1),
    ("RSA_DECRYPT_OAEP_2048_SHA256", 8),
    ("EC_SIGN_P256_SHA256", 12),
    ("EXTERNAL_SYMMETRIC_ENCRYPTION", 18),
    ("AES_256_GCM", 19),
    ("HMAC_SHA256", 32),
]);

pub(super) const IMPORT_METHOD: Enum = Enum(&[
    ("IMPORT_METHOD_UNSPECIFIED", 0),
    ("RSA_OAEP_3072_SHA1_AES_256", 1),
    ("RSA_OAEP_4096_SHA1_AES_256", 2),
    ("RSA_OAEP_3072_SHA256_AES_256", 3),
    ("RSA_OAEP_4096_SHA256_AES_256", 4),
    ("RSA_OAEP_3072_SHA256", 5),
    ("RSA_OAEP_4096_SHA256", 6),
]);

const IMPORT_JOB_STATE: Enum =
    Enum(&[("IMPORT_JOB_STATE_UNSPECIFIED", 0), ("PENDING_GENERATION", 1), ("ACTIVE", 2), ("EXPIRED", 3)]);
