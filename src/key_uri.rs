//! Key URIs: the names of KEKs, in one spelling each.
//!
//! | Provider | Canonical | Also accepted |
//! |---|---|---|
//! | AWS KMS | `awskms:///arn:aws:kms:REGION:ACCOUNT:key/ID` (or `…:alias/NAME`) | the bare ARN, `aws-kms://…` |
//! | Google Cloud KMS | `gcpkms://projects/P/locations/L/keyRings/R/cryptoKeys/K` | bare `projects/…`, `gcp-kms://…` |
//! | Azure | `azurekeyvault://VAULT.vault.azure.net/keys/NAME` | `azurekms://…`, the `https://…` key identifier |
//! | Vault, OpenBao | `hashivault://MOUNT/KEY` | `openbao://…`; `hashivault://KEY` of the mount `transit` |
//! | PKCS#11 | RFC 7512 `pkcs11:token=…;object=…` or `;id=…` | attributes in another order or escaping |
//! | Local keystore | `local://KEYSTORE-ID/KEY-NAME` | `local:KEY-NAME` |
//! | Passphrase | `passphrase:` | |
//! | Others | `scheme:…`, taken as it is | |
//!
//! Each scheme has a module with the parts of its URIs.
//!
//! The scheme is case-insensitive, the rest exact. A key URI holds no
//! endpoint, credential or PIN: those are configuration. Userinfo, fragments and
//! queries are refused.

pub mod aws;
pub mod azure;
pub mod gcp;
pub mod local;
pub mod percent;
pub mod pkcs11;
pub mod vault;

use std::{fmt, str::FromStr};

pub use local::is_key_name;

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
            gcp::normalise(input)
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
    /// `azurekeyvault`, `hashivault`, `pkcs11`, `local`, `passphrase` or another.
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

    /// Whether the scheme is one of the table above, and not another.
    pub(crate) fn has_known_scheme(&self) -> bool {
        KNOWN.contains(&self.scheme())
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
        "arn" => aws::normalise(&format!("arn:{rest}")),
        "awskms" | "aws-kms" => aws::normalise(
            rest.strip_prefix("///")
                .or_else(|| rest.strip_prefix("//"))
                .ok_or("must be awskms:///arn:aws:kms:REGION:ACCOUNT:key/ID")?,
        ),
        "gcpkms" | "gcp-kms" => gcp::normalise(rest.strip_prefix("//").ok_or(gcp::FORM)?),
        "azurekeyvault" | "azurekms" | "https" => {
            azure::normalise(rest.strip_prefix("//").ok_or(azure::FORM)?)
        }
        "http" => Err("is not a key: Azure key identifiers begin with https://"),
        "hashivault" | "openbao" => vault::normalise(rest.strip_prefix("//").ok_or(vault::FORM)?),
        "pkcs11" => pkcs11::normalise(rest),
        "local" => local::normalise(rest),
        "passphrase" if rest.is_empty() => Ok((PASSPHRASE.into(), true)),
        "passphrase" => Err("is just `passphrase:`; the passphrase itself is never an argument"),
        _ => other(scheme, rest),
    }
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

const PASSPHRASE: &str = "passphrase:";
/// The schemes of normalised key URIs that this crate knows.
const KNOWN: [&str; 7] = ["awskms", "azurekeyvault", "gcpkms", "hashivault", "local", "passphrase", "pkcs11"];
/// The schemes that an error may repeat.
const SCHEMES: [&str; 14] = [
    "awskms:",
    "aws-kms:",
    "arn:",
    "gcpkms:",
    "gcp-kms:",
    "azurekeyvault:",
    "azurekms:",
    "https:",
    "http:",
    "hashivault:",
    "openbao:",
    "pkcs11:",
    "local:",
    PASSPHRASE,
];

#[cfg(test)]
mod tests;
