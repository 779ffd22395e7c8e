//! Ed25519 (RFC 8032) of the engine that the core uses.

use envelope_sdk::crypto::Key256;

#[cfg(feature = "aws-lc")]
pub(crate) use aws_lc::{Signer, is_signed};
#[cfg(all(feature = "rustcrypto", not(feature = "aws-lc")))]
pub(crate) use dalek::{Signer, is_signed};

/// Bytes of a signature.
pub(crate) const LEN: usize = 64;

#[cfg(feature = "aws-lc")]
mod aws_lc {
    use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};

    use super::{Key256, LEN};

    pub(crate) struct Signer(Ed25519KeyPair);

    impl Signer {
        /// `None` when the library refuses the seed, which it does for want of memory only.
        pub(crate) fn new(seed: &Key256) -> Option<Self> {
            Ed25519KeyPair::from_seed_unchecked(seed.expose()).ok().map(Self)
        }

        pub(crate) fn public_key(&self) -> [u8; 32] {
            let mut key = [0; 32];
            key.copy_from_slice(self.0.public_key().as_ref());
            key
        }

        pub(crate) fn sign(&self, message: &[u8]) -> [u8; LEN] {
            let mut signature = [0; LEN];
            signature.copy_from_slice(self.0.sign(message).as_ref());
            signature
        }
    }

    pub(crate) fn is_signed(public_key: &[u8; 32], message: &[u8], signature: &[u8; LEN]) -> bool {
        UnparsedPublicKey::new(&ED25519, public_key).verify(message, signature).is_ok()
    }
}

#[cfg(feature = "rustcrypto")]
#[cfg_attr(feature = "aws-lc", allow(dead_code, reason = "for tests, beside the other"))]
mod dalek {
    use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};

    use super::{Key256, LEN};

    pub(crate) struct Signer(SigningKey);

    impl Signer {
        pub(crate) fn new(seed: &Key256) -> Option<Self> {
            Some(Self(SigningKey::from_bytes(seed.expose())))
        }

        pub(crate) fn public_key(&self) -> [u8; 32] {
            self.0.verifying_key().to_bytes()
        }

        pub(crate) fn sign(&self, message: &[u8]) -> [u8; LEN] {
            self.0.sign(message).to_bytes()
        }
    }

    pub(crate) fn is_signed(public_key: &[u8; 32], message: &[u8], signature: &[u8; LEN]) -> bool {
        let signature = Signature::from_bytes(signature);
        VerifyingKey::from_bytes(public_key).is_ok_and(|key| key.verify_strict(message, &signature).is_ok())
    }
}
