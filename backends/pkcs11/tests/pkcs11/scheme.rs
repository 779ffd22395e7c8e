//! The key store of many tokens: which token gets which PIN, and what is opened when.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicU32, Ordering},
};

use cryptoki::object::Attribute;
use envelope_pkcs11::{ModuleError, Pkcs11Scheme, Pkcs11Settings};
use envelope_sdk::{
    FullContext,
    ProviderErrorKind::{AccessDenied, Invalid},
    admin::{Detail, Details},
    http::find_cause,
    registry::{MissingSetting, Purpose, Scheme, Settings, Surroundings},
    secret::{Prompt, SecretError, Secrets},
};
use zeroize::Zeroizing;

use super::*;

on_each_token!(
    a_person_is_asked_for_the_pin_of_the_token_by_its_name,
    a_weakness_is_accepted_of_the_module_of_the_table_alone,
    slots_are_told_without_a_secret,
    keys_of_the_configured_token_are_managed,
    a_crowd_of_first_calls_opens_a_token_once,
);

pub(super) const WRONG: &str = "wrong-pin-0815";

/// Gives this PIN, and refuses to ask; what was asked is kept.
#[derive(Default)]
pub(super) struct Given {
    pin: Option<&'static str>,
    answer: Option<&'static str>,
    asked: Mutex<Vec<String>>,
    given: AtomicU32,
}

impl Given {
    pub(super) fn pin(pin: &'static str) -> Arc<Self> {
        Arc::new(Self { pin: Some(pin), ..Self::default() })
    }

    pub(super) fn nothing() -> Arc<Self> {
        Arc::default()
    }

    fn person(answer: &'static str) -> Arc<Self> {
        Arc::new(Self { answer: Some(answer), ..Self::default() })
    }
}

impl Secrets for Given {
    fn given(&self, name: &str) -> Result<Option<Zeroizing<String>>, SecretError> {
        assert_eq!(name, "pkcs11-pin");
        self.given.fetch_add(1, Ordering::SeqCst);
        Ok(self.pin.map(|pin| Zeroizing::new(pin.into())))
    }

    fn ask(&self, name: &str, prompt: &Prompt<'_>) -> Result<Zeroizing<String>, SecretError> {
        assert_eq!((name, prompt.twice), ("pkcs11-pin", false));
        self.asked.lock().unwrap().push(prompt.text.into());
        let nobody = SecretError::new(Invalid, "there is nobody to ask");
        self.answer.map(|pin| Zeroizing::new(pin.into())).ok_or(nobody)
    }
}

pub(super) fn key_of(token: &Token, rest: &str) -> KeyUri {
    KeyUri::parse(&format!("pkcs11:token={};{rest}", token.label.replace(' ', "%20"))).unwrap()
}

fn settings(table: &str) -> Pkcs11Settings {
    toml::from_str(table).unwrap()
}

pub(super) fn with_module(token: &Token, more: &str) -> Pkcs11Settings {
    settings(&format!("module = {:?}\n{more}", token.module()))
}

fn scheme(settings: Pkcs11Settings, secrets: &Arc<Given>) -> Pkcs11Scheme {
    Pkcs11Scheme::new(settings, &Surroundings::new(Arc::clone(secrets) as _)).unwrap()
}

pub(super) fn encrypt(scheme: &Pkcs11Scheme, key: &KeyUri) -> Result<WrappedDek, ProviderError> {
    let provider = scheme.open(key, Purpose::Encrypt)?;
    block_on(provider.wrap_dek(key, &dek(), &FullContext::empty()))
}

fn wrap_at(provider: &dyn KeyProvider, key: &KeyUri) -> Result<WrappedDek, ProviderError> {
    block_on(provider.wrap_dek(key, &dek(), &FullContext::empty()))
}

/// Two tokens of one module, each with a key `db`.
pub(super) struct TwoTokens {
    pub(super) one: Token,
    pub(super) other: Token,
    folder: tempfile::TempDir,
}

impl TwoTokens {
    pub(super) fn new() -> Option<Self> {
        let (one, other) = (Kind::SoftHsm.token()?, Kind::SoftHsm.token()?);
        for token in [&one, &other] {
            create(&open(token), "db");
        }
        Some(Self { one, other, folder: tempfile::tempdir().unwrap() })
    }

