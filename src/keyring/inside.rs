//! Rewrapping inside one key store, without unwrapping here.

use futures_util::future::try_join_all;

use super::{Keyring, WrapPolicy, configured::ConfiguredKey, deadline::Deadline};
use crate::{Dek, FullContext, Header, WrappedDek};

/// New wraps that a key store made by itself, and what came out of them.
pub(crate) struct RewrappedInside {
    pub(crate) recipients: Vec<WrappedDek>,
    pub(crate) deks: Vec<Dek>,
    /// The old wrap would not have opened under another context.
    pub(crate) context_is_bound: bool,
}

impl Keyring {
    /// Wraps the DEK of `header` anew with every key that encrypts, without
    /// unwrapping it here, and then unwraps each new wrap. `None` unless the
    /// first configured recipient and all of these keys are of one provider,
    /// which [does that](KeyProvider::rewrap_dek), and everything succeeds.
    pub(crate) async fn rewrap_inside(
        &self,
        header: &Header,
        context: &FullContext,
    ) -> Option<RewrappedInside> {
        self.check_count(WrapPolicy::All).ok()?;
        let deadline = self.start_of_call();
        // What may open and what may encrypt is one thing only for one provider.
        let identity = self.encrypting.first()?.provider.identity()?;
        let is_it = |key: &ConfiguredKey| key.provider.identity() == Some(identity);
        if !self.encrypting.iter().all(is_it) || !self.decrypting.iter().any(is_it) {
            return None;
        }
        let (opening, recipient) =
            self.first_to_open(header, &deadline).await.filter(|(key, _)| is_it(key))?;
        let rewraps = self
            .encrypting
            .iter()
            .map(|key| deadline.bound(key, key.rewrap_from(opening, recipient, context)));
        let wrapped = try_join_all(rewraps).await.ok()?.into_iter().collect::<Option<Vec<_>>>()?;
        let deks = self.unwrap_own_until(&wrapped, context, &deadline).await.ok()?;
        let hidden = |((key, dek), wrapped): ((&ConfiguredKey, &Dek), &WrappedDek)| {
            key.check_hidden(dek, wrapped).is_ok()
        };
        self.encrypting.iter().zip(&deks).zip(&wrapped).all(hidden).then(|| RewrappedInside {
            recipients: wrapped,
            deks,
            context_is_bound: opening.binds_context(recipient),
        })
    }

    /// The first recipient of a header that a configured key is, and that key.
    async fn first_to_open<'k, 'h>(
        &'k self,
        header: &'h Header,
        deadline: &Deadline<'_>,
    ) -> Option<(&'k ConfiguredKey, &'h WrappedDek)> {
        let recipients = header.recipients();
        let first = match self.known_to_open(recipients).first() {
            Some(first) => *first,
            None => *self.found_to_open(recipients, &[], deadline).await.0.first()?,
        };
        Some((&self.decrypting[first.key], &recipients[first.recipient]))
    }
}
