//! What the searched process does, and what it tells of it.
//!
//! It runs operations on a thread of its own, whose stack stays as they left
//! it, with every key dropped, and waits. Secrets it tells are masked, so that the
//! telling leaves none behind.

use std::{
    future::Future,
    pin::pin,
    sync::{Arc, Mutex, mpsc},
    task::{Context, Poll, Waker},
};

use async_trait::async_trait;
use envelope_local::{Argon2Params, Keystore, Passphrase, PassphraseProvider};
use envelope_sdk::{
    ContextBinding, DecryptError, Dek, EncryptError, EncryptionContext, Envelope, FullContext, Header,
    KeyAdmin, KeyProvider, KeyUri, Keyring, NewKey, PayloadKind, ProviderError, ProviderErrorKind,
    RewrapError, WrappedDek,
    crypto::{DefaultEngine, Engine, Key256, xaes::XaesKey},
    stream,
};
use envelope_testkit::{AlteredProvider, YieldingProvider, dropped_after};
use futures_executor::block_on;
use zeroize::{Zeroize, Zeroizing};

use super::{LAST_LEN, MASK, ROUNDS};

/// Lines for the searching process: a word, then bytes in hexadecimal.
pub(crate) type Lines = Arc<Mutex<Vec<(&'static str, Vec<u8>)>>>;

/// Runs the operations called `name` and waits to be searched and ended.
pub(crate) fn run(name: &str) {
    let lines = Lines::default();
    // Grown now: a growing vector would shift what was freed around it.
    lines.lock().unwrap().reserve(20_000);
    #[cfg(not(feature = "tokio"))]
    let asynchronous: [(&str, Operations); 0] = [];
    #[cfg(feature = "tokio")]
    let asynchronous = asynchronous::OPERATIONS;
    let operations = OPERATIONS.iter().chain(&asynchronous).find(|(known, _)| *known == name).unwrap().1;
    for work in [leave, operations] {
        let told = Arc::clone(&lines);
        let (done, finished) = mpsc::channel();
        std::thread::spawn(move || {
            work(&told);
            done.send(()).unwrap();
            loop {
                std::thread::park();
            }
        });
        finished.recv().unwrap();
    }
    for (word, bytes) in lines.lock().unwrap().iter() {
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        println!("\n{LINE} {word} {hex}");
    }
    println!("\n{LINE} end");
    // The searching process ends this one, or this input.
    let _ = std::io::stdin().read_line(&mut String::new());
}

/// The adapters of tokio, which hold plaintext that nobody took from them yet.
#[cfg(feature = "tokio")]
mod asynchronous {
    use std::io::{Cursor, ErrorKind, SeekFrom};

    use envelope_sdk::{
        OpenedHeader,
        stream::tokio::{AsyncRangedReader, Blocking, OpenWriter, open_reader},
    };
    use tokio::{
        io::{AsyncReadExt, AsyncSeekExt, AsyncWriteExt, duplex},
        runtime::Builder,
    };

    use super::{
        Header, LAST_LEN, Made, Operations, PLAINTEXT_LEN, Zeroizing, block_on, context, dropped_half_way,
        each_round,
    };

    pub(super) const OPERATIONS: [(&str, Operations); 4] = [
        ("asynchronous writer, failing", |lines| each_round(lines, failing_writer)),
        ("asynchronous writer, dropped", |lines| each_round(lines, dropped_writer)),
        ("asynchronous reader", |lines| each_round(lines, reader)),
        ("asynchronous reader of ranges", |lines| each_round(lines, reader_of_ranges)),
    ];

    /// An opened header and its payload.
    fn opened(made: &Made) -> (OpenedHeader, Vec<u8>) {
        let mut sealed = made.sealed();
        let (header, len) = Header::parse(&sealed).unwrap();
        sealed.drain(..len);
        (block_on(made.envelope.unlock(header, &context())).unwrap(), sealed)
    }

    fn wait<T>(future: impl Future<Output = T>) -> T {
        Builder::new_current_thread().build().unwrap().block_on(future)
    }

    fn failing_writer(made: &Made) {
        let (opened, payload) = opened(made);
        wait(async {
            let (nobody, output) = duplex(8);
            drop(nobody);
            let mut writer = OpenWriter::new(opened, output);
            writer.write_all(&payload).await.unwrap();
            assert_eq!(writer.shutdown().await.unwrap_err().kind(), ErrorKind::BrokenPipe);
        });
    }

    fn dropped_writer(made: &Made) {
        let (opened, payload) = opened(made);
        wait(async {
            let (_nobody_reads, output) = duplex(8);
            let mut writer = OpenWriter::new(opened, output);
            writer.write_all(&payload).await.unwrap();
            dropped_half_way(writer.shutdown());
        });
    }

    fn reader(made: &Made) {
        let (opened, payload) = opened(made);
        let mut read = Zeroizing::new(vec![0; PLAINTEXT_LEN - LAST_LEN + 1]);
        wait(async {
            open_reader(opened, Cursor::new(payload)).read_exact(&mut read).await.unwrap();
        });
        assert!(read.as_slice() == &made.plaintext[..read.len()]);
    }

    fn reader_of_ranges(made: &Made) {
        let (opened, payload) = opened(made);
        let mut read = Zeroizing::new([0; 8]);
        wait(async {
            let mut reader = AsyncRangedReader::new(&opened, Blocking::new(payload), 0).await.unwrap();
            reader.seek(SeekFrom::End(-100)).await.unwrap();
            reader.read_exact(read.as_mut_slice()).await.unwrap();
        });
        let at = PLAINTEXT_LEN - 100;
        assert!(read.as_slice() == &made.plaintext[at..at + 8]);
    }
}

/// Before every line for the searching process.
pub(crate) const LINE: &str = "@zeroize";

type Operations = fn(&Lines);

/// Everything that is searched for, one process each: a stack remembers best
/// what was last.
pub(crate) const OPERATIONS: [(&str, Operations); 16] = [
    ("encrypt", |lines| each_round(lines, |made| drop(made.sealed()))),
    ("decrypt", |lines| each_round(lines, decrypt)),
    ("detached", |lines| each_round(lines, detached)),
    ("streams", |lines| each_round(lines, streams)),
    ("records", |lines| each_round(lines, records)),
    ("rewrap", |lines| each_round(lines, rewrap)),
    ("reencrypt", |lines| each_round(lines, reencrypt)),
    ("wrong context", |lines| each_round(lines, wrong_context)),
    ("tampered", |lines| each_round(lines, tampered)),
    ("provider error", |lines| each_round(lines, provider_error)),
    ("cancelled", |lines| each_round(lines, cancelled)),
    ("dropped at each await", dropped_at_each_await),
    ("keystore", keystore),
    ("keystore, wrong passphrase", keystore_wrong_passphrase),
    ("passphrase", passphrase),
    ("passphrase, wrong", passphrase_wrong),
];

fn each_round(lines: &Lines, operation: fn(&Made)) {
    for _ in 0..ROUNDS {
        operation(&Made::new(lines));
    }
}

/// A provider with a known KEK, an envelope over it, and a plaintext.
struct Made {
    lines: Lines,
    provider: Arc<Recording>,
    envelope: Envelope,
    plaintext: Zeroizing<Vec<u8>>,
}

impl Made {
    fn new(lines: &Lines) -> Self {
        let provider = Arc::new(Recording::new(lines));
        let envelope = Envelope::new(Keyring::new().both(Arc::clone(&provider) as _, uri("example:kek")));
        let mut plaintext = Zeroizing::new(vec![0; PLAINTEXT_LEN]);
        DefaultEngine::fill_random(&mut plaintext[PLAINTEXT_LEN - 32..]).unwrap();
        tell_secret(lines, "plaintext", &plaintext[PLAINTEXT_LEN - 32..]);
        Self { lines: Arc::clone(lines), provider, envelope, plaintext }
    }

    fn sealed(&self) -> Vec<u8> {
        let sealed = block_on(self.envelope.encrypt(&self.plaintext, &context())).unwrap();
        tell(&self.lines, "envelope", &sealed);
        sealed
    }

    fn check(&self, opened: &[u8]) {
        assert!(opened == self.plaintext.as_slice());
    }
}

fn decrypt(made: &Made) {
    let sealed = made.sealed();
    let opened = block_on(made.envelope.decrypt(&sealed, &context())).map(Zeroizing::new).unwrap();
    made.check(&opened);
}

fn detached(made: &Made) {
    let (header, payload) = block_on(made.envelope.encrypt_detached(&made.plaintext, &context())).unwrap();
    tell(&made.lines, "envelope", &[header.as_slice(), &payload].concat());
    let opened = block_on(made.envelope.decrypt_detached(&header, &payload, &context()));
    made.check(&Zeroizing::new(opened.unwrap()));
}

fn streams(made: &Made) {
    let mut sealed = Vec::new();
    let started = block_on(made.envelope.start(PayloadKind::Attached, &context())).unwrap();
    sealed.extend_from_slice(&started.header);
    stream::seal(started.payload, &mut made.plaintext.as_slice(), &mut sealed).unwrap();
    tell(&made.lines, "envelope", &sealed);
    let mut payload = sealed.as_slice();
    let header = stream::read_header(&mut payload).unwrap();
    let opened = block_on(made.envelope.unlock(header, &context())).unwrap();
    let mut plaintext = Zeroizing::new(Vec::with_capacity(PLAINTEXT_LEN));
    stream::open(&opened, &mut payload, &mut *plaintext).unwrap();
    made.check(&plaintext);
}

fn records(made: &Made) {
    let row = EncryptionContext::new().with("row", "17");
    let data_key = block_on(made.envelope.create_data_key(&context())).unwrap();
    let header = data_key.header().to_bytes();
    tell(&made.lines, "envelope", &header);
    let record = data_key.seal(&made.plaintext, &row).unwrap();
    tell(&made.lines, "record", &record);
    drop(data_key);
    let data_key = block_on(made.envelope.open_data_key(&header, &context())).unwrap();
    made.check(&Zeroizing::new(data_key.open(&record, &row).unwrap()));
    let refused = data_key.open(&record, &context()).map(Zeroizing::new);
    assert!(matches!(refused.unwrap_err(), DecryptError::NotAuthentic));
}

fn rewrap(made: &Made) {
    let rewrapped = block_on(made.envelope.rewrap(&made.sealed(), &context())).unwrap();
    tell(&made.lines, "envelope", &rewrapped);
}

fn reencrypt(made: &Made) {
    let anew = block_on(made.envelope.reencrypt(&made.sealed(), &context())).unwrap();
    tell(&made.lines, "envelope", &anew);
}

fn wrong_context(made: &Made) {
    let sealed = made.sealed();
    let stored = context().with("tenant", "43");
    let withheld = context().withhold("patient", "8");
    for context in [stored, withheld, EncryptionContext::new()] {
        let refused = block_on(made.envelope.decrypt(&sealed, &context)).map(Zeroizing::new);
        assert!(matches!(refused.unwrap_err(), DecryptError::NotAuthentic));
    }
    let refused = block_on(made.envelope.rewrap(&sealed, &context().withhold("patient", "8")));
    assert!(matches!(refused.unwrap_err(), RewrapError::Decrypt(DecryptError::NotAuthentic)));
}

fn tampered(made: &Made) {
    let sealed = made.sealed();
    let header_len = Envelope::inspect(&sealed).unwrap().len();
    // The header's MAC, the commitment, and the last tag: all but one byte decrypted by then.
    for position in [header_len - 1, header_len + 30, sealed.len() - 1] {
        let mut changed = sealed.clone();
        changed[position] ^= 1;
        let refused = block_on(made.envelope.decrypt(&changed, &context())).map(Zeroizing::new);
        assert!(matches!(refused.unwrap_err(), DecryptError::NotAuthentic));
        let refused = block_on(made.envelope.reencrypt(&changed, &context()));
        assert!(matches!(refused.unwrap_err(), RewrapError::Decrypt(DecryptError::NotAuthentic)));
        let header = Header::parse(&changed).unwrap().0;
        if let Ok(opened) = block_on(made.envelope.unlock(header, &context())) {
            let mut written = Zeroizing::new(Vec::with_capacity(PLAINTEXT_LEN));
            stream::open(&opened, &mut &changed[header_len..], &mut *written).unwrap_err();
        }
    }
}

/// The DEK was made, and the second of two keys does not wrap or unwrap it.
fn provider_error(made: &Made) {
    let failing = |mode| {
        let failing = second(&made.provider, mode);
        Envelope::new(
            Keyring::new()
                .both(Arc::clone(&made.provider) as _, uri("example:kek"))
                .both(failing, uri("example:second")),
        )
    };
    let refused = block_on(failing(Mode::RefuseToWrap).encrypt(&made.plaintext, &context()));
    assert!(
        matches!(refused.unwrap_err(), EncryptError::Provider(error) if error.kind() == ProviderErrorKind::Unavailable)
    );
    let refused = block_on(failing(Mode::RefuseToUnwrap).rewrap(&made.sealed(), &context()));
    assert!(matches!(refused.unwrap_err(), RewrapError::Encrypt(EncryptError::Provider(_))));
}

/// Futures that are dropped while a provider holds the DEK.
fn cancelled(made: &Made) {
    let pending = |mode| {
        let second = second(&made.provider, mode);
        Envelope::new(
            Keyring::new()
                .encrypt(Arc::clone(&made.provider) as _, uri("example:kek"))
                .both(second, uri("example:second"))
                .decrypt(Arc::clone(&made.provider) as _, uri("example:kek")),
        )
    };
    let never_wraps = pending(Mode::NeverWrap);
    dropped_half_way(never_wraps.encrypt(&made.plaintext, &context()));
    dropped_half_way(never_wraps.create_data_key(&context()));
    let sealed = made.sealed();
    dropped_half_way(never_wraps.rewrap(&sealed, &context()));
    dropped_half_way(never_wraps.reencrypt(&sealed, &context()));
    let never_unwraps = pending(Mode::NeverUnwrap);
    dropped_half_way(never_unwraps.rewrap(&sealed, &context()));
    let sealed = block_on(never_unwraps.encrypt(&made.plaintext, &context())).unwrap();
    tell(&made.lines, "envelope", &sealed);
    let only_second = second(&made.provider, Mode::NeverUnwrap);
    let only_second = Envelope::new(Keyring::new().decrypt(only_second, uri("example:second")));
    dropped_half_way(only_second.decrypt(&sealed, &context()));
}

/// Fewer rounds than elsewhere: each drops a hundred futures.
fn dropped_at_each_await(lines: &Lines) {
    for _ in 0..ROUNDS / 100 {
        let (made, context) = (Made::new(lines), context());
        let slow = Arc::new(YieldingProvider::new(Arc::clone(&made.provider) as _, 2));
        let keys = ["example:kek", "example:second"].map(uri);
        let ring = keys.into_iter().fold(Keyring::new(), |ring, key| ring.both(Arc::clone(&slow) as _, key));
        let envelope = Envelope::new(ring);
        let sealed = at_each_await(|| envelope.encrypt(&made.plaintext, &context)).unwrap();
        tell(lines, "envelope", &sealed);
        made.check(&at_each_await(|| envelope.decrypt(&sealed, &context)).map(Zeroizing::new).unwrap());
        let rewrapped = at_each_await(|| envelope.rewrap(&sealed, &context)).unwrap();
        tell(lines, "envelope", &rewrapped);
        let anew = at_each_await(|| envelope.reencrypt(&sealed, &context)).unwrap();
        tell(lines, "envelope", &anew);
        let data_key = at_each_await(|| envelope.create_data_key(&context)).unwrap();
        let header = data_key.header().to_bytes();
        tell(lines, "envelope", &header);
        drop(at_each_await(|| envelope.open_data_key(&header, &context)).unwrap());
    }
}

fn at_each_await<F: Future>(call: impl Fn() -> F) -> F::Output {
    (0..).find_map(|polls| dropped_after(polls, call())).unwrap()
}

fn dropped_half_way(future: impl Future) {
    let mut future = pin!(future);
    let polled = future.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    assert!(polled.is_pending());
}

fn keystore(lines: &Lines) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys.json");
    let (first, second) = (fresh_passphrase(lines), fresh_passphrase(lines));
    {
        let keystore = Keystore::create_with(&path, &first, LANES).unwrap();
        tell(lines, "keystore", &std::fs::read(&path).unwrap());
        block_on(keystore.create_key(&NewKey::named("main"))).unwrap();
    }
    tell(lines, "keystore", &std::fs::read(&path).unwrap());
    {
        let keystore = Keystore::open(&path, &first).unwrap();
        block_on(keystore.rotate_key(&uri("local:main"))).unwrap();
        keystore.change_passphrase(&second).unwrap();
        keystore.reload().unwrap();
    }
    tell(lines, "keystore", &std::fs::read(&path).unwrap());
    let keystore = Arc::new(Keystore::open(&path, &second).unwrap());
    drop((first, second));
    with_provider(lines, keystore, uri("local:main"));
}

