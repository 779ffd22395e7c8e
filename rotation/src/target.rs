//! A [`Goal`] whose keys were asked what they mean and which version is current.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::SystemTime,
};

use envelope_sdk::{
    DecryptError, EncryptionContext, Envelope, Header, KeyProvider, KeyUri, Keyring, OpenedHeader, Order,
    PayloadKind, WrappedDek,
};

use crate::{Concern, Goal, Item, ItemError, Key, Reason, RotationError, metered::KeyStores, shard::hash};

/// The target state, and the keyrings that lead there.
pub(crate) struct Target {
    goal: Goal,
    wanted: Vec<Wanted>,
    /// What the configured keys mean, in the order of `to`, `open`, `remove`. `None`: its provider did not say.
    meanings: Vec<(Key, Option<KeyUri>)>,
    /// Whether the key store of each rewraps inside, as far as is known.
    rewraps: Vec<Arc<AtomicBool>>,
    removed: usize,
    /// All keys, in the order of the header's recipients.
    opening: Keyring,
    /// The same keys, each of them first once: see [`first`](Self::first).
    opening_with: Vec<Keyring>,
    /// By the keys that wrap, and which opens first.
    wrapping: Mutex<HashMap<Wrapping, Envelope>>,
}

/// The keys that wrap, and the one that opens first.
type Wrapping = (Vec<KeyUri>, Option<usize>);

/// A recipient that each envelope shall have.
struct Wanted {
    uri: KeyUri,
    version: String,
}

impl Target {
    /// Asks each key that shall wrap for one throw-away wrap: it names the key behind an alias and the current
    /// version, needs no right but that to wrap, and fails here if the key is not to be had. `key_stores` stand over the
    /// providers of the goal, or below what does.
    pub(crate) async fn find(goal: Goal, key_stores: &KeyStores) -> Result<Self, RotationError> {
        let mut wanted: Vec<Wanted> = Vec::new();
        for key in &goal.to {
            let keyring = Keyring::new().encrypt(Arc::clone(&key.provider), key.uri.clone());
            // In the context that all have: a policy, or the key store's, may let nothing be wrapped without it.
            let started = Envelope::new(keyring).start(PayloadKind::Detached, &goal.context).await;
            let key_failed = |error| RotationError::Key { key: key.uri.clone(), error: Box::new(error) };
            let header = started.map_err(key_failed)?.header;
            let header = Header::parse_exact(&header).map_err(|error| key_failed(error.into()))?;
            wanted.extend(header.recipients().iter().map(|recipient| Wanted {
                uri: recipient.key_uri().clone(),
                version: recipient.key_version().to_owned(),
            }));
        }
        let mut meanings = Vec::new();
        for key in goal.to.iter().chain(&goal.open).chain(&goal.remove) {
            meanings.push((key.clone(), key.provider.resolve(&key.uri).await.ok()));
        }
        let opening = keyring(meanings.iter());
        let opening_with = (0..meanings.len())
            .map(|first| {
                let mut keys: Vec<_> = meanings[first..].iter().chain(&meanings[..first]).collect();
                // What a person types comes after services also where the first one is away.
                keys.sort_by_key(|(key, _)| is_at_hand(&key.uri));
                keyring(keys.into_iter()).order(Order::Keyring)
            })
            .collect();
        let rewraps = meanings.iter().map(|(key, _)| key_stores.rewraps(&key.provider)).collect();
        let removed = goal.to.len() + goal.open.len();
        let wrapping = Mutex::default();
        Ok(Self { goal, wanted, meanings, rewraps, removed, opening, opening_with, wrapping })
    }

    pub(crate) fn reencrypts(&self) -> bool {
        self.goal.reencrypts
    }

    pub(crate) fn context(&self) -> &EncryptionContext {
        &self.goal.context
    }

    /// Two jobs with the same text do the same to an item.
    pub(crate) fn describe(&self) -> String {
        let uris = |keys: &[Key]| keys.iter().map(|key| key.uri.as_str().to_owned()).collect::<Vec<_>>();
        let Goal { to, remove, keeps_others, reencrypts, older_than, .. } = &self.goal;
        format!(
            "to {:?} remove {:?} keeps {keeps_others} reencrypts {reencrypts} older than {older_than:?}",
            uris(to),
            uris(remove)
        )
    }

