//! Vector files, and a provider made from their keys. The form of the files is
//! in `vectors/README.md`.

#![allow(dead_code, reason = "each test binary uses its part")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use argon2::{Algorithm, Argon2, Params, Version};
use base64ct::{Base64, Encoding};
use envelope_sdk::{
    ContextBinding, DecryptError, Dek, EncryptionContext, Envelope, FullContext, KeyProvider, KeyUri,
    Keyring, ProviderError, ProviderErrorKind, WrappedDek,
    crypto::{DefaultEngine, Key256, cobblestone, xaes::XaesKey},
    wrap_binding,
};

/// One vector file.
pub(crate) struct Vector {
    /// `CLASS/PROPERTY`.
    pub(crate) name: String,
    fields: BTreeMap<String, Vec<String>>,
    /// Whether the first of `parts` is a text form and not binary.
    pub(crate) armor: bool,
    /// Whether this is a file of a keystore, which `envelope-local` tests.
    pub(crate) is_keystore: bool,
    /// The parts of the body.
    pub(crate) parts: Vec<Vec<u8>>,
}

impl Vector {
    /// All vectors of envelopes that open with keys in memory, in order of their names.
    pub(crate) fn all() -> Vec<Self> {
        let in_memory = |vector: &Self| {
            !vector.is_keystore
                && vector.field("kind") != "rewrap"
                && vector.all_of("service").next().is_none()
        };
        Self::with_keystores().into_iter().filter(in_memory).collect()
    }

    /// All vectors, those of keystore files too.
    pub(crate) fn with_keystores() -> Vec<Self> {
        let mut paths = Vec::new();
        for class in fs::read_dir(directory()).unwrap() {
            let class = class.unwrap().path();
            if class.is_dir() {
                paths.extend(fs::read_dir(class).unwrap().map(|file| file.unwrap().path()));
            }
        }
        paths.retain(|path| path.extension().is_some_and(|extension| extension == "vec"));
        paths.sort();
        paths.iter().map(|path| Self::read(path)).collect()
    }

    pub(crate) fn named(name: &str) -> Self {
        Self::read(&directory().join(format!("{name}.vec")))
    }

    fn read(path: &Path) -> Self {
        let data = fs::read(path).unwrap();
        let end = data.windows(2).position(|two| two == b"\n\n").expect("a head and an empty line");
        let (head, body) = (str::from_utf8(&data[..end]).unwrap(), &data[end + 2..]);
        let mut fields: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for line in head.split('\n') {
            let (key, value) = line.split_once(": ").expect("key: value");
            assert!(KEYS.contains(&key), "{}: unknown key {key}", path.display());
            fields.entry(key.into()).or_default().push(value.into());
        }
        let armor = fields.contains_key("armor");
        let is_keystore = fields["kind"][0] == "keystore";
        let as_it_is = armor || is_keystore;
        let mut parts =
            if as_it_is { vec![body.to_vec()] } else { decode_parts(str::from_utf8(body).unwrap()) };
        parts.extend(fields.get("second-part").into_iter().flatten().map(|part| decode_part(part)));
        if let Some(zeros) = fields.get("append-zeros") {
            let last = parts.last_mut().unwrap();
            last.resize(last.len() + zeros[0].parse::<usize>().unwrap(), 0);
        }
        let name = path.strip_prefix(directory()).unwrap().with_extension("");
        Self { name: name.to_str().unwrap().replace('\\', "/"), fields, armor, is_keystore, parts }
    }

    pub(crate) fn field(&self, key: &str) -> &str {
        self.fields[key][0].as_str()
    }

    pub(crate) fn all_of(&self, key: &str) -> impl Iterator<Item = &str> {
        self.fields.get(key).into_iter().flatten().map(String::as_str)
    }

    /// What the reader demands and supplies.
    pub(crate) fn context(&self) -> EncryptionContext {
        let entries = self.all_of("context").chain(self.all_of("withheld-value"));
        entries.map(entry).fold(EncryptionContext::new(), |context, (name, value)| context.with(name, value))
    }

    pub(crate) fn record_context(&self) -> EncryptionContext {
        let entries = self.all_of("record-context").map(entry);
        entries.fold(EncryptionContext::new(), |context, (name, value)| context.with(name, value))
    }

    /// An opener with the keys of this vector, and their provider.
    pub(crate) fn opener(&self) -> (Envelope, Arc<VectorKeys>) {
        let mut keys = VectorKeys::default();
        for line in self.all_of("kek") {
            let mut parts = line.split(' ');
            let (uri, version, key) =
                (parts.next().unwrap(), parts.next().unwrap(), unhex(parts.next().unwrap()));
            keys.add(uri, if version == "-" { "" } else { version }, key.as_slice().try_into().unwrap());
        }
        keys.passphrase = self.all_of("passphrase").next().map(Into::into);
        let keys = Arc::new(keys);
        (Envelope::new(keys.keyring()), keys)
    }

