//! Keys of a local keystore: `local://KEYSTORE-ID/KEY-NAME`, or `local:KEY-NAME`.

use super::{KeyUri, KeyUriError, Normalised};

/// The parts of a key URI of a keystore.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct LocalKey<'u> {
    /// The id of the keystore: 32 hexadecimal digits in lower case. `None` in
    /// the short form, which means the keystore of the configuration.
    pub keystore: Option<&'u str>,
    /// The key.
    pub name: &'u str,
}

impl<'u> LocalKey<'u> {
    /// The parts of a key URI, or `None` when it is not one of a keystore.
    #[must_use]
    pub fn of(uri: &'u KeyUri) -> Option<Self> {
        Self::parse(uri.rest()).ok().filter(|_| uri.scheme() == SCHEME)
    }

    /// The URI `local://ID/NAME` of a key.
    ///
    /// # Errors
    ///
    /// [`KeyUriError`] when there can be no such id or name.
    pub fn uri(keystore: &str, name: &str) -> Result<KeyUri, KeyUriError> {
        KeyUri::parse(&format!("{SCHEME}://{keystore}/{name}"))
    }

    fn parse(rest: &'u str) -> Result<Self, &'static str> {
        let key = match rest.strip_prefix("//") {
            None => Self { keystore: None, name: rest },
            Some(path) => {
                let (id, name) =
                    path.split_once('/').ok_or("must be local://KEYSTORE-ID/KEY-NAME or local:KEY-NAME")?;
                if id.len() != 32 || !id.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)) {
                    return Err("a keystore id is 32 hexadecimal digits in lower case");
                }
                Self { keystore: Some(id), name }
            }
        };
        if is_key_name(key.name) { Ok(key) } else { Err(NAME) }
    }
}

/// Whether a key that this library makes may have this name: 1 to 64 characters
/// of `A–Z a–z 0–9 - _ .` that begin with a letter or digit. Keystores and tokens
/// take no other.
#[must_use]
pub fn is_key_name(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    (1..=64).contains(&name.len())
        && name.bytes().all(allowed)
        && name.starts_with(|first: char| first.is_ascii_alphanumeric())
}

pub(super) fn normalise(rest: &str) -> Normalised {
    let key = LocalKey::parse(rest)?;
    Ok((format!("{SCHEME}:{rest}"), key.keystore.is_some()))
}

const SCHEME: &str = "local";
pub(super) const NAME: &str =
    "a local key name has 1 to 64 characters of A–Z a–z 0–9 - _ . and begins with a letter or digit";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_have_their_parts() {
        let id = "0123456789abcdef0123456789abcdef";
        let long = LocalKey::uri(id, "main").unwrap();
        assert_eq!(LocalKey::of(&long), Some(LocalKey { keystore: Some(id), name: "main" }));
        let short = KeyUri::parse("local:main").unwrap();
        assert_eq!(LocalKey::of(&short), Some(LocalKey { keystore: None, name: "main" }));
        assert_eq!(LocalKey::of(&KeyUri::passphrase()), None);
    }
}
