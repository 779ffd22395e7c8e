//! Reading a header off the front of a stream.

use std::io::{self, Read};

use super::{ReadAt, StreamError, at::read_full_at};
use crate::{
    FormatError, Header, Kind,
    format::{PREAMBLE_LEN, Preamble},
    whole_io::read_full,
};

/// Reads one header from `reader`, which then stands at the payload. A detached
/// header or a data key has none behind it: `reader` must end there (H-11), and is asked
/// for one byte more to see that.
///
/// # Errors
///
/// [`StreamError`] when `reader` fails or the bytes are not a header, with
/// [`FormatError::TrailingData`] inside when a detached header or a data key is followed by
/// more bytes. At most 64 KiB and 48 bytes are read and held.
pub fn read_header(reader: &mut impl Read) -> Result<Header, StreamError> {
    let mut bytes = Vec::with_capacity(512);
    fill(reader, &mut bytes, PREAMBLE_LEN)?;
    let preamble = bytes.first_chunk::<PREAMBLE_LEN>().ok_or_else(|| Preamble::cut_off(&bytes))?;
    let preamble = Preamble::parse(preamble)?;
    fill(reader, &mut bytes, preamble.header_len())?;
    let header = Header::parse_exact(&bytes)?;
    if header.kind() != Kind::Attached && read_full(reader, &mut [0]).map_err(StreamError::Read)? > 0 {
        return Err(FormatError::TrailingData { what: "the header" }.into());
    }
    Ok(header)
}

/// Reads the header at the front of `source`; the payload of an attached
/// envelope begins at its [`len`](Header::len).
///
/// # Errors
///
/// As [`read_header`].
pub fn read_header_at(source: &(impl ReadAt + ?Sized)) -> Result<Header, StreamError> {
    read_header(&mut Front { source, offset: 0 })
}

/// Reads on from an offset.
struct Front<'a, S: ?Sized> {
    source: &'a S,
    offset: u64,
}

impl<S: ReadAt + ?Sized> Read for Front<'_, S> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let read = read_full_at(self.source, out, self.offset)?;
        self.offset += read as u64;
        Ok(read)
    }
}

/// Reads until `bytes` has `len` bytes or the reader ends.
fn fill(reader: &mut impl Read, bytes: &mut Vec<u8>, len: usize) -> Result<(), StreamError> {
    let held = bytes.len();
    bytes.resize(len, 0);
    let read = read_full(reader, &mut bytes[held..]).map_err(StreamError::Read)?;
    bytes.truncate(held + read);
    Ok(())
}
