//! Keys of the Transit engine of HashiCorp Vault and OpenBao: `hashivault://MOUNT/KEY`.
//!
//! Which server it is, and which namespace, is configuration.

use super::{KeyUri, Normalised};

/// The parts of a key URI of Transit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct TransitKeyName<'u> {
    /// Where the engine is mounted, without a slash at either end: `transit`,
    /// `teams/payments/transit`.
    pub mount: &'u str,
    /// The key.
    pub key: &'u str,
}

impl<'u> TransitKeyName<'u> {
    /// The parts of a key URI, or `None` when it is not one of Transit.
    #[must_use]
    pub fn of(uri: &'u KeyUri) -> Option<Self> {
        Self::parse(uri.rest().strip_prefix("//").filter(|_| uri.scheme() == SCHEME)?)
    }

    /// Reads `MOUNT/KEY`.
    fn parse(text: &'u str) -> Option<Self> {
        let (mount, key) = text.rsplit_once('/')?;
        (mount.split('/').all(is_segment) && is_transit_key_name(key)).then_some(Self { mount, key })
    }
}

/// Whether Transit takes this name for a key: one or more of `A–Z a–z 0–9 _ - .`, where the first
/// and the last are none of `-` and `.`.
#[must_use]
pub fn is_transit_key_name(name: &str) -> bool {
    let ends = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    name.bytes().all(is_named) && ends(name.bytes().next()) && ends(name.bytes().last())
}

pub(super) fn normalise(rest: &str) -> Normalised {
    // As Go CDK writes it, for the mount that Transit has unless somebody chose another.
    let path = if rest.contains('/') { rest.to_owned() } else { format!("{USUAL_MOUNT}/{rest}") };
    TransitKeyName::parse(&path).ok_or(FORM)?;
    Ok((format!("{SCHEME}://{path}"), true))
}

fn is_segment(segment: &str) -> bool {
    !["", ".", ".."].contains(&segment) && segment.bytes().all(is_named)
}

fn is_named(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-_.".contains(&byte)
}

const SCHEME: &str = "hashivault";
const USUAL_MOUNT: &str = "transit";
pub(super) const FORM: &str =
    "must be hashivault://MOUNT/KEY, such as hashivault://transit/orders; the server is configuration";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mount_and_key_are_told_apart() {
        for (text, mount, key) in [
            ("hashivault://transit/orders", "transit", "orders"),
            ("openbao://teams/pay_1/transit.v2/Orders-2.0_a", "teams/pay_1/transit.v2", "Orders-2.0_a"),
            ("hashivault://orders", "transit", "orders"),
        ] {
            let uri = KeyUri::parse(text).unwrap();
            assert_eq!(TransitKeyName::of(&uri), Some(TransitKeyName { mount, key }), "{text}");
        }
        assert_eq!(TransitKeyName::of(&KeyUri::passphrase()), None);
    }
}
