//! Who manages keys.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use async_trait::async_trait;
use envelope_sdk::{
    KeyAdmin, KeyChange, KeyDescription, KeyProvider, KeyState, KeyUri, NewKey, ProviderError,
    ProviderErrorKind,
    admin::{AutoRotation, KeyPage, RotationStatus, all_keys, cannot},
};
use envelope_testkit::conformance::admin::{self, AdminBackend};
use futures_executor::block_on;

use super::example::ExampleProvider;

/// What is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Flaw {
    None,
    // New keys
    CreatesSuspendedKeys,
    HasAnotherName,
    ChecksNoName,
    TakesATakenName,
    DropsTheDescription,
    DropsTheEndOfANewKey,
    MakesPreActiveKeysActive,
    ChecksRefuseADescription,
    TakesEveryAlgorithm,
    TakesEveryOption,
    ShowsTheName,
    // Lists
    LeavesOutTheLastKey,
    ListsTheFirstKeyTwice,
    ListsWithoutAnEnd,
    TakesEveryPage,
    // Refusals
    CallsUnknownKeysBroken,
    NamesNoKey,
    CallsWhatItCannotInvalid,
    CallsWhatItCannotRetryable,
    // Changes
    CheckOfANewKeyMakesIt,
    CheckOfARotationRotates,
    CheckOfAChangeChanges,
    ChecksNoChange,
    ChecksRefuseEveryChange,
    ChecksWithAnotherKind,
    ChangesInSilence,
    ChecksNoRotation,
    RotatesInSilence,
    // What not every key store has
    ForgetsTheEnd,
    EndsTheFirstVersion,
    RestoresInSilence,
    RestoresWhatIsThere,
    AliasesTheFirstKey,
    RotatesByItselfInSilence,
    RotatesSuspendedKeysByItself,
}

/// Flaws, and the check that finds each.
const FOUND: &[(Flaw, &str)] = &[
    (Flaw::CreatesSuspendedKeys, "a_created_key_is_described_listed_and_used"),
    (Flaw::HasAnotherName, "a_created_key_is_described_listed_and_used"),
    (Flaw::LeavesOutTheLastKey, "a_created_key_is_described_listed_and_used"),
    (Flaw::LeavesOutTheLastKey, "a_list_has_every_key_once_and_knows_its_own_pages_alone"),
    (Flaw::ListsTheFirstKeyTwice, "a_list_has_every_key_once_and_knows_its_own_pages_alone"),
    (Flaw::ListsWithoutAnEnd, "a_list_has_every_key_once_and_knows_its_own_pages_alone"),
    (Flaw::TakesEveryPage, "a_list_has_every_key_once_and_knows_its_own_pages_alone"),
    (Flaw::ChecksNoName, "a_name_that_is_taken_is_refused_by_check_and_creation"),
    (Flaw::TakesATakenName, "a_name_that_is_taken_is_refused_by_check_and_creation"),
    (Flaw::DropsTheDescription, "what_a_new_key_is_asked_to_have_is_told_of_it_or_refused"),
    (Flaw::DropsTheEndOfANewKey, "what_a_new_key_is_asked_to_have_is_told_of_it_or_refused"),
    (Flaw::MakesPreActiveKeysActive, "what_a_new_key_is_asked_to_have_is_told_of_it_or_refused"),
    (Flaw::ChecksRefuseADescription, "what_a_new_key_is_asked_to_have_is_told_of_it_or_refused"),
    (Flaw::TakesEveryAlgorithm, "a_kind_option_or_name_that_no_key_store_has_is_refused"),
    (Flaw::TakesEveryOption, "a_kind_option_or_name_that_no_key_store_has_is_refused"),
    (Flaw::ShowsTheName, "a_kind_option_or_name_that_no_key_store_has_is_refused"),
    (Flaw::CallsUnknownKeysBroken, "an_unknown_key_is_not_found"),
    (Flaw::NamesNoKey, "an_unknown_key_is_not_found"),
    (Flaw::CallsWhatItCannotInvalid, "what_a_key_store_cannot_is_unsupported_and_not_worth_a_retry"),
    (Flaw::CallsWhatItCannotRetryable, "what_a_key_store_cannot_is_unsupported_and_not_worth_a_retry"),
    (Flaw::CheckOfANewKeyMakesIt, "no_check_changes_anything"),
    (Flaw::CheckOfARotationRotates, "no_check_changes_anything"),
    (Flaw::CheckOfAChangeChanges, "no_check_changes_anything"),
    (Flaw::CheckOfAChangeChanges, "a_check_of_a_change_says_what_the_change_does"),
    (Flaw::ChecksNoChange, "a_check_of_a_change_says_what_the_change_does"),
    (Flaw::ChecksRefuseEveryChange, "a_check_of_a_change_says_what_the_change_does"),
    (Flaw::ChecksWithAnotherKind, "a_check_of_a_change_says_what_the_change_does"),
    (Flaw::ChangesInSilence, "a_check_of_a_change_says_what_the_change_does"),
    (Flaw::CheckOfARotationRotates, "a_check_of_a_rotation_says_what_the_rotation_does"),
    (Flaw::ChecksNoRotation, "a_check_of_a_rotation_says_what_the_rotation_does"),
    (Flaw::RotatesInSilence, "a_check_of_a_rotation_says_what_the_rotation_does"),
    (Flaw::ForgetsTheEnd, "the_end_of_a_cryptoperiod_is_told_and_its_key_is_due"),
    (Flaw::EndsTheFirstVersion, "the_end_of_a_cryptoperiod_is_told_and_its_key_is_due"),
    (Flaw::RestoresInSilence, "a_destroyed_key_is_back_when_it_is_restored"),
    (Flaw::RestoresWhatIsThere, "a_destroyed_key_is_back_when_it_is_restored"),
    (Flaw::AliasesTheFirstKey, "an_alias_is_the_key_it_was_made_for"),
    (Flaw::RotatesByItselfInSilence, "rotation_by_itself_is_told_as_it_was_set"),
    (Flaw::RotatesSuspendedKeysByItself, "rotation_by_itself_is_told_as_it_was_set"),
];

