#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test that goes wrong shall stop, and says what it ran"
)]

mod journal;
mod locked;
mod machine;
mod settled;
mod tree;
mod written;

use std::{cell::Cell, path::Path, sync::Arc};

use envelope_sdk::{EncryptionContext, Envelope, Header, KeyUri, Keyring, OpenedHeader, stream::StreamError};
use envelope_testkit::MemoryProvider;
use futures_executor::block_on;
use tempfile::TempDir;

use crate::FileError;

thread_local! {
    /// Files get a temporary name at once, as where there are no unnamed ones.
    pub(crate) static ALWAYS_NAMED: Cell<bool> = const { Cell::new(false) };
}

/// What opening a header or writing a file can say.
#[derive(Debug)]
enum Failure {
    Stream(#[expect(dead_code, reason = "shown when a test stops")] StreamError),
    File(FileError),
}

impl From<StreamError> for Failure {
    fn from(error: StreamError) -> Self {
        Self::Stream(error)
    }
}

impl From<FileError> for Failure {
    fn from(error: FileError) -> Self {
        Self::File(error)
    }
}

/// Three keys, and envelopes for any of them.
struct Keys {
    provider: Arc<MemoryProvider>,
    uris: Vec<KeyUri>,
}

impl Keys {
    fn new() -> Self {
        let uris: Vec<_> = ["a", "b", "c"].map(MemoryProvider::key).into();
        let provider = uris.iter().fold(MemoryProvider::new(), MemoryProvider::with_key);
        Self { provider: Arc::new(provider), uris }
    }

    /// Opens by `key` alone.
    fn opener(&self, key: usize) -> Envelope {
        Envelope::new(Keyring::new().decrypt(self.provider.clone(), self.uris[key].clone()))
    }

    /// Opens by `from` and encrypts for `to`. Headers have room to grow.
    fn rewrapper(&self, from: &[usize], to: usize) -> Envelope {
        let start = Keyring::new().encrypt(self.provider.clone(), self.uris[to].clone());
        let keyring = from
            .iter()
            .fold(start, |keyring, key| keyring.decrypt(self.provider.clone(), self.uris[*key].clone()));
        Envelope::new(keyring).pad_headers_to(512)
    }

    fn encrypt(&self, key: usize) -> Vec<u8> {
        block_on(self.rewrapper(&[], key).encrypt(PLAINTEXT, &EncryptionContext::new())).unwrap()
    }

    /// The header of the next generation, for `to`.
    fn rewrap(&self, header: &Header, from: &[usize], to: usize) -> Option<Header> {
        let envelope = self.rewrapper(from, to);
        block_on(envelope.rewrap_header(header.clone(), &EncryptionContext::new())).ok()
    }
}

fn unlock(envelope: &Envelope) -> impl Fn(Header) -> Result<OpenedHeader, Failure> + '_ {
    |header| {
        let opened = block_on(envelope.unlock(header, &EncryptionContext::new()));
        opened.map_err(|error| Failure::Stream(error.into()))
    }
}

/// A folder in memory, where there is one: a flush costs nothing there.
fn folder() -> TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.unwrap()
}

/// Every name in a folder, in order.
fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

const PLAINTEXT: &[u8] = b"attack at dawn";
