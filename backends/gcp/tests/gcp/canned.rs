//! A KMS that answers what a test says: for errors, which a real one does not
//! give on demand.

use base64ct::{Base64, Encoding};
use envelope_sdk::{KeyProvider, ProviderError, WrappedDek};
use envelope_testkit::http_server::{Answer, HttpServer, Request};

use super::*;

pub(crate) struct Canned(pub(crate) HttpServer);

impl Canned {
    pub(crate) fn answering(answer: impl Fn(&Request) -> Answer + Send + Sync + 'static) -> Self {
        Self(HttpServer::answering(answer))
    }

    pub(crate) fn in_turn(answers: impl IntoIterator<Item = Answer>) -> Self {
        Self(HttpServer::in_turn(answers))
    }

    /// Says this to everything.
    pub(crate) fn saying(body: impl Into<String>) -> Self {
        let body = body.into();
        Self::answering(move |_| Answer::json(200, body.clone()))
    }

    pub(crate) fn kms(&self) -> GcpKms {
        once_at(&self.0.url()).build()
    }

    pub(crate) fn wrap(&self) -> Result<WrappedDek, ProviderError> {
        block_on(self.kms().wrap_dek(&the_key(), &fresh_dek(), &context()))
    }

    pub(crate) fn unwrap(&self) -> Result<Dek, ProviderError> {
        block_on(self.kms().unwrap_dek(&some_wrap(), &context()))
    }
}

/// An error in Google's form.
pub(crate) fn refusal(status: u16, code: &str, message: &str, details: &str) -> Answer {
    Answer::json(
        status,
        format!(
            r#"{{"error":{{"code":{status},"message":"{message}","status":"{code}","details":[{details}]}}}}"#
        ),
    )
}

/// What Encrypt answers, all of it right.
pub(crate) fn encrypted() -> serde_json::Value {
    let ciphertext = [1; 113];
    serde_json::json!({
        "name": format!("{RING}/cryptoKeys/the-key/cryptoKeyVersions/1"),
        "ciphertext": Base64::encode_string(&ciphertext),
        "ciphertextCrc32c": crc32c(&ciphertext).to_string(),
        "verifiedPlaintextCrc32c": true,
        "verifiedAdditionalAuthenticatedDataCrc32c": true,
        "protectionLevel": 1,
    })
}

/// What Decrypt answers, all of it right.
pub(crate) fn decrypted(plaintext: &[u8]) -> serde_json::Value {
    serde_json::json!({
        "plaintext": Base64::encode_string(plaintext),
        "plaintextCrc32c": crc32c(plaintext).to_string(),
        "usedPrimary": true,
        "protectionLevel": 1,
    })
}

/// With one field changed, or taken away.
pub(crate) fn with(
    mut answer: serde_json::Value,
    field: &str,
    value: Option<serde_json::Value>,
) -> serde_json::Value {
    let fields = answer.as_object_mut().unwrap();
    match value {
        Some(value) => drop(fields.insert(field.to_owned(), value)),
        None => drop(fields.remove(field)),
    }
    answer
}

/// What a request is for: the verb of a custom method, or the method and the last
/// kind of resource in its path.
pub(crate) fn call_of(request: &Request) -> String {
    let path = request.path();
    match path.rsplit_once(':') {
        Some((_, verb)) => verb.to_owned(),
        None => {
            let kinds = ["keyRings", "cryptoKeyVersions", "cryptoKeys", "importJobs"];
            let last = path.split('/').rfind(|part| kinds.contains(part)).unwrap_or_default();
            format!("{} {last}", request.method)
        }
    }
}

pub(crate) fn some_wrap() -> WrappedDek {
    WrappedDek::new(the_key(), "1", "GCP-KMS", vec![1; 113]).unwrap()
}

pub(crate) fn the_key() -> KeyUri {
    key("the-key")
}

/// Bit by bit, unlike the crate.
pub(crate) fn crc32c(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { (crc >> 1) ^ 0x82f6_3b78 } else { crc >> 1 };
        }
    }
    !crc
}
