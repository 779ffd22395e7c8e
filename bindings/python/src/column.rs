//! Columns of records: the buffers of an Arrow binary array in, those of another out, in one call.

use std::ops::Range;

use envelope_sdk::{DataKey, DecryptError, EncryptionContext, RECORD_OVERHEAD};
use pyo3::{prelude::*, types::PyBytes};

use crate::{
    data::Data,
    failure::{Failure, Result, raised},
};

/// Values and offsets, as buffers, and the bytes of an offset: 4 or 8.
pub(crate) type Values<'py> = (Bound<'py, PyAny>, Data, usize);

/// What is done with each value.
pub(crate) trait Verb: Sync {
    /// Bytes of what becomes of a value of `len` bytes.
    fn len(&self, len: usize) -> Result<usize>;

    /// What becomes of a value.
    fn apply(&self, value: &[u8], context: &EncryptionContext) -> Result<Vec<u8>>;
}

/// Encrypts.
pub(crate) struct Seal<'k>(pub(crate) &'k DataKey);

/// Decrypts.
pub(crate) struct Open<'k>(pub(crate) &'k DataKey);

impl Verb for Seal<'_> {
    fn len(&self, len: usize) -> Result<usize> {
        Ok(len + RECORD_OVERHEAD)
    }

    fn apply(&self, value: &[u8], context: &EncryptionContext) -> Result<Vec<u8>> {
        Ok(self.0.seal(value, context)?)
    }
}

impl Verb for Open<'_> {
    fn len(&self, len: usize) -> Result<usize> {
        // What is too short is no record of any key.
        len.checked_sub(RECORD_OVERHEAD).ok_or_else(|| DecryptError::NotAuthentic.into())
    }

    fn apply(&self, value: &[u8], context: &EncryptionContext) -> Result<Vec<u8>> {
        Ok(self.0.open(value, context)?)
    }
}

/// A column of values, each with a context of its own, if there is one.
pub(crate) struct Column<'py> {
    /// Not taken before it is known that what comes of it has room.
    data: Bound<'py, PyAny>,
    rows: Rows,
}

/// What is known of a column without its values.
struct Rows {
    offsets: Offsets,
    context: EncryptionContext,
    by: Option<(String, Offsets, Data)>,
    /// Bits, the first of which is at an offset: 1 where there is a value.
    validity: Option<(Data, usize)>,
}

impl<'py> Column<'py> {
    /// The column of these buffers. `by`: the name of a context entry, and the texts that are its value row by row.
    pub(crate) fn new(
        (data, offsets, width): Values<'py>,
        context: EncryptionContext,
        by: Option<(String, Values<'py>)>,
        validity: Option<(Data, usize)>,
    ) -> PyResult<Self> {
        let offsets = Offsets::new(offsets, width, "the column").map_err(raised)?;
        let by = match by {
            None => None,
            Some((name, (data, texts, width))) => {
                let texts = Offsets::new(texts, width, "`by`").map_err(raised)?;
                let data = texts.take(&data, "`by`")?;
                Some((name, texts, data))
            }
        };
        let wrong = |what: String| Err(raised(Failure::usage(what)));
        if let Some((name, texts, _)) = &by {
            if texts.rows() != offsets.rows() {
                let (texts, rows) = (texts.rows(), offsets.rows());
                return wrong(format!("`by` has {texts} rows, and the column has {rows}"));
            }
            if context.get(name).is_some() {
                return wrong(format!("the context entry {name:?} is given twice: in `context` and by `by`"));
            }
        }
        if let Some((bits, first)) = &validity
            && bits.len().saturating_mul(8) < first.saturating_add(offsets.rows())
        {
            return wrong(format!("`validity` has too few bits for {} rows", offsets.rows()));
        }
        Ok(Self { data, rows: Rows { offsets, context, by, validity } })
    }

    /// Does `verb` with each value: the values that come of it, and their offsets, which begin at 0.
    pub(crate) fn map(
        &self,
        py: Python<'py>,
        verb: &impl Verb,
    ) -> PyResult<(Bound<'py, PyBytes>, Bound<'py, PyBytes>)> {
        let rows = &self.rows;
        let ends = py.detach(|| rows.ends(verb)).map_err(|failed| failed.raised(py))?;
        let offsets = py.detach(|| rows.offsets.encode(&ends))?;
        let data = rows.offsets.take(&self.data, "the column")?;
        let total = ends.last().copied().unwrap_or(0);
        let values = PyBytes::new_with(py, total, |out| {
            py.detach(|| rows.fill(verb, &data, &ends, out)).map_err(|failed| failed.raised(py))
        })?;
        Ok((values, PyBytes::new(py, &offsets)))
    }
}

impl Rows {
    /// Where the new values end.
    fn ends(&self, verb: &impl Verb) -> std::result::Result<Vec<usize>, AtRow> {
        let mut end = 0;
        let rows = 0..self.offsets.rows();
        rows.map(|row| {
            if self.is_there(row) {
                end += verb.len(self.offsets.range(row).len()).map_err(AtRow::of(row))?;
            }
            Ok(end)
        })
        .collect()
    }

