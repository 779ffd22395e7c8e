//! Wrapping and unwrapping a DEK in a session, in one of the three ways
//! ([`Algorithm`]).

use cryptoki::{
    context::Function,
    error::{Error, RvError},
    mechanism::{
        Mechanism, MechanismType, MessageParam,
        aead::{GcmMessageParams, GcmParams, GeneratorFunction},
        rsa::{PkcsMgfType, PkcsOaepParams, PkcsOaepSource},
    },
    object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle},
    session::Session,
};
use envelope_sdk::{
    Dek, ProviderErrorKind,
    crypto::{DefaultEngine, Engine},
};
use zeroize::{Zeroize, Zeroizing};

use crate::{
    algorithm::Algorithm,
    error::{Failure, Remedy},
    keys::Kek,
    session::Open,
};

impl Kek {
    /// Whether the key's attributes permit this, both ways.
    fn permits(&self, algorithm: Algorithm) -> bool {
        let key = &self.attributes;
        match algorithm {
            Algorithm::Gcm => !key.rsa && key.encrypt && key.decrypt,
            Algorithm::Kwp => !key.rsa && key.wrap && key.unwrap,
            Algorithm::Oaep => key.rsa && key.encrypt && key.decrypt,
        }
    }

    /// Whether the key may open what was wrapped so, also when it wraps no more.
    fn opens(&self, algorithm: Algorithm) -> bool {
        let key = &self.attributes;
        match algorithm {
            Algorithm::Gcm => !key.rsa && key.decrypt,
            Algorithm::Kwp => !key.rsa && key.unwrap,
            Algorithm::Oaep => key.rsa && key.decrypt,
        }
    }
}

impl Open {
    /// Wraps with the first algorithm that token and key allow.
    pub(crate) fn wrap(&self, kek: &Kek, dek: &Dek, context: &[u8]) -> Result<(Algorithm, Vec<u8>), Failure> {
        let Some(algorithm) = self.can.algorithms().find(|algorithm| kek.permits(*algorithm)) else {
            let token: Vec<_> = self.can.algorithms().map(Algorithm::name).collect();
            let message = format!(
                "the key's attributes permit none of the algorithms that the token offers ({})",
                if token.is_empty() { "none".into() } else { token.join(", ") }
            );
            return Err(Failure::new(ProviderErrorKind::Unsupported, message));
        };
        let wrapped = match algorithm {
            Algorithm::Gcm => self.wrap_gcm(kek.handle, dek.expose(), context)?,
            Algorithm::Kwp => wrap_kwp(&self.session, kek.handle, dek)?,
            Algorithm::Oaep => wrap_oaep(&self.session, kek, dek)?,
        };
        Ok((algorithm, wrapped))
    }

    /// Unwraps with the algorithm that the header names, if the key may.
    pub(crate) fn unwrap(
        &self,
        kek: &Kek,
        algorithm: Algorithm,
        wrapped: &[u8],
        context: &[u8],
    ) -> Result<Dek, Failure> {
        if !self.can.has(algorithm) || !kek.opens(algorithm) {
            let name = algorithm.name();
            let message =
                format!("the key was wrapped by {name}, which this key or its token does not permit");
            return Err(Failure::new(ProviderErrorKind::Unsupported, message));
        }
        if !fits(algorithm, wrapped.len(), kek) {
            return Err(Failure::unauthentic());
        }
        match algorithm {
            Algorithm::Gcm => self.unwrap_gcm(kek, wrapped, context),
            Algorithm::Kwp => unwrap_kwp(self, kek, wrapped),
            Algorithm::Oaep => unwrap_oaep(self, kek, wrapped),
        }
    }

    fn wrap_gcm(&self, key: ObjectHandle, dek: &[u8; 32], context: &[u8]) -> Result<Vec<u8>, Failure> {
        if self.can.gcm_message {
            match encrypt_message(&self.session, key, dek, context) {
                // Some tokens offer it and do not do it for every key.
                Err(Error::Pkcs11(code, _)) if is_unsupported(code) => {}
                wrapped => return checked_gcm(wrapped?),
            }
        }
        checked_gcm(encrypt_gcm(&self.session, key, dek, context)?)
    }

