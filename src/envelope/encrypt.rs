//! Encrypting: a fresh DEK, its wraps, the header around them.

use zeroize::{Zeroize, Zeroizing};

use super::Envelope;
use crate::{
    Dek, EncryptError, EncryptionContext, MissingKey, OpenedHeader, WrapPolicy,
    crypto::{
        DefaultEngine, Engine,
        cobblestone::{self, SALT_LEN},
    },
    format::{HeaderDraft, Kind, MAC_LEN, MAX_BODY_LEN, PREAMBLE_LEN},
    keyring::Wraps,
    schedule,
    stream::PayloadSealer,
};

impl Envelope {
    /// Encrypts `plaintext` under a fresh DEK: header and payload in one.
    ///
    /// # Errors
    ///
    /// [`EncryptError`]; nothing is encrypted unless every key wrapped the DEK.
    pub async fn encrypt(
        &self,
        plaintext: &[u8],
        context: &EncryptionContext,
    ) -> Result<Vec<u8>, EncryptError> {
        Ok(self.start(PayloadKind::Attached, context).await?.seal_attached(plaintext))
    }

    /// Encrypts `plaintext` under a fresh DEK, header and payload apart:
    /// `(header, payload)`. Rewrapping replaces the header alone.
    ///
    /// # Errors
    ///
    /// As [`encrypt`](Self::encrypt).
    pub async fn encrypt_detached(
        &self,
        plaintext: &[u8],
        context: &EncryptionContext,
    ) -> Result<(Vec<u8>, Vec<u8>), EncryptError> {
        Ok(self.start(PayloadKind::Detached, context).await?.seal_detached(plaintext))
    }

    /// Makes a fresh DEK, wraps it with every key that encrypts and returns the
    /// header with the sealer of its payload, for [`stream`](crate::stream).
    ///
    /// A data key has no payload and cannot be started:
    ///
    /// ```compile_fail,E0308
    /// # use envelope_sdk::{EncryptionContext, Envelope, Kind};
    /// # async fn example(envelope: Envelope) {
    /// envelope.start(Kind::DataKey, &EncryptionContext::new()).await;
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`EncryptError`].
    pub async fn start(
        &self,
        payload: PayloadKind,
        context: &EncryptionContext,
    ) -> Result<Started, EncryptError> {
        Ok(self.start_under(WrapPolicy::All, payload, context).await?.0)
    }

    /// What is started, and the keys that did not wrap: none under [`WrapPolicy::All`].
    pub(super) async fn start_under(
        &self,
        policy: WrapPolicy,
        payload: PayloadKind,
        context: &EncryptionContext,
    ) -> Result<(Started, Vec<MissingKey>), EncryptError> {
        let kind = payload.into();
        let NewHeader { opened, salt, missing } = self.new_header(policy, kind, context).await?;
        let binding = schedule::binding(kind, opened.header().envelope_id(), opened.context());
        let payload = PayloadSealer::new(opened.content_key(), &binding, salt);
        self.keyring.hear_missing(&missing);
        Ok((Started { header: opened.header().to_bytes(), payload }, missing))
    }

    /// A header around a fresh DEK, and fresh randomness for a payload's salt.
    pub(super) async fn new_header(
        &self,
        policy: WrapPolicy,
        kind: Kind,
        context: &EncryptionContext,
    ) -> Result<NewHeader, EncryptError> {
        let full = context.full()?;
        // All of it in one call: small messages spend most of their time here.
        let mut random = Zeroizing::new([0; Dek::LEN + ENVELOPE_ID_LEN + SALT_LEN]);
        DefaultEngine::fill_random(random.as_mut_slice())?;
        let (dek_bytes, rest) = random.split_at(Dek::LEN);
        let mut envelope_id = [0; ENVELOPE_ID_LEN];
        let mut salt = [0; SALT_LEN];
        envelope_id.copy_from_slice(&rest[..ENVELOPE_ID_LEN]);
        salt.copy_from_slice(&rest[ENVELOPE_ID_LEN..]);
        let Ok(dek) = Dek::fill_with(|dek| {
            dek.copy_from_slice(dek_bytes);
            Ok::<(), std::convert::Infallible>(())
        });
        random.zeroize();
        let Wraps { dek, wrapped, missing } = self.keyring.wrap_fresh(dek, &full, policy).await?;
        let mut draft = HeaderDraft {
            kind,
            envelope_id,
            generation: 0,
            stored: context.stored(),
            withheld: context.withheld(),
            recipients: wrapped,
            padding: 0,
        };
        self.pad(&mut draft, 0)?;
        Ok(NewHeader { opened: schedule::seal_header(draft, dek, full)?, salt, missing })
    }

    /// Pads to the configured multiple, and to `old_len` if the header fits
    /// into it.
    pub(super) fn pad(&self, draft: &mut HeaderDraft, old_len: usize) -> Result<(), EncryptError> {
        if old_len == 0 && self.header_padding <= 1 {
            return Ok(());
        }
        let len = draft.encode()?.len() + MAC_LEN;
        if len <= old_len {
            draft.padding = old_len - len;
        } else if self.header_padding > 1 {
            let room = PREAMBLE_LEN + MAX_BODY_LEN + MAC_LEN - len;
            draft.padding = (len.next_multiple_of(self.header_padding) - len).min(room);
        }
        Ok(())
    }
}

/// Where the payload of a new envelope stands: the [`Kind`]s that have one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PayloadKind {
    /// It follows the header.
    Attached,
    /// It is kept apart from the header.
    Detached,
}

impl From<PayloadKind> for Kind {
    fn from(payload: PayloadKind) -> Self {
        match payload {
            PayloadKind::Attached => Self::Attached,
            PayloadKind::Detached => Self::Detached,
        }
    }
}

/// A new envelope with its DEK wrapped and nothing encrypted yet.
pub struct Started {
    /// The header, which stands before the payload or, detached, elsewhere.
    pub header: Vec<u8>,
    /// Encrypts the payload, once.
    pub payload: PayloadSealer,
}

impl Started {
    /// Header and payload in one.
    pub(super) fn seal_attached(self, plaintext: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.header.len() + cobblestone::sealed_len(plaintext.len()));
        out.extend_from_slice(&self.header);
        self.payload.seal_after(plaintext, &mut out);
        out
    }

    /// Header and payload.
    pub(super) fn seal_detached(self, plaintext: &[u8]) -> (Vec<u8>, Vec<u8>) {
        let mut payload = Vec::with_capacity(cobblestone::sealed_len(plaintext.len()));
        self.payload.seal_after(plaintext, &mut payload);
        (self.header, payload)
    }
}

pub(super) struct NewHeader {
    pub(super) opened: OpenedHeader,
    pub(super) salt: [u8; SALT_LEN],
    pub(super) missing: Vec<MissingKey>,
}

const ENVELOPE_ID_LEN: usize = 16;
