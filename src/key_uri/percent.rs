//! Percent-encoding (RFC 3986, section 2.1).

/// The bytes that `text` stands for. `None` when a `%` is not followed by two
/// hexadecimal digits.
#[must_use]
pub fn decode(text: &str) -> Option<Vec<u8>> {
    let mut bytes = text.bytes();
    let mut decoded = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            decoded.push(byte);
            continue;
        }
        let digits = [bytes.next()?, bytes.next()?].map(|digit| char::from(digit).to_digit(16));
        let [Some(high), Some(low)] = digits else { return None };
        decoded.push(u8::try_from(high * 16 + low).ok()?);
    }
    Some(decoded)
}

/// Appends `bytes`. Unreserved characters of RFC 3986 stay, unless `all` are to
/// be escaped; every other byte is `%XX`.
pub fn encode(text: &mut String, bytes: &[u8], all: bool) {
    for &byte in bytes {
        if !all && (byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)) {
            text.push(char::from(byte));
        } else {
            text.push('%');
            for digit in [byte >> 4, byte & 15] {
                text.push(char::from(b"0123456789ABCDEF"[usize::from(digit)]));
            }
        }
    }
}
