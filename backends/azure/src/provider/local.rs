//! Wraps that are made on this machine, under the public part of an RSA key.

use aws_lc_rs::rsa::{
    OAEP_SHA256_MGF1SHA256, OaepPublicEncryptingKey, PublicEncryptingKey, PublicKeyComponents,
};
use envelope_sdk::Dek;

/// The public part of a version.
pub(super) struct Public(OaepPublicEncryptingKey);

/// What is wrong with a public key.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Flaw {
    Small,
    Exponent,
    NoKey,
}

impl Public {
    /// Of the modulus and the exponent, big-endian. The exponent is F4, which Azure
    /// gives each key unless told otherwise, and no other one.
    pub(super) fn of(n: &[u8], e: &[u8]) -> Result<Self, Flaw> {
        let (n, e) = (without_zeros(n), without_zeros(e));
        if n.is_empty() || n.last().is_some_and(|last| last % 2 == 0) {
            return Err(Flaw::NoKey);
        }
        if n.len() < MIN_LEN || (n.len() == MIN_LEN && n[0] < 0x80) {
            return Err(Flaw::Small);
        }
        if !LENS.contains(&n.len()) {
            return Err(Flaw::NoKey);
        }
        if e != F4 {
            return Err(Flaw::Exponent);
        }
        let key: Result<PublicEncryptingKey, _> = PublicKeyComponents { n, e }.try_into();
        let key = key.and_then(OaepPublicEncryptingKey::new).map_err(|_| Flaw::NoKey)?;
        Ok(Self(key))
    }

    /// OAEP with SHA-256 and MGF1 with SHA-256, without a label: as wrapKey does.
    pub(super) fn wrap(&self, dek: &Dek) -> Option<Vec<u8>> {
        let mut wrapped = vec![0; self.0.ciphertext_size()];
        let len = self.0.encrypt(&OAEP_SHA256_MGF1SHA256, dek.expose(), &mut wrapped, None).ok()?.len();
        wrapped.truncate(len);
        Some(wrapped)
    }
}

fn without_zeros(number: &[u8]) -> &[u8] {
    let start = number.iter().position(|byte| *byte != 0).unwrap_or(number.len());
    &number[start..]
}

pub(super) const NOT_WRAPPED: &str =
    "the DEK was not wrapped on this machine: it gave no randomness, or the key is none";
/// 3072 bits, which NIST SP 800-57 part 1 takes for 128 bits of strength.
const MIN_LEN: usize = 384;
/// Of keys of 3072 and 4096 bits, which are all that Azure has.
const LENS: [usize; 2] = [384, 512];
const F4: &[u8] = &[1, 0, 1];

#[cfg(test)]
mod tests {
    use aws_lc_rs::{
        encoding::AsDer,
        rsa::{KeyPair, KeySize, OaepPrivateDecryptingKey, PrivateDecryptingKey},
    };
    use envelope_sdk::crypto::DefaultEngine;

    use super::*;

    #[test]
    fn what_is_wrapped_here_opens_with_the_private_key() {
        let pair = KeyPair::generate(KeySize::Rsa3072).unwrap();
        let private = PrivateDecryptingKey::from_pkcs8(pair.as_der().unwrap().as_ref()).unwrap();
        let private = OaepPrivateDecryptingKey::new(private).unwrap();
        let key = aws_lc_rs::signature::KeyPair::public_key(&pair);
        let (n, e) = of_pkcs1(key.as_ref());
        let public = Public::of(n, e).unwrap();
        let dek = Dek::generate::<DefaultEngine>().unwrap();
        let wrapped = public.wrap(&dek).unwrap();
        assert_eq!(wrapped.len(), 384);
        let mut opened = vec![0; private.min_output_size()];
        let opened = private.decrypt(&OAEP_SHA256_MGF1SHA256, &wrapped, &mut opened, None).unwrap();
        assert_eq!(opened, dek.expose());
    }

    #[test]
    fn small_keys_and_odd_exponents_are_refused() {
        let flaw = |n: &[u8], e: &[u8]| Public::of(n, e).err();
        let modulus = |len: usize| [vec![0xC5; len - 1], vec![1]].concat();
        assert_eq!(flaw(&modulus(256), F4), Some(Flaw::Small));
        assert_eq!(flaw(&[&[0], modulus(256).as_slice()].concat(), F4), Some(Flaw::Small));
        assert_eq!(flaw(&modulus(383), F4), Some(Flaw::Small));
        for e in [&[1][..], &[3], &[], &[2], &[1, 0, 0, 0, 1]] {
            assert_eq!(flaw(&modulus(384), e), Some(Flaw::Exponent), "{e:?}");
        }
        for len in [385, 511, 513, 1024] {
            assert_eq!(flaw(&modulus(len), F4), Some(Flaw::NoKey), "{len}");
        }
        assert_eq!(flaw(&[], F4), Some(Flaw::NoKey));
        assert_eq!(flaw(&[0xC4; 384], F4), Some(Flaw::NoKey));
    }

    /// `SEQUENCE { INTEGER n, INTEGER e }` of a key of 3072 bits.
    fn of_pkcs1(der: &[u8]) -> (&[u8], &[u8]) {
        let n = &der[8..][..385];
        (n, &der[8 + 385 + 2..])
    }
}
