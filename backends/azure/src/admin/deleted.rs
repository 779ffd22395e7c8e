//! Deleted keys: they can be recovered until they are purged.

use std::time::Duration;

use envelope_sdk::{
    KeyUri, ProviderError,
    ProviderErrorKind::{AccessDenied, Protocol, State, Unavailable},
};
use tokio::time::sleep;

use super::{
    DELETE, GET_DELETED, OTHER_PLACE, PURGE, RECOVER, changes::check_ours, key::AzureKey, seconds,
    version::AzureVersion,
};
use crate::{AzureKeyVault, error::refusal, failure::failure, provider::version_of};

impl AzureKeyVault {
    /// A key that is deleted and can be recovered, as Azure tells it: with its last
    /// version alone. `None` if there is none of that name.
    ///
    /// # Errors
    ///
    /// What Azure says (`deletedkeys/read`).
    pub async fn deleted(&self, key: &KeyUri) -> Result<Option<AzureKey>, ProviderError> {
        let (vault, name) = self.at(key).await?;
        let told = self
            .reach()
            .limits
            .again(|| async { vault.client.get_deleted_key(name.key, None).await?.into_model() });
        let told = match told.await {
            Ok(told) => told,
            Err(failed) if failed.is_not_found() => return Ok(None),
            Err(failed) => return Err(refusal(GET_DELETED, key, &failed)),
        };
        let jwk = told.key.unwrap_or_default();
        let version = jwk.kid.as_deref().and_then(|kid| version_of(&vault.url, name.key, kid));
        let version = version.ok_or_else(|| failure(Protocol, key, OTHER_PLACE))?;
        let mut version = AzureVersion::of(version, told.attributes.as_ref(), told.tags.as_ref());
        version.current = true;
        let mut described = AzureKey::new(key.clone(), &jwk, vec![version]);
        described.managed = told.managed.unwrap_or(false);
        described.deleted =
            Some((told.deleted_date.and_then(seconds), told.scheduled_purge_date.and_then(seconds)));
        Ok(Some(described))
    }

    /// Deletes a key, with all of its versions, and waits until that is done.
    pub(super) async fn delete(&self, key: &KeyUri) -> Result<(), ProviderError> {
        let (vault, name) = self.at(key).await?;
        let sent =
            self.reach().limits.once(|| async { vault.client.delete_key(name.key, None).await.map(drop) });
        if let Err(failed) = sent.await {
            let refused = refusal(DELETE, key, &failed);
            // The answer may have been lost.
            if !failed.may_be_done() || !matches!(self.deleted(key).await, Ok(Some(_))) {
                return Err(refused);
            }
        }
        for wait in WAITS {
            match self.deleted(key).await {
                Ok(Some(_)) => return Ok(()),
                Ok(None) => sleep(wait).await,
                // Who may delete need not be able to look at what was deleted.
                Err(error) if error.kind() == AccessDenied => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        Err(failure(Unavailable, key, "the vault is still deleting the key: describe it").retryable(false))
    }

    /// The deleted key, if there is one to recover: for the recovery and its dry run.
    pub(super) async fn plan_recovery(&self, key: &KeyUri) -> Result<AzureKey, ProviderError> {
        if let Some(deleted) = self.deleted(key).await? {
            check_ours(key, &deleted)?;
            return Ok(deleted);
        }
        // Of one that is not there at all this is the error.
        self.describe(key).await?;
        Err(failure(State, key, "the key is not deleted: there is nothing to recover"))
    }

    /// Recovers a deleted key, and waits until it is there.
    pub(super) async fn recover(&self, key: &KeyUri) -> Result<AzureKey, ProviderError> {
        self.plan_recovery(key).await?;
        let (vault, name) = self.at(key).await?;
        let sent = self
            .reach()
            .limits
            .again(|| async { vault.client.recover_deleted_key(name.key, None).await.map(drop) });
        if let Err(failed) = sent.await {
            let refused = refusal(RECOVER, key, &failed);
            if !self.describe(key).await.is_ok_and(|now| now.deleted.is_none()) {
                return Err(refused);
            }
        }
        for wait in WAITS {
            match self.describe(key).await {
                Ok(now) if now.deleted.is_none() => return Ok(now),
                Ok(_) => {}
                Err(error) if error.kind() == envelope_sdk::ProviderErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
            sleep(wait).await;
        }
        Err(failure(Unavailable, key, "the vault is still recovering the key: describe it").retryable(false))
    }

    /// Refuses what [`purge_key`](Self::purge_key) would refuse.
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn check_purge(&self, key: &KeyUri) -> Result<(), ProviderError> {
        if let Some(deleted) = self.deleted(key).await? {
            return check_ours(key, &deleted);
        }
        self.describe(key).await?;
        Err(failure(
            State,
            key,
            "the key is not deleted: destroy it first, and purge it when nothing needs it any more",
        ))
    }

    /// Purges a deleted key **for good**, before the day that Azure would: what it
    /// wrapped opens no more. A vault with purge protection refuses that.
    ///
    /// # Errors
    ///
    /// [`State`](envelope_sdk::ProviderErrorKind::State) for a key that is not deleted;
    /// what Azure says (`keys/purge/action`).
    pub async fn purge_key(&self, key: &KeyUri) -> Result<(), ProviderError> {
        self.check_purge(key).await?;
        let (vault, name) = self.at(key).await?;
        let sent = self
            .reach()
            .limits
            .once(|| async { vault.client.purge_deleted_key(name.key, None).await.map(drop) });
        if let Err(failed) = sent.await {
            let refused = refusal(PURGE, key, &failed);
            if !failed.may_be_done() || !matches!(self.deleted(key).await, Ok(None)) {
                return Err(refused);
            }
        }
        Ok(())
    }
}

/// How long is waited each time that a vault is not done yet.
const WAITS: [Duration; 7] = [
    Duration::from_millis(200),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(4),
    Duration::from_secs(5),
    Duration::from_secs(5),
];
