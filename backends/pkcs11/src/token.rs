//! Finding the token that is meant, and telling it from others.

use cryptoki::{
    context::Pkcs11,
    error::{Error, RvError},
    slot::{Slot, TokenInfo},
};
use envelope_sdk::ProviderErrorKind;

use crate::{
    error::Failure,
    selector::{TokenSelector, quoted},
};

/// The slot of the configured token. Exactly one must fit.
pub(crate) fn find(module: &Pkcs11, wanted: &TokenSelector) -> Result<(Slot, TokenInfo), Failure> {
    let no_list = |error| Failure::from(error).while_doing("no list of tokens");
    let Tokens { tokens, unreadable } = initialized_tokens(module, wanted).map_err(no_list)?;
    let (fitting, others): (Vec<_>, Vec<_>) = tokens.into_iter().partition(|(_, token)| wanted.fits(token));
    let mut fitting = fitting.into_iter();
    match (fitting.next(), fitting.next()) {
        (Some(found), None) => Ok(found),
        (Some(_), Some(_)) => Err(Failure::new(
            ProviderErrorKind::Invalid,
            format!("several tokens have {wanted}: name one by its serial number"),
        )),
        (None, _) => {
            if let Some(error) = unreadable {
                return Err(no_list(error));
            }
            let there: Vec<String> =
                others.iter().map(|(_, token)| quoted(token.label().as_bytes())).collect();
            let there = if there.is_empty() { "none".into() } else { there.join(", ") };
            Err(Failure::new(
                ProviderErrorKind::NotFound,
                format!("the module has no token with {wanted}; tokens there: {there}"),
            ))
        }
    }
}

/// Whether `wanted` means the token in this slot, and no other that is there.
pub(crate) fn is_the_one(module: &Pkcs11, wanted: &TokenSelector, slot: Slot) -> Result<bool, Failure> {
    let mut fitting = initialized_tokens(module, wanted)?.tokens;
    fitting.retain(|(_, token)| wanted.fits(token));
    if !fitting.iter().any(|(fits, _)| *fits == slot) {
        return Ok(false);
    }
    if fitting.len() == 1 {
        return Ok(true);
    }
    let message = format!(
        "the PIN is for the token with {wanted}, and several tokens have that, so none gets it: name the token \
         by its serial number"
    );
    Err(Failure::new(ProviderErrorKind::AccessDenied, message))
}

/// Whether two selectors mean one token: they say the same, or each fits one token alone, and
/// that is the same.
pub(crate) fn is_same(module: &Pkcs11, one: &TokenSelector, other: &TokenSelector) -> Result<bool, Failure> {
    if one == other {
        return Ok(true);
    }
    let slot = |wanted: &TokenSelector| -> Result<Option<Slot>, Failure> {
        let mut fitting = initialized_tokens(module, wanted)?.tokens;
        fitting.retain(|(_, token)| wanted.fits(token));
        Ok(if let [(slot, _)] = fitting.as_slice() { Some(*slot) } else { None })
    };
    let slot_of_one = slot(one)?;
    Ok(slot_of_one.is_some() && slot_of_one == slot(other)?)
}

/// Those that can be used, and why another one does not tell who it is.
struct Tokens {
    tokens: Vec<(Slot, TokenInfo)>,
    unreadable: Option<Error>,
}

/// A token that does not tell who it is (SoftHSM's, while another process writes it) is in nobody's way but
/// of who wants the only one there is.
fn initialized_tokens(module: &Pkcs11, wanted: &TokenSelector) -> Result<Tokens, Error> {
    let (mut tokens, mut unreadable) = (Vec::new(), None);
    for slot in module.get_slots_with_token()? {
        match module.get_token_info(slot) {
            Ok(token) if token.token_initialized() => tokens.push((slot, token)),
            Ok(_) => {}
            // Taken out since the list was made, or a card of another kind.
            Err(Error::Pkcs11(
                RvError::TokenNotPresent | RvError::TokenNotRecognized | RvError::SlotIdInvalid,
                _,
            )) => {}
            Err(error) if *wanted == TokenSelector::only() => return Err(error),
            Err(error) => unreadable = Some(error),
        }
    }
    Ok(Tokens { tokens, unreadable })
}
