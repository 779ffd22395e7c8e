//! No secret is ever printed: not in a log line, a Debug or Display, a panic
//! message, an error, or a file that is left behind.
//!
//! Every public function is called with secrets that occur nowhere else, also
//! so that it fails; whatever comes out is searched for each of them in every
//! encoding. The crates log nothing today: what listens here holds it so.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests are tests too")]

use std::{
    error::Error,
    fmt::{Debug, Write as _},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use envelope_local::{
    Argon2Params, Keystore, KeystoreError, Passphrase, PassphraseError, PassphraseProvider,
};
use envelope_sdk::{
    ContextBinding, DecryptError, Dek, EncryptError, EncryptionContext, Envelope, FullContext, Header,
    KeyAdmin, KeyChange, KeyProvider, KeyState, KeyUri, Keyring, NewKey, PayloadKind, ProviderError,
    ProviderErrorKind, RECORD_MAX_LEN, RewrapError, WrappedDek,
    context::MAX_ENCODED_LEN,
    crypto::{
        Aes256Gcm, DefaultEngine, Engine, Key256,
        cobblestone::{self, Opener, PREFIX_LEN, Sealer},
        xaes::XaesKey,
    },
    format::{Preamble, armor},
    stream, wrap_binding,
};
use envelope_testkit::{
    AlteredProvider,
    secrets::{self, Canary},
};
use futures_executor::block_on;

#[test]
fn every_form_of_a_secret_would_be_found() {
    secrets::demand_that_every_form_is_found();
}

#[test]
fn no_secret_is_printed_logged_or_left_in_a_file() {
    listen();
    let mut outputs = Outputs::default();
    let provider = Arc::new(InMemory::new());
    envelopes(&mut outputs, &provider);
    records(&mut outputs, &provider);
    constructions(&mut outputs);
    keystores(&mut outputs);
    passphrases(&mut outputs);
    texts(&mut outputs);

    let mut canaries = vec![
        Canary::new("plaintext", PLAINTEXT),
        Canary::new("passphrase", PASSPHRASE.as_bytes()),
        Canary::new("other passphrase", OTHER_PASSPHRASE.as_bytes()),
        Canary::new("withheld value", WITHHELD.as_bytes()),
        Canary::new("KEK", &KEK),
    ];
    let deks = provider.deks.lock().unwrap();
    assert!(deks.len() > 5);
    canaries.extend(deks.iter().map(|dek| Canary::new("DEK", dek)));
    assert!(outputs.0.len() > 50);
    for (place, bytes) in &outputs.0 {
        secrets::demand_none(&canaries, place, bytes);
    }
    // A copy: a panic below is heard too.
    let heard = HEARD.lock().unwrap().clone();
    for control in ["control of log", "control of tracing", "control of a span", "control of a panic"] {
        assert!(heard.contains(control), "{control} was not heard");
    }
    secrets::demand_none(&canaries, "logs and panics", heard.as_bytes());
}

fn envelopes(outputs: &mut Outputs, provider: &Arc<InMemory>) {
    let key = uri("example:kek");
    let keyring = Keyring::new().both(Arc::clone(provider) as _, key.clone());
    let envelope = Envelope::new(keyring.clone()).pad_headers_to(256);
    let context = context();
    outputs.debug("EncryptionContext", &context);
    outputs.debug("FullContext", context.full().unwrap());
    outputs.debug("keyring", envelope.keyring().encrypting().chain(keyring.decrypting()).collect::<Vec<_>>());

    let sealed = block_on(envelope.encrypt(PLAINTEXT, &context)).unwrap();
    outputs.bytes("an envelope", &sealed);
    assert_eq!(block_on(envelope.decrypt(&sealed, &context)).unwrap(), PLAINTEXT);
    let (header, payload) = block_on(envelope.encrypt_detached(PLAINTEXT, &context)).unwrap();
    outputs.bytes("a detached header", &header);
    outputs.bytes("a detached payload", &payload);
    assert_eq!(block_on(envelope.decrypt_detached(&header, &payload, &context)).unwrap(), PLAINTEXT);
    outputs.bytes("a rewrapped envelope", &block_on(envelope.rewrap(&sealed, &context)).unwrap());
    outputs.bytes("a reencrypted envelope", &block_on(envelope.reencrypt(&sealed, &context)).unwrap());
    let header = Envelope::inspect(&sealed).unwrap();
    outputs.debug("Header", &header);
    outputs.debug("WrappedDek", &header.recipients()[0]);
    outputs.debug("Preamble", Preamble::parse(sealed[..16].try_into().unwrap()).unwrap());
    let rewrapped = block_on(envelope.rewrap_header(header.clone(), &context)).unwrap();
    outputs.debug("a rewrapped Header", &rewrapped);

    let started = block_on(envelope.start(PayloadKind::Attached, &context)).unwrap();
    let mut streamed = started.header.clone();
    stream::seal(started.payload, &mut &PLAINTEXT[..], &mut streamed).unwrap();
    outputs.bytes("a streamed envelope", &streamed);
    let opened = block_on(envelope.unlock(Header::parse(&streamed).unwrap().0, &context)).unwrap();
    streamed.pop();
    let mut written = Vec::new();
    let cut = &streamed[started.header.len()..];
    outputs.error("a cut stream", &stream::open(&opened, &mut &*cut, &mut written).unwrap_err());
    assert!(written.is_empty());
    // Plaintext where an envelope should be.
    outputs.error("a stream without header", &stream::read_header(&mut &PLAINTEXT[..]).unwrap_err());
    let refused = block_on(envelope.decrypt(PLAINTEXT, &context)).unwrap_err();
    assert!(matches!(refused, DecryptError::Format(_)));
    outputs.error("decrypting plaintext", &refused);
    outputs.error("inspecting plaintext", &Envelope::inspect(PLAINTEXT).unwrap_err());
    outputs.error("rewrapping plaintext", &block_on(envelope.rewrap(PLAINTEXT, &context)).unwrap_err());
    let text = std::str::from_utf8(PLAINTEXT).unwrap();
    outputs.error("plaintext as armor", &armor::decode(text).unwrap_err());
    outputs.debug("armored?", armor::is_armored(PLAINTEXT));

    for wrong in [EncryptionContext::new(), context.clone().withhold("patient", OTHER_PASSPHRASE)] {
        let refused = block_on(envelope.decrypt(&sealed, &wrong)).unwrap_err();
        assert!(matches!(refused, DecryptError::NotAuthentic));
        outputs.error("a wrong context", &refused);
    }
    let mut changed = sealed.clone();
    *changed.last_mut().unwrap() ^= 1;
    outputs.error("a changed envelope", &block_on(envelope.decrypt(&changed, &context)).unwrap_err());
    outputs.error("reencrypting it", &block_on(envelope.reencrypt(&changed, &context)).unwrap_err());
    let too_long = context.clone().withhold("long", WITHHELD.repeat(MAX_ENCODED_LEN / WITHHELD.len()));
    let refused = block_on(envelope.encrypt(PLAINTEXT, &too_long)).unwrap_err();
    assert!(matches!(refused, EncryptError::Context(_)));
    outputs.error("a context that is too long", &refused);
    let refused = context.clone().withhold("", WITHHELD).full().unwrap_err();
    outputs.error("a context without name", &refused);

    let failing = Keyring::new().both(failing(provider), key.clone());
    let failing = Envelope::new(failing);
    let refused = block_on(failing.encrypt(PLAINTEXT, &context)).unwrap_err();
    assert!(matches!(refused, EncryptError::Provider(_)));
    outputs.error("a provider that fails", &refused);
    let refused = block_on(failing.decrypt(&sealed, &context)).unwrap_err();
    assert!(matches!(refused, DecryptError::Keys { .. }));
    outputs.error("a provider that does not unwrap", &refused);
    let nobody = Envelope::new(Keyring::new());
    outputs.error("no key", &block_on(nobody.encrypt(PLAINTEXT, &context)).unwrap_err());
    outputs.error("no configured key", &block_on(nobody.decrypt(&sealed, &context)).unwrap_err());
    let other =
        Keyring::new().encrypt(forgetful(provider), key.clone()).decrypt(Arc::clone(provider) as _, key);
    let refused = block_on(Envelope::new(other).rewrap(&sealed, &context)).unwrap_err();
    assert!(matches!(refused, RewrapError::WrapNotVerified { .. }));
    outputs.error("a wrap that gives another DEK", &refused);
    let panicking = Envelope::new(Keyring::new().both(panicking(provider), uri("example:kek")));
    let panicked = catch_unwind(AssertUnwindSafe(|| block_on(panicking.encrypt(PLAINTEXT, &context))));
    outputs.panic("a provider that panics", &*panicked.unwrap_err());
}

fn records(outputs: &mut Outputs, provider: &Arc<InMemory>) {
    let envelope = Envelope::new(Keyring::new().both(Arc::clone(provider) as _, uri("example:kek")));
    let data_key = block_on(envelope.create_data_key(&context())).unwrap();
    outputs.debug("header of a data key", data_key.header());
    let record = data_key.seal(PLAINTEXT, &context()).unwrap();
    outputs.bytes("a record", &record);
    let refused = data_key.open(&record, &EncryptionContext::new()).unwrap_err();
    outputs.error("a record of another row", &refused);
    outputs.error("plaintext as a record", &data_key.open(PLAINTEXT, &context()).unwrap_err());
    let large = PLAINTEXT.repeat(RECORD_MAX_LEN / PLAINTEXT.len() + 1);
    let refused = data_key.seal(&large, &context()).unwrap_err();
    assert!(matches!(refused, EncryptError::RecordTooLarge));
    outputs.error("a record that is too large", &refused);
    let header = data_key.header().to_bytes();
    outputs.error("a data key as an envelope", &block_on(envelope.decrypt(&header, &context())).unwrap_err());
    let refused = block_on(envelope.open_data_key(&header, &EncryptionContext::new())).err().unwrap();
    outputs.error("a data key under another context", &refused);
}

fn constructions(outputs: &mut Outputs) {
    let key = Key256::copy_from(&KEK);
    outputs.debug("Key256", &key);
    outputs.debug("Dek", Dek::from_slice(&KEK).unwrap());
    outputs.error("a DEK that is too short", &Dek::from_slice(&KEK[..31]).unwrap_err());
    let sealed = cobblestone::seal::<DefaultEngine>(&key, WITHHELD.as_bytes(), PLAINTEXT).unwrap();
    outputs.bytes("a Cobblestone message", &sealed);
    outputs.error("another context", &cobblestone::open::<DefaultEngine>(&key, b"", &sealed).unwrap_err());
    let prefix: &[u8; PREFIX_LEN] = sealed[..PREFIX_LEN].try_into().unwrap();
    let opener = Opener::<DefaultEngine>::new(&key, WITHHELD.as_bytes(), prefix).unwrap();
    let mut chunk = sealed[PREFIX_LEN..].to_vec();
    outputs.error("another chunk", &opener.open_chunk(1, &mut chunk).unwrap_err());
    let mut sealer = Sealer::<DefaultEngine>::new(&key, b"").unwrap();
    let refused = sealer.seal_next_to(PLAINTEXT, &mut [0; 3]).unwrap_err();
    outputs.error("a chunk without room", &refused);
    let record_key = XaesKey::<DefaultEngine>::new(&key);
    outputs.error("an XAES message", &record_key.open(PLAINTEXT, b"").unwrap_err());
    let gcm = <DefaultEngine as Engine>::Gcm::new(&KEK);
    let panicked = catch_unwind(AssertUnwindSafe(|| gcm.seal_to(&[0; 12], &[], PLAINTEXT, &mut [0; 3])));
    outputs.panic("sealing without room", &*panicked.unwrap_err());
    let panicked = catch_unwind(|| {
        DefaultEngine::hkdf_expand_sha256(&KEK, &[PLAINTEXT], &mut vec![0; 255 * 32 + 1]);
    });
    outputs.panic("too much key", &*panicked.unwrap_err());
    let full = context().full().unwrap();
    let refused = WrappedDek::new(uri("local:alias"), "", "NONE", KEK.to_vec()).unwrap_err();
    outputs.error("a wrapped DEK of an alias", &refused);
    let too_long = WrappedDek::new(uri("example:kek"), "", "NONE", KEK.repeat(200)).unwrap_err();
    outputs.error("a wrapped DEK that is too long", &too_long);
    assert!(
        Canary::new("withheld value", WITHHELD.as_bytes())
            .find(&wrap_binding(&uri("example:kek"), "", &full).unwrap())
            .is_some(),
        "a binding is not for printing"
    );
}

fn keystores(outputs: &mut Outputs) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys.json");
    let (right, wrong) = (passphrase(PASSPHRASE), passphrase(OTHER_PASSPHRASE));
    let keystore = Keystore::create_with(&path, &right, Argon2Params::MINIMUM).unwrap();
    let key = keystore.key_uri("main").unwrap();
    outputs.debug("a new key", block_on(keystore.create_key(&NewKey::named("main"))).unwrap());
    outputs.error("a key twice", &block_on(keystore.create_key(&NewKey::named("main"))).unwrap_err());
    outputs.error(
        "a key without name",
        &block_on(keystore.create_key(&NewKey::named("").pre_active())).unwrap_err(),
    );
    outputs.debug("a rotated key", block_on(keystore.rotate_key(&key)).unwrap());
    let refused =
        block_on(keystore.change_key(&key, None, KeyChange::State(KeyState::Destroyed))).unwrap_err();
    outputs.error("a change not allowed", &refused);
    outputs.debug("a described key", block_on(keystore.describe_key(&key)).unwrap());
    outputs.debug("the keys", block_on(keystore.list_keys(None)).unwrap());
    let dek = Dek::from_slice(&KEK).unwrap();
    let full = context().full().unwrap();
    let wrapped = block_on(keystore.wrap_dek(&key, &dek, &full)).unwrap();
    outputs.debug("a wrap of a keystore", &wrapped);
    let refused = block_on(keystore.unwrap_dek(&wrapped, &FullContext::empty())).unwrap_err();
    assert_eq!(refused.kind(), ProviderErrorKind::Unauthentic);
    outputs.error("a wrap under another context", &refused);
    let refused = block_on(keystore.wrap_dek(&uri("local:other"), &dek, &full)).unwrap_err();
    outputs.error("no such key", &refused);
    let refused = Keystore::open(&path, &wrong).err().unwrap();
    assert!(matches!(refused, KeystoreError::WrongPassphrase { .. }));
    outputs.error("a wrong passphrase", &refused);
    outputs.error("as a provider's error", &ProviderError::from(refused).about(&key));
    outputs.error("a keystore twice", &Keystore::create(&path, &wrong).err().unwrap());
    outputs.error("no keystore", &Keystore::open(folder.path().join("none"), &right).err().unwrap());
    keystore.change_passphrase(&wrong).unwrap();
    keystore.reload().unwrap();
    outputs.bytes("the id of a keystore", Keystore::read_id(&path).unwrap().as_bytes());
    // Files that are no keystore, and hold secrets by mistake.
    for wrong_file in [PASSPHRASE.to_owned(), format!("{{\"{PASSPHRASE}\": 1}}"), format!("{KEK:?}")] {
        let other = folder.path().join("other.json");
        std::fs::write(&other, wrong_file).unwrap();
        std::fs::set_permissions(&other, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        let refused = Keystore::open(&other, &right).err().unwrap();
        assert!(matches!(refused, KeystoreError::Malformed { .. }));
        outputs.error("a file that is no keystore", &refused);
        std::fs::remove_file(&other).unwrap();
    }
    for entry in std::fs::read_dir(folder.path()).unwrap() {
        let path = entry.unwrap().path();
        outputs.bytes(&path.display().to_string(), &std::fs::read(&path).unwrap());
    }
}

fn passphrases(outputs: &mut Outputs) {
    outputs.debug("Passphrase", passphrase(PASSPHRASE));
    let too_long = Passphrase::new(PASSPHRASE.repeat(4096)).unwrap_err();
    assert_eq!(too_long, PassphraseError::TooLong);
    outputs.error("a long passphrase", &too_long);
    let provider = |text| PassphraseProvider::with_params(passphrase(text), Argon2Params::MINIMUM).unwrap();
    let envelope = |provider| Envelope::new(Keyring::new().both(Arc::new(provider), KeyUri::passphrase()));
    let sealed = block_on(envelope(provider(PASSPHRASE)).encrypt(PLAINTEXT, &context())).unwrap();
    outputs.bytes("an envelope of a passphrase", &sealed);
    let refused = block_on(envelope(provider(OTHER_PASSPHRASE)).decrypt(&sealed, &context())).unwrap_err();
    assert!(matches!(refused, DecryptError::NotAuthentic));
    outputs.error("another passphrase", &refused);
    let dek = Dek::from_slice(&KEK).unwrap();
    let refused = block_on(provider(PASSPHRASE).wrap_dek(&uri("example:kek"), &dek, &FullContext::empty()));
    outputs.error("a passphrase for another key", &refused.unwrap_err());
    let costs = Argon2Params { m_cost: 1, t_cost: 1, p_cost: 1 };
    let refused = PassphraseProvider::with_params(passphrase(PASSPHRASE), costs).err().unwrap();
    outputs.error("Argon2id that is too cheap", &refused);
}

/// Secrets where a key URI is read: somebody will put one there.
fn texts(outputs: &mut Outputs) {
    for text in [
        format!("passphrase:{PASSPHRASE}"),
        format!("pkcs11:object=main?pin-value={PASSPHRASE}"),
        format!("pkcs11:pin-value={PASSPHRASE}"),
        format!("https://user:{PASSPHRASE}@example.vault.azure.net/keys/main"),
        format!("awskms://user:{PASSPHRASE}@host/key"),
    ] {
        outputs.error("a key URI with a secret", &KeyUri::parse(&text).unwrap_err());
    }
}

/// What came out, and where.
#[derive(Default)]
struct Outputs(Vec<(String, Vec<u8>)>);

impl Outputs {
    fn bytes(&mut self, place: &str, bytes: &[u8]) {
        self.0.push((place.to_owned(), bytes.to_vec()));
    }

    fn debug(&mut self, place: &str, value: impl Debug) {
        self.bytes(place, format!("{value:?} {value:#?}").as_bytes());
    }

    /// Both its forms and those of its causes.
    fn error(&mut self, place: &str, error: &dyn Error) {
        let mut text = format!("{error} {error:?} {error:#?}");
        let mut cause = error.source();
        while let Some(error) = cause {
            write!(text, " {error} {error:?}").unwrap();
            cause = error.source();
        }
        self.bytes(place, text.as_bytes());
    }

    fn panic(&mut self, place: &str, payload: &(dyn std::any::Any + Send)) {
        let text = payload.downcast_ref::<String>().map(String::as_str);
        let text = text.or(payload.downcast_ref::<&str>().copied());
        self.bytes(place, text.expect("a panic with a text").as_bytes());
    }
}

/// Everything that is logged at any level, and every panic.
static HEARD: Mutex<String> = Mutex::new(String::new());

fn hear(text: &str) {
    HEARD.lock().unwrap().push_str(text);
}

fn listen() {
    log::set_boxed_logger(Box::new(Listener)).unwrap();
    log::set_max_level(log::LevelFilter::Trace);
    tracing::subscriber::set_global_default(Listener).unwrap();
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        hear(&format!("{panic}\n"));
        before(panic);
    }));
    log::trace!("control of log");
    tracing::trace!(field = "control of tracing");
    let _span = tracing::trace_span!("span", field = "control of a span").entered();
    catch_unwind(|| panic!("control of a panic")).unwrap_err();
}

