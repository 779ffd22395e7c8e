//! The secret of a log, and the file that keeps it under a key of an [`Envelope`].

use std::{fmt, io::Read as _, path::Path};

use base64ct::{Base64, Encoding};
use envelope_files::{
    Access, Existing, NewFile,
    trust::{self, Purpose},
};
use envelope_sdk::{
    EncryptionContext, Envelope, Header,
    crypto::{DefaultEngine, Engine, Key256},
};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::{
    LogError,
    chain::{self, Hash},
    segments::beside,
    sign::Signer,
    text,
};

/// What a log is written with: the keys of its MACs, and the one that signs its checkpoints. From
/// [`KeyFile::open`], or [`LogKey::create`] for a new log.
pub struct LogKey {
    log: [u8; 16],
    record: Key256,
    head: Key256,
    signer: Signer,
}

impl LogKey {
    /// A new secret and its file, under the keys of `envelope` that encrypt.
    ///
    /// # Errors
    ///
    /// [`LogError::Key`] when no key wraps it, or the system has no randomness.
    pub async fn create(envelope: &Envelope) -> Result<(Self, KeyFile), LogError> {
        let mut log = [0; 16];
        DefaultEngine::fill_random(&mut log).map_err(LogError::key)?;
        let mut secrets = Zeroizing::new([0; 64]);
        DefaultEngine::fill_random(secrets.as_mut_slice()).map_err(LogError::key)?;
        let key = Self::from_secrets(log, &secrets)?;
        let public_key = key.public_key();
        let data_key = envelope.create_data_key(&purpose()).await.map_err(LogError::key)?;
        let sealed =
            data_key.seal(secrets.as_slice(), &bound_to(&log, &public_key)).map_err(LogError::key)?;
        let file = KeyFile { data_key: data_key.header().clone(), log, public_key, sealed };
        Ok((key, file))
    }

    /// The id of the log.
    #[must_use]
    pub fn log_id(&self) -> &[u8; 16] {
        &self.log
    }

    /// The Ed25519 public key: not secret. Whoever verifies without the secret needs it, by another way than the log's
    /// folder.
    #[must_use]
    pub fn public_key(&self) -> [u8; 32] {
        self.signer.public_key()
    }

    pub(crate) fn from_secrets(log: [u8; 16], secrets: &[u8; 64]) -> Result<Self, LogError> {
        let [secret, seed] = [0, 1].map(|half| {
            let mut bytes = Zeroizing::new([0; 32]);
            bytes.copy_from_slice(&secrets[half * 32..][..32]);
            Key256::copy_from(&bytes)
        });
        // HMAC fills a key that is shorter than its block with zeros: this is HKDF-Extract with the id as the salt.
        let mut salt = [0; 32];
        salt[..16].copy_from_slice(&log);
        let prk = Zeroizing::new(DefaultEngine::hmac_sha256(&salt, &[secret.expose()]));
        let derive = |info: &[u8]| {
            let mut key = Zeroizing::new([0; 32]);
            DefaultEngine::hkdf_expand_sha256(&prk, &[info], key.as_mut_slice());
            Key256::copy_from(&key)
        };
        let signer = Signer::new(&seed).ok_or_else(|| LogError::key("no Ed25519 key from the seed"))?;
        Ok(Self {
            log,
            record: derive(b"envelope-audit-v1 record"),
            head: derive(b"envelope-audit-v1 head"),
            signer,
        })
    }

    pub(crate) fn mac(&self, hash: &Hash) -> [u8; 32] {
        DefaultEngine::hmac_sha256(self.record.expose(), &[chain::RECORD, hash])
    }

    pub(crate) fn head_mac(&self, head: &[u8]) -> [u8; 32] {
        DefaultEngine::hmac_sha256(self.head.expose(), &[b"envelope-audit-v1 head\0", head])
    }

    pub(crate) fn sign(&self, message: &[u8]) -> [u8; crate::sign::LEN] {
        self.signer.sign(message)
    }
}

impl fmt::Debug for LogKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogKey").field("log", &text::hex(&self.log)).finish_non_exhaustive()
    }
}

/// `FILE.key`: the secret of a log, wrapped, with the log's id and public key. Nothing in it is secret.
#[derive(Debug, Clone)]
pub struct KeyFile {
    data_key: Header,
    log: [u8; 16],
    public_key: [u8; 32],
    sealed: Vec<u8>,
}

