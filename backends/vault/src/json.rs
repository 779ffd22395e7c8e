//! JSON that holds secrets, written into memory that is wiped and that never grows in place.

use base64ct::{Base64, Encoding};
use zeroize::Zeroizing;

/// An object of texts.
pub(crate) struct Object {
    bytes: Zeroizing<Vec<u8>>,
    is_empty: bool,
}

impl Object {
    pub(crate) fn new() -> Self {
        let mut object = Self { bytes: Zeroizing::new(Vec::with_capacity(FIRST_LEN)), is_empty: true };
        object.put(b"{");
        object
    }

    /// A field, which has the name of one of ours, with any text.
    pub(crate) fn text(&mut self, name: &str, text: &str) {
        self.name(name);
        self.put(b"\"");
        for byte in text.bytes() {
            match byte {
                b'"' | b'\\' => self.put(&[b'\\', byte]),
                0..0x20 => {
                    let hex = |nibble: u8| b"0123456789abcdef"[usize::from(nibble & 15)];
                    self.put(&[b'\\', b'u', b'0', b'0', hex(byte >> 4), hex(byte)]);
                }
                _ => self.put(&[byte]),
            }
        }
        self.put(b"\"");
    }

    /// A field with bytes as base64.
    pub(crate) fn base64(&mut self, name: &str, bytes: &[u8]) {
        self.name(name);
        let text = Zeroizing::new(Base64::encode_string(bytes));
        self.put(b"\"");
        self.put(text.as_bytes());
        self.put(b"\"");
    }

    /// A field with a number.
    pub(crate) fn number(&mut self, name: &str, number: u32) {
        self.name(name);
        self.put(number.to_string().as_bytes());
    }

    /// A field with a list of objects.
    pub(crate) fn list(&mut self, name: &str, objects: impl IntoIterator<Item = Self>) {
        self.name(name);
        self.put(b"[");
        for (place, object) in objects.into_iter().enumerate() {
            if place > 0 {
                self.put(b",");
            }
            self.put(&object.end());
        }
        self.put(b"]");
    }

    pub(crate) fn end(mut self) -> Zeroizing<Vec<u8>> {
        self.put(b"}");
        self.bytes
    }

    fn name(&mut self, name: &str) {
        if !self.is_empty {
            self.put(b",");
        }
        self.is_empty = false;
        self.put(b"\"");
        self.put(name.as_bytes());
        self.put(b"\":");
    }

    fn put(&mut self, bytes: &[u8]) {
        let len = self.bytes.len() + bytes.len();
        if len > self.bytes.capacity() {
            let mut larger = Zeroizing::new(Vec::with_capacity(2 * len));
            larger.extend_from_slice(&self.bytes);
            self.bytes = larger;
        }
        self.bytes.extend_from_slice(bytes);
    }
}

const FIRST_LEN: usize = 512;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_reads_back_whatever_is_in_it() {
        let odd = "a\"b\\c\n\u{1}\u{7f}grün\u{2028}";
        let mut object = Object::new();
        object.text("text", odd);
        object.base64("bytes", &[0xff; 32]);
        object.number("number", 256);
        let mut inner = Object::new();
        inner.text("x", &"y".repeat(2000));
        object.list("list", [inner, Object::new()]);
        let value: serde_json::Value = serde_json::from_slice(&object.end()).unwrap();
        assert_eq!(value["text"], odd);
        assert_eq!(value["bytes"], Base64::encode_string(&[0xff; 32]));
        assert_eq!(value["number"], 256);
        assert_eq!(
            (&value["list"][0]["x"], &value["list"][1]),
            (&"y".repeat(2000).into(), &serde_json::json!({}))
        );
    }

    #[test]
    fn a_list_may_be_empty() {
        let mut object = Object::new();
        object.list("list", []);
        assert_eq!(object.end().as_slice(), br#"{"list":[]}"#);
    }
}
