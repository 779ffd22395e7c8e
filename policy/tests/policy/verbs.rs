//! Every verb of the library asks: a policy that denies all lets nothing through, and each operation has a verb.

use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use async_trait::async_trait;
use envelope_policy::{
    Actor, Decided, Denied, Guard, Guarded, GuardedAdmin, GuardedScheme, Operation, PolicyId, Request,
};
use envelope_sdk::{
    Dek, FullContext, KeyAdmin, KeyChange, KeyDescription, KeyProvider, KeyState, KeyUri, NewKey,
    ProviderError, ProviderErrorKind, WrappedDek,
    admin::{AutoRotation, Details, KeyPage, RotationStatus},
    crypto::DefaultEngine,
    registry::{Purpose, Scheme},
};
use futures_executor::block_on;

use super::{context, key, policy};

/// Whoever is asked was asked without leave.
#[derive(Clone, Copy)]
struct Untouchable;

fn asked<T>() -> T {
    panic!("the key store was asked")
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl KeyProvider for Untouchable {
    fn name(&self) -> &'static str {
        "untouchable"
    }
    fn identity(&self) -> Option<envelope_sdk::ProviderIdentity> {
        None
    }
    fn context_binding(&self, _: &WrappedDek) -> envelope_sdk::ContextBinding {
        envelope_sdk::ContextBinding::Provider
    }
    fn is_same_key(&self, configured: &KeyUri, recipient: &KeyUri) -> bool {
        configured == recipient
    }
    fn refuted(&self, _: &WrappedDek, _: &FullContext) {}
    fn binding_of_new_wraps(&self, _: &KeyUri) -> Option<envelope_sdk::ContextBinding> {
        None
    }
    fn waits_for_a_person(&self, _: &KeyUri) -> bool {
        false
    }
    fn generates_deks(&self, _: &KeyUri) -> bool {
        true
    }
    async fn resolve(&self, _: &KeyUri) -> Result<KeyUri, ProviderError> {
        asked()
    }
    async fn wrap_dek(&self, _: &KeyUri, _: &Dek, _: &FullContext) -> Result<WrappedDek, ProviderError> {
        asked()
    }
    async fn unwrap_dek(&self, _: &WrappedDek, _: &FullContext) -> Result<Dek, ProviderError> {
        asked()
    }
    async fn unwrap_deks(&self, _: &[(&WrappedDek, &FullContext)]) -> Vec<Result<Dek, ProviderError>> {
        asked()
    }
    async fn generate_dek(&self, _: &KeyUri, _: &FullContext) -> Result<(Dek, WrappedDek), ProviderError> {
        asked()
    }
    async fn rewrap_dek(
        &self,
        _: &WrappedDek,
        _: &KeyUri,
        _: &FullContext,
    ) -> Result<Option<WrappedDek>, ProviderError> {
        asked()
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl KeyAdmin for Untouchable {
    fn provider(&self) -> &'static str {
        "untouchable"
    }
    async fn create_key(&self, _: &NewKey) -> Result<KeyDescription, ProviderError> {
        asked()
    }
    async fn check_new_key(&self, _: &NewKey) -> Result<(), ProviderError> {
        asked()
    }
    async fn describe_key(&self, _: &KeyUri) -> Result<KeyDescription, ProviderError> {
        asked()
    }
    async fn list_keys(&self, _: Option<&str>) -> Result<KeyPage, ProviderError> {
        asked()
    }
    async fn rotate_key(&self, _: &KeyUri) -> Result<KeyDescription, ProviderError> {
        asked()
    }
    async fn check_rotation(&self, _: &KeyUri) -> Result<(), ProviderError> {
        asked()
    }
    async fn change_key(
        &self,
        _: &KeyUri,
        _: Option<&str>,
        _: KeyChange,
    ) -> Result<KeyDescription, ProviderError> {
        asked()
    }
    async fn check_change(&self, _: &KeyUri, _: Option<&str>, _: KeyChange) -> Result<(), ProviderError> {
        asked()
    }
    async fn set_not_after(
        &self,
        _: &KeyUri,
        _: Option<&str>,
        _: Option<u64>,
    ) -> Result<KeyDescription, ProviderError> {
        asked()
    }
    async fn check_set_not_after(
        &self,
        _: &KeyUri,
        _: Option<&str>,
        _: Option<u64>,
    ) -> Result<(), ProviderError> {
        asked()
    }
    async fn set_rotation(&self, _: &KeyUri, _: AutoRotation) -> Result<(), ProviderError> {
        asked()
    }
    async fn check_set_rotation(&self, _: &KeyUri, _: AutoRotation) -> Result<(), ProviderError> {
        asked()
    }
    async fn rotation_status(&self, _: &KeyUri) -> Result<RotationStatus, ProviderError> {
        asked()
    }
    async fn set_alias(&self, _: &str, _: &KeyUri) -> Result<KeyUri, ProviderError> {
        asked()
    }
    async fn check_set_alias(&self, _: &str, _: &KeyUri) -> Result<(), ProviderError> {
        asked()
    }
    async fn restore_key(&self, _: &KeyUri) -> Result<KeyDescription, ProviderError> {
        asked()
    }
    async fn check_restore_key(&self, _: &KeyUri) -> Result<(), ProviderError> {
        asked()
    }
}

#[async_trait]
impl Scheme for Untouchable {
    fn provider(&self) -> &'static str {
        "untouchable"
    }
    fn schemes(&self) -> &'static [&'static str] {
        &["untouchable"]
    }
    fn open(&self, _: &KeyUri, _: Purpose) -> Result<Arc<dyn KeyProvider>, ProviderError> {
        Ok(Arc::new(*self))
    }
    fn admin(&self, _: Option<&KeyUri>) -> Result<Arc<dyn KeyAdmin>, ProviderError> {
        Ok(Arc::new(*self))
    }
    async fn survey(&self) -> Result<Details, ProviderError> {
        asked()
    }
}

