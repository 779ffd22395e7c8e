//! Providers.

use std::{
    collections::BTreeSet,
    future::poll_fn,
    io,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::Poll,
};

use async_trait::async_trait;
use envelope_sdk::{
    ContextBinding, Dek, EncryptionContext, FullContext, KeyAdmin, KeyProvider, KeyUri, NewKey,
    ProviderError, ProviderErrorKind, ProviderIdentity, WrappedDek,
    crypto::{Aes256Gcm, DefaultEngine, Engine},
    provider::unwrap_one_by_one,
};
use envelope_testkit::conformance::{self, Applied, Backend, Change, Subject, apply_with_admin};
use futures_executor::block_on;

use super::example::ExampleProvider;

/// What is wrong with a provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Flaw {
    None,
    IgnoresContextAndDeclaresToBindIt,
    BindsContextAndDeclaresNotTo,
    ForgetsContextsThatAreNotAscii,
    ForgetsTheBordersOfAContext,
    ForgetsTheEndOfALongContext,
    UnwrapsToAnotherDek,
    WrapsInTheClear,
    ReusesANonce,
    UnwrapsTogetherBackwards,
    UnwrapsNothingTogetherWithWhatDoesNotOpen,
    NamesAnotherKey,
    GeneratesUnderAnotherKey,
    RewrapsUnderAnotherKey,
    TakesEveryKeyForItsOwn,
    UnwrapsForEveryKey,
    IgnoresTheLastByte,
    IgnoresWhatIsAppended,
    CallsUnknownKeysBroken,
    CallsWrongKeysRetryable,
    ForgetsOldVersions,
    IgnoresStates,
    CallsAMissingServerOther,
    CallsAMissingServerFinal,
    MixesUpConcurrentCalls,
    KeepsALockWhenDropped,
    HoldsTheDekInAnError,
    HoldsTheDekInTheCauseOfAnError,
    LogsTheDek,
    TracesTheDek,
    GeneratesTheSameDekAgain,
    GeneratesADekOfZeros,
    GeneratesAnotherDekThanItWraps,
    GeneratesInEveryState,
    LogsTheGeneratedDek,
    RewrapsAnotherDek,
    RewrapsUnderAnyContext,
    RewrapsInEveryState,
    NamesTheAlias,
    ResolvesOnAndOn,
    ResolvesToAnotherScheme,
    ResolvesToAnotherKey,
    ResolvesUnknownKeys,
    HasNoIdentity,
    HasANewIdentityEachTime,
    SharesItsIdentity,
    ChangesItsName,
    GeneratesByChance,
    BindsByChance,
    CallsWrongContextsUnsupported,
}

#[test]
fn a_provider_without_a_flaw_passes_every_check() {
    for by_alias in [false, true] {
        let report = conformance::run(&Broken { by_alias, ..Broken::new(Flaw::None) });
        report.assert_conforms();
        assert!(report.not_run.is_empty(), "{report}");
    }
}

#[test]
fn every_check_finds_a_flaw() {
    for (check, _) in conformance::checks::ALL {
        assert!(FOUND.iter().any(|(_, by)| by == check), "no flaw is found by {check}");
    }
}

#[test]
fn each_flaw_is_found_by_its_check() {
    for flaw in FOUND.iter().map(|(flaw, _)| *flaw).collect::<BTreeSet<_>>() {
        let report = conformance::run(&Broken::new(flaw));
        for (_, check) in FOUND.iter().filter(|(of, _)| *of == flaw) {
            assert!(report.fails(check), "{flaw:?} was not found by {check}:\n{report}");
        }
    }
}

