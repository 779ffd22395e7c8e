//! Reading and writing all of it, with readers and writers that may not keep
//! their promises: a count that passes what was asked for is an error here,
//! where the standard library would panic or believe it.

use std::io::{self, Read, Write};

/// Reads until `buffer` is full or the input ends.
pub(crate) fn read_full(reader: &mut (impl Read + ?Sized), buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match read_some(reader, &mut buffer[filled..])? {
            0 => break,
            read => filled += read,
        }
    }
    Ok(filled)
}

/// Reads what one call gives.
pub(crate) fn read_some(reader: &mut (impl Read + ?Sized), buffer: &mut [u8]) -> io::Result<usize> {
    retry(|| reader.read(buffer)).and_then(|read| checked(read, buffer.len()))
}

/// Writes all of `bytes`.
pub(crate) fn write_all(writer: &mut (impl Write + ?Sized), mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match retry(|| writer.write(bytes)).and_then(|written| checked(written, bytes.len()))? {
            0 => return Err(io::ErrorKind::WriteZero.into()),
            written => bytes = &bytes[written..],
        }
    }
    Ok(())
}

/// Calls again what was interrupted.
pub(crate) fn retry<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}

/// What an adapter says that failed before: what it held is lost, so that
/// nothing that it does later is right.
pub(crate) fn failed_before() -> io::Error {
    io::Error::new(io::ErrorKind::BrokenPipe, "it failed before, and cannot go on")
}

/// `count`, unless it passes the `asked` bytes that were asked for.
pub(crate) fn checked(count: usize, asked: usize) -> io::Result<usize> {
    if count <= asked {
        return Ok(count);
    }
    Err(io::Error::other(format!("{count} bytes were reported as done where {asked} were asked for")))
}