fn keystore_wrong_passphrase(lines: &Lines) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys.json");
    let (right, wrong) = (fresh_passphrase(lines), fresh_passphrase(lines));
    drop(Keystore::create_with(&path, &right, LANES).unwrap());
    let text = std::fs::read_to_string(&path).unwrap();
    tell(lines, "keystore", text.as_bytes());
    let refused = Keystore::open(&path, &wrong).err().unwrap();
    assert!(matches!(refused, envelope_local::KeystoreError::WrongPassphrase { .. }));
    std::fs::write(&path, text.replace("\"generation\": 0", "\"generation\": 7")).unwrap();
    let refused = Keystore::open(&path, &right).err().unwrap();
    assert!(matches!(refused, envelope_local::KeystoreError::Tampered { .. }));
}

fn passphrase(lines: &Lines) {
    let provider = PassphraseProvider::with_params(fresh_passphrase(lines), LANES).unwrap();
    with_provider(lines, Arc::new(provider), KeyUri::passphrase());
}

fn passphrase_wrong(lines: &Lines) {
    let of = || {
        let provider = PassphraseProvider::with_params(fresh_passphrase(lines), LANES);
        let beside = beside(Arc::new(provider.unwrap()), lines);
        Envelope::new(Keyring::new().both(beside, KeyUri::passphrase()))
    };
    let sealed = block_on(of().encrypt(b"", &context())).unwrap();
    tell(lines, "envelope", &sealed);
    let refused = block_on(of().decrypt(&sealed, &context()));
    assert!(matches!(refused.unwrap_err(), DecryptError::NotAuthentic));
}

