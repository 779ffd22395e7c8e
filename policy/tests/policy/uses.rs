//! What a guarded provider hands out, and what it does not.

use std::{
    sync::{Arc, Mutex},
    time::{SystemTime, UNIX_EPOCH},
};

use async_trait::async_trait;
use envelope_policy::{
    Decided, Denied, Guard, Guarded, GuardedScheme, Operation, PolicyId, Request, Unmet, Why,
};
use envelope_sdk::{
    Dek, EncryptionContext, Envelope, KeyAdmin, KeyDescription, KeyProvider, KeyState, KeyUri,
    KeyVersionDescription, Keyring, ProviderError, ProviderErrorKind, WrappedDek,
    crypto::DefaultEngine,
    registry::{Purpose, Scheme},
};
use envelope_testkit::{AlteredProvider, MemoryProvider};
use futures_executor::block_on;

use super::{context, guard, key};

fn dek() -> Dek {
    Dek::generate::<DefaultEngine>().unwrap()
}

fn memory() -> Arc<MemoryProvider> {
    let [a, b] = ["a", "b"].map(MemoryProvider::key);
    Arc::new(MemoryProvider::new().with_key(&a).with_key(&b).that_rewraps())
}

/// The rule and the reason of a refusal.
fn denied(error: &ProviderError) -> (Option<String>, Why) {
    assert_eq!(error.kind(), ProviderErrorKind::AccessDenied, "{error}");
    assert!(!error.is_retryable());
    let denied = std::error::Error::source(error).and_then(|source| source.downcast_ref::<Denied>());
    let denied = denied.unwrap_or_else(|| panic!("no rule is named: {error:?}"));
    (denied.rule.as_deref().map(Into::into), denied.why.clone())
}

#[test]
fn what_is_denied_asks_nothing_of_the_provider_below() {
    let below = memory();
    let guarded = Guarded::new(
        below.clone(),
        guard("cli:a", "[[rule]]\nname = 'no-wraps'\neffect = 'deny'\noperation = ['wrap']"),
    );
    let (a, none) = (MemoryProvider::key("a"), context(&[]));
    let error = block_on(guarded.wrap_dek(&a, &dek(), &none)).unwrap_err();
    assert_eq!(denied(&error), (Some("no-wraps".into()), Why::Denies));
    assert_eq!(
        error.to_string(),
        "in-memory key memory:a: rule `no-wraps` of the policy denies cli:a to wrap here"
            .replace("in-memory", guarded.name())
    );
    assert_eq!(denied(&block_on(guarded.generate_dek(&a, &none)).unwrap_err()).0, Some("no-wraps".into()));
    assert_eq!(below.calls(), 0);
}

#[test]
fn a_tenant_opens_what_is_its_own_and_nothing_else() {
    let below = memory();
    let rules = "default = 'deny'\n[[rule]]\nname = 'own'\neffect = 'allow'\nrequire = { context = { tenant = '$actor.tenant' } }";
    let guard = guard("library:shop", rules);
    let a = MemoryProvider::key("a");
    let of = |tenant: &str| guard.for_actor(guard.actor().clone().of_tenant(tenant));
    let envelope = |guard: Guard| {
        Envelope::new(Keyring::new().both(Arc::new(Guarded::new(below.clone(), guard)), a.clone()))
    };
    let acme = EncryptionContext::new().with("tenant", "acme");
    let sealed = block_on(envelope(of("acme")).encrypt(b"secret", &acme)).unwrap();
    assert_eq!(*block_on(envelope(of("acme")).decrypt(&sealed, &acme)).unwrap(), *b"secret");
    let calls = below.calls();
    let error = block_on(envelope(of("other")).decrypt(&sealed, &EncryptionContext::new())).unwrap_err();
    assert!(error.to_string().contains("rule `own`") || format!("{error:?}").contains("own"), "{error:?}");
    let error = block_on(envelope(guard).decrypt(&sealed, &acme)).unwrap_err();
    assert!(format!("{error:?}").contains("tenant"), "{error:?}");
    assert_eq!(below.calls(), calls, "the key store heard of it");
}

#[test]
fn of_a_batch_what_is_denied_fails_in_its_place_and_the_others_open() {
    let below = memory();
    let (a, b, none) = (MemoryProvider::key("a"), MemoryProvider::key("b"), context(&[]));
    let wrap = |key: &KeyUri| block_on(below.wrap_dek(key, &dek(), &none)).unwrap();
    let wraps = [wrap(&a), wrap(&b), wrap(&a)];
    let guarded =
        Guarded::new(below, guard("cli:x", "[[rule]]\nname = 'not-b'\neffect = 'deny'\nkey = ['memory:b']"));
    let asked: Vec<_> = wraps.iter().map(|wrapped| (wrapped, &none)).collect();
    let said = block_on(guarded.unwrap_deks(&asked));
    let fates: Vec<_> = said.iter().map(|dek| dek.as_ref().err().map(denied)).collect();
    assert_eq!(fates, [None, Some((Some("not-b".into()), Why::Denies)), None]);
}

