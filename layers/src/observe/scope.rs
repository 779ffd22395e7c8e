//! What a call is told by those around it, without a word of it in [`KeyProvider`](envelope_sdk::KeyProvider).

use tokio::task::futures::TaskLocalFuture;

/// What is around a call.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scope {
    /// The call that it is an attempt of.
    pub(crate) call: Option<u64>,
    /// Counted from 1.
    pub(crate) attempt: u32,
    pub(crate) envelope: Option<[u8; 16]>,
}

impl Scope {
    /// What is around the call that is made now.
    pub(crate) fn current() -> Self {
        SCOPE.try_with(|scope| *scope).unwrap_or(Self { call: None, attempt: 1, envelope: None })
    }

    /// Runs `future` with this around it.
    pub(crate) fn around<F: Future>(self, future: F) -> TaskLocalFuture<Self, F> {
        SCOPE.scope(self, future)
    }
}

/// Runs `future` as being about the envelope of this id ([`Header::envelope_id`](envelope_sdk::Header::envelope_id)):
/// spans and observers of its calls name it. A provider is asked about wraps and never hears of envelopes, so
/// whoever opens one says so.
///
/// ```
/// # use envelope_sdk::{Envelope, EncryptionContext};
/// # async fn example(envelope: Envelope, sealed: &[u8], context: &EncryptionContext) -> Result<(), Box<dyn std::error::Error>> {
/// let id = *Envelope::inspect(sealed)?.envelope_id();
/// let plaintext = envelope_layers::about_envelope(id, envelope.decrypt(sealed, context)).await?;
/// # let _ = plaintext; Ok(()) }
/// ```
pub async fn about_envelope<F: Future>(id: [u8; 16], future: F) -> F::Output {
    // What is around when it runs, not where it was made: so scopes nest.
    Scope { envelope: Some(id), ..Scope::current() }.around(future).await
}

/// The envelope that what runs now is [about](about_envelope), if somebody said so: for decorators of other crates.
#[must_use]
pub fn envelope_around() -> Option<[u8; 16]> {
    Scope::current().envelope
}

/// Runs `future` as the attempt of this number, counted from 1. For layers that repeat calls.
pub(crate) async fn in_attempt<F: Future>(number: u32, future: F) -> F::Output {
    let scope = Scope::current();
    // The first one is that already, unless it is made within an attempt.
    if scope.attempt == number {
        return future.await;
    }
    Scope { attempt: number, ..scope }.around(future).await
}

tokio::task_local! {
    static SCOPE: Scope;
}
