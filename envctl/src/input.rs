//! Where input comes from: a file or standard input, armored or not.

use std::{
    ffi::OsStr,
    fmt,
    fs::{File, Metadata},
    io::{self, BufReader, Read},
    path::{Path, PathBuf},
};

use envelope_sdk::format::armor::{self, ArmorReader};

use crate::error::{CliError, Result};

/// An open input.
pub(crate) struct Input {
    name: InputName,
    file: Option<File>,
}

/// What an input is called in messages.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum InputName {
    Stdin,
    File(PathBuf),
}

impl Input {
    pub(crate) fn open(name: &OsStr) -> Result<Self> {
        if name == "-" {
            return Ok(Self { name: InputName::Stdin, file: None });
        }
        let path = PathBuf::from(name);
        let file = File::open(&path).map_err(|error| CliError::io("read", &path, &error))?;
        let metadata = file.metadata().map_err(|error| CliError::io("read", &path, &error))?;
        if metadata.is_dir() {
            return Err(CliError::io("read", &path, &io::ErrorKind::IsADirectory.into())
                .hint("pack it first, such as `tar -c FOLDER | envctl encrypt -o FOLDER.tar.envelope`"));
        }
        Ok(Self { name: InputName::File(path), file: Some(file) })
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
        self.file.as_ref().and_then(|file| file.metadata().ok())
    }

    /// The bytes as they are.
    pub(crate) fn into_reader(self) -> Box<dyn Read> {
        match self.file {
            Some(file) => Box::new(file),
            None => Box::new(io::stdin().lock()),
        }
    }

    /// The bytes of an envelope: armor, if it is armored, is taken off.
    pub(crate) fn into_envelope_reader(self) -> Result<EnvelopeReader> {
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
            Self::File(path) => write!(f, "{}", path.display()),
        }
    }
}

/// Reads an envelope, binary or armored.
pub(crate) struct EnvelopeReader {
    reader: Box<dyn Read>,
    armored: bool,
}

impl EnvelopeReader {
    pub(crate) fn new(mut reader: Box<dyn Read>) -> io::Result<Self> {
        // A pipe may give one byte at a time, so the first line is collected.
        let mut start = Vec::with_capacity(armor::BEGIN.len());
        (&mut reader).take(armor::BEGIN.len() as u64).read_to_end(&mut start)?;
        let armored = armor::is_armored(&start);
        let whole = io::Cursor::new(start).chain(reader);
        let reader: Box<dyn Read> = if armored {
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

const BUFFER: usize = 64 * 1024;
