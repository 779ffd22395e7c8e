//! [`KeyAdmin`]: what every key store that manages keys can do.

use async_trait::async_trait;
use envelope_sdk::{
    KeyAdmin, KeyChange, KeyDescription, KeyUri, NewKey, ProviderError,
    admin::{AutoRotation, KeyPage, RotationStatus, cannot},
};

use super::key::TransitKey;
use crate::{HashiVault, failure::NAME};

/// Keys of Transit as far as its states go; see [`TransitKey`]. Each refusal of the caller names the capability and the
/// path that the call needs. Everything needs `read` on `MOUNT/keys/KEY`.
///
/// - **New keys** are made in the mount of the settings, where keys are listed too: `aes256-gcm96`, or
///   `chacha20-poly1305`. The option `derived` makes a key that binds contexts by derivation (`true` or `false`). None is
///   made that can be exported or backed up in plain text. A key that is there is never taken for a new one, and what the
///   server made is compared with what was asked for.
/// - What would make a second key or version is attempted **once**: if the answer is lost, the error says that it is not
///   known, how to look, and is not retryable.
/// - **A key as a whole** is active as long as it is there: it is made neither suspended nor deactivated nor compromised
///   ([`Unsupported`](envelope_sdk::ProviderErrorKind::Unsupported)). It is **destroyed**, at once and for good, if its
///   deletion was allowed before ([`allow_deletion`](HashiVault::allow_deletion)), which takes the place of the state that
///   it would have to be in.
/// - **A version** is active as the latest one, and deactivated as an older one. Made **destroyed**, it is first
///   suspended, since what it wrapped may be needed after all: `min_decryption_version` is raised above it, and
///   [`restore_key`](KeyAdmin::restore_key) brings back all that are, or making it deactivated. That does not end by itself:
///   [`trim_below`](HashiVault::trim_below) ends it **for good**. Transit does each from the oldest version on, and so does
///   this.
/// - Vault compares nothing when it sets a border: who raises and who lowers one at the same moment are seen in the
///   description that follows, and one of them is told.
/// - There is no place for descriptions, tags, aliases, ends of cryptoperiods and pre-active keys.
#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl KeyAdmin for HashiVault {
    fn provider(&self) -> &'static str {
        NAME
    }

    /// `update` on `MOUNT/keys/KEY`.
    async fn create_key(&self, new: &NewKey) -> Result<KeyDescription, ProviderError> {
        self.make_key(new).await
    }

    async fn check_new_key(&self, new: &NewKey) -> Result<(), ProviderError> {
        self.check_new(new).await.map(drop)
    }

    async fn describe_key(&self, key: &KeyUri) -> Result<KeyDescription, ProviderError> {
        Ok(self.describe(key).await?.describe())
    }

    /// `list` on `MOUNT/keys`. A page has up to 100 keys, of which those are left out that wrap nothing, or that the
    /// caller may not look at.
    async fn list_keys(&self, page: Option<&str>) -> Result<KeyPage, ProviderError> {
        let (keys, next) = self.page_of_keys(page).await?;
        Ok(KeyPage::new(keys.iter().map(TransitKey::describe).collect(), next))
    }

    /// `update` on `MOUNT/keys/KEY/rotate`.
    async fn rotate_key(&self, key: &KeyUri) -> Result<KeyDescription, ProviderError> {
        self.rotate_now(key).await
    }

    async fn check_rotation(&self, key: &KeyUri) -> Result<(), ProviderError> {
        self.plan_rotation(key).await.map(drop)
    }

    /// `update` on `MOUNT/keys/KEY/config`; `delete` on `MOUNT/keys/KEY` for a key as a whole.
    async fn change_key(
        &self,
        key: &KeyUri,
        version: Option<&str>,
        change: KeyChange,
    ) -> Result<KeyDescription, ProviderError> {
        let (told, plan) = self.plan_change(key, version, change).await?;
        self.carry_out(&told, plan).await
    }

    async fn check_change(
        &self,
        key: &KeyUri,
        version: Option<&str>,
        change: KeyChange,
    ) -> Result<(), ProviderError> {
        self.plan_change(key, version, change).await.map(drop)
    }

    /// Transit keeps no such date.
    async fn set_not_after(
        &self,
        key: &KeyUri,
        _version: Option<&str>,
        _not_after: Option<u64>,
    ) -> Result<KeyDescription, ProviderError> {
        Err(cannot(NAME, Some(key), CRYPTOPERIODS))
    }

    /// Transit keeps no such date.
    async fn check_set_not_after(
        &self,
        key: &KeyUri,
        _version: Option<&str>,
        _not_after: Option<u64>,
    ) -> Result<(), ProviderError> {
        Err(cannot(NAME, Some(key), CRYPTOPERIODS))
    }

    /// `update` on `MOUNT/keys/KEY/config`. Every 1 to 36500 days, by default every 90 days. Vault looks once an hour.
    async fn set_rotation(&self, key: &KeyUri, rotation: AutoRotation) -> Result<(), ProviderError> {
        let config = self.plan_period(key, rotation).await?;
        self.set(key, &config).await.map(drop)
    }

    async fn check_set_rotation(&self, key: &KeyUri, rotation: AutoRotation) -> Result<(), ProviderError> {
        self.plan_period(key, rotation).await.map(drop)
    }

    /// The details are `latest_version` and `period_seconds`.
    async fn rotation_status(&self, key: &KeyUri) -> Result<RotationStatus, ProviderError> {
        self.told_rotation(key).await
    }

    /// Transit has no aliases.
    async fn set_alias(&self, _alias: &str, key: &KeyUri) -> Result<KeyUri, ProviderError> {
        Err(cannot(NAME, Some(key), ALIASES))
    }

    /// Transit has no aliases.
    async fn check_set_alias(&self, _alias: &str, key: &KeyUri) -> Result<(), ProviderError> {
        Err(cannot(NAME, Some(key), ALIASES))
    }

    /// `update` on `MOUNT/keys/KEY/config`. Brings back every version that is held back.
    async fn restore_key(&self, key: &KeyUri) -> Result<KeyDescription, ProviderError> {
        let (told, plan) = self.plan_restoration(key).await?;
        self.carry_out(&told, plan).await
    }

    async fn check_restore_key(&self, key: &KeyUri) -> Result<(), ProviderError> {
        self.plan_restoration(key).await.map(drop)
    }
}

const ALIASES: &str = "keep aliases: write them into the configuration";
const CRYPTOPERIODS: &str = "keep the end of a cryptoperiod";
