//! Envelopes in files, and trees of them.

mod pair;
mod read;
mod walk;

use std::{
    ffi::{OsStr, OsString},
    fs,
    future::ready,
    io::{self, BufReader, BufWriter, Read, Seek, SeekFrom, Write},
    mem,
    os::unix::ffi::{OsStrExt, OsStringExt},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use async_trait::async_trait;
use envelope_files::{FileError, HowWritten, Journal, LockedFile, disk};
use envelope_sdk::{
    FormatError, Header, Kind, OpenedHeader,
    format::armor::{ArmorReader, ArmorWriter},
    stream::{self, StreamError},
};
use futures_util::StreamExt;
use tokio::{runtime::Handle, sync::mpsc, task::spawn_blocking};

use crate::{
    Item, Listing, Reencryption, Source, SourceError, Stored, Unlock,
    threads::{blocking, elsewhere, may_block},
};

pub use pair::{half_reencrypted, is_half_reencrypted, is_left_over, payload_path};

/// Files by their paths, folders with all below them, and patterns.
///
/// A path that is a folder stands for every envelope below it: files that begin as envelopes do, binary or armored,
/// whatever they are called. Links in folders are not followed. A path that is not there and has one of `*?[` is a
/// pattern as in a shell, with `**` for any number of folders.
///
/// - A header that has room for the new one is written in place, behind a journal; other files are replaced whole,
///   with owner, mode and attributes. Both are of `envelope-files`.
/// - A detached header is `NAME.envelope` or any other name; its payload is `NAME.sealed`
///   ([`payload_path`](crate::payload_path)). A rewrap does not touch the payload. To reencrypt it is to
///   replace two files, one after the other. A journal,
///   `NAME.envelope.reencrypt-journal`, holds the new header meanwhile, and the next job finishes what was cut off.
/// - What is armored is decoded to an unnamed temporary file to be reencrypted: ciphertext, no plaintext.
///
/// The names of one folder are in memory at once, some 20 bytes and the name for each.
#[derive(Debug)]
pub struct Files {
    from: Arc<Mutex<From>>,
    clean: bool,
}

#[derive(Debug)]
enum From {
    Paths(Vec<PathBuf>),
    List(Option<ListReader>),
}

struct ListReader(Box<dyn Read + Send>);

impl std::fmt::Debug for ListReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ListReader")
    }
}

impl Files {
    /// These files, folders and patterns.
    #[must_use]
    pub fn new(paths: Vec<PathBuf>) -> Self {
        Self { from: Arc::new(Mutex::new(From::Paths(paths))), clean: false }
    }

    /// The files that `list` names, one in a line, as they are read. It can be listed once. Each must be an
    /// envelope.
    #[must_use]
    pub fn listed(list: impl Read + Send + 'static) -> Self {
        let list = ListReader(Box::new(list));
        Self { from: Arc::new(Mutex::new(From::List(Some(list)))), clean: false }
    }

    /// Removes from the folders what a job that was killed left there: copies of envelopes under a temporary name
    /// that no process works on any more.
    #[must_use]
    pub fn removing_left_files(mut self) -> Self {
        self.clean = true;
        self
    }
}

#[async_trait]
impl Source for Files {
    fn list(&self) -> Listing {
        let (send, mut receive) = mpsc::channel(LISTED);
        let (from, clean) = (Arc::clone(&self.from), self.clean);
        let listing = spawn_blocking(move || {
            let from = match &mut *from.lock().unwrap_or_else(PoisonError::into_inner) {
                From::Paths(paths) => From::Paths(paths.clone()),
                From::List(list) => From::List(list.take()),
            };
            match from {
                From::Paths(paths) => {
                    let mut batches = Batches { batch: Vec::new(), send };
                    walk::walk(&paths, clean, &mut batches);
                    batches.send();
                }
                // Whoever writes it may wait for what becomes of a name before the next.
                From::List(list) => read_list(list, |listed| send.blocking_send(vec![listed]).is_ok()),
            }
        });
        let batches = futures_util::stream::poll_fn(move |context| receive.poll_recv(context));
        // A list that broke off must not look like one that ended.
        let broken = futures_util::stream::once(listing)
            .filter_map(|ended| ready(ended.err().map(|error| Err(SourceError::store(error)))));
        batches.flat_map(futures_util::stream::iter).chain(broken).boxed()
    }

    fn blocks(&self) -> bool {
        true
    }

    async fn read(&self, item: &Item) -> Result<Stored, SourceError> {
        let path = path(item);
        blocking(move || read::read(&path)).await
    }

    async fn commit(&self, item: &Item, old: &Stored, new: &Header) -> Result<u64, SourceError> {
        let path = path(item);
        // Mostly, and then nothing is copied.
        if may_block() {
            return commit(&path, old, new).map_err(of_writing);
        }
        let (old, new) = (old.clone(), new.clone());
        blocking(move || commit(&path, &old, &new).map_err(of_writing)).await
    }

