//! Making keys.

use aws_sdk_kms::types::{KeyMetadata, KeySpec, KeyUsageType, Tag};
use envelope_sdk::{
    KeyDescription, KeyState, KeyUri, NewKey, ProviderError,
    ProviderErrorKind::{Invalid, Protocol, Unsupported},
    key_uri::aws::KeyArn,
    printable,
};

use super::{
    aliases::{Unmade, check_alias},
    changes::SHORTEST_WAIT_DAYS,
    key::AwsKey,
    keys::key_of,
    once,
};
use crate::{
    AwsKms,
    error::{failure, may_be_done, unsure},
    transport::Unlogged,
};

/// A key that may be made, as far as is known.
pub(super) struct Checked {
    region: String,
    multi_region: bool,
}

impl AwsKms {
    /// What [`make_key`](Self::make_key) refuses.
    pub(super) async fn check_new(&self, new: &NewKey) -> Result<Checked, ProviderError> {
        check_kind(new)?;
        let multi_region = multi_region(new)?;
        check_alias(&new.name, None)?;
        check_words(new)?;
        let region = self.region_of_new_keys().await?;
        self.refuse_taken(&region, &new.name).await?;
        Ok(Checked { region, multi_region })
    }

    /// Makes a symmetric key in the region of the configuration, in one attempt, and
    /// its alias. If the alias cannot be made, the key is scheduled for deletion,
    /// so that none is left that nobody knows and everybody pays.
    pub(super) async fn make_key(&self, new: &NewKey) -> Result<KeyDescription, ProviderError> {
        let Checked { region, multi_region } = self.check_new(new).await?;
        let tags = new.tags.iter().map(|(name, value)| Tag::builder().tag_key(name).tag_value(value).build());
        let tags = tags.collect::<Result<Vec<_>, _>>();
        let tags = tags.map_err(|error| failure(Invalid, None, error.to_string()))?;
        let sent = self
            .client(&region)
            .await?
            .create_key()
            .key_usage(KeyUsageType::EncryptDecrypt)
            .key_spec(KeySpec::SymmetricDefault)
            .set_description(new.description.clone())
            .set_tags((!tags.is_empty()).then_some(tags))
            .multi_region(multi_region)
            .customize()
            .config_override(once())
            .send()
            .unlogged()
            .await;
        let created = sent.map_err(|error| {
            let refused = self.refused("kms:CreateKey", None, &error);
            if may_be_done(&error) { unsure(&refused, LOOK) } else { refused }
        })?;
        let key = made_in(&region, created.key_metadata).map_err(|error| unsure(&error, LOOK))?;
        let name = &new.name;
        if let Err(unmade) = self.create_alias(name, &key.uri).await {
            return Err(self.without_alias(name, &key.uri, unmade).await);
        }
        if let Err(error) = self.see_alias(&region, name, &key.uri).await {
            let message = format!(
                "KMS said that it made the key and its alias {name}, and that could not be verified: describe the \
                 alias before it is used: {}",
                error.message()
            );
            return Err(failure(error.kind(), &key.uri, message).retryable(false));
        }
        Ok(key.with_aliases(Some(&[self.alias_beside(name, &key.uri)?])))
    }

    /// The error of a key that was made and got no alias. It is scheduled for
    /// deletion only if the alias cannot be there.
    async fn without_alias(&self, name: &str, key: &KeyUri, unmade: Unmade) -> ProviderError {
        let Unmade { error, is_certain } = unmade;
        let what = if !is_certain {
            format!(
                "the key was made. It is not known whether its alias {name} was: describe the alias, and set it if it \
                 is not there"
            )
        } else {
            let undone = match self.delete_after(key, SHORTEST_WAIT_DAYS).await {
                Ok(_) => "it is scheduled for deletion".to_owned(),
                Err(error) => format!("delete it yourself, because {error}"),
            };
            format!("the key was made, but not its alias {name}, and {undone}")
        };
        // Again, it would be another key.
        failure(error.kind(), key, format!("{what}: {}", error.message())).retryable(false)
    }

    async fn refuse_taken(&self, region: &str, alias: &str) -> Result<(), ProviderError> {
        match self.alias_in(region, alias).await? {
            Some(_) => {
                let message =
                    format!("there is an alias {alias} already: rotate its key, or take another name");
                Err(failure(Invalid, None, message))
            }
            None => Ok(()),
        }
    }
}

