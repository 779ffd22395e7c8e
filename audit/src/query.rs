//! What is in a log, for people. Nothing is verified here: [`Verifier`](crate::Verifier) does that.

use std::{
    io::{self, BufReader, Read},
    path::Path,
};

use envelope_sdk::pattern;

use crate::{
    Damage, Outcome, Record, VerifyError,
    follow::{PIECE, next_line, remains},
    head::Head,
    segments::{OnDisk, Segments},
};

/// Which records are wanted: those that all that is set fits.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Filter {
    /// The key URI: all of it, or with `*` for any characters ([`pattern`]).
    pub key: Option<String>,
    /// The actor, in the same way.
    pub actor: Option<String>,
    /// The operation, in the same way.
    pub operation: Option<String>,
    /// Not before: milliseconds since 1970.
    pub since: Option<u64>,
    /// Before: milliseconds since 1970.
    pub until: Option<u64>,
    /// What came of it.
    pub outcome: Option<Outcome>,
    /// The envelope id.
    pub envelope: Option<[u8; 16]>,
    /// The request.
    pub request: Option<String>,
}

impl Filter {
    /// Everything.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether `record` is wanted.
    #[must_use]
    pub fn fits(&self, record: &Record) -> bool {
        let entry = &record.entry;
        let fits = |pattern: &Option<String>, value: Option<&str>| match pattern {
            None => true,
            Some(pattern) => value.is_some_and(|value| pattern::matches(pattern, value)),
        };
        fits(&self.key, entry.key.as_deref())
            && fits(&self.actor, entry.actor.as_deref())
            && fits(&self.operation, Some(&entry.operation))
            && fits(&self.request, entry.request.as_deref())
            && self.since.is_none_or(|since| record.time >= since)
            && self.until.is_none_or(|until| record.time < until)
            && self.outcome.is_none_or(|outcome| entry.outcome == outcome)
            && self.envelope.is_none_or(|id| entry.envelope == Some(id))
    }
}

/// Hands the records of the log at `path` that `filter` wants to `each`, the oldest first. Lines at the very end that are no
/// records are left out: a crash may have left them.
///
/// # Errors
///
/// [`VerifyError`] for the first line that is no record but for those, and for what cannot be read; what `each` returns.
pub fn read<E: From<VerifyError>>(
    path: &Path,
    filter: &Filter,
    mut each: impl FnMut(&Record, &str) -> Result<(), E>,
) -> Result<(), E> {
    let mut segments = OnDisk::new(path);
    let cannot = |path: &Path| {
        let path = path.to_owned();
        move |source| VerifyError::Io { path, source }
    };
    let snapshot = segments.snapshot().map_err(cannot(path))?;
    for &number in &snapshot.closed {
        let name = segments.path(Some(number));
        let reader = segments.closed(number).map_err(cannot(&name))?;
        read_file(reader, &name, false, filter, &mut each)?;
    }
    match snapshot.current {
        Some(reader) => read_file(reader, path, true, filter, &mut each),
        None => {
            let head = snapshot.head.and_then(|head| Head::parse(&head, None).ok());
            // Closed, and the next one not made yet.
            if head.is_some_and(|head| snapshot.closed.contains(&head.segment)) {
                return Ok(());
            }
            Err(cannot(path)(io::ErrorKind::NotFound.into()).into())
        }
    }
}

fn read_file<E: From<VerifyError>>(
    reader: impl Read,
    path: &Path,
    is_last: bool,
    filter: &Filter,
    each: &mut impl FnMut(&Record, &str) -> Result<(), E>,
) -> Result<(), E> {
    let cannot = |source| VerifyError::Io { path: path.to_owned(), source };
    let mut reader = BufReader::with_capacity(PIECE, reader);
    let mut line = Vec::new();
    for number in 1.. {
        next_line(&mut reader, &mut line).map_err(cannot)?;
        if line.is_empty() {
            break;
        }
        let text =
            line.strip_suffix(b"\n").and_then(|line| std::str::from_utf8(line).ok()).unwrap_or_default();
        match Record::parse(text.as_bytes()) {
            Ok(record) if filter.fits(&record) => each(&record, text)?,
            Ok(_) => {}
            Err(error) => {
                if is_last && remains(&line, &mut reader).map_err(cannot)?.is_some() {
                    break;
                }
                let damage = Damage { file: path.to_owned(), line: number, fault: error.into() };
                return Err(VerifyError::from(damage).into());
            }
        }
    }
    Ok(())
}
