//! Sequences of what people, attackers and power cuts do with files, and a model
//! that says what each key must open.
//!
//! `FILE_SEQUENCES=100000 cargo test -p envelope-files machine -- --nocapture` is the
//! long form (four minutes); `FILE_SEED=N` repeats a run.

use std::{
    collections::BTreeMap,
    fs,
    io::Write,
    os::unix::fs::{FileExt, MetadataExt},
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use envelope_sdk::{Header, stream};
use proptest::{
    prelude::*,
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};
use tempfile::TempDir;

use super::{ALWAYS_NAMED, Failure, Keys, PLAINTEXT, folder, names, unlock};
use crate::{
    Access, Existing, FileError, HowWritten, Journal, LockedFile, NewFile, journal_beside, kill, open_header,
};

/// One thing that happens. Names are indices of [`NAMES`], keys 0 to 2.
#[derive(Debug, Clone)]
enum Step {
    Encrypt {
        name: usize,
        key: usize,
        cut: Option<Cut>,
    },
    Rewrap {
        name: usize,
        from: usize,
        to: usize,
        cut: Option<Cut>,
    },
    /// A rewrap by all keys, as whoever repairs things has them.
    Repair {
        name: usize,
        to: usize,
    },
    Move {
        from: usize,
        to: usize,
        with_journal: bool,
    },
    Copy {
        from: usize,
        to: usize,
        with_journal: bool,
    },
    Link {
        from: usize,
        to: usize,
    },
    Remove {
        name: usize,
    },
    /// Puts a journal of any rewrap that ever was beside a file.
    PlantJournal {
        name: usize,
        rewrap: usize,
    },
    /// Puts an old header there, as a journal was before it had a form of its own.
    PlantHeader {
        name: usize,
        header: usize,
    },
    /// A file of somebody that happens to be called so.
    PlantFile {
        name: usize,
    },
    /// An authentic old header is authentic: that is beyond a file.
    Restore {
        name: usize,
        header: usize,
    },
    DamageJournal {
        name: usize,
        at: usize,
    },
}

/// Where a process is killed: before which change, and what of a header arrives.
#[derive(Debug, Clone, Copy)]
struct Cut {
    after: usize,
    arrive: u16,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let name = || prop_oneof![3 => Just(0), 2 => 0..NAMES.len()];
    let key = || 0..3_usize;
    let cut = || {
        // The fourth change of a rewrap is the header.
        let after = prop_oneof![2 => Just(3), 3 => 0..9_usize];
        let cut = (after, any::<u16>()).prop_map(|(after, arrive)| Cut { after, arrive });
        prop::option::weighted(0.6, cut)
    };
    let any = any::<usize>;
    let step = prop_oneof![
        2 => (name(), key(), cut()).prop_map(|(name, key, cut)| Step::Encrypt { name, key, cut }),
        8 => (name(), 0..8_usize, key(), cut())
            .prop_map(|(name, from, to, cut)| Step::Rewrap { name, from, to, cut }),
        2 => (name(), key()).prop_map(|(name, to)| Step::Repair { name, to }),
        2 => (name(), name(), prop::bool::ANY)
            .prop_map(|(from, to, with_journal)| Step::Move { from, to, with_journal }),
        2 => (name(), name(), prop::bool::ANY)
            .prop_map(|(from, to, with_journal)| Step::Copy { from, to, with_journal }),
        1 => (name(), name()).prop_map(|(from, to)| Step::Link { from, to }),
        1 => name().prop_map(|name| Step::Remove { name }),
        3 => (name(), any()).prop_map(|(name, rewrap)| Step::PlantJournal { name, rewrap }),
        1 => (name(), any()).prop_map(|(name, header)| Step::PlantHeader { name, header }),
        1 => name().prop_map(|name| Step::PlantFile { name }),
        1 => (name(), any()).prop_map(|(name, header)| Step::Restore { name, header }),
        1 => (name(), any()).prop_map(|(name, at)| Step::DamageJournal { name, at }),
    ];
    let first = key().prop_map(|key| Step::Encrypt { name: 0, key, cut: None });
    (first, prop::collection::vec(step, 1..20)).prop_map(|(first, mut steps)| {
        steps.insert(0, first);
        steps
    })
}

/// The files, and every authentic header that ever was with its key.
struct World {
    folder: TempDir,
    keys: Keys,
    headers: Vec<(Vec<u8>, usize)>,
    /// Both headers of each rewrap, done or cut off.
    rewraps: Vec<(Vec<u8>, Vec<u8>)>,
    /// Files that are nobody's journal, by name.
    precious: BTreeMap<usize, Vec<u8>>,
}

impl World {
    fn new() -> Self {
        let folder = folder();
        fs::create_dir(folder.path().join("sub")).unwrap();
        Self {
            folder,
            keys: Keys::new(),
            headers: Vec::new(),
            rewraps: Vec::new(),
            precious: BTreeMap::new(),
        }
    }

    fn path(&self, name: usize) -> PathBuf {
        self.folder.path().join(NAMES[name])
    }

    fn journal(&self, name: usize) -> PathBuf {
        let path = self.path(name);
        path.with_file_name(Journal::name_of(path.file_name().unwrap()))
    }

    fn take(&mut self, step: &Step) {
        match *step {
            Step::Encrypt { name, key, cut } => self.encrypt(name, key, cut),
            Step::Rewrap { name, from, to, cut } => {
                let from = if from < 3 { from } else { self.opens(name).first().copied().unwrap_or(0) };
                self.rewrap(name, &[from], to, cut);
            }
            Step::Repair { name, to } => self.rewrap(name, &[0, 1, 2], to, None),
            Step::Move { from, to, with_journal } => {
                if from != to && fs::rename(self.path(from), self.path(to)).is_ok() && with_journal {
                    self.bring_journal(from, to, true);
                }
            }
            Step::Copy { from, to, with_journal } => {
                // A copy over a file that has other names would change those.
                if from != to && self.path(from).exists() {
                    let _ = fs::remove_file(self.path(to));
                    fs::copy(self.path(from), self.path(to)).unwrap();
                    if with_journal {
                        self.bring_journal(from, to, false);
                    }
                }
            }
            Step::Link { from, to } => {
                let _ = fs::hard_link(self.path(from), self.path(to));
            }
            Step::Remove { name } => {
                let _ = fs::remove_file(self.path(name));
            }
            Step::PlantJournal { name, rewrap } => {
                if !self.rewraps.is_empty() {
                    let (old, new) = &self.rewraps[rewrap % self.rewraps.len()];
                    let header = |bytes: &[u8]| Header::parse_exact(bytes).unwrap();
                    let journal = Journal::new(header(old), header(new)).unwrap().to_bytes();
                    self.plant(name, &journal);
                    self.precious.remove(&name);
                }
            }
            Step::PlantHeader { name, header } => {
                if !self.headers.is_empty() {
                    let header = self.headers[header % self.headers.len()].0.clone();
                    self.plant(name, &header);
                    self.precious.insert(name, header);
                }
            }
            Step::PlantFile { name } => {
                self.plant(name, b"precious");
                self.precious.insert(name, b"precious".to_vec());
            }
            Step::Restore { name, header } => self.restore(name, header),
            Step::DamageJournal { name, at } => {
                if let Ok(mut bytes) = fs::read(self.journal(name)) {
                    let at = at % bytes.len();
                    bytes[at] ^= 0x10;
                    self.plant(name, &bytes);
                    self.precious.insert(name, bytes);
                }
            }
        }
    }

    fn plant(&self, name: usize, bytes: &[u8]) {
        let _ = fs::remove_file(self.journal(name));
        fs::write(self.journal(name), bytes).unwrap();
    }

    fn bring_journal(&mut self, from: usize, to: usize, away: bool) {
        if let Ok(bytes) = fs::read(self.journal(from)) {
            self.plant(to, &bytes);
            match self.precious.get(&from).cloned() {
                Some(precious) => self.precious.insert(to, precious),
                None => self.precious.remove(&to),
            };
            if away {
                fs::remove_file(self.journal(from)).unwrap();
                self.precious.remove(&from);
            }
        }
    }

    fn restore(&self, name: usize, header: usize) {
        let Ok(bytes) = fs::read(self.path(name)) else { return };
        // Only of this envelope: by its id, behind the preamble. A torn header has it.
        let of_this: Vec<_> =
            self.headers.iter().filter(|(header, _)| header[16..32] == bytes[16..32]).collect();
        if !of_this.is_empty() {
            let (header, _) = of_this[header % of_this.len()];
            let file = fs::File::options().write(true).open(self.path(name)).unwrap();
            file.write_all_at(header, 0).unwrap();
        }
    }

    fn encrypt(&mut self, name: usize, key: usize, cut: Option<Cut>) {
        let sealed = self.keys.encrypt(key);
        let before = fs::read(self.path(name)).ok();
        self.headers.push((sealed[..HEADER].to_vec(), key));
        let done = until(cut, || {
            let mut new = NewFile::create(&self.path(name), Existing::Replace, Access::Public)?;
            new.write_all(&sealed).map_err(|error| FileError::io("write", &self.path(name), error))?;
            new.commit().map(drop)
        });
        let now = fs::read(self.path(name)).ok();
        match done {
            Some(done) => {
                done.unwrap();
                assert_eq!(now.as_ref(), Some(&sealed));
            }
            None => assert!(now == before || now.as_ref() == Some(&sealed), "half a file"),
        }
    }

    fn rewrap(&mut self, name: usize, from: &[usize], to: usize, cut: Option<Cut>) {
        let path = self.path(name);
        let Ok(before) = fs::read(&path) else { return };
        let (names, inode) = fs::metadata(&path).map(|file| (file.nlink(), file.ino())).unwrap();
        let opened = self.opens(name);
        let expected: Vec<usize> = from.iter().copied().filter(|key| opened.contains(key)).collect();
        let kept = self.keeps_journal(name).then(|| fs::read(self.journal(name)).ok());
        let mut rewrapped = None;
        let done = until(cut, || rewrap(&self.keys, &path, from, to, &mut rewrapped));
        if let Some((old, new)) = rewrapped {
            self.headers.push((new.clone(), to));
            self.rewraps.push((old, new));
        }
        let now = fs::read(&path).unwrap();
        assert_eq!(now.len(), before.len());
        assert!(now[HEADER..] == before[HEADER..], "the payload stays");
        if let Some(journal) = &kept {
            assert!(*journal == fs::read(self.journal(name)).ok(), "what is another's stays");
        }
        match done {
            Some(Ok(())) => {
                assert!(!expected.is_empty(), "only a key that opens rewraps");
                assert_eq!(self.opens(name), [to]);
                assert!(names == 1 || fs::metadata(&path).unwrap().ino() == inode, "an old header stays");
                let (_, new) = self.rewraps.last().unwrap();
                assert!(now[..HEADER] == *new);
                if kept.is_none() {
                    assert!(!self.journal(name).exists(), "a journal that is done with goes");
                }
            }
            Some(Err(Failure::File(FileError::HardLinks { .. }))) => {
                assert!(names > 1 && kept.is_some());
            }
            Some(Err(error)) => {
                assert!(expected.is_empty(), "{error:?}");
                assert!(now == before, "what failed changed nothing");
            }
            None if expected.is_empty() => assert!(now == before, "who has no key changes nothing"),
            // The file must open: by the key from before or by the new one.
            None => {
                let now = self.opens(name);
                assert!(
                    !now.is_empty() && now.iter().all(|key| *key == to || opened.contains(key)),
                    "{now:?}"
                );
            }
        }
    }

    /// True when what has the name of the journal is none, or that of another envelope, for
    /// which it may be all that is left of a header.
    fn keeps_journal(&self, name: usize) -> bool {
        let id = |bytes: Vec<u8>, at: usize| bytes.get(at + 16..at + 32).map(<[u8]>::to_vec);
        let (file, journal) = (fs::read(self.path(name)), fs::read(self.journal(name)));
        let of_another =
            file.ok().zip(journal.ok()).is_some_and(|(file, journal)| id(file, 0) != id(journal, JOURNAL_AT));
        self.precious.contains_key(&name) || of_another
    }

    /// The model: the keys that must open the file of this name, and no others: one, or
    /// both of a rewrap that was cut off. It is told by the bytes,
    /// the headers that ever were, and the journal beside; never by the code under test.
    fn opens(&self, name: usize) -> Vec<usize> {
        self.keys_of(name).unwrap_or_default()
    }

    fn keys_of(&self, name: usize) -> Option<Vec<usize>> {
        let front = fs::read(self.path(name)).ok()?[..HEADER].to_vec();
        let key_of =
            |bytes: &[u8]| self.headers.iter().find(|(header, _)| header == bytes).map(|(_, key)| *key);
        if let Some(key) = key_of(&front) {
            return Some(vec![key]);
        }
        let journal = fs::read(self.journal(name)).ok().filter(|_| !self.precious.contains_key(&name))?;
        let [old, new] = &headers_in(&journal);
        let is_mixed = (0..HEADER).all(|at| [old[at], new[at], 0].contains(&front[at]));
        (is_mixed && front[16..32] == new[16..32])
            .then(|| [new, old].into_iter().filter_map(|header| key_of(header)).collect())
    }

    fn check(&self) {
        for (name, called) in NAMES.iter().enumerate() {
            let path = self.path(name);
            let Ok(before) = fs::read(&path) else { continue };
            let beside = fs::read(self.journal(name)).ok();
            let expected = self.opens(name);
            for key in 0..3 {
                let opened = read(&self.keys, &path, key);
                assert_eq!(opened.is_some(), expected.contains(&key), "{called} by key {key}");
                assert!(opened.is_none_or(|plaintext| plaintext == PLAINTEXT));
            }
            assert!(fs::read(&path).unwrap() == before, "a reader writes nothing");
            assert!(fs::read(self.journal(name)).ok() == beside, "a reader removes nothing");
        }
        for (name, bytes) in &self.precious {
            assert!(fs::read(self.journal(*name)).unwrap() == *bytes, "a file that is no journal stays");
        }
        for folder in [self.folder.path(), &self.folder.path().join("sub")] {
            assert!(!names(folder).iter().any(|name| name.starts_with('.')), "{:?}", names(folder));
        }
    }

    /// What a kill may leave, where files are not unnamed or replace another.
    fn sweep(&self) {
        for folder in [self.folder.path(), &self.folder.path().join("sub")] {
            let left: Vec<_> =
                names(folder).into_iter().filter(|name| name.starts_with(".envctl-")).collect();
            assert!(left.len() <= 1, "{left:?}");
            for name in left {
                fs::remove_file(folder.join(name)).unwrap();
            }
        }
    }
}

/// The old and the new header in a whole journal: the length of what is not padding, that, and the MAC.
fn headers_in(journal: &[u8]) -> [Vec<u8>; 2] {
    let mut rest = &journal[JOURNAL_AT - 4..];
    [(); 2].map(|()| {
        let (len, behind) = rest.split_first_chunk::<4>().unwrap();
        let (front, behind) = behind.split_at(u32::from_be_bytes(*len) as usize);
        let (mac, behind) = behind.split_at(32);
        rest = behind;
        let padding = vec![0; HEADER - front.len() - mac.len()];
        [front, &padding, mac].concat()
    })
}

/// What `envctl rewrap` does.
fn rewrap(
    keys: &Keys,
    path: &Path,
    from: &[usize],
    to: usize,
    rewrapped: &mut Option<(Vec<u8>, Vec<u8>)>,
) -> Result<(), Failure> {
    let locked = LockedFile::open(path)?;
    let envelope = keys.rewrapper(from, to);
    let old = if locked.journal().is_some_and(|beside| beside.journal.is_some()) {
        locked.open_header(unlock(&envelope))?.header().clone()
    } else {
        unlock(&envelope)(stream::read_header_at(locked.file())?)?.header().clone()
    };
    let Some(new) = keys.rewrap(&old, from, to) else {
        return Err(Failure::File(FileError::Changed { path: path.to_owned() }));
    };
    *rewrapped = Some((old.to_bytes(), new.to_bytes()));
    if locked.write_header(&old, &new)? == HowWritten::InPlace {
        return Ok(());
    }
    let mut output = locked.replacement()?;
    let mut payload = fs::read(path).unwrap();
    payload.splice(..HEADER, new.to_bytes());
    output.write_all(&payload).map_err(|error| FileError::io("write", path, error))?;
    Ok(locked.replaced(output.commit()?, &new)?)
}

/// What `envctl decrypt` does.
fn read(keys: &Keys, path: &Path, key: usize) -> Option<Vec<u8>> {
    let file = fs::File::open(path).unwrap();
    let opened = open_header(&file, path, unlock(&keys.opener(key))).ok()?;
    let mut plaintext = Vec::new();
    let sealed = fs::read(path).unwrap();
    stream::open(&opened, &mut &sealed[opened.header().len()..], &mut plaintext).unwrap();
    Some(plaintext)
}

/// Runs `work` until it is killed. `None` when it was.
fn until<T>(cut: Option<Cut>, work: impl FnOnce() -> T) -> Option<T> {
    if let Some(Cut { after, arrive }) = cut {
        kill::after(after, arrive);
    }
    let done = work();
    let killed = kill::is_dead();
    kill::never();
    (!killed).then_some(done)
}

#[test]
fn machine_each_key_opens_what_it_must_after_any_sequence_of_steps_and_kills() {
    let sequences = std::env::var("FILE_SEQUENCES").map_or(500, |count| count.parse().unwrap());
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let seed: u64 = std::env::var("FILE_SEED").map_or_else(|_| now(), |seed| seed.parse().unwrap());
    println!("FILE_SEQUENCES={sequences} FILE_SEED={seed}");
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let config =
        Config { cases: sequences, failure_persistence: None, max_shrink_iters: 2000, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &bytes));
    let run = |(named, steps): (bool, Vec<Step>)| {
        ALWAYS_NAMED.set(named);
        let mut world = World::new();
        for step in &steps {
            world.take(step);
            world.sweep();
            world.check();
        }
        Ok(())
    };
    let result = runner.run(&(prop::bool::weighted(0.2), steps()), run);
    ALWAYS_NAMED.set(false);
    if let Err(error) = result {
        panic!("FILE_SEED={seed}: {error}");
    }
}

