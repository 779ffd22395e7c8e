//! Which token is meant.

use std::fmt;

use cryptoki::slot::TokenInfo;
use envelope_sdk::{KeyUri, key_uri::pkcs11::Pkcs11Attributes, printable};

/// Which token: what is given must fit exactly, and one token only.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct TokenSelector {
    pub(crate) token: Option<Vec<u8>>,
    pub(crate) manufacturer: Option<Vec<u8>>,
    pub(crate) serial: Option<Vec<u8>>,
    pub(crate) model: Option<Vec<u8>>,
}

impl TokenSelector {
    /// The only token of the module.
    #[must_use]
    pub fn only() -> Self {
        Self::default()
    }

    /// The token with this label.
    #[must_use]
    pub fn label(label: impl Into<String>) -> Self {
        Self { token: Some(label.into().into_bytes()), ..Self::default() }
    }

    /// The token with this serial number.
    #[must_use]
    pub fn serial(serial: impl Into<String>) -> Self {
        Self { serial: Some(serial.into().into_bytes()), ..Self::default() }
    }

    /// The token that a key URI names by `token`, `serial`, `manufacturer` and
    /// `model`, or `None` if it is not a `pkcs11:` URI. For key URIs that the
    /// operator configured.
    #[must_use]
    pub fn of(key: &KeyUri) -> Option<Self> {
        Pkcs11Attributes::of(key).map(Self::of_attributes)
    }

    pub(crate) fn of_attributes(attributes: Pkcs11Attributes) -> Self {
        let Pkcs11Attributes { token, manufacturer, serial, model, .. } = attributes;
        Self { token, manufacturer, serial, model }
    }

    /// Whether `token` is the one that is meant, as far as something is said.
    pub(crate) fn fits(&self, token: &TokenInfo) -> bool {
        let fits = |wanted: &Option<Vec<u8>>, is: &str| {
            wanted.as_ref().is_none_or(|wanted| wanted.as_slice() == is.as_bytes())
        };
        fits(&self.token, token.label())
            && fits(&self.manufacturer, token.manufacturer_id())
            && fits(&self.serial, token.serial_number())
            && fits(&self.model, token.model())
    }
}

/// What is said of the token, for messages: `label "envelopes"`.
impl fmt::Display for TokenSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = [
            ("label", &self.token),
            ("manufacturer", &self.manufacturer),
            ("serial number", &self.serial),
            ("model", &self.model),
        ];
        let said: Vec<String> = parts
            .iter()
            .filter_map(|(name, value)| value.as_ref().map(|value| format!("{name} {}", quoted(value))))
            .collect();
        f.write_str(if said.is_empty() { "any label" } else { "" })?;
        f.write_str(&said.join(" and "))
    }
}

/// Names on a token are bytes that others may have written.
pub(crate) fn quoted(bytes: &[u8]) -> String {
    format!("\"{}\"", printable::text(&String::from_utf8_lossy(bytes)))
}