/// The operations over a provider of envelope-local. The DEKs are read off
/// beside it.
fn with_provider(lines: &Lines, provider: Arc<dyn KeyProvider>, key: KeyUri) {
    let beside = beside(provider, lines);
    let envelope = Envelope::new(Keyring::new().both(beside, key));
    for _ in 0..ROUNDS {
        let sealed = block_on(envelope.encrypt(b"", &context())).unwrap();
        tell(lines, "envelope", &sealed);
        block_on(envelope.decrypt(&sealed, &context())).unwrap();
        block_on(envelope.rewrap(&sealed, &context())).unwrap();
        let data_key = block_on(envelope.create_data_key(&context())).unwrap();
        let header = data_key.header().to_bytes();
        tell(lines, "envelope", &header);
        block_on(envelope.open_data_key(&header, &context())).unwrap();
        let wrong = context().withhold("patient", "8");
        let refused = block_on(envelope.decrypt(&sealed, &wrong));
        assert!(matches!(refused.unwrap_err(), DecryptError::NotAuthentic));
    }
}

/// What must be found: forgotten on the heap, freed as it is, and left on the
/// stack.
fn leave(lines: &Lines) {
    let random = || {
        let mut secret = Box::new([0; 32]);
        DefaultEngine::fill_random(secret.as_mut_slice()).unwrap();
        secret
    };
    let forgotten = random();
    tell_secret(lines, "control: forgotten", forgotten.as_slice());
    std::mem::forget(forgotten);
    let mut below = random();
    tell_secret(lines, "control: stack", below.as_slice());
    leave_on_stack(&below);
    // Of a length that nothing after it asks for again.
    let mut freed = vec![0; 1000];
    freed[500..532].copy_from_slice(below.as_slice());
    freed[500..532].reverse();
    tell_secret(lines, "control: freed", &freed[500..532]);
    drop(std::hint::black_box(freed));
    below.zeroize();
}

