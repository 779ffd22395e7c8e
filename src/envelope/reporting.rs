//! Encrypting while a key store is away, and saying so.

use super::{Envelope, PayloadKind, Started};
use crate::{DataKey, EncryptError, EncryptionContext, MissingKey, WrapPolicy};

/// The verbs of an [`Envelope`] that encrypt, under a [`WrapPolicy`]: they make an envelope also when keys are
/// missing, as far as the policy allows, and return those with it.
///
/// The envelope's own verbs wrap with every key or fail. So do
/// [`rewrap`](Envelope::rewrap), which would otherwise take a recipient away, and
/// [`reencrypt`](Envelope::reencrypt): a later rewrap with the same keyring adds what is missing, or leaves the
/// envelope as it is. Where values are withheld and the key that did wrap binds no context, that rewrap must have the
/// payload at hand, as always ([`rewrap_header_of`](Envelope::rewrap_header_of)).
///
/// ```
/// # use envelope_sdk::{Envelope, EncryptionContext, WrapPolicy};
/// # async fn example(envelope: Envelope) -> Result<(), Box<dyn std::error::Error>> {
/// let context = EncryptionContext::new().with("tenant", "42");
/// let reported = envelope.reporting(WrapPolicy::AtLeast(1)).encrypt(b"attack at dawn", &context).await?;
///
/// let (sealed, missing) = reported.into_parts();
/// for key in &missing {
///     eprintln!("to be rewrapped: {} did not wrap: {}", key.key, key.error);
/// }
/// // Once that key store is back:
/// let complete = envelope.rewrap(&sealed, &context).await?;
/// # Ok(()) }
/// ```
#[derive(Clone, Copy)]
pub struct Reporting<'e> {
    envelope: &'e Envelope,
    policy: WrapPolicy,
}

/// What was made, and which keys it does not open with.
#[derive(Debug)]
#[must_use = "it says which keys are missing"]
pub struct Reported<T> {
    made: T,
    missing: Vec<MissingKey>,
}

impl<T> Reported<T> {
    /// What was made, and the keys that did not wrap its DEK, in the order of the keyring: none if it
    /// is complete.
    #[must_use]
    pub fn into_parts(self) -> (T, Vec<MissingKey>) {
        (self.made, self.missing)
    }

    /// The keys that did not wrap its DEK.
    #[must_use]
    pub fn missing(&self) -> &[MissingKey] {
        &self.missing
    }

    fn map<U>(self, make: impl FnOnce(T) -> U) -> Reported<U> {
        Reported { made: make(self.made), missing: self.missing }
    }
}

impl<'e> Reporting<'e> {
    pub(super) fn new(envelope: &'e Envelope, policy: WrapPolicy) -> Self {
        Self { envelope, policy }
    }

    /// As [`Envelope::encrypt`].
    ///
    /// # Errors
    ///
    /// [`EncryptError`]; of several missing keys that are too many, that of the first.
    pub async fn encrypt(
        &self,
        plaintext: &[u8],
        context: &EncryptionContext,
    ) -> Result<Reported<Vec<u8>>, EncryptError> {
        let started = self.start(PayloadKind::Attached, context).await?;
        Ok(started.map(|started| started.seal_attached(plaintext)))
    }

    /// As [`Envelope::encrypt_detached`]: `(header, payload)`.
    ///
    /// # Errors
    ///
    /// As [`encrypt`](Self::encrypt).
    pub async fn encrypt_detached(
        &self,
        plaintext: &[u8],
        context: &EncryptionContext,
    ) -> Result<Reported<(Vec<u8>, Vec<u8>)>, EncryptError> {
        let started = self.start(PayloadKind::Detached, context).await?;
        Ok(started.map(|started| started.seal_detached(plaintext)))
    }

    /// As [`Envelope::start`].
    ///
    /// # Errors
    ///
    /// As [`encrypt`](Self::encrypt).
    pub async fn start(
        &self,
        payload: PayloadKind,
        context: &EncryptionContext,
    ) -> Result<Reported<Started>, EncryptError> {
        let (made, missing) = self.envelope.start_under(self.policy, payload, context).await?;
        Ok(Reported { made, missing })
    }

    /// As [`Envelope::create_data_key`].
    ///
    /// # Errors
    ///
    /// As [`encrypt`](Self::encrypt), and [`ContextNotBound`](EncryptError::ContextNotBound) as there.
    /// [`NotCompletable`](EncryptError::NotCompletable) when a value is withheld, and a key is missing that is not
    /// [known to bind the context](crate::KeyProvider::binding_of_new_wraps): no rewrap could add it.
    pub async fn create_data_key(
        &self,
        context: &EncryptionContext,
    ) -> Result<Reported<DataKey>, EncryptError> {
        let (made, missing) = self.envelope.data_key_under(self.policy, context).await?;
        Ok(Reported { made, missing })
    }
}