    /// Why an item is not in the target state; empty if it is.
    pub(crate) fn reasons(&self, header: &Header, modified: Option<SystemTime>) -> Vec<Reason> {
        let mut reasons = Vec::new();
        let recipients = header.recipients();
        for wanted in &self.wanted {
            let mut same = recipients.iter().filter(|of| *of.key_uri() == wanted.uri).peekable();
            let key = || wanted.uri.clone();
            match same.peek() {
                None => reasons.push(Reason::MissingRecipient { key: key() }),
                Some(_) if wanted.uri == KeyUri::passphrase() => reasons.push(Reason::PassphraseUnknown),
                Some(first) => {
                    let has = first.key_version().to_owned();
                    if !same.any(|of| of.key_version() == wanted.version) {
                        reasons.push(Reason::OldVersion { key: key(), has, wants: wanted.version.clone() });
                    }
                }
            }
        }
        for recipient in recipients {
            let is_wanted = |wanted: &Wanted| wanted.uri == *recipient.key_uri();
            let is_extra = if self.goal.keeps_others {
                self.is_removed(recipient.key_uri())
            } else {
                !self.wanted.iter().any(is_wanted)
            };
            if is_extra {
                reasons.push(Reason::ExtraRecipient { key: recipient.key_uri().clone() });
            }
        }
        // The same key twice, in an old version and in the current one.
        if !self.goal.keeps_others && reasons.is_empty() && recipients.len() > self.wanted.len() {
            reasons.extend(recipients.first().map(|of| Reason::ExtraRecipient { key: of.key_uri().clone() }));
        }
        if !reasons.is_empty() {
            reasons.extend(header.recipients().iter().flat_map(|of| self.concerns(of)));
        }
        match self.goal.older_than {
            Some(time) if modified.is_some_and(|modified| modified < time) => reasons.push(Reason::OlderThan),
            Some(_) => {}
            None if self.goal.reencrypts => reasons.push(Reason::NewDek),
            None => {}
        }
        reasons
    }

    /// What is wrong with a recipient that does not stay as it is.
    fn concerns(&self, recipient: &WrappedDek) -> impl Iterator<Item = Reason> {
        let (uri, version) = (recipient.key_uri(), recipient.key_version());
        let stays = self.wanted.iter().any(|wanted| wanted.uri == *uri && wanted.version == version);
        let is_it = move |of: &&(KeyUri, Option<String>, Concern)| {
            !stays && of.0 == *uri && of.1.as_deref().is_none_or(|known| known == version)
        };
        self.goal.concerns.iter().filter(is_it).map(move |(_, _, concern)| {
            let (key, has) = (uri.clone(), version.to_owned());
            match concern {
                Concern::Compromised => Reason::Compromised { key, has },
                Concern::Due => Reason::Due { key, has },
            }
        })
    }

    /// Who wraps the DEK of this header anew, and opens it before.
    pub(crate) fn wrapping(&self, item: &Item, header: &Header) -> Result<Envelope, ItemError> {
        let keys = self.keys(header)?;
        let first = self.first(item, header);
        let by = (keys.iter().map(|key| key.uri.clone()).collect(), first);
        let mut known = self.wrapping.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(envelope) = known.get(&by) {
            return Ok(envelope.clone());
        }
        let keyring = keys.iter().fold(self.opening(first).clone(), |keyring, key| {
            keyring.encrypt(Arc::clone(&key.provider), key.uri.clone())
        });
        let envelope = Envelope::new(keyring);
        if known.len() < KNOWN_KEYRINGS {
            known.insert(by, envelope.clone());
        }
        Ok(envelope)
    }