/// The steps of the attack that was shown, and of the accident that needs no attacker.
#[test]
fn machine_the_known_ways_to_roll_a_header_back_are_closed() {
    let rewrap = |name, from, to| Step::Rewrap { name, from, to, cut: None };
    let attack = [
        Step::Encrypt { name: 0, key: 0, cut: None },
        rewrap(0, 0, 1),
        Step::PlantHeader { name: 0, header: 0 },
        Step::PlantJournal { name: 0, rewrap: 0 },
    ];
    // Killed before the header is touched, moved away, rewrapped twice, moved back.
    let accident = [
        Step::Encrypt { name: 0, key: 0, cut: None },
        Step::Rewrap { name: 0, from: 0, to: 1, cut: Some(Cut { after: 3, arrive: 0 }) },
        Step::Move { from: 0, to: 3, with_journal: false },
        rewrap(3, 0, 1),
        rewrap(3, 1, 2),
        Step::Move { from: 3, to: 0, with_journal: false },
    ];
    for (steps, key) in [(&attack[..], 1), (&accident, 2)] {
        let mut world = World::new();
        for step in steps {
            world.take(step);
            world.sweep();
            world.check();
        }
        let file = fs::File::open(world.path(0)).unwrap();
        let beside = journal_beside(&file, &world.path(0)).unwrap();
        assert!(beside.journal.is_some(), "a journal that could be believed is there");
        assert_eq!(world.opens(0), [key]);
    }
}

/// Two folders; one name so long that its journal's is shortened.
const NAMES: [&str; 4] = [
    "f",
    "g",
    concat!(
        "long-long-long-long-long-long-long-long-long-long-long-long-long-long-long-long-long-long-long-long-",
        "long-long-long-long-long-long-long-long-long-long-long-long-long-long-long-long-long-long-long-long-",
        "long-long-long-long-long-long-long-long-long-"
    ),
    "sub/f",
];
const HEADER: usize = 512;
/// Where the old header begins: behind magic, length of a header and of the part of it that is there.
const JOURNAL_AT: usize = 16;
