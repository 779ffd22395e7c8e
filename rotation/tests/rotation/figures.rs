//! Figures, for who asks for them: `cargo test --release -p envelope-rotation --test rotation -- --ignored --nocapture
//! --test-threads=1 figures`.

#![allow(clippy::print_stdout, reason = "figures are printed")]

use std::{
    fs::{self, File},
    os::unix::fs::FileExt,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use envelope_files::LockedFile;
use envelope_local::{Argon2Params, Keystore, Passphrase};
use envelope_rotation::{
    Control, Files, Goal, Item, Job, Key, Listing, Reencryption, Source, SourceError, Stored,
};
use envelope_sdk::{EncryptionContext, Envelope, Header, KeyAdmin, KeyUri, Keyring, NewKey};

use crate::{Keys, run};

/// As many items as it says, each of which has the same envelope and takes every new header.
struct Endless {
    items: usize,
    stored: Stored,
}

#[async_trait]
impl Source for Endless {
    fn list(&self) -> Listing {
        let names = (0..self.items).map(|number| Ok(Item::named(format!("folder/{number}.envelope"))));
        Box::pin(futures_util::stream::iter(names))
    }

    async fn read(&self, _item: &Item) -> Result<Stored, SourceError> {
        Ok(self.stored.clone())
    }

    async fn commit(&self, _item: &Item, _old: &Stored, new: &Header) -> Result<u64, SourceError> {
        Ok(new.len() as u64)
    }

    async fn reencrypt(&self, _: &Item, _: &Stored, _: Reencryption) -> Result<u64, SourceError> {
        Err(SourceError::Unsupported("not here"))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "it takes minutes: cargo test --release -p envelope-rotation --test rotation -- --ignored --nocapture --test-threads=1 figures"]
async fn figures_of_memory() {
    let keys = Keys::new();
    let sealed = keys.envelope("a").encrypt(b"0", &EncryptionContext::new()).await.unwrap();
    let header = Envelope::inspect(&sealed).unwrap();
    let stored = Stored { header, payload: None, is_armored: false, modified: None, tag: None };
    for items in [1_000, 10_000, 100_000, 1_000_000] {
        let source = Arc::new(Endless { items, stored: stored.clone() });
        let report = run(Job::new(source, crate::a_to_b(&keys))).await;
        println!("{items} items in memory: peak {} KiB\n{report}", peak_kib());
        assert!(peak_kib() < 64 * 1024);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "it takes minutes: cargo test --release -p envelope-rotation --test rotation -- --ignored --nocapture --test-threads=1 figures"]
async fn figures_of_a_limit() {
    let (most, rate) = crate::key_stores::used_of_500_calls_a_second(5000).await;
    println!(
        "a key store that answers in 20 ms, limited to 500 calls/s, 64 at once: {rate:.1}/s, at most {most} in a second"
    );
    assert!(most <= 500 && rate >= 475.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "it takes minutes: cargo test --release -p envelope-rotation --test rotation -- --ignored --nocapture --test-threads=1 figures"]
async fn figures_of_files() {
    let folder = tempfile::tempdir_in("/dev/shm").unwrap();
    let smallest = Argon2Params { m_cost: 19 * 1024, t_cost: 1, p_cost: 1 };
    let passphrase = Passphrase::new("words".into()).unwrap();
    let keystore = Keystore::create_with(folder.path().join("keystore.json"), &passphrase, smallest).unwrap();
    for name in ["old", "new"] {
        keystore.create_key(&NewKey::named(name)).await.unwrap();
    }
    let keystore = Arc::new(keystore);
    let uri = |name: &str| KeyUri::parse(&format!("local:{name}")).unwrap();
    let envelope = Envelope::new(Keyring::new().encrypt(keystore.clone(), uri("old"))).pad_headers_to(4096);
    let tree = folder.path().join("tree");
    let files = files();
    for number in 0..files {
        let below = tree.join((number % 100).to_string());
        fs::create_dir_all(&below).unwrap();
        let sealed = envelope.encrypt(&[7; 2048], &EncryptionContext::new()).await.unwrap();
        fs::write(below.join(format!("{number}.envelope")), sealed).unwrap();
    }
    let mut keys = ["old", "new"];
    for concurrency in [1, 2, 4, 16] {
        let [from, to] = keys;
        keys.reverse();
        let goal = Goal::only(vec![Key::new(keystore.clone(), uri(to))])
            .open_with(vec![Key::new(keystore.clone(), uri(from))]);
        let job = Job::new(Arc::new(Files::new(vec![tree.clone()])), goal).concurrency(concurrency);
        let before = processor_time();
        let report = job.run(&Control::new(), |_| {}).await.unwrap();
        assert_eq!(report.totals.rewrapped, files as u64);
        let rate = files as f64 / report.took.as_secs_f64();
        let [user, system] = since(before).map(|time| time / u32::try_from(files).unwrap());
        println!(
            "{concurrency} at once, to {to}: {rate:.0} files/s; processor time {:?} for each file, {system:?} of it in the \
             system; peak {} KiB",
            user + system,
            peak_kib()
        );
    }
    alone("open and read", &tree, |path| {
        File::open(path).unwrap().read_exact_at(&mut [0; 4096], 0).unwrap();
    });
    alone("open and lock", &tree, |path| drop(LockedFile::open(path).unwrap()));
    alone("open and write 4 KiB", &tree, |path| {
        File::options().write(true).open(path).unwrap().write_all_at(&[0; 4096], 0).unwrap();
    });
    alone("open, write and fsync", &tree, |path| {
        let file = File::options().write(true).open(path).unwrap();
        file.write_all_at(&[0; 4096], 0).unwrap();
        file.sync_all().unwrap();
    });
    alone("create, write, fsync and remove another file", &tree, |path| {
        let other = path.with_extension("journal");
        let file = File::create_new(&other).unwrap();
        file.write_all_at(&[0; 8192], 0).unwrap();
        file.sync_all().unwrap();
        fs::remove_file(other).unwrap();
    });
}

/// What the calls to the system alone cost, on one thread.
fn alone(what: &str, tree: &Path, work: impl Fn(&Path)) {
    let (files, before, begun) = (files(), processor_time(), Instant::now());
    for number in 0..files {
        work(&tree.join((number % 100).to_string()).join(format!("{number}.envelope")));
    }
    let count = u32::try_from(files).unwrap();
    let processor: Duration = since(before).iter().sum();
    println!(
        "alone, on one thread: {what}: {:?} for each file, {:?} of it processor time",
        begun.elapsed() / count,
        processor / count
    );
}

/// Time of the processor that this process has had, of its own and in the system, to a hundredth of a second.
fn processor_time() -> [Duration; 2] {
    let stat = fs::read_to_string("/proc/self/stat").unwrap();
    // Behind the name of the program, which may hold anything.
    let fields: Vec<_> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    [fields[11], fields[12]].map(|ticks| Duration::from_millis(ticks.parse::<u64>().unwrap() * 10))
}

fn since(before: [Duration; 2]) -> [Duration; 2] {
    let now = processor_time();
    [now[0] - before[0], now[1] - before[1]]
}

/// `FIGURES_FILES` of them: fewer, to see which calls are made.
fn files() -> usize {
    std::env::var("FIGURES_FILES").map_or(100_000, |files| files.parse().unwrap())
}

fn peak_kib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}
