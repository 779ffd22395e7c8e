//! The keys themselves, and what they do.

use aws_lc_rs::{
    aead::{AES_128_GCM, AES_192_GCM, AES_256_GCM, Aad, Algorithm, LessSafeKey, Nonce, UnboundKey},
    encoding::{AsDer as _, PublicKeyX509Der},
    key_wrap::{AES_128, AES_256, AesKek, KeyWrap as _},
    rand,
    rsa::{
        OAEP_SHA1_MGF1SHA1, OAEP_SHA256_MGF1SHA256, OaepAlgorithm, OaepPrivateDecryptingKey,
        OaepPublicEncryptingKey, Pkcs1PrivateDecryptingKey, Pkcs1PublicEncryptingKey, PrivateDecryptingKey,
    },
    signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P256K1_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING,
        ECDSA_P521_SHA512_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _,
    },
};
use serde_json::{Value, json};

use super::{call::base64url, der, reply::Reply, rsa_keys};

/// A key of some type.
pub(super) enum Material {
    Rsa(PrivateDecryptingKey),
    /// Of these only what is public is kept: they sign, and this server does not.
    Ec {
        curve: &'static str,
        point: Vec<u8>,
    },
    Oct(Vec<u8>),
}

/// What AES-GCM makes.
pub(super) struct Sealed {
    pub(super) iv: [u8; IV_LEN],
    pub(super) ciphertext: Vec<u8>,
    pub(super) tag: Vec<u8>,
}

impl Material {
    pub(super) fn rsa(bits: u64) -> Option<Self> {
        rsa_keys::next(bits).map(Self::Rsa)
    }

    pub(super) fn ec(curve: &str) -> Option<Self> {
        let (curve, algorithm) = match curve {
            "P-256" => ("P-256", &ECDSA_P256_SHA256_FIXED_SIGNING),
            "P-256K" => ("P-256K", &ECDSA_P256K1_SHA256_FIXED_SIGNING),
            "P-384" => ("P-384", &ECDSA_P384_SHA384_FIXED_SIGNING),
            "P-521" => ("P-521", &ECDSA_P521_SHA512_FIXED_SIGNING),
            _ => return None,
        };
        let point = EcdsaKeyPair::generate(algorithm).ok()?.public_key().as_ref().to_vec();
        Some(Self::Ec { curve, point })
    }

    pub(super) fn oct(bits: u64) -> Option<Self> {
        let mut key = vec![0; usize::try_from(bits / 8).ok()?];
        ([128, 192, 256].contains(&bits) && rand::fill(&mut key).is_ok()).then_some(Self::Oct(key))
    }

    /// Another key as this one.
    pub(super) fn again(&self) -> Option<Self> {
        match self {
            Self::Rsa(key) => Self::rsa(u64::try_from(key.key_size_bits()).ok()?),
            Self::Ec { curve, .. } => Self::ec(curve),
            Self::Oct(key) => Self::oct(u64::try_from(key.len() * 8).ok()?),
        }
    }

