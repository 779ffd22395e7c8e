//! [`ObserveAdmin`]: the same for who manages keys.

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use envelope_sdk::{
    KeyAdmin, KeyChange, KeyDescription, KeyUri, NewKey, ProviderError,
    admin::{AutoRotation, KeyPage, RotationStatus},
};

use super::{Observer, Operation, Outcome, Stage, Subject, watch::Watcher};

/// Tells its observers of each call that manages keys, and opens a span for it, as [`Observe`](super::Observe) does.
/// Nothing repeats these calls, so each is seen once, as a [`Stage::Attempt`].
pub struct ObserveAdmin<A> {
    below: A,
    watcher: Watcher,
}

impl<A: KeyAdmin> ObserveAdmin<A> {
    /// Nobody is told yet.
    #[must_use]
    pub fn new(below: A) -> Self {
        Self { below, watcher: Watcher::new(Stage::Attempt) }
    }

    /// Tells this observer too.
    #[must_use]
    pub fn tell(mut self, observer: Arc<dyn Observer>) -> Self {
        self.watcher.observers.push(observer);
        self
    }

    async fn asked<T>(
        &self,
        operation: Operation,
        (key, version): (Option<&KeyUri>, Option<&str>),
        call: impl Future<Output = Result<T, ProviderError>>,
    ) -> Result<T, ProviderError> {
        let subjects = [Subject { key, version, context: None, shown: &[] }];
        let watch = self.watcher.start(operation, self.below.provider(), &subjects);
        let said = watch.run(call).await;
        watch.end(&[Outcome::of(said.as_ref().map(|_| (key, version)))]);
        said
    }
}

impl<A> fmt::Debug for ObserveAdmin<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ObserveAdmin").finish_non_exhaustive()
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl<A: KeyAdmin> KeyAdmin for ObserveAdmin<A> {
    fn provider(&self) -> &'static str {
        self.below.provider()
    }

    async fn create_key(&self, new: &NewKey) -> Result<KeyDescription, ProviderError> {
        self.asked(Operation::CreateKey, (None, None), self.below.create_key(new)).await
    }

    async fn check_new_key(&self, new: &NewKey) -> Result<(), ProviderError> {
        self.asked(Operation::Check, (None, None), self.below.check_new_key(new)).await
    }

    async fn describe_key(&self, key: &KeyUri) -> Result<KeyDescription, ProviderError> {
        self.asked(Operation::DescribeKey, (Some(key), None), self.below.describe_key(key)).await
    }

    async fn list_keys(&self, page: Option<&str>) -> Result<KeyPage, ProviderError> {
        self.asked(Operation::ListKeys, (None, None), self.below.list_keys(page)).await
    }

    async fn rotate_key(&self, key: &KeyUri) -> Result<KeyDescription, ProviderError> {
        self.asked(Operation::RotateKey, (Some(key), None), self.below.rotate_key(key)).await
    }

    async fn check_rotation(&self, key: &KeyUri) -> Result<(), ProviderError> {
        self.asked(Operation::Check, (Some(key), None), self.below.check_rotation(key)).await
    }

    async fn change_key(
        &self,
        key: &KeyUri,
        version: Option<&str>,
        change: KeyChange,
    ) -> Result<KeyDescription, ProviderError> {
        let call = self.below.change_key(key, version, change);
        self.asked(Operation::ChangeKey, (Some(key), version), call).await
    }

    async fn check_change(
        &self,
        key: &KeyUri,
        version: Option<&str>,
        change: KeyChange,
    ) -> Result<(), ProviderError> {
        let call = self.below.check_change(key, version, change);
        self.asked(Operation::Check, (Some(key), version), call).await
    }

    async fn set_not_after(
        &self,
        key: &KeyUri,
        version: Option<&str>,
        not_after: Option<u64>,
    ) -> Result<KeyDescription, ProviderError> {
        let call = self.below.set_not_after(key, version, not_after);
        self.asked(Operation::SetNotAfter, (Some(key), version), call).await
    }

    async fn check_set_not_after(
        &self,
        key: &KeyUri,
        version: Option<&str>,
        not_after: Option<u64>,
    ) -> Result<(), ProviderError> {
        let call = self.below.check_set_not_after(key, version, not_after);
        self.asked(Operation::Check, (Some(key), version), call).await
    }

    async fn set_rotation(&self, key: &KeyUri, rotation: AutoRotation) -> Result<(), ProviderError> {
        self.asked(Operation::SetRotation, (Some(key), None), self.below.set_rotation(key, rotation)).await
    }

    async fn check_set_rotation(&self, key: &KeyUri, rotation: AutoRotation) -> Result<(), ProviderError> {
        self.asked(Operation::Check, (Some(key), None), self.below.check_set_rotation(key, rotation)).await
    }

    async fn rotation_status(&self, key: &KeyUri) -> Result<RotationStatus, ProviderError> {
        self.asked(Operation::RotationStatus, (Some(key), None), self.below.rotation_status(key)).await
    }

    async fn set_alias(&self, alias: &str, key: &KeyUri) -> Result<KeyUri, ProviderError> {
        self.asked(Operation::SetAlias, (Some(key), None), self.below.set_alias(alias, key)).await
    }

    async fn check_set_alias(&self, alias: &str, key: &KeyUri) -> Result<(), ProviderError> {
        self.asked(Operation::Check, (Some(key), None), self.below.check_set_alias(alias, key)).await
    }

    async fn restore_key(&self, key: &KeyUri) -> Result<KeyDescription, ProviderError> {
        self.asked(Operation::RestoreKey, (Some(key), None), self.below.restore_key(key)).await
    }

    async fn check_restore_key(&self, key: &KeyUri) -> Result<(), ProviderError> {
        self.asked(Operation::Check, (Some(key), None), self.below.check_restore_key(key)).await
    }
}
