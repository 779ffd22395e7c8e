//! What is in a log, for people. Nothing is verified here: [`Verifier`](crate::Verifier) does that.

use std::{
    io::{self, BufRead, BufReader, Read},
    path::Path,
};

use crate::{
    Damage, Outcome, Record, VerifyError,
    record::MAX_LINE,
    segments::{OnDisk, Segments},
};

/// Which records are wanted: those that all that is set fits.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Filter {
    /// The key URI: all of it, or with `*` for any characters.
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
            Some(pattern) => value.is_some_and(|value| is_like(pattern, value)),
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
    for number in snapshot.closed {
        let name = segments.path(Some(number));
        let reader = segments.closed(number).map_err(cannot(&name))?;
        read_file(reader, &name, false, filter, &mut each)?;
    }
    match snapshot.current {
        Some(reader) => read_file(reader, path, true, filter, &mut each),
        None => Err(cannot(path)(io::ErrorKind::NotFound.into()).into()),
    }
}

fn read_file<E: From<VerifyError>>(
    reader: impl Read,
    path: &Path,
    is_last: bool,
    filter: &Filter,
    each: &mut impl FnMut(&Record, &str) -> Result<(), E>,
) -> Result<(), E> {
    let mut reader = BufReader::with_capacity(256 * 1024, reader);
    let mut line = Vec::new();
    for number in 1.. {
        line.clear();
        let read = (&mut reader).take(MAX_LINE as u64).read_until(b'\n', &mut line);
        if read.map_err(|source| VerifyError::Io { path: path.to_owned(), source })? == 0 {
            break;
        }
        let text =
            line.strip_suffix(b"\n").and_then(|line| std::str::from_utf8(line).ok()).unwrap_or_default();
        match Record::parse(text.as_bytes()) {
            Ok(record) if filter.fits(&record) => each(&record, text)?,
            Ok(_) => {}
            Err(_) if is_last && crate::follow::are_remains(&line) => break,
            Err(error) => {
                let damage = Damage { file: path.to_owned(), line: number, fault: error.into() };
                return Err(VerifyError::from(damage).into());
            }
        }
    }
    Ok(())
}

/// Whether `pattern`, with `*` for any characters, fits all of `text`.
fn is_like(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else { return false };
    let mut parts = parts.peekable();
    if parts.peek().is_none() {
        return rest.is_empty();
    }
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::is_like;

    #[test]
    fn a_pattern_fits_all_of_a_text_or_none() {
        for (pattern, text) in
            [("local:main", "local:main"), ("local:*", "local:main"), ("*", ""), ("a*b*c", "aXbYbc")]
        {
            assert!(is_like(pattern, text), "{pattern} {text}");
        }
        for (pattern, text) in
            [("local", "local:main"), ("*local", "local:main"), ("a*a", "a"), ("a*b*c", "acb")]
        {
            assert!(!is_like(pattern, text), "{pattern} {text}");
        }
    }
}