    pub(super) fn keys(&self) -> [KeyUri; 2] {
        [key_of(&self.one, "object=db"), key_of(&self.other, "object=db")]
    }

    pub(super) fn scheme(&self, more: &str, secrets: &Arc<Given>) -> Pkcs11Scheme {
        scheme(with_module(&self.one, more), secrets)
    }

    pub(super) fn file(&self, pin: &str) -> String {
        let path = self.folder.path().join(pin);
        std::fs::write(&path, format!("{pin}\n")).unwrap();
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        format!("{path:?}")
    }

    /// No PIN was tried on the other token: after a wrong one it would take no
    /// stored one.
    pub(super) fn other_was_left_alone(&self) {
        block_on(open(&self.other).list_keys(None)).unwrap();
    }
}

#[test]
fn without_a_module_nothing_is_opened_and_the_setting_is_named() {
    let key = KeyUri::parse("pkcs11:token=t;object=k").unwrap();
    let secrets = Given::pin(PIN);
    let scheme = scheme(Pkcs11Settings::default(), &secrets);
    let errors = [
        scheme.open(&key, Purpose::Decrypt).err(),
        scheme.admin(Some(&key)).err(),
        scheme.admin(None).err(),
        block_on(scheme.survey()).err(),
    ];
    for error in errors {
        let error = error.expect("no module");
        assert_eq!((error.kind(), error.key()), (Invalid, None));
        assert_eq!(error.message(), "no PKCS#11 module is configured");
        assert_eq!(find_cause(&error), Some(&MissingSetting::new("pkcs11", "module")));
    }
    assert_eq!(secrets.given.load(Ordering::SeqCst), 0);
}

#[test]
fn a_module_is_loaded_and_a_pin_read_at_the_first_use_alone() {
    let key = KeyUri::parse("pkcs11:token=t;object=k").unwrap();
    let secrets = Given::pin(PIN);
    let scheme = scheme(settings("module = \"/nowhere/module.so\""), &secrets);
    let provider = scheme.open(&key, Purpose::Encrypt).unwrap();
    let admin = scheme.admin(None).unwrap();
    assert_eq!(block_on(provider.resolve(&key)).unwrap(), key);
    assert!(provider.is_same_key(&key, &key) && !provider.generates_deks(&key));
    assert_eq!(secrets.given.load(Ordering::SeqCst), 0);
    let error = wrap_at(&*provider, &key).unwrap_err();
    assert_eq!((error.kind(), error.key()), (Invalid, Some(&key)));
    assert!(matches!(find_cause(&error), Some(ModuleError::NotFound { .. })), "{error}");
    let error = block_on(admin.list_keys(None)).unwrap_err();
    assert_eq!((error.kind(), error.key()), (Invalid, None));
}

#[test]
fn what_is_no_key_of_a_token_is_not_opened() {
    let scheme = scheme(settings("module = \"/nowhere/module.so\""), &Given::nothing());
    let error = scheme.open(&KeyUri::parse("local:a").unwrap(), Purpose::Encrypt).err().unwrap();
    assert_eq!((error.kind(), error.message()), (Invalid, "it is not a key of a token"));
}

#[test]
fn settings_that_contradict_themselves_make_no_key_store() {
    let twice = settings("token = \"a\"\nserial = \"1\"");
    let error = twice.into_scheme(&Surroundings::default()).err().unwrap();
    assert!(error.message().contains("by `token` and by `serial`"), "{error}");
}

#[test]
fn all_keys_have_one_provider() {
    let scheme = scheme(settings("module = \"/nowhere/module.so\""), &Given::nothing());
    let open = |key: &str| scheme.open(&KeyUri::parse(key).unwrap(), Purpose::Encrypt).unwrap();
    let (one, other) = (open("pkcs11:token=a;object=k"), open("pkcs11:serial=1;object=k"));
    assert!(std::ptr::addr_eq(Arc::as_ptr(&one), Arc::as_ptr(&other)));
}

