//! [`AuditedAdmin`]: who manages keys, with each call recorded. A change of keys cannot be taken back, so it is recorded
//! before it is made, and its outcome after.

use std::fmt;

use async_trait::async_trait;
use envelope_sdk::{
    KeyAdmin, KeyChange, KeyDescription, KeyUri, NewKey, ProviderError, ProviderErrorKind,
    admin::{AutoRotation, KeyPage, RotationStatus},
};

use crate::{
    Entry, LazyLog, Outcome,
    audited::{Pending, came_of, entry, refused},
    scope::with_decisions,
};

/// Records each call that manages keys in a [`Log`](crate::Log). A change that cannot be recorded as [`Begun`](Outcome::Begun) is not
/// made; one whose outcome cannot be recorded was made, and the error says so. One whose answer got lost, since the key store
/// was out of reach or gave one that makes no sense, is [`Dropped`](Outcome::Dropped): nobody knows whether it was made. Looks
/// and dry runs are recorded once.
pub struct AuditedAdmin<A> {
    below: A,
    log: LazyLog,
}

impl<A: KeyAdmin> AuditedAdmin<A> {
    /// Records the calls to `below` in `log`.
    #[must_use]
    pub fn new(below: A, log: impl Into<LazyLog>) -> Self {
        Self { below, log: log.into() }
    }

    fn entry(&self, operation: &'static str, key: Option<&KeyUri>, version: Option<&str>) -> Entry {
        let mut entry = entry(operation, self.below.provider(), key);
        entry.key_version = version.filter(|version| !version.is_empty()).map(Into::into);
        entry
    }

    /// A call that changes nothing.
    async fn looked<T>(
        &self,
        entry: Entry,
        call: impl Future<Output = Result<T, ProviderError>>,
    ) -> Result<T, ProviderError> {
        let pending = Pending::begin(&self.log, self.below.provider(), vec![entry]).await?;
        let said = with_decisions(call).await;
        pending.end(self.below.provider(), said, |_, _| ()).await
    }

    /// A call that changes keys. `say` adds what is known once it is done.
    async fn changed<T>(
        &self,
        entry: Entry,
        call: impl Future<Output = Result<T, ProviderError>>,
        say: impl FnOnce(&mut Entry, &T),
    ) -> Result<T, ProviderError> {
        let mut begun = entry.clone();
        begun.outcome = Outcome::Begun;
        let provider = self.below.provider();
        let pending = Pending::begin(&self.log, provider, vec![begun]).await?;
        pending.write().await.map_err(|error| {
            let message = format!("nothing was changed, since it cannot be recorded: {error}");
            ProviderError::without_key(ProviderErrorKind::Other, provider, message).with_source(error)
        })?;
        let mut pending = Pending::begin(&self.log, provider, vec![entry]).await?;
        let (said, decisions) = with_decisions(call).await;
        pending.note(&decisions);
        for entry in &mut pending.entries {
            came_of(entry, said.as_ref().err(), &decisions);
            // The keys may be changed all the same.
            if entry.outcome == Outcome::Failed && said.as_ref().is_err_and(is_lost) {
                entry.outcome = Outcome::Dropped;
            }
        }
        if let (Some(entry), Ok(done)) = (pending.entries.first_mut(), &said) {
            say(entry, done);
        }
        match pending.write().await {
            Ok(()) => said,
            Err(error) if said.is_ok() => {
                let message = format!("the keys were changed, but that was not recorded: {error}");
                let refusal = ProviderError::without_key(ProviderErrorKind::Other, provider, message);
                Err(refusal.with_source(error))
            }
            Err(error) => refused(provider, said, &error),
        }
    }
}

