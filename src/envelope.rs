//! The verbs: encrypt, decrypt, rewrap, reencrypt, inspect.

mod data_key;
mod decrypt;
mod encrypt;
mod reporting;
mod rewrap;

use crate::{
    DecryptError, EncryptionContext, FormatError, FullContext, Header, Keyring, WrapPolicy,
    format::{Kind, MAX_BODY_LEN},
};

pub use encrypt::{PayloadKind, Started};
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

    /// Reads a header without any key: who can open it, its context, its
    /// generation. Nothing of it is verified; treat it as an attacker's words.
    ///
    /// # Errors
    ///
    /// [`FormatError`] when `bytes` do not begin with a well-formed header.
    pub fn inspect(bytes: &[u8]) -> Result<Header, FormatError> {
        Header::parse(bytes).map(|(header, _)| header)
    }
}

/// The context of the wraps: what `header` stores and what the caller supplies.
fn full_context(header: &Header, supplied: &EncryptionContext) -> Result<FullContext, DecryptError> {
    supplied.complete(header.stored_context(), header.withheld()).ok_or(DecryptError::NotAuthentic)
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