/// Deep enough that what follows on this thread does not reach it.
#[inline(never)]
fn leave_on_stack(secret: &[u8; 32]) {
    let mut deep = [0; 16 * 1024];
    deep[1024..1024 + 32].copy_from_slice(secret);
    std::hint::black_box(&mut deep);
}

/// Little work, on as many threads as there are cores.
const LANES: Argon2Params = Argon2Params { p_cost: 4, ..Argon2Params::MINIMUM };

fn fresh_passphrase(lines: &Lines) -> Passphrase {
    let mut random = Zeroizing::new([0; 24]);
    DefaultEngine::fill_random(random.as_mut_slice()).unwrap();
    let mut text = String::with_capacity(64);
    for byte in random.iter() {
        for digit in [byte >> 4, byte & 15] {
            text.push(char::from(b"0123456789abcdef"[usize::from(digit)]));
        }
    }
    tell_secret(lines, "passphrase", text.as_bytes());
    Passphrase::new(text).unwrap()
}

fn context() -> EncryptionContext {
    super::context()
}

fn uri(text: &str) -> KeyUri {
    KeyUri::parse(text).unwrap()
}

/// The beginning: a header and the salt of a payload are in it.
fn tell(lines: &Lines, word: &'static str, bytes: &[u8]) {
    let bytes = if word == "keystore" { bytes } else { &bytes[..bytes.len().min(1024)] };
    lines.lock().unwrap().push((word, bytes.to_vec()));
}

