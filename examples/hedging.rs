//! What hedging does to slow calls, and failover, a deadline and a breaker to a region that is away or throttled: 10,000
//! unwraps each, in simulated time.
//!
//! `cargo run --example hedging --features tokio [SEED]`

#![allow(clippy::print_stdout, reason = "it prints a table")]

use std::{
    error::Error,
    future::pending,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use envelope_layers::{Breaker, Deadline};
use envelope_sdk::{
    EncryptionContext, Envelope, Hedging, KeyProvider, KeyUri, Keyring, ProviderError, ProviderErrorKind,
    TokioTimer,
};
use envelope_testkit::{AlteredProvider, MemoryProvider};
use tokio::time::{Instant, sleep};

/// How a region answers.
#[derive(Clone, Copy)]
enum Region {
    /// Around 20 ms, and every twentieth call a second.
    Usual,
    /// Never.
    Dead,
    /// Half of the calls are refused after 10 ms.
    Throttled,
}

/// What stands over both regions.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Over {
    /// Calls that end after 5 seconds.
    Deadline,
    /// The same, below a breaker as it is by default.
    Breaker,
}

#[tokio::main(flavor = "current_thread", start_paused = true)]
async fn main() -> Result<(), Box<dyn Error>> {
    let seed = match std::env::args().nth(1) {
        Some(seed) => seed.parse()?,
        None => 1,
    };
    println!("seed {seed}, {CALLS} unwraps each, milliseconds of simulated time");
    println!(
        "{:34} {:>7} {:>7} {:>8} {:>9} {:>9} {:>7}",
        "", "p50", "p99", "longest", "calls/a", "calls/b", "opened"
    );
    for (what, first, over, hedges) in [
        ("5 % at 1 s", Region::Usual, Over::Deadline, false),
        ("5 % at 1 s, hedged", Region::Usual, Over::Deadline, true),
        ("5 % at 1 s, a breaker, hedged", Region::Usual, Over::Breaker, true),
        ("first region dead", Region::Dead, Over::Deadline, false),
        ("first region dead, hedged", Region::Dead, Over::Deadline, true),
        ("first region dead, a breaker", Region::Dead, Over::Breaker, false),
        ("first region dead, both", Region::Dead, Over::Breaker, true),
        ("first region throttled", Region::Throttled, Over::Deadline, false),
        ("first region throttled, hedged", Region::Throttled, Over::Deadline, true),
        ("first region throttled, a breaker", Region::Throttled, Over::Breaker, false),
    ] {
        run(what, seed, (first, over), hedges).await?;
    }
    Ok(())
}

async fn run(
    what: &str,
    seed: u64,
    (first, over): (Region, Over),
    hedges: bool,
) -> Result<(), Box<dyn Error>> {
    let (is_up, random) = (Arc::new(Mutex::new(Region::Usual)), Arc::new(Mutex::new(Random(seed))));
    let keys = ["a", "b"].map(MemoryProvider::key);
    let (provider_a, calls_a) = region(&keys[0], over, Arc::clone(&is_up), Arc::clone(&random));
    let (provider_b, calls_b) = region(&keys[1], over, Arc::new(Mutex::new(Region::Usual)), random);
    let [key_a, key_b] = keys;
    let mut keyring = Keyring::new().both(provider_a, key_a).both(provider_b, key_b);
    if hedges {
        keyring = keyring.hedging(Hedging::new(Arc::new(TokioTimer::new())));
    }
    let (envelope, context) = (Envelope::new(keyring), EncryptionContext::new().with("tenant", "42"));
    let sealed = envelope.encrypt(b"attack at dawn", &context).await?;
    *is_up.lock().map_err(|_| "poisoned")? = first;

    let mut times = Vec::with_capacity(CALLS);
    let mut opened = 0;
    for _ in 0..CALLS {
        let began = Instant::now();
        opened += usize::from(envelope.decrypt(&sealed, &context).await.is_ok());
        times.push(began.elapsed());
    }
    times.sort_unstable();
    println!(
        "{what:34} {:>7} {:>7} {:>8} {:>9} {:>9} {:>6.2}%",
        times[CALLS / 2].as_millis(),
        times[CALLS * 99 / 100].as_millis(),
        times[CALLS - 1].as_millis(),
        calls_a.load(Ordering::Relaxed),
        calls_b.load(Ordering::Relaxed),
        100.0 * opened as f64 / CALLS as f64
    );
    Ok(())
}

/// A key store with one key, and how often it was asked to unwrap.
fn region(
    key: &KeyUri,
    over: Over,
    state: Arc<Mutex<Region>>,
    random: Arc<Mutex<Random>>,
) -> (Arc<dyn KeyProvider>, Arc<AtomicUsize>) {
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    let provider = AlteredProvider::new(Arc::new(MemoryProvider::new().with_key(key)));
    let provider = provider.on_unwrap(move |below, wrapped, context| {
        counted.fetch_add(1, Ordering::Relaxed);
        let (state, mut random) = (*lock(&state), lock(&random));
        let usual = if random.below(20) == 0 { Duration::from_secs(1) } else { random.fast() };
        let is_refused = random.below(2) == 0;
        drop(random);
        let fail = move |kind| Err(ProviderError::new(kind, "region", wrapped.key_uri(), "simulated"));
        Box::pin(async move {
            match state {
                Region::Dead => pending().await,
                Region::Throttled if is_refused => {
                    sleep(Duration::from_millis(10)).await;
                    fail(ProviderErrorKind::Throttled)
                }
                Region::Throttled | Region::Usual => {
                    sleep(usual).await;
                    below.unwrap_dek(wrapped, context).await
                }
            }
        })
    });
    let provider = Deadline::of(provider, Duration::from_secs(5));
    if over == Over::Breaker {
        (Arc::new(Breaker::new(provider)), calls)
    } else {
        (Arc::new(provider), calls)
    }
}

/// Nothing that holds these locks panics.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// `SplitMix64` (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, 2014): the same run again for
/// the same seed.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    /// Log-normal with a median of 20 ms: the sum of twelve uniform numbers is near enough to a normal one.
    fn fast(&mut self) -> Duration {
        let normal: f64 = (0..12).map(|_| self.below(1_000_000) as f64 / 1e6).sum::<f64>() - 6.0;
        Duration::from_secs_f64(0.020 * (0.3 * normal).exp())
    }
}

const CALLS: usize = 10_000;
