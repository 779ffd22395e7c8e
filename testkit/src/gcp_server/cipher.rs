//! `encrypt`, `decrypt` and `generateRandomBytes`.
//!
//! A ciphertext is a format byte, the mark of its version, a nonce, and what
//! AES-256-GCM makes: so `decrypt` finds the version by itself.

use std::time::SystemTime;

use envelope_sdk::crypto::{Aes256Gcm as _, DefaultEngine, Engine, TAG_LEN};
use serde_json::{Value, json};

use super::{
    call::Call,
    crc32c::crc32c,
    enums::PROTECTION_LEVEL,
    fields::{Fields, base64},
    keys::SYMMETRIC,
    place::not_found,
    reply::{Code, Refusal},
    store::{Key, MARK_LEN, Store, Version},
};

/// Encrypts with the version `version_name` of the key, or with its primary one.
pub(super) fn encrypt(
    store: &mut Store,
    call: &Call,
    key: &str,
    version_name: Option<&str>,
    now: SystemTime,
) -> Result<Value, Refusal> {
    let key = symmetric(store.key(key)?)?;
    let version = match version_name {
        Some(name) => key.versions.iter().find(|known| known.name == name),
        None => key.encrypting(now),
    };
    let version = version.ok_or_else(|| match version_name {
        Some(name) => not_found("CryptoKeyVersion", name),
        None => {
            let message = format!("CryptoKey {} has no primary version.", key.name);
            Refusal::new(Code::FailedPrecondition, message)
        }
    })?;
    let plaintext = Checked::read(call.fields(), "plaintext", "plaintext")?;
    let aad = Checked::read(call.fields(), "additionalAuthenticatedData", "additional_authenticated_data")?;
    check_sizes(version, plaintext.bytes.len(), aad.bytes.len())?;
    let material = usable(version, now)?;
    let mut nonce = [0; NONCE_LEN];
    DefaultEngine::fill_random(&mut nonce)
        .map_err(|_| Refusal::new(Code::Internal, "The system has no randomness."))?;
    let mut sealed = vec![0; plaintext.bytes.len() + TAG_LEN];
    Gcm::new(material).seal_to(&nonce, &aad.bytes, &plaintext.bytes, &mut sealed);
    let ciphertext = [&[FORMAT][..], &version.mark, &nonce, &sealed].concat();
    let mut answer = json!({
        "name": version.name,
        "ciphertext": base64(&ciphertext),
        "ciphertextCrc32c": crc32c(&ciphertext).to_string(),
        "protectionLevel": version.template.protection_level,
    });
    plaintext.confirm(&mut answer, "verifiedPlaintextCrc32c");
    aad.confirm(&mut answer, "verifiedAdditionalAuthenticatedDataCrc32c");
    Ok(answer)
}

/// Decrypts with the version that the ciphertext names.
pub(super) fn decrypt(store: &mut Store, call: &Call, name: &str, now: SystemTime) -> Result<Value, Refusal> {
    let key = symmetric(store.key(name)?)?;
    let ciphertext = Checked::read(call.fields(), "ciphertext", "ciphertext")?.bytes;
    let aad =
        Checked::read(call.fields(), "additionalAuthenticatedData", "additional_authenticated_data")?.bytes;
    let garbage = || Refusal::invalid("Decryption failed: the ciphertext is invalid.");
    let (format, rest) = ciphertext.split_first().ok_or_else(garbage)?;
    let (mark, rest) = rest.split_first_chunk::<MARK_LEN>().ok_or_else(garbage)?;
    let (nonce, sealed) = rest.split_first_chunk::<NONCE_LEN>().ok_or_else(garbage)?;
    if *format != FORMAT || sealed.len() < TAG_LEN {
        return Err(garbage());
    }
    let version = key.versions.iter().find(|version| version.mark == *mark).ok_or_else(|| {
        Refusal::invalid("Decryption failed: verify that 'name' refers to the correct CryptoKey.")
    })?;
    let material = usable(version, now)?;
    let mut plaintext = vec![0; sealed.len() - TAG_LEN];
    Gcm::new(material).open_to(nonce, &aad, sealed, &mut plaintext).map_err(|_| garbage())?;
    let mut answer = json!({
        "plaintextCrc32c": crc32c(&plaintext).to_string(),
        "protectionLevel": version.template.protection_level,
    });
    if !plaintext.is_empty() {
        answer["plaintext"] = json!(base64(&plaintext));
    }
    if key.primary().is_some_and(|primary| primary.mark == version.mark) {
        answer["usedPrimary"] = json!(true);
    }
    Ok(answer)
}

