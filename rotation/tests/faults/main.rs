//! Jobs over files on a disk that fails, and on one that loses power. What fails is seen by the whole process, so this
//! is a program of its own, and its tests run one after the other.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests are tests too")]
#![allow(clippy::print_stdout, reason = "how much was tried is said")]

mod failing;
mod folders;
mod half_read;
mod power;

use std::{
    collections::BTreeMap,
    fs::{self, File},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use envelope_files::{
    disk::{self, Disk},
    open_header,
};
use envelope_rotation::{Control, Files, Goal, Job, Key, Report, RotationError, payload_path};
use envelope_sdk::{
    EncryptionContext, Envelope, Header, KeyProvider, KeyUri, Keyring, format::armor, stream::StreamError,
};
use envelope_testkit::MemoryProvider;
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};

/// What a file may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Padded,
    Attached,
    Armored,
    Detached,
}

const KINDS: [Kind; 4] = [Kind::Padded, Kind::Attached, Kind::Armored, Kind::Detached];
const NAME: &str = "x.envelope";
/// What no file may hold.
const MARK: &str = "this is the plaintext of a file. ";

/// The names of a folder, and what the files hold.
type Content = BTreeMap<PathBuf, Vec<u8>>;

/// Keys `a` and `b`, and what runs jobs.
struct Bench {
    provider: Arc<MemoryProvider>,
    runtime: Runtime,
    /// The disk of a process is one.
    _turn: MutexGuard<'static, ()>,
}

impl Bench {
    fn new() -> Self {
        static TURN: Mutex<()> = Mutex::new(());
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let provider = MemoryProvider::new().with_key(&uri("a")).with_key(&uri("b"));
        // Waits for somebody who is faster take no time.
        let runtime = Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        Self { provider: Arc::new(provider), runtime, _turn: turn }
    }

    fn provider(&self) -> Arc<dyn KeyProvider> {
        Arc::clone(&self.provider) as _
    }

    fn envelope(&self, keys: &[&str]) -> Envelope {
        let both = |keyring: Keyring, key: &&str| keyring.both(self.provider(), uri(key));
        Envelope::new(keys.iter().fold(Keyring::new(), both))
    }

    /// A folder with an envelope for `a`.
    fn sealed(&self, kind: Kind) -> Content {
        let (envelope, context, plaintext) = (self.envelope(&["a"]), EncryptionContext::new(), plaintext());
        let encrypt = |envelope: Envelope| {
            self.runtime.block_on(envelope.encrypt(plaintext.as_bytes(), &context)).unwrap()
        };
        let mut files = Content::new();
        let bytes = match kind {
            Kind::Padded => encrypt(envelope.pad_headers_to(4096)),
            Kind::Attached => encrypt(envelope),
            Kind::Armored => armor::encode(&encrypt(envelope)).into_bytes(),
            Kind::Detached => {
                let sealed = envelope.encrypt_detached(plaintext.as_bytes(), &context);
                let (header, payload) = self.runtime.block_on(sealed).unwrap();
                files.insert(payload_path(Path::new(NAME)), payload);
                header
            }
        };
        files.insert(NAME.into(), bytes);
        files
    }

    /// Brings all of the folder from `a` to `b`.
    fn job(&self, folder: &Path, reencrypts: bool) -> Result<Report, RotationError> {
        let key = |name| Key::new(self.provider(), uri(name));
        let goal = Goal::only(vec![key("b")]).open_with(vec![key("a")]);
        let goal = if reencrypts { goal.reencrypting() } else { goal };
        let source = Files::new(vec![folder.to_owned()]).removing_left_files();
        self.runtime.block_on(Job::new(Arc::new(source), goal).run(&Control::new(), |_| {}))
    }

    /// The envelope opens with one of the keys, and no file holds plaintext.
    fn check(&self, folder: &Path, keys: &[&str], when: &str) {
        self.open(&folder.join(NAME), keys)
            .unwrap_or_else(|error| panic!("{when}: {error}: {:?}", names(folder)));
        for (name, bytes) in read(folder) {
            let has_plaintext = String::from_utf8_lossy(&bytes).contains(MARK);
            assert!(!has_plaintext, "{when}: plaintext in {}", name.display());
        }
    }

