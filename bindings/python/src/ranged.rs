//! [`RangedReader`]: any part of an envelope, without the rest.

use std::{fs::File, io};

use envelope_files::open_header;
use envelope_sdk::{
    EncryptionContext, Header,
    stream::{self, ReadAt},
};
use pyo3::prelude::*;

use crate::{
    envelope::Keys,
    failure::{Failure, Result},
    files::{Place, payload_of},
    objects::Seekable,
    run::wait_detached,
};

/// Decrypts any range of a payload.
#[pyclass(frozen, module = "envelope_sdk._envelope_sdk")]
pub(crate) struct RangedReader(stream::RangedReader<Source>);

/// What is read from.
enum Source {
    File(File),
    Object(Seekable),
}

impl RangedReader {
    /// Opens the last chunk, so that the length is known to be right.
    pub(crate) fn open(keys: &Keys, place: Place, context: &EncryptionContext) -> Result<Self> {
        let unlock = |header: Header| wait_detached(keys.opener.unlock(header, context));
        match place {
            Place::Path(path) => {
                let file = File::open(&path).map_err(|error| Failure::io("read", &path, &error))?;
                let about = |error: Failure| error.about(envelope_sdk::printable::path(&path));
                let opened = open_header(&file, &path, unlock).map_err(about)?;
                let (file, at) = payload_of(file, &path, &opened)?;
                let reader = stream::RangedReader::new(&opened, Source::File(file), at);
                reader.map(Self).map_err(|error| about(error.into()))
            }
            Place::Object(object) => {
                let object = Seekable::new(object)?;
                let opened = unlock(stream::read_header_at(&object)?)?;
                let at = opened.header().len() as u64;
                Ok(Self(stream::RangedReader::new(&opened, Source::Object(object), at)?))
            }
        }
    }
}

#[pymethods]
impl RangedReader {
    /// Bytes of the plaintext.
    fn size(&self) -> u64 {
        self.0.len()
    }

    /// The bytes from `start` to `end`, as far as there are any.
    fn read(&self, py: Python<'_>, start: u64, end: u64) -> PyResult<Vec<u8>> {
        let end = end.min(self.0.len());
        let start = start.min(end);
        Ok(py.detach(|| self.0.decrypt_range(start..end).map_err(Failure::from))?)
    }
}

impl ReadAt for Source {
    fn size(&self) -> io::Result<u64> {
        match self {
            Self::File(file) => ReadAt::size(file),
            Self::Object(object) => object.size(),
        }
    }

    fn read_at(&self, out: &mut [u8], offset: u64) -> io::Result<usize> {
        match self {
            Self::File(file) => ReadAt::read_at(file, out, offset),
            Self::Object(object) => object.read_at(out, offset),
        }
    }
}