#[test]
fn the_pin_of_one_token_is_not_tried_on_another() {
    let Some(two) = TwoTokens::new() else { return };
    let [key, other_key] = two.keys();
    let secrets = Given::pin(PIN);
    // The PIN is for the token that is named; for the other one there is nobody to ask.
    let scheme = two.scheme(&format!("token = {:?}", two.one.label), &secrets);
    let error = refused(encrypt(&scheme, &other_key), AccessDenied, "no PIN to log in with");
    assert_eq!(error.key(), Some(&other_key));
    assert_eq!(
        *secrets.asked.lock().unwrap(),
        [format!("PIN of the token with label {:?}", two.other.label)]
    );
    encrypt(&scheme, &key).unwrap();
    two.other_was_left_alone();
}

#[test]
fn the_order_of_use_does_not_choose_who_gets_the_pin() {
    let Some(two) = TwoTokens::new() else { return };
    let [key, other_key] = two.keys();
    let scheme = two.scheme(&format!("token = {:?}", two.one.label), &Given::pin(WRONG));
    refused(encrypt(&scheme, &other_key), AccessDenied, "no PIN to log in with");
    refused(encrypt(&scheme, &key), AccessDenied, "the PIN is wrong");
    two.other_was_left_alone();
}

#[test]
fn a_pin_that_may_be_for_two_tokens_is_for_none() {
    let Some(two) = TwoTokens::new() else { return };
    let file = format!("pin-file = {}", two.file(PIN));
    for scheme in [two.scheme("", &Given::pin(PIN)), two.scheme(&file, &Given::nothing())] {
        let [key, other_key] = two.keys();
        scheme.open(&key, Purpose::Encrypt).unwrap();
        let error = refused(encrypt(&scheme, &other_key), Invalid, "it may be for several tokens: that with");
        assert!(error.message().contains("[pkcs11.tokens.LABEL]"), "{error}");
        assert_eq!(find_cause(&error), Some(&MissingSetting::new("pkcs11", "token")));
    }
    two.other_was_left_alone();
}

#[test]
fn a_pin_is_for_the_one_token_of_the_keys_that_are_named() {
    let Some(two) = TwoTokens::new() else { return };
    let [key, _] = two.keys();
    encrypt(&two.scheme("", &Given::pin(PIN)), &key).unwrap();
    encrypt(&two.scheme(&format!("pin-file = {}", two.file(PIN)), &Given::nothing()), &key).unwrap();
}

#[test]
fn each_token_gets_its_own_pin() {
    let Some(two) = TwoTokens::new() else { return };
    let tokens = [&two.one, &two.other]
        .map(|token| format!("[tokens.{:?}]\npin-file = {}\n", token.label, two.file(PIN)));
    let scheme = two.scheme(&tokens.concat(), &Given::nothing());
    for key in two.keys() {
        encrypt(&scheme, &key).unwrap();
    }
}

/// `pin-file` of the table is of the token that the table means, whatever the call names.
#[test]
fn a_pin_of_the_table_is_shown_to_its_token_alone() {
    let Some(two) = TwoTokens::new() else { return };
    let [key, other_key] = two.keys();
    // Another PIN than the other token's, which would count it as a wrong one.
    let file = format!("pin-file = {}\n", two.file(WRONG));
    let listing = |scheme: &Pkcs11Scheme| block_on(scheme.admin(None).unwrap().list_keys(None));
    let call = |table: &str| {
        let mut settings = with_module(&two.one, table);
        settings.set("token", two.other.label.clone().into()).unwrap();
        settings
    };
    let (label, serial) = (&two.one.label, two.one.serial());
    for token in [format!("token = {label:?}\n{file}"), format!("serial = {serial:?}\n{file}")] {
        let secrets = Given::nothing();
        refused(listing(&scheme(call(&token), &secrets)), AccessDenied, "no PIN to log in with");
        refused(encrypt(&two.scheme(&token, &secrets), &other_key), AccessDenied, "no PIN to log in with");
        two.other_was_left_alone();
    }
    let around = Surroundings::new(Given::nothing() as _).keys(vec![key]);
    let scheme = Pkcs11Scheme::new(call(&file), &around).unwrap();
    refused(listing(&scheme), Invalid, "it may be for several tokens");
    let scheme = Pkcs11Scheme::new(with_module(&two.one, &file), &around).unwrap();
    refused(encrypt(&scheme, &other_key), Invalid, "it may be for several tokens");
    two.other_was_left_alone();
}

