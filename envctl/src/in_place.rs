//! What envctl says of headers that were cut off, and of their journals.

use std::{fs::File, os::unix::fs::MetadataExt, path::Path};

use envelope_files::{JournalBeside, journal_beside};
use envelope_sdk::printable;

use crate::error::{CliError, ErrorKind};

/// True when `file`, opened at `path`, has a journal that could be believed.
pub(crate) fn has_journal(file: &File, path: &Path) -> bool {
    journal_beside(file, path).is_some_and(|beside| beside.journal.is_some())
}

/// Adds to an error of a header that does not open what a rewrap may have to do
/// with it. Streams have no journal.
pub(crate) fn explain(error: CliError, file: Option<&File>, path: Option<&Path>) -> CliError {
    let Some((file, path)) = file.zip(path).filter(|_| error.kind() == ErrorKind::NotAuthentic) else {
        return error;
    };
    match journal_beside(file, path) {
        Some(JournalBeside { path, is_of_other_version: true, .. }) => error.hint_instead(format!(
            "{} was left by another version of envctl: run `envctl rewrap` of that one, and then this one again",
            printable::path(&path)
        )),
        Some(JournalBeside { path, journal: Some(journal), .. }) if journal.is_torn_in(file) => {
            error.hint_instead(format!(
                "a rewrap was interrupted and left {}: `envctl rewrap` finishes it, with a key from before or one that it was for",
                printable::path(&path)
            ))
        }
        Some(JournalBeside { path, journal: None, .. }) => error.hint_instead(format!(
            "{} is not believed: it is no whole journal of the owner of the file, or others may write it",
            printable::path(&path)
        )),
        None if file.metadata().is_ok_and(|metadata| metadata.nlink() > 1) => error.hint_instead(
            "the file has more than one name (hard links): if a rewrap was interrupted, its journal stands \
             beside the name that the rewrap was given"
                .into(),
        ),
        _ => error,
    }
}
