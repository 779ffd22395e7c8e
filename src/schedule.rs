//! From a DEK to the keys of an envelope, and the strings they are bound to.
//!
//! The DEK is only ever an HKDF input. An [`OpenedHeader`] comes from
//! [`verify`] alone, which checked the header's MAC; a payload opens only
//! through [`OpenedHeader::payload`], which checks the commitment. So a skipped
//! check does not compile.

use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::{
    Dek, FullContext,
    crypto::{
        DefaultEngine, Engine, Key256, Unauthentic,
        cobblestone::{Opener, PREFIX_LEN},
    },
    format::{Header, HeaderDraft, Kind, LABEL, MAC_LEN, Suite},
};

/// A header whose MAC was found right under its DEK: authentic, with the key
/// to what belongs to it.
pub struct OpenedHeader {
    header: Header,
    dek: Dek,
    context: FullContext,
    content_key: Key256,
    /// The wrap that gave the DEK would not have opened under another context.
    context_is_bound: bool,
}

impl OpenedHeader {
    /// The authenticated header.
    #[must_use]
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Checks the commitment of a payload that begins with `prefix` (salt 24 ‖
    /// commitment 32) and returns what opens its chunks.
    ///
    /// # Errors
    ///
    /// [`Unauthentic`] when the payload belongs to another header or context,
    /// and when this is the header of a data key, which has no payload.
    pub fn payload(&self, prefix: &[u8; PREFIX_LEN]) -> Result<Opener<DefaultEngine>, Unauthentic> {
        if self.header.kind() == Kind::DataKey {
            return Err(Unauthentic);
        }
        let binding = binding(self.header.kind(), self.header.envelope_id(), &self.context);
        Opener::new(&self.content_key, &binding, prefix)
    }

    /// True when `other` is authentic under the DEK of this header: another
    /// generation of the same envelope, or whatever else was sealed under that DEK.
    /// Says nothing of its context.
    #[must_use]
    pub fn authenticates(&self, other: &Header) -> bool {
        fits(&self.dek, other)
    }

    /// With what the key that opened says of the context.
    pub(crate) fn with_context_bound(self, context_is_bound: bool) -> Self {
        Self { context_is_bound, ..self }
    }

    /// Whether each value of the context is known to be right: the MAC covers what is stored, and
    /// the wrap, where its key store binds a context, what is withheld.
    pub(crate) fn context_is_verified(&self) -> bool {
        self.context_is_bound || self.header.withheld().is_empty()
    }

    pub(crate) fn into_header(self) -> Header {
        self.header
    }

    pub(crate) fn into_parts(self) -> (Dek, FullContext) {
        (self.dek, self.context)
    }

    pub(crate) fn dek(&self) -> &Dek {
        &self.dek
    }

    pub(crate) fn context(&self) -> &FullContext {
        &self.context
    }

    pub(crate) fn content_key(&self) -> &Key256 {
        &self.content_key
    }
}

/// A header whose MAC is not right under the DEK that was tried, given back for
/// the next one.
pub(crate) struct Unverified {
    pub(crate) header: Header,
    pub(crate) context: FullContext,
}

/// Checks the MAC of `header` under `dek`, in constant time.
pub(crate) fn verify(
    header: Header,
    dek: Dek,
    context: FullContext,
) -> Result<OpenedHeader, Box<Unverified>> {
    let keys = Keys::derive(&dek, header.kind(), header.envelope_id());
    if mac_is_right(&keys, &header) {
        Ok(OpenedHeader { header, dek, context, content_key: keys.content, context_is_bound: false })
    } else {
        Err(Box::new(Unverified { header, context }))
    }
}

/// Whether the MAC of `header` is right under `dek`, in constant time: for who opens nothing with it yet.
pub(crate) fn fits(dek: &Dek, header: &Header) -> bool {
    mac_is_right(&Keys::derive(dek, header.kind(), header.envelope_id()), header)
}

/// Writes `draft` with its MAC under `dek`.
pub(crate) fn seal_header(
    draft: HeaderDraft,
    dek: Dek,
    context: FullContext,
) -> Result<OpenedHeader, crate::FormatError> {
    let authenticated = draft.encode()?;
    let keys = Keys::derive(&dek, draft.kind, &draft.envelope_id);
    let mac = header_mac(&keys.header, &authenticated);
    let header = Header::new(draft, authenticated, mac);
    Ok(OpenedHeader { header, dek, context, content_key: keys.content, context_is_bound: true })
}

/// What a payload or record is bound to: suite, kind, envelope id, context.
pub(crate) fn binding(kind: Kind, envelope_id: &[u8; 16], context: &FullContext) -> Vec<u8> {
    let mut binding = Vec::with_capacity(LABEL.len() + 19 + context.as_bytes().len());
    binding.extend_from_slice(LABEL);
    binding.extend(Suite::V1.id().to_be_bytes());
    binding.push(key_kind(kind));
    binding.extend_from_slice(envelope_id);
    binding.extend_from_slice(context.as_bytes());
    binding
}

/// The two keys of an envelope.
struct Keys {
    header: Key256,
    content: Key256,
}

impl Keys {
    fn derive(dek: &Dek, kind: Kind, envelope_id: &[u8; 16]) -> Self {
        let [suite_high, suite_low] = Suite::V1.id().to_be_bytes();
        let info = [0, suite_high, suite_low, key_kind(kind)];
        let mut okm = Zeroizing::new([0; 64]);
        DefaultEngine::hkdf_expand_sha256(
            dek.expose(),
            &[b"envelope-v1 keys", &info, envelope_id],
            okm.as_mut_slice(),
        );
        let (keys, _) = okm.as_chunks::<32>();
        Self { header: Key256::copy_from(&keys[0]), content: Key256::copy_from(&keys[1]) }
    }
}

fn mac_is_right(keys: &Keys, header: &Header) -> bool {
    let mac = header_mac(&keys.header, header.authenticated());
    mac.as_slice().ct_eq(header.mac()).into()
}

fn header_mac(key: &Key256, authenticated: &[u8]) -> [u8; MAC_LEN] {
    DefaultEngine::hmac_sha256(key.expose(), &[authenticated])
}

/// Payloads, attached or not, are kind 1; records are kind 2.
fn key_kind(kind: Kind) -> u8 {
    match kind {
        Kind::Attached | Kind::Detached => 1,
        Kind::DataKey => 2,
    }
}

#[cfg(test)]
mod tests;
