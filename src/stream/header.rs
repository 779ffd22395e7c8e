//! Reading a header off the front of a stream.

use std::io::Read;

use super::StreamError;
use crate::{
    Header,
    format::{PREAMBLE_LEN, Preamble},
};

/// Reads exactly one header from `reader`, which then stands at the payload.
///
/// # Errors
///
/// [`StreamError`] when `reader` fails or the bytes are not a header. At most
/// 64 KiB and 48 bytes are read and held.
pub fn read_header(reader: &mut impl Read) -> Result<Header, StreamError> {
    let mut bytes = Vec::with_capacity(512);
    fill(reader, &mut bytes, PREAMBLE_LEN)?;
    let preamble = bytes.first_chunk::<PREAMBLE_LEN>().ok_or_else(|| Preamble::cut_off(&bytes))?;
    let preamble = Preamble::parse(preamble)?;
    fill(reader, &mut bytes, preamble.header_len())?;
    Ok(Header::parse_exact(&bytes)?)
}

/// Reads until `bytes` has `len` bytes or the reader ends.
fn fill(reader: &mut impl Read, bytes: &mut Vec<u8>, len: usize) -> Result<(), StreamError> {
    let missing = (len - bytes.len()) as u64;
    reader.take(missing).read_to_end(bytes).map_err(StreamError::Read)?;
    Ok(())
}
