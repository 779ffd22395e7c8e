//! What a module has: slots, tokens and mechanisms.

use std::path::Path;

use cryptoki::{
    context::Pkcs11,
    error::{Error, RvError},
    slot::Slot,
};

use crate::{
    algorithm::{Algorithm, Capabilities},
    error::{ModuleError, words_of},
    module,
};

/// A slot of a module, and the token in it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SlotDescription {
    /// The slot's number, which may change with each start of the module.
    pub slot: u64,
    /// What the module calls it.
    pub description: String,
    /// The token in it, if there is one and it tells of itself.
    pub token: Option<TokenDescription>,
    /// Why a token in it does not tell of itself: another process may be writing it.
    pub unreadable: Option<String>,
}

/// What a token tells of itself without a login.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TokenDescription {
    /// Its label, by which a key URI names it: `token=`.
    pub label: String,
    /// Its serial number: `serial=`.
    pub serial: String,
    /// Its manufacturer: `manufacturer=`.
    pub manufacturer: String,
    /// Its model: `model=`.
    pub model: String,
    /// Whether it was initialised; others hold no keys.
    pub initialized: bool,
    /// Whether it wants a login before it shows keys.
    pub login_required: bool,
    /// Whether it asks for the PIN by itself.
    pub protected_path: bool,
    /// Whether a user PIN was set.
    pub pin_set: bool,
    /// Whether the user PIN is locked.
    pub pin_locked: bool,
    /// Whether a wrong user PIN was tried since the last login, so that no stored
    /// one is tried.
    pub pin_count_low: bool,
    /// Whether the next wrong user PIN locks it.
    pub pin_final_try: bool,
    /// What this library can wrap with on it, in the order of preference:
    /// names of the format's registry. Whether a key permits it, and whether
    /// the token does RSA-OAEP with SHA-256, shows only when a key is used.
    pub wrap_algorithms: Vec<&'static str>,
    /// Every mechanism of it that this library can name.
    pub mechanisms: Vec<MechanismDescription>,
}

/// A mechanism of a token.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct MechanismDescription {
    /// Its name in PKCS#11: `CKM_AES_GCM`.
    pub name: String,
    /// The smallest key, in the mechanism's own unit: bytes or bits.
    pub min_key_size: usize,
    /// The largest key.
    pub max_key_size: usize,
    /// What it can do: some of `encrypt`, `decrypt`, `wrap`, `unwrap`,
    /// `generate`, `message-encrypt`.
    pub uses: Vec<&'static str>,
}

/// Every slot of the module at an absolute path, with tokens and mechanisms.
/// Needs no PIN. Loads the module and blocks the calling thread. A token that does not answer
/// is told of in its slot.
///
/// # Errors
///
/// [`ModuleError`] when the module cannot be loaded or does not answer.
pub fn describe_slots(path: impl AsRef<Path>) -> Result<Vec<SlotDescription>, ModuleError> {
    let path = path.as_ref();
    let module = module::load(path)?;
    describe(&module).map_err(|error| ModuleError::Describe { path: path.into(), error: Box::new(error) })
}

fn describe(module: &Pkcs11) -> Result<Vec<SlotDescription>, Error> {
    let mut slots = Vec::new();
    for slot in module.get_all_slots()? {
        let info = module.get_slot_info(slot)?;
        let (token, unreadable) = match info.token_present().then(|| describe_token(module, slot)) {
            Some(Ok(token)) => (Some(token), None),
            Some(Err(Error::Pkcs11(RvError::TokenNotPresent | RvError::TokenNotRecognized, _))) | None => {
                (None, None)
            }
            // It is in nobody's way who wants to know of the others.
            Some(Err(error)) => (None, Some(words_of(&error))),
        };
        let description = info.slot_description().to_owned();
        slots.push(SlotDescription { slot: slot.id(), description, token, unreadable });
    }
    Ok(slots)
}

fn describe_token(module: &Pkcs11, slot: Slot) -> Result<TokenDescription, Error> {
    let token = module.get_token_info(slot)?;
    let mut mechanisms = Vec::new();
    // What is not initialised yet may not answer these questions.
    let can = if token.token_initialized() { Some(Capabilities::of(module, slot)?) } else { None };
    let offered = if can.is_some() { module.get_mechanism_list(slot)? } else { Vec::new() };
    for mechanism in offered {
        // A token may list a mechanism that it does not describe.
        let Ok(info) = module.get_mechanism_info(slot, mechanism) else { continue };
        let uses = [
            ("encrypt", info.encrypt()),
            ("decrypt", info.decrypt()),
            ("wrap", info.wrap()),
            ("unwrap", info.unwrap()),
            ("generate", info.generate() || info.generate_key_pair()),
            ("message-encrypt", info.message_encrypt()),
        ];
        mechanisms.push(MechanismDescription {
            name: mechanism.to_string(),
            min_key_size: info.min_key_size(),
            max_key_size: info.max_key_size(),
            uses: uses.into_iter().filter(|(_, can)| *can).map(|(name, _)| name).collect(),
        });
    }
    Ok(TokenDescription {
        label: token.label().to_owned(),
        serial: token.serial_number().to_owned(),
        manufacturer: token.manufacturer_id().to_owned(),
        model: token.model().to_owned(),
        initialized: token.token_initialized(),
        login_required: token.login_required(),
        protected_path: token.protected_authentication_path(),
        pin_set: token.user_pin_initialized(),
        pin_locked: token.user_pin_locked(),
        pin_count_low: token.user_pin_count_low(),
        pin_final_try: token.user_pin_final_try(),
        wrap_algorithms: can.into_iter().flat_map(Capabilities::algorithms).map(Algorithm::name).collect(),
        mechanisms,
    })
}
