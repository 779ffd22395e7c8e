//! File objects of Python, as the streams of the core see them.

use std::{
    io::{self, Read, Write},
    sync::{Mutex, PoisonError},
};

use envelope_sdk::stream::ReadAt;
use pyo3::{
    exceptions::{PyBlockingIOError, PyValueError},
    prelude::*,
    types::PyBytes,
};

use crate::data::Data;

/// An object with `read`, from where it stands to its end.
pub(crate) struct Reader(pub(crate) Py<PyAny>);

/// An object with `write`.
pub(crate) struct Writer(pub(crate) Py<PyAny>);

/// An object with `seek` and `read`, which others do not use meanwhile.
pub(crate) struct Seekable {
    object: Py<PyAny>,
    size: u64,
    turn: Mutex<()>,
}

impl Read for Reader {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        Python::attach(|py| read(self.0.bind(py), out)).map_err(io::Error::other)
    }
}

impl Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let write = |py: Python<'_>| {
            py.check_signals()?;
            let object = self.0.bind(py);
            let written = object.call_method1("write", (PyBytes::new(py, bytes),))?;
            let count: Option<usize> = written.extract()?;
            match count {
                Some(count) if count > bytes.len() => Err(PyValueError::new_err(format!(
                    "write() says that it wrote {count} bytes of {}",
                    bytes.len()
                ))),
                Some(count) => Ok(count),
                // So says a raw stream that does not block, and has no room: nothing was written.
                None if object.is_instance(&py.import("io")?.getattr("RawIOBase")?)? => {
                    Err(PyBlockingIOError::new_err(
                        "write() took nothing, and does not wait until it can: give a file object that blocks",
                    ))
                }
                // What else does not count takes everything.
                None => Ok(bytes.len()),
            }
        };
        Python::attach(write).map_err(io::Error::other)
    }

    fn flush(&mut self) -> io::Result<()> {
        let flush = |py: Python<'_>| match self.0.bind(py).getattr_opt("flush")? {
            Some(flush) => flush.call0().map(drop),
            None => Ok(()),
        };
        Python::attach(flush).map_err(io::Error::other)
    }
}

impl Seekable {
    /// The whole of `object`, wherever it stands.
    pub(crate) fn new(object: Py<PyAny>) -> PyResult<Self> {
        let size = Python::attach(|py| object.bind(py).call_method1("seek", (0, 2))?.extract())?;
        Ok(Self { object, size, turn: Mutex::new(()) })
    }
}

impl ReadAt for Seekable {
    fn size(&self) -> io::Result<u64> {
        Ok(self.size)
    }

    fn read_at(&self, out: &mut [u8], offset: u64) -> io::Result<usize> {
        // Before the interpreter is attached to: whoever has the turn may wait for that.
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let read = |py: Python<'_>| {
            let object = self.object.bind(py);
            object.call_method1("seek", (offset,))?;
            read(object, out)
        };
        Python::attach(read).map_err(io::Error::other)
    }
}

fn read(object: &Bound<'_, PyAny>, out: &mut [u8]) -> PyResult<usize> {
    object.py().check_signals()?;
    let read: Data = object.call_method1("read", (out.len(),))?.extract()?;
    match out.get_mut(..read.len()) {
        Some(front) => {
            front.copy_from_slice(&read);
            Ok(read.len())
        }
        None => {
            let (asked, got) = (out.len(), read.len());
            Err(PyValueError::new_err(format!("read({asked}) returned {got} bytes")))
        }
    }
}
