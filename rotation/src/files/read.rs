//! The header of a file.

use std::{
    fs::{self, File},
    io::{self, BufReader, Read},
    os::unix::fs::FileExt,
    path::Path,
};

use envelope_files::{Journal, LockedFile, journal_beside, read_settled};
use envelope_sdk::{
    FormatError, Header, Kind,
    crypto::cobblestone::PREFIX_LEN,
    format::{
        PREAMBLE_LEN, Preamble,
        armor::{self, ArmorReader},
    },
    stream,
};

use super::{
    of_armor, of_file, of_stream,
    pair::{self, Beside},
};
use crate::{SourceError, Stored};

/// Reads header and beginning of the payload, mostly in one call to the system.
pub(super) fn read(path: &Path) -> Result<Stored, SourceError> {
    // Found, it is passed over; a list or a shell names it all the same.
    if !matches!(pair::beside(path), Beside::Nothing) {
        return Err(SourceError::Unsupported(
            "it belongs to the reencryption of an envelope beside it, which a job over that envelope finishes",
        ));
    }
    let file = LockedFile::open_unlocked(path).map_err(of_file)?;
    // A job may be at it. What does not look like an envelope at all mostly is none.
    let may_be_half = |error: &SourceError| match error {
        SourceError::NotAnEnvelope => has_rewrap_journal(path),
        error => matches!(error, SourceError::Format(_) | SourceError::CutOff),
    };
    let read = read_settled(&file, path, || read_whole(&file, path), may_be_half).map_err(of_file)?;
    let mut stored = match read {
        Err(SourceError::Format(_) | SourceError::NotAnEnvelope) if is_cut_off(&file, path) => {
            return Err(SourceError::CutOff);
        }
        // A header whose first sector was lost does not look like one.
        Err(SourceError::NotAnEnvelope) if has_rewrap_journal(path) => {
            return Err(FormatError::NotAnEnvelope.into());
        }
        read => read?,
    };
    if stored.header.kind() == Kind::Detached {
        // Where a payload cannot be read, a rewrap does without.
        stored.payload = pair::read_prefix(path).ok();
    }
    stored.modified = file.metadata().and_then(|metadata| metadata.modified()).ok();
    Ok(stored)
}

/// The front of a file, unless a rewrap left half a header that looks like a whole one, or the file is one of two of which
/// the other was replaced already.
fn read_whole(file: &File, path: &Path) -> Result<Stored, SourceError> {
    let stored = read_front(file)?;
    match stored.header.kind() {
        Kind::Detached if pair::journal(path, file).is_some() => Err(SourceError::CutOff),
        // Key stores would say anything of its wraps: that there is no such version, or that it is out of use by now.
        Kind::Attached if is_cut_off(file, path) => Err(SourceError::CutOff),
        _ => Ok(stored),
    }
}

fn read_front(file: &File) -> Result<Stored, SourceError> {
    let mut buffer = [0; USUAL_HEADER + PREFIX_LEN];
    let filled = fill(file, &mut buffer)?;
    let front = &buffer[..filled];
    if front.is_empty() {
        return Err(SourceError::NotAnEnvelope);
    }
    if armor::is_armored(front) {
        return read_armored(file);
    }
    let longer;
    let front = match front.first_chunk::<PREAMBLE_LEN>().map(Preamble::parse).transpose() {
        Ok(Some(preamble)) if preamble.header_len() > USUAL_HEADER => {
            let mut bytes = vec![0; preamble.header_len() + PREFIX_LEN];
            let filled = fill(file, &mut bytes)?;
            bytes.truncate(filled);
            longer = bytes;
            longer.as_slice()
        }
        _ => front,
    };
    let (header, len) = Header::parse(front).map_err(|error| match error {
        FormatError::NotAnEnvelope => SourceError::NotAnEnvelope,
        error => error.into(),
    })?;
    let payload = if header.kind() == Kind::Attached { front[len..].first_chunk().copied() } else { None };
    Ok(Stored { header, payload, is_armored: false, modified: None, tag: None })
}

fn read_armored(file: &File) -> Result<Stored, SourceError> {
    let file = file.try_clone().map_err(SourceError::store)?;
    let mut reader = ArmorReader::new(BufReader::new(file));
    let header = stream::read_header(&mut reader).map_err(of_stream)?;
    let mut prefix = Vec::with_capacity(PREFIX_LEN);
    if header.kind() == Kind::Attached {
        reader.take(PREFIX_LEN as u64).read_to_end(&mut prefix).map_err(of_armor)?;
    }
    let payload = prefix.first_chunk().copied();
    Ok(Stored { header, payload, is_armored: true, modified: None, tag: None })
}

/// Whether it is half a header, and the journal beside it has both.
fn is_cut_off(file: &File, path: &Path) -> bool {
    has_rewrap_journal(path)
        && journal_beside(file, path)
            .and_then(|beside| beside.journal)
            .is_some_and(|journal| journal.is_torn_in(file))
}

fn has_rewrap_journal(path: &Path) -> bool {
    let journal = path.file_name().map(|name| path.with_file_name(Journal::name_of(name)));
    journal.is_some_and(|journal| fs::symlink_metadata(journal).is_ok())
}

fn fill(file: &File, out: &mut [u8]) -> Result<usize, SourceError> {
    let mut filled = 0;
    while filled < out.len() {
        match file.read_at(&mut out[filled..], filled as u64) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(SourceError::store(error)),
        }
    }
    Ok(filled)
}

/// What `envctl` pads headers of files to.
const USUAL_HEADER: usize = 4096;
