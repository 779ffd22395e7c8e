//! `envctl rotate` is killed at random moments, again and again, and loses nothing: `scripts/kill-loop`.
//!
//! After each kill every envelope opens with the old key or the new one and gives its plaintext, and no file has
//! plaintext in it. After a job that ran to its end every envelope is in the target state, was counted once, and
//! nothing else is there than was there at the beginning.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on says so")]

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
use std::sync::Arc;

use crate::common::{Ran, Sandbox};

/// Kills, unless `$KILL_LOOP_KILLS` says how many.
const KILLS: usize = 10;
/// Files, unless `$KILL_LOOP_FILES` says how many: a quarter of each kind.
const FILES: usize = 40;
const MARK: &str = "this is the plaintext of a file";

#[test]
fn a_rotation_that_is_killed_at_any_moment_loses_nothing_and_is_resumed() {
    let number = |name: &str| env::var(name).ok().map(|text| text.parse::<usize>().unwrap());
    let kills = number("KILL_LOOP_KILLS").unwrap_or(KILLS);
    let files = number("KILL_LOOP_FILES").unwrap_or(FILES);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let seed = number("KILL_LOOP_SEED").map_or(u64::from(now.subsec_nanos()) | 1, |seed| seed as u64);
    println!("KILL_LOOP_SEED={seed} KILL_LOOP_KILLS={kills} KILL_LOOP_FILES={files}");
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
        loop {
            let last = killed == kills || whole_run.is_zero() || random.below(4) == 0;
            let begun = Instant::now();
            let mut child = tree.rotate(from, to, reencrypts, &checkpoint);
            if last {
                let ran = Ran::of(child.wait_with_output().unwrap(), 0);
                // Of a job that had something to do: the machine is faster at one time than at another.
                if !begun_before {
                    whole_run = begun.elapsed();
                }
                tree.check_totals(&ran, files, reencrypts, begun_before);
                break;
            }
            // At any moment of a whole run: what it is right about does not depend on when.
            thread::sleep(whole_run.mul_f64(random.below(1000) as f64 / 1000.0));
            child.kill().unwrap();
            let output = child.wait_with_output().unwrap();
            let begun = Instant::now();
            tree.check(&format!("seed {seed}, kill {killed}"));
            checking += begun.elapsed();
            if output.status.signal().is_none() {
                // It was faster.
                ended += 1;
                tree.check_totals(&Ran::of(output, 0), files, reencrypts, begun_before);
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
        "{killed} killed, {ended} ended before, {resumed} jobs resumed to their end, {direction} in all"
    );
}

struct Tree {
    sandbox: Sandbox,
    keystore: Arc<Keystore>,
    /// The files of the tree at the beginning.
    names: BTreeSet<PathBuf>,
    plaintexts: BTreeMap<PathBuf, Vec<u8>>,
    /// Envelope id and generation of each, as last seen.
    seen: BTreeMap<PathBuf, ([u8; 16], u32)>,
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
        Self { sandbox, keystore, names, plaintexts, seen: BTreeMap::new() }
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
            let (id, generation) = open(&envelope, path, plaintext)
                .unwrap_or_else(|error| panic!("{when}: {} does not open: {error}", path.display()));
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
        let full = block_on(envelope_sdk::KeyProvider::resolve(&*self.keystore, &uri(key))).unwrap();
        for path in self.plaintexts.keys() {
            let header = header_of(&fs::read(path).unwrap());
            let recipients: Vec<_> = header.recipients().iter().map(WrappedDek::key_uri).collect();
            assert_eq!(recipients, [&full], "{}", path.display());
        }
        assert_eq!(files_below(&self.sandbox.file("tree")), self.names, "nothing is left over");
        assert_eq!(files_below(&self.sandbox.file("tmp")), BTreeSet::new());
    }

    fn check_totals(&self, ran: &Ran, files: usize, reencrypts: bool, resumed: bool) {
        let totals = &ran.json()["totals"];
        let count = |name: &str| usize::try_from(totals[name].as_u64().unwrap()).unwrap();
        assert_eq!(count("failed"), 0, "{totals}");
        let done =
            count("rewrapped") + count("reencrypted") + count("done_before") + count("in_target_state");
        assert_eq!(done, files, "{totals}");
        if !resumed {
            assert_eq!(if reencrypts { count("reencrypted") } else { count("rewrapped") }, files, "{totals}");
        }
    }
}

fn open(envelope: &Envelope, path: &Path, plaintext: &[u8]) -> Result<([u8; 16], u32), String> {
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

fn same(found: &[u8], plaintext: &[u8], header: &Header) -> Result<([u8; 16], u32), String> {
    if found == plaintext {
        Ok((*header.envelope_id(), header.generation()))
    } else {
        Err("it gives another plaintext".into())
    }
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
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % limit
    }
}