struct Listener;

impl log::Log for Listener {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        hear(&format!("{record:?} {}\n", record.args()));
    }

    fn flush(&self) {}
}

impl tracing::Subscriber for Listener {
    fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, span: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        span.record(&mut Fields);
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::span::Id, values: &tracing::span::Record<'_>) {
        values.record(&mut Fields);
    }

    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        event.record(&mut Fields);
    }

    fn enter(&self, _: &tracing::span::Id) {}

    fn exit(&self, _: &tracing::span::Id) {}
}

struct Fields;

impl tracing::field::Visit for Fields {
    fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn Debug) {
        hear(&format!("{field}={value:?}\n"));
    }
}

/// A key in memory that keeps every DEK, to look for it afterwards.
struct InMemory {
    key: XaesKey<DefaultEngine>,
    deks: Mutex<Vec<[u8; 32]>>,
}

impl InMemory {
    fn new() -> Self {
        Self { key: XaesKey::new(&Key256::copy_from(&KEK)), deks: Mutex::default() }
    }
}

#[async_trait]
impl KeyProvider for InMemory {
    fn name(&self) -> &'static str {
        "example"
    }

    fn context_binding(&self, _wrapped: &WrappedDek) -> ContextBinding {
        ContextBinding::Provider
    }

    async fn wrap_dek(
        &self,
        key: &KeyUri,
        dek: &Dek,
        context: &FullContext,
    ) -> Result<WrappedDek, ProviderError> {
        self.deks.lock().unwrap().push(*dek.expose());
        let sealed = self.key.seal(dek.expose(), context.as_bytes()).unwrap();
        WrappedDek::new(key.clone(), "", "XAES-256-GCM", sealed)
    }

    async fn unwrap_dek(&self, wrapped: &WrappedDek, context: &FullContext) -> Result<Dek, ProviderError> {
        Dek::fill_with(|dek| self.key.open_to(wrapped.ciphertext(), context.as_bytes(), dek))
            .map_err(|error| refusal(ProviderErrorKind::Unauthentic, wrapped.key_uri()).with_source(error))
    }
}

