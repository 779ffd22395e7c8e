//! What an envelope costs beside the cryptography it is made of.
//!
//! ```text
//! cargo bench --bench envelope            # the default engine
//! cargo bench --bench envelope -- bulk    # one group
//! ```
//!
//! Every group prints the raw calls of the library below in the same run, on
//! the same machine, so that only ratios matter:
//!
//! | Group | What | Aim |
//! |---|---|---|
//! | `bulk` | one 16 KiB chunk with ready keys and reused buffers | 0.95 of raw AES-256-GCM |
//! | `record-1k` | a record of 1 KiB under a data key | 1.2 µs sealed, 0.7 µs opened |
//! | `envelope-1k` | a whole envelope of 1 KiB, with a key provider in memory that wraps as the local keystore does | 6 µs encrypted, 5 µs decrypted |
//! | `primitives` | what the two above consist of | |
//!
//! The aims hold for a core where raw AES-256-GCM of 1 KiB takes 0.2 µs, setting
//! up its key 0.4, 32 random bytes 0.6, HKDF-SHA-512 2 to 3 and HMAC-SHA-256 of
//! 300 bytes 0.5; read them against the `primitives` of your run.

#![allow(missing_docs, reason = "criterion's macros write public items")]
#![allow(clippy::unwrap_used, reason = "a benchmark that fails shall stop")]

use std::{hint::black_box, sync::Arc};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use envelope_sdk::{
    EncryptionContext, Envelope, Keyring,
    crypto::{
        Aes256Gcm, DefaultEngine, Engine, Key256, TAG_LEN,
        cobblestone::{CHUNK_LEN, Opener, SEALED_CHUNK_LEN, Sealer},
    },
};
use envelope_testkit::MemoryProvider;
use futures_executor::block_on;

fn bulk(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("bulk");
    group.throughput(Throughput::Bytes(CHUNK_LEN as u64));
    let plaintext = vec![0x5A; CHUNK_LEN];

    #[cfg(feature = "aws-lc")]
    {
        use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};

        let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &[7; 32]).unwrap());
        let mut chunk = plaintext.clone();
        let mut counter = 0_u64;
        group.bench_function("raw-seal-in-place", |bench| {
            bench.iter(|| {
                counter += 1;
                let mut nonce = [0; 12];
                nonce[4..].copy_from_slice(&counter.to_be_bytes());
                let nonce = Nonce::assume_unique_for_key(nonce);
                key.seal_in_place_separate_tag(nonce, Aad::empty(), &mut chunk).unwrap()
            });
        });
        let nonce = || Nonce::assume_unique_for_key([9; 12]);
        let mut sealed = plaintext.clone();
        key.seal_in_place_append_tag(nonce(), Aad::empty(), &mut sealed).unwrap();
        let (ciphertext, tag) = sealed.split_at(CHUNK_LEN);
        group.bench_function("raw-open", |bench| {
            bench.iter(|| {
                key.open_separate_gather(nonce(), Aad::empty(), ciphertext, tag, &mut chunk).unwrap();
            });
        });
    }

    let key = Key256::copy_from(&[7; 32]);
    let mut sealer = Sealer::<DefaultEngine>::new(&key, b"context").unwrap();
    let prefix = *sealer.prefix();
    let mut sealed = vec![0; SEALED_CHUNK_LEN];
    let mut first = vec![0; SEALED_CHUNK_LEN];
    sealer.seal_next_to(&plaintext, &mut first).unwrap();
    group.bench_function("seal-in-place", |bench| bench.iter(|| sealer.seal_next(&mut sealed).unwrap()));
    group.bench_function("seal", |bench| {
        bench.iter(|| sealer.seal_next_to(&plaintext, &mut sealed).unwrap());
    });
    let opener = Opener::<DefaultEngine>::new(&key, b"context", &prefix).unwrap();
    let mut opened = vec![0; CHUNK_LEN];
    group.bench_function("open", |bench| {
        bench.iter(|| opener.open_chunk_to(0, &first, &mut opened).unwrap());
    });
    group.finish();
}

fn record(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("record-1k");
    let envelope = in_memory();
    let data_key = block_on(envelope.create_data_key(&context())).unwrap();
    let row = EncryptionContext::new().with("row", "17");
    let plaintext = [0x5A; 1024];
    group.bench_function("seal", |bench| bench.iter(|| data_key.seal(&plaintext, &row).unwrap()));
    let record = data_key.seal(&plaintext, &row).unwrap();
    group.bench_function("open", |bench| bench.iter(|| data_key.open(&record, &row).unwrap()));
    group.finish();
}

fn envelope(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("envelope-1k");
    let envelope = in_memory();
    let context = context();
    let plaintext = [0x5A; 1024];
    group.bench_function("encrypt", |bench| {
        bench.iter(|| block_on(envelope.encrypt(&plaintext, &context)).unwrap());
    });
    let sealed = block_on(envelope.encrypt(&plaintext, &context)).unwrap();
    group.bench_function("decrypt", |bench| {
        bench.iter(|| block_on(envelope.decrypt(&sealed, &context)).unwrap());
    });
    group.bench_function("inspect", |bench| bench.iter(|| Envelope::inspect(&sealed).unwrap()));
    group.finish();
}

fn primitives(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("primitives");
    let gcm = <DefaultEngine as Engine>::Gcm::new(&[7; 32]);
    let plaintext = [0x5A; 1024];
    let mut sealed = [0; 1024 + TAG_LEN];
    let mut nonce = [0_u8; 12];
    group.bench_function("aes-256-gcm-1k", |bench| {
        bench.iter(|| {
            nonce[0] = nonce[0].wrapping_add(1);
            gcm.seal_to(&nonce, &[], &plaintext, &mut sealed);
        });
    });
    group.bench_function("aes-256-gcm-key", |bench| {
        bench.iter(|| <DefaultEngine as Engine>::Gcm::new(black_box(&[7; 32])));
    });
    let mut random = [0; 32];
    group.bench_function("random-32", |bench| {
        bench.iter(|| DefaultEngine::fill_random(black_box(&mut random)).unwrap());
    });
    let mut okm = [0; 76];
    group.bench_function("hkdf-sha-512-76", |bench| {
        bench
            .iter(|| DefaultEngine::hkdf_expand_sha512(&[7; 32], &[&[1; 70], &[2; 60]], black_box(&mut okm)));
    });
    let mut okm = [0; 64];
    group.bench_function("hkdf-sha-256-64", |bench| {
        bench.iter(|| DefaultEngine::hkdf_expand_sha256(&[7; 32], &[&[1; 36]], black_box(&mut okm)));
    });
    group.bench_function("hmac-sha-256-300", |bench| {
        bench.iter(|| DefaultEngine::hmac_sha256(&[7; 32], black_box(&[&[1; 300]])));
    });
    group.finish();
}

fn in_memory() -> Envelope {
    let key = MemoryProvider::key("bench");
    let provider = Arc::new(MemoryProvider::new().with_key(&key));
    Envelope::new(Keyring::new().both(provider, key))
}

fn context() -> EncryptionContext {
    EncryptionContext::new().with("tenant", "42").with("purpose", "bench")
}

criterion_group!(benches, bulk, record, envelope, primitives);
criterion_main!(benches);
