//! `envctl rotate` is ended at random moments, again and again, by SIGKILL or a signal that it can catch, and loses
//! nothing: `scripts/kill-loop`.
//!
//! After each every envelope opens with the old key or the new one and gives its plaintext, and no file has
//! plaintext in it; what was done stays as it is until the job's end, and costs no call to a key store again. After a job that ran to its end every envelope is in the target state, was counted once, and
//! nothing else is there than was there at the beginning.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on says so")]
#![allow(clippy::print_stdout, reason = "seed and counts are said")]

use std::{
    collections::{BTreeMap, BTreeSet},
    env,
    fs::{self, File},
    os::unix::process::ExitStatusExt,
    path::{Path, PathBuf},
    process::Stdio,
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use envelope_files::open_header;
use envelope_local::Keystore;
use envelope_rotation::payload_path;
use envelope_sdk::{
    EncryptionContext, Envelope, Header, KeyUri, Keyring, WrappedDek, format::armor, stream::StreamError,
};
use futures_executor::block_on;
use rustix::process::{Pid, Signal, kill_process};
use std::sync::Arc;

use crate::common::{Ran, Sandbox};

/// Kills, unless `$KILL_LOOP_KILLS` says how many.
const KILLS: usize = 10;
/// Files, unless `$KILL_LOOP_FILES` says how many: a quarter of each kind.
const FILES: usize = 40;
/// Envelopes under way at once, unless `--concurrency` says how many.
const UNDER_WAY: usize = 16;
/// What ends a run, most often SIGKILL.
const SIGNALS: [Signal; 6] =
    [Signal::KILL, Signal::KILL, Signal::KILL, Signal::TERM, Signal::INT, Signal::HUP];
const MARK: &str = "this is the plaintext of a file";

#[test]
fn a_rotation_that_is_killed_at_any_moment_loses_nothing_and_is_resumed() {
    let (kills, files, seed) = wanted();
    let mut random = Random(seed);
    let mut tree = Tree::new(files);
    let mut checking = Duration::ZERO;
    let (mut killed, mut ended, mut resumed) = (0, 0, 0);
    let mut direction = 0;
    let mut whole_run = Duration::ZERO;
    while killed < kills {
        // To the other key, in one of two ways; killed some times on the way there.
        let (from, to) = if direction % 2 == 0 { ("old", "new") } else { ("new", "old") };
        let reencrypts = random.below(2) == 0;
        let checkpoint = format!("job-{direction}.jsonl");
        let mut begun_before = false;
        tree.begin(to);
        loop {
            let last = killed == kills || whole_run.is_zero() || random.below(4) == 0;
            let begun = Instant::now();
            let left = tree.left_to_do();
            let child = tree.rotate(from, to, reencrypts, &checkpoint);
            if last {
                let ran = Ran::of(child.wait_with_output().unwrap(), 0);
                // Of a job that had something to do: the machine is faster at one time than at another.
                if !begun_before {
                    whole_run = begun.elapsed();
                }
                tree.check_totals(&ran, left, reencrypts, begun_before);
                break;
            }
            // At any moment of a whole run: what it is right about does not depend on when.
            thread::sleep(whole_run.mul_f64(random.below(1000) as f64 / 1000.0));
            let signal = random.signal();
            let output = end(child, signal);
            let begun = Instant::now();
            tree.check(&format!("seed {seed}, kill {killed} by {signal:?}"));
            checking += begun.elapsed();
            if output.status.signal().is_none() {
                // It was faster.
                ended += 1;
                tree.check_totals(&Ran::of(output, 0), left, reencrypts, begun_before);
                break;
            }
            killed += 1;
            begun_before = true;
        }
        resumed += usize::from(begun_before);
        tree.check(&format!("seed {seed}, after {killed} kills"));
        tree.check_end(to);
        fs::remove_file(tree.sandbox.file(&checkpoint)).unwrap();
        direction += 1;
    }
    println!(
        "{killed} killed, {ended} ended before, {resumed} jobs resumed to their end, {direction} in all; \
         {} s of checks",
        checking.as_secs()
    );
}

#[test]
fn two_rotations_of_one_tree_that_are_killed_lose_nothing_and_the_next_ends_what_they_began() {
    let (kills, files, seed) = wanted();
    let mut random = Random(seed);
    let mut tree = Tree::new(files);
    let (mut killed, mut round, mut whole_run) = (0, 0, Duration::ZERO);
    while killed < kills.div_ceil(4) {
        let (from, to) = if round % 2 == 0 { ("old", "new") } else { ("new", "old") };
        // Each its own way: one may rewrap what the other reencrypts.
        let ways = [random.below(2) == 0, random.below(2) == 0];
        let checkpoints = ["one", "two"].map(|of| format!("job-{round}-{of}.jsonl"));
        let begun = Instant::now();
        let both: Vec<_> = ways
            .iter()
            .zip(&checkpoints)
            .map(|(reencrypts, checkpoint)| tree.rotate(from, to, *reencrypts, checkpoint))
            .collect();
        for child in both {
            // The first round tells how long one takes.
            if whole_run.is_zero() || random.below(4) == 0 {
                Ran::of(child.wait_with_output().unwrap(), 0);
                continue;
            }
            thread::sleep(whole_run.mul_f64(random.below(500) as f64 / 1000.0));
            let signal = random.signal();
            killed += usize::from(end(child, signal).status.signal().is_some());
        }
        // Not before: what the other one has under way is half-way for a moment.
        tree.check(&format!("seed {seed}, round {round}, both ended"));
        whole_run = if whole_run.is_zero() { begun.elapsed() } else { whole_run };
        let ran = tree.rotate(from, to, ways[0], &checkpoints[0]).wait_with_output().unwrap();
        Ran::of(ran, 0);
        tree.check(&format!("seed {seed}, round {round}"));
        tree.check_end(to);
        for checkpoint in &checkpoints {
            let _ = fs::remove_file(tree.sandbox.file(checkpoint));
        }
        round += 1;
    }
    println!("{killed} killed in {round} rounds of two");
}

/// Kills, files and the seed.
fn wanted() -> (usize, usize, u64) {
    let number = |name: &str| env::var(name).ok().map(|text| text.parse::<usize>().unwrap());
    let kills = number("KILL_LOOP_KILLS").unwrap_or(KILLS);
    let files = number("KILL_LOOP_FILES").unwrap_or(FILES);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let seed = number("KILL_LOOP_SEED").map_or(u64::from(now.subsec_nanos()) | 1, |seed| seed as u64);
    println!("KILL_LOOP_SEED={seed} KILL_LOOP_KILLS={kills} KILL_LOOP_FILES={files}");
    (kills, files, seed)
}

/// A run that is ended by `signal`, unless it comes to its own end before.
fn end(child: std::process::Child, signal: Signal) -> std::process::Output {
    let _ = kill_process(Pid::from_child(&child), signal);
    let output = child.wait_with_output().unwrap();
    let ended_by = output.status.signal();
    assert!(ended_by.is_none() || ended_by == Some(signal.as_raw()), "{:?}", output.status);
    output
}

struct Tree {
    sandbox: Sandbox,
    keystore: Arc<Keystore>,
    /// The files of the tree at the beginning.
    names: BTreeSet<PathBuf>,
    plaintexts: BTreeMap<PathBuf, Vec<u8>>,
    /// Envelope id and generation of each, as last seen.
    seen: BTreeMap<PathBuf, ([u8; 16], u32)>,
    /// The key of the job under way, and what has it: the same of each, as it was then.
    target: Option<KeyUri>,
    done: BTreeMap<PathBuf, ([u8; 16], u32)>,
}

impl Tree {
    fn new(files: usize) -> Self {
        let sandbox = Sandbox::new();
        let keystore = Arc::new(sandbox.keystore(&["old", "new"]));
        fs::create_dir_all(sandbox.file("tree/sub")).unwrap();
        fs::create_dir_all(sandbox.file("tmp")).unwrap();
        let (context, mut plaintexts) = (EncryptionContext::new(), BTreeMap::new());
        let envelope = Envelope::new(Keyring::new().encrypt(keystore.clone(), uri("old")));
        for number in 0..files {
            let folder = if number % 8 < 4 { "tree" } else { "tree/sub" };
            let path = sandbox.file(&format!("{folder}/{number}.envelope"));
            let plaintext = format!("{number} {}", MARK.repeat(1 + number % 1000)).into_bytes();
            let encrypt = |envelope: &Envelope| block_on(envelope.encrypt(&plaintext, &context)).unwrap();
            let bytes = match number % 4 {
                0 => encrypt(&envelope.clone().pad_headers_to(4096)),
                1 => encrypt(&envelope),
                2 => armor::encode(&encrypt(&envelope)).into_bytes(),
                _ => {
                    let (header, payload) =
                        block_on(envelope.encrypt_detached(&plaintext, &context)).unwrap();
                    fs::write(payload_path(&path), payload).unwrap();
                    header
                }
            };
            fs::write(&path, bytes).unwrap();
            plaintexts.insert(path, plaintext);
        }
        let names = files_below(&sandbox.file("tree"));
        let (seen, done) = (BTreeMap::new(), BTreeMap::new());
        Self { sandbox, keystore, names, plaintexts, seen, target: None, done }
    }

    /// A job to this key begins.
    fn begin(&mut self, key: &str) {
        self.target = Some(self.full(key));
        self.done.clear();
    }

    fn full(&self, key: &str) -> KeyUri {
        block_on(envelope_sdk::KeyProvider::resolve(&*self.keystore, &uri(key))).unwrap()
    }

    fn rotate(&self, from: &str, to: &str, reencrypts: bool, checkpoint: &str) -> std::process::Child {
        let (from, to) = (format!("local:{from}"), format!("local:{to}"));
        let mut args = vec!["--json", "rotate", "--from", &from, "--to", &to, "--resume", checkpoint, "tree"];
        args.extend(reencrypts.then_some("--reencrypt"));
        let mut command = self.sandbox.envctl(&args);
        command.env("TMPDIR", self.sandbox.file("tmp"));
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    /// Each envelope opens with one of the keys; there is no plaintext anywhere; generations only rise.
    fn check(&mut self, when: &str) {
        let keyring = Keyring::new().decrypt(self.keystore.clone(), uri("old"));
        let envelope = Envelope::new(keyring.decrypt(self.keystore.clone(), uri("new")));
        for (path, plaintext) in &self.plaintexts {
            let header = open(&envelope, path, plaintext)
                .unwrap_or_else(|error| panic!("{when}: {} does not open: {error}", path.display()));
            let (id, generation) = (*header.envelope_id(), header.generation());
            if self.target.as_ref().is_some_and(|target| header.recipients()[0].key_uri() == target) {
                let done = *self.done.entry(path.clone()).or_insert((id, generation));
                assert_eq!(done, (id, generation), "{when}: {} was done twice", path.display());
            }
            if let Some((seen, before)) = self.seen.insert(path.clone(), (id, generation)) {
                assert!(id != seen || generation >= before, "{when}: {} went back", path.display());
            }
        }
        for folder in ["tree", "tmp"] {
            for path in files_below(&self.sandbox.file(folder)) {
                // One that goes meanwhile is of nobody: nothing runs now.
                let bytes = fs::read(&path).unwrap();
                let has_plaintext = String::from_utf8_lossy(&bytes).contains(MARK);
                assert!(!has_plaintext, "{when}: plaintext in {}", path.display());
            }
        }
    }

    /// Everything is for this key alone, and nothing is left over.
    fn check_end(&self, key: &str) {
        let full = self.full(key);
        for path in self.plaintexts.keys() {
            let header = header_of(&fs::read(path).unwrap());
            let recipients: Vec<_> = header.recipients().iter().map(WrappedDek::key_uri).collect();
            assert_eq!(recipients, [&full], "{}", path.display());
        }
        assert_eq!(files_below(&self.sandbox.file("tree")), self.names, "nothing is left over");
        assert_eq!(files_below(&self.sandbox.file("tmp")), BTreeSet::new());
    }

    /// `left` were to be done when the run began.
    fn check_totals(&self, ran: &Ran, left: usize, reencrypts: bool, resumed: bool) {
        let files = self.plaintexts.len();
        let json = ran.json();
        let count = |value: &serde_json::Value| usize::try_from(value.as_u64().unwrap()).unwrap();
        let totals = &json["totals"];
        let of = |name: &str| count(&totals[name]);
        assert_eq!(of("failed"), 0, "{totals}");
        let changed = of("rewrapped") + of("reencrypted");
        assert_eq!(changed + of("done_before") + of("in_target_state"), files, "{totals}");
        // Nothing is done twice, nor costs a call twice: three for each envelope, one to see that the key wraps, and for those
        // that were under way at a kill and looked done (of two kinds of file) what repairs them.
        let calls = count(&json["calls"]["local"]);
        let repairs = if resumed { 3 * UNDER_WAY } else { 0 };
        assert!(changed <= left, "{left} were left: {json}");
        assert!(calls <= 3 * left + 1 + repairs + 3 * of("conflicts"), "{left} were left: {json}");
        if !resumed {
            assert_eq!(if reencrypts { of("reencrypted") } else { of("rewrapped") }, files, "{totals}");
        }
    }

    /// How many envelopes are done of the job under way.
    fn left_to_do(&self) -> usize {
        self.plaintexts.len() - self.done.len()
    }
}

fn open(envelope: &Envelope, path: &Path, plaintext: &[u8]) -> Result<Header, String> {
    let context = EncryptionContext::new();
    let bytes = fs::read(path).map_err(|error| error.to_string())?;
    if armor::is_armored(&bytes) {
        let text = String::from_utf8(bytes).map_err(|error| error.to_string())?;
        let bytes = armor::decode(&text).map_err(|error| error.to_string())?;
        let opened = block_on(envelope.decrypt(&bytes, &context)).map_err(|error| error.to_string())?;
        return same(&opened, plaintext, &header_of(&bytes));
    }
    // As `envctl decrypt` opens it: a header that was cut off is in its journal.
    let file = File::open(path).map_err(|error| error.to_string())?;
    let unlock = |header: Header| block_on(envelope.unlock(header, &context)).map_err(StreamError::from);
    let opened = open_header(&file, path, unlock).map_err(|error| error.to_string())?;
    let header = opened.header().to_bytes();
    let attached = &bytes[header.len().min(bytes.len())..];
    if !attached.is_empty() {
        let opened = block_on(envelope.decrypt(&[&header, attached].concat(), &context));
        return same(&opened.map_err(|error| error.to_string())?, plaintext, &header_of(&header));
    }
    let payload = fs::read(payload_path(path)).map_err(|error| error.to_string())?;
    if let Ok(opened) = block_on(envelope.decrypt_detached(&header, &payload, &context)) {
        return same(&opened, plaintext, &header_of(&header));
    }
    // Between the two files of a pair: the journal has the header of the payload that is there.
    let mut journal = path.as_os_str().to_owned();
    journal.push(".reencrypt-journal");
    let header = fs::read(journal).map_err(|error| format!("no journal: {error}"))?;
    let opened = block_on(envelope.decrypt_detached(&header, &payload, &context));
    same(&opened.map_err(|error| error.to_string())?, plaintext, &header_of(&header))
}

fn same(found: &[u8], plaintext: &[u8], header: &Header) -> Result<Header, String> {
    if found == plaintext { Ok(header.clone()) } else { Err("it gives another plaintext".into()) }
}

fn header_of(bytes: &[u8]) -> Header {
    if armor::is_armored(bytes) {
        let bytes = armor::decode(std::str::from_utf8(bytes).unwrap()).unwrap();
        return Envelope::inspect(&bytes).unwrap();
    }
    Envelope::inspect(bytes).unwrap()
}

fn files_below(folder: &Path) -> BTreeSet<PathBuf> {
    let (mut found, mut folders) = (BTreeSet::new(), vec![folder.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                found.insert(path);
            }
        }
    }
    found
}

fn uri(name: &str) -> KeyUri {
    KeyUri::parse(&format!("local:{name}")).unwrap()
}

/// Xorshift.
struct Random(u64);

impl Random {
    fn signal(&mut self) -> Signal {
        let index = self.below(SIGNALS.len() as u64);
        SIGNALS[usize::try_from(index).unwrap()]
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % limit
    }
}
