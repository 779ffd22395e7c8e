//! `envctl keys usage`: what each key version still opens.

use std::path::PathBuf;

use envelope_rotation::{Files, Usage};

use crate::{
    cli::Global,
    error::{CliError, Result},
    report,
    runtime::block_on,
};

/// Counts; what cannot be read is told, and its exit code is that of the call.
pub(crate) fn run(global: &Global, paths: &[PathBuf]) -> Result<()> {
    let mut failed = Vec::new();
    let usage = block_on(Usage::of(&Files::new(paths.to_vec()), |item, error| {
        let error = CliError::from(error);
        let error = match item {
            Some(item) => error.about(item),
            None => error,
        };
        error.report(global.json);
        failed.push(error.kind());
    }));
    let value = serde_json::to_value(&usage).map_err(|error| CliError::other(error.to_string()))?;
    report::print(global.json, &value, &usage.to_string())?;
    match failed.first() {
        None => Ok(()),
        Some(kind) => Err(CliError::new(
            *kind,
            format!("{} items could not be read, and are not counted", failed.len()),
        )),
    }
}