    /// Whether `plaintext` is the one of this vector.
    pub(crate) fn is_plaintext(&self, plaintext: &[u8]) -> bool {
        match self.field("payload").split_once(' ').unwrap() {
            ("hex", expected) => unhex(expected) == plaintext,
            ("sha256", expected) => unhex(expected) == sha256(plaintext),
            (form, _) => panic!("payload form {form}"),
        }
    }
}

/// Keys in memory: local ones by URI and version, and a passphrase.
#[derive(Default)]
pub(crate) struct VectorKeys {
    keks: BTreeMap<(String, String), XaesKeyBox>,
    pub(crate) passphrase: Option<String>,
    /// The key URIs of all calls.
    pub(crate) calls: Mutex<Vec<String>>,
    /// Every DEK that was given to wrap.
    pub(crate) wrapped: Mutex<Vec<[u8; 32]>>,
    /// Wraps another DEK than the one given: a broken backend.
    pub(crate) wraps_another: bool,
}

type XaesKeyBox = Box<XaesKey<DefaultEngine>>;

impl VectorKeys {
    pub(crate) fn add(&mut self, uri: &str, version: &str, key: &[u8; 32]) {
        let kek = Box::new(XaesKey::new(&Key256::copy_from(key)));
        self.keks.insert((uri.into(), version.into()), kek);
    }

    /// All keys, each for both; a passphrase opens only.
    pub(crate) fn keyring(self: &Arc<Self>) -> Keyring {
        let uris: BTreeSet<&String> = self.keks.keys().map(|(uri, _)| uri).collect();
        let mut keyring = Keyring::new();
        for uri in uris {
            keyring = keyring.both(Arc::clone(self) as Arc<dyn KeyProvider>, KeyUri::parse(uri).unwrap());
        }
        if self.passphrase.is_some() {
            keyring = keyring.decrypt(Arc::clone(self) as Arc<dyn KeyProvider>, KeyUri::passphrase());
        }
        keyring
    }

    fn unwrap_local(&self, wrapped: &WrappedDek, binding: &[u8]) -> Result<Dek, ProviderError> {
        let error = |kind| ProviderError::new(kind, "vector", wrapped.key_uri(), "refused");
        if wrapped.wrap_algorithm() != "XAES-256-GCM" || wrapped.key_uri().scheme() != "local" {
            return Err(error(ProviderErrorKind::Unsupported));
        }
        let name = (wrapped.key_uri().as_str().to_owned(), wrapped.key_version().to_owned());
        let kek = self.keks.get(&name).ok_or_else(|| error(ProviderErrorKind::NotFound))?;
        let opened = kek.open(wrapped.ciphertext(), binding);
        let dek = opened.map_err(|_| error(ProviderErrorKind::Unauthentic))?;
        Dek::from_slice(&dek).map_err(|_| error(ProviderErrorKind::Unauthentic))
    }

    fn unwrap_passphrase(
        &self,
        passphrase: &str,
        wrapped: &WrappedDek,
        binding: &[u8],
    ) -> Result<Dek, ProviderError> {
        let error = |kind| ProviderError::new(kind, "vector", wrapped.key_uri(), "refused");
        let unauthentic = || error(ProviderErrorKind::Unauthentic);
        if wrapped.wrap_algorithm() != "ARGON2ID-COBBLESTONE-256" || !wrapped.key_version().is_empty() {
            return Err(error(ProviderErrorKind::Unsupported));
        }
        let blob: &[u8; 129] = wrapped.ciphertext().try_into().map_err(|_| unauthentic())?;
        let m = u32::from_be_bytes(blob[..4].try_into().unwrap());
        let t = u32::from_be_bytes(blob[4..8].try_into().unwrap());
        let p = u32::from(blob[8]);
        if !((19456..=1_048_576).contains(&m) && (1..=16).contains(&t) && (1..=16).contains(&p)) {
            return Err(error(ProviderErrorKind::Unsupported));
        }
        if m > 262_144 || m * t > 786_432 {
            return Err(error(ProviderErrorKind::Unsupported));
        }
        let parameters = Params::new(m, t, p, Some(32)).unwrap();
        let mut key = [0; 32];
        Argon2::new(Algorithm::Argon2id, Version::V0x13, parameters)
            .hash_password_into(passphrase.as_bytes(), &blob[9..25], &mut key)
            .unwrap();
        let opened = cobblestone::open::<DefaultEngine>(&Key256::copy_from(&key), binding, &blob[25..]);
        Dek::from_slice(&opened.map_err(|_| unauthentic())?).map_err(|_| unauthentic())
    }
}

