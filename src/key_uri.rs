//! Key URIs: the names of KEKs, in one spelling each.
//!
//! | Provider | Canonical | Also accepted |
//! |---|---|---|
//! | AWS KMS | `awskms:///arn:aws:kms:REGION:ACCOUNT:key/ID` (or `…:alias/NAME`) | the bare ARN, `aws-kms://…` |
//! | Google Cloud KMS | `gcpkms://projects/P/locations/L/keyRings/R/cryptoKeys/K` | bare `projects/…`, `gcp-kms://…` |
//! | Azure | `azurekeyvault://VAULT.vault.azure.net/keys/NAME` | `azurekms://…`, the `https://…` key identifier |
//! | PKCS#11 | RFC 7512 `pkcs11:token=…;object=…` or `;id=…` | attributes in another order or escaping |
//! | Local keystore | `local://KEYSTORE-ID/KEY-NAME` | `local:KEY-NAME` |
//! | Passphrase | `passphrase:` | |
//! | Others | `scheme:…`, taken as it is | |
//!
//! The scheme is case-insensitive, the rest exact. A key URI holds no
//! endpoint, credential or PIN: those are configuration. Userinfo, fragments and
//! queries are refused.

use std::{fmt, str::FromStr};

/// The name of a key-encryption key, normalised.
///
/// ```
/// use envelope_sdk::KeyUri;
///
/// let arn = "arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab";
/// assert_eq!(KeyUri::parse(arn)?.as_str(), format!("awskms:///{arn}"));
/// # Ok::<(), envelope_sdk::KeyUriError>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyUri {
    text: String,
    resolved: bool,
}

impl KeyUri {
    /// Most bytes of a key URI.
    pub const MAX_LEN: usize = 2048;

    /// Reads a key URI in any accepted spelling and normalises it.
    ///
    /// # Errors
    ///
    /// [`KeyUriError`] that names what does not fit.
    pub fn parse(input: &str) -> Result<Self, KeyUriError> {
        if input.is_empty() || input.len() > Self::MAX_LEN {
            return Err(KeyUriError::new(input, "must have 1 to 2048 characters"));
        }
        if !input.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(KeyUriError::new(input, "must be printable ASCII without spaces"));
        }
        if input.contains('#') {
            return Err(KeyUriError::new(input, "a key URI has no fragment"));
        }
        if input.contains('?') {
            return Err(KeyUriError::new(
                input,
                "a key URI has no query: endpoints, PINs and modules are configuration",
            ));
        }
        let normalised = if input.starts_with("projects/") {
            gcp(input)
        } else {
            let (scheme, rest) = split_scheme(input)?;
            by_scheme(&scheme, rest)
        };
        let (text, resolved) = normalised.map_err(|reason| KeyUriError::new(input, reason))?;
        if text.len() > Self::MAX_LEN {
            return Err(KeyUriError::new(input, "must have at most 2048 characters when normalised"));
        }
        Ok(Self { text, resolved })
    }

    /// The key URI of passphrases: `passphrase:`.
    #[must_use]
    pub fn passphrase() -> Self {
        Self { text: PASSPHRASE.into(), resolved: true }
    }

    /// The normalised text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The scheme, in lower case, without the colon: `awskms`, `gcpkms`,
    /// `azurekeyvault`, `pkcs11`, `local`, `passphrase` or another.
    #[must_use]
    pub fn scheme(&self) -> &str {
        self.text.split_once(':').map_or("", |(scheme, _)| scheme)
    }

    /// What follows the scheme and its colon.
    #[must_use]
    pub fn rest(&self) -> &str {
        self.text.split_once(':').map_or("", |(_, rest)| rest)
    }

    /// False for an alias (`awskms:///…:alias/…`) and for the short form
    /// `local:NAME`: they configure a key, and its provider resolves them. A
    /// header holds resolved URIs only.
    #[must_use]
    pub fn is_resolved(&self) -> bool {
        self.resolved
    }

    /// Reads a key URI of a header: only the canonical, resolved spelling.
    pub(crate) fn parse_canonical(text: &str) -> Option<Self> {
        Self::parse(text).ok().filter(|uri| uri.text == text && uri.resolved)
    }
}

impl FromStr for KeyUri {
    type Err = KeyUriError;

    fn from_str(input: &str) -> Result<Self, KeyUriError> {
        Self::parse(input)
    }
}

impl fmt::Display for KeyUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for KeyUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyUri({})", self.text)
    }
}

/// A text that is no key URI, and why.
///
/// It shows how long the text is and the scheme, if it begins with one that this
/// crate knows, and nothing else of it: whoever mistypes a key may have typed a
/// password, a PIN or the passphrase itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyUriError {
    scheme: Option<&'static str>,
    bytes: usize,
    reason: &'static str,
}