#[test]
fn an_alias_of_a_denied_key_wraps_nothing() {
    // Answers as a key store does for an alias: the wrap names the key behind it.
    let below = memory();
    let behind = MemoryProvider::key("a");
    let named = behind.clone();
    let aliased = AlteredProvider::new(below).on_wrap(move |below, _, dek, context| {
        let named = named.clone();
        Box::pin(async move { below.wrap_dek(&named, dek, context).await })
    });
    let guarded = Guarded::new(
        aliased,
        guard("cli:x", "[[rule]]\nname = 'not-a'\neffect = 'deny'\nkey = ['memory:a']"),
    );
    let error = block_on(guarded.wrap_dek(&key("memory:alias"), &dek(), &context(&[]))).unwrap_err();
    assert_eq!((denied(&error), error.key()), ((Some("not-a".into()), Why::Denies), Some(&behind)));
}

#[test]
fn a_job_that_may_rewrap_need_not_be_able_to_open() {
    let below = memory();
    let rules = "default = 'deny'\n[[rule]]\nname = 'rotate'\neffect = 'allow'\noperation = ['rewrap']";
    let guard = guard("cli:rotation", rules);
    let (a, b) = (MemoryProvider::key("a"), MemoryProvider::key("b"));
    let plain = Envelope::new(Keyring::new().both(below.clone(), a.clone()));
    let sealed = block_on(plain.encrypt(b"secret", &EncryptionContext::new())).unwrap();
    let keyring = |guard: &Guard| {
        let guarded = Arc::new(Guarded::new(below.clone(), guard.clone()));
        Keyring::new().both(guarded.clone(), b.clone()).decrypt(guarded, a.clone())
    };
    let error =
        block_on(Envelope::new(keyring(&guard)).decrypt(&sealed, &EncryptionContext::new())).unwrap_err();
    assert!(format!("{error:?}").contains("Unwrap"), "{error:?}");
    let rewrap = Envelope::new(keyring(&guard.for_rewrap()));
    let moved = block_on(rewrap.rewrap(&sealed, &EncryptionContext::new())).unwrap();
    let opens = Envelope::new(Keyring::new().decrypt(below, b));
    assert_eq!(*block_on(opens.decrypt(&moved, &EncryptionContext::new())).unwrap(), *b"secret");
}

#[test]
fn too_few_recipients_are_denied_and_so_is_not_to_know_how_many() {
    let rules = "[[rule]]\nname = 'two'\neffect = 'allow'\nrequire = { recipients = 2 }";
    let guard = guard("cli:x", rules);
    let wrap = |guard: Guard| {
        let guarded = Guarded::new(memory(), guard);
        block_on(guarded.wrap_dek(&MemoryProvider::key("a"), &dek(), &context(&[])))
    };
    wrap(guard.for_recipients(2)).unwrap();
    let why = denied(&wrap(guard.for_recipients(1)).unwrap_err()).1;
    assert_eq!(why, Why::Requires(Unmet::Recipients { least: 2, there: 1 }));
    let why = denied(&wrap(guard).unwrap_err()).1;
    assert_eq!(why, Why::Requires(Unmet::Unknown("how many recipients there are")));
}

#[test]
fn a_wrap_that_is_not_post_quantum_safe_is_thrown_away_and_an_old_one_opens() {
    let rules = "[[rule]]\nname = 'safe'\neffect = 'allow'\nrequire = { post-quantum-safe = true }";
    let a = MemoryProvider::key("a");
    let rsa = WrappedDek::new(a.clone(), "1", "RSA-OAEP-256", vec![7; 256]).unwrap();
    let answer = rsa.clone();
    let below = AlteredProvider::new(memory()).on_wrap(move |_, _, _, _| {
        let answer = answer.clone();
        Box::pin(async move { Ok(answer) })
    });
    let guarded = Guarded::new(below, guard("cli:x", rules));
    let error = block_on(guarded.wrap_dek(&a, &dek(), &context(&[]))).unwrap_err();
    assert_eq!(denied(&error), (Some("safe".into()), Why::Requires(Unmet::PostQuantumSafe)));
    // The memory's answer, not the policy's: it was asked.
    let error = block_on(guarded.unwrap_dek(&rsa, &context(&[]))).unwrap_err();
    assert_ne!(error.kind(), ProviderErrorKind::AccessDenied, "{error}");
    let guarded = Guarded::new(memory(), guard_of(rules));
    block_on(guarded.wrap_dek(&a, &dek(), &context(&[]))).unwrap();
}