#[derive(Default)]
struct Asked(Mutex<BTreeSet<Operation>>);

impl Decided for Asked {
    fn decided(&self, request: &Request<'_>, decision: Result<(PolicyId, Option<&str>), &Denied>) {
        decision.unwrap_err();
        self.0.lock().unwrap().insert(request.operation);
    }
}

fn refused<T>(answer: Result<T, ProviderError>) {
    let Err(error) = answer else { panic!("it was allowed") };
    assert_eq!(error.kind(), ProviderErrorKind::AccessDenied, "{error}");
}

#[test]
fn every_verb_is_denied_by_a_policy_that_denies_all_and_the_key_store_hears_of_none() {
    let told = Arc::new(Asked::default());
    let deny = policy("[[rule]]\nname = 'nothing'\neffect = 'deny'");
    let guard = Guard::new(deny, Actor::parse("cli:x").unwrap()).tell(told.clone());
    let (a, none) = (key("untouchable:a"), context(&[]));
    let dek = Dek::generate::<DefaultEngine>().unwrap();
    let wrapped = WrappedDek::new(a.clone(), "1", "A256KW", vec![0; 40]).unwrap();

    let scheme = GuardedScheme::new(Arc::new(Untouchable), guard.clone());
    let provider = scheme.open(&a, Purpose::Encrypt).unwrap();
    refused(block_on(provider.resolve(&a)));
    refused(block_on(provider.wrap_dek(&a, &dek, &none)));
    refused(block_on(provider.generate_dek(&a, &none)));
    refused(block_on(provider.unwrap_dek(&wrapped, &none)));
    block_on(provider.unwrap_deks(&[(&wrapped, &none)])).into_iter().for_each(refused);
    refused(block_on(provider.rewrap_dek(&wrapped, &a, &none)));
    refused(block_on(scheme.survey()));
    let rewraps = Guarded::new(Untouchable, guard.for_rewrap());
    refused(block_on(rewraps.wrap_dek(&a, &dek, &none)));
    refused(block_on(rewraps.unwrap_dek(&wrapped, &none)));

    for admin in [scheme.admin(Some(&a)).unwrap(), Arc::new(GuardedAdmin::new(Untouchable, guard.clone()))] {
        let new = NewKey::named("new");
        refused(block_on(admin.create_key(&new)));
        refused(block_on(admin.check_new_key(&new)));
        refused(block_on(admin.describe_key(&a)));
        refused(block_on(admin.list_keys(None)));
        refused(block_on(admin.rotate_key(&a)));
        refused(block_on(admin.check_rotation(&a)));
        let states = KeyState::ALL.into_iter().map(KeyChange::State);
        for change in states.chain([KeyChange::Archive]) {
            refused(block_on(admin.change_key(&a, None, change)));
            refused(block_on(admin.check_change(&a, None, change)));
        }
        refused(block_on(admin.set_not_after(&a, None, None)));
        refused(block_on(admin.check_set_not_after(&a, None, None)));
        refused(block_on(admin.set_rotation(&a, AutoRotation::Off)));
        refused(block_on(admin.check_set_rotation(&a, AutoRotation::Off)));
        refused(block_on(admin.rotation_status(&a)));
        refused(block_on(admin.set_alias("alias", &a)));
        refused(block_on(admin.check_set_alias("alias", &a)));
        refused(block_on(admin.restore_key(&a)));
        refused(block_on(admin.check_restore_key(&a)));
    }
    // Headers and keystores are read by programs, which ask by themselves.
    for operation in [Operation::Inspect, Operation::ChangePassphrase] {
        guard.check(&guard.request(operation)).unwrap_err();
    }
    let told: Vec<_> = told.0.lock().unwrap().iter().copied().collect();
    let mut all = Operation::ALL.to_vec();
    all.sort_unstable();
    assert_eq!(told, all, "an operation that no verb asks for, or none of it");
}

struct Two;

