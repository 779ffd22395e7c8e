//! `envctl pkcs11 …`: what a module offers.

use std::fmt::Write as _;

use envelope_pkcs11::{MechanismDescription, SlotDescription, TokenDescription, describe_slots};
use envelope_sdk::printable;
use serde_json::{Value, json};

use crate::{
    cli::{Global, Pkcs11},
    config::Config,
    error::Result,
    report::{self, safe},
};

pub(crate) fn run(global: &Global, command: &Pkcs11) -> Result<()> {
    let Pkcs11::Slots { mechanisms } = command;
    let module = Config::load(global)?.pkcs11().module()?;
    let slots = describe_slots(&module)?;
    let mut text = format!("{}\n", printable::path(&module));
    for slot in &slots {
        let _ = writeln!(text, "slot {}: {}", slot.slot, safe(&slot.description));
        match &slot.token {
            None => text.push_str("  no token\n"),
            Some(token) => text.push_str(&token_text(token, *mechanisms)),
        }
    }
    if slots.is_empty() {
        text.push_str("no slots\n");
    }
    let value = json!({ "module": module.to_string_lossy(), "slots": slots.iter().map(slot_json).collect::<Vec<_>>() });
    report::print(global.json, &value, &text)
}

fn token_text(token: &TokenDescription, mechanisms: bool) -> String {
    if !token.initialized {
        return "  token: not initialised\n".into();
    }
    let mut text = format!("  token: {}\n", safe(&token.label));
    let (serial, manufacturer, model) = (safe(&token.serial), safe(&token.manufacturer), safe(&token.model));
    let _ = writeln!(text, "  serial {serial}, manufacturer {manufacturer}, model {model}");
    let _ = writeln!(text, "  {}", pin_text(token));
    let wraps = match token.wrap_algorithms.as_slice() {
        [] => "nothing that envctl uses".into(),
        algorithms => algorithms.join(", "),
    };
    let _ = writeln!(text, "  wraps by: {wraps}");
    for mechanism in token.mechanisms.iter().filter(|_| mechanisms) {
        let MechanismDescription { name, min_key_size, max_key_size, uses, .. } = mechanism;
        let _ = writeln!(text, "    {name}, keys of {min_key_size} to {max_key_size}: {}", uses.join(" "));
    }
    text
}

fn pin_text(token: &TokenDescription) -> &'static str {
    if !token.login_required {
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
    }
}

fn slot_json(slot: &SlotDescription) -> Value {
    json!({
        "slot": slot.slot,
        "description": slot.description,
        "token": slot.token.as_ref().map(token_json),
    })
}

fn token_json(token: &TokenDescription) -> Value {
    let mechanism = |mechanism: &MechanismDescription| {
        json!({
            "name": mechanism.name,
            "min_key_size": mechanism.min_key_size,
            "max_key_size": mechanism.max_key_size,
            "uses": mechanism.uses,
        })
    };
    json!({
        "label": token.label,
        "serial": token.serial,
        "manufacturer": token.manufacturer,
        "model": token.model,
        "initialized": token.initialized,
        "login_required": token.login_required,
        "protected_path": token.protected_path,
        "pin_set": token.pin_set,
        "pin_locked": token.pin_locked,
        "pin_count_low": token.pin_count_low,
        "pin_final_try": token.pin_final_try,
        "wrap_algorithms": token.wrap_algorithms,
        "mechanisms": token.mechanisms.iter().map(mechanism).collect::<Vec<_>>(),
    })
}