/// The key of an answer to `CreateKey`, which must be one of the region that was
/// asked. Its account is that of its alias.
fn made_in(region: &str, metadata: Option<KeyMetadata>) -> Result<AwsKey, ProviderError> {
    let key = key_of(metadata, None)?;
    if KeyArn::of(&key.uri).is_some_and(|arn| arn.region == region && is_partition(arn.partition, region)) {
        return Ok(key);
    }
    let message = "KMS answered with a key of another region: do not trust what stands between";
    Err(failure(Protocol, None, message))
}

/// Whether a region may be of a partition. Of most it is not known.
fn is_partition(partition: &str, region: &str) -> bool {
    let of_region = KNOWN_PARTITIONS.iter().find(|(regions, _)| region.starts_with(regions));
    match of_region {
        Some((_, known)) => partition == *known,
        None => KNOWN_PARTITIONS.iter().all(|(_, known)| partition != *known),
    }
}

/// Keys that KMS does not make.
fn check_kind(new: &NewKey) -> Result<(), ProviderError> {
    let refuse = |message: String| Err(failure(Unsupported, None, message));
    if new.state != KeyState::Active {
        return refuse("AWS KMS makes only active keys: create it, then suspend it".into());
    }
    if new.not_after.is_some() {
        let message = "AWS KMS keeps no end of a cryptoperiod: let the key rotate by itself";
        return refuse(message.into());
    }
    match new.algorithm.as_deref() {
        None | Some(ALGORITHM) => Ok(()),
        Some(other) => {
            let other = printable::cut(other, SHOWN);
            refuse(format!("a key of AWS KMS that wraps DEKs is of the kind {ALGORITHM}, not {other}"))
        }
    }
}

fn multi_region(new: &NewKey) -> Result<bool, ProviderError> {
    let mut multi_region = false;
    for (name, value) in &new.options {
        multi_region = match (name.as_str(), value.as_str()) {
            (MULTI_REGION, "true") => true,
            (MULTI_REGION, "false") => false,
            (MULTI_REGION, _) => {
                let message = format!("the option {MULTI_REGION} is `true` or `false`");
                return Err(failure(Invalid, None, message));
            }
            (other, _) => {
                let other = printable::cut(other, SHOWN);
                let message = format!("a key of AWS KMS has no option {other}: there is {MULTI_REGION}");
                return Err(failure(Unsupported, None, message));
            }
        };
    }
    Ok(multi_region)
}

/// The limits of `CreateKey`, so that a dry run knows them.
fn check_words(new: &NewKey) -> Result<(), ProviderError> {
    let refuse = |message: &str| Err(failure(Invalid, None, message));
    let len = |text: &str| text.chars().count();
    if new.description.as_deref().is_some_and(|text| len(text) > MAX_DESCRIPTION_LEN) {
        return refuse("a description has at most 8192 characters");
    }
    if new.tags.len() > MAX_TAGS {
        return refuse("a key has at most 50 tags");
    }
    let fits = |(name, value): (&String, &String)| {
        (1..=MAX_TAG_NAME_LEN).contains(&len(name))
            && !name.get(..RESERVED.len()).is_some_and(|start| start.eq_ignore_ascii_case(RESERVED))
            && len(value) <= MAX_TAG_VALUE_LEN
    };
    if !new.tags.iter().all(fits) {
        return refuse(
            "the name of a tag has 1 to 128 characters and does not begin with aws:, its value at most 256",
        );
    }
    Ok(())
}

const ALGORITHM: &str = "SYMMETRIC_DEFAULT";
const MULTI_REGION: &str = "multi-region";
const MAX_DESCRIPTION_LEN: usize = 8192;
/// What the names of AWS's own tags begin with, in whatever case.
const RESERVED: &str = "aws:";
/// How the regions of partitions of their own begin.
const KNOWN_PARTITIONS: [(&str, &str); 2] = [("cn-", "aws-cn"), ("us-gov-", "aws-us-gov")];
const LOOK: &str =
    "look for a key that was made just now and has no alias, and delete it, before another is made";
const MAX_TAGS: usize = 50;
const MAX_TAG_NAME_LEN: usize = 128;
const MAX_TAG_VALUE_LEN: usize = 256;
/// Characters that are shown of a word of the caller.
const SHOWN: usize = 100;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_region_of_another_partition_is_told() {
        for (partition, region, fits) in [
            ("aws", "eu-central-1", true),
            ("aws-cn", "cn-north-1", true),
            ("aws-us-gov", "us-gov-west-1", true),
            ("aws-eusc", "eusc-de-east-1", true),
            ("aws", "cn-north-1", false),
            ("aws-cn", "eu-central-1", false),
            ("aws-us-gov", "us-east-1", false),
        ] {
            assert_eq!(is_partition(partition, region), fits, "{partition} {region}");
        }
    }
}
