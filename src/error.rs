//! The errors of the verbs: one enum for each boundary.

use std::fmt;

use crate::{
    ContextError, FormatError, KeyUri, MissingKey, ProviderError, ProviderErrorKind, crypto::RandomError,
};

/// Why nothing was encrypted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EncryptError {
    /// The keyring has no key that encrypts.
    #[error("no key to encrypt with is configured")]
    NoKey,
    /// The keyring has more keys than an envelope has room for.
    #[error("an envelope has at most 16 recipients, and {0} keys are configured")]
    TooManyKeys(usize),
    /// More wraps are asked for than there are keys.
    #[error("at least {at_least} keys shall wrap, and {configured} are configured")]
    TooFewKeys {
        /// How many are asked for.
        at_least: usize,
        /// How many keys encrypt.
        configured: usize,
    },
    /// The context cannot be bound.
    #[error("encryption context: {0}")]
    Context(#[from] ContextError),
    /// A key did not wrap. No envelope is made unless every key did, or as many as the
    /// [`WrapPolicy`](crate::WrapPolicy) asks for.
    #[error("{0}")]
    Provider(#[from] ProviderError),
    /// The operating system gave no randomness.
    #[error(transparent)]
    Random(#[from] RandomError),
    /// A value is withheld from a data key, and this key binds no context: it gives the data key
    /// under any value, and nothing else in it tells a wrong one.
    #[error(
        "key {key} binds no context, and a data key with withheld values needs keys that do: store the \
         values, bind them to the records, or use other keys"
    )]
    ContextNotBound {
        /// The key.
        key: KeyUri,
    },
    /// This key did not wrap, and it binds no context, or it is not known to: a data key with withheld values that
    /// misses it could not be rewrapped to it later.
    #[error(
        "key {} did not wrap, and a data key with withheld values could not be rewrapped to it later, since nothing \
         says that it binds the context: store the values, bind them to the records, or try again ({})",
        .0.key,
        .0.error
    )]
    NotCompletable(Box<MissingKey>),
    /// The fields do not fit into a header, such as two recipients that turn
    /// out to be one key.
    #[error("the header cannot be written: {0}")]
    Format(#[from] FormatError),
    /// More than [`RECORD_MAX_LEN`](crate::RECORD_MAX_LEN) bytes.
    #[error("a record has at most 16 MiB; make larger data an envelope")]
    RecordTooLarge,
}

/// Why nothing was decrypted.
///
/// Wrong key, wrong passphrase, wrong or missing context entry and changed
/// bytes are all [`NotAuthentic`](Self::NotAuthentic): telling them apart would
/// tell an attacker too.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DecryptError {
    /// The bytes are not an envelope of this version.
    #[error("{0}")]
    Format(#[from] FormatError),
    /// The envelope is of another kind than the call takes.
    #[error("this is {actual}, and the call takes {expected}")]
    WrongKind {
        /// What the call takes.
        expected: &'static str,
        /// What was given.
        actual: &'static str,
    },
    /// Key, context and envelope do not fit together, or it was changed.
    #[error(
        "authentication failed: the key or passphrase is wrong, a context entry is wrong or missing, or the data was changed"
    )]
    NotAuthentic,
    /// None of the recipients is a key that the keyring may decrypt with. No key
    /// store was asked to unwrap.
    #[error("no configured key opens this; it was encrypted for {}", List(recipients))]
    NoConfiguredKey {
        /// The keys that would open it, as the header names them (unverified).
        recipients: Vec<KeyUri>,
    },
    /// The configured keys could not be used: refused, unreachable, …
    #[error("no configured key opened this: {}", List(attempts))]
    Keys {
        /// What each key said, in the order they were tried.
        attempts: Vec<ProviderError>,
    },
    /// A value is withheld from a data key, and nothing says that the caller gave the right one: the
    /// key that opened binds no context. Records sealed under a wrong value open under it alone.
    #[error(
        "the key that opens binds no context, so nothing shows that the withheld values are right: open \
         the data key with one of its records at hand, or with a key that binds the context"
    )]
    ContextNotVerified,
}

impl DecryptError {
    /// All attempts failed. If every key simply did not fit, that is the one
    /// error for everything that does not fit.
    pub(crate) fn from_attempts(attempts: Vec<ProviderError>) -> Self {
        if attempts.iter().all(|attempt| attempt.kind() == ProviderErrorKind::Unauthentic) {
            Self::NotAuthentic
        } else {
            Self::Keys { attempts }
        }
    }
}

impl From<crate::crypto::Unauthentic> for DecryptError {
    fn from(_: crate::crypto::Unauthentic) -> Self {
        Self::NotAuthentic
    }
}

/// Why an envelope was not rewrapped or reencrypted. The old one still holds.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RewrapError {
    /// The old envelope did not open.
    #[error(transparent)]
    Decrypt(#[from] DecryptError),
    /// The new one could not be made.
    #[error(transparent)]
    Encrypt(#[from] EncryptError),
    /// A new wrap did not give the DEK back, so the old one was kept.
    #[error("key {key} wrapped the DEK but gave another one back: nothing was changed")]
    WrapNotVerified {
        /// The key.
        key: KeyUri,
    },
    /// The generation reached 2³² − 1: reencrypt instead.
    #[error("rewrapped 4294967295 times: reencrypt this envelope")]
    GenerationsExhausted,
    /// A value is withheld, and nothing says that the caller gave the right one: the key that
    /// opened binds no context, and the payload was not at hand. A new wrap, by a key that binds
    /// it, would open under that value alone.
    #[error(
        "the key that opens binds no context, so nothing shows that the withheld values are right: rewrap \
         with the payload at hand, or to keys that bind no context either"
    )]
    ContextNotVerified,
}

struct List<'a, T>(&'a [T]);

impl<T: fmt::Display> fmt::Display for List<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, item) in self.0.iter().enumerate() {
            if position > 0 {
                f.write_str("; ")?;
            }
            write!(f, "{item}")?;
        }
        Ok(())
    }
}
