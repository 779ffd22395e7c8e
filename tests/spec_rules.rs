//! Requirements of the specification that no vector shows, or none alone: what
//! a writer does, which providers are called, and rewrap.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod vector_support;

use std::{
    collections::BTreeSet,
    fs,
    io::{self, Read, Write},
    path::Path,
    sync::Arc,
};

use envelope_local::{Argon2Params, Passphrase, PassphraseProvider};
use envelope_sdk::{
    ContextError, DecryptError, Dek, EncryptError, EncryptionContext, Envelope, FormatError, KeyProvider,
    KeyUri, Keyring, Kind, ProviderErrorKind, RECORD_MAX_LEN, RECORD_OVERHEAD, RewrapError, WrappedDek,
    crypto::{
        DefaultEngine, Engine, Key256, TAG_LEN, Unauthentic,
        cobblestone::{self, CHUNK_LEN, MAX_CHUNKS, SEALED_CHUNK_LEN, Sealer},
        xaes::XaesKey,
    },
    format::{Preamble, armor::ArmorWriter},
    stream::{self, StreamError},
    wrap_binding,
};
use futures_executor::block_on;
use vector_support::{Vector, VectorKeys};

#[test]
fn body_len_is_refused_before_the_body_is_read() {
    let mut preamble = *b"\x89ENV\r\n\x1a\n\x01\x00\x01\x00\x00\x01\x00\x00";
    assert!(Preamble::parse(&preamble).is_ok(), "65536 is allowed");
    preamble[15] = 1;
    let too_large = |error| matches!(error, FormatError::TooLarge { limit: 65536, .. });
    assert!(too_large(Preamble::parse(&preamble).unwrap_err()));
    let mut reader = preamble.as_slice().chain(Unreadable);
    match stream::read_header(&mut reader) {
        Err(StreamError::Decrypt(DecryptError::Format(error))) => assert!(too_large(error)),
        other => panic!("{other:?}"),
    }
}

#[test]
fn no_provider_is_called_when_the_context_does_not_fit() {
    let (envelope, keys) = two_keys();
    let stored = EncryptionContext::new().with("tenant", "42").withhold("patient", "7");
    let sealed = block_on(envelope.encrypt(b"text", &stored)).unwrap();
    keys.calls.lock().unwrap().clear();
    for demanded in [
        EncryptionContext::new().with("tenant", "42"),
        EncryptionContext::new().with("tenant", "43").with("patient", "7"),
        EncryptionContext::new().with("patient", "7").with("purpose", "backup"),
        EncryptionContext::new().with("patient", "v".repeat(8192)),
    ] {
        let error = block_on(envelope.decrypt(&sealed, &demanded)).unwrap_err();
        assert!(matches!(error, DecryptError::NotAuthentic), "{demanded:?}");
    }
    assert_eq!(*keys.calls.lock().unwrap(), Vec::<String>::new());
}

#[test]
fn a_writer_refuses_a_context_over_the_limits() {
    let (envelope, keys) = two_keys();
    let refused = |context: &EncryptionContext| match block_on(envelope.encrypt(b"", context)) {
        Err(EncryptError::Context(error)) => error,
        other => panic!("{other:?}"),
    };
    let many = (0..65).fold(EncryptionContext::new(), |context, index| match index % 2 {
        0 => context.with(format!("k{index}"), ""),
        _ => context.withhold(format!("k{index}"), ""),
    });
    assert_eq!(refused(&many), ContextError::TooManyEntries);
    let long = EncryptionContext::new().with("k", "v".repeat(4000)).withhold("w", "v".repeat(4182));
    assert_eq!(refused(&long), ContextError::TooLong);
    assert_eq!(refused(&EncryptionContext::new().with("", "v")), ContextError::EmptyName);
    assert_eq!(*keys.calls.lock().unwrap(), Vec::<String>::new());
    let fits = EncryptionContext::new().with("k", "v".repeat(4000)).withhold("w", "v".repeat(4180));
    assert!(block_on(envelope.encrypt(b"", &fits)).is_ok(), "8192 bytes");
}

#[test]
fn a_wrap_is_bound_to_the_whole_version_of_its_key() {
    let (key, full) = (KeyUri::parse(URIS[0]).unwrap(), EncryptionContext::new().full().unwrap());
    let longest = "v".repeat(WrappedDek::MAX_VERSION_LEN);
    let binding = wrap_binding(&key, &longest, &full).unwrap();
    assert!(binding.windows(longest.len()).any(|part| part == longest.as_bytes()));
    // A length of two bytes would be that of the empty version.
    for len in [longest.len() + 1, 1 << 16] {
        let error = wrap_binding(&key, &"v".repeat(len), &full).unwrap_err();
        assert_eq!(error.kind(), ProviderErrorKind::Protocol);
        assert!(error.to_string().contains("longer than 512 bytes"), "{error}");
    }
}

