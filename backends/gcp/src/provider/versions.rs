//! The versions of keys: their names, and what is known of them.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use envelope_sdk::KeyUri;

use crate::Protection;

/// The number of a version of that key, out of its resource name
/// `projects/P/…/cryptoKeys/K/cryptoKeyVersions/N`; `None` when it is none of it.
pub(crate) fn version_of<'n>(key: &str, name: &'n str) -> Option<&'n str> {
    name.strip_prefix(key)?.strip_prefix("/cryptoKeyVersions/").filter(|version| is_version(version))
}

/// Google counts them from 1.
pub(super) fn is_version(version: &str) -> bool {
    (1..=MAX_LEN).contains(&version.len())
        && version.bytes().all(|byte| byte.is_ascii_digit())
        && !version.starts_with('0')
}

/// The protection levels of versions that wrapped here. A version never changes its
/// own, so what Decrypt says can be held against it. Which version it used Decrypt
/// does not say, but for whether that was the primary one; and which one is the primary
/// one may be told differently for hours after it was switched
/// (<https://cloud.google.com/kms/docs/consistency>), so that proves nothing.
#[derive(Default)]
pub(super) struct Versions(Mutex<BTreeMap<(KeyUri, String), Protection>>);

impl Versions {
    pub(super) fn learn(&self, key: &KeyUri, version: &str, protection: Option<Protection>) {
        let Some(protection) = protection else { return };
        let mut known = self.lock();
        // More are not wrapped with by one process; what is forgotten is only not compared.
        if known.len() >= MOST {
            known.clear();
        }
        known.insert((key.clone(), version.to_owned()), protection);
    }

    /// Whether a level is not the one of that version. What is not known contradicts nothing.
    pub(super) fn contradict(&self, key: &KeyUri, version: &str, used: Option<Protection>) -> bool {
        let known = self.lock().get(&(key.clone(), version.to_owned())).copied();
        known.is_some_and(|known| used != Some(known))
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<(KeyUri, String), Protection>> {
        // Each change of it is one step.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Digits of a version that could be.
const MAX_LEN: usize = 19;
/// Versions that are remembered.
const MOST: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_one_of_the_key_and_has_a_number() {
        let key = "projects/p/locations/l/keyRings/r/cryptoKeys/k";
        for (beyond, version) in [
            ("/cryptoKeyVersions/1", Some("1")),
            ("/cryptoKeyVersions/4711", Some("4711")),
            ("", None),
            ("/cryptoKeyVersions/", None),
            ("/cryptoKeyVersions/0", None),
            ("/cryptoKeyVersions/01", None),
            ("/cryptoKeyVersions/-1", None),
            ("/cryptoKeyVersions/1/x", None),
            ("2/cryptoKeyVersions/1", None),
            ("/cryptoKeyVersions/12345678901234567890", None),
        ] {
            assert_eq!(version_of(key, &format!("{key}{beyond}")), version, "{beyond}");
        }
        assert_eq!(
            version_of(key, "projects/q/locations/l/keyRings/r/cryptoKeys/k/cryptoKeyVersions/1"),
            None
        );
    }

    #[test]
    fn a_version_that_changes_its_level_is_told() {
        let key = KeyUri::parse("projects/p/locations/l/keyRings/r/cryptoKeys/k").unwrap();
        let versions = Versions::default();
        assert!(!versions.contradict(&key, "1", Some(Protection::Hsm)));
        versions.learn(&key, "1", None);
        assert!(!versions.contradict(&key, "1", Some(Protection::Hsm)));
        versions.learn(&key, "1", Some(Protection::Hsm));
        assert!(!versions.contradict(&key, "1", Some(Protection::Hsm)));
        assert!(
            versions.contradict(&key, "1", Some(Protection::Software))
                && versions.contradict(&key, "1", None)
        );
        assert!(!versions.contradict(&key, "2", Some(Protection::Software)));
    }
}
