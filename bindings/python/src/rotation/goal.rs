//! From the names of keys to the goal of a job.

use std::time::{Duration, UNIX_EPOCH};

use envelope_policy::distinct_keys;
use envelope_providers::Providers as Opened;
use envelope_rotation::{Goal, Key, KeyStores};
use envelope_sdk::{KeyUri, Registry, registry::Purpose};

use crate::failure::{Failure, Result};

/// What a caller wants, by names of keys.
#[derive(Default)]
pub(crate) struct Wanted {
    pub(crate) to: Vec<String>,
    pub(crate) from: Vec<String>,
    pub(crate) add: Vec<String>,
    pub(crate) remove: Vec<String>,
    pub(crate) reencrypt: bool,
    /// Seconds since 1970.
    pub(crate) older_than: Option<f64>,
}

impl Wanted {
    /// With the providers of `opened`, and `over` over each.
    pub(crate) fn goal(&self, opened: &Opened, over: Option<&KeyStores>) -> Result<Goal> {
        let edits = !(self.add.is_empty() && self.remove.is_empty());
        if edits && !self.to.is_empty() {
            return Err(Failure::usage("`to` names all keys: it goes with neither `add` nor `remove`"));
        }
        let to: Vec<KeyUri> = if edits {
            Vec::new()
        } else {
            opened.keyring_to_encrypt(&self.to)?.encrypting().cloned().collect()
        };
        // How many stay of those that an envelope has is not known before: a policy counts those that are named.
        let added = uris(opened, &self.add)?;
        let recipients = if edits { distinct_keys(&added) } else { distinct_keys(&to) };
        let registry = if self.reencrypt {
            opened.registry_to_encrypt(recipients)
        } else {
            opened.registry_to_rewrap(recipients)
        };
        let keys = |uris: &[KeyUri], purpose| keys(&registry, over, uris, purpose);
        let goal = if edits {
            let removed = uris(opened, &self.remove)?;
            Goal::edit(keys(&added, Purpose::Replace)?, keys(&removed, Purpose::Decrypt)?)
        } else {
            Goal::only(keys(&to, Purpose::Replace)?)
        };
        let from: Vec<KeyUri> = opened.keyring_to_decrypt(&self.from)?.decrypting().cloned().collect();
        let goal = goal.open_with(keys(&from, Purpose::Decrypt)?);
        let goal = if self.reencrypt { goal.reencrypting() } else { goal };
        match self.older_than {
            None => Ok(goal),
            Some(seconds) => {
                let since = Duration::try_from_secs_f64(seconds).ok();
                // Not every duration leads to a time.
                let since = since.and_then(|since| UNIX_EPOCH.checked_add(since));
                let since = since.ok_or_else(|| Failure::usage("`older_than` is no time after 1970"))?;
                Ok(goal.older_than(since))
            }
        }
    }
}

fn uris(opened: &Opened, names: &[String]) -> Result<Vec<KeyUri>> {
    names.iter().map(|name| Ok(opened.key(name)?)).collect()
}

fn keys(
    registry: &Registry,
    over: Option<&KeyStores>,
    uris: &[KeyUri],
    purpose: Purpose,
) -> Result<Vec<Key>> {
    let key = |uri: &KeyUri| {
        let provider = registry.provider(uri, purpose)?;
        let provider = over.map_or(provider.clone(), |over| over.over(&provider));
        Ok(Key::new(provider, uri.clone()))
    };
    uris.iter().map(key).collect()
}