#[test]
fn every_envelope_and_data_key_has_a_fresh_dek_and_id() {
    let (envelope, keys) = two_keys();
    let context = EncryptionContext::new();
    let mut ids = BTreeSet::new();
    for _ in 0..8 {
        let sealed = block_on(envelope.encrypt(b"text", &context)).unwrap();
        ids.insert(*Envelope::inspect(&sealed).unwrap().envelope_id());
        let data_key = block_on(envelope.create_data_key(&context)).unwrap();
        ids.insert(*data_key.header().envelope_id());
        // Kept, so that the next one differs from it.
        drop(sealed);
    }
    let again = block_on(envelope.encrypt(b"text", &context)).unwrap();
    block_on(envelope.reencrypt(&again, &context)).unwrap();
    let deks: Vec<[u8; 32]> = keys.wrapped.lock().unwrap().clone();
    assert_eq!(ids.len(), 16);
    // Each DEK is wrapped for both keys of its envelope and never again.
    let distinct: BTreeSet<_> = deks.iter().collect();
    assert_eq!((deks.len(), distinct.len()), (2 * 18, 18));
    assert!(distinct.iter().all(|dek| **dek != [0; 32]));
}

#[test]
fn nonces_and_salts_are_fresh() {
    let (envelope, _) = two_keys();
    let context = EncryptionContext::new();
    let data_key = block_on(envelope.create_data_key(&context)).unwrap();
    let key = || Key256::copy_from(&[1; 32]);
    let mut seen = BTreeSet::new();
    for _ in 0..8 {
        seen.insert(data_key.seal(b"text", &context).unwrap()[..24].to_vec());
        let (header, payload) = block_on(envelope.encrypt_detached(b"text", &context)).unwrap();
        seen.insert(payload[..24].to_vec());
        for recipient in Envelope::inspect(&header).unwrap().recipients() {
            seen.insert(recipient.ciphertext()[..24].to_vec());
        }
        seen.insert(XaesKey::<DefaultEngine>::new(&key()).seal(b"text", b"").unwrap()[..24].to_vec());
        seen.insert(cobblestone::seal::<DefaultEngine>(&key(), b"", b"text").unwrap()[..24].to_vec());
    }
    assert_eq!(seen.len(), 8 * 6);
}

#[test]
fn salts_of_passphrase_wraps_are_fresh() {
    let least = Argon2Params { m_cost: 19456, t_cost: 1, p_cost: 1 };
    let (mut argon2_salts, mut wrap_salts) = (BTreeSet::new(), BTreeSet::new());
    let full = EncryptionContext::new().full().unwrap();
    let dek = Dek::generate::<DefaultEngine>().unwrap();
    for _ in 0..2 {
        let passphrase = Passphrase::new("correct horse".into()).unwrap();
        let provider = PassphraseProvider::with_params(passphrase, least).unwrap();
        for _ in 0..2 {
            let wrapped = block_on(provider.wrap_dek(&KeyUri::passphrase(), &dek, &full)).unwrap();
            assert_eq!((wrapped.ciphertext().len(), wrapped.key_version()), (129, ""));
            argon2_salts.insert(wrapped.ciphertext()[9..25].to_vec());
            wrap_salts.insert(wrapped.ciphertext()[25..49].to_vec());
        }
    }
    assert!(argon2_salts.len() >= 2, "one for each passphrase given");
    assert_eq!(wrap_salts.len(), 4, "one for each wrap");
}