/// Byte by byte into what is already allocated: no copy but the masked one.
fn tell_secret(lines: &Lines, word: &'static str, secret: &[u8]) {
    let mut masked = Vec::with_capacity(secret.len());
    masked
        .extend(secret.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ std::hint::black_box(mask)));
    lines.lock().unwrap().push((word, masked));
}

/// A provider with its KEK in memory that tells, masked, what it wraps.
struct Recording {
    kek: XaesKey<DefaultEngine>,
    lines: Lines,
}

impl Recording {
    fn new(lines: &Lines) -> Self {
        let kek = Key256::generate::<DefaultEngine>().unwrap();
        tell_secret(lines, "KEK", kek.expose());
        Self { kek: XaesKey::new(&kek), lines: Arc::clone(lines) }
    }

    fn wrap(&self, key: &KeyUri, dek: &Dek, context: &FullContext) -> WrappedDek {
        tell_secret(&self.lines, "DEK", dek.expose());
        let sealed = self.kek.seal(dek.expose(), context.as_bytes()).unwrap();
        tell(&self.lines, "wrap", &sealed);
        WrappedDek::new(key.clone(), "", "XAES-256-GCM", sealed).unwrap()
    }

    fn unwrap(&self, wrapped: &WrappedDek, context: &FullContext) -> Result<Dek, ProviderError> {
        Dek::fill_with(|dek| self.kek.open_to(wrapped.ciphertext(), context.as_bytes(), dek)).map_err(|_| {
            ProviderError::new(ProviderErrorKind::Unauthentic, "example", wrapped.key_uri(), "does not open")
        })
    }
}

