//! Headers of files: read with a limit, never believed.

use std::{
    fs::File,
    io::{BufReader, Read, Seek, SeekFrom},
};

use envelope_sdk::{
    FormatError, Header, Kind as HeaderKind,
    crypto::cobblestone,
    format::armor::{self, ArmorReader},
    stream::{self, StreamError},
};

use crate::{Failure, Kind};

/// What was read of a file.
pub(crate) struct ReadHeader {
    pub(crate) header: Header,
    pub(crate) is_armored: bool,
    /// Bytes of the payload, where the file tells.
    pub(crate) payload: Option<u64>,
}

impl ReadHeader {
    /// Bytes of the plaintext, where the length tells.
    pub(crate) fn plaintext(&self) -> Option<u64> {
        self.payload.and_then(cobblestone::opened_len)
    }
}

/// Why a file gave no header.
pub(crate) enum NoHeader {
    /// It is something else.
    NotAnEnvelope,
    Failed(Failure),
}

/// At most 128 KiB of the file are read, twice if need be: a header that was being rewrapped is whole a moment later.
pub(crate) fn read(file: &File) -> Result<ReadHeader, NoHeader> {
    match read_once(file) {
        Err(NoHeader::Failed(failure)) if failure.kind == Kind::NotAuthentic => read_once(file),
        read => read,
    }
}

fn read_once(mut file: &File) -> Result<ReadHeader, NoHeader> {
    let io = |error: std::io::Error| {
        NoHeader::Failed(Failure::new(Kind::InputOutput, format!("cannot be read: {error}")))
    };
    file.seek(SeekFrom::Start(0)).map_err(io)?;
    let length = file.metadata().map_err(io)?.len();
    let mut front = [0; FRONT];
    let mut filled = 0;
    while filled < FRONT {
        match file.read(&mut front[filled..]) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(io(error)),
        }
    }
    file.seek(SeekFrom::Start(0)).map_err(io)?;
    let is_armored = armor::is_armored(&front[..filled]);
    let bounded = BufReader::new(file.take(MOST));
    let header = if is_armored {
        stream::read_header(&mut ArmorReader::new(bounded))
    } else {
        stream::read_header(&mut { bounded })
    };
    let header = header.map_err(of_stream)?;
    let is_attached = header.kind() == HeaderKind::Attached;
    let payload = length.saturating_sub(header.len() as u64);
    Ok(ReadHeader { payload: (is_attached && !is_armored).then_some(payload), header, is_armored })
}

fn of_stream(error: StreamError) -> NoHeader {
    match error {
        StreamError::Decrypt(envelope_sdk::DecryptError::Format(error)) => of_format(&error),
        StreamError::Read(error) => {
            match error.get_ref().and_then(|inner| inner.downcast_ref::<FormatError>()) {
                Some(format) => of_format(format),
                None => NoHeader::Failed(Failure::new(Kind::InputOutput, format!("cannot be read: {error}"))),
            }
        }
        error => NoHeader::Failed(Failure::new(Kind::NotAuthentic, error.to_string())),
    }
}

fn of_format(error: &FormatError) -> NoHeader {
    match error {
        FormatError::NotAnEnvelope => NoHeader::NotAnEnvelope,
        error => NoHeader::Failed(
            Failure::new(Kind::NotAuthentic, error.to_string())
                .hint("the file is damaged or was changed: try another copy of it"),
        ),
    }
}

/// What shows whether a file is armored.
const FRONT: usize = 64;
/// A header of 64 KiB and 48 bytes, armored.
const MOST: u64 = 128 * 1024;