#[async_trait]
impl KeyAdmin for Two {
    fn provider(&self) -> &'static str {
        "two"
    }

    async fn list_keys(&self, _: Option<&str>) -> Result<KeyPage, ProviderError> {
        let described = |uri| KeyDescription::new(key(uri), KeyState::Active, false, Vec::new());
        Ok(KeyPage::new(vec![described("two:a"), described("two:b")], None))
    }

    async fn describe_key(&self, _: &KeyUri) -> Result<KeyDescription, ProviderError> {
        Ok(KeyDescription::new(key(LONG), KeyState::Active, false, Vec::new()))
    }

    async fn rotate_key(&self, _: &KeyUri) -> Result<KeyDescription, ProviderError> {
        asked()
    }
}

const LONG: &str = "local://00112233445566778899aabbccddeeff/main";

#[test]
fn of_a_list_only_what_may_be_listed_is_shown() {
    let rules =
        "default = 'deny'\n[[rule]]\nname = 'a'\neffect = 'allow'\noperation = ['list']\nkey = ['two:a']";
    let admin = GuardedAdmin::new(Two, super::guard("cli:x", rules));
    let page = block_on(admin.list_keys(None)).unwrap();
    assert_eq!(page.keys.iter().map(|key| key.uri.as_str()).collect::<Vec<_>>(), ["two:a"]);
}

#[test]
fn a_key_is_managed_under_no_other_name_than_its_own() {
    let rules = format!("[[rule]]\nname = 'not-main'\neffect = 'deny'\nkey = ['{LONG}']");
    let admin = GuardedAdmin::new(Two, super::guard("cli:x", &rules));
    refused(block_on(admin.rotate_key(&key("local:main"))));
}

/// Of AWS, where `alias/prod` means `key/prod`.
struct Aws;

fn arn(name: &str) -> KeyUri {
    key(&format!("awskms:///arn:aws:kms:eu-west-1:111122223333:{name}"))
}

#[async_trait]
impl KeyAdmin for Aws {
    fn provider(&self) -> &'static str {
        "aws"
    }

    async fn describe_key(&self, key: &KeyUri) -> Result<KeyDescription, ProviderError> {
        let meant = if key.is_resolved() { key.clone() } else { arn("key/prod") };
        Ok(KeyDescription::new(meant, KeyState::Active, false, Vec::new()))
    }

    async fn rotate_key(&self, key: &KeyUri) -> Result<KeyDescription, ProviderError> {
        Ok(KeyDescription::new(key.clone(), KeyState::Active, false, Vec::new()))
    }

    async fn set_alias(&self, _: &str, key: &KeyUri) -> Result<KeyUri, ProviderError> {
        Ok(key.clone())
    }
}

#[test]
fn an_alias_is_turned_by_whom_may_name_it_and_what_it_meant() {
    for denied in ["alias/prod", "key/prod"] {
        let rules = format!("[[rule]]\nname = 'prod'\neffect = 'deny'\nkey = ['{}']", arn(denied));
        let admin = GuardedAdmin::new(Aws, super::guard("cli:x", &rules));
        refused(block_on(admin.set_alias("prod", &arn("key/mine"))));
        refused(block_on(admin.check_set_alias("prod", &arn("key/mine"))));
    }
}

/// Counts how often it is asked what a key is, and turns the alias after the first time.
#[derive(Default)]
struct Turned(AtomicUsize);

#[async_trait]
impl KeyAdmin for Turned {
    fn provider(&self) -> &'static str {
        "turned"
    }

    async fn describe_key(&self, key: &KeyUri) -> Result<KeyDescription, ProviderError> {
        let asked = self.0.fetch_add(1, Ordering::Relaxed);
        let meant =
            if key.is_resolved() { key.clone() } else { arn(["key/prod", "key/other"][asked.min(1)]) };
        Ok(KeyDescription::new(meant, KeyState::Active, false, Vec::new()))
    }

    async fn rotate_key(&self, key: &KeyUri) -> Result<KeyDescription, ProviderError> {
        Ok(KeyDescription::new(key.clone(), KeyState::Active, false, Vec::new()))
    }
}

#[test]
fn an_alias_is_looked_up_once_and_the_key_that_was_judged_is_the_one_described_or_changed() {
    let rules = format!("[[rule]]\nname = 'other'\neffect = 'deny'\nkey = ['{}']", arn("key/other"));
    for verb in ["describe", "rotate"] {
        let turned = Arc::new(Turned::default());
        let admin = GuardedAdmin::new(turned.clone(), super::guard("cli:x", &rules));
        let alias = arn("alias/prod");
        let done = match verb {
            "describe" => block_on(admin.describe_key(&alias)),
            _ => block_on(admin.rotate_key(&alias)),
        };
        assert_eq!(done.unwrap().uri, arn("key/prod"), "{verb}");
        assert_eq!(turned.0.load(Ordering::Relaxed), 1, "{verb}");
        // It is the other key by now, whose rule says no.
        refused(block_on(admin.describe_key(&alias)));
    }
}

#[test]
fn what_an_alias_meant_when_it_was_judged_is_what_is_changed() {
    let admin = GuardedAdmin::new(Aws, super::guard("cli:x", ""));
    block_on(admin.set_alias("prod", &arn("key/mine"))).unwrap();
    assert_eq!(block_on(admin.rotate_key(&arn("alias/prod"))).unwrap().uri, arn("key/prod"));
}