/// Flaws, and the check that finds each.
const FOUND: &[(Flaw, &str)] = &[
    (Flaw::IgnoresContextAndDeclaresToBindIt, "the_context_is_bound_as_declared"),
    (Flaw::BindsContextAndDeclaresNotTo, "the_context_is_bound_as_declared"),
    (Flaw::ForgetsContextsThatAreNotAscii, "contexts_of_every_shape_wrap_or_are_refused_as_invalid"),
    (Flaw::ForgetsTheBordersOfAContext, "contexts_that_read_alike_without_borders_are_told_apart"),
    (Flaw::ForgetsTheEndOfALongContext, "contexts_that_differ_late_or_in_a_letter_alone_are_told_apart"),
    (Flaw::UnwrapsToAnotherDek, "a_wrapped_dek_comes_back"),
    (Flaw::WrapsInTheClear, "a_wrapped_dek_comes_back"),
    (Flaw::ReusesANonce, "no_two_wraps_share_a_keystream"),
    (Flaw::UnwrapsTogetherBackwards, "wraps_that_are_unwrapped_together_unwrap_as_each_by_itself"),
    (
        Flaw::UnwrapsNothingTogetherWithWhatDoesNotOpen,
        "wraps_that_are_unwrapped_together_unwrap_as_each_by_itself",
    ),
    (Flaw::NamesAnotherKey, "a_wrap_names_the_key_it_was_asked_for"),
    (Flaw::TakesEveryKeyForItsOwn, "a_wrap_names_the_key_it_was_asked_for"),
    (Flaw::TakesEveryKeyForItsOwn, "keys_of_other_schemes_are_refused"),
    (Flaw::UnwrapsForEveryKey, "a_wrap_does_not_unwrap_under_another_key"),
    (Flaw::IgnoresTheLastByte, "a_changed_wrap_does_not_unwrap"),
    (Flaw::IgnoresWhatIsAppended, "a_shortened_or_lengthened_wrap_does_not_unwrap"),
    (Flaw::CallsUnknownKeysBroken, "an_unknown_key_is_not_found"),
    (Flaw::CallsWrongKeysRetryable, "refusals_name_provider_and_key_and_are_not_worth_a_retry"),
    (Flaw::ForgetsOldVersions, "what_was_wrapped_before_a_rotation_unwraps_after_it"),
    (Flaw::IgnoresStates, "a_suspended_key_neither_wraps_nor_unwraps_until_it_is_active_again"),
    (Flaw::IgnoresStates, "a_deactivated_key_unwraps_and_does_not_wrap"),
    (Flaw::IgnoresStates, "a_compromised_key_unwraps_and_does_not_wrap"),
    (Flaw::IgnoresStates, "a_destroyed_key_neither_wraps_nor_unwraps"),
    (Flaw::CallsAMissingServerOther, "a_key_without_its_server_is_unavailable_and_worth_a_retry"),
    (Flaw::CallsAMissingServerFinal, "a_key_without_its_server_is_unavailable_and_worth_a_retry"),
    (Flaw::MixesUpConcurrentCalls, "sixty_four_tasks_each_get_their_own_dek"),
    (Flaw::KeepsALockWhenDropped, "a_call_dropped_half_way_leaves_the_provider_working"),
    (Flaw::HoldsTheDekInAnError, "no_dek_is_in_errors_or_logs"),
    (Flaw::HoldsTheDekInTheCauseOfAnError, "no_dek_is_in_errors_or_logs"),
    (Flaw::LogsTheDek, "no_dek_is_in_errors_or_logs"),
    (Flaw::TracesTheDek, "no_dek_is_in_errors_or_logs"),
    (Flaw::GeneratesUnderAnotherKey, "a_generated_dek_is_fresh_and_comes_back"),
    (Flaw::RewrapsUnderAnotherKey, "a_rewrapped_dek_is_the_same_under_the_same_context_alone"),
    (Flaw::GeneratesADekOfZeros, "a_generated_dek_is_fresh_and_comes_back"),
    (Flaw::GeneratesTheSameDekAgain, "a_generated_dek_is_fresh_and_comes_back"),
    (Flaw::GeneratesAnotherDekThanItWraps, "a_generated_dek_is_fresh_and_comes_back"),
    (Flaw::GeneratesInEveryState, "a_suspended_key_neither_wraps_nor_unwraps_until_it_is_active_again"),
    (Flaw::GeneratesInEveryState, "a_deactivated_key_unwraps_and_does_not_wrap"),
    (Flaw::LogsTheGeneratedDek, "no_dek_is_in_errors_or_logs"),
    (Flaw::RewrapsAnotherDek, "a_rewrapped_dek_is_the_same_under_the_same_context_alone"),
    (Flaw::RewrapsUnderAnyContext, "a_rewrapped_dek_is_the_same_under_the_same_context_alone"),
    (Flaw::RewrapsInEveryState, "a_deactivated_key_unwraps_and_does_not_wrap"),
    (Flaw::NamesTheAlias, "a_wrap_names_the_key_it_was_asked_for"),
    (Flaw::CallsWrongContextsUnsupported, "an_envelope_opens_under_its_own_context_alone"),
    (Flaw::ResolvesOnAndOn, "resolving_a_key_is_final_and_stays_in_its_scheme"),
    (Flaw::ResolvesToAnotherScheme, "resolving_a_key_is_final_and_stays_in_its_scheme"),
    (Flaw::ResolvesToAnotherKey, "resolving_a_key_is_final_and_stays_in_its_scheme"),
    (Flaw::ResolvesUnknownKeys, "an_unknown_key_means_itself_or_is_not_found"),
    (Flaw::HasNoIdentity, "a_provider_that_rewraps_has_an_identity_of_its_own"),
    (Flaw::HasANewIdentityEachTime, "a_provider_that_rewraps_has_an_identity_of_its_own"),
    (Flaw::SharesItsIdentity, "a_provider_that_rewraps_has_an_identity_of_its_own"),
    (Flaw::ChangesItsName, "a_provider_behind_a_pointer_answers_as_itself"),
    (Flaw::GeneratesByChance, "a_provider_behind_a_pointer_answers_as_itself"),
    (Flaw::BindsByChance, "a_provider_behind_a_pointer_answers_as_itself"),
];

