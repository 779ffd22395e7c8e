//! How fast the provider wraps, as a share of what the token does for one thread that calls it directly, on each
//! software token in the same run:
//!
//! ```sh
//! scripts/with-servers cargo bench --package envelope-pkcs11
//! ```
//!
//! Prints both rates and their ratio, which other work on the machine moves: it is read, not asserted.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "what is measured is set up as in tests"
)]
#![allow(clippy::print_stdout, reason = "it prints figures")]

#[path = "../tests/tokens/mod.rs"]
mod tokens;

use std::time::{Duration, Instant};

use cryptoki::{
    mechanism::{Mechanism, aead::GcmParams},
    object::{Attribute, ObjectHandle},
    session::Session,
};
use envelope_pkcs11::{PinSource, Pkcs11Config, Pkcs11Provider, TokenSelector};
use envelope_sdk::{
    Dek, EncryptionContext, FullContext, KeyAdmin, KeyProvider, KeyUri, NewKey,
    crypto::{DefaultEngine, Engine},
};
use futures_executor::block_on;
use futures_util::stream::{self, StreamExt};

use tokens::{Kind, PIN, Token, pin};

fn main() {
    for token in [Kind::SoftHsm, Kind::Kryoptic].into_iter().filter_map(Kind::token) {
        print_ratio(&token);
    }
}

fn print_ratio(token: &Token) {
    let config = Pkcs11Config::new(token.module(), TokenSelector::label(&token.label));
    let provider = Pkcs11Provider::open(config.pin(PinSource::pin(pin(PIN)))).unwrap();
    let key = block_on(provider.create_key(&NewKey::named("db"))).unwrap().uri;
    let (alone, ours) = measure(token, &provider, &key);
    println!("{:?}: {alone:.0} wraps a second by one thread that calls the token", token.kind);
    println!("{:?}: {ours:.0} wraps a second by the provider, 64 calls at once on 4 sessions", token.kind);
    println!("{:?}: ratio {:.2}", token.kind, ours / alone);
}

/// Rounds of one and the other in turn, the best of each: other work on the machine meets both.
fn measure(token: &Token, provider: &Pkcs11Provider, key: &KeyUri) -> (f64, f64) {
    let context = EncryptionContext::new().with("tenant", "42").full().unwrap();
    let dek = Dek::generate::<DefaultEngine>().unwrap();
    let session = token.session();
    let [handle] = session.find_objects(&[Attribute::Label("db".into())]).unwrap()[..] else {
        panic!("one key of this name")
    };
    let (mut alone, mut ours) = (0.0_f64, 0.0_f64);
    for _ in 0..ROUNDS {
        alone = alone.max(rate(1, || encrypt(&session, handle, &dek, &context)));
        ours = ours.max(rate(BATCH, || block_on(wrap_many(provider, key, &dek, &context))));
    }
    (alone, ours)
}

/// Calls of `work`, each worth `each` wraps, until the round is over.
fn rate(each: u32, mut work: impl FnMut()) -> f64 {
    let (begun, mut done) = (Instant::now(), 0_u32);
    while begun.elapsed() < ROUND {
        work();
        done += each;
    }
    f64::from(done) / begun.elapsed().as_secs_f64()
}

async fn wrap_many(provider: &Pkcs11Provider, key: &KeyUri, dek: &Dek, context: &FullContext) {
    let wraps = stream::iter(0..BATCH).map(|_| provider.wrap_dek(key, dek, context));
    wraps.buffer_unordered(64).for_each(|wrapped| async { drop(wrapped.unwrap()) }).await;
}

fn encrypt(session: &Session, key: ObjectHandle, dek: &Dek, context: &FullContext) {
    let mut iv = [0; 12];
    DefaultEngine::fill_random(&mut iv).unwrap();
    let params = GcmParams::new(&mut iv, context.as_bytes(), 128.into()).unwrap();
    session.encrypt(&Mechanism::AesGcm(params), key, dek.expose()).unwrap();
}

const ROUNDS: u32 = 5;
const ROUND: Duration = Duration::from_millis(500);
const BATCH: u32 = 256;