impl KeyFile {
    /// Reads `FILE.key` of the log at `log`. It chooses keys, so nobody else may be able to write it
    /// ([`trust`]).
    ///
    /// # Errors
    ///
    /// [`LogError::NoLog`] when there is none, [`LogError::Trust`] when others may write it, [`LogError::KeyFile`] when it is
    /// not in its one form.
    pub fn of(log: &Path) -> Result<Self, LogError> {
        let path = beside(log, "key");
        let file = trust::open(&path, Purpose::Settings).map_err(|error| match error.is_not_found() {
            true => LogError::NoLog { path: log.to_owned() },
            false => LogError::Trust(error),
        })?;
        let mut bytes = Vec::new();
        let read = file.take(MAX_KEY_FILE + 1).read_to_end(&mut bytes);
        read.map_err(|error| LogError::io("read", &path, error))?;
        Self::parse(&bytes).ok_or(LogError::KeyFile { path })
    }

    /// The log's id, as the file says.
    #[must_use]
    pub fn log_id(&self) -> &[u8; 16] {
        &self.log
    }

    /// The public key, as the file says.
    #[must_use]
    pub fn public_key(&self) -> &[u8; 32] {
        &self.public_key
    }

    /// The header of the data key: which keys open the log's secret.
    #[must_use]
    pub fn header(&self) -> &Header {
        &self.data_key
    }

    /// Unwraps the secret.
    ///
    /// # Errors
    ///
    /// [`LogError::Key`] when no key of `envelope` opens it, or the file was put together from others.
    pub async fn open(&self, envelope: &Envelope) -> Result<LogKey, LogError> {
        let data_key =
            envelope.open_data_key(&self.data_key.to_bytes(), &purpose()).await.map_err(LogError::key)?;
        let opened = data_key.open(&self.sealed, &bound_to(&self.log, &self.public_key));
        let opened = Zeroizing::new(opened.map_err(LogError::key)?);
        let secrets = opened.as_slice().try_into().map_err(|_| LogError::key("it has not 64 bytes"))?;
        let key = LogKey::from_secrets(self.log, secrets)?;
        if key.public_key() == self.public_key {
            Ok(key)
        } else {
            Err(LogError::key("the public key is not that of the seed"))
        }
    }

    /// The same secret under the keys of `envelope` that encrypt now. [`replace`](Self::replace) puts it in its place.
    ///
    /// # Errors
    ///
    /// [`LogError::Key`].
    pub async fn rewrap(&self, envelope: &Envelope) -> Result<Self, LogError> {
        let data_key = envelope.rewrap_header(self.data_key.clone(), &purpose()).await;
        Ok(Self { data_key: data_key.map_err(LogError::key)?, ..self.clone() })
    }

    /// Writes the file of a new log. Fails when there is one.
    ///
    /// # Errors
    ///
    /// [`LogError::File`].
    pub(crate) fn write(&self, log: &Path) -> Result<(), LogError> {
        self.put(log, Existing::Keep)
    }

    /// Writes it in the place of the file that is there.
    ///
    /// # Errors
    ///
    /// [`LogError::File`]; what was there stays then.
    pub fn replace(&self, log: &Path) -> Result<(), LogError> {
        self.put(log, Existing::Replace)
    }

    fn put(&self, log: &Path, existing: Existing) -> Result<(), LogError> {
        use std::io::Write as _;
        let path = beside(log, "key");
        let mut file = NewFile::create(&path, existing, Access::Private)?;
        file.write_all(&self.to_bytes()).map_err(|error| LogError::io("write", &path, error))?;
        let _ = file.commit()?;
        Ok(())
    }

    /// The bytes of the file.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = text::json(&Text {
            data_key: Base64::encode_string(&self.data_key.to_bytes()),
            log: text::hex(&self.log),
            public_key: text::hex(&self.public_key),
            sealed: Base64::encode_string(&self.sealed),
            v: 1,
        });
        bytes.push(b'\n');
        bytes
    }

    /// The file of these bytes, in their one form.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let text: Text = serde_json::from_slice(bytes).ok()?;
        let file = Self {
            data_key: Header::parse_exact(&Base64::decode_vec(&text.data_key).ok()?).ok()?,
            log: text::unhex(&text.log)?,
            public_key: text::unhex(&text.public_key)?,
            sealed: Base64::decode_vec(&text.sealed).ok()?,
        };
        (text.v == 1 && file.to_bytes() == bytes).then_some(file)
    }
}

/// In ascending order.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Text {
    data_key: String,
    log: String,
    public_key: String,
    sealed: String,
    v: u8,
}

fn purpose() -> EncryptionContext {
    EncryptionContext::new().with("purpose", "envelope-audit-v1")
}

fn bound_to(log: &[u8; 16], public_key: &[u8; 32]) -> EncryptionContext {
    EncryptionContext::new().with("log", text::hex(log)).with("public_key", text::hex(public_key))
}

const MAX_KEY_FILE: u64 = 1 << 20;