#[test]
fn a_stream_gives_out_authentic_chunks_only_and_reports_the_missing_end() {
    let (envelope, _) = two_keys();
    let context = EncryptionContext::new();
    let plaintext: Vec<u8> = (0..=255).cycle().take(2 * CHUNK_LEN + 5).collect();
    let (header, payload) = block_on(envelope.encrypt_detached(&plaintext, &context)).unwrap();
    let header = Envelope::inspect(&header).unwrap();
    let opened = block_on(envelope.unlock(header, &context)).unwrap();
    let given_out = |payload: &[u8]| {
        let mut out = Vec::new();
        let error = stream::open(&opened, &mut &*payload, &mut out).unwrap_err();
        assert!(matches!(error, StreamError::Decrypt(DecryptError::NotAuthentic)));
        out
    };
    assert_eq!(given_out(&payload[..56 + 2 * SEALED_CHUNK_LEN]), plaintext[..2 * CHUNK_LEN]);
    assert_eq!(given_out(&payload[..payload.len() - 1]), plaintext[..2 * CHUNK_LEN]);
    let mut changed = payload.clone();
    changed[56 + SEALED_CHUNK_LEN] ^= 1;
    assert_eq!(given_out(&changed), plaintext[..CHUNK_LEN]);
    changed[56] ^= 1;
    assert_eq!(given_out(&changed), b"");
    // In memory nothing at all comes out.
    let whole = block_on(envelope.decrypt_detached(&opened.header().to_bytes(), &changed, &context));
    assert!(matches!(whole, Err(DecryptError::NotAuthentic)));
}

#[test]
fn a_payload_has_at_most_2_to_the_38_chunks() {
    assert_eq!(MAX_CHUNKS, 1 << 38);
    let key = Key256::copy_from(&[1; 32]);
    let mut sealer = Sealer::<DefaultEngine>::new(&key, b"").unwrap();
    let mut sealed = [0; 4 + TAG_LEN];
    sealer.seal_next_to(b"text", &mut sealed).unwrap();
    let opener = cobblestone::Opener::<DefaultEngine>::new(&key, b"", sealer.prefix()).unwrap();
    assert_eq!(opener.open_chunk(0, &mut sealed.clone()), Ok(()));
    assert_eq!(opener.open_chunk(MAX_CHUNKS, &mut sealed.clone()), Err(Unauthentic));
    // Sealing at the limit is tested beside the code, where chunks are numbered.
}

#[test]
fn a_record_has_at_most_16_mib() {
    let (envelope, keys) = two_keys();
    let context = EncryptionContext::new();
    let data_key = block_on(envelope.create_data_key(&context)).unwrap();
    let mut plaintext = vec![0x5A; RECORD_MAX_LEN];
    let sealed = data_key.seal(&plaintext, &context).unwrap();
    assert_eq!(sealed.len(), 16_777_256);
    assert_eq!(data_key.open(&sealed, &context).unwrap(), plaintext);
    plaintext.push(0);
    let refused = data_key.seal(&plaintext, &context).unwrap_err();
    assert!(matches!(refused, EncryptError::RecordTooLarge));

    // One byte more, sealed as a record is: refused for its length alone.
    let dek = keys.wrapped.lock().unwrap()[0];
    let id = data_key.header().envelope_id();
    let mut okm = [0; 64];
    DefaultEngine::hkdf_expand_sha256(&dek, &[b"envelope-v1 keys\0", &[0, 1, 2], id], &mut okm);
    let key = XaesKey::<DefaultEngine>::new(&Key256::copy_from(okm[32..].try_into().unwrap()));
    let aad = [b"envelope-v1\0\0\x01\x02".as_slice(), id, &[0; 4]].concat();
    let longest = key.seal(&plaintext[..RECORD_MAX_LEN], &aad).unwrap();
    assert!(data_key.open(&longest, &context).is_ok(), "the key and the AAD are those of records");
    let longer = key.seal(&plaintext, &aad).unwrap();
    assert_eq!(longer.len(), RECORD_MAX_LEN + 1 + RECORD_OVERHEAD);
    assert!(matches!(data_key.open(&longer, &context), Err(DecryptError::NotAuthentic)));
}

#[test]
fn a_writer_of_text_ends_lines_with_lf() {
    let mut writer = ArmorWriter::new(Vec::new()).unwrap();
    writer.write_all(&[0; 100]).unwrap();
    let text = writer.finish().unwrap();
    assert!(text.ends_with(b"-----END ENVELOPE-----\n"));
    assert!(!text.contains(&b'\r'));
    let lengths: Vec<usize> = text.split(|byte| *byte == b'\n').map(<[u8]>::len).collect();
    assert_eq!(lengths, [24, 64, 64, 8, 22, 0]);
}

#[test]
fn a_format_failure_calls_no_provider() {
    let vectors = Vector::all();
    let refused = vectors.iter().filter(|vector| vector.field("expect") == "format failure" && !vector.armor);
    let mut count = 0;
    for vector in refused {
        let (envelope, keys) = vector.opener();
        let (parts, context) = (&vector.parts, vector.context());
        let format = match vector.field("kind") {
            "envelope" => block_on(envelope.decrypt(&parts[0], &context)).err(),
            "detached" => block_on(envelope.decrypt_detached(&parts[0], &parts[1], &context)).err(),
            _ => block_on(envelope.open_data_key(&parts[0], &context)).err(),
        };
        assert!(format.is_some(), "{}", vector.name);
        assert_eq!(*keys.calls.lock().unwrap(), Vec::<String>::new(), "{}", vector.name);
        count += 1;
    }
    assert!(count >= 100, "only {count} vectors");
}

