//! Power is lost after every operation: what was not flushed is there, not there, or there in part.
//!
//! A disk may bring the changes of names since the last flush of their folder there in any order, so each subset of
//! them is tried (of many: each prefix, and each without one); and of content since the last flush of its file
//! the old, the new, a part of zeros, or each half of the new one.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    os::unix::fs::{FileExt, MetadataExt},
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use envelope_files::disk::{Change, Disk, Verdict};

use super::{Bench, Content, KINDS, folder, names, with_disk};

/// What happened. Files are told by their inodes.
#[derive(Debug, Clone)]
enum Event {
    Content(u64, Vec<u8>),
    Synced(u64),
    Names(Naming),
    FolderSynced,
}

#[derive(Debug, Clone)]
enum Naming {
    Link(PathBuf, u64),
    Rename(PathBuf, PathBuf),
    Remove(PathBuf),
}

struct Recorder {
    named: bool,
    events: Arc<Mutex<Vec<Event>>>,
}

impl Disk for Recorder {
    fn before(&mut self, change: Change<'_>) -> Verdict {
        match change {
            Change::MakeUnnamed(_) if self.named => Verdict::Fail(std::io::ErrorKind::Unsupported.into()),
            _ => Verdict::Go,
        }
    }

    fn after(&mut self, change: Change<'_>) {
        let mut events = self.events.lock().unwrap();
        let mut push = |event| events.push(event);
        match change {
            Change::Make(path) => {
                push(Event::Names(Naming::Link(name(path), std::fs::metadata(path).unwrap().ino())));
            }
            Change::Write(file) | Change::WriteFront(file) => push(content(file)),
            Change::Sync(file) => {
                push(content(file));
                push(Event::Synced(file.metadata().unwrap().ino()));
            }
            Change::Name(file, path) => {
                push(content(file));
                push(Event::Names(Naming::Link(name(path), file.metadata().unwrap().ino())));
            }
            Change::Rename(from, to) => push(Event::Names(Naming::Rename(name(from), name(to)))),
            Change::Remove(path) => push(Event::Names(Naming::Remove(name(path)))),
            Change::SyncFolder(_) => push(Event::FolderSynced),
            Change::MakeUnnamed(_) | Change::Lock(_) | Change::Attributes(_) => {}
        }
    }
}

fn name(path: &Path) -> PathBuf {
    path.file_name().unwrap().into()
}

fn content(file: &File) -> Event {
    let metadata = file.metadata().unwrap();
    let mut bytes = vec![0; usize::try_from(metadata.len()).unwrap()];
    file.read_exact_at(&mut bytes, 0).unwrap();
    Event::Content(metadata.ino(), bytes)
}

/// What is on the disk, and what only in memory.
#[derive(Default, Clone)]
struct State {
    names: BTreeMap<PathBuf, u64>,
    pending: Vec<Naming>,
    durable: BTreeMap<u64, Vec<u8>>,
    now: BTreeMap<u64, Vec<u8>>,
}

impl State {
    fn of(folder: &Path) -> Self {
        let mut state = Self::default();
        for name in names(folder) {
            let path = folder.join(&name);
            let inode = std::fs::metadata(&path).unwrap().ino();
            let bytes = std::fs::read(path).unwrap();
            state.names.insert(name, inode);
            state.durable.insert(inode, bytes.clone());
            state.now.insert(inode, bytes);
        }
        state
    }

    fn take(&mut self, event: &Event) {
        match event {
            Event::Content(inode, bytes) => drop(self.now.insert(*inode, bytes.clone())),
            Event::Synced(inode) => drop(self.durable.insert(*inode, self.now[inode].clone())),
            Event::Names(naming) => self.pending.push(naming.clone()),
            Event::FolderSynced => {
                let pending = std::mem::take(&mut self.pending);
                self.names = apply(&self.names, pending.iter());
            }
        }
    }

