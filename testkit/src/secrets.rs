//! A secret in every form in which it might be printed.

use std::error::Error;

/// All that an error shows, in every way, and its sources.
#[must_use]
pub fn shown(error: &dyn Error) -> String {
    let mut shown = format!("{error} {error:?} {error:#?}");
    let mut next = error.source();
    while let Some(source) = next {
        shown += &format!(" {source} {source:?}");
        next = source.source();
    }
    shown
}

/// A secret that must not occur anywhere.
pub struct Canary {
    name: String,
    forms: Vec<(&'static str, Vec<u8>)>,
}

impl Canary {
    /// Its first 12 bytes are looked for: what prints less of it is not found,
    /// what prints more begins with them.
    ///
    /// # Panics
    ///
    /// When the secret is shorter than 12 bytes: it could not be told from
    /// other text.
    #[must_use]
    pub fn new(name: &str, secret: &[u8]) -> Self {
        assert!(secret.len() >= 12, "{name} is too short to be told from other text");
        let start = &secret[..12];
        let hex = |upper: bool| -> String {
            let digits = |byte: &u8| if upper { format!("{byte:02X}") } else { format!("{byte:02x}") };
            start.iter().map(digits).collect()
        };
        let joined = |separator: &str| {
            start.iter().map(ToString::to_string).collect::<Vec<_>>().join(separator).into_bytes()
        };
        let base64 = base64(start);
        let url_safe = base64.replace('+', "-").replace('/', "_");
        let forms = vec![
            ("raw", start.to_vec()),
            ("escaped", start.escape_ascii().to_string().into_bytes()),
            ("hex", hex(false).into_bytes()),
            ("upper-case hex", hex(true).into_bytes()),
            ("base64", base64.into_bytes()),
            ("URL-safe base64", url_safe.into_bytes()),
            ("decimal list", joined(", ")),
            ("JSON list", joined(",")),
            ("decimal lines", joined(",\n    ")),
        ];
        Self { name: name.to_owned(), forms }
    }

    /// Where it occurs in `bytes`: the name and the form.
    #[must_use]
    pub fn find(&self, bytes: &[u8]) -> Option<String> {
        let occurs = |form: &[u8]| bytes.windows(form.len()).any(|window| window == form);
        let (form, _) = self.forms.iter().find(|(_, form)| occurs(form))?;
        Some(format!("{} as {form}", self.name))
    }
}

/// Demands that none of `canaries` occurs in `bytes`, which came from `place`.
///
/// # Panics
///
/// When one occurs, with the place and the bytes.
#[expect(clippy::panic, reason = "this is how a test speaks")]
pub fn demand_none(canaries: &[Canary], place: &str, bytes: &[u8]) {
    for canary in canaries {
        if let Some(found) = canary.find(bytes) {
            panic!("{found} is in {place}: {}", String::from_utf8_lossy(bytes));
        }
    }
}

/// Shows that every form is found by printing a control in all of them.
///
/// # Panics
///
/// When one is not found.
pub fn demand_that_every_form_is_found() {
    let secret: Vec<u8> = (0..32).map(|index: u8| index.wrapping_mul(37) ^ 0xEB).collect();
    let canary = Canary::new("control", &secret);
    let hex: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
    let printed: [(&str, Vec<u8>); 9] = [
        ("raw", secret.clone()),
        ("escaped", secret.escape_ascii().to_string().into_bytes()),
        ("hex", hex.clone().into_bytes()),
        ("upper-case hex", hex.to_uppercase().into_bytes()),
        ("base64", base64(&secret).into_bytes()),
        ("URL-safe base64", base64(&secret).replace('+', "-").replace('/', "_").into_bytes()),
        ("decimal list", format!("{secret:?}").into_bytes()),
        ("JSON list", format!("{secret:?}").replace(' ', "").into_bytes()),
        ("decimal lines", format!("{secret:#?}").into_bytes()),
    ];
    for (form, printed) in printed {
        let text = [b"before ".as_slice(), &printed, b" after"].concat();
        assert!(canary.find(&text).is_some_and(|found| found.starts_with("control as ")), "{form}");
    }
    assert!(canary.find(b"nothing of it").is_none());
}

/// Base64 (RFC 4648, section 4), by hand: not worth a dependency.
fn base64(bytes: &[u8]) -> String {
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for group in bytes.chunks(3) {
        let mut bits = 0;
        for position in 0..3 {
            bits = bits << 8 | usize::from(group.get(position).copied().unwrap_or(0));
        }
        for position in 0..4 {
            let digit = char::from(alphabet[bits >> (18 - 6 * position) & 63]);
            text.push(if position <= group.len() { digit } else { '=' });
        }
    }
    text
}
