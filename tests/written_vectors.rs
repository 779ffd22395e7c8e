//! Envelopes that the library writes, as vector files below `target/tmp`: the
//! other direction of `tests/vectors.rs`. `scripts/interop` lets the Python
//! reader open them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod vector_support;

use std::{fmt::Write as _, fs, path::Path, sync::Arc};

use base64ct::{Base64, Encoding};
use envelope_local::{Argon2Params, Passphrase, PassphraseProvider};
use envelope_sdk::{
    EncryptionContext, Envelope, KeyProvider, KeyUri, Keyring, crypto::cobblestone::CHUNK_LEN, format::armor,
};
use futures_executor::block_on;
use vector_support::VectorKeys;

#[test]
fn the_library_writes_vectors_for_other_readers() {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("written-by-the-library");
    // Left from an earlier run, perhaps of another engine.
    let _ = fs::remove_dir_all(&directory);
    fs::create_dir_all(&directory).unwrap();
    let mut count = 0;
    for (name, text) in written() {
        fs::write(directory.join(name).with_extension("vec"), text).unwrap();
        count += 1;
    }
    assert_eq!(count, 21);
}

fn written() -> Vec<(String, String)> {
    let mut vectors = Vec::new();
    let plain = Envelope::new(keyring());
    let padded = plain.clone().pad_headers_to(4096);
    let empty = EncryptionContext::new();
    let sizes = [0, 1, CHUNK_LEN - 1, CHUNK_LEN, CHUNK_LEN + 1, 3 * CHUNK_LEN, 100_000];
    for size in sizes {
        let text = plaintext(size);
        let sealed = block_on(plain.encrypt(&text, &empty)).unwrap();
        vectors.push((format!("attached-{size}"), vector("envelope", LOCAL, "", &text, &[&sealed])));
        let (header, payload) = block_on(plain.encrypt_detached(&text, &empty)).unwrap();
        let parts: [&[u8]; 2] = [&header, &payload];
        vectors.push((format!("detached-{size}"), vector("detached", LOCAL, "", &text, &parts)));
    }
    let context = EncryptionContext::new()
        .with("b", "é")
        .withhold("a", "7")
        .with("\u{FFFF}", "")
        .with("\u{10000}", "x");
    let given = "context: b=é\nwithheld-value: a=7\n";
    let text = plaintext(50);
    let sealed = block_on(padded.encrypt(&text, &context)).unwrap();
    vectors.push(("context".into(), vector("envelope", LOCAL, given, &text, &[&sealed])));
    let rewrapped = block_on(plain.rewrap(&sealed, &context)).unwrap();
    vectors.push(("rewrapped".into(), vector("envelope", LOCAL, given, &text, &[&rewrapped])));
    let reencrypted = block_on(padded.reencrypt(&rewrapped, &context)).unwrap();
    vectors.push(("reencrypted".into(), vector("envelope", PASSPHRASE, given, &text, &[&reencrypted])));
    vectors.push(("passphrase".into(), vector("envelope", PASSPHRASE, given, &text, &[&sealed])));
    let mut armored = vector("envelope", LOCAL, given, &text, &[]);
    armored.insert_str(armored.find("kind: ").unwrap(), "armor: yes\n");
    armored.truncate(armored.find("\n\n").unwrap() + 2);
    vectors.push(("armored".into(), armored + &armor::encode(&sealed)));
    for (name, data_key) in [("record", &plain), ("record-padded", &padded)] {
        let data_key = block_on(data_key.create_data_key(&context)).unwrap();
        let row = EncryptionContext::new().with("row", "17").withhold("column", "mail");
        let record = data_key.seal(&text, &row).unwrap();
        let given = format!("{given}record-context: row=17\nrecord-context: column=mail\n");
        let header = data_key.header().to_bytes();
        vectors.push((name.into(), vector("record", LOCAL, &given, &text, &[&header, &record])));
    }
    vectors
}

/// A local key and a passphrase, each for both.
fn keyring() -> Keyring {
    let mut keys = VectorKeys::default();
    keys.add(URI, "3", &[0x42; 32]);
    let passphrase = Passphrase::new("correct horse".into()).unwrap();
    let provider = PassphraseProvider::with_params(passphrase, Argon2Params::MINIMUM).unwrap();
    let provider: Arc<dyn KeyProvider> = Arc::new(provider);
    Arc::new(keys).keyring().both(provider, KeyUri::passphrase())
}

fn vector(kind: &str, keys: &str, given: &str, plaintext: &[u8], parts: &[&[u8]]) -> String {
    let mut text = format!(
        "expect: success\ncomment: Written by the library.\nspec: D-2\nkind: {kind}\n{keys}{given}payload: hex "
    );
    for byte in plaintext {
        write!(text, "{byte:02x}").unwrap();
    }
    text.push_str("\n\n");
    let bodies: Vec<String> = parts.iter().map(|part| lines(&Base64::encode_string(part))).collect();
    text.push_str(&bodies.join("\n"));
    text
}

fn lines(base64: &str) -> String {
    base64.as_bytes().chunks(76).fold(String::new(), |text, line| text + str::from_utf8(line).unwrap() + "\n")
}

fn plaintext(len: usize) -> Vec<u8> {
    (0..=250).cycle().take(len).collect()
}

const URI: &str = "local://00112233445566778899aabbccddeeff/main";
const LOCAL: &str = "kek: local://00112233445566778899aabbccddeeff/main 3 \
    4242424242424242424242424242424242424242424242424242424242424242\n";
const PASSPHRASE: &str = "passphrase: correct horse\n";