#[async_trait]
impl KeyProvider for Recording {
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
        Ok(self.wrap(key, dek, context))
    }

    async fn unwrap_dek(&self, wrapped: &WrappedDek, context: &FullContext) -> Result<Dek, ProviderError> {
        self.unwrap(wrapped, context)
    }
}

/// A second key beside the first, which fails or never answers.
fn second(first: &Arc<Recording>, mode: Mode) -> Arc<AlteredProvider> {
    let away = |key: &KeyUri| ProviderError::new(ProviderErrorKind::Unavailable, "second", key, "is away");
    let second = AlteredProvider::new(first.clone())
        .named("second")
        .on_wrap(move |first, key, dek, context| {
            Box::pin(async move {
                let wrapped = first.wrap_dek(key, dek, context).await;
                match mode {
                    Mode::RefuseToWrap => Err(away(key)),
                    Mode::NeverWrap => never().await,
                    Mode::RefuseToUnwrap | Mode::NeverUnwrap => wrapped,
                }
            })
        })
        .on_unwrap(move |first, wrapped, context| {
            Box::pin(async move {
                // As with a KMS that answered while something after it never does.
                let dek = first.unwrap_dek(wrapped, context).await?;
                match mode {
                    Mode::RefuseToUnwrap => Err(away(wrapped.key_uri())),
                    Mode::NeverUnwrap => never().await,
                    Mode::RefuseToWrap | Mode::NeverWrap => Ok(dek),
                }
            })
        });
    Arc::new(second)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    RefuseToWrap,
    RefuseToUnwrap,
    NeverWrap,
    NeverUnwrap,
}

async fn never<T>() -> T {
    std::future::poll_fn(|_| Poll::Pending).await
}

/// Tells the DEKs that go through another provider.
fn beside(provider: Arc<dyn KeyProvider>, lines: &Lines) -> Arc<AlteredProvider> {
    let lines = Arc::clone(lines);
    let beside = AlteredProvider::new(provider).on_wrap(move |below, key, dek, context| {
        tell_secret(&lines, "DEK", dek.expose());
        below.wrap_dek(key, dek, context)
    });
    Arc::new(beside)
}

/// Two chunks: a whole one and a short one.
const PLAINTEXT_LEN: usize = 16 * 1024 + LAST_LEN;
