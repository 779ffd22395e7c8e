//! Writes `seeds/`, and with `--fixtures` first `fixtures/`, anew.
//!
//! ```text
//! cargo +nightly run --example make_seeds                  # seeds/ from the fixtures
//! cargo +nightly run --example make_seeds -- --fixtures    # fixtures/; then run it again for seeds/
//! cargo +nightly run --example make_seeds -- --vectors     # corpus/ from ../vectors
//! cargo +nightly run --example make_seeds -- --large DIR   # DIR/header and DIR/armor, up to 512 KiB
//! ```
//!
//! Fixtures, and seeds of `header`, hold fresh random bytes each time. Seeds of targets that take
//! structured input (`context`, `record`, `passphrase_blob`,
//! `structured_header`) are minimised corpora and not made here.

use std::{error::Error, fs, path::Path, sync::Arc};

use envelope_fuzz::{
    fixtures::{
        CARELESS, DATA_KEY, ENVELOPES, KEYSTORES, Kek, PLAINTEXT_LENS, careless, context, envelope, key_uri,
        passphrase, passphrase_provider, plaintext, record_context,
    },
    now,
};
use envelope_local::{Argon2Params, Keystore};
use envelope_sdk::{
    Dek, EncryptionContext, Envelope, FullContext, Header, KeyAdmin, KeyProvider, KeyUri, Keyring, NewKey,
    ProviderError, ProviderErrorKind, WrappedDek,
    crypto::{
        DefaultEngine,
        cobblestone::{PREFIX_LEN, SEALED_CHUNK_LEN},
    },
    format::armor::{BEGIN, END, decode, encode},
};

type Outcome = Result<(), Box<dyn Error>>;

fn main() -> Outcome {
    std::env::set_current_dir(env!("CARGO_MANIFEST_DIR"))?;
    match std::env::args().nth(1).as_deref() {
        None => {
            header_seeds()?;
            armor_seeds()?;
            key_uri_seeds()?;
            fixture_seeds()
        }
        Some("--fixtures") => fixtures(),
        Some("--vectors") => vectors(Path::new("../vectors")),
        Some("--large") => large(Path::new(&std::env::args().nth(2).ok_or("--large needs a folder")?)),
        Some(other) => Err(format!("unknown argument {other}").into()),
    }
}

fn fixtures() -> Outcome {
    fs::create_dir_all("fixtures")?;
    let data_key = now(envelope().create_data_key(&context()))?;
    fs::write("fixtures/data-key", data_key.header().to_bytes())?;
    let provider = passphrase_provider();
    for (letter, record) in [("a", &b"jane@example.org"[..]), ("b", b"")] {
        for len in PLAINTEXT_LENS {
            let sealed = now(envelope().encrypt(&plaintext(len), &context()))?;
            fs::write(format!("fixtures/envelope-{len}-{letter}"), sealed)?;
        }
        let sealed = now(careless().encrypt(&plaintext(100), &context()))?;
        fs::write(format!("fixtures/careless-100-{letter}"), sealed)?;
        fs::write(format!("fixtures/record-{letter}"), data_key.seal(record, &record_context())?)?;
        let dek = Dek::generate::<DefaultEngine>()?;
        let wrapped = now(provider.wrap_dek(&KeyUri::passphrase(), &dek, &context().full()?))?;
        fs::write(format!("fixtures/passphrase-blob-{letter}"), wrapped.ciphertext())?;
    }
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("keystore.json");
    let keystore = Keystore::create_with(&path, &passphrase(), Argon2Params::MINIMUM)?;
    now(keystore.create_key(&NewKey::named("main")))?;
    now(keystore.create_key(&NewKey::named("backup").pre_active()))?;
    fs::copy(&path, "fixtures/keystore-old.json")?;
    now(keystore.rotate_key(&KeyUri::parse("local:main")?))?;
    fs::copy(&path, "fixtures/keystore.json")?;
    Ok(())
}

fn header_seeds() -> Outcome {
    let kek: Arc<dyn KeyProvider> = Arc::new(Kek::new());
    let ring = |uris: &[KeyUri]| {
        Envelope::new(
            uris.iter().cloned().fold(Keyring::new(), |ring, uri| ring.encrypt(Arc::clone(&kek), uri)),
        )
    };
    let numbered = |count: u8| ring(&(0..count).map(key_uri).collect::<Vec<_>>());
    let empty = EncryptionContext::new();
    let many = (0..64).fold(EncryptionContext::new(), |context, number| match number % 2 {
        0 => context.with(format!("name-{number}"), "value"),
        _ => context.withhold(format!("name-{number}"), "value"),
    });
    let resolved: Vec<_> =
        URIS.iter().filter_map(|uri| KeyUri::parse(uri).ok()).filter(KeyUri::is_resolved).collect();
    let mut distinct = resolved.clone();
    distinct.sort();
    distinct.dedup();
    let seeds = [
        ("recipients-1", now(numbered(1).encrypt(b"", &empty))?),
        ("recipients-2-context", now(numbered(2).encrypt(b"", &context()))?),
        ("recipients-16", now(numbered(16).encrypt(b"", &empty))?),
        ("entries-64", now(numbered(1).encrypt(b"", &many))?),
        ("schemes", now(ring(&distinct).encrypt(b"", &empty))?),
        ("padded", now(numbered(1).pad_headers_to(256).encrypt(b"", &empty))?),
        ("detached", now(numbered(1).encrypt_detached(b"", &context()))?.0),
        ("data-key", now(numbered(2).create_data_key(&context()))?.header().to_bytes()),
    ];
    for (name, seed) in seeds {
        write("header", name, &seed)?;
    }
    Ok(())
}