#[async_trait::async_trait]
impl KeyProvider for VectorKeys {
    fn name(&self) -> &'static str {
        "vector"
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
        self.calls.lock().unwrap().push(format!("wrap {key}"));
        self.wrapped.lock().unwrap().push(*dek.expose());
        // The last version is the current one.
        let ((_, version), kek) = self.keks.iter().rfind(|((uri, _), _)| uri == key.as_str()).unwrap();
        let other = [7; 32];
        let dek = if self.wraps_another { &other } else { dek.expose() };
        let sealed = kek.seal(dek, &wrap_binding(key, version, context)?).unwrap();
        WrappedDek::new(key.clone(), version, "XAES-256-GCM", sealed)
    }

    async fn unwrap_dek(&self, wrapped: &WrappedDek, context: &FullContext) -> Result<Dek, ProviderError> {
        self.calls.lock().unwrap().push(format!("unwrap {}", wrapped.key_uri()));
        let binding = wrap_binding(wrapped.key_uri(), wrapped.key_version(), context)?;
        match &self.passphrase {
            Some(passphrase) if wrapped.key_uri() == &KeyUri::passphrase() => {
                self.unwrap_passphrase(passphrase, wrapped, &binding)
            }
            _ => self.unwrap_local(wrapped, &binding),
        }
    }
}

/// The class of an error, as the vectors name it.
pub(crate) fn class(error: &DecryptError) -> &'static str {
    match error {
        DecryptError::Format(_) | DecryptError::WrongKind { .. } => "format failure",
        DecryptError::NoConfiguredKey { .. } => "no configured key",
        DecryptError::NotAuthentic => "not authentic",
        // Of several, the first that says more than that something does not fit.
        DecryptError::Keys { attempts } => {
            let mut kinds = attempts.iter().map(ProviderError::kind);
            match kinds.find(|kind| *kind != ProviderErrorKind::Unauthentic).unwrap() {
                ProviderErrorKind::NotFound => "no configured key",
                ProviderErrorKind::Unsupported => "unsupported wrap",
                kind => panic!("no class for {kind:?}"),
            }
        }
        other => panic!("no class for {other:?}"),
    }
}

pub(crate) fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors")
}

pub(crate) fn unhex(text: &str) -> Vec<u8> {
    let digit = |byte: u8| u8::try_from(char::from(byte).to_digit(16).expect("hexadecimal")).unwrap();
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    assert!(rest.is_empty(), "an odd number of digits");
    pairs.iter().map(|[high, low]| digit(*high) << 4 | digit(*low)).collect()
}

fn decode_parts(body: &str) -> Vec<Vec<u8>> {
    let body = body.strip_suffix('\n').expect("a line end");
    body.split("\n\n").map(decode_part).collect()
}

fn decode_part(part: &str) -> Vec<u8> {
    match part {
        "-" => Vec::new(),
        text => Base64::decode_vec(&text.replace('\n', "")).unwrap(),
    }
}

fn entry(line: &str) -> (String, String) {
    let (name, value) = line.split_once('=').expect("NAME=VALUE");
    (percent_decode(name), percent_decode(value))
}

fn percent_decode(text: &str) -> String {
    let mut decoded = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        if *first == b'%' {
            let (digits, after) = after.split_at(2);
            decoded.extend(unhex(str::from_utf8(digits).unwrap()));
            rest = after;
        } else {
            decoded.push(*first);
            rest = after;
        }
    }
    String::from_utf8(decoded).unwrap()
}

#[cfg(feature = "aws-lc")]
fn sha256(data: &[u8]) -> Vec<u8> {
    aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, data).as_ref().to_vec()
}

#[cfg(not(feature = "aws-lc"))]
fn sha256(data: &[u8]) -> Vec<u8> {
    use sha2::Digest as _;
    sha2::Sha256::digest(data).to_vec()
}

const KEYS: [&str; 25] = [
    "expect",
    "comment",
    "spec",
    "first",
    "second-part",
    "append-zeros",
    "service",
    "request",
    "answer",
    "random",
    "write-recipient",
    "write-padding",
    "write-stored",
    "write-withheld",
    "kind",
    "armor",
    "kek",
    "passphrase",
    "context",
    "withheld-value",
    "record-context",
    "payload",
    "key",
    "version",
    "append-spaces",
];
