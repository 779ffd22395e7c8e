//! What is written to a token: making, changing and removing keys. Each change
//! is read back, since a token may accept it and do nothing.

use cryptoki::{
    error::{Error, RvError},
    mechanism::Mechanism,
    object::Attribute,
    session::Session,
};
use envelope_sdk::{
    KeyState, ProviderErrorKind,
    crypto::{DefaultEngine, Engine},
};

use crate::{
    error::Failure,
    keys::{self, Kek},
    names,
    session::Open,
};

/// Makes version `number` of the AES-256 key `name` in the token.
pub(super) fn generate(open: &Open, session: &Session, name: &[u8], number: u32) -> Result<(), Failure> {
    if !open.can.makes_gcm_keys() {
        let message = "the token does not make AES keys, or does not encrypt by AES-GCM with them";
        return Err(Failure::new(ProviderErrorKind::Unsupported, message));
    }
    let mut id = vec![0; ID_LEN];
    DefaultEngine::fill_random(&mut id).map_err(|error| {
        Failure::new(ProviderErrorKind::Other, format!("no randomness for an id: {error}"))
    })?;
    let label = names::label_of(name, number);
    let template = [
        Attribute::Token(true),
        Attribute::Private(true),
        Attribute::Sensitive(true),
        Attribute::Extractable(false),
        Attribute::Encrypt(true),
        Attribute::Decrypt(true),
        Attribute::Wrap(false),
        Attribute::Unwrap(false),
        Attribute::Sign(false),
        Attribute::Verify(false),
        Attribute::Derive(false),
        Attribute::ValueLen(32.into()),
        Attribute::Label(label.clone()),
        Attribute::Id(id),
    ];
    let handle = session.generate_key(&Mechanism::AesKeyGen, &template)?;
    let made = keys::secret(session, handle, number.to_string());
    let problem = match made.map(|kek| kek.attributes.refusal()) {
        Ok(None) => None,
        Ok(Some(reason)) => Some(Failure::new(
            ProviderErrorKind::Unsupported,
            format!("the token made another key than it was asked for: {reason}"),
        )),
        Err(failure) => Some(failure),
    };
    let problem = problem.or_else(|| match session.find_objects(&[Attribute::Label(label)]) {
        Ok(labelled) if labelled.len() == 1 => None,
        // Two programs may have looked and then made the same version.
        Ok(_) => Some(Failure::new(
            ProviderErrorKind::Invalid,
            "somebody else made the same version of this key just now: try again",
        )),
        Err(error) => Some(error.into()),
    });
    match problem {
        None => Ok(()),
        Some(failure) => {
            session.destroy_object(handle)?;
            Err(failure)
        }
    }
}

/// Lets an AES-GCM key be used as its state permits.
pub(super) fn set_use(session: &Session, kek: &Kek, state: KeyState) -> Result<(), Failure> {
    let key = &kek.attributes;
    if key.rsa || key.wrap || key.unwrap {
        let message =
            "states are kept in the attributes of keys for AES-GCM alone; this key is of another kind";
        return Err(Failure::new(ProviderErrorKind::Unsupported, message));
    }
    let (encrypt, decrypt) = match state {
        KeyState::Active => (true, true),
        KeyState::Deactivated => (false, true),
        _ => (false, false),
    };
    let mut changes = Vec::new();
    if key.encrypt != encrypt {
        changes.push(Attribute::Encrypt(encrypt));
    }
    if key.decrypt != decrypt {
        changes.push(Attribute::Decrypt(decrypt));
    }
    if changes.is_empty() {
        return Ok(());
    }
    match session.update_attributes(kek.handle, &changes) {
        Ok(()) => {}
        Err(error) if is_refused(&error) => return Err(fixed().with_source(error)),
        Err(error) => return Err(error.into()),
    }
    let now = keys::secret(session, kek.handle, key.version.clone())?.attributes;
    if (now.encrypt, now.decrypt) == (encrypt, decrypt) { Ok(()) } else { Err(fixed()) }
}

/// Removes the key, and the public key of a pair after it.
pub(super) fn destroy(session: &Session, kek: &Kek) -> Result<(), Failure> {
    let keys = [Some(kek.handle), kek.public];
    keys.into_iter().flatten().try_for_each(|handle| match session.destroy_object(handle) {
        Err(error) if is_refused(&error) => {
            let message = "the token does not let this key be destroyed: use the token's own tool";
            Err(Failure::new(ProviderErrorKind::Unsupported, message).with_source(error))
        }
        outcome => outcome.map_err(Failure::from),
    })
}

fn fixed() -> Failure {
    let message = "the token does not let CKA_ENCRYPT and CKA_DECRYPT of this key be changed: use the token's own \
                   tool, or rotate the key and destroy old versions";
    Failure::new(ProviderErrorKind::Unsupported, message)
}

fn is_refused(error: &Error) -> bool {
    let Error::Pkcs11(code, _) = error else {
        return matches!(error, Error::NullFunctionPointer | Error::NotSupported);
    };
    matches!(
        code,
        RvError::AttributeReadOnly
            | RvError::AttributeTypeInvalid
            | RvError::AttributeValueInvalid
            | RvError::ActionProhibited
            | RvError::FunctionNotSupported
            | RvError::FunctionRejected
            | RvError::TemplateInconsistent
    )
}

/// Enough that no two keys of a token get the same.
const ID_LEN: usize = 16;
