#![doc = include_str!("../README.md")]

#[cfg(not(unix))]
compile_error!("envelope-pkcs11 checks the permissions of modules as Unix has them");

mod admin;
mod algorithm;
mod apart;
mod attributes;
mod config;
mod dates;
mod error;
mod keys;
mod module;
mod names;
mod pin;
mod pool;
mod provider;
mod refused;
mod scheme;
mod selector;
mod session;
mod settings;
mod slots;
mod token;
mod turn;
mod weakness;
mod wrap;

pub use attributes::KeyAttributes;
pub use config::Pkcs11Config;
pub use error::ModuleError;
pub use pin::{Pin, PinError, PinSource, PinTries};
pub use provider::Pkcs11Provider;
pub use refused::RefusedPins;
pub use scheme::Pkcs11Scheme;
pub use selector::TokenSelector;
pub use settings::{Pkcs11Accepted, Pkcs11Settings, Pkcs11TokenSettings};
pub use slots::{MechanismDescription, SlotDescription, TokenDescription, describe_slots};
pub use weakness::Weakness;