impl KeyUriError {
    fn new(input: &str, reason: &'static str) -> Self {
        let starts =
            |scheme: &&str| input.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme));
        Self { scheme: SCHEMES.into_iter().find(starts), bytes: input.len(), reason }
    }

    /// What does not fit.
    #[must_use]
    pub fn reason(&self) -> &str {
        self.reason
    }
}

impl fmt::Display for KeyUriError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { scheme, bytes, reason } = self;
        match scheme {
            Some(scheme) => write!(f, "key URI {scheme}… ({bytes} bytes): {reason}"),
            None => write!(f, "key URI of {bytes} bytes: {reason}"),
        }
    }
}

impl std::error::Error for KeyUriError {}

/// The normalised text, and whether it is resolved.
type Normalised = Result<(String, bool), &'static str>;

fn split_scheme(input: &str) -> Result<(String, &str), KeyUriError> {
    let (scheme, rest) = input
        .split_once(':')
        .ok_or_else(|| KeyUriError::new(input, "has no scheme, such as local: or awskms:"))?;
    let mut bytes = scheme.bytes();
    let starts = bytes.next().is_some_and(|byte| byte.is_ascii_alphabetic());
    if !starts || !bytes.all(|byte| byte.is_ascii_alphanumeric() || b"+.-".contains(&byte)) {
        return Err(KeyUriError::new(input, "the scheme is not one of RFC 3986"));
    }
    Ok((scheme.to_ascii_lowercase(), rest))
}

fn by_scheme(scheme: &str, rest: &str) -> Normalised {
    match scheme {
        "arn" => aws(&format!("arn:{rest}")),
        "awskms" | "aws-kms" => aws(rest
            .strip_prefix("///")
            .or_else(|| rest.strip_prefix("//"))
            .ok_or("must be awskms:///arn:aws:kms:REGION:ACCOUNT:key/ID")?),
        "gcpkms" | "gcp-kms" => gcp(rest.strip_prefix("//").ok_or(GCP_FORM)?),
        "azurekeyvault" | "azurekms" | "https" => azure(rest.strip_prefix("//").ok_or(AZURE_FORM)?),
        "http" => Err("is not a key: Azure key identifiers begin with https://"),
        "pkcs11" => pkcs11(rest),
        "local" => local(rest),
        "passphrase" if rest.is_empty() => Ok((PASSPHRASE.into(), true)),
        "passphrase" => Err("is just `passphrase:`; the passphrase itself is never an argument"),
        _ => other(scheme, rest),
    }
}

fn aws(arn: &str) -> Normalised {
    let form = "must be arn:PARTITION:kms:REGION:ACCOUNT:key/ID or …:alias/NAME";
    let parts: Vec<&str> = arn.splitn(6, ':').collect();
    let ["arn", partition, "kms", region, account, resource] = parts[..] else { return Err(form) };
    let label = |text: &str| {
        !text.is_empty() && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    };
    let digits = account.len() == 12 && account.bytes().all(|byte| byte.is_ascii_digit());
    let (kind, name) = resource.split_once('/').ok_or(form)?;
    let id = |extra: &[u8]| {
        !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || extra.contains(&byte))
    };
    let fits = match kind {
        "key" => id(b"-"),
        "alias" => id(b"-_/"),
        _ => false,
    };
    if label(partition) && label(region) && digits && fits {
        Ok((format!("awskms:///{arn}"), kind == "key"))
    } else {
        Err(form)
    }
}

fn gcp(path: &str) -> Normalised {
    let parts: Vec<&str> = path.split('/').collect();
    let ["projects", project, "locations", location, "keyRings", ring, "cryptoKeys", key] = parts[..] else {
        return Err(GCP_FORM);
    };
    let name = |text: &str| {
        !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
    };
    // A project of a domain is written `example.com:project`.
    let project = !project.is_empty()
        && project.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-.:".contains(&byte));
    if project && [location, ring, key].into_iter().all(name) {
        Ok((format!("gcpkms://{path}"), true))
    } else {
        Err(GCP_FORM)
    }
}

fn azure(rest: &str) -> Normalised {
    let mut parts = rest.split('/');
    let (Some(host), Some("keys"), Some(key)) = (parts.next(), parts.next(), parts.next()) else {
        return Err(AZURE_FORM);
    };
    if parts.next().is_some() {
        return Err("must not name a key version: the current one wraps, and each header says which one did");
    }
    let vault = AZURE_SUFFIXES.iter().find_map(|suffix| host.strip_suffix(suffix));
    let label = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let named = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    let fits = vault.is_some_and(|vault| !vault.is_empty() && vault.bytes().all(label));
    if fits && !key.is_empty() && key.bytes().all(named) {
        Ok((format!("azurekeyvault://{host}/keys/{key}"), true))
    } else {
        Err(AZURE_FORM)
    }
}