    /// Calls to each key store, by the name of its provider, that changing this item takes at most.
    pub(crate) fn planned(&self, item: &Item, header: &Header) -> BTreeMap<&'static str, u64> {
        let mut calls = BTreeMap::new();
        let recipient = || {
            let mut known = header.recipients().iter().filter_map(|of| {
                self.meanings.iter().position(|(key, meaning)| is(key, meaning, of.key_uri()))
            });
            known.next()
        };
        if let Some(opening) = self.first(item, header).or_else(recipient) {
            calls.insert(self.meanings[opening].0.provider.name(), 1);
        }
        // Each wraps, and shows that it opens what it wrapped.
        for key in self.keys(header).unwrap_or_default() {
            *calls.entry(key.provider.name()).or_default() += 2;
        }
        calls
    }

    /// Opens a header with any key of the job.
    pub(crate) async fn unlock(&self, item: &Item, header: Header) -> Result<OpenedHeader, DecryptError> {
        let keyring = self.opening(self.first(item, &header)).clone();
        Envelope::new(keyring).unlock(header, &self.goal.context).await
    }

    /// Opens a header with the wanted passphrase alone.
    pub(crate) async fn unlock_by_passphrase(&self, header: &Header) -> Result<OpenedHeader, DecryptError> {
        let wanted = self.goal.to.iter().filter(|key| key.uri == KeyUri::passphrase());
        let keyring = wanted
            .fold(Keyring::new(), |keyring, key| keyring.decrypt(Arc::clone(&key.provider), key.uri.clone()));
        Envelope::new(keyring).unlock(header.clone(), &self.goal.context).await
    }

    /// Which key opens the header of this item first, where several are as good: each key store has its part of the
    /// calls, by the name of the item, and a job that is run again asks the same ones. `None`: the order of the header.
    ///
    /// As good are the keys of services. What a person types, and a token that is at hand, keep the place that the header
    /// gives them. A key store that wraps the new ones too may do all of it in one call, and is asked first.
    fn first(&self, item: &Item, header: &Header) -> Option<usize> {
        // Mostly there is one recipient.
        if header.recipients().len() < 2 {
            return None;
        }
        let mut able: Vec<usize> = Vec::new();
        for recipient in header.recipients() {
            let uri = recipient.key_uri();
            let Some(key) = self.meanings.iter().position(|(key, meaning)| is(key, meaning, uri)) else {
                continue;
            };
            match is_at_hand(uri) {
                true if able.is_empty() => return None,
                false if !able.contains(&key) => able.push(key),
                _ => {}
            }
        }
        let inside: Vec<_> = able.iter().copied().filter(|key| self.may_rewrap(*key)).collect();
        let able = if inside.is_empty() { able } else { inside };
        // Other bits than those that a shard goes by.
        let part = hash(item.name()) >> 32;
        able.get(usize::try_from(part % able.len().max(1) as u64).unwrap_or_default()).copied()
    }

    /// Whether all keys that wrap are of the key store of this one, and that has rewrapped inside.
    fn may_rewrap(&self, key: usize) -> bool {
        let identity = self.meanings[key].0.provider.identity();
        identity.is_some()
            && !self.goal.reencrypts
            && self.rewraps[key].load(Ordering::Relaxed)
            && !self.goal.keeps_others
            && self.goal.to.iter().all(|to| to.provider.identity() == identity)
    }

    fn opening(&self, first: Option<usize>) -> &Keyring {
        first.and_then(|first| self.opening_with.get(first)).unwrap_or(&self.opening)
    }

    /// Opens `new`, which was wrapped for the keys of `old`, once with each of them.
    pub(crate) async fn unlock_with_each(
        &self,
        old: &Header,
        new: &Header,
    ) -> Result<OpenedHeader, ItemError> {
        let mut opened = None;
        for key in self.keys(old)? {
            let keyring = Keyring::new().decrypt(Arc::clone(&key.provider), key.uri.clone());
            opened = Some(Envelope::new(keyring).unlock(new.clone(), &self.goal.context).await?);
        }
        opened.ok_or(ItemError::NoKey)
    }

    /// The keys that shall wrap what has this header.
    fn keys(&self, header: &Header) -> Result<Vec<&Key>, ItemError> {
        let mut keys: Vec<&Key> = Vec::new();
        if self.goal.keeps_others {
            for recipient in header.recipients() {
                let uri = recipient.key_uri();
                if self.is_removed(uri) || self.wanted.iter().any(|wanted| wanted.uri == *uri) {
                    continue;
                }
                let kept = self.meanings[..self.removed].iter().find(|(key, meaning)| is(key, meaning, uri));
                let (key, _) = kept.ok_or_else(|| ItemError::KeyNotConfigured { key: uri.clone() })?;
                if !keys.iter().any(|other| other.uri == key.uri) {
                    keys.push(key);
                }
            }
        }
        keys.extend(&self.goal.to);
        if keys.is_empty() { Err(ItemError::NoKey) } else { Ok(keys) }
    }

    fn is_removed(&self, uri: &KeyUri) -> bool {
        self.meanings[self.removed..].iter().any(|(key, meaning)| is(key, meaning, uri))
    }
}

fn is_at_hand(key: &KeyUri) -> bool {
    AT_HAND.contains(&key.scheme())
}

fn is(key: &Key, meaning: &Option<KeyUri>, recipient: &KeyUri) -> bool {
    let is_same =
        |uri: &KeyUri| uri.scheme() == recipient.scheme() && key.provider.is_same_key(uri, recipient);
    is_same(&key.uri) || meaning.as_ref().is_some_and(is_same)
}

/// Opens with these keys, by what they mean: aliases are not asked for again.
fn keyring<'k>(keys: impl Iterator<Item = &'k (Key, Option<KeyUri>)>) -> Keyring {
    keys.fold(Keyring::new(), |keyring, (key, meaning)| {
        keyring.decrypt(Arc::clone(&key.provider), meaning.as_ref().unwrap_or(&key.uri).clone())
    })
}

/// Schemes of keys that a person unlocks, or that are of this machine.
const AT_HAND: [&str; 3] = ["local", "passphrase", "pkcs11"];
/// Sets of keys that envelopes of one job have; more than these are put together each time.
const KNOWN_KEYRINGS: usize = 256;
