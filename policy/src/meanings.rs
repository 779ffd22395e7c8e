//! What names mean: the keys that the wraps under them were of.

use std::{
    collections::HashMap,
    sync::{PoisonError, RwLock},
    time::{Duration, Instant},
};

use envelope_sdk::KeyUri;

/// By the name that was asked for, the key that a wrap named within the last minute, where it is another.
#[derive(Default)]
pub(crate) struct Meanings(RwLock<HashMap<KeyUri, (Instant, KeyUri)>>);

impl Meanings {
    /// What `name` meant a moment ago; `None` where nobody has seen, or it means itself.
    pub(crate) fn of(&self, name: &KeyUri) -> Option<KeyUri> {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        if known.is_empty() {
            return None;
        }
        // An alias may lead elsewhere by now, and what is denied because of this is not asked for again.
        known.get(name).filter(|(seen, _)| seen.elapsed() < HOLDS).map(|(_, key)| key.clone())
    }

    /// A wrap that was asked for by `name` is one of `key`.
    pub(crate) fn learn(&self, name: &KeyUri, key: &KeyUri) {
        if name == key && self.of(name).is_none() || self.is_fresh(name, key) {
            return;
        }
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MANY {
            known.retain(|_, (seen, _)| seen.elapsed() < HOLDS);
        }
        if name == key {
            known.remove(name);
        } else if known.len() < MANY || known.contains_key(name) {
            known.insert(name.clone(), (Instant::now(), key.clone()));
        }
    }

    fn is_fresh(&self, name: &KeyUri, key: &KeyUri) -> bool {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        known.get(name).is_some_and(|(seen, known)| known == key && seen.elapsed() < HOLDS / 2)
    }
}

const HOLDS: Duration = Duration::from_secs(60);
/// Names that are known at most. Of others each use is judged and counted once the key store has named the key.
const MANY: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_means_what_the_last_wrap_named() {
        let [alias, one, other] =
            ["local:alias", "local:one", "local:other"].map(|uri| KeyUri::parse(uri).unwrap());
        let meanings = Meanings::default();
        assert_eq!(meanings.of(&alias), None);
        meanings.learn(&one, &one);
        assert_eq!(meanings.of(&one), None, "its own name needs no place");
        for key in [&one, &one, &other] {
            meanings.learn(&alias, key);
            assert_eq!(meanings.of(&alias).as_ref(), Some(key));
        }
        meanings.learn(&alias, &alias);
        assert_eq!(meanings.of(&alias), None);
    }

    #[test]
    fn what_was_seen_long_ago_is_not_believed() {
        let [alias, key] = ["local:alias", "local:key"].map(|uri| KeyUri::parse(uri).unwrap());
        let meanings = Meanings::default();
        let Some(long_ago) = Instant::now().checked_sub(HOLDS) else { return };
        meanings.0.write().unwrap().insert(alias.clone(), (long_ago, key.clone()));
        assert_eq!(meanings.of(&alias), None);
        meanings.learn(&alias, &key);
        assert_eq!(meanings.of(&alias), Some(key));
    }
}
