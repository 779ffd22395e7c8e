//! What a policy decides, and that everything asks it.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::cast_possible_truncation,
    reason = "helpers of tests are tests too, and a seed is printed"
)]

mod conformance;
mod documents;
mod files;
mod naive;
mod uses;
mod verbs;

use std::sync::Arc;

use envelope_policy::{Actor, Guard, Policy};
use envelope_sdk::{EncryptionContext, FullContext, KeyUri};

fn policy(rules: &str) -> Arc<Policy> {
    Arc::new(Policy::parse(&format!("version = 1\n{rules}")).unwrap())
}

fn guard(actor: &str, rules: &str) -> Guard {
    Guard::new(policy(rules), Actor::parse(actor).unwrap())
}

fn key(uri: &str) -> KeyUri {
    KeyUri::parse(uri).unwrap()
}

fn context(entries: &[(&str, &str)]) -> FullContext {
    entries
        .iter()
        .fold(EncryptionContext::new(), |all, (name, value)| all.with(*name, *value))
        .full()
        .unwrap()
}
