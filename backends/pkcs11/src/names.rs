//! The names of keys: RFC 7512 URIs, and labels with versions.

use envelope_sdk::KeyUri;

use crate::TokenSelector;

/// What a `pkcs11:` key URI says.
pub(crate) struct Attributes {
    pub(crate) token: TokenSelector,
    pub(crate) object: Option<Vec<u8>>,
    pub(crate) id: Option<Vec<u8>>,
}

impl Attributes {
    /// Reads a key URI, which `KeyUri` has normalised and checked.
    pub(crate) fn of(key: &KeyUri) -> Option<Self> {
        if key.scheme() != "pkcs11" {
            return None;
        }
        let mut attributes = Self { token: TokenSelector::default(), object: None, id: None };
        for attribute in key.rest().split(';') {
            let (name, value) = attribute.split_once('=')?;
            let place = match name {
                "token" => &mut attributes.token.token,
                "manufacturer" => &mut attributes.token.manufacturer,
                "serial" => &mut attributes.token.serial,
                "model" => &mut attributes.token.model,
                "object" => &mut attributes.object,
                "id" => &mut attributes.id,
                _ => return None,
            };
            *place = Some(percent_decode(value)?);
        }
        Some(attributes)
    }
}

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
    object: Option<&[u8]>,
    id: Option<&[u8]>,
) -> Result<KeyUri, envelope_sdk::KeyUriError> {
    let attributes = [
        ("token", token.token.as_deref()),
        ("manufacturer", token.manufacturer.as_deref()),
        ("serial", token.serial.as_deref()),
        ("model", token.model.as_deref()),
        ("object", object),
        ("id", id),
    ];
    let given = attributes.into_iter().filter_map(|(name, value)| Some((name, value?)));
    let text: Vec<String> = given.map(|(name, value)| format!("{name}={}", percent_encode(value))).collect();
    KeyUri::parse(&format!("pkcs11:{}", text.join(";")))
}

/// Every byte escaped: `KeyUri` chooses the canonical spelling.
fn percent_encode(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("%{byte:02X}")).collect()
}

fn percent_decode(text: &str) -> Option<Vec<u8>> {
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
    fn a_uri_that_names_one_version_is_refused() {
        let refused = KeyName::of(Some(b"db#v2".to_vec()), None).unwrap_err();
        assert!(refused.starts_with("it names one version"), "{refused}");
        assert_eq!(KeyName::of(None, None), Err("it names neither object= nor id="));
        assert!(KeyName::of(Some(b"db#v2".to_vec()), Some(vec![1])).is_ok());
        assert_eq!(KeyName::of(Some(b"db".to_vec()), None), Ok(KeyName::Versions(b"db".to_vec())));
    }

    #[test]
    fn uris_read_back_with_blanks_and_binary_ids() {
        let token = TokenSelector { model: Some(b"m 1".to_vec()), ..TokenSelector::label("my token;=%") };
        let uri = uri_of(&token, Some("schlüssel".as_bytes()), Some(&[0, 255])).unwrap();
        assert_eq!(
            uri.as_str(),
            "pkcs11:token=my%20token%3B%3D%25;model=m%201;object=schl%C3%BCssel;id=%00%FF"
        );
        let read = Attributes::of(&uri).unwrap();
        assert_eq!(read.token, token);
        assert_eq!(read.object.as_deref(), Some("schlüssel".as_bytes()));
        assert_eq!(read.id, Some(vec![0, 255]));
        assert!(Attributes::of(&KeyUri::passphrase()).is_none());
    }

    #[test]
    fn versions_of_headers_are_plain_decimal_numbers() {
        assert_eq!(decimal("12"), Some(12));
        for text in ["", "0", "01", "+1", "-1", "1 ", "4294967296", "١"] {
            assert_eq!(decimal(text), None, "{text:?}");
        }
    }
}
