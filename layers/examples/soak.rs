//! Cache and data keys under load: 64 threads, 16 tenants, for as many seconds as the first argument says.
//!
//! Whatever is wrong is counted, and the program fails if anything was: a DEK or data key of another tenant, a limit
//! that was passed, memory that grew. `scripts/soak` runs it.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a program that tells figures, and shall stop when lost"
)]

use std::{
    collections::{HashMap, VecDeque},
    convert::Infallible,
    env, fs,
    future::poll_fn,
    process::ExitCode,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::SeqCst},
    },
    task::Poll,
    thread,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use envelope_layers::{
    Cache, CacheLimits, CacheStore, DataKeyId, DataKeyLimits, DataKeyStore, DataKeys, StoreError,
};
use envelope_sdk::{
    Dek, EncryptionContext, Envelope, FullContext, KeyProvider, KeyUri, Keyring, ProviderError,
    ProviderErrorKind, ProviderIdentity, WrappedDek,
};
use envelope_testkit::MemoryProvider;
use futures_executor::block_on;

fn main() -> ExitCode {
    let seconds = env::args().nth(1).map_or(8, |seconds| seconds.parse().unwrap());
    let (soak, stop, begun) = (Soak::new(), AtomicBool::new(false), Instant::now());
    let (early, late) = thread::scope(|scope| {
        for thread in 0..THREADS {
            let (soak, stop) = (&soak, &stop);
            scope.spawn(move || soak.work(thread, stop));
        }
        let length = Duration::from_secs(seconds);
        // By then all has been allocated that is kept.
        thread::sleep(length / 4);
        let early = resident_kib();
        thread::sleep(length - length / 4);
        let late = resident_kib();
        stop.store(true, SeqCst);
        (early, late)
    });
    soak.told(begun.elapsed(), early, late)
}

/// What all threads share.
struct Soak {
    calls: Arc<Calls>,
    store: CacheStore,
    /// One for each tenant, over one store and of one identity: nothing but the partition keeps them apart.
    caches: Vec<Cache<Tenant>>,
    wraps: Vec<WrappedDek>,
    contexts: Vec<FullContext>,
    data_keys: DataKeys,
    /// How many records each data key sealed that is not used up.
    sealed: Mutex<HashMap<DataKeyId, u64>>,
    unwraps: AtomicU64,
    refused: AtomicU64,
    wrong: Wrong,
}

/// What must not happen, and how often it did.
#[derive(Default)]
struct Wrong {
    tenant: AtomicU64,
    dek: AtomicU64,
    uses: AtomicU64,
    age: AtomicU64,
    entries: AtomicU64,
    records: AtomicU64,
}

impl Soak {
    fn new() -> Self {
        let store = CacheStore::new(CacheLimits::new(AGE, ENTRIES).uses(USES));
        let (calls, identity) = (Arc::<Calls>::default(), ProviderIdentity::unique());
        let caches = (0..TENANTS).map(|tenant| {
            let below = Tenant { tenant, identity, calls: Arc::clone(&calls) };
            Cache::new(below, &store).partition(&format!("tenant-{tenant}"))
        });
        let wrapped = |number: u32| {
            WrappedDek::new(key(number % KEYS), "1", "SOAK", number.to_be_bytes().to_vec()).unwrap()
        };
        let context =
            |number: u32| EncryptionContext::new().with("number", number.to_string()).full().unwrap();
        let own_key = MemoryProvider::key("soak");
        let memory = Arc::new(MemoryProvider::new().with_key(&own_key));
        let limits = DataKeyLimits::new(Duration::from_secs(2), RECORDS).opened(64, AGE);
        let envelope = Envelope::new(Keyring::new().both(memory, own_key));
        Self {
            caches: caches.collect(),
            wraps: (0..WRAPS).map(wrapped).collect(),
            contexts: (0..WRAPS).map(context).collect(),
            data_keys: DataKeys::new(envelope, Recent::default(), limits),
            calls,
            store,
            sealed: Mutex::default(),
            unwraps: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            wrong: Wrong::default(),
        }
    }

    fn work(&self, thread: u32, stop: &AtomicBool) {
        let mut chance = Chance(u64::from(thread) + 1);
        while !stop.load(SeqCst) {
            let tenant = chance.below(TENANTS);
            match chance.below(10_000) {
                0 => self.store.invalidate(&key(chance.below(KEYS))),
                1..1000 => self.seal(tenant, &mut chance),
                1000..2000 => self.open_several(tenant, &mut chance),
                _ => self.open(tenant, &mut chance),
            }
            if self.store.stats().kept > ENTRIES {
                self.wrong.entries.fetch_add(1, SeqCst);
            }
        }
    }

    fn open(&self, tenant: u32, chance: &mut Chance) {
        let (number, asked) = (popular(chance), self.calls.now());
        let at = number as usize;
        let told = block_on(self.caches[tenant as usize].unwrap_dek(&self.wraps[at], &self.contexts[at]));
        self.check(tenant, number, asked, told);
    }