    /// Everything that a loss of power now may leave.
    fn losses(&self) -> BTreeSet<Content> {
        let count = self.pending.len();
        let subsets: BTreeSet<Vec<bool>> = if count <= 4 {
            (0..1_u32 << count).map(|bits| (0..count).map(|at| bits & (1 << at) != 0).collect()).collect()
        } else {
            let prefixes = (0..=count).map(|len| (0..count).map(|at| at < len).collect());
            prefixes.chain((0..count).map(|gone| (0..count).map(|at| at != gone).collect())).collect()
        };
        let mut losses = BTreeSet::new();
        for subset in subsets {
            let done = self.pending.iter().zip(&subset).filter(|(_, done)| **done).map(|(naming, _)| naming);
            let names = apply(&self.names, done);
            for part in 0..PARTS {
                let file = |(name, inode): (&PathBuf, &u64)| (name.clone(), self.left(*inode, part));
                losses.insert(names.iter().map(file).collect());
            }
        }
        losses
    }

    fn left(&self, inode: u64, part: usize) -> Vec<u8> {
        let now = self.now.get(&inode).cloned().unwrap_or_default();
        let Some(old) = self.durable.get(&inode) else {
            // Never flushed: its length may be there before its content.
            return match part {
                0 => Vec::new(),
                1 => vec![0; now.len()],
                2 => now[..now.len() / 2].to_vec(),
                _ => now,
            };
        };
        // Of what was written over: a sector that holds more is brought to disk as it was, or as it is.
        let differs = |(old, now): (&u8, &u8)| old != now;
        let is_over = old.len() == now.len();
        let first = old.iter().zip(&now).position(differs);
        let last = old.iter().zip(&now).rposition(differs);
        let (Some(first), Some(last), true) = (first, last, is_over) else {
            return if part == 0 { old.clone() } else { now };
        };
        let middle = usize::midpoint(first, last);
        match part {
            0 => old.clone(),
            1 => [&now[..middle], &old[middle..]].concat(),
            2 => [&old[..middle], &now[middle..]].concat(),
            3 => {
                let lost = first..(first + SECTOR).min(last + 1);
                let zeros = vec![0; lost.len()];
                [&now[..lost.start], &zeros, &now[lost.end..]].concat()
            }
            _ => now,
        }
    }
}

const PARTS: usize = 5;
const SECTOR: usize = 512;

fn apply<'a>(
    names: &BTreeMap<PathBuf, u64>,
    done: impl Iterator<Item = &'a Naming>,
) -> BTreeMap<PathBuf, u64> {
    let mut names = names.clone();
    for naming in done {
        match naming {
            Naming::Link(name, inode) => drop(names.insert(name.clone(), *inode)),
            Naming::Rename(from, to) => {
                if let Some(inode) = names.remove(from) {
                    names.insert(to.clone(), inode);
                }
            }
            Naming::Remove(name) => drop(names.remove(name)),
        }
    }
    names
}

#[test]
fn whenever_power_is_lost_the_envelope_opens_and_the_next_job_ends_what_was_begun() {
    let bench = Bench::new();
    let (mut tried, mut most) = (0, 0);
    for kind in KINDS {
        let sealed = bench.sealed(kind);
        for reencrypts in [false, true] {
            for named in [false, true] {
                let whole = folder(&sealed);
                let before = names(whole.path());
                let mut state = State::of(whole.path());
                let events = Arc::new(Mutex::new(Vec::new()));
                let recorder = Recorder { named, events: Arc::clone(&events) };
                let report = with_disk(recorder, || bench.job(whole.path(), reencrypts)).unwrap();
                assert_eq!(report.totals.failed, 0, "{report}");
                let events = std::mem::take(&mut *events.lock().unwrap());
                most = most.max(events.len());
                let told = events.iter().map(short).collect::<Vec<_>>().join(", ");
                let mut seen = BTreeSet::new();
                for at in 0..=events.len() {
                    for loss in state.losses() {
                        if !seen.insert(loss.clone()) {
                            continue;
                        }
                        tried += 1;
                        let files: Vec<_> = loss.iter().map(|(name, bytes)| (name, bytes.len())).collect();
                        let when = format!(
                            "{kind:?}, reencrypts {reencrypts}, named {named}, after {at} of {told}: {files:?}"
                        );
                        let left = folder(&loss);
                        bench.check(left.path(), &["a", "b"], &when);
                        bench.finish(left.path(), (reencrypts, named), &before, &when);
                    }
                    if let Some(event) = events.get(at) {
                        state.take(event);
                    }
                }
            }
        }
    }
    println!("{tried} losses of power, in jobs of up to {most} events");
}

fn short(event: &Event) -> String {
    match event {
        Event::Content(inode, bytes) => format!("content {inode} {}", bytes.len()),
        other => format!("{other:?}"),
    }
}
