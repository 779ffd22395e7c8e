//! What Transit calls a ciphertext: `vault:vN:` and base64.

use base64ct::{Base64, Encoding};

/// Such a text, which wraps a DEK by an AEAD.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Text<'t> {
    pub(super) whole: &'t str,
    pub(super) version: u32,
}

impl<'t> Text<'t> {
    /// `None` for one of another form or length: RSA has other lengths.
    pub(super) fn read(whole: &'t str) -> Option<Self> {
        let (number, base64) = whole.strip_prefix("vault:v")?.split_once(':')?;
        let version = version(number)?;
        if base64.len() > MAX_BASE64_LEN {
            return None;
        }
        let len = Base64::decode_vec(base64).ok()?.len();
        LENS.contains(&len).then_some(Self { whole, version })
    }
}

/// The number of a version, in its only spelling.
pub(super) fn version(text: &str) -> Option<u32> {
    let version: u32 = text.parse().ok().filter(|version| *version > 0)?;
    (version.to_string() == text).then_some(version)
}

const DEK_LEN: usize = envelope_sdk::Dek::LEN;
const TAG_LEN: usize = 16;
/// With the nonce of AES-GCM and ChaCha20-Poly1305, and with that of XChaCha20-Poly1305, which OpenBao has.
const LENS: [usize; 2] = [12 + DEK_LEN + TAG_LEN, 24 + DEK_LEN + TAG_LEN];
const MAX_BASE64_LEN: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_has_one_spelling() {
        assert_eq!(version("1"), Some(1));
        assert_eq!(version("4294967295"), Some(u32::MAX));
        for bad in ["", "0", "01", "+1", "-1", " 1", "1 ", "4294967296", "x", "1.0"] {
            assert_eq!(version(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_wrap_is_a_text_with_a_version_and_the_length_of_a_dek() {
        let of = |len: usize| format!("vault:v7:{}", Base64::encode_string(&vec![9; len]));
        for len in 0..=100 {
            let text = of(len);
            let read = Text::read(&text);
            assert_eq!(read.map(|text| text.version), [60, 72].contains(&len).then_some(7), "{len}");
        }
        let good = of(60);
        for bad in [
            good.replace("vault:", "Vault:"),
            good.replace(":v7:", ":v07:"),
            good.replace(":v7:", ":v0:"),
            good.replace(":v7:", ":7:"),
            good.replace(":v7:", ":v7"),
            format!(" {good}"),
            format!("{good} "),
            format!("{good}="),
            good.replace("vault:v7:", "vault:v7:vault:v7:"),
            String::new(),
        ] {
            assert_eq!(Text::read(&bad), None, "{bad}");
        }
    }
}
