//! Keys and aliases of AWS KMS: `awskms:///arn:PARTITION:kms:REGION:ACCOUNT:key/ID`.

use super::{KeyUri, Normalised};

/// The ARN of a key or alias.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct KeyArn<'u> {
    /// All of it, as AWS takes it.
    pub text: &'u str,
    /// `aws`, `aws-cn`, `aws-us-gov`, …
    pub partition: &'u str,
    /// The region.
    pub region: &'u str,
    /// The account: 12 digits.
    pub account: &'u str,
    /// What follows the account.
    pub name: KeyArnName<'u>,
}

/// What an ARN names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeyArnName<'u> {
    /// The id of a key.
    Key(&'u str),
    /// The name of an alias, without `alias/`.
    Alias(&'u str),
}

impl<'u> KeyArn<'u> {
    /// The parts of a key URI, or `None` when it is not one of AWS KMS.
    #[must_use]
    pub fn of(uri: &'u KeyUri) -> Option<Self> {
        Self::parse(uri.rest().strip_prefix("///").filter(|_| uri.scheme() == SCHEME)?)
    }

    /// Reads an ARN of AWS KMS.
    #[must_use]
    pub fn parse(text: &'u str) -> Option<Self> {
        let parts: Vec<&str> = text.splitn(6, ':').collect();
        let ["arn", partition, "kms", region, account, resource] = parts[..] else { return None };
        let label = |text: &str| {
            !text.is_empty()
                && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        };
        let digits = account.len() == 12 && account.bytes().all(|byte| byte.is_ascii_digit());
        let (kind, id) = resource.split_once('/')?;
        let named = |extra: &[u8]| {
            !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || extra.contains(&byte))
        };
        let name = match kind {
            "key" if named(b"-") => KeyArnName::Key(id),
            "alias" if named(b"-_/") => KeyArnName::Alias(id),
            _ => return None,
        };
        let fits = label(partition) && label(region) && digits;
        fits.then_some(Self { text, partition, region, account, name })
    }

    /// Whether it names an alias.
    #[must_use]
    pub fn is_alias(&self) -> bool {
        matches!(self.name, KeyArnName::Alias(_))
    }

    /// A multi-region key has one id, and the same key material, in every
    /// region that has a replica.
    #[must_use]
    pub fn is_multi_region(&self) -> bool {
        matches!(self.name, KeyArnName::Key(id) if id.starts_with("mrk-"))
    }

    /// The id of a key, or the name of an alias.
    #[must_use]
    pub fn id(&self) -> &'u str {
        match self.name {
            KeyArnName::Key(id) | KeyArnName::Alias(id) => id,
        }
    }

    /// Whether both are of the same account of the same partition.
    #[must_use]
    pub fn same_account(&self, other: &Self) -> bool {
        (self.partition, self.account) == (other.partition, other.account)
    }

    /// The ARN of the same name in another region.
    #[must_use]
    pub fn in_region(&self, region: &str) -> String {
        let resource = match self.name {
            KeyArnName::Key(id) => format!("key/{id}"),
            KeyArnName::Alias(name) => format!("alias/{name}"),
        };
        format!("arn:{}:kms:{region}:{}:{resource}", self.partition, self.account)
    }
}

pub(super) fn normalise(arn: &str) -> Normalised {
    let parts =
        KeyArn::parse(arn).ok_or("must be arn:PARTITION:kms:REGION:ACCOUNT:key/ID or …:alias/NAME")?;
    Ok((format!("{SCHEME}:///{arn}"), !parts.is_alias()))
}

const SCHEME: &str = "awskms";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_of_keys_aliases_and_replicas_are_told_apart() {
        let key = KeyUri::parse("arn:aws-cn:kms:cn-north-1:111122223333:key/mrk-12").unwrap();
        let arn = KeyArn::of(&key).unwrap();
        assert_eq!((arn.partition, arn.region, arn.account), ("aws-cn", "cn-north-1", "111122223333"));
        assert!(arn.is_multi_region() && !arn.is_alias());
        assert_eq!(arn.in_region("cn-northwest-1"), "arn:aws-cn:kms:cn-northwest-1:111122223333:key/mrk-12");
        let alias = KeyUri::parse("awskms:///arn:aws:kms:eu-west-1:111122223333:alias/a/b").unwrap();
        let arn = KeyArn::of(&alias).unwrap();
        assert_eq!(arn.name, KeyArnName::Alias("a/b"));
        assert!(arn.is_alias() && !arn.is_multi_region());
        assert_eq!(KeyArn::of(&KeyUri::passphrase()), None);
    }
}