pub(super) fn generate_random(call: &Call) -> Result<Value, Refusal> {
    let fields = call.fields();
    let length = fields.number("lengthBytes")?.unwrap_or_default();
    let length =
        usize::try_from(length).ok().filter(|length| (8..=1024).contains(length)).ok_or_else(|| {
            Refusal::invalid(format!("The length_bytes must be between 8 and 1024, not {length}."))
        })?;
    if fields.named("protectionLevel", &PROTECTION_LEVEL)? != Some("HSM") {
        return Err(Refusal::invalid("The protection_level must be HSM."));
    }
    let mut bytes = vec![0; length];
    DefaultEngine::fill_random(&mut bytes)
        .map_err(|_| Refusal::new(Code::Internal, "The system has no randomness."))?;
    Ok(json!({ "data": base64(&bytes), "dataCrc32c": crc32c(&bytes).to_string() }))
}

type Gcm = <DefaultEngine as Engine>::Gcm;

/// Bytes of a request, and whether their checksum came with them and was right.
struct Checked {
    bytes: Vec<u8>,
    verified: bool,
}

impl Checked {
    /// `field` is its name in JSON, `name` that in the API's words.
    fn read(fields: Fields<'_>, field: &str, name: &str) -> Result<Self, Refusal> {
        let bytes = fields.bytes(field)?;
        let sum = fields.number(&format!("{field}Crc32c"))?;
        if sum.is_some_and(|sum| sum != i64::from(crc32c(&bytes))) {
            return Err(Refusal::invalid(format!(
                "The checksum in field {name}_crc32c did not match the data in field {name}."
            )));
        }
        Ok(Self { bytes, verified: sum.is_some() })
    }

    /// What is false is left out of JSON.
    fn confirm(&self, answer: &mut Value, field: &str) {
        if self.verified {
            answer[field] = json!(true);
        }
    }
}

fn symmetric(key: &mut Key) -> Result<&Key, Refusal> {
    if key.purpose == SYMMETRIC {
        return Ok(key);
    }
    Err(Refusal::invalid(format!("CryptoKey {} has purpose {}, not {SYMMETRIC}.", key.name, key.purpose)))
}

fn usable(version: &Version, now: SystemTime) -> Result<&[u8; 32], Refusal> {
    version.check_use(now)?;
    let material = version.material.as_ref().map(envelope_sdk::crypto::Key256::expose);
    material.ok_or_else(|| Refusal::new(Code::Internal, format!("{} has no material.", version.name)))
}

fn check_sizes(version: &Version, plaintext: usize, aad: usize) -> Result<(), Refusal> {
    let hsm = version.template.protection_level.starts_with("HSM");
    let too_long = |name: &str, len: usize, limit: usize| {
        Err(Refusal::invalid(format!("The {name} must be no larger than {limit} bytes, not {len}.")))
    };
    match (hsm, plaintext, aad) {
        (true, ..) if plaintext + aad > HSM_LIMIT => {
            too_long("plaintext and additional_authenticated_data", plaintext + aad, HSM_LIMIT)
        }
        (false, len @ SOFTWARE_LIMIT_AND_MORE.., _) => too_long("plaintext", len, SOFTWARE_LIMIT),
        (false, _, len @ SOFTWARE_LIMIT_AND_MORE..) => {
            too_long("additional_authenticated_data", len, SOFTWARE_LIMIT)
        }
        _ => Ok(()),
    }
}

/// The first byte of a ciphertext.
const FORMAT: u8 = 0x0a;
const NONCE_LEN: usize = 12;
/// Plaintext and additional data of a key in an HSM together.
const HSM_LIMIT: usize = 8 * 1024;
/// Plaintext and additional data of other keys, each.
const SOFTWARE_LIMIT: usize = 64 * 1024;
const SOFTWARE_LIMIT_AND_MORE: usize = SOFTWARE_LIMIT + 1;
