//! `envctl keys usage`: what each key version still opens.

use std::{
    io::{self, BufWriter},
    path::{Path, PathBuf},
};

use envelope_files::{Access, Existing, FileError, NewFile};
use envelope_rotation::{Usage, UsageWriter};
use envelope_sdk::printable;

use super::{overlap, rotate::first_of};
use crate::{
    cli::Global,
    error::{CliError, Result},
    providers::check_inspect,
    report::{self, now},
    runtime::block_on,
    sources,
};

/// Counts; what cannot be read is told, and its exit code is that of the call.
pub(crate) fn run(global: &Global, paths: &[PathBuf], report_file: Option<&Path>) -> Result<()> {
    check_inspect(global, &[])?;
    overlap::warn(global, paths);
    let source = sources::open(paths, false)?;
    let mut writer = report_file.map(|path| begin(path, paths)).transpose()?;
    let (mut failed, mut written) = (Vec::new(), Ok(()));
    let found = |item: &_, header: &_| {
        if let Some(writer) = &mut writer
            && written.is_ok()
        {
            written = writer.add(item, header);
        }
    };
    let usage = block_on(Usage::each(&*source, found, |item, error| {
        let error = CliError::from(error);
        let error = match item {
            Some(item) => error.about(item),
            None => error,
        };
        error.report(global.json);
        failed.push(error.kind());
    }));
    let written = match (writer, report_file) {
        (Some(writer), Some(path)) => end(writer, written, failed.len() as u64, path),
        _ => Ok(()),
    };
    let value = serde_json::to_value(&usage).map_err(|error| CliError::other(error.to_string()))?;
    let said = report::print(global.json, &value, &usage.to_string());
    let verdict = match failed.first() {
        None => Ok(()),
        Some(kind) => Err(CliError::new(
            *kind,
            format!("{} items could not be read, and are not counted", failed.len()),
        )),
    };
    first_of([verdict, written, said])
}

/// Gives the report its name, if all of it could be written.
fn end(
    writer: UsageWriter<BufWriter<NewFile>>,
    written: io::Result<()>,
    not_read: u64,
    path: &Path,
) -> Result<()> {
    let cannot = |error: io::Error| CliError::io("write", path, &error);
    written.map_err(cannot)?;
    let file = writer.end(not_read).map_err(cannot)?;
    drop(file.into_inner().map_err(|error| cannot(error.into_error()))?.commit()?);
    Ok(())
}

fn begin(path: &Path, paths: &[PathBuf]) -> Result<UsageWriter<BufWriter<NewFile>>> {
    let file = NewFile::create(path, Existing::Keep, Access::Public).map_err(|error| {
        let is_there = matches!(error, FileError::Exists { .. });
        let error = CliError::from(error);
        if is_there { error.hint_instead(NOT_ADDED.into()) } else { error }
    })?;
    let file = BufWriter::new(file);
    let paths: Vec<_> = paths.iter().map(|path| printable::path(path)).collect();
    UsageWriter::begin(file, &report::time(now()), &paths)
        .map_err(|error| CliError::io("write", path, &error))
}

const NOT_ADDED: &str =
    "each run has a report of its own, and `keys destroy` takes several: name another file";
