//! Keeping secrets out of core dumps and away from debuggers.

use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};

use crate::error::{CliError, Result};

/// Turns core dumps off.
pub(crate) fn disable_core_dumps() -> Result<()> {
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })
        .map_err(|error| CliError::other(format!("cannot turn core dumps off: {error}")))
}

/// Makes the process not dumpable, so that no other process of the same user
/// may attach to it or read its memory. Called before the first secret is read,
/// by every run that may come to hold one.
pub(crate) fn before_secrets() -> Result<()> {
    set_dumpable_behavior(DumpableBehavior::NotDumpable)
        .map_err(|error| CliError::other(format!("cannot make the process undumpable: {error}")))
}
