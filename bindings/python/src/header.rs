//! Headers, read without any key.

use std::{fs::File, io::BufReader, path::PathBuf};

use envelope_sdk::{
    Envelope, Header, WrappedDek,
    format::armor::{self, ArmorReader},
    stream::{self, StreamError},
};
use pyo3::prelude::*;
use serde_json::{Value, json};

use crate::{
    data::Data,
    failure::{Failure, Result},
};

/// What the header of an envelope in memory says, as JSON. Nothing of it is verified.
#[pyfunction]
pub(crate) fn inspect(data: Data) -> PyResult<String> {
    let inspected = || -> Result<Header> {
        match std::str::from_utf8(&data) {
            Ok(text) if armor::is_armored(&data) => Ok(Envelope::inspect(&armor::decode(text)?)?),
            _ => Ok(Envelope::inspect(&data)?),
        }
    };
    Ok(json_of(&inspected()?).to_string())
}

/// The same of a file.
#[pyfunction]
pub(crate) fn inspect_file(py: Python<'_>, path: PathBuf) -> PyResult<String> {
    let header = py.detach(|| {
        let cannot = |error| Failure::io("read", &path, &error);
        let mut file = File::open(&path).map_err(cannot)?;
        let header = match stream::read_header(&mut file) {
            Err(StreamError::Decrypt(_)) => {
                let file = File::open(&path).map_err(cannot)?;
                stream::read_header(&mut ArmorReader::new(BufReader::new(file)))
            }
            header => header,
        };
        header.map_err(|error| Failure::from(error).about(envelope_sdk::printable::path(&path)))
    })?;
    Ok(json_of(&header).to_string())
}

fn json_of(header: &Header) -> Value {
    json!({
        "kind": header.kind().name(),
        "suite": header.suite().id(),
        "envelope_id": header.envelope_id().iter().map(|byte| format!("{byte:02x}")).collect::<String>(),
        "generation": header.generation(),
        "context": header.stored_context(),
        "withheld": header.withheld(),
        "recipients": header.recipients().iter().map(recipient).collect::<Vec<_>>(),
        "header_bytes": header.len(),
        "padding_bytes": header.padding(),
    })
}

fn recipient(recipient: &WrappedDek) -> Value {
    json!({
        "key": recipient.key_uri().as_str(),
        "version": recipient.key_version(),
        "wrap_algorithm": recipient.wrap_algorithm(),
        "post_quantum_safe": recipient.is_post_quantum_safe(),
        "wrapped_dek_bytes": recipient.ciphertext().len(),
    })
}
