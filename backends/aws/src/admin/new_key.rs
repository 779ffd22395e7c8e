//! Making keys.

use aws_sdk_kms::types::{KeySpec, KeyUsageType, Tag};
use envelope_sdk::{
    KeyDescription, KeyState, NewKey, ProviderError,
    ProviderErrorKind::{Invalid, NotFound, Unsupported},
    printable,
};

use super::{aliases::check_alias, changes::SHORTEST_WAIT_DAYS, keys::key_of};
use crate::{AwsKms, error::failure, transport::Unlogged};

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

    /// Makes a symmetric key in the region of the configuration, and its alias. If
    /// the alias cannot be made, the key is scheduled for deletion, so that none
    /// is left that nobody knows and everybody pays.
    pub(super) async fn make_key(&self, new: &NewKey) -> Result<KeyDescription, ProviderError> {
        let Checked { region, multi_region } = self.check_new(new).await?;
        let tags = new.tags.iter().map(|(name, value)| Tag::builder().tag_key(name).tag_value(value).build());
        let tags = tags.collect::<Result<Vec<_>, _>>();
        let tags = tags.map_err(|error| failure(Invalid, None, error.to_string()))?;
        let created = self
            .client(&region)
            .await?
            .create_key()
            .key_usage(KeyUsageType::EncryptDecrypt)
            .key_spec(KeySpec::SymmetricDefault)
            .set_description(new.description.clone())
            .set_tags((!tags.is_empty()).then_some(tags))
            .multi_region(multi_region)
            .send()
            .unlogged()
            .await
            .map_err(|error| self.refused("kms:CreateKey", None, &error))?;
        let key = key_of(created.key_metadata, None)?;
        if let Err(error) = self.create_alias(&new.name, &key.uri).await {
            let undone = match self.schedule_deletion(&key.uri, SHORTEST_WAIT_DAYS).await {
                Ok(_) => "it is scheduled for deletion".to_owned(),
                Err(error) => format!("delete it yourself, because {error}"),
            };
            let message = format!(
                "the key was made, but not its alias {}, and {undone}: {}",
                new.name,
                error.message()
            );
            return Err(failure(error.kind(), &key.uri, message));
        }
        Ok(key.with_aliases(Some(&[self.alias_beside(&new.name, &key.uri)?])))
    }

    async fn refuse_taken(&self, region: &str, alias: &str) -> Result<(), ProviderError> {
        let call = self.client(region).await?.describe_key().key_id(format!("alias/{alias}"));
        let sent = call.send().unlogged().await;
        match sent.map_err(|error| self.refused("kms:DescribeKey", None, &error)) {
            Ok(_) => {
                let message =
                    format!("there is an alias {alias} already: rotate its key, or take another name");
                Err(failure(Invalid, None, message))
            }
            Err(error) if error.kind() == NotFound => Ok(()),
            Err(error) => Err(error),
        }
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
            && !name.starts_with("aws:")
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
const MAX_TAGS: usize = 50;
const MAX_TAG_NAME_LEN: usize = 128;
const MAX_TAG_VALUE_LEN: usize = 256;
/// Characters that are shown of a word of the caller.
const SHOWN: usize = 100;