    async fn reencrypt(&self, item: &Item, old: &Stored, keys: Reencryption) -> Result<u64, SourceError> {
        let (path, old) = (path(item), old.clone());
        blocking(move || match old.header.kind() {
            Kind::Attached => reencrypt(&path, &old, keys).map_err(of_writing),
            _ if old.is_armored => {
                Err(SourceError::Unsupported("a detached header that is armored stays as it is"))
            }
            _ => pair::reencrypt(&path, &old, keys).map_err(of_writing),
        })
        .await
    }

    async fn check_free(&self, item: &Item) -> Result<(), SourceError> {
        let path = path(item);
        blocking(move || LockedFile::open(&path).map(drop).map_err(of_file)).await
    }

    async fn repair(&self, item: &Item, unlock: Unlock) -> Result<bool, SourceError> {
        let (path, runtime) = (path(item), Handle::current());
        // Never here: it waits for a future in the middle.
        elsewhere(move || {
            let unlock = |header: Header| runtime.block_on(unlock(header)).map_err(SourceError::from);
            repair(&path, unlock)
        })
        .await
    }

    async fn tidy(&self, item: &Item, _stored: &Stored) -> Result<(), SourceError> {
        let path = path(item);
        blocking(move || tidy(&path)).await
    }
}

/// What was found, on its way to the job: to wake somebody for each name costs more than finding it.
struct Batches {
    batch: Vec<Result<Item, SourceError>>,
    send: mpsc::Sender<Vec<Result<Item, SourceError>>>,
}

impl Batches {
    fn send(&mut self) -> bool {
        self.batch.is_empty() || self.send.blocking_send(mem::take(&mut self.batch)).is_ok()
    }
}

impl walk::Listener for Batches {
    fn found(&mut self, listed: Result<Item, SourceError>) -> bool {
        self.batch.push(listed);
        self.batch.len() < BATCH || self.send()
    }

    fn before_folder(&mut self) -> bool {
        self.send()
    }
}

/// Writes the header in place, or replaces the file, if the header there is `old`.
fn commit(path: &Path, old: &Stored, new: &Header) -> Result<u64, SourceError> {
    let locked = LockedFile::open(path).map_err(of_file)?;
    let in_place =
        !old.is_armored && locked.write_header(&old.header, new).map_err(of_file)? == HowWritten::InPlace;
    if in_place {
        return Ok(new.len() as u64);
    }
    locked.replace_header(&old.header, new, old.is_armored, &|_| {}).map_err(of_file)
}

/// Replaces an attached envelope by one under a new DEK.
fn reencrypt(path: &Path, old: &Stored, keys: Reencryption) -> Result<u64, SourceError> {
    let locked = LockedFile::open(path).map_err(of_file)?;
    let output = locked.replacement().map_err(of_file)?;
    let new = if old.is_armored {
        let decoded = decode(locked.file())?;
        check_is(&decoded, &old.header)?;
        let mut armor =
            ArmorWriter::new(BufWriter::new(disk::Writer(output.file()))).map_err(SourceError::store)?;
        armor.write_all(&keys.header().to_bytes()).map_err(SourceError::store)?;
        let sealed = keys.seal(&decoded, old.header.len() as u64, &mut armor)?;
        armor.finish().and_then(|mut buffer| buffer.flush()).map_err(SourceError::store)?;
        let written = decode(output.file())?;
        let payload_at = stream::read_header_at(&written).map_err(of_stream)?.len() as u64;
        sealed.check(&written, payload_at)?
    } else {
        check_is(locked.file(), &old.header)?;
        let header = keys.header().to_bytes();
        let mut file = disk::Writer(output.file());
        file.write_all(&header).map_err(SourceError::store)?;
        let sealed = keys.seal(locked.file(), old.header.len() as u64, &mut file)?;
        sealed.check(output.file(), header.len() as u64)?
    };
    let len = output.file().metadata().map_err(SourceError::store)?.len();
    // It is of the envelope that goes.
    locked.remove_dead_journal().map_err(of_file)?;
    let written = output.commit().map_err(of_file)?;
    locked.replaced(written, &new).map_err(of_file)?;
    Ok(len)
}

/// The bytes of an armored envelope, in a file that has no name.
fn decode(mut armored: &fs::File) -> Result<fs::File, SourceError> {
    armored.seek(SeekFrom::Start(0)).map_err(SourceError::store)?;
    let mut decoded = tempfile::tempfile().map_err(SourceError::store)?;
    io::copy(&mut ArmorReader::new(BufReader::new(armored)), &mut decoded).map_err(of_armor)?;
    Ok(decoded)
}

fn check_is(file: &fs::File, header: &Header) -> Result<(), SourceError> {
    match stream::read_header_at(file) {
        Ok(there) if there == *header => Ok(()),
        Ok(_) | Err(StreamError::Decrypt(_)) => Err(SourceError::Conflict),
        Err(error) => Err(SourceError::store(error)),
    }
}

