//! Cobblestone-256 against another implementation, and engine against engine:
//! what one seals the other opens, and what was changed both refuse.
//!
//! Random messages; `ENVELOPE_DIFFERENTIAL_SEED` repeats a run and
//! `ENVELOPE_DIFFERENTIAL_MESSAGES` makes it longer.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests are tests too")]
#![allow(clippy::print_stdout, reason = "a run can be repeated from what it prints")]

use std::time::{SystemTime, UNIX_EPOCH};

use envelope_sdk::crypto::{
    Engine, Key256, Unauthentic,
    cobblestone::{self, CHUNK_LEN},
};

#[cfg(feature = "aws-lc")]
#[test]
fn aws_lc_and_the_cobblestone_crate_open_what_the_other_seals() {
    let mut messages = Messages::new("AWS-LC");
    while let Some(message) = messages.next() {
        both_ways_with_the_crate::<envelope_sdk::crypto::AwsLc>(&message);
    }
}

#[cfg(feature = "rustcrypto")]
#[test]
fn rust_crypto_and_the_cobblestone_crate_open_what_the_other_seals() {
    let mut messages = Messages::new("RustCrypto");
    while let Some(message) = messages.next() {
        both_ways_with_the_crate::<envelope_sdk::crypto::RustCrypto>(&message);
    }
}

#[cfg(all(feature = "aws-lc", feature = "rustcrypto"))]
#[test]
fn each_engine_opens_what_the_other_seals() {
    use envelope_sdk::crypto::{AwsLc, RustCrypto};
    let mut messages = Messages::new("AWS-LC and RustCrypto");
    while let Some(message) = messages.next() {
        one_way::<AwsLc, RustCrypto>(&message);
        one_way::<RustCrypto, AwsLc>(&message);
    }
}

fn both_ways_with_the_crate<E: Engine>(message: &Message) {
    let Message { key, context, plaintext, .. } = message;
    let (ours, theirs) = (Key256::copy_from(key), ::cobblestone::Key256::from_bytes(key));

    let sealed = cobblestone::seal::<E>(&ours, context, plaintext).unwrap();
    let opened = ::cobblestone::decrypt(&theirs, context, &sealed);
    assert!(opened.as_ref() == Ok(plaintext), "ours, opened by theirs: {message}");

    let sealed = ::cobblestone::encrypt(&theirs, context, plaintext).unwrap();
    let opened = cobblestone::open::<E>(&ours, context, &sealed);
    assert!(opened.as_ref() == Ok(plaintext), "theirs, opened by ours: {message}");

    for changed in [message.with_a_bit_changed(&sealed), message.cut(&sealed)] {
        assert!(::cobblestone::decrypt(&theirs, context, &changed).is_err(), "theirs opened {message}");
        let opened = cobblestone::open::<E>(&ours, context, &changed);
        assert!(opened == Err(Unauthentic), "ours opened {message}");
    }
}

#[cfg(all(feature = "aws-lc", feature = "rustcrypto"))]
fn one_way<S: Engine, O: Engine>(message: &Message) {
    let Message { key, context, plaintext, .. } = message;
    let key = Key256::copy_from(key);
    let sealed = cobblestone::seal::<S>(&key, context, plaintext).unwrap();
    let opened = cobblestone::open::<O>(&key, context, &sealed);
    assert!(opened.as_ref() == Ok(plaintext), "{message}");
    let changed = message.with_a_bit_changed(&sealed);
    assert!(cobblestone::open::<O>(&key, context, &changed) == Err(Unauthentic), "{message}");
}

struct Message {
    key: [u8; 32],
    context: Vec<u8>,
    plaintext: Vec<u8>,
    random: u64,
    name: String,
}

impl Message {
    fn with_a_bit_changed(&self, sealed: &[u8]) -> Vec<u8> {
        let mut changed = sealed.to_vec();
        changed[below(self.random, sealed.len())] ^= 1 << (self.random >> 61);
        changed
    }

    /// Without its end: now and then exactly the last chunk, or all of it.
    fn cut(&self, sealed: &[u8]) -> Vec<u8> {
        let last_chunk = 16 + self.plaintext.len() % CHUNK_LEN;
        let kept = match self.random % 8 {
            0 => sealed.len() - last_chunk,
            1 => 0,
            _ => below(self.random, sealed.len()),
        };
        sealed[..kept].to_vec()
    }
}

impl std::fmt::Display for Message {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (context, plaintext) = (self.context.len(), self.plaintext.len());
        write!(f, "{} ({plaintext} bytes, a context of {context})", self.name)
    }
}

/// The messages of one run.
struct Messages {
    state: u64,
    seed: u64,
    made: u64,
    wanted: u64,
}

impl Messages {
    fn new(what: &str) -> Self {
        let from_environment = |name: &str| std::env::var(name).ok().map(|text| text.parse().unwrap());
        let now = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().subsec_nanos().into();
        let seed = from_environment("ENVELOPE_DIFFERENTIAL_SEED").unwrap_or_else(now);
        let wanted = from_environment("ENVELOPE_DIFFERENTIAL_MESSAGES").unwrap_or(10_000);
        println!("{what}: {wanted} messages, ENVELOPE_DIFFERENTIAL_SEED={seed}");
        Self { state: seed, seed, made: 0, wanted }
    }

    fn next(&mut self) -> Option<Message> {
        if self.made == self.wanted {
            return None;
        }
        self.made += 1;
        let mut key = [0; 32];
        key.as_chunks_mut::<8>().0.iter_mut().for_each(|part| *part = self.random().to_le_bytes());
        let context_len = below(self.random(), 200);
        // Most are short. The others end at a chunk's boundary or near it.
        let plaintext_len = match self.random() % 8 {
            0 => {
                let (chunks, beside) = (below(self.random(), 5) + 1, below(self.random(), 35));
                (chunks * CHUNK_LEN + beside).saturating_sub(17)
            }
            1 => below(self.random(), 5 * CHUNK_LEN),
            _ => below(self.random(), 300),
        };
        let name = format!("message {} of seed {}", self.made, self.seed);
        let (context, plaintext) = (self.bytes(context_len), self.bytes(plaintext_len));
        Some(Message { key, context, plaintext, random: self.random(), name })
    }

    fn bytes(&mut self, len: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(len + 8);
        while bytes.len() < len {
            bytes.extend(self.random().to_le_bytes());
        }
        bytes.truncate(len);
        bytes
    }

    /// `SplitMix64`.
    fn random(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }
}

fn below(random: u64, limit: usize) -> usize {
    usize::try_from(random % u64::try_from(limit).unwrap()).unwrap()
}
