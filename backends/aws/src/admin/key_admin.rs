//! [`KeyAdmin`]: what every key store that manages keys can do.

use async_trait::async_trait;
use envelope_sdk::{
    KeyAdmin, KeyChange, KeyDescription, KeyUri, NewKey, ProviderError, ProviderErrorKind,
    admin::{AutoRotation, KeyPage, RotationStatus},
};

use super::{changes::Step, key::AwsKey};
use crate::{AwsKms, error::NAME};

/// Keys of KMS as far as its states go; see [`AwsKeyState`](crate::AwsKeyState).
/// Keys are named by ARN or alias; each refusal names the permission that the
/// call needs.
///
/// - The name of a **new key** is that of its alias: 1 to 250 of
///   `A–Z a–z 0–9 / _ -`, not beginning with `aws/`. The region of the
///   configuration is where keys are made and listed. The option `multi-region`,
///   `true` or `false`, says whether the key may have replicas in other regions.
///   KMS makes no pre-active keys, and keeps no end of a cryptoperiod.
/// - What would make a second key, or rotate twice, is attempted **once**
///   (kms:CreateKey, kms:RotateKeyOnDemand): if the answer is lost, the error says
///   that it is not known, how to look, and is not retryable. After an error of
///   another change the key or alias is described, and what is for done.
/// - Keys have no **versions** that could be named.
/// - **Details** are `aws_state`, `description`, `origin`, `multi_region`,
///   `aliases` where the caller may list them (kms:ListAliases), and `deletion`.
///   [`describe_key`](KeyAdmin::describe_key) alone tells aliases of keys that
///   were there before.
/// - **Rotating** is a rotation on demand, for keys whose material KMS holds.
/// - **Suspended** is disabled, **active** is enabled. **Deactivated** and
///   **compromised** are refused as [`Unsupported`](ProviderErrorKind::Unsupported):
///   deny kms:Encrypt in the key's policy.
/// - **Destroyed** schedules the deletion in 30 days. The key must be suspended
///   first, so that nobody learns from a deletion that the key was in use. Until
///   that day it is suspended, and [`restore_key`](KeyAdmin::restore_key) brings it
///   back.
#[async_trait]
impl KeyAdmin for AwsKms {
    fn provider(&self) -> &'static str {
        NAME
    }

    /// kms:CreateKey, kms:TagResource, kms:CreateAlias, kms:DescribeKey, and
    /// kms:ScheduleKeyDeletion where the alias cannot be made.
    async fn create_key(&self, new: &NewKey) -> Result<KeyDescription, ProviderError> {
        self.make_key(new).await
    }

    /// kms:DescribeKey.
    async fn check_new_key(&self, new: &NewKey) -> Result<(), ProviderError> {
        self.check_new(new).await.map(drop)
    }

    /// kms:DescribeKey, and kms:ListAliases if that is permitted.
    async fn describe_key(&self, key: &KeyUri) -> Result<KeyDescription, ProviderError> {
        let described = self.describe(key).await?;
        match self.aliases(&described.uri).await {
            Ok(aliases) => Ok(described.with_aliases(Some(&aliases))),
            Err(error) if error.kind() == ProviderErrorKind::AccessDenied => Ok(described.describe()),
            Err(error) => Err(error),
        }
    }

    /// kms:ListKeys and kms:DescribeKey. A page has up to 100 keys, of which those
    /// are left out that wrap nothing, that AWS made for its services, and that the
    /// caller may not describe.
    async fn list_keys(&self, page: Option<&str>) -> Result<KeyPage, ProviderError> {
        let (keys, next) = self.page_of_keys(page).await?;
        Ok(KeyPage::new(keys.iter().map(AwsKey::describe).collect(), next))
    }

    /// kms:DescribeKey and kms:RotateKeyOnDemand.
    async fn rotate_key(&self, key: &KeyUri) -> Result<KeyDescription, ProviderError> {
        let key = self.plan_rotation(key).await?;
        self.rotate_on_demand(&key.uri).await?;
        // The material alone is another one.
        Ok(key.describe())
    }

    /// kms:DescribeKey.
    async fn check_rotation(&self, key: &KeyUri) -> Result<(), ProviderError> {
        self.plan_rotation(key).await.map(drop)
    }

    /// kms:DescribeKey, and kms:EnableKey, kms:DisableKey or
    /// kms:ScheduleKeyDeletion.
    async fn change_key(
        &self,
        key: &KeyUri,
        version: Option<&str>,
        change: KeyChange,
    ) -> Result<KeyDescription, ProviderError> {
        let (described, step) = self.plan_change(key, version, change).await?;
        self.take_step(&described.uri, step).await?;
        self.describe_changed(&described.uri).await
    }

    /// kms:DescribeKey.
    async fn check_change(
        &self,
        key: &KeyUri,
        version: Option<&str>,
        change: KeyChange,
    ) -> Result<(), ProviderError> {
        self.plan_change(key, version, change).await.map(drop)
    }

    /// kms:DescribeKey, and kms:EnableKeyRotation or kms:DisableKeyRotation. Every 90 to 2560 days, by
    /// default every 365 days.
    async fn set_rotation(&self, key: &KeyUri, rotation: AutoRotation) -> Result<(), ProviderError> {
        self.rotate_by_itself(key, rotation).await
    }

    /// kms:DescribeKey.
    async fn check_set_rotation(&self, key: &KeyUri, rotation: AutoRotation) -> Result<(), ProviderError> {
        self.plan_period(key, rotation).await.map(drop)
    }

    /// kms:GetKeyRotationStatus and kms:ListKeyRotations. The detail
    /// `on_demand_since` is when a rotation on demand began that is under way.
    async fn rotation_status(&self, key: &KeyUri) -> Result<RotationStatus, ProviderError> {
        self.told_rotation(key).await
    }

    /// kms:DescribeKey, and kms:CreateAlias or kms:UpdateAlias. The alias lies
    /// beside its key, in the same region and account. What the key of before
    /// wrapped opens with that key's ARN alone: keep it among the keys that
    /// decrypt, or rewrap first.
    async fn set_alias(&self, alias: &str, key: &KeyUri) -> Result<KeyUri, ProviderError> {
        self.turn_alias(alias, key).await
    }

    /// kms:DescribeKey.
    async fn check_set_alias(&self, alias: &str, key: &KeyUri) -> Result<(), ProviderError> {
        self.plan_alias(alias, key).await.map(drop)
    }

    /// kms:CancelKeyDeletion and kms:DescribeKey. The key is suspended then.
    async fn restore_key(&self, key: &KeyUri) -> Result<KeyDescription, ProviderError> {
        let key = self.plan_restoration(key).await?.uri;
        self.take_step(&key, Step::Restore).await?;
        self.describe_changed(&key).await
    }

    /// kms:DescribeKey.
    async fn check_restore_key(&self, key: &KeyUri) -> Result<(), ProviderError> {
        self.plan_restoration(key).await.map(drop)
    }
}
