#![doc = include_str!("../README.md")]

#[cfg(not(unix))]
compile_error!("envelope-pkcs11 checks the permissions of modules as Unix has them");

mod admin;
mod config;
mod error;
mod keys;
mod mechanism;
mod module;
mod names;
mod pin;
mod pool;
mod provider;
mod refused;
mod session;
mod token;
mod weakness;

pub use config::{Pkcs11Config, TokenSelector};
pub use error::ModuleError;
pub use keys::KeyAttributes;
pub use pin::{Pin, PinError, PinSource, PinTries};
pub use provider::Pkcs11Provider;
pub use refused::RefusedPins;
pub use token::{MechanismDescription, SlotDescription, TokenDescription, describe_slots};
pub use weakness::Weakness;