    fn unwrap_gcm(&self, kek: &Kek, wrapped: &[u8], context: &[u8]) -> Result<Dek, Failure> {
        let (iv, sealed) = wrapped.split_at(IV_LEN);
        let open = || decrypt_gcm(&self.session, kek.handle, iv, sealed, context);
        self.opened(kek, Algorithm::Gcm, open).and_then(|dek| dek_of(&dek))
    }

    /// What `open` opens. A failed decryption is the data's fault, unless the token is at fault.
    /// Codes that name no reason are decided by whether the token still works, and says so of
    /// the same data again: SoftHSM says `CKR_GENERAL_ERROR` to a wrong tag, kryoptic says
    /// `CKR_DEVICE_ERROR` to wrong OAEP padding, and others say both when they broke off.
    fn opened<T>(
        &self,
        kek: &Kek,
        algorithm: Algorithm,
        open: impl Fn() -> Result<T, Error>,
    ) -> Result<T, Failure> {
        let error = match open() {
            Err(error) if names_no_reason(&error) && self.works(kek, algorithm) => match open() {
                Err(error) if names_no_reason(&error) => return Err(Failure::unauthentic()),
                Err(error) => error,
                Ok(opened) => return Ok(opened),
            },
            Err(error) => error,
            Ok(opened) => return Ok(opened),
        };
        Err(why_not_opened(algorithm, error))
    }

    /// Whether the token still answers and, where the key may also wrap, opens
    /// what it has just wrapped.
    fn works(&self, kek: &Kek, algorithm: Algorithm) -> bool {
        if self.check_alive().is_err() {
            return false;
        }
        let probe = [0; Dek::LEN];
        let opened = match (algorithm, kek.public) {
            (Algorithm::Gcm, _) if kek.permits(Algorithm::Gcm) => {
                encrypt_gcm(&self.session, kek.handle, &probe, b"probe").and_then(|sealed| {
                    let (iv, sealed) = sealed.split_at(IV_LEN);
                    decrypt_gcm(&self.session, kek.handle, iv, sealed, b"probe")
                })
            }
            (Algorithm::Oaep, Some(public)) => {
                let sealed = self.session.encrypt(&oaep(), public, &probe);
                sealed.and_then(|sealed| decrypt_oaep(&self.session, kek.handle, &sealed))
            }
            _ => return true,
        };
        opened.is_ok_and(|opened| *opened == probe)
    }
}

/// Whether a token that opens nothing says neither that it is at fault nor that the data is.
fn names_no_reason(error: &Error) -> bool {
    matches!(
        error,
        Error::Pkcs11(
            RvError::GeneralError | RvError::FunctionFailed | RvError::DeviceError | RvError::ArgumentsBad,
            Function::Decrypt | Function::UnwrapKey,
        )
    )
}

fn why_not_opened(algorithm: Algorithm, error: Error) -> Failure {
    let Error::Pkcs11(code, function) = error else { return error.into() };
    match code {
        RvError::EncryptedDataInvalid
        | RvError::EncryptedDataLenRange
        | RvError::DataInvalid
        | RvError::DataLenRange
        | RvError::SignatureInvalid
        | RvError::WrappedKeyInvalid
        | RvError::WrappedKeyLenRange
        | RvError::UnknownErrorCode(CKR_AEAD_DECRYPT_FAILED)
            if matches!(function, Function::Decrypt | Function::UnwrapKey) =>
        {
            Failure::unauthentic()
        }
        _ if algorithm == Algorithm::Oaep => no_sha256(error),
        _ => error.into(),
    }
}

/// Whether a wrapped DEK can be of this algorithm and key. Others are not shown
/// to the token.
fn fits(algorithm: Algorithm, len: usize, kek: &Kek) -> bool {
    match algorithm {
        Algorithm::Gcm => len == GCM_LEN,
        Algorithm::Kwp => len == KWP_LEN,
        Algorithm::Oaep => len == kek.attributes.bits / 8,
    }
}

