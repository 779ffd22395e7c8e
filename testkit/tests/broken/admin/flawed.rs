//! Who manages keys, with one flaw.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use envelope_sdk::{
    KeyAdmin, KeyChange, KeyDescription, KeyState, KeyUri, NewKey, ProviderError, ProviderErrorKind,
    admin::{AutoRotation, KeyPage, RotationStatus, all_keys, cannot},
};

use super::{super::example::ExampleProvider, flaws::Flaw, uri};

/// The example behind a flaw.
pub(super) struct Flawed {
    below: Arc<ExampleProvider>,
    flaw: Flaw,
    /// Where the one list goes on.
    cursor: Mutex<Option<String>>,
}

impl Flawed {
    pub(super) fn new(below: Arc<ExampleProvider>, flaw: Flaw) -> Self {
        Self { below, flaw, cursor: Mutex::default() }
    }

    fn is(&self, flaw: Flaw) -> bool {
        self.flaw == flaw
    }

    fn error(&self, kind: ProviderErrorKind, message: &str) -> ProviderError {
        ProviderError::without_key(kind, self.provider(), message)
    }

    /// What is asked of a new key, as a flaw understands it.
    fn understood(&self, new: &NewKey) -> NewKey {
        let mut new = new.clone();
        match self.flaw {
            Flaw::DropsTheDescription => new.description = None,
            Flaw::DropsTheEndOfANewKey => new.not_after = None,
            Flaw::MakesPreActiveKeysActive => new.state = KeyState::Active,
            Flaw::TakesEveryAlgorithm => new.algorithm = None,
            Flaw::TakesEveryOption => new.options.clear(),
            _ => {}
        }
        new
    }

    /// Whether a change is that of a destroyed key to suspended.
    async fn revives(&self, key: &KeyUri, version: Option<&str>, change: KeyChange) -> bool {
        version.is_none()
            && change == KeyChange::State(KeyState::Suspended)
            && self.below.describe_key(key).await.is_ok_and(|it| it.state == KeyState::Destroyed)
    }

    async fn is_taken(&self, new: &NewKey) -> bool {
        self.below
            .describe_key(&KeyUri::parse(&format!("example:{}", new.name)).unwrap_or_else(|_| uri("nobody")))
            .await
            .is_ok()
    }

    /// A description, as a flaw tells it.
    fn told(&self, mut described: KeyDescription) -> KeyDescription {
        let last = described.versions.len().saturating_sub(1);
        match self.flaw {
            Flaw::DestroysLater | Flaw::SuspendsInsteadOfDestroying
                if described.state == KeyState::Destroyed =>
            {
                described.state = KeyState::Suspended;
            }
            Flaw::LeavesOldVersionsActive => {
                described.versions[..last].iter_mut().for_each(|version| version.state = KeyState::Active);
            }
            Flaw::ForgetsOldVersions => drop(described.versions.drain(..last)),
            _ => {}
        }
        described
    }

