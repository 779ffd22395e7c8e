//! What a module has, as facts.

use std::path::Path;

use envelope_sdk::{
    ProviderError,
    admin::{Detail, Details},
};

use crate::slots::{MechanismDescription, SlotDescription, TokenDescription, describe_slots};

/// Loads the module and asks it, which blocks.
pub(super) fn tell(module: &Path) -> Result<Details, ProviderError> {
    let slots = describe_slots(module)?;
    Ok(Details::new()
        .with("module", module.to_string_lossy().into_owned())
        .with("slots", slots.into_iter().map(of_slot).collect::<Detail>()))
}

fn of_slot(slot: SlotDescription) -> Details {
    Details::new()
        .with("slot", slot.slot)
        .with("description", slot.description)
        .with("token", slot.token.map(of_token))
        .with("unreadable", slot.unreadable)
}

fn of_token(token: TokenDescription) -> Details {
    let pin = of_pin(&token);
    Details::new()
        .with("label", token.label)
        .with("serial", token.serial)
        .with("manufacturer", token.manufacturer)
        .with("model", token.model)
        .with("initialized", token.initialized)
        .with("login_required", token.login_required)
        .with("protected_path", token.protected_path)
        .with("pin_set", token.pin_set)
        .with("pin_locked", token.pin_locked)
        .with("pin_count_low", token.pin_count_low)
        .with("pin_final_try", token.pin_final_try)
        .with("pin", pin)
        .with("wrap_algorithms", token.wrap_algorithms.into_iter().collect::<Detail>())
        .with("mechanisms", token.mechanisms.into_iter().map(of_mechanism).collect::<Detail>())
}

/// How it stands with the PIN, in words.
fn of_pin(token: &TokenDescription) -> Option<&'static str> {
    if !token.initialized {
        return None;
    }
    Some(if !token.login_required {
        "needs no PIN"
    } else if !token.pin_set {
        "needs a PIN, and none is set yet"
    } else if token.pin_locked {
        "the PIN is locked"
    } else if token.pin_final_try {
        "needs a PIN: the next wrong one locks it, and no stored one is tried"
    } else if token.pin_count_low {
        "needs a PIN: few tries are left, and no stored one is tried"
    } else if token.protected_path {
        "asks for the PIN by itself"
    } else {
        "needs a PIN"
    })
}

fn of_mechanism(mechanism: MechanismDescription) -> Details {
    let size = |size: usize| u64::try_from(size).unwrap_or(u64::MAX);
    Details::new()
        .with("name", mechanism.name)
        .with("min_key_size", size(mechanism.min_key_size))
        .with("max_key_size", size(mechanism.max_key_size))
        .with("uses", mechanism.uses.into_iter().collect::<Detail>())
}