    fn open_several(&self, tenant: u32, chance: &mut Chance) {
        let numbers: Vec<_> = (0..8).map(|_| popular(chance)).collect();
        let of = |number: &u32| (&self.wraps[*number as usize], &self.contexts[*number as usize]);
        let (wraps, asked): (Vec<_>, _) = (numbers.iter().map(of).collect(), self.calls.now());
        let told = block_on(self.caches[tenant as usize].unwrap_deks(&wraps));
        for (number, told) in numbers.into_iter().zip(told) {
            self.check(tenant, number, asked, told);
        }
    }

    fn check(&self, tenant: u32, number: u32, asked: u64, told: Result<Dek, ProviderError>) {
        self.unwraps.fetch_add(1, SeqCst);
        let Ok(dek) = told else {
            self.refused.fetch_add(1, SeqCst);
            return;
        };
        let stamp = Stamp::of(&dek);
        let wrong = &self.wrong;
        let counts = [
            (&wrong.tenant, stamp.tenant != tenant),
            (&wrong.dek, stamp.number != number),
            (&wrong.uses, self.calls.used(stamp.call) > USES),
            (&wrong.age, u128::from(asked.saturating_sub(stamp.nanos)) >= AGE.as_nanos()),
        ];
        for (count, is_wrong) in counts {
            count.fetch_add(u64::from(is_wrong), SeqCst);
        }
    }

    fn seal(&self, tenant: u32, chance: &mut Chance) {
        let of = |tenant: u32| EncryptionContext::new().with("tenant", tenant.to_string());
        let (own, row) = (of(tenant), EncryptionContext::new().with("row", chance.below(1000).to_string()));
        let record = block_on(self.data_keys.seal(&own, b"jane@example.org", &row)).unwrap();
        let mut sealed = self.sealed.lock().unwrap();
        // Data keys that were too old before they were used up.
        if sealed.len() > 10_000 {
            sealed.clear();
        }
        let records = sealed.entry(record.data_key).or_default();
        *records += 1;
        self.wrong.records.fetch_add(u64::from(*records > RECORDS), SeqCst);
        drop(sealed);
        block_on(self.data_keys.open(&own, &record.data_key, &record.bytes, &row)).unwrap();
        let other = of((tenant + 1) % TENANTS);
        let stolen = block_on(self.data_keys.open(&other, &record.data_key, &record.bytes, &row));
        self.wrong.tenant.fetch_add(u64::from(stolen.is_ok()), SeqCst);
    }

    fn told(&self, took: Duration, early: Option<u64>, late: Option<u64>) -> ExitCode {
        let (stats, data_keys, wrong) = (self.store.stats(), self.data_keys.stats(), &self.wrong);
        println!("{THREADS} threads, {TENANTS} tenants, {:.0} s", took.as_secs_f64());
        println!(
            "unwraps {}, of which {} refused by the key store",
            read(&self.unwraps),
            read(&self.refused)
        );
        println!("{stats:?}");
        println!("{data_keys:?}");
        let resident = |kib: Option<u64>| kib.map_or("unknown".to_owned(), |kib| format!("{kib} KiB"));
        println!("resident: {} after a quarter, {} at the end", resident(early), resident(late));
        let grew = early.zip(late).is_some_and(|(early, late)| late > early + early / 10 + SLACK_KIB);
        let counts = [
            ("hits across tenants", read(&wrong.tenant)),
            ("DEKs of other wraps", read(&wrong.dek)),
            ("uses beyond the limit", read(&wrong.uses)),
            ("uses beyond the age", read(&wrong.age)),
            ("times with too many entries", read(&wrong.entries)),
            ("records beyond the limit", read(&wrong.records)),
            ("memory that grew", u64::from(grew)),
        ];
        for (what, count) in counts {
            println!("{what}: {count}");
        }
        let exercised =
            [stats.hits, stats.joined, stats.evicted, stats.expired, stats.used_up, stats.invalidated];
        let all = exercised.iter().all(|count| *count > 0) && data_keys.made > 1;
        println!("every way out of the cache was taken: {}", if all { "yes" } else { "no" });
        if all && counts.iter().all(|(_, count)| *count == 0) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}

/// The key store as one tenant reaches it: its DEKs say for whom they were unwrapped.
struct Tenant {
    tenant: u32,
    identity: ProviderIdentity,
    calls: Arc<Calls>,
}

#[async_trait]
impl KeyProvider for Tenant {
    fn name(&self) -> &'static str {
        "soak"
    }

    fn identity(&self) -> Option<ProviderIdentity> {
        Some(self.identity)
    }

    async fn wrap_dek(
        &self,
        key: &KeyUri,
        _dek: &Dek,
        _context: &FullContext,
    ) -> Result<WrappedDek, ProviderError> {
        Err(ProviderError::new(ProviderErrorKind::Unsupported, self.name(), key, "it only unwraps"))
    }