/// With an IV of our own: random, and 12 bytes by its type.
fn encrypt_gcm(
    session: &Session,
    key: ObjectHandle,
    plaintext: &[u8; 32],
    aad: &[u8],
) -> Result<Vec<u8>, Error> {
    let mut iv = [0; IV_LEN];
    DefaultEngine::fill_random(&mut iv).map_err(|_| Error::InvalidValue)?;
    let sealed = {
        let params = GcmParams::new(&mut iv, aad, TAG_BITS.into())?;
        session.encrypt(&Mechanism::AesGcm(params), key, plaintext)?
    };
    // Read after the call: a token that makes its own IV writes it there.
    Ok([iv.as_slice(), &sealed].concat())
}

/// With an IV that the token makes (PKCS#11 3.0).
fn encrypt_message(
    session: &Session,
    key: ObjectHandle,
    plaintext: &[u8; 32],
    aad: &[u8],
) -> Result<Vec<u8>, Error> {
    let (mut iv, mut tag) = ([0; IV_LEN], [0; TAG_LEN]);
    let ciphertext = {
        let params = GcmMessageParams::new(&mut iv, 0.into(), GeneratorFunction::GenerateRandom, &mut tag)?;
        session.message_encrypt_init(&Mechanism::AesGcmMessage(params), key)?;
        let ciphertext = session.encrypt_message(&MessageParam::AesGcmMessage(params), aad, plaintext);
        let ended = session.message_encrypt_final();
        let ciphertext = ciphertext?;
        ended?;
        ciphertext
    };
    if iv == [0; IV_LEN] {
        // It made none, and the same one would come next time.
        return Err(Error::Pkcs11(RvError::MechanismParamInvalid, Function::EncryptMessage));
    }
    Ok([iv.as_slice(), &ciphertext, &tag].concat())
}

fn checked_gcm(wrapped: Vec<u8>) -> Result<Vec<u8>, Failure> {
    if wrapped.len() == GCM_LEN {
        return Ok(wrapped);
    }
    let message = format!(
        "the token wrapped 32 bytes by AES-GCM into {} bytes, not {GCM_LEN}: its IV or tag is not of the form \
         that PKCS11-AES-256-GCM has",
        wrapped.len()
    );
    Err(Failure::new(ProviderErrorKind::Protocol, message))
}

fn decrypt_gcm(
    session: &Session,
    key: ObjectHandle,
    iv: &[u8],
    sealed: &[u8],
    aad: &[u8],
) -> Result<Zeroizing<Vec<u8>>, Error> {
    let mut iv: [u8; IV_LEN] = iv.try_into()?;
    let params = GcmParams::new(&mut iv, aad, TAG_BITS.into())?;
    session.decrypt(&Mechanism::AesGcm(params), key, sealed).map(Zeroizing::new)
}

/// The DEK goes to the token as a key of this session, is wrapped there and
/// removed again.
fn wrap_kwp(session: &Session, kek: ObjectHandle, dek: &Dek) -> Result<Vec<u8>, Failure> {
    let mut template = vec![
        Attribute::Class(ObjectClass::SECRET_KEY),
        Attribute::KeyType(KeyType::GENERIC_SECRET),
        Attribute::Token(false),
        Attribute::Private(true),
        Attribute::Sensitive(true),
        Attribute::Extractable(true),
        Attribute::Value(dek.expose().to_vec()),
    ];
    let object = session.create_object(&template);
    if let Some(Attribute::Value(copy)) = template.last_mut() {
        copy.zeroize();
    }
    let object = object?;
    let wrapped = session.wrap_key(&Mechanism::AesKeyWrapPad, kek, object);
    let removed = session.destroy_object(object);
    let wrapped = wrapped?;
    removed?;
    if wrapped.len() == KWP_LEN {
        return Ok(wrapped);
    }
    let message = format!(
        "the token wrapped 32 bytes by CKM_AES_KEY_WRAP_PAD into {} bytes, not the {KWP_LEN} of RFC 5649",
        wrapped.len()
    );
    Err(Failure::new(ProviderErrorKind::Unsupported, message))
}