fn armor_seeds() -> Outcome {
    for len in [0, 1, 2, 47, 48, 49, 100] {
        let text = encode(&plaintext(len));
        write("armor", &format!("bytes-{len}"), text.as_bytes())?;
    }
    write("armor", "carriage-returns", encode(&plaintext(60)).replace('\n', "\r\n").as_bytes())?;
    write("armor", "binary", &plaintext(200))
}

fn key_uri_seeds() -> Outcome {
    for (number, uri) in URIS.into_iter().chain(REFUSED).enumerate() {
        write("key_uri", &format!("{number:02}"), uri.as_bytes())?;
    }
    Ok(())
}

fn fixture_seeds() -> Outcome {
    let with_mode = |mode: u8, bytes: &[u8]| [&[mode], bytes].concat();
    write("decrypt", "raw-0", &with_mode(0, ENVELOPES[0][0]))?;
    write("decrypt", "raw-100", &with_mode(0, ENVELOPES[1][0]))?;
    write("decrypt", "raw-careless", &with_mode(2, CARELESS[0]))?;
    write("decrypt", "raw-data-key", &with_mode(0, DATA_KEY))?;
    for mode in (1..64).step_by(2) {
        write("decrypt", &format!("changed-{mode:02}"), &[mode, 0])?;
    }
    for (index, [envelope, _]) in (0u8..).zip(ENVELOPES) {
        let (_, header_len) = Header::parse(envelope)?;
        let chunks = header_len + PREFIX_LEN;
        for (number, end) in (chunks..=envelope.len()).step_by(SEALED_CHUNK_LEN).enumerate() {
            let seed =
                [&[1 | index << 3, 1][..], &TRUNCATE, &u32::try_from(end)?.to_le_bytes(), &[0]].concat();
            write("decrypt", &format!("cut-{index}-{number}"), &seed)?;
        }
    }
    write("keystore", "raw-new", &with_mode(0, KEYSTORES[1]))?;
    write("keystore", "raw-old", &with_mode(0, KEYSTORES[0]))?;
    for mode in [1, 2, 5, 6] {
        write("keystore", &format!("changed-{mode}"), &[mode, 0])?;
    }
    Ok(())
}

/// The longest header, and armor of about 512 KiB, for runs with a limit on
/// memory. Too large to commit.
fn large(folder: &Path) -> Outcome {
    for target in ["header", "armor", "context", "key_uri"] {
        fs::create_dir_all(folder.join(target))?;
    }
    let (kek, empty): (Arc<dyn KeyProvider>, _) = (Arc::new(Kek::new()), EncryptionContext::new());
    let ring = Keyring::new().encrypt(kek, key_uri(0));
    let sealed = now(Envelope::new(ring).pad_headers_to(64 * 1024).encrypt(&[0; 400_000], &empty))?;
    fs::write(folder.join("header/longest"), &sealed)?;
    let ring = (0..16).fold(Keyring::new(), |ring, key| ring.encrypt(Arc::new(Wide), key_uri(key)));
    let wide = now(Envelope::new(ring).start(envelope_sdk::PayloadKind::Attached, &empty));
    fs::write(folder.join("header/widest"), wide?.header)?;
    fs::write(folder.join("armor/long"), encode(&sealed[..384_000]))?;
    fs::write(folder.join("armor/long-carriage-returns"), encode(&sealed[..370_000]).replace('\n', "\r\n"))?;
    fs::write(folder.join("armor/binary"), &sealed)?;
    fs::write(folder.join("context/long"), vec![b'a'; 200_000])?;
    Ok(fs::write(folder.join("key_uri/long"), vec![b'%'; 200_000])?)
}

/// Wraps a DEK into as many bytes as a header takes for 16 of them.
struct Wide;

