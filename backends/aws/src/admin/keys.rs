//! Keys and aliases.

use aws_sdk_kms::types::{KeySpec, KeyUsageType, Tag};
use envelope_sdk::{KeyUri, ProviderError, ProviderErrorKind};
use futures_util::future::join_all;

use super::{
    Pages,
    types::{AwsKey, NewKey, seconds},
};
use crate::{
    AwsKms,
    arn::Name,
    error::{failure, refusal},
    transport::Unlogged,
};

/// What KMS does beyond [`KeyAdmin`](envelope_sdk::KeyAdmin). Keys are named by
/// ARN or alias; each error names the permission that the call needs.
impl AwsKms {
    /// Creates a symmetric key in the region of the configuration, and its
    /// alias. If the alias cannot be made, the key is scheduled for deletion, so
    /// that none is left that nobody knows and everybody pays.
    ///
    /// # Errors
    ///
    /// [`ProviderErrorKind::Invalid`] when the alias is taken or no region is
    /// configured; what KMS says (kms:CreateKey, kms:CreateAlias,
    /// kms:TagResource, kms:DescribeKey).
    pub async fn create(&self, new: &NewKey) -> Result<AwsKey, ProviderError> {
        let region = self.region_of_new_keys()?;
        let place = place(&region)?;
        if let Some(alias) = &new.alias {
            check_alias(alias, &place)?;
            self.refuse_taken(&region, alias, &place).await?;
        }
        let tags = new.tags.iter().map(|(name, value)| Tag::builder().tag_key(name).tag_value(value).build());
        let tags = tags.collect::<Result<Vec<_>, _>>();
        let tags = tags.map_err(|error| failure(ProviderErrorKind::Invalid, &place, error.to_string()))?;
        let created = self
            .client(&region)
            .create_key()
            .key_usage(KeyUsageType::EncryptDecrypt)
            .key_spec(KeySpec::SymmetricDefault)
            .set_description(new.description.clone())
            .set_tags((!tags.is_empty()).then_some(tags))
            .multi_region(new.multi_region)
            .send()
            .unlogged()
            .await
            .map_err(|error| refusal("kms:CreateKey", &place, &error))?;
        let key = key_of(created.key_metadata, &place)?;
        if let Some(alias) = &new.alias
            && let Err(error) = self.create_alias(alias, &key.uri).await
        {
            let undone = match self.schedule_deletion(&key.uri, SHORTEST_WAIT_DAYS).await {
                Ok(_) => "it is scheduled for deletion".to_owned(),
                Err(error) => format!("delete it yourself, because {error}"),
            };
            let message =
                format!("the key was made, but not its alias {alias}, and {undone}: {}", error.message());
            return Err(failure(error.kind(), &key.uri, message));
        }
        Ok(key)
    }

    /// Describes a key, by ARN or alias.
    ///
    /// # Errors
    ///
    /// What KMS says (kms:DescribeKey).
    pub async fn describe(&self, key: &KeyUri) -> Result<AwsKey, ProviderError> {
        let arn = self.arn(key)?;
        let described = self.client(arn.region).describe_key().key_id(arn.text).send().unlogged().await;
        let described = described.map_err(|error| refusal("kms:DescribeKey", key, &error))?;
        let described = key_of(described.key_metadata, key)?;
        self.key_behind(key, Some(described.uri.rest().trim_start_matches('/')))?;
        Ok(described)
    }

    /// Describes the keys of the account in the region of the configuration
    /// that can wrap, without those that AWS made for its services. Keys that
    /// the caller may not describe are left out.
    ///
    /// # Errors
    ///
    /// [`ProviderErrorKind::Invalid`] when no region is configured; what KMS
    /// says (kms:ListKeys, kms:DescribeKey).
    pub async fn list(&self) -> Result<Vec<AwsKey>, ProviderError> {
        let region = self.region_of_new_keys()?;
        let place = place(&region)?;
        let mut pages = self.client(&region).list_keys().limit(PAGE).into_paginator().send();
        let (mut keys, mut turned) = (Vec::new(), Pages::default());
        while let Some(page) = pages.next().unlogged().await {
            let page = page.map_err(|error| refusal("kms:ListKeys", &place, &error))?;
            turned.turn(&place)?;
            let arns = page.keys.unwrap_or_default().into_iter().filter_map(|entry| entry.key_arn);
            let uris: Vec<KeyUri> = arns.filter_map(|arn| KeyUri::parse(&arn).ok()).collect();
            for some in uris.chunks(AT_ONCE) {
                for described in join_all(some.iter().map(|uri| self.describe(uri))).await {
                    match described {
                        Ok(key) if key.wraps && !key.aws_managed => keys.push(key),
                        Ok(_) => {}
                        // Deleted meanwhile, or another team's.
                        Err(error)
                            if matches!(
                                error.kind(),
                                ProviderErrorKind::AccessDenied | ProviderErrorKind::NotFound
                            ) => {}
                        Err(error) => return Err(error),
                    }
                }
            }
        }
        keys.sort_by(|one, other| one.uri.cmp(&other.uri));
        Ok(keys)
    }

