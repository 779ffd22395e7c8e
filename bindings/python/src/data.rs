//! [`Data`]: bytes that come from Python.

use std::ops::Deref;

use pyo3::{
    prelude::*,
    pybacked::PyBackedBytes,
    types::{PyBytes, PyMemoryView, PySlice},
};

/// The bytes of any object with the buffer protocol. Those of `bytes` are not copied: nobody can change them. Of others there is
/// one copy, so that whoever writes to them meanwhile changes nothing here.
pub(crate) struct Data(PyBackedBytes);

impl Data {
    /// The bytes from `start` to `end` of a buffer of bytes; the others are not copied.
    pub(crate) fn part(buffer: &Bound<'_, PyAny>, start: usize, end: usize) -> PyResult<Self> {
        let py = buffer.py();
        let view = PyMemoryView::from(buffer)?.call_method1("cast", ("B",))?;
        let len = view.len()?;
        let end = end.min(len);
        if start == 0 && end == len {
            return buffer.extract();
        }
        let range = PySlice::new(py, isize::try_from(start)?, isize::try_from(end)?, 1);
        copy_of(&view.get_item(range)?)
    }
}

impl Deref for Data {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl FromPyObject<'_, '_> for Data {
    type Error = PyErr;

    fn extract(object: Borrowed<'_, '_, PyAny>) -> PyResult<Self> {
        match object.cast_exact::<PyBytes>() {
            Ok(bytes) => Ok(Self(PyBackedBytes::from(bytes.to_owned()))),
            // A TypeError for what is no buffer.
            Err(_) => copy_of(PyMemoryView::from(&object)?.as_any()),
        }
    }
}

fn copy_of(view: &Bound<'_, PyAny>) -> PyResult<Data> {
    let bytes = view.call_method0("tobytes")?;
    Ok(Data(PyBackedBytes::from(bytes.cast_into::<PyBytes>()?)))
}