    fn fill(
        &self,
        verb: &impl Verb,
        data: &[u8],
        ends: &[usize],
        out: &mut [u8],
    ) -> std::result::Result<(), AtRow> {
        let mut start = 0;
        for (row, end) in ends.iter().enumerate() {
            if self.is_there(row) {
                let value = &data[self.offsets.range(row)];
                let made = match &self.by {
                    None => verb.apply(value, &self.context),
                    Some((name, texts, data)) => text(&data[texts.range(row)])
                        .and_then(|text| verb.apply(value, &self.context.clone().with(name.as_str(), text))),
                };
                let made = made.map_err(AtRow::of(row))?;
                out[start..*end].copy_from_slice(&made);
            }
            start = *end;
        }
        Ok(())
    }

    fn is_there(&self, row: usize) -> bool {
        self.validity.as_ref().is_none_or(|(bits, first)| {
            let bit = first + row;
            bits[bit / 8] >> (bit % 8) & 1 == 1
        })
    }
}

/// A failure, and in which row.
struct AtRow(usize, Failure);

impl AtRow {
    fn of(row: usize) -> impl Fn(Failure) -> Self {
        move |failure| Self(row, failure)
    }

    /// An exception with the attribute `row`.
    fn raised(self, py: Python<'_>) -> PyErr {
        let Self(row, failure) = self;
        let error = PyErr::from(failure.about(format_args!("row {row}")));
        match error.value(py).setattr("row", row) {
            Ok(()) => error,
            Err(other) => other,
        }
    }
}

/// Where values of different lengths stand, one after the other.
struct Offsets {
    bytes: Data,
    width: usize,
    /// Where the first value begins, and the last one ends.
    ends: Range<usize>,
}

impl Offsets {
    fn new(bytes: Data, width: usize, what: &str) -> Result<Self> {
        let wrong = |text: String| Failure::usage(format!("{what}: {text}"));
        if width != 4 && width != 8 {
            return Err(wrong(format!("offsets have 4 or 8 bytes, and not {width}")));
        }
        if !bytes.len().is_multiple_of(width) {
            return Err(wrong(format!("{} bytes of offsets are not a multiple of {width}", bytes.len())));
        }
        // An array without values may come without any offset.
        let mut ends = 0..0;
        for at in 0..bytes.len() / width {
            match offset(&bytes, width, at).filter(|offset| at == 0 || *offset >= ends.end) {
                Some(offset) => ends = if at == 0 { offset..offset } else { ends.start..offset },
                None => {
                    return Err(wrong(format!(
                        "the offset {at} is negative, or before that of the row above"
                    )));
                }
            }
        }
        Ok(Self { bytes, width, ends })
    }

    fn rows(&self) -> usize {
        (self.bytes.len() / self.width).saturating_sub(1)
    }

    /// The values, of a buffer that may have more before them and behind.
    fn take(&self, data: &Bound<'_, PyAny>, what: &str) -> PyResult<Data> {
        let data = Data::part(data, self.ends.start, self.ends.end)?;
        if data.len() < self.ends.len() {
            let end = self.ends.end;
            return Err(raised(Failure::usage(format!(
                "{what}: the values end before byte {end}, which an offset names"
            ))));
        }
        Ok(data)
    }

    /// Where the value of a row stands in what was taken.
    fn range(&self, row: usize) -> Range<usize> {
        // None is negative, as `new` saw.
        let at = |row| offset(&self.bytes, self.width, row).unwrap_or(self.ends.start) - self.ends.start;
        at(row)..at(row + 1)
    }

    /// The offsets of values that end there, of the same width.
    fn encode(&self, ends: &[usize]) -> Result<Vec<u8>> {
        let most = if self.width == 4 { i32::MAX as u64 } else { i64::MAX as u64 };
        let total = ends.last().copied().unwrap_or(0);
        if total as u64 > most {
            return Err(Failure::usage(format!(
                "the new values have {total} bytes, too many for offsets of 4 bytes"
            ))
            .hint("take a large_binary column (width 8), or fewer rows at a time"));
        }
        let mut offsets = Vec::with_capacity((ends.len() + 1) * self.width);
        for end in [0].iter().chain(ends) {
            offsets.extend_from_slice(&(*end as u64).to_le_bytes()[..self.width]);
        }
        Ok(offsets)
    }
}

/// Arrow's integers are little-endian here; `None` for a negative one.
fn offset(offsets: &[u8], width: usize, at: usize) -> Option<usize> {
    let bytes = &offsets[at * width..][..width];
    let offset = match width {
        4 => i64::from(i32::from_le_bytes(bytes.try_into().ok()?)),
        _ => i64::from_le_bytes(bytes.try_into().ok()?),
    };
    usize::try_from(offset).ok()
}

fn text(bytes: &[u8]) -> Result<&str> {
    std::str::from_utf8(bytes).map_err(|_| Failure::usage("the text of `by` is not UTF-8"))
}