/// RFC 7512 attributes in a fixed order, percent-encoded one way.
fn pkcs11(rest: &str) -> Normalised {
    let mut values: [Option<Vec<u8>>; PKCS11_ATTRIBUTES.len()] = Default::default();
    for attribute in rest.split(';') {
        let (name, value) = attribute.split_once('=').ok_or("pkcs11 attributes are name=value")?;
        let position = PKCS11_ATTRIBUTES
            .iter()
            .position(|known| *known == name)
            .ok_or("pkcs11 takes token, manufacturer, serial, model, object and id")?;
        let value = percent_decode(value).ok_or("a % must be followed by two hexadecimal digits")?;
        if value.is_empty() {
            return Err("a pkcs11 attribute is empty");
        }
        if values[position].replace(value).is_some() {
            return Err("a pkcs11 attribute is repeated");
        }
    }
    let has =
        |name| PKCS11_ATTRIBUTES.iter().zip(&values).any(|(known, value)| *known == name && value.is_some());
    if !(has("token") || has("serial")) || !(has("object") || has("id")) {
        return Err("pkcs11 needs a token (token= or serial=) and a key (object= or id=)");
    }
    let mut text = String::from("pkcs11:");
    for (name, value) in PKCS11_ATTRIBUTES.iter().zip(&values) {
        let Some(value) = value else { continue };
        if !text.ends_with(':') {
            text.push(';');
        }
        text.push_str(name);
        text.push('=');
        percent_encode(&mut text, value, *name == "id");
    }
    Ok((text, true))
}

fn local(rest: &str) -> Normalised {
    let form = "must be local://KEYSTORE-ID/KEY-NAME or local:KEY-NAME";
    let Some(path) = rest.strip_prefix("//") else {
        return if is_local_key_name(rest) { Ok((format!("local:{rest}"), false)) } else { Err(LOCAL_NAME) };
    };
    let (keystore, name) = path.split_once('/').ok_or(form)?;
    if keystore.len() != 32 || !keystore.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)) {
        return Err("a keystore id is 32 hexadecimal digits in lower case");
    }
    if is_local_key_name(name) { Ok((format!("local://{path}"), true)) } else { Err(LOCAL_NAME) }
}

/// Whether a key of a local keystore may have this name.
#[must_use]
pub fn is_local_key_name(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    (1..=64).contains(&name.len())
        && name.bytes().all(allowed)
        && name.starts_with(|first: char| first.is_ascii_alphanumeric())
}

/// A scheme of a provider outside this repository: kept as it is.
fn other(scheme: &str, rest: &str) -> Normalised {
    if rest.is_empty() || rest == "//" {
        return Err("names no key after the scheme");
    }
    let authority = rest.strip_prefix("//").and_then(|rest| rest.split('/').next());
    if authority.is_some_and(|authority| authority.contains('@')) {
        return Err("must not hold credentials: a key URI has no user part");
    }
    Ok((format!("{scheme}:{rest}"), true))
}

fn percent_decode(text: &str) -> Option<Vec<u8>> {
    let mut bytes = text.bytes();
    let mut decoded = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let digits = [bytes.next()?, bytes.next()?].map(|digit| char::from(digit).to_digit(16));
            let [Some(high), Some(low)] = digits else { return None };
            decoded.push(u8::try_from(high * 16 + low).ok()?);
        } else {
            decoded.push(byte);
        }
    }
    Some(decoded)
}

/// Unreserved characters of RFC 3986 stay, all else is `%XX`; an `id` is
/// binary and all `%XX`, as RFC 7512 recommends.
fn percent_encode(text: &mut String, bytes: &[u8], all: bool) {
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

const PASSPHRASE: &str = "passphrase:";
/// The schemes that an error may repeat.
const SCHEMES: [&str; 12] = [
    "awskms:",
    "aws-kms:",
    "arn:",
    "gcpkms:",
    "gcp-kms:",
    "azurekeyvault:",
    "azurekms:",
    "https:",
    "http:",
    "pkcs11:",
    "local:",
    PASSPHRASE,
];
const GCP_FORM: &str = "must be gcpkms://projects/P/locations/L/keyRings/R/cryptoKeys/K";
const AZURE_FORM: &str =
    "must be azurekeyvault://VAULT.vault.azure.net/keys/NAME, in lower case up to the key's name";
const LOCAL_NAME: &str =
    "a local key name has 1 to 64 characters of A–Z a–z 0–9 - _ . and begins with a letter or digit";
const PKCS11_ATTRIBUTES: [&str; 6] = ["token", "manufacturer", "serial", "model", "object", "id"];
const AZURE_SUFFIXES: [&str; 6] = [
    ".vault.azure.net",
    ".managedhsm.azure.net",
    ".vault.azure.cn",
    ".managedhsm.azure.cn",
    ".vault.usgovcloudapi.net",
    ".managedhsm.usgovcloudapi.net",
];

#[cfg(test)]
mod tests;
