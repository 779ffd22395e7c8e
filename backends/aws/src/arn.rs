//! Key ARNs and aliases in key URIs.

use envelope_sdk::KeyUri;

/// The parts of `awskms:///arn:PARTITION:kms:REGION:ACCOUNT:key/ID` or
/// `…:alias/NAME`, which [`KeyUri`] has checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct KeyArn<'u> {
    /// All of it, as AWS takes it.
    pub(crate) text: &'u str,
    pub(crate) partition: &'u str,
    pub(crate) region: &'u str,
    pub(crate) account: &'u str,
    pub(crate) name: Name<'u>,
}

/// What follows the account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Name<'u> {
    /// The id of a key.
    Key(&'u str),
    /// The name of an alias, without `alias/`.
    Alias(&'u str),
}

impl<'u> KeyArn<'u> {
    /// `None` when the URI is not one of AWS KMS.
    pub(crate) fn of(uri: &'u KeyUri) -> Option<Self> {
        if uri.scheme() != "awskms" {
            return None;
        }
        let text = uri.rest().trim_start_matches('/');
        let mut parts = text.splitn(6, ':');
        let (_arn, partition, _kms, region, account, resource) =
            (parts.next()?, parts.next()?, parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let name = match resource.split_once('/')? {
            ("key", id) => Name::Key(id),
            ("alias", name) => Name::Alias(name),
            _ => return None,
        };
        Some(Self { text, partition, region, account, name })
    }

    pub(crate) fn is_alias(&self) -> bool {
        matches!(self.name, Name::Alias(_))
    }

    /// A multi-region key has one id, and the same key material, in every
    /// region that has a replica.
    pub(crate) fn is_multi_region(&self) -> bool {
        matches!(self.name, Name::Key(id) if id.starts_with("mrk-"))
    }

    /// The id of a key, or the name of an alias.
    pub(crate) fn id(&self) -> &'u str {
        match self.name {
            Name::Key(id) | Name::Alias(id) => id,
        }
    }

    /// The same account of the same partition.
    pub(crate) fn same_account(&self, other: &Self) -> bool {
        (self.partition, self.account) == (other.partition, other.account)
    }

    /// The ARN of the replica in another region.
    pub(crate) fn in_region(&self, region: &str) -> String {
        let resource = match self.name {
            Name::Key(id) => format!("key/{id}"),
            Name::Alias(name) => format!("alias/{name}"),
        };
        format!("arn:{}:kms:{region}:{}:{resource}", self.partition, self.account)
    }
}

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
        assert_eq!(arn.name, Name::Alias("a/b"));
        assert!(arn.is_alias() && !arn.is_multi_region());
        assert_eq!(KeyArn::of(&KeyUri::passphrase()), None);
    }
}
