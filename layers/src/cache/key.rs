//! What an entry of the cache is found by.

use std::{
    collections::HashMap,
    hash::{BuildHasher, Hash, Hasher},
    sync::Arc,
};

use envelope_sdk::{
    FullContext, KeyProvider, KeyUri, ProviderError, ProviderErrorKind, ProviderIdentity, WrappedDek,
};

use crate::{
    events::CacheEvents,
    key_states::may_stand_for,
    sync::{Mutex, lock},
};

/// The provider that unwraps, and what tells it from others.
pub(crate) struct Source {
    pub(crate) identity: ProviderIdentity,
    pub(crate) provider: Arc<dyn KeyProvider>,
    pub(crate) events: CacheEvents,
    /// What it said last of its aliases.
    meanings: Mutex<HashMap<KeyUri, KeyUri>>,
}

impl Source {
    /// An own identity stands in for that of a provider that has none.
    pub(crate) fn new(provider: Arc<dyn KeyProvider>) -> Self {
        let identity = provider.identity().unwrap_or_else(ProviderIdentity::unique);
        Self { identity, provider, events: CacheEvents::default(), meanings: Mutex::default() }
    }

    /// The provider said that `alias` means `key` now; of a key that is no alias there is nothing to learn.
    pub(crate) fn learn(&self, alias: &KeyUri, key: &KeyUri) {
        if alias.is_resolved() || !key.is_resolved() {
            return;
        }
        let mut meanings = lock(&self.meanings);
        if meanings.get(alias) == Some(key) {
            return;
        }
        // A program has a few. They are learnt again with the next answers.
        if meanings.len() >= MANY_ALIASES {
            meanings.clear();
        }
        meanings.insert(alias.clone(), key.clone());
    }

    /// The key that a refusal of `key` is about: for an alias, that of the last answer. `None` for an alias that had none:
    /// whoever refuses a name that never worked says nothing of a key.
    pub(crate) fn meant_by(&self, key: &KeyUri) -> Option<KeyUri> {
        if key.is_resolved() { Some(key.clone()) } else { lock(&self.meanings).get(key).cloned() }
    }

    /// Whether `named`, the key of a wrap, may be the key that `key` means. An alias that only the key store can tell
    /// may be any key that it may stand for: too much is dropped rather than too little.
    fn may_be(&self, key: &KeyUri, named: &KeyUri) -> bool {
        key.scheme() == named.scheme()
            && (may_stand_for(key, named) || key == named || self.provider.is_same_key(key, named))
    }
}

/// All that a DEK depends on, and who may have it. Compared whole, never by hash alone.
#[derive(Clone, Copy)]
pub(crate) struct Asked<'a> {
    pub(crate) source: &'a Arc<Source>,
    pub(crate) partition: &'a Arc<str>,
    pub(crate) wrapped: &'a WrappedDek,
    pub(crate) context: &'a FullContext,
}

impl Asked<'_> {
    pub(crate) fn hash_by(&self, hasher: &impl BuildHasher) -> u64 {
        let mut state = hasher.build_hasher();
        self.source.identity.hash(&mut state);
        self.partition.hash(&mut state);
        self.wrapped.key_uri().hash(&mut state);
        self.wrapped.key_version().hash(&mut state);
        self.wrapped.wrap_algorithm().hash(&mut state);
        self.wrapped.ciphertext().hash(&mut state);
        self.context.as_bytes().hash(&mut state);
        state.finish()
    }
}

/// [`Asked`], to be kept.
pub(crate) struct Key {
    hash: u64,
    source: Arc<Source>,
    partition: Arc<str>,
    pub(crate) wrapped: WrappedDek,
    pub(crate) context: FullContext,
}

impl Key {
    pub(crate) fn new(asked: &Asked<'_>, hash: u64) -> Self {
        Self {
            hash,
            source: Arc::clone(asked.source),
            partition: Arc::clone(asked.partition),
            wrapped: asked.wrapped.clone(),
            context: asked.context.clone(),
        }
    }

    pub(crate) fn is_found_by(&self, hash: u64, asked: &Asked<'_>) -> bool {
        self.hash == hash
            && self.source.identity == asked.source.identity
            && self.partition == *asked.partition
            && self.wrapped == *asked.wrapped
            && self.context == *asked.context
    }

    /// Whether it is of the key that `key` means; of `identity` only, if one is given.
    pub(crate) fn is_of(&self, key: &KeyUri, identity: Option<ProviderIdentity>) -> bool {
        identity.is_none_or(|identity| identity == self.source.identity)
            && self.source.may_be(key, self.wrapped.key_uri())
    }

    pub(crate) fn source(&self) -> &Source {
        &self.source
    }

    /// An error about it in the name of its provider.
    pub(crate) fn error(&self, kind: ProviderErrorKind, message: &str) -> ProviderError {
        ProviderError::new(kind, self.source.provider.name(), self.wrapped.key_uri(), message)
    }

    fn asked(&self) -> Asked<'_> {
        let Self { source, partition, wrapped, context, .. } = self;
        Asked { source, partition, wrapped, context }
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.is_found_by(other.hash, &other.asked())
    }
}

impl Eq for Key {}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
    }
}

/// More than a program has names for.
const MANY_ALIASES: usize = 1024;
