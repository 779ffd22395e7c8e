//! From key URIs to providers.

#![allow(
    clippy::cast_possible_truncation,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that goes wrong shall stop"
)]

mod common;

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use common::{block_on, context};
use envelope_sdk::{
    Envelope, KeyProvider, KeyUri, ProviderError, ProviderErrorKind, Registry,
    registry::{MissingSetting, Purpose, Scheme, SettingError, text},
    secret::{NoSecrets, Prompt, Secrets},
};
use envelope_testkit::MemoryProvider;

/// Keys of memory, which counts what is opened.
struct Memory {
    provider: Arc<MemoryProvider>,
    schemes: &'static [&'static str],
    name: &'static str,
    opened: Arc<AtomicUsize>,
    named: Option<&'static str>,
}

impl Memory {
    fn new() -> Self {
        let provider = MemoryProvider::new().with_key(&uri("memory:one")).with_key(&uri("memory:two"));
        let (schemes, name) = (&["memory"][..], "memory");
        Self { provider: Arc::new(provider), schemes, name, opened: Arc::default(), named: None }
    }
}

impl Scheme for Memory {
    fn provider(&self) -> &'static str {
        self.name
    }

    fn schemes(&self) -> &'static [&'static str] {
        self.schemes
    }

    fn open(&self, key: &KeyUri, purpose: Purpose) -> Result<Arc<dyn KeyProvider>, ProviderError> {
        self.opened.fetch_add(1, Ordering::SeqCst);
        if key.rest() == "broken" {
            let message = format!("cannot be opened to {purpose:?}");
            return Err(ProviderError::new(ProviderErrorKind::Invalid, "memory", key, message));
        }
        Ok(self.provider.clone())
    }

    fn key_named(&self, name: &str) -> Result<Option<KeyUri>, ProviderError> {
        let named = self.named.filter(|named| *named == name);
        Ok(named.and_then(|_| KeyUri::parse(&format!("{}:{name}", self.schemes[0])).ok()))
    }

    fn key_of_other_tools(&self, text: &str) -> Result<Option<KeyUri>, ProviderError> {
        match text.strip_prefix("memory://") {
            Some("elsewhere/key") => {
                let message = "it is a key of another memory";
                Err(ProviderError::without_key(ProviderErrorKind::Invalid, "memory", message))
            }
            Some(key) => Ok(KeyUri::parse(&format!("{}:{key}", self.schemes[0])).ok()),
            None => Ok(None),
        }
    }
}

#[test]
fn a_key_of_an_unknown_scheme_is_never_repeated_since_it_may_be_a_passphrase() {
    let registry = Registry::new().with(Memory::new());
    let typed = uri("correct:horse-battery-staple-4711");
    let provider = registry.provider(&typed, Purpose::Encrypt).map(drop).unwrap_err();
    let admin = registry.admin(&typed).map(drop).unwrap_err();
    let keyring = registry.keyring(&[], std::slice::from_ref(&typed)).map(drop).unwrap_err();
    for error in [provider, admin, keyring] {
        assert_eq!((error.kind(), error.key()), (ProviderErrorKind::Unsupported, None));
        let told = format!("{error} {error:?}");
        assert!(!told.contains("horse") && !told.contains("correct") && !told.contains("4711"), "{told}");
        assert!(told.contains("33 bytes") && told.contains("memory:"), "it says what there is: {told}");
    }
}

#[test]
fn a_key_as_another_tool_writes_it_is_what_its_key_store_says() {
    let registry = Registry::new().with(Memory { schemes: &["other"], name: "other", ..Memory::new() });
    assert_eq!(registry.key_of_other_tools("memory://one").unwrap(), Some(uri("other:one")));
    assert_eq!(registry.key_of_other_tools("https://one").unwrap(), None);
    let error = registry.key_of_other_tools("memory://elsewhere/key").unwrap_err();
    assert_eq!((error.kind(), error.key()), (ProviderErrorKind::Invalid, None), "{error}");
}

#[test]
fn a_key_of_a_known_scheme_without_its_provider_is_named() {
    let registry = Registry::new().with(Memory::new());
    let key = uri("awskms:///arn:aws:kms:eu-central-1:111122223333:key/1234abcd");
    let error = registry.provider(&key, Purpose::Decrypt).map(drop).unwrap_err();
    assert_eq!((error.kind(), error.key()), (ProviderErrorKind::Unsupported, Some(&key)));
    assert!(error.message().contains("awskms: keys"), "{error}");
}

#[test]
fn an_unknown_provider_is_refused_and_the_known_ones_are_named() {
    let registry = Registry::new().with(Memory { name: "other", ..Memory::new() }).with(Memory::new());
    assert_eq!(registry.providers(), ["memory", "other"]);
    assert_eq!(registry.schemes(), ["memory"]);
    let error = registry.named("aws").map(drop).unwrap_err();
    assert_eq!((error.kind(), error.key()), (ProviderErrorKind::Unsupported, None));
    assert_eq!(error.to_string(), "registry: there is no provider of that name; there are: memory, other");
    assert_eq!(registry.named("other").unwrap().provider(), "other");
}

