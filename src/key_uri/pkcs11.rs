//! Keys of tokens: RFC 7512 URIs, `pkcs11:token=…;object=…` or `;id=…`.

use super::{KeyUri, KeyUriError, Normalised, percent};

/// The attributes of a key URI, as bytes. Token attributes say which token, the
/// others which key of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Pkcs11Attributes {
    /// `token`: the label of the token.
    pub token: Option<Vec<u8>>,
    /// `manufacturer` of the token.
    pub manufacturer: Option<Vec<u8>>,
    /// `serial`: the serial number of the token.
    pub serial: Option<Vec<u8>>,
    /// `model` of the token.
    pub model: Option<Vec<u8>>,
    /// `object`: the label of the key (`CKA_LABEL`).
    pub object: Option<Vec<u8>>,
    /// `id` of the key (`CKA_ID`).
    pub id: Option<Vec<u8>>,
}

impl Pkcs11Attributes {
    /// The attributes of a key URI, or `None` when it is not one of PKCS#11.
    #[must_use]
    pub fn of(uri: &KeyUri) -> Option<Self> {
        Self::parse(uri.rest()).ok().filter(|_| uri.scheme() == SCHEME)
    }

    /// The key URI with these attributes.
    ///
    /// # Errors
    ///
    /// [`KeyUriError`] when they name no token, or no key of it, or one of them is
    /// empty, or all of them are too long.
    pub fn to_uri(&self) -> Result<KeyUri, KeyUriError> {
        KeyUri::parse(&format!("{SCHEME}:{}", self.encode()))
    }

    /// Whether an attribute that both have is another, so that they cannot name one key.
    #[must_use]
    pub fn contradicts(&self, other: &Self) -> bool {
        // Each of them: one that is left out would tell no keys apart.
        let Self { token, manufacturer, serial, model, object, id } = self;
        let pairs = [
            (token, &other.token),
            (manufacturer, &other.manufacturer),
            (serial, &other.serial),
            (model, &other.model),
            (object, &other.object),
            (id, &other.id),
        ];
        pairs.into_iter().any(|(one, other)| one.is_some() && other.is_some() && one != other)
    }

    fn parse(rest: &str) -> Result<Self, &'static str> {
        let mut attributes = Self::default();
        for attribute in rest.split(';') {
            let (name, value) = attribute.split_once('=').ok_or("pkcs11 attributes are name=value")?;
            let place = attributes
                .places()
                .into_iter()
                .find_map(|(known, place)| (known == name).then_some(place))
                .ok_or("pkcs11 takes token, manufacturer, serial, model, object and id")?;
            let value = percent::decode(value).ok_or("a % must be followed by two hexadecimal digits")?;
            if value.is_empty() {
                return Err("a pkcs11 attribute is empty");
            }
            if place.replace(value).is_some() {
                return Err("a pkcs11 attribute is repeated");
            }
        }
        Ok(attributes)
    }

    /// Each attribute in the fixed order of key URIs.
    fn places(&mut self) -> [(&'static str, &mut Option<Vec<u8>>); 6] {
        [
            ("token", &mut self.token),
            ("manufacturer", &mut self.manufacturer),
            ("serial", &mut self.serial),
            ("model", &mut self.model),
            ("object", &mut self.object),
            ("id", &mut self.id),
        ]
    }

    /// In a fixed order, percent-encoded in one way: an `id` is binary and all
    /// `%XX`, as RFC 7512 recommends.
    fn encode(&self) -> String {
        let mut text = String::new();
        for (name, value) in self.clone().places() {
            let Some(value) = value else { continue };
            if !text.is_empty() {
                text.push(';');
            }
            text.push_str(name);
            text.push('=');
            percent::encode(&mut text, value, name == "id");
        }
        text
    }
}

pub(super) fn normalise(rest: &str) -> Normalised {
    let attributes = Pkcs11Attributes::parse(rest)?;
    let has_token = attributes.token.is_some() || attributes.serial.is_some();
    if !has_token || !(attributes.object.is_some() || attributes.id.is_some()) {
        return Err("pkcs11 needs a token (token= or serial=) and a key (object= or id=)");
    }
    Ok((format!("{SCHEME}:{}", attributes.encode()), true))
}

const SCHEME: &str = "pkcs11";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uris_read_back_with_blanks_and_binary_ids() {
        let attributes = Pkcs11Attributes {
            token: Some(b"my token;=%".to_vec()),
            model: Some(b"m 1".to_vec()),
            object: Some("schlüssel".into()),
            id: Some(vec![0, 255]),
            ..Pkcs11Attributes::default()
        };
        let uri = attributes.to_uri().unwrap();
        assert_eq!(
            uri.as_str(),
            "pkcs11:token=my%20token%3B%3D%25;model=m%201;object=schl%C3%BCssel;id=%00%FF"
        );
        assert_eq!(Pkcs11Attributes::of(&uri), Some(attributes));
        assert_eq!(Pkcs11Attributes::of(&KeyUri::passphrase()), None);
    }
}
