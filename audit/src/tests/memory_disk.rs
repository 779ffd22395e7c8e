//! A disk in memory: what was written is told from what is on the platter.

use std::{
    collections::BTreeMap,
    io::{self, Cursor},
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard},
};

use crate::{
    disk::Disk,
    follow::PIECE,
    segments::{Segments, Snapshot},
};

/// The same numbers for the same seed (`SplitMix64`).
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(super) fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit.max(1)
    }
}

/// A file: as programs see it, and as it would be after a loss of power.
#[derive(Clone, Default)]
struct File {
    seen: Vec<u8>,
    on_disk: Vec<u8>,
}

#[derive(Clone, Default)]
pub(super) struct Platter {
    files: Vec<File>,
    /// `head`, `current`, or the number of a closed segment.
    names: BTreeMap<String, usize>,
    names_on_disk: BTreeMap<String, usize>,
    locked: bool,
}

impl Platter {
    /// What is left after a loss of power. Of what was not flushed, each sector is there or not, and a hole is zeros.
    pub(super) fn lose_power(&mut self, random: &mut Random) {
        for file in &mut self.files {
            let (seen, old) = (&file.seen, &file.on_disk);
            let length = match random.below(3) {
                0 => old.len(),
                1 => seen.len(),
                _ => {
                    old.len().min(seen.len())
                        + random.below(seen.len().abs_diff(old.len()) as u64 + 1) as usize
                }
            };
            let mut after = vec![0; length];
            for begin in (0..length).step_by(512) {
                let end = (begin + 512).min(length);
                let from = if random.below(2) == 0 { seen } else { old };
                let from = from.get(begin..end.min(from.len())).unwrap_or_default();
                after[begin..begin + from.len()].copy_from_slice(from);
            }
            file.seen.clone_from(&after);
            file.on_disk = after;
        }
        if random.below(2) == 0 {
            self.names.clone_from(&self.names_on_disk);
        }
        self.names_on_disk.clone_from(&self.names);
        self.locked = false;
    }

    /// What is left after the death of a process.
    pub(super) fn lose_process(&mut self) {
        self.locked = false;
    }

    fn file(&mut self, name: &str) -> io::Result<&mut File> {
        let index = *self.names.get(name).ok_or(io::ErrorKind::NotFound)?;
        Ok(&mut self.files[index])
    }

    pub(super) fn closed(&self) -> Vec<u64> {
        let mut numbers: Vec<_> = self.names.keys().filter_map(|name| name.parse().ok()).collect();
        numbers.sort_unstable();
        numbers
    }

    pub(super) fn put(&mut self, name: &str, bytes: &[u8]) {
        self.files.push(File { seen: bytes.to_vec(), on_disk: bytes.to_vec() });
        self.names.insert(name.into(), self.files.len() - 1);
        self.names_on_disk.clone_from(&self.names);
    }

    pub(super) fn bytes(&mut self, name: &str) -> Option<&mut Vec<u8>> {
        self.file(name).ok().map(|file| &mut file.seen)
    }
}

/// What goes wrong, and after how many steps.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Trouble {
    /// Nothing is done any more.
    Kill,
    /// This step fails, and a part of what it writes is there.
    Fail,
}

/// The disk, for one process.
pub(crate) struct MemoryDisk {
    pub(super) platter: Arc<Mutex<Platter>>,
    pub(super) trouble: Option<(u64, Trouble)>,
    pub(super) random: Random,
    pub(super) dead: bool,
    pub(super) syncs: u64,
}

impl MemoryDisk {
    pub(super) fn new(platter: &Arc<Mutex<Platter>>, seed: u64) -> Self {
        let platter = Arc::clone(platter);
        Self { platter, trouble: None, random: Random(seed), dead: false, syncs: 0 }
    }