#[test]
fn only_configured_keys_are_used() {
    let (envelope, keys) = two_keys();
    let context = EncryptionContext::new();
    let sealed = block_on(envelope.encrypt(b"text", &context)).unwrap();
    let second = Keyring::new().decrypt(keys.clone(), KeyUri::parse(URIS[1]).unwrap());
    keys.calls.lock().unwrap().clear();
    assert_eq!(block_on(Envelope::new(second).decrypt(&sealed, &context)).unwrap(), b"text");
    assert_eq!(*keys.calls.lock().unwrap(), [format!("unwrap {}", URIS[1])]);
    // The provider could open both recipients and is asked for neither.
    let other = KeyUri::parse("local://00112233445566778899aabbccddeeff/other").unwrap();
    let third = Keyring::new().decrypt(keys.clone(), other);
    keys.calls.lock().unwrap().clear();
    let refused = block_on(Envelope::new(third).decrypt(&sealed, &context)).unwrap_err();
    assert!(matches!(refused, DecryptError::NoConfiguredKey { .. }));
    assert_eq!(*keys.calls.lock().unwrap(), Vec::<String>::new());
}

/// A reminder for whoever edits these lines: time cannot be measured here, so
/// the source is looked at.
#[test]
fn mac_and_commitment_are_compared_in_constant_time() {
    for (file, compared) in [
        ("src/schedule.rs", "mac.as_slice().ct_eq(header.mac())"),
        ("src/crypto/cobblestone.rs", "expected.as_slice().ct_eq(commitment)"),
    ] {
        let source = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap();
        assert!(source.contains(compared), "{file}");
        assert!(!source.contains("== commitment") && !source.contains("== header.mac()"), "{file}");
    }
}

#[test]
fn everything_that_does_not_fit_is_one_error() {
    let names = [
        "wrap/other-kek",
        "wrap/xaes-tag-flipped",
        "wrap/dek-31-bytes",
        "passphrase/wrong",
        "mac/first-bit-flipped",
        "context/expected-other-value",
        "context/withheld-wrong",
        "context/withheld-missing",
        "commitment/first-bit-flipped",
        "commitment/empty-payload",
        "payload/first-byte-flipped",
        "payload/last-chunk-dropped",
    ];
    let mut shown = BTreeSet::new();
    for name in names {
        let vector = Vector::named(name);
        let (envelope, _) = vector.opener();
        let error = block_on(envelope.decrypt(&vector.parts[0], &vector.context())).unwrap_err();
        shown.insert(format!("{error} {error:?}"));
    }
    assert_eq!(shown.len(), 1, "{shown:?}");
}

