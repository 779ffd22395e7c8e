//! [`DocumentSignature`]: a file that is signed by the key of a log, such as the report of a key's destruction.

use std::{
    fmt,
    io::{self, Read, Seek, SeekFrom},
};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{
    key::LogKey,
    sign,
    text::{self, MAX_INTEGER},
};

/// The signature of a document, by the key that signs the checkpoints of a log: the last line of the file, over all bytes before it.
/// Its form is in `docs/spec/audit-v1.md`.
///
/// It says that whoever wrote the log wrote this document, byte for byte, at some time. It says nothing of the order of
/// documents, and nothing of when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DocumentSignature {
    log: [u8; 16],
    public_key: [u8; 32],
    length: u64,
    sha256: [u8; 32],
    signature: [u8; sign::LEN],
}

/// Why a document is not one that was signed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DocumentError {
    /// Its last line is no signature: nobody signed it, or its end is missing.
    #[error("it is not signed, or its end is missing")]
    NotSigned,
    /// It is signed by the key of another log.
    #[error("it is signed by the key of another log")]
    OtherKey,
    /// It is not what was signed.
    #[error("it was changed since it was signed")]
    Changed,
    /// Nobody who has the key signed this.
    #[error("its signature is wrong")]
    Signature,
    /// It cannot be read.
    #[error("it cannot be read: {0}")]
    Io(#[from] io::Error),
}

impl LogKey {
    /// Signs a document of `length` bytes with the SHA-256 `sha256`. The [line](fmt::Display) of the signature is put behind it,
    /// which must end with LF.
    #[must_use]
    pub fn sign_document(&self, length: u64, sha256: &[u8; 32]) -> DocumentSignature {
        let (log, public_key, sha256) = (*self.log_id(), self.public_key(), *sha256);
        let signature = self.sign(&message(&log, length, &sha256));
        DocumentSignature { log, public_key, length, sha256, signature }
    }
}

impl DocumentSignature {
    /// Reads a signed document from its beginning to its end, and checks that `public_key` signed it. The key must come by
    /// another way than the document. Memory does not grow with the document.
    ///
    /// # Errors
    ///
    /// [`DocumentError`].
    pub fn verify(document: &mut (impl Read + Seek), public_key: &[u8; 32]) -> Result<Self, DocumentError> {
        let len = document.seek(SeekFrom::End(0))?;
        let tail_at = len.saturating_sub(LONGEST_LINE);
        document.seek(SeekFrom::Start(tail_at))?;
        let mut tail = Vec::new();
        document.take(LONGEST_LINE).read_to_end(&mut tail)?;
        let line = tail.strip_suffix(b"\n").ok_or(DocumentError::NotSigned)?;
        let line_at = line.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let signed = Self::parse(&line[line_at..]).ok_or(DocumentError::NotSigned)?;
        if signed.public_key != *public_key {
            return Err(DocumentError::OtherKey);
        }
        let message = message(&signed.log, signed.length, &signed.sha256);
        if !sign::is_signed(public_key, &message, &signed.signature) {
            return Err(DocumentError::Signature);
        }
        if tail_at + line_at as u64 != signed.length {
            return Err(DocumentError::Changed);
        }
        document.seek(SeekFrom::Start(0))?;
        let (mut hash, mut left) = (Sha256::new(), signed.length);
        let mut chunk = vec![0; 1 << 16];
        while left > 0 {
            let wanted = chunk.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            match document.read(&mut chunk[..wanted]) {
                // It became shorter.
                Ok(0) => return Err(DocumentError::Changed),
                Ok(read) => {
                    hash.update(&chunk[..read]);
                    left -= read as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        if hash.finalize()[..] == signed.sha256 { Ok(signed) } else { Err(DocumentError::Changed) }
    }

    /// In its one form.
    fn parse(line: &[u8]) -> Option<Self> {
        let text: Text = serde_json::from_slice(line).ok()?;
        let is_known = text.document_signature == VERSION && text.length <= MAX_INTEGER;
        if !is_known || text::json(&text) != line {
            return None;
        }
        Some(Self {
            log: text::unhex(&text.log)?,
            public_key: text::unhex(&text.public_key)?,
            length: text.length,
            sha256: text::unhex(&text.sha256)?,
            signature: text::unhex(&text.signature)?,
        })
    }

    /// The id of the log.
    #[must_use]
    pub fn log_id(&self) -> &[u8; 16] {
        &self.log
    }

    /// The public key that signed it.
    #[must_use]
    pub fn public_key(&self) -> &[u8; 32] {
        &self.public_key
    }

    /// How many bytes are signed: all before this line.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.length
    }
}

/// The line, without LF.
impl fmt::Display for DocumentSignature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let line = text::json(&Text {
            document_signature: VERSION,
            length: self.length,
            log: text::hex(&self.log),
            public_key: text::hex(&self.public_key),
            sha256: text::hex(&self.sha256),
            signature: text::hex(&self.signature),
        });
        f.write_str(&String::from_utf8_lossy(&line))
    }
}

/// In ascending order.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Text {
    document_signature: u8,
    length: u64,
    log: String,
    public_key: String,
    sha256: String,
    signature: String,
}

fn message(log: &[u8; 16], length: u64, sha256: &[u8; 32]) -> Vec<u8> {
    [b"envelope-audit-v1 document\0".as_slice(), log, &length.to_be_bytes(), sha256].concat()
}

const VERSION: u8 = 1;
/// More than the line has, with its LF and that of the line before.
const LONGEST_LINE: u64 = 1024;