impl<A> fmt::Debug for AuditedAdmin<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuditedAdmin").field("log", &self.log).finish_non_exhaustive()
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl<A: KeyAdmin> KeyAdmin for AuditedAdmin<A> {
    fn provider(&self) -> &'static str {
        self.below.provider()
    }

    async fn create_key(&self, new: &NewKey) -> Result<KeyDescription, ProviderError> {
        self.changed(self.entry("create_key", None, None), self.below.create_key(new), described).await
    }

    async fn check_new_key(&self, new: &NewKey) -> Result<(), ProviderError> {
        let entry = self.entry("check", None, None).with_detail("of", "create_key");
        self.looked(entry, self.below.check_new_key(new)).await
    }

    async fn describe_key(&self, key: &KeyUri) -> Result<KeyDescription, ProviderError> {
        self.looked(self.entry("describe_key", Some(key), None), self.below.describe_key(key)).await
    }

    async fn list_keys(&self, page: Option<&str>) -> Result<KeyPage, ProviderError> {
        self.looked(self.entry("list_keys", None, None), self.below.list_keys(page)).await
    }

    async fn rotate_key(&self, key: &KeyUri) -> Result<KeyDescription, ProviderError> {
        self.changed(self.entry("rotate_key", Some(key), None), self.below.rotate_key(key), described).await
    }

    async fn check_rotation(&self, key: &KeyUri) -> Result<(), ProviderError> {
        let entry = self.entry("check", Some(key), None).with_detail("of", "rotate_key");
        self.looked(entry, self.below.check_rotation(key)).await
    }

    async fn change_key(
        &self,
        key: &KeyUri,
        version: Option<&str>,
        change: KeyChange,
    ) -> Result<KeyDescription, ProviderError> {
        let entry = self.entry("change_key", Some(key), version).with_detail("change", change_name(change));
        self.changed(entry, self.below.change_key(key, version, change), |_, _| ()).await
    }

    async fn check_change(
        &self,
        key: &KeyUri,
        version: Option<&str>,
        change: KeyChange,
    ) -> Result<(), ProviderError> {
        let entry = self.entry("check", Some(key), version).with_detail("of", "change_key");
        let entry = entry.with_detail("change", change_name(change));
        self.looked(entry, self.below.check_change(key, version, change)).await
    }

    async fn set_not_after(
        &self,
        key: &KeyUri,
        version: Option<&str>,
        not_after: Option<u64>,
    ) -> Result<KeyDescription, ProviderError> {
        let entry = self.entry("set_not_after", Some(key), version).with_detail("not_after", time(not_after));
        self.changed(entry, self.below.set_not_after(key, version, not_after), |_, _| ()).await
    }

    async fn check_set_not_after(
        &self,
        key: &KeyUri,
        version: Option<&str>,
        not_after: Option<u64>,
    ) -> Result<(), ProviderError> {
        let entry = self.entry("check", Some(key), version).with_detail("of", "set_not_after");
        self.looked(entry, self.below.check_set_not_after(key, version, not_after)).await
    }

    async fn set_rotation(&self, key: &KeyUri, rotation: AutoRotation) -> Result<(), ProviderError> {
        let entry = self.entry("set_rotation", Some(key), None);
        let entry = entry.with_detail("rotation", format!("{rotation:?}"));
        self.changed(entry, self.below.set_rotation(key, rotation), |_, ()| ()).await
    }

    async fn check_set_rotation(&self, key: &KeyUri, rotation: AutoRotation) -> Result<(), ProviderError> {
        let entry = self.entry("check", Some(key), None).with_detail("of", "set_rotation");
        self.looked(entry, self.below.check_set_rotation(key, rotation)).await
    }

    async fn rotation_status(&self, key: &KeyUri) -> Result<RotationStatus, ProviderError> {
        self.looked(self.entry("rotation_status", Some(key), None), self.below.rotation_status(key)).await
    }

    async fn set_alias(&self, alias: &str, key: &KeyUri) -> Result<KeyUri, ProviderError> {
        let entry = self.entry("set_alias", Some(key), None).with_detail("alias", alias);
        self.changed(entry, self.below.set_alias(alias, key), |_, _| ()).await
    }

    async fn check_set_alias(&self, alias: &str, key: &KeyUri) -> Result<(), ProviderError> {
        let entry = self.entry("check", Some(key), None).with_detail("of", "set_alias");
        self.looked(entry.with_detail("alias", alias), self.below.check_set_alias(alias, key)).await
    }

    async fn restore_key(&self, key: &KeyUri) -> Result<KeyDescription, ProviderError> {
        self.changed(self.entry("restore_key", Some(key), None), self.below.restore_key(key), |_, _| ()).await
    }

    async fn check_restore_key(&self, key: &KeyUri) -> Result<(), ProviderError> {
        let entry = self.entry("check", Some(key), None).with_detail("of", "restore_key");
        self.looked(entry, self.below.check_restore_key(key)).await
    }
}

/// Whether the answer of a key store is lost, or makes no sense.
fn is_lost(error: &ProviderError) -> bool {
    matches!(error.kind(), ProviderErrorKind::Unavailable | ProviderErrorKind::Protocol)
}

/// The key that there is now.
fn described(entry: &mut Entry, key: &KeyDescription) {
    entry.key = Some(key.uri.as_str().into());
}

fn change_name(change: KeyChange) -> &'static str {
    match change {
        KeyChange::State(state) => state.name(),
        _ => "archive",
    }
}

fn time(seconds: Option<u64>) -> String {
    seconds.map_or_else(|| "none".into(), |seconds| seconds.to_string())
}