struct Broken {
    provider: Arc<Flawed>,
    keys: AtomicUsize,
    by_alias: bool,
}

impl Broken {
    fn new(flaw: Flaw) -> Self {
        let provider = Flawed {
            below: ExampleProvider::new(),
            flaw,
            away: false,
            wraps: Mutex::default(),
            last: Mutex::default(),
            locked: AtomicBool::new(false),
            asked: AtomicUsize::new(0),
        };
        let by_alias = flaw == Flaw::NamesTheAlias;
        Self { provider: Arc::new(provider), keys: AtomicUsize::new(0), by_alias }
    }

    fn new_key(&self) -> KeyUri {
        let name = format!("key-{}", self.keys.fetch_add(1, Ordering::SeqCst));
        let below = &self.provider.below;
        let key = block_on(below.create_key(&NewKey::named(&name))).unwrap().uri;
        if self.by_alias { block_on(below.set_alias(&name, &key)).unwrap() } else { key }
    }
}

impl Backend for Broken {
    fn subject(&self) -> Subject {
        Subject::new(self.provider.clone(), self.new_key())
    }

    fn other_subject(&self) -> Subject {
        self.subject()
    }

    fn unknown_key(&self) -> Option<KeyUri> {
        Some(uri("example:nobody"))
    }

    fn another_instance(&self) -> Option<Arc<dyn KeyProvider>> {
        let mut other = Broken::new(self.provider.flaw);
        if self.provider.flaw == Flaw::SharesItsIdentity {
            other = Broken { provider: self.provider.clone(), ..other };
        }
        Some(other.provider)
    }

    fn unreachable(&self) -> Option<Subject> {
        let mut away = Broken::new(self.provider.flaw);
        let key = away.new_key();
        Arc::get_mut(&mut away.provider).unwrap().away = true;
        Some(Subject::new(away.provider.clone(), key))
    }

    fn apply(&self, subject: &Subject, change: Change) -> Applied {
        if self.provider.flaw == Flaw::IgnoresStates && change != Change::Rotate {
            return Applied::Done;
        }
        let below = &self.provider.below;
        let applied = block_on(apply_with_admin(below, &subject.key, change));
        if self.provider.flaw == Flaw::ForgetsOldVersions && change == Change::Rotate {
            let versions = block_on(below.describe_key(&subject.key)).unwrap().versions;
            let old = &versions[versions.len() - 2].version;
            let destroyed = envelope_sdk::KeyChange::State(envelope_sdk::KeyState::Destroyed);
            block_on(below.change_key(&subject.key, Some(old), destroyed)).unwrap();
        }
        applied
    }
}

/// The example behind a flaw.
struct Flawed {
    below: ExampleProvider,
    flaw: Flaw,
    away: bool,
    /// Every wrap and its DEK, for flaws that know what they should not.
    wraps: Mutex<Vec<(Vec<u8>, [u8; 32])>>,
    last: Mutex<[u8; 32]>,
    locked: AtomicBool,
    asked: AtomicUsize,
}

impl Flawed {
    fn is(&self, flaw: Flaw) -> bool {
        self.flaw == flaw
    }

