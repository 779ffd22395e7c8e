//! Keys of Google Cloud KMS:
//! `gcpkms://projects/P/locations/L/keyRings/R/cryptoKeys/K`.

use super::{KeyUri, Normalised};

/// The resource name of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct CryptoKeyName<'u> {
    /// All of it, as Google takes it: `projects/…`.
    pub text: &'u str,
    /// The project; that of a domain is written `example.com:project`.
    pub project: &'u str,
    /// The location, such as `europe-west3` or `global`.
    pub location: &'u str,
    /// The key ring.
    pub key_ring: &'u str,
    /// The key.
    pub key: &'u str,
}

impl<'u> CryptoKeyName<'u> {
    /// The parts of a key URI, or `None` when it is not one of Google Cloud KMS.
    #[must_use]
    pub fn of(uri: &'u KeyUri) -> Option<Self> {
        Self::parse(uri.rest().strip_prefix("//").filter(|_| uri.scheme() == SCHEME)?)
    }

    /// Reads a resource name.
    #[must_use]
    pub fn parse(text: &'u str) -> Option<Self> {
        let parts: Vec<&str> = text.split('/').collect();
        let ["projects", project, "locations", location, "keyRings", key_ring, "cryptoKeys", key] = parts[..]
        else {
            return None;
        };
        let name = |text: &str| {
            !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
        };
        let named = !project.is_empty()
            && project.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-.:".contains(&byte));
        let fits = named && [location, key_ring, key].into_iter().all(name);
        fits.then_some(Self { text, project, location, key_ring, key })
    }
}

pub(super) fn normalise(path: &str) -> Normalised {
    CryptoKeyName::parse(path).ok_or(FORM)?;
    Ok((format!("{SCHEME}://{path}"), true))
}

const SCHEME: &str = "gcpkms";
pub(super) const FORM: &str = "must be gcpkms://projects/P/locations/L/keyRings/R/cryptoKeys/K";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_of_a_resource_name_are_told_apart() {
        let uri =
            KeyUri::parse("projects/example.com:p-1/locations/europe-west3/keyRings/ring_1/cryptoKeys/K");
        let uri = uri.unwrap();
        let name = CryptoKeyName::of(&uri).unwrap();
        assert_eq!(name.text, uri.rest().trim_start_matches('/'));
        assert_eq!(
            (name.project, name.location, name.key_ring, name.key),
            ("example.com:p-1", "europe-west3", "ring_1", "K")
        );
        assert_eq!(CryptoKeyName::of(&KeyUri::passphrase()), None);
    }
}
