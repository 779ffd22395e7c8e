//! The Python package `envelope-sdk`, as far as it is Rust: the module `envelope_sdk._envelope_sdk`, which the Python sources
//! beside it dress.
//!
//! What waits for a key store, reads files or computes does so detached from the interpreter, and looks for signals meanwhile.
//! No key ever becomes a Python object.

#![allow(clippy::needless_pass_by_value, reason = "arguments of Python are owned")]

mod aside;
mod column;
mod context;
mod data;
mod data_key;
mod envelope;
mod failure;
mod files;
mod header;
mod kind;
mod objects;
mod providers;
mod ranged;
mod rewrap;
mod rotation;
mod run;
mod runtime;
mod secrets;
mod start;
mod stop;
mod task;

use pyo3::prelude::*;

/// What the Python sources stand on.
#[pymodule]
mod _envelope_sdk {
    #[pymodule_export]
    use crate::{
        data_key::DataKey,
        envelope::Envelope,
        header::{inspect, inspect_file},
        providers::Providers,
        ranged::RangedReader,
        rotation::{Runner, items},
        runtime::{after_fork, before_fork},
        task::Task,
    };

    #[pymodule_export]
    const RECORD_MAX_LEN: usize = envelope_sdk::RECORD_MAX_LEN;
    #[pymodule_export]
    const RECORD_OVERHEAD: usize = envelope_sdk::RECORD_OVERHEAD;
    #[pymodule_export]
    const VERSION: &str = env!("CARGO_PKG_VERSION");
}
