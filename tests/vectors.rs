//! Every vector of `vectors` comes to its class, in memory and as a
//! stream; the worked example of the specification is one of them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod vector_support;

use std::{collections::BTreeMap, fs, io::Read, sync::Arc};

use envelope_local::{Passphrase, PassphraseProvider};
use envelope_sdk::{
    DecryptError, Envelope, FormatError, KeyUri, Keyring, Kind, RewrapError,
    crypto::{DefaultEngine, Engine, Key256, cobblestone, xaes::XaesKey},
    format::armor::{self, ArmorReader},
    stream::{self, StreamError},
    wrap_binding,
};
use futures_executor::block_on;
use vector_support::{Vector, class, unhex};

#[test]
fn every_vector_comes_to_its_class() {
    let vectors = Vector::all();
    let mut wrong = Vec::new();
    for vector in &vectors {
        let opened = block_on(open(vector));
        check(vector, "in memory", opened, &mut wrong);
    }
    assert!(vectors.len() >= 150, "only {} vectors", vectors.len());
    assert!(wrong.is_empty(), "{} of {} vectors:\n{}", wrong.len(), vectors.len(), wrong.join("\n"));
}

#[test]
fn every_vector_comes_to_its_class_as_a_stream() {
    let mut wrong = Vec::new();
    let vectors = Vector::all();
    for vector in vectors.iter().filter(|vector| vector.field("kind") != "record") {
        let opened = open_stream(vector);
        check(vector, "as a stream", opened, &mut wrong);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Where several clauses refuse, the page says which one comes first.
#[test]
fn every_malformed_vector_is_refused_by_the_clause_that_comes_first() {
    let mut wrong = Vec::new();
    let malformed = |vector: &&Vector| vector.field("expect") == "format failure";
    for vector in Vector::all().iter().filter(malformed) {
        let error = block_on(open(vector)).unwrap_err();
        if !clauses(&error).contains(&vector.field("first")) {
            wrong.push(format!("{}: {} first, not {error:?}", vector.name, vector.field("first")));
        }
    }
    assert!(wrong.is_empty(), "{} vectors:\n{}", wrong.len(), wrong.join("\n"));
}

/// Wraps are random here; `src/schedule/tests.rs` compares each byte.
#[test]
fn every_rewrap_comes_to_its_class_and_keeps_what_it_must() {
    let mut count = 0;
    for vector in Vector::with_keystores().iter().filter(|vector| vector.field("kind") == "rewrap") {
        let (envelope, _) = vector.opener();
        let got = match block_on(envelope.rewrap(&vector.parts[0], &vector.context())) {
            Ok(new) => {
                let (new, wanted) =
                    (Envelope::inspect(&new).unwrap(), Envelope::inspect(&vector.parts[1]).unwrap());
                assert_eq!(new.kind(), wanted.kind(), "{}", vector.name);
                assert_eq!(new.envelope_id(), wanted.envelope_id(), "{}", vector.name);
                assert_eq!(new.generation(), wanted.generation(), "{}", vector.name);
                assert_eq!(new.stored_context(), wanted.stored_context(), "{}", vector.name);
                assert_eq!(new.withheld(), wanted.withheld(), "{}", vector.name);
                "success"
            }
            Err(RewrapError::GenerationsExhausted) => "cannot be rewrapped",
            Err(RewrapError::Decrypt(error)) => class(&error),
            Err(other) => panic!("{}: {other}", vector.name),
        };
        assert_eq!(got, vector.field("expect"), "{}", vector.name);
        count += 1;
    }
    assert!(count >= 12, "only {count} rewraps");
}

#[test]
fn every_class_of_error_and_every_directory_has_vectors() {
    let mut by_class: BTreeMap<String, usize> = BTreeMap::new();
    for vector in Vector::all() {
        *by_class.entry(vector.field("expect").into()).or_default() += 1;
        *by_class.entry(vector.name.split('/').next().unwrap().into()).or_default() += 1;
    }
    for class in [
        "success",
        "format failure",
        "no configured key",
        "unsupported wrap",
        "not authentic",
        "header",
        "mac",
        "context",
        "recipients",
        "wrap",
        "passphrase",
        "commitment",
        "payload",
        "records",
        "armor",
    ] {
        assert!(by_class.get(class).is_some_and(|count| *count >= 5), "few vectors of {class}: {by_class:?}");
    }
}

#[test]
fn a_header_that_was_read_is_written_with_the_same_bytes() {
    for vector in Vector::all().iter().filter(|vector| vector.field("expect") == "success") {
        let bytes = binary(vector).unwrap();
        let header = Envelope::inspect(&bytes[0]).unwrap();
        assert_eq!(header.to_bytes(), bytes[0][..header.len()], "{}", vector.name);
    }
}

#[test]
fn a_text_form_that_was_read_is_written_with_the_same_characters() {
    let armored = |vector: &&Vector| vector.armor && vector.field("expect") == "success";
    for vector in Vector::all().iter().filter(armored) {
        let text = str::from_utf8(&vector.parts[0]).unwrap();
        assert_eq!(armor::encode(&armor::decode(text).unwrap()), text.replace('\r', ""), "{}", vector.name);
    }
}

/// Each value of the page is computed here from the vector's KEK and bytes,
/// with the public engine and not with the code that opens envelopes.
#[test]
fn the_worked_example_of_the_page_is_what_the_code_computes() {
    let page = example_of_the_page();
    let value = |name: &str| page.get(name).unwrap_or_else(|| panic!("the page lacks {name}")).clone();
    let vector = Vector::named("success/worked-example");
    let bytes = &vector.parts[0];
    assert_eq!(value("envelope"), *bytes);

    let header = Envelope::inspect(bytes).unwrap();
    let body_end = header.len() - 32;
    assert_eq!(value("preamble"), bytes[..16]);
    assert_eq!(value("body"), bytes[16..body_end]);
    assert_eq!(value("header_mac"), bytes[body_end..header.len()]);
    assert_eq!(value("envelope_id"), header.envelope_id());

    let full = vector.context().full().unwrap();
    assert_eq!(value("full_context"), full.as_bytes());
    let recipient = &header.recipients()[0];
    let wrap = wrap_binding(recipient.key_uri(), recipient.key_version(), &full).unwrap();
    assert_eq!(value("wrap_binding"), wrap);
    assert_eq!(value("wrapped_dek"), recipient.ciphertext());
    let kek = XaesKey::<DefaultEngine>::new(&key(&value("KEK")));
    let dek = kek.open(recipient.ciphertext(), &wrap).unwrap();
    assert_eq!(value("DEK"), dek);

    let mut keys = [0; 64];
    let info: [&[u8]; 3] = [b"envelope-v1 keys\0", &[0, 1, 1], header.envelope_id()];
    DefaultEngine::hkdf_expand_sha256(dek.as_slice().try_into().unwrap(), &info, &mut keys);
    assert_eq!(value("header_key"), keys[..32]);
    assert_eq!(value("content_key"), keys[32..]);
    let mac = DefaultEngine::hmac_sha256(keys[..32].try_into().unwrap(), &[&bytes[..body_end]]);
    assert_eq!(value("header_mac"), mac);

    let mut binding = b"envelope-v1\0\0\x01\x01".to_vec();
    binding.extend(header.envelope_id());
    binding.extend(full.as_bytes());
    assert_eq!(value("binding"), binding);
    let payload = &bytes[header.len()..];
    assert_eq!(value("salt"), payload[..24]);
    assert_eq!(value("commitment"), payload[24..56]);
    assert_eq!(value("chunk 0"), payload[56..]);
    let mut okm = [0; 76];
    let label = b"c2sp.org/chunked-encryption@v1+AEAD_AES_256_GCM\0";
    let info: [&[u8]; 3] = [label, &payload[..24], &binding];
    DefaultEngine::hkdf_expand_sha512(keys[32..].try_into().unwrap(), &info, &mut okm);
    assert_eq!(value("payload key"), okm[..32]);
    assert_eq!(value("base_nonce"), okm[32..44]);
    assert_eq!(value("commitment"), okm[44..]);
    let opened = cobblestone::open::<DefaultEngine>(&key(&keys[32..]), &binding, payload).unwrap();
    assert_eq!(value("plaintext"), opened);

    let uri = recipient.key_uri();
    assert_eq!(uri, &KeyUri::parse(vector.field("kek").split(' ').next().unwrap()).unwrap());
    assert!(page_text().contains(&format!("`{uri}` in version `{}`", recipient.key_version())));
}

/// The provider in `vector_support` is the specification once more; this is the
/// one that applications use.
#[test]
fn every_passphrase_vector_comes_to_its_class_with_the_passphrase_provider() {
    let mut wrong = Vec::new();
    let mut count = 0;
    for vector in Vector::all() {
        let Some(passphrase) = vector.all_of("passphrase").next() else { continue };
        let provider = PassphraseProvider::new(Passphrase::new(passphrase.into()).unwrap());
        let keyring = Keyring::new().decrypt(Arc::new(provider), KeyUri::passphrase());
        let opened = block_on(open_with(&Envelope::new(keyring), &vector));
        check(&vector, "with the passphrase provider", opened, &mut wrong);
        count += 1;
    }
    assert!(count >= 40, "only {count} vectors");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

async fn open(vector: &Vector) -> Result<Vec<u8>, DecryptError> {
    let (envelope, _) = vector.opener();
    open_with(&envelope, vector).await
}

async fn open_with(envelope: &Envelope, vector: &Vector) -> Result<Vec<u8>, DecryptError> {
    let parts = binary(vector)?;
    let context = vector.context();
    match vector.field("kind") {
        "envelope" => envelope.decrypt(&parts[0], &context).await,
        "detached" => envelope.decrypt_detached(&parts[0], &parts[1], &context).await,
        "record" => {
            let data_key = envelope.open_data_key(&parts[0], &context).await?;
            data_key.open(&parts[1], &vector.record_context())
        }
        kind => panic!("kind {kind}"),
    }
}

fn open_stream(vector: &Vector) -> Result<Vec<u8>, DecryptError> {
    let (envelope, _) = vector.opener();
    let mut plaintext = Vec::new();
    let result = match (vector.field("kind"), vector.armor) {
        ("envelope", true) => {
            let mut reader = ArmorReader::new(vector.parts[0].as_slice());
            open_from(&envelope, vector, &mut reader, &mut plaintext)
        }
        ("envelope", false) => open_from(&envelope, vector, &mut vector.parts[0].as_slice(), &mut plaintext),
        ("detached", _) => (|| {
            let header = match vector.armor {
                true => stream::read_header(&mut ArmorReader::new(vector.parts[0].as_slice()))?,
                false => stream::read_header(&mut vector.parts[0].as_slice())?,
            };
            if header.kind() != Kind::Detached {
                return Err(FormatError::NotAnEnvelope.into());
            }
            let opened = block_on(envelope.unlock(header, &vector.context()))?;
            stream::open(&opened, &mut vector.parts[1].as_slice(), &mut plaintext)
        })(),
        (kind, _) => panic!("kind {kind}"),
    };
    match result {
        Ok(written) => {
            assert_eq!(written, plaintext.len() as u64, "{}", vector.name);
            Ok(plaintext)
        }
        Err(StreamError::Decrypt(error)) => Err(error),
        // What the armor refuses arrives as an error of reading.
        Err(StreamError::Read(error)) => {
            let inner = error.into_inner().expect("an error of armor");
            Err(DecryptError::Format(*inner.downcast::<FormatError>().expect("an error of armor")))
        }
        Err(other) => panic!("{}: {other}", vector.name),
    }
}

fn open_from(
    envelope: &Envelope,
    vector: &Vector,
    reader: &mut impl Read,
    plaintext: &mut Vec<u8>,
) -> Result<u64, StreamError> {
    let header = stream::read_header(reader)?;
    if header.kind() != Kind::Attached {
        return Err(FormatError::NotAnEnvelope.into());
    }
    let opened = block_on(envelope.unlock(header, &vector.context()))?;
    stream::open(&opened, reader, plaintext)
}

fn binary(vector: &Vector) -> Result<Vec<Vec<u8>>, FormatError> {
    if !vector.armor {
        return Ok(vector.parts.clone());
    }
    let mut parts = vector.parts.clone();
    parts[0] = Vec::new();
    match ArmorReader::new(vector.parts[0].as_slice()).read_to_end(&mut parts[0]) {
        Ok(_) => Ok(parts),
        Err(error) => Err(*error.into_inner().unwrap().downcast::<FormatError>().unwrap()),
    }
}

fn check(vector: &Vector, how: &str, opened: Result<Vec<u8>, DecryptError>, wrong: &mut Vec<String>) {
    let expected = vector.field("expect");
    let got = match &opened {
        Ok(_) => "success",
        Err(error) => class(error),
    };
    if got != expected {
        wrong.push(format!("{} {how}: expected {expected}, got {got} ({:?})", vector.name, opened.err()));
    } else if let Ok(plaintext) = opened
        && !vector.is_plaintext(&plaintext)
    {
        wrong.push(format!("{} {how}: another plaintext", vector.name));
    }
}

/// The clauses that a malformed header or text breaks, as far as the error tells them apart.
fn clauses(error: &DecryptError) -> &'static [&'static str] {
    let format = match error {
        DecryptError::WrongKind { .. } => return &["H-13"],
        DecryptError::Format(format) => format,
        other => panic!("{other:?}"),
    };
    match format {
        FormatError::NotAnEnvelope => &["H-1"],
        FormatError::UnknownVersion(_) => &["H-2"],
        FormatError::UnknownSuite(_) => &["H-3"],
        FormatError::UnknownFlags(_) => &["H-4"],
        FormatError::Truncated { what: "preamble" | "header" | "header MAC" } => &["H-6"],
        FormatError::Truncated { .. } => &["H-7"],
        FormatError::TooLarge { what: "header body", .. } => &["H-5"],
        FormatError::TooLarge { what: "context", limit: 64 } => &["C-1"],
        FormatError::TooLarge { what: "context", .. } => &["C-5"],
        FormatError::TooLarge { what: "key version", .. } => &["R-2"],
        FormatError::TooLarge { what: "wrapped DEK", .. } => &["R-4"],
        FormatError::NotCanonical { what: "context" } => &["C-2", "C-3"],
        FormatError::NotCanonical { what: "withheld names" } => &["C-3", "C-6"],
        FormatError::NotUtf8 { what: "key version" } => &["R-2"],
        FormatError::NotUtf8 { what: "key URI" } => &["U-1"],
        FormatError::NotUtf8 { .. } => &["C-4"],
        FormatError::RecipientCount(_) => &["H-9"],
        FormatError::RepeatedRecipient => &["R-5", "R-6"],
        FormatError::UnknownThreshold(_) => &["H-8"],
        FormatError::NonZeroPadding => &["H-10"],
        FormatError::Recipient { what: "key URI" } => {
            &["U-1", "U-2", "U-3", "U-4", "U-5", "U-6", "U-7", "U-8", "U-9", "U-10"]
        }
        FormatError::Recipient { what: "wrap algorithm" } => &["R-3"],
        FormatError::Recipient { what: "wrapped DEK" } => &["R-4"],
        FormatError::TrailingData { .. } => &["H-11"],
        FormatError::Armor(_) => &["T-1", "T-2", "T-3", "T-4"],
        other => panic!("{other:?}"),
    }
}

fn key(bytes: &[u8]) -> Key256 {
    Key256::copy_from(bytes.try_into().unwrap())
}

fn page_text() -> String {
    fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/spec/envelope-v1.md")).unwrap()
}

/// The values of the worked example by name; their stated lengths are checked.
fn example_of_the_page() -> BTreeMap<String, Vec<u8>> {
    let page = page_text();
    let (_, rest) = page.split_once("\n## Worked example\n").unwrap();
    let (_, rest) = rest.split_once("```text\n").unwrap();
    let (block, _) = rest.split_once("\n```").unwrap();
    let mut values: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    let mut lengths = BTreeMap::new();
    let mut name = String::new();
    for line in block.lines() {
        if let Some(digits) = line.strip_prefix("  ") {
            values.entry(name.clone()).or_default().extend(unhex(digits));
        } else {
            let (before, length) = line.strip_suffix(')').unwrap().rsplit_once(" (").unwrap();
            name = before.into();
            lengths.insert(name.clone(), length.parse::<usize>().unwrap());
        }
    }
    assert_eq!(
        values.iter().map(|(name, value)| (name.clone(), value.len())).collect::<BTreeMap<_, _>>(),
        lengths
    );
    values
}