#[test]
fn who_manages_keys_without_a_flaw_passes_every_check() {
    let report = admin::run(&Broken::new(Flaw::None));
    report.assert_conforms();
    let not_run: Vec<_> = report.not_run.iter().map(|(check, _)| *check).collect();
    assert_eq!(
        not_run,
        ["rotation_by_itself_is_told_as_it_was_set"],
        "keys in memory rotate by a call alone"
    );
}

#[test]
fn each_flaw_is_found_by_its_check() {
    for flaw in FOUND.iter().map(|(flaw, _)| *flaw).collect::<BTreeSet<_>>() {
        let report = admin::run(&Broken::new(flaw));
        for (_, check) in FOUND.iter().filter(|(of, _)| *of == flaw) {
            assert!(report.fails(check), "{flaw:?} was not found by {check}:\n{report}");
        }
    }
}

#[test]
fn every_check_finds_a_flaw() {
    for (check, _) in admin::ALL {
        assert!(FOUND.iter().any(|(_, by)| by == check), "no flaw is found by {check}");
    }
}

struct Broken {
    admin: Arc<Flawed>,
    keys: AtomicUsize,
}

impl Broken {
    fn new(flaw: Flaw) -> Self {
        let below = Arc::new(ExampleProvider::with_page_len(3));
        // A first key, which is of no check.
        block_on(below.create_key(&NewKey::named("another"))).unwrap();
        Self { admin: Arc::new(Flawed { below, flaw }), keys: AtomicUsize::new(0) }
    }
}

impl AdminBackend for Broken {
    fn admin(&self) -> Arc<dyn KeyAdmin> {
        self.admin.clone()
    }

    fn provider(&self) -> Arc<dyn KeyProvider> {
        self.admin.below.clone()
    }

    fn new_key(&self) -> NewKey {
        NewKey::named(format!("key-{}", self.keys.fetch_add(1, Ordering::SeqCst)))
    }

    fn unknown_key(&self) -> KeyUri {
        uri("nobody")
    }
}

/// The example behind a flaw.
struct Flawed {
    below: Arc<ExampleProvider>,
    flaw: Flaw,
}

impl Flawed {
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

    async fn is_taken(&self, new: &NewKey) -> bool {
        self.below
            .describe_key(&KeyUri::parse(&format!("example:{}", new.name)).unwrap_or_else(|_| uri("nobody")))
            .await
            .is_ok()
    }

    fn spoil(&self, error: ProviderError) -> ProviderError {
        match self.flaw {
            Flaw::CallsUnknownKeysBroken if error.kind() == ProviderErrorKind::NotFound => {
                ProviderError::new(ProviderErrorKind::Other, self.provider(), error.key().unwrap(), "?")
            }
            Flaw::NamesNoKey => self.error(error.kind(), error.message()),
            _ => error,
        }
    }
}

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
        self.below.describe_key(key).await.map_err(|error| self.spoil(error))
    }

    async fn list_keys(&self, page: Option<&str>) -> Result<KeyPage, ProviderError> {
        let page = match page {
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
        self.below.rotate_key(key).await.map_err(|error| self.spoil(error))
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
        self.below.change_key(key, version, change).await.map_err(|error| self.spoil(error))
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
            _ => self.below.set_not_after(key, version, not_after).await.map_err(|error| self.spoil(error)),
        }
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

    async fn restore_key(&self, key: &KeyUri) -> Result<KeyDescription, ProviderError> {
        let state = self.below.describe_key(key).await.map(|described| described.state);
        match (self.flaw, state) {
            (Flaw::RestoresInSilence, Ok(KeyState::Destroyed)) => self.below.describe_key(key).await,
            (Flaw::RestoresWhatIsThere, Ok(KeyState::Active)) => self.below.describe_key(key).await,
            _ => self.below.restore_key(key).await.map_err(|error| self.spoil(error)),
        }
    }
}

fn uri(name: &str) -> KeyUri {
    KeyUri::parse(&format!("example:{name}")).unwrap()
}
