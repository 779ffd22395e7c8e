//! Where input comes from: a file or standard input, armored or not.

use std::{
    ffi::OsStr,
    fmt,
    fs::{File, Metadata},
    io::{self, BufReader, Read},
    os::{
        fd::AsFd,
        unix::fs::{FileExt, MetadataExt},
    },
    path::{Path, PathBuf},
};

use envelope_files::{LockedFile, ReadFile};
use envelope_sdk::{
    FormatError, Header,
    format::{
        PREAMBLE_LEN, Preamble,
        armor::{self, ArmorReader},
    },
    printable,
    stream::{self, StreamError},
};

use crate::{
    descriptor,
    error::{CliError, Result},
};

/// An open input.
pub(crate) struct Input {
    name: InputName,
    file: File,
    /// Opened by its path, at its front.
    is_at_front: bool,
}

/// What an input is called in messages.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum InputName {
    Stdin,
    File(PathBuf),
}

impl Input {
    /// Opens `-`, a descriptor as it stands, or the file that a path leads to, over
    /// links too.
    pub(crate) fn open(name: &OsStr) -> Result<Self> {
        let path = PathBuf::from(name);
        let number = descriptor::number(&path);
        if name == "-" || number == Some(0) {
            return Self::standard();
        }
        let cannot = |error: io::Error| CliError::io("read", &path, &error);
        let file = number.map_or_else(|| File::open(&path), descriptor::duplicate).map_err(cannot)?;
        if file.metadata().map_err(cannot)?.is_dir() {
            return Err(cannot(io::ErrorKind::IsADirectory.into())
                .hint("with -r each file below it is taken by itself; as one it is packed first, such as `tar -c FOLDER | envctl encrypt -o FOLDER.tar.envelope`"));
        }
        Ok(Self { name: InputName::File(path), file, is_at_front: number.is_none() })
    }

    /// Opens a file that was found in a folder: not over a link that took its name since, and without waiting
    /// for the other end of a pipe.
    pub(crate) fn open_found(path: &Path) -> Result<Self> {
        let file = LockedFile::open_unlocked(path)?;
        Ok(Self { name: InputName::File(path.to_owned()), file, is_at_front: true })
    }

    /// Standard input, and not through the standard library, which takes a descriptor
    /// that cannot be read for one that is empty.
    fn standard() -> Result<Self> {
        let cannot = |error: io::Error| CliError::io("read", Path::new("standard input"), &error);
        if descriptor::was_closed(io::stdin()) {
            return Err(
                cannot(io::Error::other("it is closed")).hint("name a file; /dev/null is an empty one")
            );
        }
        let file = descriptor::duplicate(0).map_err(cannot)?;
        widen_pipe(&file);
        Ok(Self { name: InputName::Stdin, file, is_at_front: false })
    }

    /// The input for `--rm`: which file it is, before it is read.
    pub(crate) fn to_remove(&self) -> Result<ReadFile> {
        match &self.name {
            InputName::File(path) if self.is_at_front => Ok(ReadFile::of(&self.file, path)?),
            _ => Err(CliError::usage("--rm needs an input file and an output file")),
        }
    }

    pub(crate) fn name(&self) -> &InputName {
        &self.name
    }

    /// Its path, unless it is standard input.
    pub(crate) fn path(&self) -> Option<&Path> {
        match &self.name {
            InputName::Stdin => None,
            InputName::File(path) => Some(path),
        }
    }

    pub(crate) fn metadata(&self) -> Option<Metadata> {
        self.file.metadata().ok()
    }

    /// Whether it begins as an envelope does, armored or not. Streams are not looked at.
    pub(crate) fn is_envelope(&self) -> Result<bool> {
        let mut start = [0; armor::BEGIN.len()];
        let Some((file, path)) = self.seekable().zip(self.path()) else { return Ok(false) };
        let read = file.read_at(&mut start, 0).map_err(|error| CliError::io("read", path, &error))?;
        let preamble = start[..read].first_chunk::<PREAMBLE_LEN>().map(Preamble::parse);
        let is_binary = preamble.is_some_and(|parsed| !matches!(parsed, Err(FormatError::NotAnEnvelope)));
        Ok(is_binary || armor::is_armored(&start[..read]))
    }

    /// The file, if it can be read at any offset and knows its length. Files of
    /// /proc say 0 and are read as a pipe.
    pub(crate) fn seekable(&self) -> Option<&File> {
        let metadata = self.metadata()?;
        (self.is_at_front && metadata.is_file() && metadata.len() > 0).then_some(&self.file)
    }

    /// The bytes as they are.
    pub(crate) fn into_reader(self) -> Box<dyn Read + Send> {
        Box::new(self.file)
    }