/// Neither wraps nor unwraps.
fn failing(below: &Arc<InMemory>) -> Arc<AlteredProvider> {
    let away = |key: &KeyUri| {
        refusal(ProviderErrorKind::Unavailable, key).with_source(std::io::Error::other("is away"))
    };
    let failing = AlteredProvider::new(below.clone())
        .on_wrap(move |_, key, _, _| Box::pin(async move { Err(away(key)) }))
        .on_unwrap(move |_, wrapped, _| Box::pin(async move { Err(away(wrapped.key_uri())) }));
    Arc::new(failing)
}

/// Gives back another DEK than it took.
fn forgetful(below: &Arc<InMemory>) -> Arc<AlteredProvider> {
    let forgetful = AlteredProvider::new(below.clone())
        .on_wrap(|_, key, _, _| Box::pin(async { WrappedDek::new(key.clone(), "", "NONE", vec![0; 32]) }))
        .on_unwrap(|_, _, _| Box::pin(async { Ok(Dek::generate::<DefaultEngine>().unwrap()) }));
    Arc::new(forgetful)
}

/// Panics while it holds the DEK.
fn panicking(below: &Arc<InMemory>) -> Arc<AlteredProvider> {
    let panicking = AlteredProvider::new(below.clone())
        .on_wrap(|_, _, dek, context| panic!("with {dek:?} and {context:?}"))
        .on_unwrap(|_, _, _| panic!("unwrapping"));
    Arc::new(panicking)
}

fn refusal(kind: ProviderErrorKind, key: &KeyUri) -> ProviderError {
    ProviderError::new(kind, "example", key, "does not answer")
}

fn context() -> EncryptionContext {
    EncryptionContext::new().with("tenant", "42").withhold("patient", WITHHELD)
}

fn passphrase(text: &str) -> Passphrase {
    Passphrase::new(text.to_owned()).unwrap()
}

fn uri(text: &str) -> KeyUri {
    KeyUri::parse(text).unwrap()
}

const PLAINTEXT: &[u8] = b"canary of a plaintext 6f1ad0";
const PASSPHRASE: &str = "canary-of-a-passphrase-b93e27";
const OTHER_PASSPHRASE: &str = "second-canary-passphrase-04c8d1";
const WITHHELD: &str = "withheld-canary-value-5e72a9";
const KEK: [u8; 32] = *b"\xF3\x9A\x51\xC7\x0E\xB8\x62\xDD\x84\x17\xAB\x3F\xE0\x95\x2C\x76\
\xD1\x48\xBA\x05\x6D\xF9\x8E\x23\xC4\x7B\x10\xAF\x59\xE6\x92\x3D";