#[async_trait::async_trait]
impl KeyProvider for Wide {
    fn name(&self) -> &'static str {
        "wide"
    }

    async fn wrap_dek(&self, key: &KeyUri, _: &Dek, _: &FullContext) -> Result<WrappedDek, ProviderError> {
        WrappedDek::new(key.clone(), "1", "NONE", vec![1; 4050])
    }

    async fn unwrap_dek(&self, wrapped: &WrappedDek, _: &FullContext) -> Result<Dek, ProviderError> {
        let kind = ProviderErrorKind::Unsupported;
        Err(ProviderError::new(kind, self.name(), wrapped.key_uri(), "wraps alone"))
    }
}

fn write(target: &str, name: &str, bytes: &[u8]) -> Outcome {
    fs::create_dir_all(format!("seeds/{target}"))?;
    Ok(fs::write(format!("seeds/{target}/{name}"), bytes)?)
}

/// Headers, armor and key URIs of the test vectors. They are in the repository
/// already, so they go to the corpora, which are not.
fn vectors(folder: &Path) -> Outcome {
    for target in ["header", "armor", "key_uri", "keystore"] {
        fs::create_dir_all(format!("corpus/{target}"))?;
    }
    for class in fs::read_dir(folder)? {
        let class = class?;
        if !class.file_type()?.is_dir() {
            continue;
        }
        for vector in fs::read_dir(class.path())? {
            let path = vector?.path();
            if path.extension().is_some_and(|extension| extension == "vec") {
                let class = class.file_name();
                let stem = path.file_stem().unwrap_or_default();
                let name = format!("{}-{}", class.to_string_lossy(), stem.to_string_lossy());
                vector_seed(&fs::read(&path)?, &name)?;
            }
        }
    }
    Ok(())
}

fn vector_seed(vector: &[u8], name: &str) -> Outcome {
    let head_len = vector.windows(2).position(|two| two == b"\n\n").ok_or("a vector without a body")?;
    let (head, body) = (std::str::from_utf8(&vector[..head_len])?, &vector[head_len + 2..]);
    for line in head.lines() {
        if let Some(kek) = line.strip_prefix("kek: ") {
            let uri = kek.split(' ').next().unwrap_or_default();
            fs::write(format!("corpus/key_uri/vector-{name}"), uri)?;
        }
    }
    if head.lines().any(|line| line == "kind: keystore") {
        return Ok(fs::write(format!("corpus/keystore/vector-{name}"), body)?);
    }
    if head.lines().any(|line| line == "armor: yes") {
        return Ok(fs::write(format!("corpus/armor/vector-{name}"), body)?);
    }
    let body = std::str::from_utf8(body)?;
    let header: String = body.lines().take_while(|line| !line.is_empty()).collect();
    if header == "-" || header.len() > 8192 {
        return Ok(());
    }
    // The text form of a message is base64 in other lines.
    let mut text = format!("{BEGIN}\n");
    for line in header.as_bytes().chunks(64) {
        text.push_str(std::str::from_utf8(line)?);
        text.push('\n');
    }
    text.push_str(END);
    text.push('\n');
    Ok(fs::write(format!("corpus/header/vector-{name}"), decode(&text)?)?)
}

/// How `arbitrary` reads `Change::Truncate`, the fifth of ten.
const TRUNCATE: [u8; 4] = (u32::MAX / 10 * 4 + u32::MAX / 20).to_le_bytes();

const URIS: [&str; 18] = [
    "awskms:///arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab",
    "arn:aws:kms:eu-central-1:111122223333:alias/payments/backup",
    "aws-kms://arn:aws-cn:kms:cn-north-1:111122223333:key/mrk-1234abcd12ab34cd56ef1234567890ab",
    "gcpkms://projects/example.com:p/locations/europe-west3/keyRings/ring/cryptoKeys/key_1",
    "projects/p/locations/global/keyRings/r/cryptoKeys/k",
    "gcp-kms://projects/p/locations/l/keyRings/r/cryptoKeys/k",
    "azurekeyvault://vault-1.vault.azure.net/keys/Name-1",
    "azurekms://v.managedhsm.usgovcloudapi.net/keys/k",
    "https://v.vault.azure.cn/keys/k",
    "pkcs11:token=Software%20token;manufacturer=a;serial=1;model=m;object=key%2Fone;id=%01%FF",
    "pkcs11:id=ab;serial=%7e",
    "local://0123456789abcdef0123456789abcdef/main-key_1.a",
    "local:main",
    "passphrase:",
    "PASSPHRASE:",
    "kmip://server/key@1",
    "hashivault://teams/transit/Key-1.0",
    "OpenBao://k",
];

/// What an error must not repeat.
const REFUSED: [&str; 8] = [
    "passphrase:correct-horse-battery",
    "pkcs11:token=t;object=o;pin-value=123456789",
    "pkcs11:token=t;object=o?pin-source=file:/etc/pin",
    "vault://user:password-of-it@host/key",
    "https://v.vault.azure.net/keys/k/0123456789abcdef",
    "local:main#fragment",
    "http://v.vault.azure.net/keys/k",
    "1password:vault",
];