    /// Enables a disabled key.
    ///
    /// # Errors
    ///
    /// What KMS says (kms:EnableKey). A key that waits for its deletion is of
    /// kind [`ProviderErrorKind::State`]: [cancel](Self::cancel_deletion) it first.
    pub async fn enable(&self, key: &KeyUri) -> Result<(), ProviderError> {
        let key = self.resolve(key).await?;
        let arn = self.arn(&key)?;
        let sent = self.client(arn.region).enable_key().key_id(arn.text).send().unlogged().await;
        sent.map(drop).map_err(|error| refusal("kms:EnableKey", &key, &error))
    }

    /// Disables a key: it neither wraps nor unwraps until it is enabled again.
    ///
    /// # Errors
    ///
    /// What KMS says (kms:DisableKey).
    pub async fn disable(&self, key: &KeyUri) -> Result<(), ProviderError> {
        let key = self.resolve(key).await?;
        let arn = self.arn(&key)?;
        let sent = self.client(arn.region).disable_key().key_id(arn.text).send().unlogged().await;
        sent.map(drop).map_err(|error| refusal("kms:DisableKey", &key, &error))
    }

    /// Has a key deleted after `days`, 7 to 30. Until then it neither wraps nor
    /// unwraps, and the deletion can be [cancelled](Self::cancel_deletion).
    /// Returns when it will be deleted, in seconds since 1970.
    ///
    /// # Errors
    ///
    /// What KMS says (kms:ScheduleKeyDeletion).
    pub async fn schedule_deletion(&self, key: &KeyUri, days: u32) -> Result<Option<u64>, ProviderError> {
        let key = self.resolve(key).await?;
        let arn = self.arn(&key)?;
        let Ok(days) = i32::try_from(days) else {
            return Err(failure(ProviderErrorKind::Invalid, &key, "a key is deleted after 7 to 30 days"));
        };
        let call = self.client(arn.region).schedule_key_deletion().key_id(arn.text);
        let sent = call.pending_window_in_days(days).send().unlogged().await;
        let scheduled = sent.map_err(|error| refusal("kms:ScheduleKeyDeletion", &key, &error))?;
        Ok(scheduled.deletion_date.as_ref().and_then(seconds))
    }

    /// Cancels the deletion of a key, which is disabled then.
    ///
    /// # Errors
    ///
    /// What KMS says (kms:CancelKeyDeletion).
    pub async fn cancel_deletion(&self, key: &KeyUri) -> Result<(), ProviderError> {
        let key = self.resolve(key).await?;
        let arn = self.arn(&key)?;
        let sent = self.client(arn.region).cancel_key_deletion().key_id(arn.text).send().unlogged().await;
        sent.map(drop).map_err(|error| refusal("kms:CancelKeyDeletion", &key, &error))
    }

    /// Makes an alias, without `alias/`, of a key of the same region, and
    /// returns its key URI.
    ///
    /// # Errors
    ///
    /// [`ProviderErrorKind::Invalid`] when the name is taken or not allowed;
    /// what KMS says (kms:CreateAlias, on the alias and on the key).
    pub async fn create_alias(&self, name: &str, key: &KeyUri) -> Result<KeyUri, ProviderError> {
        let key = self.resolve(key).await?;
        let arn = self.arn(&key)?;
        check_alias(name, &key)?;
        let alias = format!("arn:{}:kms:{}:{}:alias/{name}", arn.partition, arn.region, arn.account);
        let alias = KeyUri::parse(&alias)
            .map_err(|error| failure(ProviderErrorKind::Invalid, &key, error.to_string()))?;
        let call = self.client(arn.region).create_alias().alias_name(format!("alias/{name}"));
        let sent = call.target_key_id(arn.id()).send().unlogged().await;
        sent.map_err(|error| refusal("kms:CreateAlias", &key, &error))?;
        Ok(alias)
    }