    fn spoil(&self, error: ProviderError) -> ProviderError {
        match self.flaw {
            Flaw::DeniesUnknownVersions if error.message().contains("no version") => ProviderError::new(
                ProviderErrorKind::AccessDenied,
                self.provider(),
                error.key().unwrap(),
                error.message(),
            ),
            Flaw::CallsUnknownKeysBroken if error.kind() == ProviderErrorKind::NotFound => {
                ProviderError::new(ProviderErrorKind::Other, self.provider(), error.key().unwrap(), "?")
            }
            Flaw::NamesNoKey => self.error(error.kind(), error.message()),
            _ => error,
        }
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl KeyAdmin for Flawed {
    fn provider(&self) -> &'static str {
        if self.is(Flaw::HasAnotherName) { "elpmaxe" } else { "example" }
    }

    async fn create_key(&self, new: &NewKey) -> Result<KeyDescription, ProviderError> {
        match self.flaw {
            Flaw::TakesATakenName if self.is_taken(new).await => {
                self.below.describe_key(&uri(&new.name)).await
            }
            Flaw::ShowsTheName if new.name.contains('\n') => {
                Err(self.error(ProviderErrorKind::Invalid, &format!("{} is no name", new.name)))
            }
            Flaw::CreatesSuspendedKeys => {
                let created = self.below.create_key(new).await?.uri;
                self.below.change_key(&created, None, KeyChange::State(KeyState::Suspended)).await
            }
            _ => self.below.create_key(&self.understood(new)).await,
        }
    }

    async fn check_new_key(&self, new: &NewKey) -> Result<(), ProviderError> {
        match self.flaw {
            Flaw::TakesATakenName | Flaw::ChecksNoName if self.is_taken(new).await => Ok(()),
            Flaw::ChecksRefuseADescription if new.description.is_some() => {
                Err(self.error(ProviderErrorKind::Unsupported, "this key store cannot keep descriptions"))
            }
            Flaw::CheckOfANewKeyMakesIt => self.below.create_key(new).await.map(drop),
            _ => self.below.check_new_key(&self.understood(new)).await,
        }
    }

    async fn describe_key(&self, key: &KeyUri) -> Result<KeyDescription, ProviderError> {
        self.below
            .describe_key(key)
            .await
            .map(|described| self.told(described))
            .map_err(|error| self.spoil(error))
    }

    async fn list_keys(&self, page: Option<&str>) -> Result<KeyPage, ProviderError> {
        let held = self.cursor.lock().unwrap().clone();
        let page = match page {
            Some("more") if self.is(Flaw::RepeatsAPage) => held.as_deref(),
            Some(page)
                if self.is(Flaw::TakesEveryPage) && self.below.list_keys(Some(page)).await.is_err() =>
            {
                None
            }
            page => page,
        };
        let mut listed = self.below.list_keys(page).await?;
        match self.flaw {
            Flaw::LeavesOutTheLastKey if listed.next.is_none() => drop(listed.keys.pop()),
            Flaw::ListsTheFirstKeyTwice if listed.next.is_none() => {
                let all = all_keys(&*self.below).await?;
                listed.keys.extend(all.into_iter().filter(|key| key.uri != uri("another")));
            }
            // The key store, and not the name, knows where the list goes on.
            Flaw::RepeatsAPage => {
                *self.cursor.lock().unwrap() = listed.next.clone();
                listed.next = listed.next.map(|_| "more".into());
            }
            Flaw::NamesAPageTwice if page.is_some() => listed.next = page.map(str::to_owned),
            Flaw::ListsWithoutAnEnd if listed.next.is_none() => listed.next = Some("another".into()),
            _ => {}
        }
        Ok(listed)
    }

    async fn rotate_key(&self, key: &KeyUri) -> Result<KeyDescription, ProviderError> {
        if self.is(Flaw::RotatesInSilence) {
            self.below.check_rotation(key).await?;
            return self.below.describe_key(key).await;
        }
        self.below.rotate_key(key).await.map(|rotated| self.told(rotated)).map_err(|error| self.spoil(error))
    }

    async fn check_rotation(&self, key: &KeyUri) -> Result<(), ProviderError> {
        match self.flaw {
            Flaw::ChecksNoRotation => self.below.describe_key(key).await.map(drop),
            Flaw::CheckOfARotationRotates => self.below.rotate_key(key).await.map(drop),
            _ => self.below.check_rotation(key).await.map_err(|error| self.spoil(error)),
        }
    }

    async fn change_key(
        &self,
        key: &KeyUri,
        version: Option<&str>,
        change: KeyChange,
    ) -> Result<KeyDescription, ProviderError> {
        if self.is(Flaw::ChangesInSilence) && version.is_some() {
            self.below.check_change(key, version, change).await?;
            return self.below.describe_key(key).await;
        }
        if self.is(Flaw::RevivesDestroyedKeys) && self.revives(key, version, change).await {
            return self.below.restore_key(key).await;
        }
        let changed = self.below.change_key(key, version, change).await.map_err(|error| self.spoil(error))?;
        if self.is(Flaw::ChangesOtherVersionsToo) && version.is_some() {
            let others = changed.versions.iter().filter(|other| Some(other.version.as_str()) != version);
            for other in others {
                // Where it may be done.
                let _ = self.below.change_key(key, Some(&other.version), change).await;
            }
            return self.below.describe_key(key).await;
        }
        Ok(self.told(changed))
    }

    async fn check_change(
        &self,
        key: &KeyUri,
        version: Option<&str>,
        change: KeyChange,
    ) -> Result<(), ProviderError> {
        let refused = |error: ProviderError| match error.kind() {
            ProviderErrorKind::Invalid => self.error(ProviderErrorKind::State, error.message()).about(key),
            _ => error,
        };
        match self.flaw {
            Flaw::RevivesDestroyedKeys if self.revives(key, version, change).await => Ok(()),
            Flaw::ChecksNoChange => self.below.describe_key(key).await.map(drop),
            Flaw::ChecksRefuseEveryChange => Err(self.error(ProviderErrorKind::Invalid, "no").about(key)),
            Flaw::CheckOfAChangeChanges => self.below.change_key(key, version, change).await.map(drop),
            Flaw::ChecksWithAnotherKind => {
                self.below.check_change(key, version, change).await.map_err(refused)
            }
            _ => self.below.check_change(key, version, change).await.map_err(|error| self.spoil(error)),
        }
    }

    async fn set_not_after(
        &self,
        key: &KeyUri,
        version: Option<&str>,
        not_after: Option<u64>,
    ) -> Result<KeyDescription, ProviderError> {
        match (self.flaw, version) {
            (Flaw::ForgetsTheEnd, _) => self.below.describe_key(key).await,
            (Flaw::EndsTheFirstVersion, Some(_)) => self.below.set_not_after(key, None, not_after).await,
            (Flaw::EndsTheCurrentVersion, Some(version)) => {
                // One that is not there is refused.
                self.below.check_set_not_after(key, Some(version), not_after).await?;
                self.below.set_not_after(key, None, not_after).await
            }
            (Flaw::EndsEveryVersion, None) => {
                for version in self.below.describe_key(key).await?.versions {
                    self.below.set_not_after(key, Some(&version.version), not_after).await?;
                }
                self.below.describe_key(key).await
            }
            _ => self.below.set_not_after(key, version, not_after).await.map_err(|error| self.spoil(error)),
        }
    }

    async fn check_set_not_after(
        &self,
        key: &KeyUri,
        version: Option<&str>,
        not_after: Option<u64>,
    ) -> Result<(), ProviderError> {
        let version = if self.is(Flaw::ChecksNoEnd) { None } else { version };
        self.below.check_set_not_after(key, version, not_after).await.map_err(|error| self.spoil(error))
    }

    async fn set_rotation(&self, key: &KeyUri, rotation: AutoRotation) -> Result<(), ProviderError> {
        let refusal = |kind| ProviderError::new(kind, "example", key, "this key store cannot rotate keys");
        match self.flaw {
            Flaw::RotatesByItselfInSilence => self.below.describe_key(key).await.map(drop),
            Flaw::RotatesSuspendedKeysByItself => {
                let days = match rotation {
                    AutoRotation::Off => None,
                    AutoRotation::Days(days) => Some(u64::from(days)),
                    _ => Some(365),
                };
                self.below.set_not_after(key, None, days).await.map(drop)
            }
            Flaw::CallsWhatItCannotInvalid => Err(refusal(ProviderErrorKind::Invalid)),
            Flaw::CallsWhatItCannotRetryable => Err(refusal(ProviderErrorKind::Unsupported).retryable(true)),
            _ => Err(cannot(self.provider(), Some(key), "rotate keys by itself")),
        }
    }

    async fn check_set_rotation(&self, key: &KeyUri, rotation: AutoRotation) -> Result<(), ProviderError> {
        match self.flaw {
            Flaw::ChecksNoRotationByItself => Ok(()),
            // These have something to set, or its refusal in their own words.
            Flaw::RotatesByItselfInSilence
            | Flaw::RotatesSuspendedKeysByItself
            | Flaw::CallsWhatItCannotInvalid
            | Flaw::CallsWhatItCannotRetryable => self.set_rotation(key, rotation).await,
            _ => self.below.check_set_rotation(key, rotation).await.map_err(|error| self.spoil(error)),
        }
    }

    async fn rotation_status(&self, key: &KeyUri) -> Result<RotationStatus, ProviderError> {
        let mut status = self.below.rotation_status(key).await.map_err(|error| self.spoil(error))?;
        if self.is(Flaw::RotatesSuspendedKeysByItself) {
            // Kept where it is at hand.
            let days = self.below.describe_key(key).await?.current().and_then(|version| version.not_after);
            status.automatic = days.is_some();
            status.period_days = days.and_then(|days| days.try_into().ok());
        }
        Ok(status)
    }

    async fn set_alias(&self, alias: &str, key: &KeyUri) -> Result<KeyUri, ProviderError> {
        let another = uri("another");
        let key = if self.is(Flaw::AliasesTheFirstKey) { &another } else { key };
        self.below.set_alias(alias, key).await.map_err(|error| self.spoil(error))
    }

    async fn check_set_alias(&self, alias: &str, key: &KeyUri) -> Result<(), ProviderError> {
        if self.is(Flaw::ChecksRefuseAliases) {
            return Err(cannot(self.provider(), Some(key), "keep aliases"));
        }
        self.below.check_set_alias(alias, key).await.map_err(|error| self.spoil(error))
    }

    async fn restore_key(&self, key: &KeyUri) -> Result<KeyDescription, ProviderError> {
        let state = self.below.describe_key(key).await.map(|described| described.state);
        match (self.flaw, state) {
            (Flaw::RestoresInSilence, Ok(KeyState::Destroyed)) => self.below.describe_key(key).await,
            (Flaw::RestoresWhatIsThere, Ok(KeyState::Active)) => self.below.describe_key(key).await,
            (Flaw::SuspendsInsteadOfDestroying, _) => {
                Err(cannot(self.provider(), Some(key), "bring keys back"))
            }
            _ => self.below.restore_key(key).await.map_err(|error| self.spoil(error)),
        }
    }
    async fn check_restore_key(&self, key: &KeyUri) -> Result<(), ProviderError> {
        match self.flaw {
            Flaw::ChecksNoRestoring => Ok(()),
            Flaw::CheckOfRestoringRestores => self.below.restore_key(key).await.map(drop),
            Flaw::SuspendsInsteadOfDestroying => Err(cannot(self.provider(), Some(key), "bring keys back")),
            _ => self.below.check_restore_key(key).await.map_err(|error| self.spoil(error)),
        }
    }
}