/// A token of another module may bear any label.
#[test]
fn a_pin_of_the_table_is_not_shown_to_a_token_of_another_module() {
    let Some(two) = TwoTokens::new() else { return };
    let (file, label) = (two.file(WRONG), &two.other.label);
    for more in [
        format!("token = {label:?}\npin-file = {file}\n"),
        format!("token = {label:?}\n[tokens.{label:?}]\npin-file = {file}\n"),
    ] {
        let mut settings = settings(&format!("module = \"/nowhere/module.so\"\n{more}"));
        settings.set("module", two.one.module().into()).unwrap();
        let scheme = scheme(settings, &Given::nothing());
        let listed = block_on(scheme.admin(None).unwrap().list_keys(None));
        refused(listed, AccessDenied, "no PIN to log in with");
        two.other_was_left_alone();
    }
}

#[test]
fn a_wrong_pin_is_tried_once_on_a_token_that_keys_name_in_two_ways() {
    let Some(token) = Kind::SoftHsm.token() else { return };
    create(&open(&token), "db");
    let by_serial = KeyUri::parse(&format!("pkcs11:serial={};object=db", token.serial())).unwrap();
    let scheme = scheme(with_module(&token, &format!("token = {:?}", token.label)), &Given::pin(WRONG));
    refused(encrypt(&scheme, &key_of(&token, "object=db")), AccessDenied, "the PIN is wrong");
    refused(encrypt(&scheme, &by_serial), AccessDenied, "It was tried once and is not tried again");
}

fn a_person_is_asked_for_the_pin_of_the_token_by_its_name(token: &Token) {
    let key = create(&open(token), "db").uri;
    let info = || token.context().get_token_info(token.slot()).unwrap();
    let asked = |person: &Given| person.asked.lock().unwrap().clone();
    let prompt = format!("PIN of the token with label {:?}", token.label);
    let person = Given::person(WRONG);
    refused(encrypt(&scheme(with_module(token, ""), &person), &key), AccessDenied, "the PIN is wrong");
    assert_eq!(asked(&person), [prompt.as_str()]);
    let mut tries = 1;
    while !info().user_pin_count_low() && !info().user_pin_final_try() {
        let person = Given::person(WRONG);
        refused(encrypt(&scheme(with_module(token, ""), &person), &key), AccessDenied, "the PIN is wrong");
        tries += 1;
        assert!(tries < 20, "{:?} never says that few tries are left", token.kind);
    }
    // Then a person is told, and no stored PIN is tried.
    let stored = scheme(with_module(token, ""), &Given::pin(PIN));
    refused(encrypt(&stored, &key), AccessDenied, "a stored PIN is not tried");
    let person = Given::person(PIN);
    encrypt(&scheme(with_module(token, ""), &person), &key).unwrap();
    let few = format!("{prompt} (few tries are left before it locks)");
    let last = format!("{prompt} (the next wrong PIN locks it)");
    assert!([[few], [last]].iter().any(|told| asked(&person) == told), "{:?}", asked(&person));
}

fn a_weakness_is_accepted_of_the_module_of_the_table_alone(token: &Token) {
    token.generate(&token.session(), "open", &[Attribute::Private(false)]);
    let key = key_of(token, "object=open");
    let accept = format!("[[accept]]\nkey = {:?}\nweaknesses = [\"not-private\"]\n", key.as_str());
    let own = scheme(with_module(token, &accept), &Given::pin(PIN));
    encrypt(&own, &key).unwrap();
    let objects = |scheme: &Pkcs11Scheme| {
        let admin = scheme.admin(Some(&key)).unwrap();
        block_on(admin.describe_key(&key)).map(|described| described.details)
    };
    let told = Details::new()
        .with("key", "AES-256")
        .with("attributes", "sensitive local encrypt decrypt")
        .with("version", "1")
        .with("accepted", "accepted: not-private");
    let list = |object| Details::new().with("objects", [object].into_iter().collect::<Detail>());
    assert_eq!(objects(&own).unwrap(), list(told));
    let mut settings = settings(&format!("module = \"/nowhere/module.so\"\n{accept}"));
    settings.set("module", token.module().into()).unwrap();
    let other = scheme(settings, &Given::pin(PIN));
    refused(encrypt(&other, &key), AccessDenied, "it is not private");
    refused(objects(&other), AccessDenied, "it is not private");
}