    /// An envelope: a file that is not armored, or a stream, with its armor
    /// taken off.
    pub(crate) fn into_envelope(self) -> Result<EnvelopeSource> {
        let mut start = [0; armor::BEGIN.len()];
        if let Some(file) = self.seekable() {
            let read = file
                .read_at(&mut start, 0)
                .map_err(|error| CliError::io("read", self.path().unwrap_or(Path::new("-")), &error))?;
            if !armor::is_armored(&start[..read]) {
                return Ok(EnvelopeSource::File(self.file));
            }
        }
        Ok(EnvelopeSource::Stream(self.into_envelope_reader()?))
    }

    /// The bytes of an envelope: armor, if it is armored, is taken off.
    /// A payload whose header is elsewhere: all the bytes as they are.
    pub(crate) fn into_payload(self) -> EnvelopeSource {
        if self.seekable().is_some() {
            return EnvelopeSource::File(self.file);
        }
        EnvelopeSource::Stream(EnvelopeReader { reader: self.into_reader(), armored: false })
    }

    fn into_envelope_reader(self) -> Result<EnvelopeReader> {
        let name = self.name.clone();
        EnvelopeReader::new(self.into_reader()).map_err(|error| match name {
            InputName::File(path) => CliError::io("read", &path, &error),
            InputName::Stdin => CliError::io("read", Path::new("standard input"), &error),
        })
    }
}

impl fmt::Display for InputName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stdin => f.write_str("standard input"),
            Self::File(path) => f.write_str(&printable::path(path)),
        }
    }
}

/// Where an envelope is read from.
pub(crate) enum EnvelopeSource {
    /// A file that is not armored. Its header stands at offset 0.
    File(File),
    /// Anything else, from the front to the end.
    Stream(EnvelopeReader),
}

impl EnvelopeSource {
    /// Reads the header at the front.
    pub(crate) fn read_header(&mut self) -> std::result::Result<Header, StreamError> {
        match self {
            Self::File(file) => stream::read_header_at(file),
            Self::Stream(reader) => stream::read_header(reader),
        }
    }

    /// The file, if its header stands at offset 0.
    pub(crate) fn file(&self) -> Option<&File> {
        match self {
            Self::File(file) => Some(file),
            Self::Stream(_) => None,
        }
    }

    pub(crate) fn is_armored(&self) -> bool {
        matches!(self, Self::Stream(reader) if reader.is_armored())
    }

    /// Bytes of the file; a stream does not know.
    pub(crate) fn file_len(&self) -> Option<u64> {
        Some(self.file()?.metadata().ok()?.len())
    }

    /// The same, if the file has that many on its disk: one with holes says any length, and costs whoever sends it nothing.
    pub(crate) fn full_len(&self) -> Option<u64> {
        let metadata = self.file()?.metadata().ok()?;
        (metadata.blocks().saturating_mul(512) >= metadata.len()).then_some(metadata.len())
    }
}

/// Reads an envelope, binary or armored.
pub(crate) struct EnvelopeReader {
    reader: Box<dyn Read + Send>,
    armored: bool,
}

impl EnvelopeReader {
    pub(crate) fn new(mut reader: Box<dyn Read + Send>) -> io::Result<Self> {
        // A pipe may give one byte at a time, so the first line is collected.
        let mut start = Vec::with_capacity(armor::BEGIN.len());
        (&mut reader).take(armor::BEGIN.len() as u64).read_to_end(&mut start)?;
        let armored = armor::is_armored(&start);
        let whole = io::Cursor::new(start).chain(reader);
        let reader: Box<dyn Read + Send> = if armored {
            Box::new(ArmorReader::new(BufReader::with_capacity(BUFFER, whole)))
        } else {
            Box::new(whole)
        };
        Ok(Self { reader, armored })
    }

    pub(crate) fn is_armored(&self) -> bool {
        self.armored
    }
}

impl Read for EnvelopeReader {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        self.reader.read(out)
    }
}

/// Gives a pipe room for 1 MiB, so that its two ends wait for each other less
/// often. Where that is not to be had, or it is no pipe, it works as it is.
pub(crate) fn widen_pipe(pipe: impl AsFd) {
    #[cfg(target_os = "linux")]
    let _ = rustix::pipe::fcntl_setpipe_size(pipe, 1 << 20);
    #[cfg(not(target_os = "linux"))]
    let _ = pipe;
}

const BUFFER: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_with_holes_says_no_length_for_which_memory_is_taken() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(1 << 30).unwrap();
        let source = EnvelopeSource::File(file);
        assert_eq!((source.file_len(), source.full_len()), (Some(1 << 30), None));
    }
}
