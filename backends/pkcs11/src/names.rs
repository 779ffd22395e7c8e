//! The names of keys: labels with versions.

use envelope_sdk::{
    KeyUri, KeyUriError,
    key_uri::{percent, pkcs11::Pkcs11Attributes},
};

use crate::selector::TokenSelector;

/// Which objects of a token a key is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum KeyName {
    /// `object=NAME`: version 1 has the label NAME, version N the label
    /// `NAME#vN`.
    Versions(Vec<u8>),
    /// `id=ID`, perhaps with `object=NAME`: exactly one object (or key pair),
    /// without versions.
    Object {
        /// `CKA_ID`.
        id: Vec<u8>,
        /// `CKA_LABEL`.
        label: Option<Vec<u8>>,
    },
}

impl KeyName {
    /// The key that attributes of a URI name. A label that itself ends in
    /// `#vN` would be a second name for a version of another key.
    pub(crate) fn of(object: Option<Vec<u8>>, id: Option<Vec<u8>>) -> Result<Self, &'static str> {
        match (object, id) {
            (label, Some(id)) => Ok(Self::Object { id, label }),
            (Some(label), None) if version_of(&label).1 != 1 => {
                Err("it names one version; name the key, without #vN: the header says which version wrapped")
            }
            (Some(label), None) if is_claim(&label) => Err(
                "it names a version that is being made, or whose making was broken off: name that by id= as well",
            ),
            (Some(label), None) => Ok(Self::Versions(label)),
            (None, None) => Err("it names neither object= nor id="),
        }
    }
}

/// The label of a version of a key.
pub(crate) fn label_of(name: &[u8], version: u32) -> Vec<u8> {
    match version {
        0 | 1 => name.to_vec(),
        version => [name, format!("#v{version}").as_bytes()].concat(),
    }
}

/// The label of a version that is being made. It is that of no version of any key.
pub(crate) fn claim_of(name: &[u8], version: u32) -> Vec<u8> {
    [name, format!("#v{version}{CLAIM}").as_bytes()].concat()
}

/// Whether a label is that of a version that is being made.
pub(crate) fn is_claim(label: &[u8]) -> bool {
    let number = label.strip_suffix(CLAIM.as_bytes()).and_then(|rest| {
        let at = rest.windows(2).rposition(|pair| pair == b"#v").filter(|at| *at > 0)?;
        decimal(std::str::from_utf8(&rest[at + 2..]).ok()?)
    });
    number.is_some()
}

/// `id=%01`, as a key URI has it.
pub(crate) fn id_attribute(id: &[u8]) -> String {
    let mut text = "id=".to_owned();
    percent::encode(&mut text, id, true);
    text
}

/// The name and the version that a label stands for. `db#v2` is version 2 of
/// `db`; a label without such an end, such as `db`, `db#v1` or `db#v02`, is
/// version 1 of itself.
pub(crate) fn version_of(label: &[u8]) -> (&[u8], u32) {
    let split = label.iter().rposition(|byte| *byte == b'#').map(|at| (&label[..at], &label[at + 1..]));
    let number = |digits: &[u8]| decimal(std::str::from_utf8(digits).ok()?).filter(|number| *number > 1);
    match split {
        Some((name, [b'v', digits @ ..])) if !name.is_empty() => {
            number(digits).map_or((label, 1), |version| (name, version))
        }
        _ => (label, 1),
    }
}

/// A version number of a header: decimal, 1 or more, without sign or leading
/// zeros.
pub(crate) fn decimal(text: &str) -> Option<u32> {
    let digits = !text.starts_with('0') && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| digits)
}

/// The URI of a key of the token that `token` selects.
pub(crate) fn uri_of(
    token: &TokenSelector,
    object: Option<Vec<u8>>,
    id: Option<Vec<u8>>,
) -> Result<KeyUri, KeyUriError> {
    let TokenSelector { token, manufacturer, serial, model } = token.clone();
    Pkcs11Attributes { token, manufacturer, serial, model, object, id }.to_uri()
}

const CLAIM: &str = "-new";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_is_one_version_of_one_name() {
        for (label, name, version) in [
            ("db", "db", 1),
            ("db#v2", "db", 2),
            ("db#v10", "db", 10),
            ("a#b#v3", "a#b", 3),
            ("db#v1", "db#v1", 1),
            ("db#v02", "db#v02", 1),
            ("db#v", "db#v", 1),
            ("db#v+2", "db#v+2", 1),
            ("db#v4294967296", "db#v4294967296", 1),
            ("#v2", "#v2", 1),
        ] {
            assert_eq!(version_of(label.as_bytes()), (name.as_bytes(), version), "{label}");
            assert_eq!(label_of(name.as_bytes(), version), label.as_bytes(), "{label}");
        }
    }

    #[test]
    fn a_claim_is_a_version_of_nothing_and_no_key() {
        for (version, claim) in [(1, "db#v1-new"), (12, "db#v12-new")] {
            assert_eq!(claim_of(b"db", version), claim.as_bytes());
            assert_eq!(version_of(claim.as_bytes()), (claim.as_bytes(), 1));
            assert!(is_claim(claim.as_bytes()));
            let refused = KeyName::of(Some(claim.into()), None).unwrap_err();
            assert!(refused.starts_with("it names a version that is being made"), "{refused}");
            assert!(KeyName::of(Some(claim.into()), Some(vec![1])).is_ok());
        }
        for label in ["db-new", "db#v0-new", "#v1-new", "db#v01-new", "db#v1-new2", "db#v-new"] {
            assert!(!is_claim(label.as_bytes()), "{label}");
        }
        assert_eq!(id_attribute(&[0, 255]), "id=%00%FF");
    }

    #[test]
    fn a_uri_that_names_one_version_is_refused() {
        let refused = KeyName::of(Some(b"db#v2".to_vec()), None).unwrap_err();
        assert!(refused.starts_with("it names one version"), "{refused}");
        assert_eq!(KeyName::of(None, None), Err("it names neither object= nor id="));
        assert!(KeyName::of(Some(b"db#v2".to_vec()), Some(vec![1])).is_ok());
        assert_eq!(KeyName::of(Some(b"db".to_vec()), None), Ok(KeyName::Versions(b"db".to_vec())));
    }

    #[test]
    fn versions_of_headers_are_plain_decimal_numbers() {
        assert_eq!(decimal("12"), Some(12));
        for text in ["", "0", "01", "+1", "-1", "1 ", "4294967296", "١"] {
            assert_eq!(decimal(text), None, "{text:?}");
        }
    }
}
