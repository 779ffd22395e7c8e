//! Temporary objects, and those that a job left which was killed.
//!
//! Their keys are `FOLDER/.envelope-rotation/OBJECT-HEADER-RANDOM`: the first half of the SHA-256 of the object's key, the first
//! half of the MAC of the header that was there, and a random number, each in 32 hexadecimal digits. Nothing else is
//! called so, and the header tells who may be at work: an object that has another header by now is no business of whoever
//! made it, since that would not be allowed to replace it any more.

use std::{
    collections::HashMap,
    fmt::Write as _,
    hash::{BuildHasher, Hasher, RandomState},
    sync::Arc,
    time::{Duration, SystemTime},
};

use object_store::{list::PaginatedListOptions, path::Path};
use sha2::{Digest, Sha256};
use tokio::runtime::Handle;

use super::store::Store;

/// Temporary objects that were found, by the store and the hash of the key.
#[derive(Default)]
pub(super) struct Left(HashMap<(String, String), Vec<Path>>);

impl Left {
    /// Those for `key` that were made from another header than the one with this MAC.
    pub(super) fn take_dead(&mut self, store: &Store, key: &Path, mac: &[u8; 32]) -> Vec<Path> {
        if self.0.is_empty() {
            return Vec::new();
        }
        let of_key = (store.name().to_owned(), hash(key));
        let mac = hex(&mac[..16]);
        let Some(found) = self.0.remove(&of_key) else { return Vec::new() };
        let is_dead = |path: &Path| parts(path.as_ref()).is_some_and(|(_, from)| from != mac);
        let (dead, alive): (Vec<_>, Vec<_>) = found.into_iter().partition(is_dead);
        if !alive.is_empty() {
            self.0.insert(of_key, alive);
        }
        dead
    }

    /// Remembers what is in a folder of temporary objects, of `only` where it is said; what is older than any job
    /// runs for one object is returned.
    pub(super) async fn find(store: &Store, folder: &str, only: Option<&Path>) -> (Self, Vec<Path>) {
        let (mut left, mut old) = (Self::default(), Vec::new());
        let only = only.map(hash);
        let mut token = None;
        for _ in 0..PAGES {
            let options = PaginatedListOptions { page_token: token, ..PaginatedListOptions::default() };
            // Whoever may not list here is told so by the listing of the envelopes.
            let Ok(page) = store.list(folder, options).await else { break };
            for object in page.result.objects {
                let Some((of_key, _)) = parts(object.location.as_ref()) else { continue };
                if only.as_deref().is_some_and(|only| only != of_key) {
                    continue;
                }
                let is_old =
                    SystemTime::now().duration_since(object.last_modified.into()).is_ok_and(|age| age > OLD);
                if is_old {
                    old.push(object.location);
                } else {
                    let of_key = (store.name().to_owned(), of_key.to_owned());
                    left.0.entry(of_key).or_default().push(object.location);
                }
            }
            token = page.page_token;
            if token.is_none() {
                break;
            }
        }
        (left, old)
    }

    pub(super) fn add(&mut self, other: Self) {
        for (key, paths) in other.0 {
            self.0.entry(key).or_default().extend(paths);
        }
    }
}

/// What the keys of temporary objects in a folder begin with.
pub(super) fn folder_in(folder: &str) -> String {
    if folder.is_empty() { format!("{FOLDER}/") } else { format!("{folder}/{FOLDER}/") }
}

/// A new name, for `key` whose header has this MAC.
pub(super) fn name(folder: &str, key: &Path, mac: &[u8; 32]) -> Path {
    let random = || RandomState::new().build_hasher().finish();
    Path::from(format!("{folder}{}-{}-{:016x}{:016x}", hash(key), hex(&mac[..16]), random(), random()))
}

/// Whether the key is that of a temporary object.
pub(super) fn is_temporary(key: &str) -> bool {
    parts(key).is_some()
}

/// The hash of the object's key, and the MAC of its header.
fn parts(key: &str) -> Option<(&str, &str)> {
    let (folder, name) = key.rsplit_once('/')?;
    let is_ours = folder == FOLDER || folder.strip_suffix(FOLDER).is_some_and(|above| above.ends_with('/'));
    let mut parts = name.split('-');
    let parts = (parts.next()?, parts.next()?, parts.next()?, parts.next());
    let is_hex =
        |part: &str| part.len() == 32 && part.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let (object, header, random, None) = parts else { return None };
    (is_ours && [object, header, random].into_iter().all(is_hex)).then_some((object, header))
}

fn hash(key: &Path) -> String {
    hex(&Sha256::digest(key.as_ref())[..16])
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// A temporary object that is being written. It goes when this does.
pub(super) struct Temporary {
    store: Arc<Store>,
    key: Option<Path>,
}

impl Temporary {
    pub(super) fn new(store: &Arc<Store>, key: Path) -> Self {
        Self { store: Arc::clone(store), key: Some(key) }
    }

    /// Removes it. What cannot be removed now is found by the next job.
    pub(super) async fn remove(mut self) {
        if let Some(key) = self.key.take() {
            let _ = self.store.delete(&key).await;
        }
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if let (Some(key), Ok(runtime)) = (self.key.take(), Handle::try_current()) {
            let store = Arc::clone(&self.store);
            runtime.spawn(async move { store.delete(&key).await });
        }
    }
}

const FOLDER: &str = ".envelope-rotation";
/// Pages of a thousand names each that one job looks at.
const PAGES: usize = 100;
/// No job works on one object for so long; whoever does begins again.
const OLD: Duration = Duration::from_secs(7 * 24 * 60 * 60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_temporary_name_tells_its_object_and_header_and_nothing_else_is_one() {
        for folder in ["", "a/b"] {
            let name = name(&folder_in(folder), &Path::from("a/b/c"), &[7; 32]);
            let (object, header) = parts(name.as_ref()).unwrap();
            assert_eq!((object, header), (hash(&Path::from("a/b/c")).as_str(), hex(&[7; 16]).as_str()));
        }
        let parts = ["0".repeat(32), "1".repeat(32), "f".repeat(32)].join("-");
        assert!(is_temporary(&format!(".envelope-rotation/{parts}")));
        for key in [
            parts.clone(),
            format!("x.envelope-rotation/{parts}"),
            format!(".envelope-rotation/x/{parts}"),
            format!(".envelope-rotation/{parts}-0"),
            format!(".envelope-rotation/{}", parts.to_uppercase()),
            format!(".envelope-rotation/{}", &parts[1..]),
            ".envelope-rotation/notes.txt".to_owned(),
        ] {
            assert!(!is_temporary(&key), "{key}");
        }
    }

    #[test]
    fn two_temporary_names_are_never_the_same() {
        let name = || name("", &Path::from("x"), &[0; 32]);
        assert_ne!(name(), name());
    }
}