    /// True and false in turn.
    fn is_odd(&self) -> bool {
        self.asked.fetch_add(1, Ordering::SeqCst) % 2 == 1
    }

    fn seen(&self, context: &FullContext) -> FullContext {
        match self.flaw {
            Flaw::IgnoresContextAndDeclaresToBindIt => FullContext::empty(),
            Flaw::ForgetsTheBordersOfAContext => {
                let text: String = context.entries().flat_map(|(name, value)| [name, value]).collect();
                let short: String = text.chars().take(1000).collect();
                EncryptionContext::new().with("all", short).full().unwrap()
            }
            Flaw::ForgetsTheEndOfALongContext => {
                let short = |text: &str| text.chars().take(100).collect::<String>();
                let all = context.entries();
                let all = all
                    .fold(EncryptionContext::new(), |all, (name, value)| all.with(short(name), short(value)));
                all.full().unwrap()
            }
            _ => context.clone(),
        }
    }

    fn error(&self, kind: ProviderErrorKind, key: &KeyUri, message: &str) -> ProviderError {
        ProviderError::new(kind, self.name(), key, message)
    }

    fn fail_if_away(&self, key: &KeyUri) -> Result<(), ProviderError> {
        let error = |kind| self.error(kind, key, "does not answer");
        match self.flaw {
            _ if !self.away => Ok(()),
            Flaw::CallsAMissingServerOther => Err(error(ProviderErrorKind::Other)),
            Flaw::CallsAMissingServerFinal => Err(error(ProviderErrorKind::Unavailable).retryable(false)),
            _ => Err(error(ProviderErrorKind::Unavailable)),
        }
    }

    /// The same wrap, said to be of another key.
    fn renamed(&self, wrapped: &WrappedDek) -> Result<WrappedDek, ProviderError> {
        self.named(uri("example:another"), wrapped)
    }

    fn named(&self, key: KeyUri, wrapped: &WrappedDek) -> Result<WrappedDek, ProviderError> {
        let ciphertext = wrapped.ciphertext().to_vec();
        WrappedDek::new(key, wrapped.key_version(), wrapped.wrap_algorithm(), ciphertext)
    }

    fn known_dek(&self, ciphertext: &[u8]) -> Option<[u8; 32]> {
        let same = |known: &&(Vec<u8>, [u8; 32])| {
            known.0 == ciphertext
                || (self.is(Flaw::IgnoresWhatIsAppended) && ciphertext.starts_with(&known.0))
                || (self.is(Flaw::IgnoresTheLastByte) && ciphertext[..71] == known.0[..71])
        };
        self.wraps.lock().unwrap().iter().find(same).map(|(_, dek)| *dek)
    }

    fn spoil(&self, error: ProviderError) -> ProviderError {
        let (kind, key) = (error.kind(), error.key().unwrap().clone());
        let dek = hex(&*self.last.lock().unwrap());
        match self.flaw {
            Flaw::CallsUnknownKeysBroken if kind == ProviderErrorKind::NotFound => {
                self.error(ProviderErrorKind::Other, &key, "something is broken")
            }
            Flaw::CallsWrongContextsUnsupported if kind == ProviderErrorKind::Unauthentic => {
                self.error(ProviderErrorKind::Unsupported, &key, "does not open")
            }
            Flaw::CallsWrongKeysRetryable => error.retryable(true),
            Flaw::HoldsTheDekInAnError => self.error(kind, &key, &format!("{dek} does not open")),
            Flaw::HoldsTheDekInTheCauseOfAnError => error.with_source(io::Error::other(dek)),
            _ => error,
        }
    }
}