    fn platter(&self) -> MutexGuard<'_, Platter> {
        self.platter.lock().unwrap()
    }

    /// Before each change. An error: it is not made, or not all of it.
    fn step(&mut self) -> io::Result<()> {
        if self.dead {
            return Err(io::Error::other("killed"));
        }
        match &mut self.trouble {
            Some((0, Trouble::Kill)) => {
                self.dead = true;
                Err(io::Error::other("killed"))
            }
            Some((0, Trouble::Fail)) => {
                self.trouble = None;
                Err(io::ErrorKind::StorageFull.into())
            }
            Some((left, _)) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn write_to(&mut self, name: &str, at: u64, bytes: &[u8]) -> io::Result<()> {
        // A sector is written whole or not at all; more than that may stop anywhere.
        let stepped = self.step();
        let arrives = match &stepped {
            Ok(()) => bytes.len(),
            Err(error) if self.dead && error.to_string() != "killed" => 0,
            Err(_) if bytes.len() <= 512 && name == "head" => self.random.below(2) as usize * bytes.len(),
            Err(_) => self.random.below(bytes.len() as u64 + 1) as usize,
        };
        let mut platter = self.platter();
        let seen = &mut platter.file(name)?.seen;
        let end = at as usize + arrives;
        if arrives > 0 {
            seen.resize(seen.len().max(end), 0);
            seen[at as usize..end].copy_from_slice(&bytes[..arrives]);
        }
        stepped
    }

    fn sync_file(&mut self, name: &str) -> io::Result<()> {
        self.step()?;
        self.syncs += 1;
        let mut platter = self.platter();
        let file = platter.file(name)?;
        file.on_disk.clone_from(&file.seen);
        Ok(())
    }

    /// A dead process changes nothing; its failed writes were counted already.
    fn alive(&self) -> io::Result<()> {
        if self.dead { Err(io::Error::other("killed")) } else { Ok(()) }
    }
}

impl Disk for MemoryDisk {
    fn path(&self, segment: Option<u64>) -> PathBuf {
        segment.map_or_else(|| "log".into(), |number| format!("log.{number:08}").into())
    }

    fn head_path(&self) -> PathBuf {
        "log.head".into()
    }

    fn lock(&mut self) -> io::Result<()> {
        self.alive()?;
        let mut platter = self.platter();
        assert!(!platter.locked, "one process at a time");
        platter.locked = true;
        Ok(())
    }

    fn unlock(&mut self) {
        if !self.dead {
            self.platter().locked = false;
        }
    }

    fn head(&mut self) -> io::Result<Option<Vec<u8>>> {
        self.alive()?;
        Ok(self.platter().file("head").ok().map(|file| file.seen.clone()))
    }

    fn write_head(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.alive()?;
        self.write_to("head", 0, bytes)
    }

    fn sync_head(&mut self) -> io::Result<()> {
        self.sync_file("head")
    }

    fn closed(&mut self) -> io::Result<Vec<u64>> {
        self.alive()?;
        Ok(self.platter().closed())
    }

    fn length(&mut self) -> io::Result<Option<u64>> {
        self.alive()?;
        Ok(self.platter().file("current").ok().map(|file| file.seen.len() as u64))
    }

    fn read(&mut self, segment: Option<u64>, from: u64, length: usize) -> io::Result<Vec<u8>> {
        self.alive()?;
        assert!(length <= PIECE, "what is behind the head is read piece by piece: {length} bytes");
        let name = segment.map_or_else(|| "current".into(), |number| number.to_string());
        let mut platter = self.platter();
        let seen = &platter.file(&name)?.seen;
        let end = (from as usize + length).min(seen.len());
        Ok(seen.get(from as usize..end).unwrap_or_default().to_vec())
    }

    fn write(&mut self, at: u64, bytes: &[u8]) -> io::Result<()> {
        self.alive()?;
        self.write_to("current", at, bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.sync_file("current")
    }

    fn cut(&mut self, length: u64) -> io::Result<()> {
        self.step()?;
        self.platter().file("current")?.seen.truncate(length as usize);
        self.sync_file("current")
    }

    fn sync_names(&mut self) -> io::Result<()> {
        self.step()?;
        let mut platter = self.platter();
        platter.names_on_disk = platter.names.clone();
        Ok(())
    }

    fn close_segment(&mut self, number: u64) -> io::Result<()> {
        self.step()?;
        {
            let mut platter = self.platter();
            assert!(!platter.names.contains_key(&number.to_string()));
            let index = platter.names.remove("current").ok_or(io::ErrorKind::NotFound)?;
            platter.names.insert(number.to_string(), index);
        }
        self.sync_names()
    }

    fn open_segment(&mut self) -> io::Result<()> {
        self.step()?;
        {
            let mut platter = self.platter();
            platter.files.push(File::default());
            let index = platter.files.len() - 1;
            assert!(platter.names.insert("current".into(), index).is_none());
        }
        Ok(())
    }

    fn remove(&mut self, number: u64) -> io::Result<()> {
        self.step()?;
        self.platter().names.remove(&number.to_string());
        self.sync_names()
    }
}

/// What a verifier sees.
pub(super) struct Reader<'a>(pub(super) &'a Mutex<Platter>);

impl Segments for Reader<'_> {
    type Reader = Cursor<Vec<u8>>;

    fn path(&self, segment: Option<u64>) -> PathBuf {
        segment.map_or_else(|| "log".into(), |number| format!("log.{number:08}").into())
    }

    fn snapshot(&mut self) -> io::Result<Snapshot<Self::Reader>> {
        let mut platter = self.0.lock().unwrap();
        let mut bytes = |name: &str| platter.file(name).ok().map(|file| file.seen.clone());
        let (head, current) = (bytes("head"), bytes("current").map(Cursor::new));
        Ok(Snapshot { head, closed: platter.closed(), current })
    }

    fn closed(&mut self, number: u64) -> io::Result<Self::Reader> {
        Ok(Cursor::new(self.0.lock().unwrap().file(&number.to_string())?.seen.clone()))
    }
}
