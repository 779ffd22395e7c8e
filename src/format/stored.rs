//! The stored entries of a context, as they stand in a header.

use std::collections::BTreeMap;

use crate::{
    context::{MAX_ENCODED_LEN, MAX_ENTRIES},
    wire::{FormatError, Reader, put_str16, u16_len},
};

/// Appends the encoding of the stored entries of a header.
pub(crate) fn write_stored(out: &mut Vec<u8>, stored: &BTreeMap<String, String>) {
    out.extend(u16_len(stored.len()));
    for (name, value) in stored {
        put_str16(out, name);
        put_str16(out, value);
    }
}

/// Reads the stored entries of a header, strictly.
pub(crate) fn read_stored(reader: &mut Reader<'_>) -> Result<BTreeMap<String, String>, FormatError> {
    let start = reader.remaining();
    let count = reader.u16("context")?;
    if usize::from(count) > MAX_ENTRIES {
        return Err(FormatError::TooLarge { what: "context", limit: MAX_ENTRIES });
    }
    let mut stored = BTreeMap::new();
    for _ in 0..count {
        let name = reader.str16("context name")?;
        let value = reader.str16("context value")?;
        if start - reader.remaining() > MAX_ENCODED_LEN {
            return Err(FormatError::TooLarge { what: "context", limit: MAX_ENCODED_LEN });
        }
        let ascends = stored.last_key_value().is_none_or(|(last, _): (&String, _)| last.as_str() < name);
        if name.is_empty() || !ascends {
            return Err(FormatError::NotCanonical { what: "context" });
        }
        stored.insert(name.to_owned(), value.to_owned());
    }
    Ok(stored)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stored_entries_read_back_as_they_were_written() {
        let entries =
            [("tenant", "42"), ("purpose", "")].map(|(name, value)| (name.to_owned(), value.to_owned()));
        let stored = BTreeMap::from(entries);
        let mut encoded = Vec::new();
        write_stored(&mut encoded, &stored);
        encoded.push(0xFF);
        let mut reader = Reader::new(&encoded);
        assert_eq!(read_stored(&mut reader), Ok(stored));
        assert_eq!(reader.rest(), [0xFF], "not a byte too many is read");
    }
}
