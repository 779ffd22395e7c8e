//! A log in a folder of its own.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use envelope_audit::{Entry, Fault, KeyFile, Log, LogOptions, Outcome, Verified, Verifier, VerifyError};
use envelope_sdk::{Envelope, KeyUri, Keyring};
use envelope_testkit::MemoryProvider;
use futures_executor::block_on;
use tempfile::TempDir;

/// A folder, and keys for logs in it.
pub(crate) struct Place {
    pub(crate) folder: TempDir,
    pub(crate) keys: Envelope,
    pub(crate) provider: Arc<MemoryProvider>,
    pub(crate) key: KeyUri,
}

impl Place {
    pub(crate) fn new() -> Self {
        let key = MemoryProvider::key("audit");
        let provider = Arc::new(MemoryProvider::new().with_key(&key));
        let keys = Envelope::new(Keyring::new().both(provider.clone(), key.clone()));
        Self { folder: tempfile::tempdir().unwrap(), keys, provider, key }
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    pub(crate) fn create(&self, options: LogOptions) -> Log {
        block_on(Log::create(&self.path(), &self.keys, options)).unwrap()
    }

    pub(crate) fn open(&self, options: LogOptions) -> Result<Log, envelope_audit::LogError> {
        block_on(Log::open(&self.path(), &self.keys, options))
    }

    pub(crate) fn verifier(&self) -> Verifier {
        Verifier::with_key(block_on(KeyFile::of(&self.path()).unwrap().open(&self.keys)).unwrap())
    }

    /// Without the secret.
    pub(crate) fn public_verifier(&self) -> Verifier {
        let file = KeyFile::of(&self.path()).unwrap();
        Verifier::with_public_key(&file, *file.public_key())
    }

    pub(crate) fn verify(&self) -> Result<Verified, VerifyError> {
        self.verifier().verify(&self.path())
    }

    /// A log with `segments` closed ones, and some records in each.
    pub(crate) fn filled(segments: u64) -> Self {
        let place = Self::new();
        let log = place.create(options().segment_bytes(1500));
        let mut number = 0;
        while number < 3 || segments > 0 && !numbered(&place.path(), segments).exists() {
            number += 1;
            log.append_blocking(entry(number)).unwrap();
        }
        log.append_blocking(entry(number + 1)).unwrap();
        drop(log);
        place
    }
}

pub(crate) fn options() -> LogOptions {
    LogOptions::new("test")
}

pub(crate) fn entry(number: u64) -> Entry {
    let mut entry = Entry::new("unwrap_dek", Outcome::Ok);
    entry.key = Some(format!("memory:key-{number}"));
    entry.request = Some(number.to_string());
    entry
}

pub(crate) fn beside(path: &Path, ending: &str) -> PathBuf {
    path.with_file_name(format!("log.{ending}"))
}

pub(crate) fn numbered(path: &Path, number: u64) -> PathBuf {
    beside(path, &format!("{number:08}"))
}

/// The lines of a file, each with its LF.
pub(crate) fn lines(path: &Path) -> Vec<Vec<u8>> {
    fs::read(path).unwrap().split_inclusive(|&byte| byte == b'\n').map(<[u8]>::to_vec).collect()
}

/// File, line and class of what is found.
pub(crate) fn found(result: Result<Verified, VerifyError>) -> Option<(String, u64, Fault)> {
    match result {
        Ok(_) => None,
        Err(VerifyError::Damaged(damage)) => {
            Some((damage.file.file_name().unwrap().to_str().unwrap().into(), damage.line, damage.fault))
        }
        Err(error) => panic!("{error}"),
    }
}
