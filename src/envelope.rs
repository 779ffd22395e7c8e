//! The verbs: encrypt, decrypt, rewrap, reencrypt, inspect.

mod reporting;

use std::ops::Range;

use crate::{
    DataKey, DecryptError, Dek, EncryptError, EncryptionContext, FormatError, FullContext, Header, Keyring,
    MissingKey, OpenedHeader, RewrapError, WrapPolicy,
    crypto::{
        DefaultEngine, Engine,
        cobblestone::{self, PREFIX_LEN, SALT_LEN},
    },
    format::{HeaderDraft, Kind, MAX_BODY_LEN},
    keyring::Wraps,
    rewrap::{self, Rewrapped},
    schedule,
    stream::{self, PayloadSealer, RangedReader, ReadAt, StreamError},
};
use zeroize::{Zeroize, Zeroizing};

pub use reporting::{Reported, Reporting};

/// Encrypts and decrypts with the keys of a [`Keyring`].
///
/// Messages in memory take one call ([`encrypt`](Self::encrypt),
/// [`decrypt`](Self::decrypt)). For files and pipes of any length, ask for the
/// keys first ([`start`](Self::start), [`unlock`](Self::unlock)), which is the
/// only asynchronous part, and hand them to [`stream`](crate::stream).
///
/// ```
/// # use envelope_sdk::{Envelope, EncryptionContext, Keyring};
/// # async fn example(keyring: Keyring) -> Result<(), Box<dyn std::error::Error>> {
/// let envelope = Envelope::new(keyring);
/// let context = EncryptionContext::new().with("tenant", "42");
///
/// let sealed = envelope.encrypt(b"attack at dawn", &context).await?;
/// assert_eq!(envelope.decrypt(&sealed, &context).await?, b"attack at dawn");
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Envelope {
    keyring: Keyring,
    header_padding: usize,
}

impl Envelope {
    /// An envelope maker and opener with the keys of `keyring`.
    #[must_use]
    pub fn new(keyring: Keyring) -> Self {
        Self { keyring, header_padding: 0 }
    }

    /// Pads the headers written from now on with zeros to a multiple of
    /// `bytes` (at most 64 KiB), so that a rewrap may fit in place. 0 and 1
    /// pad nothing.
    #[must_use]
    pub fn pad_headers_to(mut self, bytes: usize) -> Self {
        self.header_padding = bytes.min(MAX_BODY_LEN);
        self
    }

    /// The keys.
    #[must_use]
    pub fn keyring(&self) -> &Keyring {
        &self.keyring
    }