#[test]
fn a_rewrap_changes_recipients_and_generation_alone() {
    let (envelope, keys) = two_keys();
    let context = EncryptionContext::new().with("tenant", "42").withhold("patient", "7");
    let text = vec![9; CHUNK_LEN + 1];
    let data_key = block_on(envelope.create_data_key(&context)).unwrap();
    let record = data_key.seal(b"record", &EncryptionContext::new()).unwrap();
    let (detached, payload) = block_on(envelope.encrypt_detached(&text, &context)).unwrap();
    let attached = block_on(envelope.encrypt(&text, &context)).unwrap();

    let one_key = Keyring::new()
        .encrypt(keys.clone(), KeyUri::parse(URIS[1]).unwrap())
        .decrypt(keys.clone(), KeyUri::parse(URIS[0]).unwrap());
    let mover = Envelope::new(one_key);
    for old in [attached, detached.clone(), data_key.header().to_bytes()] {
        let new = block_on(mover.rewrap(&old, &context)).unwrap();
        let (before, after) = (Envelope::inspect(&old).unwrap(), Envelope::inspect(&new).unwrap());
        assert_eq!(after.generation(), before.generation() + 1);
        assert_eq!(after.kind(), before.kind());
        assert_eq!(after.suite(), before.suite());
        assert_eq!(after.envelope_id(), before.envelope_id());
        assert_eq!(after.stored_context(), before.stored_context());
        assert_eq!(after.withheld(), before.withheld());
        let names: Vec<&str> = after.recipients().iter().map(|r| r.key_uri().as_str()).collect();
        assert_eq!(names, [URIS[1]]);
        assert_eq!(new[after.len()..], old[before.len()..], "what follows the header");
        match after.kind() {
            Kind::Attached => assert_eq!(block_on(envelope.decrypt(&new, &context)).unwrap(), text),
            Kind::Detached => {
                let opened = block_on(envelope.decrypt_detached(&new, &payload, &context)).unwrap();
                assert_eq!(opened, text);
            }
            Kind::DataKey => {
                let opened = block_on(envelope.open_data_key(&new, &context)).unwrap();
                assert_eq!(opened.open(&record, &EncryptionContext::new()).unwrap(), b"record");
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_rewrap_verifies_the_old_header_first() {
    let vector = Vector::named("mac/generation-changed");
    let (envelope, keys) = vector.opener();
    let refused = block_on(envelope.rewrap(&vector.parts[0], &vector.context())).unwrap_err();
    assert!(matches!(refused, RewrapError::Decrypt(DecryptError::NotAuthentic)));
    assert!(keys.wrapped.lock().unwrap().is_empty(), "nothing was wrapped");
}

#[test]
fn a_rewrap_verifies_each_new_wrap() {
    let (envelope, _) = two_keys();
    let context = EncryptionContext::new();
    let sealed = block_on(envelope.encrypt(b"text", &context)).unwrap();
    let mut broken = VectorKeys::default();
    broken.wraps_another = true;
    broken.add(URIS[0], "1", &[1; 32]);
    broken.add(URIS[1], "1", &[2; 32]);
    let refused = block_on(Envelope::new(Arc::new(broken).keyring()).rewrap(&sealed, &context)).unwrap_err();
    assert!(matches!(refused, RewrapError::WrapNotVerified { .. }));
}

#[test]
fn the_last_generation_cannot_be_rewrapped() {
    let vector = Vector::named("success/generation-4294967295");
    let (envelope, _) = vector.opener();
    let refused = block_on(envelope.rewrap(&vector.parts[0], &vector.context())).unwrap_err();
    assert!(matches!(refused, RewrapError::GenerationsExhausted));
}

#[test]
fn an_error_about_a_key_uri_repeats_no_secret() {
    for uri in [
        "pkcs11:token=t;object=kek?pin-value=s3cret",
        "pkcs11:token=t;object=kek;pin-value=s3cret",
        "pkcs11:pin-value=s3cret;token=t;object=kek",
        "PKCS11:pin-value=s3cret",
        "passphrase:s3cret",
        "Passphrase:s3cret",
        "passphrase:a:s3cret",
        "vaultkms://user:s3cret@vault.example.org/transit/key",
        "vaultkms://vault.example.org/transit/key?token=s3cret",
        "vaultkms://vault.example.org/transit/key#s3cret",
        "https://user:s3cret@vault.vault.azure.net/keys/k?x",
        "https://v.vault.azure.net/keys/k?sig=s3cret@x",
        "https://user:s3cret?@vault.vault.azure.net/keys/k",
        "pkcs11:token=t;pin-value=a@s3cret",
        "passphrase:a@s3cret",
        "user@s3cret",
    ] {
        let error = KeyUri::parse(uri).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("s3cret"), "{error} {error:?}");
    }
    for text in ["passphrase=s3cret", " passphrase:s3cret", "pkcs11:token=t;pin%2Dvalue=s3cret", "s3cret"] {
        let error = KeyUri::parse(text).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("s3cret"), "{error} {error:?}");
    }
    // What helps is still there.
    let error = KeyUri::parse("gcpkms://projects/p/locations/l").unwrap_err();
    let form = "must be gcpkms://projects/P/locations/L/keyRings/R/cryptoKeys/K";
    assert_eq!(error.to_string(), format!("key URI gcpkms:… (31 bytes): {form}"));
}

/// Two local keys, each for both.
fn two_keys() -> (Envelope, Arc<VectorKeys>) {
    let mut keys = VectorKeys::default();
    keys.add(URIS[0], "1", &[1; 32]);
    keys.add(URIS[1], "1", &[2; 32]);
    let keys = Arc::new(keys);
    (Envelope::new(keys.keyring()), keys)
}

/// Fails the test when it is read.
struct Unreadable;

impl Read for Unreadable {
    fn read(&mut self, _out: &mut [u8]) -> io::Result<usize> {
        panic!("was read")
    }
}

const URIS: [&str; 2] =
    ["local://00112233445566778899aabbccddeeff/one", "local://00112233445566778899aabbccddeeff/two"];
