//! Between files and pipes, as fast as the two ends permit: file to file on
//! every core at any offset, everything else in order.

use std::io::{Seek, SeekFrom, Write};

use envelope_sdk::{
    OpenedHeader, Started,
    format::armor::ArmorWriter,
    stream::{Parallel, RangedReader, StreamError},
};

use crate::{
    input::{EnvelopeSource, Input},
    output::Output,
    progress::Progress,
};

/// Encrypts all of `input` to `output`, behind the header that is written first
/// unless it is `detached`. Returns the number of plaintext bytes.
pub(crate) fn seal(
    started: Started,
    input: Input,
    output: &mut Output,
    format: Format,
    (parallel, progress): (Parallel<'_>, &Progress),
) -> Result<u64, StreamError> {
    let count = |bytes| progress.add(bytes);
    let parallel = parallel.on_progress(&count);
    let header = if format == Format::Detached { &[][..] } else { &started.header };
    if format == Format::Armored {
        let mut armor = ArmorWriter::new(&mut *output).map_err(StreamError::Write)?;
        armor.write_all(header).map_err(StreamError::Write)?;
        let total = parallel.seal_pipe(started.payload, input.into_reader(), &mut armor)?;
        armor.finish().map_err(StreamError::Write)?;
        return Ok(total);
    }
    output.write_all(header).map_err(StreamError::Write)?;
    match (input.seekable(), output.file()) {
        (Some(input), Some(output)) => {
            parallel.seal_file(started.payload, input, output, header.len() as u64)
        }
        _ => parallel.seal_pipe(started.payload, input.into_reader(), output),
    }
}

/// Decrypts the payload that `source` stands at, from offset `at` of it, to
/// `output`. Returns the number of plaintext bytes.
pub(crate) fn open(
    opened: &OpenedHeader,
    source: EnvelopeSource,
    at: u64,
    output: &mut Output,
    (parallel, progress): (Parallel<'_>, &Progress),
) -> Result<u64, StreamError> {
    let count = |bytes| progress.add(bytes);
    let parallel = parallel.on_progress(&count);
    match source {
        EnvelopeSource::File(mut file) => {
            if let Some(output) = output.file() {
                return parallel.open_file(opened, &file, at, output);
            }
            // Opens the last chunk: not a byte of a truncated file goes down a pipe.
            drop(RangedReader::new(opened, &file, at)?);
            file.seek(SeekFrom::Start(at)).map_err(StreamError::Read)?;
            parallel.open_pipe(opened, file, output)
        }
        EnvelopeSource::Stream(reader) => parallel.open_pipe(opened, reader, output),
    }
}

/// How an envelope is laid out.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// Header and payload.
    Binary,
    /// Both, as text.
    Armored,
    /// The payload alone.
    Detached,
}
