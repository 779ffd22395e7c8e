//! [`DataKey`]: many records under one DEK.

use envelope_sdk::DataKey as Core;
use pyo3::{exceptions::PyTypeError, prelude::*, types::PyBytes};

use crate::{
    column::{self, Column, Values},
    context::{Entries, context},
    data::Data,
    failure::raised,
};

/// One DEK for many records. It stays where Python cannot see it.
#[pyclass(frozen, module = "envelope_sdk._envelope_sdk")]
pub(crate) struct DataKey(Core);

impl DataKey {
    pub(crate) fn new(key: Core) -> Self {
        Self(key)
    }
}

#[pymethods]
impl DataKey {
    /// The header: it opens the records, for whoever may use its key.
    fn wrapped(&self) -> Vec<u8> {
        self.0.header().to_bytes()
    }

    /// Of the key, 32 hexadecimal digits.
    fn id(&self) -> String {
        self.0.header().envelope_id().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Encrypts a record.
    fn seal(&self, py: Python<'_>, data: Data, entries: Entries) -> PyResult<Vec<u8>> {
        let context = context(entries);
        py.detach(|| self.0.seal(&data, &context)).map_err(raised)
    }

    /// Decrypts a record.
    fn open(&self, py: Python<'_>, record: Data, entries: Entries) -> PyResult<Vec<u8>> {
        let context = context(entries);
        py.detach(|| self.0.open(&record, &context)).map_err(raised)
    }

    /// Encrypts each value of a column.
    fn seal_column<'py>(
        &self,
        py: Python<'py>,
        values: Values<'py>,
        entries: Entries,
        by: Option<(String, Values<'py>)>,
        validity: Option<(Data, usize)>,
    ) -> PyResult<(Bound<'py, PyBytes>, Bound<'py, PyBytes>)> {
        Column::new(values, context(entries), by, validity)?.map(py, &column::Seal(&self.0))
    }

    /// Decrypts each value of a column.
    fn open_column<'py>(
        &self,
        py: Python<'py>,
        values: Values<'py>,
        entries: Entries,
        by: Option<(String, Values<'py>)>,
        validity: Option<(Data, usize)>,
    ) -> PyResult<(Bound<'py, PyBytes>, Bound<'py, PyBytes>)> {
        Column::new(values, context(entries), by, validity)?.map(py, &column::Open(&self.0))
    }

    fn __reduce__(&self) -> PyResult<()> {
        Err(PyTypeError::new_err(
            "a DataKey cannot be pickled, since it would carry the key in plaintext: send its `wrapped` bytes, and open them \
             with Envelope.open_data_key where the records are",
        ))
    }
}