    /// Adds what everybody may know of the key.
    pub(super) fn describe(&self, key: &mut Value) {
        match self {
            Self::Rsa(private) => {
                let public = private.public_key().as_der();
                let public = public.ok().and_then(|der: PublicKeyX509Der<'_>| der::rsa_numbers(der.as_ref()));
                if let Some((modulus, exponent)) = public {
                    key["n"] = json!(base64url(&modulus));
                    key["e"] = json!(base64url(&exponent));
                }
            }
            Self::Ec { curve, point } => {
                let (x, y) = point[1..].split_at((point.len() - 1) / 2);
                key["crv"] = json!(curve);
                key["x"] = json!(base64url(x));
                key["y"] = json!(base64url(y));
            }
            // Not even its length.
            Self::Oct(_) => {}
        }
    }

    /// Encrypts or wraps by an algorithm without nonce and tag.
    pub(super) fn wrap(&self, algorithm: &str, value: &[u8]) -> Result<Vec<u8>, Reply> {
        let wrapped = match (self, algorithm) {
            (Self::Rsa(key), "RSA1_5") => {
                let key = Pkcs1PublicEncryptingKey::new(key.public_key()).map_err(|_| broken())?;
                let mut out = vec![0; key.ciphertext_size()];
                key.encrypt(value, &mut out).map(|out| out.to_vec()).ok()
            }
            (Self::Rsa(key), _) => {
                let oaep = oaep(algorithm)?;
                let key = OaepPublicEncryptingKey::new(key.public_key()).map_err(|_| broken())?;
                let mut out = vec![0; key.ciphertext_size()];
                key.encrypt(oaep, value, &mut out, None).map(|out| out.to_vec()).ok()
            }
            (Self::Oct(key), _) => {
                let mut out = vec![0; value.len() + 8];
                kek(algorithm, key)?.wrap(value, &mut out).map(|out| out.to_vec()).ok()
            }
            (Self::Ec { .. }, _) => return Err(unsupported(algorithm)),
        };
        wrapped.ok_or_else(|| super::call::wrong("value"))
    }

    /// Decrypts or unwraps what [`wrap`](Self::wrap) made.
    pub(super) fn unwrap(&self, algorithm: &str, value: &[u8]) -> Result<Vec<u8>, Reply> {
        let opened = match (self, algorithm) {
            (Self::Rsa(key), "RSA1_5") => {
                let key = Pkcs1PrivateDecryptingKey::new(key.clone()).map_err(|_| broken())?;
                let mut out = vec![0; key.min_output_size()];
                key.decrypt(value, &mut out).map(|out| out.to_vec()).ok()
            }
            (Self::Rsa(key), _) => {
                let oaep = oaep(algorithm)?;
                let key = OaepPrivateDecryptingKey::new(key.clone()).map_err(|_| broken())?;
                let mut out = vec![0; key.min_output_size()];
                key.decrypt(oaep, value, &mut out, None).map(|out| out.to_vec()).ok()
            }
            (Self::Oct(key), _) => {
                let mut out = vec![0; value.len()];
                kek(algorithm, key)?.unwrap(value, &mut out).map(|out| out.to_vec()).ok()
            }
            (Self::Ec { .. }, _) => return Err(unsupported(algorithm)),
        };
        opened.ok_or_else(|| super::call::wrong("value"))
    }

    /// Encrypts by AES-GCM, with a nonce of its own.
    pub(super) fn seal(&self, algorithm: &str, aad: &[u8], plaintext: &[u8]) -> Result<Sealed, Reply> {
        let mut iv = [0; IV_LEN];
        rand::fill(&mut iv).map_err(|_| broken())?;
        let mut ciphertext = plaintext.to_vec();
        let nonce = Nonce::assume_unique_for_key(iv);
        let tag = self
            .gcm(algorithm)?
            .seal_in_place_separate_tag(nonce, Aad::from(aad), &mut ciphertext)
            .map_err(|_| broken())?;
        Ok(Sealed { iv, ciphertext, tag: tag.as_ref().to_vec() })
    }

    /// Decrypts what [`seal`](Self::seal) made.
    pub(super) fn open(&self, algorithm: &str, aad: &[u8], sealed: &Sealed) -> Result<Vec<u8>, Reply> {
        let mut out = [sealed.ciphertext.as_slice(), &sealed.tag].concat();
        let nonce = Nonce::assume_unique_for_key(sealed.iv);
        let opened = self.gcm(algorithm)?.open_in_place(nonce, Aad::from(aad), &mut out);
        opened.map(|opened| opened.to_vec()).map_err(|_| Reply::bad("The authentication tag is not valid."))
    }

    fn gcm(&self, algorithm: &str) -> Result<LessSafeKey, Reply> {
        let of_name: &Algorithm = match algorithm {
            "A128GCM" => &AES_128_GCM,
            "A192GCM" => &AES_192_GCM,
            "A256GCM" => &AES_256_GCM,
            _ => return Err(unsupported(algorithm)),
        };
        let Self::Oct(key) = self else { return Err(unsupported(algorithm)) };
        UnboundKey::new(of_name, key).map(LessSafeKey::new).map_err(|_| unsupported(algorithm))
    }
}

fn oaep(algorithm: &str) -> Result<&'static OaepAlgorithm, Reply> {
    match algorithm {
        "RSA-OAEP-256" => Ok(&OAEP_SHA256_MGF1SHA256),
        "RSA-OAEP" => Ok(&OAEP_SHA1_MGF1SHA1),
        _ => Err(unsupported(algorithm)),
    }
}

fn kek(algorithm: &str, key: &[u8]) -> Result<AesKek, Reply> {
    let cipher = match algorithm {
        "A128KW" => &AES_128,
        "A256KW" => &AES_256,
        _ => return Err(unsupported(algorithm)),
    };
    AesKek::new(cipher, key).map_err(|_| unsupported(algorithm))
}

fn unsupported(algorithm: &str) -> Reply {
    Reply::bad(format!("The algorithm {algorithm} is not supported by this key."))
}

fn broken() -> Reply {
    Reply::error(500, "InternalServerError", "The key or the randomness of the system failed.")
}

/// Bytes of a nonce of AES-GCM.
pub(super) const IV_LEN: usize = 12;