fn unwrap_kwp(open: &Open, kek: &Kek, wrapped: &[u8]) -> Result<Dek, Failure> {
    let template = [
        Attribute::Class(ObjectClass::SECRET_KEY),
        Attribute::KeyType(KeyType::GENERIC_SECRET),
        Attribute::Token(false),
        Attribute::Private(true),
        Attribute::Sensitive(false),
        Attribute::Extractable(true),
    ];
    let session = &open.session;
    let unwrap = || session.unwrap_key(&Mechanism::AesKeyWrapPad, kek.handle, wrapped, &template);
    let object = open.opened(kek, Algorithm::Kwp, unwrap)?;
    let value = session.get_attributes(object, &[AttributeType::Value]);
    let removed = session.destroy_object(object);
    let value = value?.into_iter().find_map(|attribute| match attribute {
        Attribute::Value(value) => Some(Zeroizing::new(value)),
        _ => None,
    });
    removed?;
    // A token that keeps every key sensitive answers with nothing, and no error.
    let Some(value) = value.filter(|value| !value.is_empty()) else {
        let message = "the token unwrapped the DEK but does not give it out";
        return Err(Failure::new(ProviderErrorKind::Unsupported, message));
    };
    dek_of(&value)
}

fn wrap_oaep(session: &Session, kek: &Kek, dek: &Dek) -> Result<Vec<u8>, Failure> {
    let Some(public) = kek.public else {
        let message = "the token has no public key of this pair that may encrypt";
        return Err(Failure::new(ProviderErrorKind::NotFound, message));
    };
    session.encrypt(&oaep(), public, dek.expose()).map_err(no_sha256)
}

fn unwrap_oaep(open: &Open, kek: &Kek, wrapped: &[u8]) -> Result<Dek, Failure> {
    let opened = || decrypt_oaep(&open.session, kek.handle, wrapped);
    dek_of(&open.opened(kek, Algorithm::Oaep, opened)?)
}

fn decrypt_oaep(
    session: &Session,
    private: ObjectHandle,
    wrapped: &[u8],
) -> Result<Zeroizing<Vec<u8>>, Error> {
    session.decrypt(&oaep(), private, wrapped).map(Zeroizing::new)
}

/// SHA-256 for both hash functions. SHA-1, which SoftHSM knows alone, is not
/// fallen back to.
fn oaep() -> Mechanism<'static> {
    PkcsOaepParams::new(MechanismType::SHA256, PkcsMgfType::MGF1_SHA256, PkcsOaepSource::empty()).into()
}

fn no_sha256(error: Error) -> Failure {
    match error {
        Error::Pkcs11(code, Function::EncryptInit | Function::DecryptInit)
            if is_unsupported(code) || code == RvError::ArgumentsBad =>
        {
            let message = "the token does not do RSA-OAEP with SHA-256: use an AES key";
            Failure::new(ProviderErrorKind::Unsupported, message).with_source(error)
        }
        error => error.into(),
    }
}

fn is_unsupported(code: RvError) -> bool {
    matches!(code, RvError::MechanismInvalid | RvError::MechanismParamInvalid | RvError::FunctionNotSupported)
}

fn dek_of(bytes: &[u8]) -> Result<Dek, Failure> {
    Dek::from_slice(bytes).map_err(|error| {
        let message = format!("the token unwrapped something else than a DEK: {error}");
        Failure::new(ProviderErrorKind::Unauthentic, message).remedy(Remedy::None)
    })
}

const IV_LEN: usize = 12;
const TAG_LEN: usize = 16;
const TAG_BITS: u64 = 128;
const GCM_LEN: usize = IV_LEN + Dek::LEN + TAG_LEN;
const KWP_LEN: usize = Dek::LEN + 8;
/// PKCS#11 3.0; `cryptoki` has no name for it.
const CKR_AEAD_DECRYPT_FAILED: u64 = 0x42;
