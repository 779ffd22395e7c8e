//! Weaknesses of keys that an administrator may accept.

use std::fmt;

use envelope_sdk::KeyUri;

/// A weakness of an AES key that is tolerable where somebody accepts it for this
/// one key, by [`Pkcs11Config::accept`](crate::Pkcs11Config::accept).
///
/// What is never tolerable has no name here: a key that can be read or taken out
/// of the token, one of another size than the format asks for, and a later
/// version that was brought to the token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Weakness {
    /// `CKA_PRIVATE` is false: whoever reaches the token may use the key, and
    /// could have put it there, without a PIN. Accepted for the first version of
    /// a key, and for a key named by `id=`.
    NotPrivate,
    /// `CKA_WRAP` and `CKA_DECRYPT` are both true: whoever may use the key could
    /// wrap another key of the token, if that is extractable, and decrypt it.
    WrapsAndDecrypts,
}

impl Weakness {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::NotPrivate, Self::WrapsAndDecrypts];

    /// Its name in configurations: `not-private`, `wraps-and-decrypts`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::NotPrivate => "not-private",
            Self::WrapsAndDecrypts => "wraps-and-decrypts",
        }
    }

    /// The weakness of this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|weakness| weakness.name() == name)
    }

    pub(crate) const fn reason(self) -> &'static str {
        match self {
            Self::NotPrivate => "it is not private: anybody could put such a key on the token without a PIN",
            // A pair is another matter: its public key adds nothing, since
            // anybody can bring a public key of their own to wrap with.
            Self::WrapsAndDecrypts => {
                "it permits both wrapping and decrypting: whoever may use it could wrap another key of the token \
                 and decrypt that"
            }
        }
    }
}

/// Its [`name`](Weakness::name).
impl fmt::Display for Weakness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What is accepted, key by key.
#[derive(Debug, Clone, Default)]
pub(crate) struct AllAccepted(Vec<(KeyUri, Weakness)>);

impl AllAccepted {
    pub(crate) fn insert(&mut self, key: &KeyUri, weakness: Weakness) {
        if !self.of(key).has(weakness) {
            self.0.push((key.clone(), weakness));
        }
    }

    /// The keys of which this is accepted.
    pub(crate) fn keys(&self, weakness: Weakness) -> impl Iterator<Item = &KeyUri> {
        self.0.iter().filter(move |(_, accepted)| *accepted == weakness).map(|(key, _)| key)
    }

    pub(crate) fn of(&self, key: &KeyUri) -> Accepted {
        let has = |wanted| self.0.iter().any(|(of, weakness)| of == key && *weakness == wanted);
        Accepted {
            not_private: has(Weakness::NotPrivate),
            wraps_and_decrypts: has(Weakness::WrapsAndDecrypts),
        }
    }
}

/// What is accepted for one key. Nothing by default.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Accepted {
    not_private: bool,
    wraps_and_decrypts: bool,
}

impl Accepted {
    pub(crate) fn has(self, weakness: Weakness) -> bool {
        match weakness {
            Weakness::NotPrivate => self.not_private,
            Weakness::WrapsAndDecrypts => self.wraps_and_decrypts,
        }
    }
}