    /// The verbs that encrypt, under a policy that may let keys be missing, which they report.
    #[must_use]
    pub fn reporting(&self, policy: WrapPolicy) -> Reporting<'_> {
        Reporting::new(self, policy)
    }

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

    /// Decrypts what [`encrypt`](Self::encrypt) returned. Every entry of
    /// `context` must hold, and it must supply each withheld value.
    ///
    /// # Errors
    ///
    /// [`DecryptError`]; no plaintext leaves unless all of it is authentic.
    pub async fn decrypt(
        &self,
        envelope: &[u8],
        context: &EncryptionContext,
    ) -> Result<Vec<u8>, DecryptError> {
        let (header, len) = Header::parse(envelope)?;
        expect_kind(&header, Kind::Attached)?;
        open_payload(&self.unlock(header, context).await?, &envelope[len..])
    }

    /// Decrypts what [`encrypt_detached`](Self::encrypt_detached) returned.
    ///
    /// # Errors
    ///
    /// As [`decrypt`](Self::decrypt).
    pub async fn decrypt_detached(
        &self,
        header: &[u8],
        payload: &[u8],
        context: &EncryptionContext,
    ) -> Result<Vec<u8>, DecryptError> {
        let header = Header::parse_exact(header)?;
        expect_kind(&header, Kind::Detached)?;
        open_payload(&self.unlock(header, context).await?, payload)
    }

    /// Reads a header without any key: who can open it, its context, its
    /// generation. Nothing of it is verified; treat it as an attacker's words.
    ///
    /// # Errors
    ///
    /// [`FormatError`] when `bytes` do not begin with a well-formed header.
    pub fn inspect(bytes: &[u8]) -> Result<Header, FormatError> {
        Header::parse(bytes).map(|(header, _)| header)
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

    /// Unwraps the DEK of `header` with a configured key and verifies the
    /// header's MAC. A key that gives a DEK under which the MAC is wrong counts
    /// as one that does not open: the next configured recipient is tried. What
    /// it returns is all that [`stream`](crate::stream) needs, without a runtime.
    ///
    /// # Errors
    ///
    /// [`DecryptError`]. No provider is called for a recipient that is not
    /// configured, nor when an entry of `context` contradicts the header.
    pub async fn unlock(
        &self,
        header: Header,
        context: &EncryptionContext,
    ) -> Result<OpenedHeader, DecryptError> {
        let context = full_context(&header, context)?;
        self.keyring.unlock(header, context).await
    }

    /// Decrypts the bytes of `range`, counted from 0, of an attached envelope
    /// that can be read at an offset; the rest is not read. For several ranges,
    /// or a detached payload, keep a [`RangedReader`].
    ///
    /// # Errors
    ///
    /// [`StreamError`]; no plaintext leaves unless
    /// all of the range and the end of the payload are authentic.
    pub async fn decrypt_range(
        &self,
        envelope: &(impl ReadAt + Sync + ?Sized),
        range: Range<u64>,
        context: &EncryptionContext,
    ) -> Result<Vec<u8>, StreamError> {
        let header = stream::read_header_at(envelope)?;
        expect_kind(&header, Kind::Attached)?;
        let payload_at = header.len() as u64;
        let opened = self.unlock(header, context).await?;
        RangedReader::new(&opened, envelope, payload_at)?.decrypt_range(range)
    }

    /// Makes a data key: one DEK for many small records.
    ///
    /// Values can be withheld only where every key that encrypts
    /// [binds the context](crate::ContextBinding::Provider). An envelope has a commitment that
    /// tells a wrong value; of a data key, only the wrap can.
    ///
    /// # Errors
    ///
    /// [`EncryptError`]; [`ContextNotBound`](EncryptError::ContextNotBound) when a value is withheld
    /// and a key binds no context.
    pub async fn create_data_key(&self, context: &EncryptionContext) -> Result<DataKey, EncryptError> {
        Ok(self.data_key_under(WrapPolicy::All, context).await?.0)
    }

    /// Opens a data key from its header.
    ///
    /// # Errors
    ///
    /// [`DecryptError`]; [`ContextNotVerified`](DecryptError::ContextNotVerified) when values are
    /// withheld and the key that opened binds no context. Its records show whether they are right:
    /// [`open_data_key_of`](Self::open_data_key_of).
    pub async fn open_data_key(
        &self,
        header: &[u8],
        context: &EncryptionContext,
    ) -> Result<DataKey, DecryptError> {
        let opened = self.unlock_data_key(header, context).await?;
        if !opened.context_is_verified() {
            return Err(DecryptError::ContextNotVerified);
        }
        Ok(DataKey::new(&opened))
    }

    /// As [`open_data_key`](Self::open_data_key), with one of its records and that record's own
    /// context at hand. They show that withheld values are right also where the key that opens
    /// binds no context.
    ///
    /// # Errors
    ///
    /// [`DecryptError`]; [`NotAuthentic`](DecryptError::NotAuthentic) also when the record does not
    /// open.
    pub async fn open_data_key_of(
        &self,
        record: &[u8],
        record_context: &EncryptionContext,
        header: &[u8],
        context: &EncryptionContext,
    ) -> Result<DataKey, DecryptError> {
        let data_key = DataKey::new(&self.unlock_data_key(header, context).await?);
        data_key.open(record, record_context)?.zeroize();
        Ok(data_key)
    }

    async fn unlock_data_key(
        &self,
        header: &[u8],
        context: &EncryptionContext,
    ) -> Result<OpenedHeader, DecryptError> {
        let header = Header::parse_exact(header)?;
        expect_kind(&header, Kind::DataKey)?;
        self.unlock(header, context).await
    }

    /// Wraps the DEK of `header` anew, with the keys that encrypt now, and
    /// returns the new header. The payload or records stay as they are, byte
    /// for byte. The new recipients replace the old ones.
    ///
    /// Each new wrap is unwrapped and compared before this returns, so that the
    /// old header can be dropped. Rewrapping does not revoke whoever already
    /// saw the DEK; [`reencrypt`](Self::reencrypt) does.
    ///
    /// Where one provider has the old key and all new ones and
    /// [rewraps by itself](crate::KeyProvider::rewrap_dek), that takes two calls
    /// one after the other: the new wrap, and unwrapping it. Otherwise three.
    ///
    /// # Errors
    ///
    /// [`RewrapError`]; the old header still holds then.
    /// [`ContextNotVerified`](RewrapError::ContextNotVerified) where values are withheld and the
    /// payload must show that they are right:
    /// [`rewrap_header_of`](Self::rewrap_header_of).
    /// [`ContextNotBound`](EncryptError::ContextNotBound) for a data key with withheld values that
    /// would go from a key that binds the context to one that does not.
    pub async fn rewrap_header(
        &self,
        header: Header,
        context: &EncryptionContext,
    ) -> Result<Header, RewrapError> {
        self.rewrap_before(header, None, context).await
    }

    /// As [`rewrap_header`](Self::rewrap_header), with the first bytes of the payload at hand,
    /// attached or not: salt and commitment. They show that withheld values are right also where
    /// the key that opens binds no context.
    ///
    /// # Errors
    ///
    /// [`RewrapError`]; the old header still holds then.
    pub async fn rewrap_header_of(
        &self,
        payload: &[u8; PREFIX_LEN],
        header: Header,
        context: &EncryptionContext,
    ) -> Result<Header, RewrapError> {
        self.rewrap_before(header, Some(payload), context).await
    }

    async fn rewrap_before(
        &self,
        header: Header,
        payload: Option<&[u8; PREFIX_LEN]>,
        context: &EncryptionContext,
    ) -> Result<Header, RewrapError> {
        let context = full_context(&header, context)?;
        let Rewrapped { opened, recipients, generation } =
            rewrap::rewrap(&self.keyring, header, context, payload).await?;
        let old = opened.header().draft();
        let mut draft = HeaderDraft { generation, recipients, padding: 0, ..old.clone() };
        self.pad(&mut draft, opened.header().len())?;
        let (dek, context) = opened.into_parts();
        let new = schedule::seal_header(draft, dek, context).map_err(EncryptError::from)?;
        Ok(new.into_header())
    }

    /// As [`rewrap_header`](Self::rewrap_header), for an envelope, detached
    /// header or data key in memory. What follows the header is copied as it is.
    ///
    /// # Errors
    ///
    /// [`RewrapError`]; the old envelope still holds then.
    pub async fn rewrap(&self, envelope: &[u8], context: &EncryptionContext) -> Result<Vec<u8>, RewrapError> {
        let (header, len) = Header::parse(envelope).map_err(DecryptError::from)?;
        let payload = &envelope[len..];
        if header.kind() != Kind::Attached && !payload.is_empty() {
            return Err(DecryptError::from(FormatError::TrailingData { what: "the header" }).into());
        }
        let mut rewrapped = self.rewrap_before(header, payload.first_chunk(), context).await?.to_bytes();
        rewrapped.extend_from_slice(payload);
        Ok(rewrapped)
    }

    /// Decrypts an attached envelope and encrypts it anew: new DEK, new
    /// envelope id, generation 0, the same context entries stored and withheld.
    ///
    /// # Errors
    ///
    /// [`RewrapError`]; the old envelope still holds then.
    pub async fn reencrypt(
        &self,
        envelope: &[u8],
        context: &EncryptionContext,
    ) -> Result<Vec<u8>, RewrapError> {
        let (header, len) = Header::parse(envelope).map_err(DecryptError::from)?;
        expect_kind(&header, Kind::Attached)?;
        let opened = self.unlock(header, context).await?;
        let plaintext = Zeroizing::new(open_payload(&opened, &envelope[len..])?);
        Ok(self.encrypt(&plaintext, &same_context(&opened)).await?)
    }

    /// What is started, and the keys that did not wrap: none under [`WrapPolicy::All`].
    async fn start_under(
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

    async fn data_key_under(
        &self,
        policy: WrapPolicy,
        context: &EncryptionContext,
    ) -> Result<(DataKey, Vec<MissingKey>), EncryptError> {
        let NewHeader { opened, missing, .. } = self.new_header(policy, Kind::DataKey, context).await?;
        if !opened.header().withheld().is_empty() {
            self.keyring.check_context_will_be_bound(opened.header().recipients(), &missing)?;
        }
        self.keyring.hear_missing(&missing);
        Ok((DataKey::new(&opened), missing))
    }

    /// A header around a fresh DEK, and fresh randomness for a payload's salt.
    async fn new_header(
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
    fn pad(&self, draft: &mut HeaderDraft, old_len: usize) -> Result<(), EncryptError> {
        if old_len == 0 && self.header_padding <= 1 {
            return Ok(());
        }
        let len = draft.encode()?.len() + crate::format::MAC_LEN;
        if len <= old_len {
            draft.padding = old_len - len;
        } else if self.header_padding > 1 {
            let room = crate::format::PREAMBLE_LEN + MAX_BODY_LEN + crate::format::MAC_LEN - len;
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
    fn seal_attached(self, plaintext: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.header.len() + cobblestone::sealed_len(plaintext.len()));
        out.extend_from_slice(&self.header);
        self.payload.seal_after(plaintext, &mut out);
        out
    }

    /// Header and payload.
    fn seal_detached(self, plaintext: &[u8]) -> (Vec<u8>, Vec<u8>) {
        let mut payload = Vec::with_capacity(cobblestone::sealed_len(plaintext.len()));
        self.payload.seal_after(plaintext, &mut payload);
        (self.header, payload)
    }
}

struct NewHeader {
    opened: OpenedHeader,
    salt: [u8; SALT_LEN],
    missing: Vec<MissingKey>,
}

/// The context of an opened header, as a new header shall hold it.
pub(crate) fn same_context(opened: &OpenedHeader) -> EncryptionContext {
    let withheld = opened.header().withheld();
    opened.context().entries().fold(EncryptionContext::new(), |context, (name, value)| {
        if withheld.iter().any(|key| key == name) {
            context.withhold(name, value)
        } else {
            context.with(name, value)
        }
    })
}

/// The context of the wraps: what `header` stores and what the caller supplies.
fn full_context(header: &Header, supplied: &EncryptionContext) -> Result<FullContext, DecryptError> {
    supplied.complete(header.stored_context(), header.withheld()).ok_or(DecryptError::NotAuthentic)
}

fn open_payload(opened: &OpenedHeader, payload: &[u8]) -> Result<Vec<u8>, DecryptError> {
    let (prefix, chunks) = payload.split_first_chunk::<PREFIX_LEN>().ok_or(DecryptError::NotAuthentic)?;
    Ok(cobblestone::open_chunks(&opened.payload(prefix)?, chunks)?)
}

fn expect_kind(header: &Header, expected: Kind) -> Result<(), DecryptError> {
    let name = |kind| match kind {
        Kind::Attached => "an envelope with its payload",
        Kind::Detached => "a detached header",
        Kind::DataKey => "a data key",
    };
    if header.kind() == expected {
        Ok(())
    } else {
        Err(DecryptError::WrongKind { expected: name(expected), actual: name(header.kind()) })
    }
}

const ENVELOPE_ID_LEN: usize = 16;
