//! What is written to keys that are there: changing and removing them. Each change
//! is read back, since a token may accept it and do nothing.

use cryptoki::{
    error::{Error, RvError},
    mechanism::Mechanism,
    object::{Attribute, AttributeType},
    session::Session,
    types::Date,
};
use envelope_sdk::{KeyState, ProviderErrorKind};

use crate::{
    dates,
    error::Failure,
    keys::{self, Kek},
    session::Open,
};

/// Refuses a token that makes no keys for AES-GCM.
pub(super) fn check_can_generate(open: &Open) -> Result<(), Failure> {
    if open.can.makes_gcm_keys() {
        return Ok(());
    }
    let message = "the token does not make AES keys, or does not encrypt by AES-GCM with them";
    Err(Failure::new(ProviderErrorKind::Unsupported, message))
}

/// Refuses a state that this kind of key cannot have.
pub(super) fn check_may_go(kek: &Kek, state: KeyState) -> Result<(), Failure> {
    let key = &kek.attributes;
    if state != KeyState::Destroyed && (key.rsa || key.wrap || key.unwrap) {
        let message = "only keys for AES-GCM keep their states in attributes; this key is of another kind";
        return Err(Failure::new(ProviderErrorKind::Unsupported, message));
    }
    Ok(())
}

/// Puts one version of a key into a state.
pub(super) fn go(session: &Session, kek: &Kek, state: KeyState) -> Result<(), Failure> {
    check_may_go(kek, state)?;
    if state == KeyState::Destroyed { destroy(session, kek) } else { set_use(session, kek, state) }
}

/// Refuses an end of a cryptoperiod that is no day of PKCS#11, and returns the day.
pub(super) fn check_not_after(not_after: Option<u64>) -> Result<Option<Date>, Failure> {
    let Some(end) = not_after else { return Ok(None) };
    match dates::last_by(end) {
        Some(day) => Ok(Some(day)),
        None => {
            let message =
                "a token keeps only days of the years 1970 to 9999, and a cryptoperiod ends after one";
            Err(Failure::new(ProviderErrorKind::Invalid, message))
        }
    }
}

/// Ends the cryptoperiod of one version with the last day that ends by `not_after`, or
/// never.
pub(super) fn set_not_after(session: &Session, kek: &Kek, not_after: Option<u64>) -> Result<(), Failure> {
    let Some(day) = new_end(session, kek, not_after)? else { return Ok(()) };
    // `cryptoki` has another type for a date of no bytes, which means that there is none.
    let none = || Attribute::VendorDefined((AttributeType::EndDate, Vec::new()));
    match session.update_attributes(kek.handle, &[day.map_or_else(none, Attribute::EndDate)]) {
        Ok(()) => {}
        Err(error) if is_refused(&error) => return Err(no_end().with_source(error)),
        Err(error) => return Err(error.into()),
    }
    let end = day.and_then(|day| dates::end_of(&day));
    if keys::not_after(session, kek.handle) == end { Ok(()) } else { Err(no_end()) }
}

/// What [`set_not_after`] would set: a day, or none; and nothing where that stands there
/// already.
pub(super) fn new_end(
    session: &Session,
    kek: &Kek,
    not_after: Option<u64>,
) -> Result<Option<Option<Date>>, Failure> {
    let day = check_not_after(not_after)?;
    if keys::not_after(session, kek.handle) == day.and_then(|day| dates::end_of(&day)) {
        return Ok(None);
    }
    check_keeps_days(session, day)?;
    Ok(Some(day))
}

/// Refuses a token that takes a day and does not tell it again, as SoftHSM does. Told by a
/// key of this session alone, so that nothing unreadable comes to stay on the token.
pub(super) fn check_keeps_days(session: &Session, day: Option<Date>) -> Result<(), Failure> {
    let Some(day) = day else { return Ok(()) };
    let template = [
        Attribute::Token(false),
        Attribute::Private(true),
        Attribute::Sensitive(true),
        Attribute::Extractable(false),
        Attribute::ValueLen(32.into()),
        Attribute::EndDate(day),
    ];
    let probe = match session.generate_key(&Mechanism::AesKeyGen, &template) {
        Ok(probe) => probe,
        Err(error) if is_refused(&error) => return Err(no_end().with_source(error)),
        Err(error) => return Err(error.into()),
    };
    let told = keys::not_after(session, probe);
    session.destroy_object(probe)?;
    if told == dates::end_of(&day) { Ok(()) } else { Err(no_end()) }
}

/// Lets an AES-GCM key be used as its state permits.
fn set_use(session: &Session, kek: &Kek, state: KeyState) -> Result<(), Failure> {
    let key = &kek.attributes;
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
fn destroy(session: &Session, kek: &Kek) -> Result<(), Failure> {
    let keys = [Some(kek.handle), kek.public];
    keys.into_iter().flatten().try_for_each(|handle| match session.destroy_object(handle) {
        Err(error) if is_refused(&error) => {
            let message = "the token does not let this key be destroyed: use the token's own tool";
            Err(Failure::new(ProviderErrorKind::Unsupported, message).with_source(error))
        }
        outcome => outcome.map_err(Failure::from),
    })
}

pub(super) fn no_end() -> Failure {
    let message = "the token does not keep the end of this key's cryptoperiod (CKA_END_DATE): rotate the key when it \
                   is due";
    Failure::new(ProviderErrorKind::Unsupported, message)
}

fn fixed() -> Failure {
    let message = "the token does not let CKA_ENCRYPT and CKA_DECRYPT of this key be changed: use the token's own \
                   tool, or rotate the key and destroy old versions";
    Failure::new(ProviderErrorKind::Unsupported, message)
}

/// Whether the token does not do such a thing at all.
pub(super) fn is_refused(error: &Error) -> bool {
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
