//! [`KeyAdmin`]: what every key store that manages keys can do.

use async_trait::async_trait;
use envelope_sdk::{
    KeyAdmin, KeyChange, KeyDescription, KeyUri, NewKey, ProviderError,
    admin::{AutoRotation, KeyPage, RotationStatus, cannot},
};

use super::{changes::check_changed, key::AzureKey};
use crate::{AzureKeyVault, failure::NAME};

/// Keys of vaults and managed HSMs as far as Azure's states go; see
/// [`AzureVersion`](crate::AzureVersion) and [`AzureKey::state`](crate::AzureKey::state).
/// Each refusal of the caller names the data action that the call needs, and roles that
/// have it.
///
/// - **New keys** are made in the vault of the settings, where keys are listed too. Kinds
///   are `RSA-3072` (of a vault by default), `RSA-4096`, `RSA-HSM-3072`, `RSA-HSM-4096`
///   and, of a managed HSM and there by default, `oct-HSM-256`. Of 2048 bits, and
///   exportable, none is made. Options are `not-before` and `expires`, in seconds since
///   1970. A description is kept as a tag. What the vault made is compared with what was
///   asked; where it is something else, the error names the version that is there.
/// - What would make a second key or version is attempted **once**: if the answer is lost,
///   the error says that it is not known, how to look, and is not retryable.
/// - **Suspended** is disabled. A whole key is suspended by disabling each enabled version,
///   and activated by enabling each disabled one: who wants one of them to stay disabled
///   activates single versions. **Deactivated** is what a version is that has expired
///   (`exp`) or is not the current one; a key is made so by letting its current version
///   expire now. **Pre-active** is what begins later (`nbf`). Nothing is made
///   **compromised** ([`Unsupported`](envelope_sdk::ProviderErrorKind::Unsupported)).
/// - A key that something else **manages**, such as a certificate, is described and not
///   changed ([`Unsupported`](envelope_sdk::ProviderErrorKind::Unsupported)).
/// - **Destroyed** deletes a key, and no single version. Until Azure purges it, after 7 to
///   90 days as the vault has it, it is suspended, and
///   [`restore_key`](KeyAdmin::restore_key) brings it back as it was.
///   [`purge_key`](AzureKeyVault::purge_key) does not wait. An active key must be
///   suspended first, so that nobody learns from a deletion that it was in use.
/// - The **end of a cryptoperiod** is kept in a tag and refuses nothing; where there is no
///   such tag, `exp` is told.
#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl KeyAdmin for AzureKeyVault {
    fn provider(&self) -> &'static str {
        NAME
    }

    /// keys/create/action and keys/read; keys/update/action for an end of the
    /// cryptoperiod.
    async fn create_key(&self, new: &NewKey) -> Result<KeyDescription, ProviderError> {
        self.make_key(new).await
    }

    /// keys/read; deletedkeys/read tells a deleted key of that name.
    async fn check_new_key(&self, new: &NewKey) -> Result<(), ProviderError> {
        self.check_new(new).await.map(drop)
    }

    /// keys/read; deletedkeys/read for a deleted key.
    async fn describe_key(&self, key: &KeyUri) -> Result<KeyDescription, ProviderError> {
        Ok(self.describe(key).await?.describe())
    }

    /// keys/read. A page has up to 25 keys, of which those are left out that wrap
    /// nothing, or that the caller may not look at. Deleted ones are not listed.
    async fn list_keys(&self, page: Option<&str>) -> Result<KeyPage, ProviderError> {
        let (keys, next) = self.page_of_keys(page).await?;
        Ok(KeyPage::new(keys.iter().map(AzureKey::describe).collect(), next))
    }

    /// keys/rotate/action and keys/read.
    async fn rotate_key(&self, key: &KeyUri) -> Result<KeyDescription, ProviderError> {
        self.rotate_now(key).await
    }

    /// keys/read.
    async fn check_rotation(&self, key: &KeyUri) -> Result<(), ProviderError> {
        self.plan_rotation(key).await.map(drop)
    }

    /// keys/update/action, or keys/delete and deletedkeys/read; and keys/read.
    async fn change_key(
        &self,
        key: &KeyUri,
        version: Option<&str>,
        change: KeyChange,
    ) -> Result<KeyDescription, ProviderError> {
        let plan = self.plan_change(key, version, change).await?;
        self.carry_out(key, &plan).await?;
        let described = self.describe_changed(key).await?;
        check_changed(key, version, change, &described)?;
        Ok(described)
    }

    /// keys/read.
    async fn check_change(
        &self,
        key: &KeyUri,
        version: Option<&str>,
        change: KeyChange,
    ) -> Result<(), ProviderError> {
        self.plan_change(key, version, change).await.map(drop)
    }

    /// keys/update/action and keys/read.
    async fn set_not_after(
        &self,
        key: &KeyUri,
        version: Option<&str>,
        not_after: Option<u64>,
    ) -> Result<KeyDescription, ProviderError> {
        let plan = self.plan_not_after(key, version, not_after).await?;
        self.carry_out(key, &plan).await?;
        self.describe_changed(key).await
    }

    /// keys/read.
    async fn check_set_not_after(
        &self,
        key: &KeyUri,
        version: Option<&str>,
        not_after: Option<u64>,
    ) -> Result<(), ProviderError> {
        self.plan_not_after(key, version, not_after).await.map(drop)
    }

    /// keyrotationpolicies/read and /write, and keys/read. Every 7 to 36500 days, by
    /// default every 730 days. Other actions of the policy, and the expiry that it gives
    /// new versions, stay.
    async fn set_rotation(&self, key: &KeyUri, rotation: AutoRotation) -> Result<(), ProviderError> {
        self.rotate_by_itself(key, rotation).await
    }

    /// keys/read.
    async fn check_set_rotation(&self, key: &KeyUri, rotation: AutoRotation) -> Result<(), ProviderError> {
        self.plan_period(key, rotation).await.map(drop)
    }

    /// keyrotationpolicies/read and keys/read. The details are `current`, `period` and
    /// `expiry_of_new_versions`.
    async fn rotation_status(&self, key: &KeyUri) -> Result<RotationStatus, ProviderError> {
        self.told_rotation(key).await
    }

    /// Azure has no aliases.
    async fn set_alias(&self, _alias: &str, key: &KeyUri) -> Result<KeyUri, ProviderError> {
        Err(cannot(NAME, Some(key), ALIASES))
    }

    /// Azure has no aliases.
    async fn check_set_alias(&self, _alias: &str, key: &KeyUri) -> Result<(), ProviderError> {
        Err(cannot(NAME, Some(key), ALIASES))
    }

    /// keys/recover/action, deletedkeys/read and keys/read.
    async fn restore_key(&self, key: &KeyUri) -> Result<KeyDescription, ProviderError> {
        Ok(self.recover(key).await?.describe())
    }

    /// deletedkeys/read and keys/read.
    async fn check_restore_key(&self, key: &KeyUri) -> Result<(), ProviderError> {
        self.plan_recovery(key).await.map(drop)
    }
}

const ALIASES: &str = "keep aliases: write them into the configuration";