fn slots_are_told_without_a_secret(token: &Token) {
    let secrets = Given::nothing();
    let told = block_on(scheme(with_module(token, ""), &secrets).survey()).unwrap();
    assert_eq!(secrets.given.load(Ordering::SeqCst), 0);
    assert_eq!(told.get("module"), Some(&Detail::from(token.module().to_str().unwrap())));
    let Some(Detail::List(slots)) = told.get("slots") else { panic!("{told:?}") };
    let label = Detail::from(token.label.as_str());
    let is_it = |slot: &&Details| matches!(slot.get("token"), Some(Detail::Table(token)) if token.get("label") == Some(&label));
    let slots: Vec<_> =
        slots.iter().map(|slot| if let Detail::Table(slot) = slot { slot } else { panic!() }).collect();
    let slot = slots.iter().copied().find(is_it).expect("the token");
    assert_eq!(names(slot), ["slot", "description", "token", "unreadable"]);
    let Some(Detail::Table(of_token)) = slot.get("token") else { panic!("{slot:?}") };
    assert_eq!(
        names(of_token),
        [
            "label",
            "serial",
            "manufacturer",
            "model",
            "initialized",
            "login_required",
            "protected_path",
            "pin_set",
            "pin_locked",
            "pin_count_low",
            "pin_final_try",
            "pin",
            "wrap_algorithms",
            "mechanisms"
        ]
    );
    assert_eq!(of_token.get("serial"), Some(&Detail::from(token.serial())));
    let Some(Detail::List(mechanisms)) = of_token.get("mechanisms") else { panic!("{of_token:?}") };
    let Detail::Table(mechanism) = &mechanisms[0] else { panic!("{mechanisms:?}") };
    assert_eq!(names(mechanism), ["name", "min_key_size", "max_key_size", "uses"]);
}

fn names(details: &Details) -> Vec<&str> {
    details.iter().map(|(name, _)| name).collect()
}

fn keys_of_the_configured_token_are_managed(token: &Token) {
    let scheme = scheme(with_module(token, &format!("token = {:?}", token.label)), &Given::pin(PIN));
    let admin = scheme.admin(None).unwrap();
    assert_eq!(admin.provider(), "pkcs11");
    let key = block_on(admin.create_key(&NewKey::named("db"))).unwrap().uri;
    assert_eq!(key, key_of(token, "object=db"));
    let admin = scheme.admin(Some(&key)).unwrap();
    assert_eq!(states(&block_on(admin.rotate_key(&key)).unwrap()).len(), 2);
    assert_eq!(block_on(all_keys(&*admin)).unwrap().len(), 1);
    refused(block_on(admin.check_new_key(&NewKey::named("db"))), Invalid, "already");
    let error = block_on(admin.restore_key(&key)).unwrap_err();
    assert!(error.message().starts_with("this key store cannot bring keys back"), "{error}");
}

/// Whoever waits for the module does not block its thread: all of them are polled by one.
fn a_crowd_of_first_calls_opens_a_token_once(token: &Token) {
    let key = create(&open(token), "db").uri;
    let secrets = Given::pin(PIN);
    let scheme = scheme(with_module(token, ""), &secrets);
    let provider = scheme.open(&key, Purpose::Encrypt).unwrap();
    let (dek, context) = (dek(), FullContext::empty());
    let wraps = (0..64).map(|_| provider.wrap_dek(&key, &dek, &context));
    block_on(futures_util::future::try_join_all(wraps)).unwrap();
    assert_eq!(secrets.given.load(Ordering::SeqCst), 1);
}