fn guard_of(rules: &str) -> Guard {
    guard("cli:x", rules)
}

struct Described(KeyState, Option<u64>);

#[async_trait]
impl KeyAdmin for Described {
    fn provider(&self) -> &'static str {
        "described"
    }

    async fn describe_key(&self, key: &KeyUri) -> Result<KeyDescription, ProviderError> {
        let version = KeyVersionDescription::new("1".into(), self.0, None).not_after(self.1);
        Ok(KeyDescription::new(key.clone(), self.0, false, vec![version]))
    }
}

#[test]
fn states_and_cryptoperiods_are_asked_of_who_manages_the_key() {
    let a = MemoryProvider::key("a");
    let with = |rules: &str, described: Option<Described>| {
        let guarded = Guarded::new(memory(), guard_of(rules));
        let guarded = match described {
            Some(described) => guarded.states_from(Arc::new(described)),
            None => guarded,
        };
        block_on(guarded.wrap_dek(&a, &dek(), &context(&[]))).map_err(|error| denied(&error).1)
    };
    let active = "[[rule]]\nname = 'active'\neffect = 'allow'\nrequire = { states = ['active'] }";
    with(active, Some(Described(KeyState::Active, None))).unwrap();
    let why = with(active, Some(Described(KeyState::Suspended, None))).unwrap_err();
    assert_eq!(why, Why::Requires(Unmet::State(KeyState::Suspended)));
    let why = with(active, None).unwrap_err();
    assert_eq!(why, Why::Requires(Unmet::Unknown("which state the key is in")));
    let due = "[[rule]]\nname = 'due'\neffect = 'allow'\nrequire = { within-cryptoperiod = true }";
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    with(due, Some(Described(KeyState::Active, Some(now + 1000)))).unwrap();
    let why = with(due, Some(Described(KeyState::Active, Some(now - 1)))).unwrap_err();
    assert_eq!(why, Why::Requires(Unmet::Cryptoperiod));
}

#[test]
fn a_key_whose_cryptoperiod_is_over_can_be_rewrapped_away_from() {
    let rules = "[[rule]]\nname = 'due'\neffect = 'allow'\nrequire = { within-cryptoperiod = true, post-quantum-safe = true }";
    let below = memory();
    let a = MemoryProvider::key("a");
    let wrapped = block_on(below.wrap_dek(&a, &dek(), &context(&[]))).unwrap();
    let guarded = Guarded::new(below, guard_of(rules).for_rewrap())
        .states_from(Arc::new(Described(KeyState::Active, Some(1))));
    block_on(guarded.unwrap_dek(&wrapped, &context(&[]))).unwrap();
    block_on(guarded.wrap_dek(&a, &dek(), &context(&[]))).unwrap_err();
}

#[test]
fn a_limit_holds_for_each_actor_and_key() {
    let rules = "[[rule]]\nname = 'few'\neffect = 'allow'\nlimit = '2/d'";
    let below = memory();
    let guard = guard("cli:x", rules);
    let wrap = |guard: &Guard, name: &str| {
        let guarded = Guarded::new(below.clone(), guard.clone());
        block_on(guarded.wrap_dek(&MemoryProvider::key(name), &dek(), &context(&[])))
    };
    wrap(&guard, "a").unwrap();
    wrap(&guard, "a").unwrap();
    let error = wrap(&guard, "a").unwrap_err();
    assert_eq!(denied(&error), (Some("few".into()), Why::TooOften));
    wrap(&guard, "b").unwrap();
    wrap(&guard.for_actor(envelope_policy::Actor::parse("cli:y").unwrap()), "a").unwrap();
}

/// The key `a` of a key store, by whatever name it is asked for.
fn aliased(below: &Arc<MemoryProvider>) -> AlteredProvider {
    AlteredProvider::new(below.clone()).on_wrap(|below, _, dek, context| {
        Box::pin(async move { below.wrap_dek(&MemoryProvider::key("a"), dek, context).await })
    })
}