    /// A job without faults ends what was begun, and leaves nothing over. (Where files have temporary names from the
    /// beginning, nobody can tell half a payload that could not be removed from other files.)
    fn finish(&self, folder: &Path, (reencrypts, named): (bool, bool), before: &[PathBuf], when: &str) {
        let report = self.job(folder, reencrypts).unwrap();
        assert_eq!(report.totals.failed, 0, "{when}: {report}: {:?}", names(folder));
        self.check(folder, &["b"], when);
        let is_expected = |name: &PathBuf| !named || !name.to_string_lossy().starts_with(".envctl-");
        let left: Vec<_> = names(folder).into_iter().filter(is_expected).collect();
        assert_eq!(left, before, "{when}: something is left over");
    }

    /// As `envctl decrypt` does, and by the journal of a pair.
    fn open(&self, path: &Path, keys: &[&str]) -> Result<(), String> {
        let (envelope, context) = (self.envelope(keys), EncryptionContext::new());
        let decrypt = |bytes: &[u8]| {
            self.runtime.block_on(envelope.decrypt(bytes, &context)).map_err(|error| error.to_string())
        };
        let bytes = fs::read(path).map_err(|error| error.to_string())?;
        if armor::is_armored(&bytes) {
            let text = String::from_utf8(bytes).map_err(|error| error.to_string())?;
            return same(&decrypt(&armor::decode(&text).map_err(|error| error.to_string())?)?);
        }
        let file = File::open(path).map_err(|error| error.to_string())?;
        let unlock = |header: Header| {
            self.runtime.block_on(envelope.unlock(header, &context)).map_err(StreamError::from)
        };
        let opened = open_header(&file, path, unlock).map_err(|error| error.to_string())?;
        let header = opened.header().to_bytes();
        let attached = &bytes[header.len().min(bytes.len())..];
        if !attached.is_empty() {
            return same(&decrypt(&[&header, attached].concat())?);
        }
        let payload = fs::read(payload_path(path)).map_err(|error| error.to_string())?;
        let detached = |header: &[u8]| {
            let opened = self.runtime.block_on(envelope.decrypt_detached(header, &payload, &context));
            opened.map_err(|error| error.to_string()).and_then(|opened| same(&opened))
        };
        detached(&header).or_else(|error| {
            let mut journal = path.as_os_str().to_owned();
            journal.push(".reencrypt-journal");
            detached(&fs::read(journal).map_err(|_| error)?)
        })
    }
}

fn same(opened: &[u8]) -> Result<(), String> {
    if opened == plaintext().as_bytes() { Ok(()) } else { Err("another plaintext".into()) }
}

/// Of more than one chunk.
fn plaintext() -> String {
    MARK.repeat(520)
}

fn uri(name: &str) -> KeyUri {
    MemoryProvider::key(name)
}

/// In memory, where there is a place for that: a flush costs nothing there.
fn folder(files: &Content) -> TempDir {
    let memory = Path::new("/dev/shm");
    let folder = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.unwrap();
    for (name, bytes) in files {
        fs::write(folder.path().join(name), bytes).unwrap();
    }
    folder
}

fn names(folder: &Path) -> Vec<PathBuf> {
    read(folder).into_keys().collect()
}

fn read(folder: &Path) -> Content {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.map(|path| (path.file_name().unwrap().into(), fs::read(&path).unwrap())).collect()
}

/// Runs `work` with `disk` between it and the files.
fn with_disk<T>(disk: impl Disk + 'static, work: impl FnOnce() -> T) -> T {
    struct Unwatch;
    impl Drop for Unwatch {
        fn drop(&mut self) {
            disk::watch(None);
        }
    }
    let _unwatch = Unwatch;
    disk::watch(Some(Box::new(disk)));
    work()
}
