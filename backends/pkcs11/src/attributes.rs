//! What a token tells of a key, and whether that key is fit to be a KEK.

use envelope_sdk::KeyState;

use crate::weakness::Weakness;

/// What a token tells of one version of a key. No key material.
///
/// What a token does not tell counts as the worse of the two.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct KeyAttributes {
    /// The version as it stands in headers; empty for a key named by `id=`.
    pub version: String,
    /// `CKA_LABEL`.
    pub label: Vec<u8>,
    /// `CKA_ID`.
    pub id: Vec<u8>,
    /// True for an RSA key pair, false for an AES key.
    pub rsa: bool,
    /// Bits of the AES key, or of the RSA modulus.
    pub bits: usize,
    /// `CKA_PRIVATE`: only a login shows it, or makes one.
    pub private: bool,
    /// `CKA_SENSITIVE`: its value cannot be read.
    pub sensitive: bool,
    /// `CKA_EXTRACTABLE`: it can be taken out of the token, wrapped.
    pub extractable: bool,
    /// `CKA_LOCAL`: made in the token, not brought there.
    pub local: bool,
    /// `CKA_ALWAYS_SENSITIVE`.
    pub always_sensitive: bool,
    /// `CKA_NEVER_EXTRACTABLE`.
    pub never_extractable: bool,
    /// `CKA_ENCRYPT`, of the public key for a pair.
    pub encrypt: bool,
    /// `CKA_DECRYPT`, of the private key for a pair.
    pub decrypt: bool,
    /// `CKA_WRAP`, of the public key for a pair.
    pub wrap: bool,
    /// `CKA_UNWRAP`, of the private key for a pair.
    pub unwrap: bool,
}

impl KeyAttributes {
    /// Why the key must not be used as a KEK, if there is a reason and no
    /// weakness is accepted.
    #[must_use]
    pub fn refusal(&self) -> Option<&'static str> {
        self.refusal_unless(|_| false)
    }

    /// As [`refusal`](Self::refusal) where weaknesses are accepted.
    #[must_use]
    pub fn refusal_unless(&self, accepted: impl Fn(Weakness) -> bool) -> Option<&'static str> {
        if !self.sensitive {
            Some("it is not sensitive: its value can be read from the token")
        } else if self.extractable {
            Some("it is extractable: it can be taken out of the token")
        } else if !self.rsa && self.bits != 256 {
            Some("it does not have 256 bits, as an AES key must have here")
        } else if self.rsa && self.bits < 2048 {
            Some("it has less than 2048 bits, the least of an RSA key here")
        } else if self.rsa && !self.private {
            Some(Weakness::NotPrivate.reason())
        } else {
            self.weaknesses().find(|weakness| !accepted(*weakness)).map(Weakness::reason)
        }
    }

    /// The weaknesses of an AES key that may be accepted.
    pub fn weaknesses(&self) -> impl Iterator<Item = Weakness> + use<> {
        let has = |weakness, is: bool| (is && !self.rsa).then_some(weakness);
        let both = self.wrap && self.decrypt;
        [has(Weakness::NotPrivate, !self.private), has(Weakness::WrapsAndDecrypts, both)]
            .into_iter()
            .flatten()
    }

    /// The state that the attributes tell: what permits neither wrapping nor
    /// unwrapping is suspended, what only unwraps is deactivated.
    #[must_use]
    pub fn state(&self) -> KeyState {
        let wraps = self.encrypt || (!self.rsa && self.wrap);
        let unwraps = self.decrypt || (!self.rsa && self.unwrap);
        match (wraps, unwraps) {
            (true, true) => KeyState::Active,
            (false, true) => KeyState::Deactivated,
            // A key that could wrap what nobody opens again is not used either.
            (_, false) => KeyState::Suspended,
        }
    }
}