#[async_trait]
impl KeyProvider for Flawed {
    fn name(&self) -> &'static str {
        if self.is(Flaw::ChangesItsName) && self.is_odd() { "elpmaxe" } else { "example" }
    }

    fn identity(&self) -> Option<ProviderIdentity> {
        match self.flaw {
            Flaw::HasNoIdentity => None,
            Flaw::HasANewIdentityEachTime => Some(ProviderIdentity::unique()),
            _ => self.below.identity(),
        }
    }

    async fn resolve(&self, key: &KeyUri) -> Result<KeyUri, ProviderError> {
        match self.flaw {
            Flaw::ResolvesOnAndOn => Ok(uri(&format!("{key}x"))),
            Flaw::ResolvesToAnotherScheme => Ok(uri("elsewhere:key")),
            Flaw::ResolvesToAnotherKey => Ok(uri("example:key-0")),
            Flaw::ResolvesUnknownKeys if *key == uri("example:nobody") => Ok(uri("example:key-0")),
            _ => self.below.resolve(key).await,
        }
    }

    fn context_binding(&self, _wrapped: &WrappedDek) -> ContextBinding {
        let by_chance = self.is(Flaw::BindsByChance) && self.is_odd();
        if by_chance || self.is(Flaw::BindsContextAndDeclaresNotTo) {
            ContextBinding::EnvelopeOnly
        } else {
            ContextBinding::Provider
        }
    }

    fn is_same_key(&self, configured: &KeyUri, recipient: &KeyUri) -> bool {
        self.is(Flaw::TakesEveryKeyForItsOwn) || self.below.is_same_key(configured, recipient)
    }

    async fn wrap_dek(
        &self,
        key: &KeyUri,
        dek: &Dek,
        context: &FullContext,
    ) -> Result<WrappedDek, ProviderError> {
        self.fail_if_away(key)?;
        *self.last.lock().unwrap() = *dek.expose();
        match self.flaw {
            Flaw::LogsTheDek => log::trace!("wrapping {}", hex(dek.expose())),
            Flaw::TracesTheDek => tracing::trace!(dek = ?dek.expose(), "wrapping"),
            Flaw::KeepsALockWhenDropped => {
                if self.locked.swap(true, Ordering::SeqCst) {
                    return Err(self.error(ProviderErrorKind::Other, key, "in use"));
                }
                yield_once().await;
                self.locked.store(false, Ordering::SeqCst);
            }
            Flaw::MixesUpConcurrentCalls => {
                // Whoever came last is wrapped.
                (0..10).for_each(|_| std::thread::yield_now());
                let last = *self.last.lock().unwrap();
                return self.below.wrap_dek(key, &Dek::from_slice(&last).unwrap(), context).await;
            }
            Flaw::NamesTheAlias => {
                return self.named(key.clone(), &self.below.wrap_dek(key, dek, context).await?);
            }
            Flaw::NamesAnotherKey => {
                return self.renamed(&self.below.wrap_dek(key, dek, context).await?);
            }
            Flaw::WrapsInTheClear => {
                let shown = [dek.expose().as_slice(), &[7; 40]].concat();
                self.wraps.lock().unwrap().push((shown.clone(), *dek.expose()));
                return WrappedDek::new(key.clone(), "1", "XAES-256-GCM", shown);
            }
            Flaw::ReusesANonce => {
                let mut sealed = [0; 48];
                let gcm = <DefaultEngine as Engine>::Gcm::new(&[7; 32]);
                gcm.seal_to(&[7; 12], context.as_bytes(), dek.expose(), &mut sealed);
                let wrapped = [[7; 12].as_slice(), &sealed, &[7; 12]].concat();
                self.wraps.lock().unwrap().push((wrapped.clone(), *dek.expose()));
                return WrappedDek::new(key.clone(), "1", "XAES-256-GCM", wrapped);
            }
            _ => {}
        }
        let wrapped =
            self.below.wrap_dek(key, dek, &self.seen(context)).await.map_err(|error| self.spoil(error))?;
        self.wraps.lock().unwrap().push((wrapped.ciphertext().to_vec(), *dek.expose()));
        Ok(wrapped)
    }

    async fn unwrap_dek(&self, wrapped: &WrappedDek, context: &FullContext) -> Result<Dek, ProviderError> {
        self.fail_if_away(wrapped.key_uri())?;
        if self.is(Flaw::ForgetsContextsThatAreNotAscii) && !context.as_bytes().is_ascii() {
            return Err(self.error(ProviderErrorKind::Unauthentic, wrapped.key_uri(), "does not open"));
        }
        let unwrapped = self.below.unwrap_dek(wrapped, &self.seen(context)).await;
        let known = || self.known_dek(wrapped.ciphertext()).map(|dek| Dek::from_slice(&dek).unwrap());
        match self.flaw {
            Flaw::UnwrapsToAnotherDek => Ok(Dek::generate::<DefaultEngine>().unwrap()),
            Flaw::WrapsInTheClear
            | Flaw::ReusesANonce
            | Flaw::UnwrapsForEveryKey
            | Flaw::IgnoresTheLastByte
            | Flaw::IgnoresWhatIsAppended => unwrapped.or_else(|error| known().ok_or(error)),
            _ => unwrapped.map_err(|error| self.spoil(error)),
        }
    }

    async fn unwrap_deks(&self, wraps: &[(&WrappedDek, &FullContext)]) -> Vec<Result<Dek, ProviderError>> {
        let mut deks = unwrap_one_by_one(self, wraps).await;
        match self.flaw {
            Flaw::UnwrapsTogetherBackwards => deks.reverse(),
            Flaw::UnwrapsNothingTogetherWithWhatDoesNotOpen if deks.iter().any(Result::is_err) => {
                let refused = |(wrapped, _): &(&WrappedDek, _)| {
                    Err(self.error(ProviderErrorKind::Unauthentic, wrapped.key_uri(), "does not open"))
                };
                deks = wraps.iter().map(refused).collect();
            }
            _ => {}
        }
        deks
    }

    fn refuted(&self, wrapped: &WrappedDek, context: &FullContext) {
        self.below.refuted(wrapped, context);
    }

    fn binding_of_new_wraps(&self, key: &KeyUri) -> Option<ContextBinding> {
        self.below.binding_of_new_wraps(key)
    }

    fn waits_for_a_person(&self, key: &KeyUri) -> bool {
        self.below.waits_for_a_person(key)
    }

    fn generates_deks(&self, _key: &KeyUri) -> bool {
        !self.is(Flaw::GeneratesByChance) || self.is_odd()
    }

    async fn generate_dek(
        &self,
        key: &KeyUri,
        context: &FullContext,
    ) -> Result<(Dek, WrappedDek), ProviderError> {
        let dek = match self.flaw {
            Flaw::GeneratesTheSameDekAgain => Dek::from_slice(&[7; 32]).unwrap(),
            Flaw::GeneratesADekOfZeros => Dek::from_slice(&[0; 32]).unwrap(),
            _ => Dek::generate::<DefaultEngine>().unwrap(),
        };
        match self.wrap_dek(key, &dek, context).await {
            Err(error)
                if self.is(Flaw::GeneratesInEveryState) && error.kind() == ProviderErrorKind::State =>
            {
                let wrapped = WrappedDek::new(key.clone(), "1", "XAES-256-GCM", vec![7; 72])?;
                Ok((dek, wrapped))
            }
            Err(error) => Err(error),
            Ok(wrapped) => {
                if self.is(Flaw::LogsTheGeneratedDek) {
                    log::debug!("generated {}", hex(dek.expose()));
                }
                if self.is(Flaw::GeneratesUnderAnotherKey) {
                    return Ok((dek, self.renamed(&wrapped)?));
                }
                if self.is(Flaw::GeneratesAnotherDekThanItWraps) {
                    return Ok((Dek::generate::<DefaultEngine>().unwrap(), wrapped));
                }
                Ok((dek, wrapped))
            }
        }
    }

    async fn rewrap_dek(
        &self,
        wrapped: &WrappedDek,
        key: &KeyUri,
        context: &FullContext,
    ) -> Result<Option<WrappedDek>, ProviderError> {
        let dek = match self.flaw {
            Flaw::RewrapsAnotherDek => Dek::generate::<DefaultEngine>().unwrap(),
            Flaw::RewrapsUnderAnyContext => {
                Dek::from_slice(&self.known_dek(wrapped.ciphertext()).unwrap_or([0; 32])).unwrap()
            }
            _ => self.unwrap_dek(wrapped, context).await?,
        };
        match self.wrap_dek(key, &dek, context).await {
            Err(error) if self.is(Flaw::RewrapsInEveryState) && error.kind() == ProviderErrorKind::State => {
                Ok(Some(wrapped.clone()))
            }
            Ok(new) if self.is(Flaw::RewrapsUnderAnotherKey) => self.renamed(&new).map(Some),
            outcome => outcome.map(Some),
        }
    }
}

async fn yield_once() {
    let mut yielded = false;
    poll_fn(|cx| {
        if yielded {
            return Poll::Ready(());
        }
        yielded = true;
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

fn uri(text: &str) -> KeyUri {
    KeyUri::parse(text).unwrap()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