#[test]
fn the_later_registration_takes_the_place_of_its_name_and_of_its_schemes() {
    let (first, second, third) = (Memory::new(), Memory::new(), Memory::new());
    let opened = [&first, &second, &third].map(|scheme| scheme.opened.clone());
    let registry = Registry::new()
        .with(Memory { schemes: &["memory", "kept"], ..first })
        .with(Memory { name: "second", ..second })
        .with(Memory { name: "second", schemes: &["third"], ..third });
    assert_eq!(registry.providers(), ["memory", "second"]);
    assert_eq!(registry.schemes(), ["kept", "memory", "third"]);
    for (key, counts) in [("kept:x", [1, 0, 0]), ("third:x", [1, 0, 1]), ("memory:one", [2, 0, 1])] {
        registry.provider(&uri(key), Purpose::Decrypt).unwrap();
        assert_eq!([0, 1, 2].map(|at: usize| opened[at].load(Ordering::SeqCst)), counts, "{key}");
    }
    let newer = Memory { name: "newer", ..Memory::new() };
    let count = newer.opened.clone();
    registry.with(newer).provider(&uri("memory:one"), Purpose::Decrypt).unwrap();
    assert_eq!(
        count.load(Ordering::SeqCst),
        1,
        "the newer one has the scheme, and the older one its name still"
    );
}

#[test]
fn a_keyring_opens_each_key_once_and_asks_none() {
    let memory = Memory::new();
    let (provider, opened) = (memory.provider.clone(), memory.opened.clone());
    let registry = Registry::new().with(memory);
    assert_eq!(opened.load(Ordering::SeqCst), 0, "a registry opens nothing by itself");
    let keyring = registry.keyring(&[uri("memory:one")], &[uri("memory:one"), uri("memory:two")]).unwrap();
    assert_eq!((opened.load(Ordering::SeqCst), provider.calls()), (3, 0));
    let envelope = Envelope::new(keyring);
    let sealed = block_on(envelope.encrypt(b"attack", &context())).unwrap();
    assert_eq!(block_on(envelope.decrypt(&sealed, &context())).unwrap(), b"attack");
    assert_eq!(envelope.keyring().encrypting().count(), 1);
    assert_eq!(envelope.keyring().decrypting().count(), 2);
}

#[test]
fn a_keyring_with_a_key_that_cannot_be_opened_is_not_made() {
    let registry = Registry::new().with(Memory::new());
    for (encrypt, decrypt, purpose) in
        [(vec![uri("memory:broken")], vec![], "Encrypt"), (vec![], vec![uri("memory:broken")], "Decrypt")]
    {
        let error = registry.keyring(&encrypt, &decrypt).map(drop).unwrap_err();
        assert_eq!(error.key(), Some(&uri("memory:broken")));
        assert_eq!(error.message(), format!("cannot be opened to {purpose}"));
    }
}

#[test]
fn a_scheme_that_manages_no_keys_and_tells_nothing_says_so() {
    let registry = Registry::new().with(Memory::new());
    let key = uri("memory:one");
    let error = registry.admin(&key).map(drop).unwrap_err();
    assert_eq!(
        (error.kind(), error.key(), error.provider()),
        (ProviderErrorKind::Unsupported, Some(&key), "memory")
    );
    assert_eq!(error.message(), "this key store cannot manage keys: use its own tools");
    let error = block_on(registry.named("memory").unwrap().survey()).unwrap_err();
    assert_eq!((error.kind(), error.key()), (ProviderErrorKind::Unsupported, None));
    assert_eq!(error.message(), "this key store cannot tell what there is to be reached");
}

#[test]
fn a_bare_name_is_the_key_of_the_first_key_store_that_knows_it() {
    let older = Memory { name: "older", schemes: &["older"], named: Some("main"), ..Memory::new() };
    let newer = Memory { named: Some("main"), ..Memory::new() };
    let registry = Registry::new().with(older);
    assert_eq!(registry.key_named("main").unwrap(), Some(uri("older:main")));
    let registry = registry.with(newer);
    assert_eq!(
        registry.key_named("main").unwrap(),
        Some(uri("memory:main")),
        "the later registration is asked first"
    );
    assert_eq!(registry.key_named("nobody").unwrap(), None);
}

#[test]
fn an_empty_registry_opens_nothing() {
    let registry = Registry::new();
    let error = registry.provider(&uri("memory:one"), Purpose::Decrypt).map(drop).unwrap_err();
    assert_eq!((error.kind(), error.key()), (ProviderErrorKind::Unsupported, None));
    assert!(registry.providers().is_empty() && registry.schemes().is_empty());
    registry.keyring(&[], &[]).unwrap();
}

// Settings and secrets

#[test]
fn a_program_without_secrets_gives_none_and_names_what_is_needed() {
    assert_eq!(NoSecrets.given("pkcs11-pin"), Ok(None));
    let error = NoSecrets.ask("pkcs11-pin", &Prompt::once("PIN")).unwrap_err();
    assert_eq!(error.kind(), ProviderErrorKind::Invalid);
    assert_eq!(error.to_string(), "the secret pkcs11-pin is needed, and this program gives none");
}

#[test]
fn a_setting_that_is_missing_says_where_it_belongs() {
    let missing = MissingSetting::new("pkcs11", "module");
    assert_eq!(missing.to_string(), "`module` is missing under [pkcs11] of the configuration");
}

#[cfg(unix)]
#[test]
fn a_value_that_is_not_text_is_refused_and_not_shown() {
    use std::os::unix::ffi::OsStringExt;

    assert_eq!(text("eu-central-1".into()).as_deref(), Ok("eu-central-1"));
    let error = text(std::ffi::OsString::from_vec(b"se\xffcret".into())).unwrap_err();
    assert_eq!((error, error.to_string()), (SettingError::NotText, "the value is not UTF-8".to_owned()));
}

fn uri(text: &str) -> KeyUri {
    KeyUri::parse(text).unwrap()
}