#[test]
fn a_limit_counts_the_key_by_whatever_name_it_is_asked_for() {
    let (alias, a, none) = (key("memory:alias"), MemoryProvider::key("a"), context(&[]));
    for (rules, what) in [
        ("[[rule]]\nname = 'few'\neffect = 'allow'\nlimit = '4/d'", "one rule for all names"),
        (
            "[[rule]]\nname = 'few'\neffect = 'allow'\nkey = ['memory:a']\nlimit = '4/d'",
            "a rule that knows the key alone",
        ),
    ] {
        let below = memory();
        let guarded = Guarded::new(aliased(&below), guard("cli:x", rules));
        let wrap = |name: &KeyUri| block_on(guarded.wrap_dek(name, &dek(), &none));
        let wrapped = wrap(&alias).unwrap();
        wrap(&alias).unwrap();
        block_on(guarded.unwrap_dek(&wrapped, &none)).unwrap();
        wrap(&a).unwrap();
        let calls = below.calls();
        for name in [&alias, &a] {
            let error = wrap(name).unwrap_err();
            assert_eq!(denied(&error), (Some("few".into()), Why::TooOften), "{what}: {name}");
        }
        let error = block_on(guarded.unwrap_dek(&wrapped, &none)).unwrap_err();
        assert_eq!(denied(&error), (Some("few".into()), Why::TooOften), "{what}");
        assert_eq!(below.calls(), calls, "{what}: the key store heard of what is denied");
    }
}

#[test]
fn a_use_by_a_name_that_nobody_knows_yet_is_counted_once_it_is_known_which_key_it_is() {
    let (short, none) = (key("local:main"), context(&[]));
    assert!(!short.is_resolved());
    let guarded = Guarded::new(
        aliased(&memory()),
        guard("cli:x", "[[rule]]\nname = 'few'\neffect = 'allow'\nlimit = '2/d'"),
    );
    let wrapped = block_on(guarded.wrap_dek(&short, &dek(), &none)).unwrap();
    block_on(guarded.unwrap_dek(&wrapped, &none)).unwrap();
    for name in [&short, wrapped.key_uri()] {
        let error = block_on(guarded.wrap_dek(name, &dek(), &none)).unwrap_err();
        assert_eq!(denied(&error).1, Why::TooOften, "{name}");
    }
}

type Told = (Operation, Option<(PolicyId, Option<String>)>);

#[derive(Default)]
struct Listener(Mutex<Vec<Told>>);

impl Decided for Listener {
    fn decided(&self, request: &Request<'_>, decision: Result<(PolicyId, Option<&str>), &Denied>) {
        let said = decision.ok().map(|(policy, rule)| (policy, rule.map(Into::into)));
        self.0.lock().unwrap().push((request.operation, said));
    }
}

#[test]
fn each_decision_is_told_with_the_policy_and_rule_that_decided() {
    let listener = Arc::new(Listener::default());
    let policy = super::policy(
        "[[rule]]\nname = 'wraps'\neffect = 'allow'\noperation = ['wrap']\n[[rule]]\nname = 'no'\neffect = 'deny'",
    );
    let guard =
        Guard::new(policy.clone(), envelope_policy::Actor::parse("cli:x").unwrap()).tell(listener.clone());
    let below = memory();
    let guarded = Guarded::new(below, guard);
    let (a, none) = (MemoryProvider::key("a"), context(&[]));
    let wrapped = block_on(guarded.wrap_dek(&a, &dek(), &none)).unwrap();
    block_on(guarded.unwrap_dek(&wrapped, &none)).unwrap_err();
    let told = listener.0.lock().unwrap().clone();
    assert_eq!(
        told,
        [(Operation::Wrap, Some((policy.id(), Some("wraps".into())))), (Operation::Unwrap, None)]
    );
}

struct One(Arc<MemoryProvider>);

#[async_trait]
impl Scheme for One {
    fn provider(&self) -> &'static str {
        "memory"
    }

    fn schemes(&self) -> &'static [&'static str] {
        &["memory"]
    }

    fn open(&self, _: &KeyUri, _: Purpose) -> Result<Arc<dyn KeyProvider>, ProviderError> {
        Ok(self.0.clone())
    }
}

#[test]
fn keys_of_one_key_store_are_rewrapped_inside_of_it_as_without_a_policy() {
    let below = memory();
    let scheme = GuardedScheme::new(Arc::new(One(below.clone())), guard_of("").for_rewrap());
    let open = |name: &str, purpose| scheme.open(&MemoryProvider::key(name), purpose).unwrap();
    let (a, b) = (MemoryProvider::key("a"), MemoryProvider::key("b"));
    let sealed = Envelope::new(Keyring::new().encrypt(below.clone(), a.clone()));
    let sealed = block_on(sealed.encrypt(b"secret", &EncryptionContext::new())).unwrap();
    let keyring = Keyring::new().both(open("b", Purpose::Replace), b).decrypt(open("a", Purpose::Decrypt), a);
    block_on(Envelope::new(keyring).rewrap(&sealed, &EncryptionContext::new())).unwrap();
    assert_eq!(below.rewraps(), 1);
}
