//! Who wants to know of keys that may no longer be used, and [`ReportingAdmin`], which tells them.

use std::sync::Arc;

use async_trait::async_trait;
use envelope_sdk::{
    KeyAdmin, KeyChange, KeyDescription, KeyState, KeyUri, KeyUse, NewKey, ProviderError,
    admin::{AutoRotation, KeyPage, RotationStatus},
    key_uri::aws::KeyArn,
};

/// Hears of a key's new state: a [`CacheStore`](crate::CacheStore), [`DataKeys`](crate::DataKeys).
pub trait KeyStateListener: Send + Sync {
    /// `key`, or one version of it, is now in `state`. Returns when what follows from it is done.
    fn report(&self, key: &KeyUri, state: KeyState);
}

impl<L: KeyStateListener + ?Sized> KeyStateListener for Arc<L> {
    fn report(&self, key: &KeyUri, state: KeyState) {
        (**self).report(key, state);
    }
}

/// Manages keys as the one below does, and reports each change of a state before the call returns: a key that this
/// process disables or destroys opens nothing from that moment here.
///
/// It reports also where the change failed or its call was dropped, since the key store may have done it all the same.
/// What was changed elsewhere nobody hears of: that is what the age in [`CacheLimits`](crate::CacheLimits) is for.
pub struct ReportingAdmin<A> {
    below: A,
    listeners: Vec<Arc<dyn KeyStateListener>>,
}

impl<A: KeyAdmin> ReportingAdmin<A> {
    /// Nobody is told yet.
    #[must_use]
    pub fn new(below: A) -> Self {
        Self { below, listeners: Vec::new() }
    }

    /// Tells `listener`, too.
    #[must_use]
    pub fn tell(mut self, listener: impl KeyStateListener + 'static) -> Self {
        self.listeners.push(Arc::new(listener));
        self
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl<A: KeyAdmin> KeyAdmin for ReportingAdmin<A> {
    fn provider(&self) -> &'static str {
        self.below.provider()
    }

    async fn create_key(&self, new: &NewKey) -> Result<KeyDescription, ProviderError> {
        self.below.create_key(new).await
    }

    async fn check_new_key(&self, new: &NewKey) -> Result<(), ProviderError> {
        self.below.check_new_key(new).await
    }

    async fn describe_key(&self, key: &KeyUri) -> Result<KeyDescription, ProviderError> {
        self.below.describe_key(key).await
    }

    async fn list_keys(&self, page: Option<&str>) -> Result<KeyPage, ProviderError> {
        self.below.list_keys(page).await
    }

    async fn rotate_key(&self, key: &KeyUri) -> Result<KeyDescription, ProviderError> {
        self.below.rotate_key(key).await
    }

    async fn check_rotation(&self, key: &KeyUri) -> Result<(), ProviderError> {
        self.below.check_rotation(key).await
    }

    async fn change_key(
        &self,
        key: &KeyUri,
        version: Option<&str>,
        change: KeyChange,
    ) -> Result<KeyDescription, ProviderError> {
        let KeyChange::State(state) = change else {
            return self.below.change_key(key, version, change).await;
        };
        let mut report = Report { listeners: &self.listeners, key: key.clone(), state };
        let changed = self.below.change_key(key, version, change).await?;
        // The key itself, where `key` is an alias.
        report.key = changed.uri.clone();
        Ok(changed)
    }

    async fn check_change(
        &self,
        key: &KeyUri,
        version: Option<&str>,
        change: KeyChange,
    ) -> Result<(), ProviderError> {
        self.below.check_change(key, version, change).await
    }

    async fn set_not_after(
        &self,
        key: &KeyUri,
        version: Option<&str>,
        not_after: Option<u64>,
    ) -> Result<KeyDescription, ProviderError> {
        self.below.set_not_after(key, version, not_after).await
    }

    async fn check_set_not_after(
        &self,
        key: &KeyUri,
        version: Option<&str>,
        not_after: Option<u64>,
    ) -> Result<(), ProviderError> {
        self.below.check_set_not_after(key, version, not_after).await
    }

    async fn set_rotation(&self, key: &KeyUri, rotation: AutoRotation) -> Result<(), ProviderError> {
        self.below.set_rotation(key, rotation).await
    }

    async fn check_set_rotation(&self, key: &KeyUri, rotation: AutoRotation) -> Result<(), ProviderError> {
        self.below.check_set_rotation(key, rotation).await
    }

    async fn rotation_status(&self, key: &KeyUri) -> Result<RotationStatus, ProviderError> {
        self.below.rotation_status(key).await
    }

    async fn set_alias(&self, alias: &str, key: &KeyUri) -> Result<KeyUri, ProviderError> {
        self.below.set_alias(alias, key).await
    }

    async fn check_set_alias(&self, alias: &str, key: &KeyUri) -> Result<(), ProviderError> {
        self.below.check_set_alias(alias, key).await
    }

    async fn restore_key(&self, key: &KeyUri) -> Result<KeyDescription, ProviderError> {
        self.below.restore_key(key).await
    }

    async fn check_restore_key(&self, key: &KeyUri) -> Result<(), ProviderError> {
        self.below.check_restore_key(key).await
    }
}

/// Reports when the call has ended, whichever way.
struct Report<'a> {
    listeners: &'a [Arc<dyn KeyStateListener>],
    key: KeyUri,
    state: KeyState,
}

impl Drop for Report<'_> {
    fn drop(&mut self) {
        for listener in self.listeners {
            listener.report(&self.key, self.state);
        }
    }
}

/// Whether `named`, the resolved key of a wrap, may be what the alias `alias` stands for, which only its key store can tell.
/// An alias of AWS stands for a key of its own account and region; any other for whatever key of its scheme.
pub(crate) fn may_stand_for(alias: &KeyUri, named: &KeyUri) -> bool {
    let place = |key| KeyArn::of(key).map(|arn: KeyArn<'_>| (arn.partition, arn.region, arn.account));
    !alias.is_resolved() && alias.scheme() == named.scheme() && place(alias) == place(named)
}

/// Whether a DEK that was unwrapped before must not be used any more once its key is in `state`.
pub(crate) fn ends_use(state: KeyState) -> bool {
    state == KeyState::Compromised || !state.permits(KeyUse::Unwrap)
}
