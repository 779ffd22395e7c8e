//! [`KeyAdmin`]: what every key store that manages keys can do.

use async_trait::async_trait;
use envelope_sdk::{
    KeyAdmin, KeyChange, KeyDescription, KeyUri, NewKey, ProviderError,
    admin::{AutoRotation, KeyPage, RotationStatus, cannot},
};

use super::{changes::check_changed, key::GcpKey};
use crate::{GcpKms, error::NAME};

/// Keys of Cloud KMS as far as its states go; see
/// [`GcpVersionState`](crate::GcpVersionState) and
/// [`GcpKey::state`](crate::GcpKey::state). Each refusal names the permission that
/// the call needs.
///
/// - **New keys** are made in the key ring of the settings, where keys are listed
///   too. A name has 1 to 63 of `A–Z a–z 0–9 _ -`, and is never free again. Tags
///   become labels. Options are `protection` (a name of
///   [`Protection`](crate::Protection)), `rotation-period-days` (1 to 36500),
///   `destroy-delay-days` (1 to 120; KMS has 30 by default), `create-key-ring`
///   (`true` makes the key ring if there is none), `external-key-uri` for
///   `external`, `ekm-connection` and `ekm-key-path` for `external-vpc`.
/// - What would make a second key, version or key ring is attempted **once**: if the
///   answer is lost, the error says that it is not known, how to look, and is not
///   retryable. After an error of a change of a version that is described, and what is for
///   done.
/// - **Versions** have numbers, as in headers. They are told by number, with the
///   primary one last, since that is the one that wraps.
/// - **Rotating** makes a version and then the primary one of it.
/// - **Suspended** is disabled. A whole key is suspended by disabling each enabled
///   version, and activated by enabling each disabled one: who wants one of them to stay
///   disabled activates single versions. **Deactivated** is what a version
///   is that is enabled and not the primary one; a whole key, or its primary version,
///   is not made so, and nothing is made **compromised**
///   ([`Unsupported`](envelope_sdk::ProviderErrorKind::Unsupported)).
/// - **Destroyed** schedules the destruction of a version, or of each. An active one
///   must be suspended first, so that nobody learns from a destruction that it was in
///   use. Until that day it is suspended, and [`restore_key`](KeyAdmin::restore_key)
///   brings each version back, disabled.
#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl KeyAdmin for GcpKms {
    fn provider(&self) -> &'static str {
        NAME
    }

    /// cloudkms.cryptoKeys.create and .get, cloudkms.cryptoKeyVersions.list, cloudkms.keyRings.get;
    /// cloudkms.keyRings.create with `create-key-ring`; cloudkms.cryptoKeyVersions.create and
    /// cloudkms.cryptoKeys.update for keys of an external key manager.
    async fn create_key(&self, new: &NewKey) -> Result<KeyDescription, ProviderError> {
        self.make_key(new).await
    }

    /// cloudkms.cryptoKeys.get and cloudkms.keyRings.get.
    async fn check_new_key(&self, new: &NewKey) -> Result<(), ProviderError> {
        self.check_new(new).await.map(drop)
    }

    /// cloudkms.cryptoKeys.get and cloudkms.cryptoKeyVersions.list. The detail
    /// `import_jobs` tells the state of those by which versions came, where the
    /// caller may see them (cloudkms.importJobs.get).
    async fn describe_key(&self, key: &KeyUri) -> Result<KeyDescription, ProviderError> {
        let told = self.describe(key).await?;
        let mut described = told.describe();
        if let Some(jobs) = self.import_jobs_of(&told).await? {
            described.details = described.details.with("import_jobs", jobs);
        }
        Ok(described)
    }

    /// cloudkms.cryptoKeys.list and cloudkms.cryptoKeyVersions.list. A page has up
    /// to 100 keys, of which those are left out that wrap nothing, and whose versions
    /// the caller may not list.
    async fn list_keys(&self, page: Option<&str>) -> Result<KeyPage, ProviderError> {
        let (keys, next) = self.page_of_keys(page).await?;
        Ok(KeyPage::new(keys.iter().map(GcpKey::describe).collect(), next))
    }

    /// cloudkms.cryptoKeyVersions.create and cloudkms.cryptoKeys.update, beside what
    /// [`describe_key`](KeyAdmin::describe_key) needs.
    async fn rotate_key(&self, key: &KeyUri) -> Result<KeyDescription, ProviderError> {
        self.rotate_now(key).await
    }

    /// What [`describe_key`](KeyAdmin::describe_key) needs.
    async fn check_rotation(&self, key: &KeyUri) -> Result<(), ProviderError> {
        self.plan_rotation(key).await.map(drop)
    }

    /// cloudkms.cryptoKeyVersions.update or .destroy, beside what
    /// [`describe_key`](KeyAdmin::describe_key) needs.
    async fn change_key(
        &self,
        key: &KeyUri,
        version: Option<&str>,
        change: KeyChange,
    ) -> Result<KeyDescription, ProviderError> {
        let plan = self.plan_change(key, version, change).await?;
        self.carry_out(key, &plan).await?;
        let described = self.describe_changed(key).await?;
        check_changed(key, version, change, plan.known, &described)?;
        Ok(described)
    }

    /// What [`describe_key`](KeyAdmin::describe_key) needs.
    async fn check_change(
        &self,
        key: &KeyUri,
        version: Option<&str>,
        change: KeyChange,
    ) -> Result<(), ProviderError> {
        self.plan_change(key, version, change).await.map(drop)
    }

    /// Cloud KMS keeps no such date.
    async fn set_not_after(
        &self,
        key: &KeyUri,
        _version: Option<&str>,
        _not_after: Option<u64>,
    ) -> Result<KeyDescription, ProviderError> {
        Err(cannot(NAME, Some(key), CRYPTOPERIOD))
    }

    /// Cloud KMS keeps no such date.
    async fn check_set_not_after(
        &self,
        key: &KeyUri,
        _version: Option<&str>,
        _not_after: Option<u64>,
    ) -> Result<(), ProviderError> {
        Err(cannot(NAME, Some(key), CRYPTOPERIOD))
    }

    /// cloudkms.cryptoKeys.update, beside what
    /// [`describe_key`](KeyAdmin::describe_key) needs. Every 1 to 36500 days, by
    /// default every 90 days, as Google recommends; the first time after one period.
    async fn set_rotation(&self, key: &KeyUri, rotation: AutoRotation) -> Result<(), ProviderError> {
        self.rotate_by_itself(key, rotation).await
    }

    /// What [`describe_key`](KeyAdmin::describe_key) needs.
    async fn check_set_rotation(&self, key: &KeyUri, rotation: AutoRotation) -> Result<(), ProviderError> {
        self.plan_period(key, rotation).await.map(drop)
    }

    /// What [`describe_key`](KeyAdmin::describe_key) needs. The detail `primary` is
    /// the primary version.
    async fn rotation_status(&self, key: &KeyUri) -> Result<RotationStatus, ProviderError> {
        self.told_rotation(key).await
    }

    /// Cloud KMS has no aliases.
    async fn set_alias(&self, _alias: &str, key: &KeyUri) -> Result<KeyUri, ProviderError> {
        Err(cannot(NAME, Some(key), ALIASES))
    }

    /// Cloud KMS has no aliases.
    async fn check_set_alias(&self, _alias: &str, key: &KeyUri) -> Result<(), ProviderError> {
        Err(cannot(NAME, Some(key), ALIASES))
    }

    /// cloudkms.cryptoKeyVersions.restore, beside what
    /// [`describe_key`](KeyAdmin::describe_key) needs. Each version whose destruction
    /// was scheduled is disabled then, and the key suspended.
    async fn restore_key(&self, key: &KeyUri) -> Result<KeyDescription, ProviderError> {
        let plan = self.plan_restoration(key).await?;
        self.carry_out(key, &plan).await?;
        self.describe_changed(key).await
    }

    /// What [`describe_key`](KeyAdmin::describe_key) needs.
    async fn check_restore_key(&self, key: &KeyUri) -> Result<(), ProviderError> {
        self.plan_restoration(key).await.map(drop)
    }
}

const CRYPTOPERIOD: &str = "keep the end of a cryptoperiod: let the key rotate by itself";
const ALIASES: &str = "keep aliases: write them into the configuration";
