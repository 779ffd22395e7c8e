//! Records for other programs: one JSON array, or a table of RFC 4180.

use std::{io::Write, path::Path};

use crate::{Filter, Record, VerifyError, query::read, text};

/// Writes the wanted records as one JSON array of objects, each as it stands in the log. Returns how many there are.
///
/// # Errors
///
/// [`VerifyError`] of [`read`](crate::read); what writing to `out` returns, as [`VerifyError::Output`].
pub fn write_json(path: &Path, filter: &Filter, out: &mut impl Write) -> Result<u64, VerifyError> {
    let mut count = 0;
    read(path, filter, |_, line| {
        let before = if count == 0 { "[\n" } else { ",\n" };
        count += 1;
        write!(out, "{before}{line}").map_err(VerifyError::Output)
    })?;
    out.write_all(if count == 0 { b"[]\n" } else { b"\n]\n" }).map_err(VerifyError::Output)?;
    Ok(count)
}

/// Writes the wanted records as a table with a line of names. A spreadsheet takes a field that begins with `=`, `+`, `-`, `@`, a tab or a
/// line end for a formula: such a one has a `'` before it. Returns how many records there are.
///
/// # Errors
///
/// As [`write_json`].
pub fn write_csv(path: &Path, filter: &Filter, out: &mut impl Write) -> Result<u64, VerifyError> {
    let mut count = 0;
    out.write_all(COLUMNS.as_bytes()).map_err(VerifyError::Output)?;
    read(path, filter, |record, _| {
        count += 1;
        out.write_all(row(record).as_bytes()).map_err(VerifyError::Output)
    })?;
    Ok(count)
}

fn row(record: &Record) -> String {
    let entry = &record.entry;
    let pairs = |pairs: &std::collections::BTreeMap<String, String>| {
        if pairs.is_empty() {
            return String::new();
        }
        let pairs: Vec<_> = pairs.iter().collect();
        String::from_utf8_lossy(&text::json(&pairs)).into_owned()
    };
    let optional = |value: &Option<String>| value.clone().unwrap_or_default();
    let fields = [
        record.seq.to_string(),
        record.time_text(),
        optional(&entry.actor),
        entry.operation.to_string(),
        entry.outcome.name().into(),
        entry.error.as_deref().unwrap_or_default().into(),
        optional(&entry.provider),
        optional(&entry.key),
        optional(&entry.key_version),
        entry.envelope.map(|id| text::hex(&id)).unwrap_or_default(),
        entry.generation.map(|generation| generation.to_string()).unwrap_or_default(),
        optional(&entry.rule),
        optional(&entry.request),
        pairs(&entry.context),
        pairs(&entry.detail),
    ];
    let fields: Vec<_> = fields.iter().map(|field| quoted(field)).collect();
    fields.join(",") + "\r\n"
}

fn quoted(field: &str) -> String {
    let formula = if field.starts_with(['=', '+', '-', '@', '\t', '\r', '\n']) { "'" } else { "" };
    if formula.is_empty() && !field.contains(['"', ',', '\r', '\n']) {
        return field.into();
    }
    format!("\"{formula}{}\"", field.replace('"', "\"\""))
}

const COLUMNS: &str = "seq,time,actor,operation,outcome,error,provider,key,key_version,envelope,generation,rule,request,context,detail\r\n";