fn repair(
    path: &Path,
    unlock: impl Fn(Header) -> Result<OpenedHeader, SourceError>,
) -> Result<bool, SourceError> {
    let locked = LockedFile::open(path).map_err(of_file)?;
    if let Some(new) = pair::journal(path, locked.file()) {
        return pair::finish(&locked, &new, unlock);
    }
    // By its journal, if there is one; without, it may have been read while a rewrap wrote it, which is done since. What
    // does not open under the lock either is told as it was.
    Ok(locked.open_header(|header| unlock(header).map_err(Unopened)).is_ok())
}

/// What [`LockedFile::open_header`] can say of a file and its journal.
struct Unopened(
    #[expect(dead_code, reason = "the error of the header in the file is told instead")] SourceError,
);

impl std::convert::From<StreamError> for Unopened {
    fn from(error: StreamError) -> Self {
        Self(of_stream(error))
    }
}

impl std::convert::From<FileError> for Unopened {
    fn from(error: FileError) -> Self {
        Self(of_file(error))
    }
}

/// Removes the journal of a rewrap that was killed when the header was written, and finds the one that was killed
/// before that.
fn tidy(path: &Path) -> Result<(), SourceError> {
    let Some(name) = path.file_name() else { return Ok(()) };
    if fs::symlink_metadata(path.with_file_name(Journal::name_of(name))).is_err() {
        return Ok(());
    }
    let locked = match LockedFile::open(path) {
        Ok(locked) => locked,
        // Whoever works on it sees to its journal.
        Err(FileError::Busy { .. }) => return Ok(()),
        Err(error) => return Err(of_file(error)),
    };
    let journal = locked.journal().and_then(|beside| beside.journal);
    // Enough of the new header was written to look like it.
    if journal.is_some_and(|journal| journal.is_torn_in(locked.file())) {
        return Err(SourceError::CutOff);
    }
    locked.remove_dead_journal().map(drop).map_err(of_file)
}

fn read_list(list: Option<ListReader>, mut send: impl FnMut(Result<Item, SourceError>) -> bool) {
    let Some(ListReader(list)) = list else { return };
    let mut list = BufReader::new(list);
    loop {
        let mut line = Vec::new();
        let read = io::BufRead::read_until(&mut list.by_ref().take(LONGEST_LINE), b'\n', &mut line);
        let is_cut = line.len() as u64 == LONGEST_LINE && line.last() != Some(&b'\n');
        if line.last() == Some(&b'\n') {
            line.pop();
        }
        let item = match read {
            Ok(0) => break,
            // What has no end must not fill the memory.
            Ok(_) if is_cut => {
                Err(SourceError::store("a line of the list is longer than the name of any file"))
            }
            Ok(_) if line.is_empty() => continue,
            Ok(_) => Ok(Item::named(line)),
            Err(error) => Err(SourceError::store(error)),
        };
        let failed = item.is_err();
        if !send(item) || failed {
            break;
        }
    }
}

fn path(item: &Item) -> PathBuf {
    OsString::from_vec(item.name().to_vec()).into()
}

/// An item by its path.
fn item(path: &Path, is_named: bool) -> Item {
    let name: &OsStr = path.as_os_str();
    if is_named { Item::named(name.as_bytes()) } else { Item::found(name.as_bytes()) }
}

fn of_file(error: FileError) -> SourceError {
    match error {
        FileError::Busy { .. } => SourceError::Busy,
        FileError::Changed { .. } => SourceError::Conflict,
        FileError::Io { source, .. } if source.kind() == io::ErrorKind::NotFound => SourceError::Gone,
        error => SourceError::store(error),
    }
}

/// What is not there when it is to be written was taken away meanwhile, the file or one on its way to its place: it is
/// read again, and not passed over unseen.
fn of_writing(error: SourceError) -> SourceError {
    match error {
        SourceError::Gone => SourceError::Conflict,
        error => error,
    }
}

fn of_stream(error: StreamError) -> SourceError {
    match error {
        StreamError::Decrypt(envelope_sdk::DecryptError::Format(error)) => error.into(),
        StreamError::Decrypt(error) => error.into(),
        StreamError::Read(error) => of_armor(error),
        error => SourceError::store(error),
    }
}

/// The armor's reader speaks through I/O errors.
fn of_armor(error: io::Error) -> SourceError {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<FormatError>()) {
        Some(format) => format.clone().into(),
        None => SourceError::store(error),
    }
}

/// Names that are sent at once, at most.
const BATCH: usize = 64;
/// Batches that wait to be taken.
const LISTED: usize = 4;
/// Bytes of a line of a list with its LF, at most: many times what any system takes for a path.
const LONGEST_LINE: u64 = 64 << 10;