    /// Turns an alias to another key of the same region: rotation by hand.
    /// What the old key wrapped opens with the old key alone, so keep its ARN
    /// among the keys that decrypt, or rewrap first.
    ///
    /// # Errors
    ///
    /// [`ProviderErrorKind::Invalid`] when `alias` is no alias or of another
    /// region or account; what KMS says (kms:UpdateAlias, on the alias and on both keys).
    pub async fn switch_alias(&self, alias: &KeyUri, key: &KeyUri) -> Result<(), ProviderError> {
        let key = self.resolve(key).await?;
        let (from, to) = (self.arn(alias)?, self.arn(&key)?);
        let Name::Alias(name) = from.name else {
            return Err(failure(ProviderErrorKind::Invalid, alias, "this is a key, and not an alias"));
        };
        if from.region != to.region || !from.same_account(&to) {
            let message = format!("an alias means keys of its own region and account, and {key} is not one");
            return Err(failure(ProviderErrorKind::Invalid, alias, message));
        }
        let call = self.client(from.region).update_alias().alias_name(format!("alias/{name}"));
        let sent = call.target_key_id(to.id()).send().unlogged().await;
        sent.map_err(|error| refusal("kms:UpdateAlias", alias, &error))?;
        self.key_behind(alias, Some(to.text)).map(drop)
    }

    /// The aliases of a key.
    ///
    /// # Errors
    ///
    /// What KMS says (kms:ListAliases).
    pub async fn aliases(&self, key: &KeyUri) -> Result<Vec<KeyUri>, ProviderError> {
        let key = self.resolve(key).await?;
        let arn = self.arn(&key)?;
        let mut pages = self.client(arn.region).list_aliases().key_id(arn.text).into_paginator().send();
        let (mut aliases, mut turned) = (Vec::new(), Pages::default());
        while let Some(page) = pages.next().unlogged().await {
            let page = page.map_err(|error| refusal("kms:ListAliases", &key, &error))?;
            turned.turn(&key)?;
            let arns = page.aliases.unwrap_or_default().into_iter().filter_map(|entry| entry.alias_arn);
            aliases.extend(arns.filter_map(|arn| KeyUri::parse(&arn).ok()));
        }
        Ok(aliases)
    }

    pub(super) fn region_of_new_keys(&self) -> Result<String, ProviderError> {
        self.default_region().map(str::to_owned).ok_or_else(|| {
            let message = "no region is configured: set AWS_REGION, or the region of the profile";
            match place("REGION") {
                Ok(place) => failure(ProviderErrorKind::Invalid, &place, message),
                Err(error) => error,
            }
        })
    }

    async fn refuse_taken(&self, region: &str, alias: &str, place: &KeyUri) -> Result<(), ProviderError> {
        let sent =
            self.client(region).describe_key().key_id(format!("alias/{alias}")).send().unlogged().await;
        match sent.map_err(|error| refusal("kms:DescribeKey", place, &error)) {
            Ok(_) => {
                let message =
                    format!("there is an alias {alias} already: rotate its key, or take another name");
                Err(failure(ProviderErrorKind::Invalid, place, message))
            }
            Err(error) if error.kind() == ProviderErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        }
    }
}

/// Checked here, so that no key is made for an alias that cannot be.
fn check_alias(name: &str, key: &KeyUri) -> Result<(), ProviderError> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"/_-".contains(&byte);
    if (1..=MAX_ALIAS_LEN).contains(&name.len()) && name.bytes().all(allowed) && !name.starts_with("aws/") {
        return Ok(());
    }
    let message = "an alias has 1 to 250 characters of A–Z a–z 0–9 / _ - and does not begin with aws/";
    Err(failure(ProviderErrorKind::Invalid, key, message))
}

/// What an error names where there is no key yet.
fn place(region: &str) -> Result<KeyUri, ProviderError> {
    KeyUri::parse(&format!("aws-kms-region:{region}"))
        .map_err(|error| failure(ProviderErrorKind::Invalid, &KeyUri::passphrase(), error.to_string()))
}

fn key_of(
    metadata: Option<aws_sdk_kms::types::KeyMetadata>,
    asked: &KeyUri,
) -> Result<AwsKey, ProviderError> {
    metadata.and_then(AwsKey::of).ok_or_else(|| {
        failure(ProviderErrorKind::Protocol, asked, "KMS answered without the description of a key")
    })
}

/// How long a key waits for its deletion at least.
pub(super) const SHORTEST_WAIT_DAYS: u32 = 7;
/// How long if nothing else is said, as KMS has it.
pub(super) const WAIT_DAYS: u32 = 30;
/// With `alias/`, 256.
const MAX_ALIAS_LEN: usize = 250;
const PAGE: i32 = 100;
/// Keys that are described at once: KMS throttles by account.
const AT_ONCE: usize = 8;