    async fn unwrap_dek(&self, wrapped: &WrappedDek, _context: &FullContext) -> Result<Dek, ProviderError> {
        let (call, nanos) = (self.calls.begin(), self.calls.now());
        for _ in 0..3 {
            yield_once().await;
        }
        let refuse = |kind| Err(ProviderError::new(kind, self.name(), wrapped.key_uri(), "by chance"));
        match call % 50_000 {
            0 => refuse(ProviderErrorKind::AccessDenied),
            1..500 => refuse(ProviderErrorKind::Throttled),
            _ => {
                let number = wrapped.ciphertext().first_chunk().map_or(0, |bytes| u32::from_be_bytes(*bytes));
                Ok(Stamp { call, nanos, tenant: self.tenant, number }.dek())
            }
        }
    }
}

/// What a DEK of the soak says.
struct Stamp {
    call: u64,
    nanos: u64,
    tenant: u32,
    number: u32,
}

impl Stamp {
    fn dek(&self) -> Dek {
        let Ok(dek) = Dek::fill_with(|bytes| {
            bytes[..8].copy_from_slice(&self.call.to_be_bytes());
            bytes[8..16].copy_from_slice(&self.nanos.to_be_bytes());
            bytes[16..20].copy_from_slice(&self.tenant.to_be_bytes());
            bytes[20..24].copy_from_slice(&self.number.to_be_bytes());
            Ok::<(), Infallible>(())
        });
        dek
    }

    fn of(dek: &Dek) -> Self {
        let (words, _) = dek.expose().as_chunks::<8>();
        let [call, nanos, last, _] = words else { unreachable!("32 bytes") };
        let last = u64::from_be_bytes(*last);
        let [tenant, number] =
            [last >> 32, last & u64::from(u32::MAX)].map(|half| u32::try_from(half).unwrap());
        Self { call: u64::from_be_bytes(*call), nanos: u64::from_be_bytes(*nanos), tenant, number }
    }
}

/// How often the answer of each call was handed out, for as many calls as may be in use.
struct Calls {
    begun: Instant,
    next: AtomicU64,
    uses: Vec<AtomicU32>,
}

impl Default for Calls {
    fn default() -> Self {
        let uses = (0..CALLS_IN_USE).map(|_| AtomicU32::new(0)).collect();
        Self { begun: Instant::now(), next: AtomicU64::new(0), uses }
    }
}

impl Calls {
    fn begin(&self) -> u64 {
        let call = self.next.fetch_add(1, SeqCst);
        self.at(call).store(0, SeqCst);
        call
    }

    /// How often the answer was handed out, this time included.
    fn used(&self, call: u64) -> u64 {
        u64::from(self.at(call).fetch_add(1, SeqCst)) + 1
    }

    fn at(&self, call: u64) -> &AtomicU32 {
        &self.uses[usize::try_from(call % CALLS_IN_USE).unwrap()]
    }

    fn now(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}

/// Keeps the last headers only, so that memory is flat.
#[derive(Default)]
struct Recent(Mutex<Headers>);

#[derive(Default)]
struct Headers {
    by_id: HashMap<DataKeyId, Vec<u8>>,
    order: VecDeque<DataKeyId>,
}

#[async_trait]
impl DataKeyStore for Recent {
    async fn put(&self, id: &DataKeyId, header: &[u8]) -> Result<(), StoreError> {
        let Headers { by_id, order } = &mut *self.0.lock().unwrap();
        by_id.insert(*id, header.to_vec());
        order.push_back(*id);
        if order.len() > 1000 {
            order.pop_front().map(|oldest| by_id.remove(&oldest));
        }
        Ok(())
    }

    async fn find(&self, id: &DataKeyId) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.0.lock().unwrap().by_id.get(id).cloned())
    }
}

/// xorshift64, so that a run needs no crate for it.
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: u32) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        u32::try_from(self.0 % u64::from(bound)).unwrap_or(0)
    }
}

/// A few wraps are asked for most of the time.
fn popular(chance: &mut Chance) -> u32 {
    if chance.below(4) == 0 { chance.below(WRAPS) } else { chance.below(WRAPS / 16) }
}

fn key(number: u32) -> KeyUri {
    KeyUri::parse(&format!("soak:key-{number}")).unwrap()
}

fn read(count: &AtomicU64) -> u64 {
    count.load(SeqCst)
}

/// As Linux tells it.
fn resident_kib() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix(" kB")?.parse().ok()
}

async fn yield_once() {
    let mut yielded = false;
    poll_fn(|task| {
        if yielded {
            return Poll::Ready(());
        }
        yielded = true;
        task.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

const THREADS: u32 = 64;
const TENANTS: u32 = 16;
const KEYS: u32 = 8;
const WRAPS: u32 = 512;
const ENTRIES: usize = 1000;
const USES: u64 = 50;
const RECORDS: u64 = 1000;
const AGE: Duration = Duration::from_millis(500);
/// More than there can be within the age.
const CALLS_IN_USE: u64 = 1 << 22;
const SLACK_KIB: u64 = 4096;
