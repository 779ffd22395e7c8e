//! [`GuardedAdmin`]: a policy before who manages keys.

use std::fmt;

use async_trait::async_trait;
use envelope_sdk::{
    KeyAdmin, KeyChange, KeyDescription, KeyUri, NewKey, ProviderError, ProviderErrorKind,
    admin::{AutoRotation, KeyPage, RotationStatus},
    key_uri::aws::KeyArn,
};

use crate::{Guard, Operation, guard::refusal};

/// Asks a [`Guard`] before each call that manages keys, dry runs included. A key is judged by the name that it was asked
/// for by, and an alias also by that of the key behind it, which is looked up first.
///
/// Of a list, the keys that the actor may not `list` are left out; it is denied as a whole only to whom no key could be shown.
/// A new key has no URI yet: what makes one is judged without a key.
pub struct GuardedAdmin<A> {
    below: A,
    guard: Guard,
}

impl<A: KeyAdmin> GuardedAdmin<A> {
    /// Puts `guard` before `below`.
    #[must_use]
    pub fn new(below: A, guard: Guard) -> Self {
        Self { below, guard }
    }

    /// Returns the key to be asked for: of an alias the one behind it, whatever becomes of the alias now.
    async fn check(&self, operation: Operation, key: &KeyUri) -> Result<KeyUri, ProviderError> {
        self.check_name(operation, key)?;
        if key.is_resolved() { Ok(key.clone()) } else { Ok(self.look_behind(operation, key).await?.uri) }
    }

    fn check_name(&self, operation: Operation, key: &KeyUri) -> Result<(), ProviderError> {
        self.guard.check_for(self.below.provider(), &self.guard.request(operation).key(key))
    }

    /// The key behind an alias, if that may be asked for, too.
    async fn look_behind(&self, operation: Operation, key: &KeyUri) -> Result<KeyDescription, ProviderError> {
        let meant = self.below.describe_key(key).await?;
        if meant.uri != *key {
            self.check_name(operation, &meant.uri)?;
        }
        Ok(meant)
    }

    /// An alias is a name of a key, too: from now on of this one, until now perhaps of another.
    async fn check_alias(&self, alias: &str, key: &KeyUri) -> Result<KeyUri, ProviderError> {
        let key = self.check(Operation::Alias, key).await?;
        let beside = KeyArn::of(&key).map(|KeyArn { partition, region, account, .. }| {
            KeyUri::parse(&format!("arn:{partition}:kms:{region}:{account}:alias/{alias}"))
        });
        // What is no name is refused below.
        let Some(Ok(named)) = beside else { return Ok(key) };
        match self.check(Operation::Alias, &named).await {
            Err(error) if error.kind() != ProviderErrorKind::NotFound => Err(error),
            _ => Ok(key),
        }
    }

    fn check_new(&self) -> Result<(), ProviderError> {
        self.guard.check_for(self.below.provider(), &self.guard.request(Operation::Create))
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl<A: KeyAdmin> KeyAdmin for GuardedAdmin<A> {
    fn provider(&self) -> &'static str {
        self.below.provider()
    }

    async fn create_key(&self, new: &NewKey) -> Result<KeyDescription, ProviderError> {
        self.check_new()?;
        self.below.create_key(new).await
    }

    async fn check_new_key(&self, new: &NewKey) -> Result<(), ProviderError> {
        self.check_new()?;
        self.below.check_new_key(new).await
    }

    async fn describe_key(&self, key: &KeyUri) -> Result<KeyDescription, ProviderError> {
        self.check_name(Operation::Describe, key)?;
        // Described once: a second answer could be of another key.
        if key.is_resolved() {
            self.below.describe_key(key).await
        } else {
            self.look_behind(Operation::Describe, key).await
        }
    }

    async fn list_keys(&self, page: Option<&str>) -> Result<KeyPage, ProviderError> {
        let any = self.guard.request(Operation::List);
        if !self.guard.may(&any) {
            // Says which rule it is, and tells whoever listens.
            self.guard.check(&any).map_err(|denied| refusal(self.below.provider(), denied))?;
        }
        let mut page = self.below.list_keys(page).await?;
        page.keys.retain(|key| self.guard.shows(&self.guard.request(Operation::List).key(&key.uri)));
        Ok(page)
    }

    async fn rotate_key(&self, key: &KeyUri) -> Result<KeyDescription, ProviderError> {
        let key = &self.check(Operation::Rotate, key).await?;
        self.below.rotate_key(key).await
    }

    async fn check_rotation(&self, key: &KeyUri) -> Result<(), ProviderError> {
        let key = &self.check(Operation::Rotate, key).await?;
        self.below.check_rotation(key).await
    }

    async fn change_key(
        &self,
        key: &KeyUri,
        version: Option<&str>,
        change: KeyChange,
    ) -> Result<KeyDescription, ProviderError> {
        let key = &self.check(Operation::of_change(change), key).await?;
        self.below.change_key(key, version, change).await
    }

    async fn check_change(
        &self,
        key: &KeyUri,
        version: Option<&str>,
        change: KeyChange,
    ) -> Result<(), ProviderError> {
        let key = &self.check(Operation::of_change(change), key).await?;
        self.below.check_change(key, version, change).await
    }

    async fn set_not_after(
        &self,
        key: &KeyUri,
        version: Option<&str>,
        not_after: Option<u64>,
    ) -> Result<KeyDescription, ProviderError> {
        let key = &self.check(Operation::NotAfter, key).await?;
        self.below.set_not_after(key, version, not_after).await
    }

    async fn check_set_not_after(
        &self,
        key: &KeyUri,
        version: Option<&str>,
        not_after: Option<u64>,
    ) -> Result<(), ProviderError> {
        let key = &self.check(Operation::NotAfter, key).await?;
        self.below.check_set_not_after(key, version, not_after).await
    }

    async fn set_rotation(&self, key: &KeyUri, rotation: AutoRotation) -> Result<(), ProviderError> {
        let key = &self.check(Operation::AutoRotate, key).await?;
        self.below.set_rotation(key, rotation).await
    }

    async fn check_set_rotation(&self, key: &KeyUri, rotation: AutoRotation) -> Result<(), ProviderError> {
        let key = &self.check(Operation::AutoRotate, key).await?;
        self.below.check_set_rotation(key, rotation).await
    }

    async fn rotation_status(&self, key: &KeyUri) -> Result<RotationStatus, ProviderError> {
        let key = &self.check(Operation::Describe, key).await?;
        self.below.rotation_status(key).await
    }

    async fn set_alias(&self, alias: &str, key: &KeyUri) -> Result<KeyUri, ProviderError> {
        let key = &self.check_alias(alias, key).await?;
        self.below.set_alias(alias, key).await
    }

    async fn check_set_alias(&self, alias: &str, key: &KeyUri) -> Result<(), ProviderError> {
        let key = &self.check_alias(alias, key).await?;
        self.below.check_set_alias(alias, key).await
    }

    async fn restore_key(&self, key: &KeyUri) -> Result<KeyDescription, ProviderError> {
        let key = &self.check(Operation::Restore, key).await?;
        self.below.restore_key(key).await
    }

    async fn check_restore_key(&self, key: &KeyUri) -> Result<(), ProviderError> {
        let key = &self.check(Operation::Restore, key).await?;
        self.below.check_restore_key(key).await
    }
}

impl<A> fmt::Debug for GuardedAdmin<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GuardedAdmin").field("guard", &self.guard).finish_non_exhaustive()
    }
}
