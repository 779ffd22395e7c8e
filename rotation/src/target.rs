//! A [`Goal`] whose keys were asked what they mean and which version is current.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::SystemTime,
};

use envelope_sdk::{
    DecryptError, EncryptionContext, Envelope, Header, KeyProvider, KeyUri, Keyring, OpenedHeader,
    PayloadKind,
};

use crate::{Goal, ItemError, Key, Reason, RotationError, metered::Meter, metered::Metered};

/// The target state, and the keyrings that lead there.
pub(crate) struct Target {
    goal: Goal,
    wanted: Vec<Wanted>,
    /// What the configured keys mean, in the order of `to`, `open`, `remove`. `None`: its provider did not say.
    meanings: Vec<(Key, Option<KeyUri>)>,
    removed: usize,
    opening: Envelope,
    /// By the keys that wrap.
    wrapping: Mutex<HashMap<Vec<KeyUri>, Envelope>>,
}

/// A recipient that each envelope shall have.
struct Wanted {
    uri: KeyUri,
    version: String,
}

impl Target {
    /// Asks each key that shall wrap for one throw-away wrap: it names the key behind an alias and the current
    /// version, needs no right but that to wrap, and fails here if the key is not to be had.
    pub(crate) async fn find(goal: &Goal, meter: &Arc<Meter>) -> Result<Self, RotationError> {
        let goal = metered(goal, meter);
        let mut wanted: Vec<Wanted> = Vec::new();
        for key in &goal.to {
            let keyring = Keyring::new().encrypt(Arc::clone(&key.provider), key.uri.clone());
            let started =
                Envelope::new(keyring).start(PayloadKind::Detached, &EncryptionContext::new()).await;
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
        let opening = meanings.iter().fold(Keyring::new(), |keyring, (key, _)| {
            keyring.decrypt(Arc::clone(&key.provider), key.uri.clone())
        });
        let removed = goal.to.len() + goal.open.len();
        Ok(Self {
            goal,
            wanted,
            meanings,
            removed,
            opening: Envelope::new(opening),
            wrapping: Mutex::default(),
        })
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
        match self.goal.older_than {
            Some(time) if modified.is_some_and(|modified| modified < time) => reasons.push(Reason::OlderThan),
            Some(_) => {}
            None if self.goal.reencrypts => reasons.push(Reason::NewDek),
            None => {}
        }
        reasons
    }

    /// Who wraps the DEK of this header anew, and opens it before.
    pub(crate) fn wrapping(&self, header: &Header) -> Result<Envelope, ItemError> {
        let keys = self.keys(header)?;
        let uris: Vec<_> = keys.iter().map(|key| key.uri.clone()).collect();
        let mut known = self.wrapping.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(envelope) = known.get(&uris) {
            return Ok(envelope.clone());
        }
        let keyring = keys.iter().fold(self.opening.keyring().clone(), |keyring, key| {
            keyring.encrypt(Arc::clone(&key.provider), key.uri.clone())
        });
        let envelope = Envelope::new(keyring);
        if known.len() < KNOWN_KEYRINGS {
            known.insert(uris, envelope.clone());
        }
        Ok(envelope)
    }

    /// Opens a header with any key of the job.
    pub(crate) async fn unlock(&self, header: Header) -> Result<OpenedHeader, DecryptError> {
        self.opening.unlock(header, &self.goal.context).await
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

fn is(key: &Key, meaning: &Option<KeyUri>, recipient: &KeyUri) -> bool {
    let is_same =
        |uri: &KeyUri| uri.scheme() == recipient.scheme() && key.provider.is_same_key(uri, recipient);
    is_same(&key.uri) || meaning.as_ref().is_some_and(is_same)
}

/// The goal with its providers behind the meter; one provider stays one.
fn metered(goal: &Goal, meter: &Arc<Meter>) -> Goal {
    let mut known: Vec<(Arc<dyn KeyProvider>, Arc<dyn KeyProvider>)> = Vec::new();
    let mut wrap = |keys: &[Key]| -> Vec<Key> {
        let metered = keys.iter().map(|key| {
            let is_it = |(inner, _): &&(Arc<dyn KeyProvider>, _)| {
                std::ptr::addr_eq(Arc::as_ptr(inner), Arc::as_ptr(&key.provider))
            };
            let provider = match known.iter().find(is_it) {
                Some((_, metered)) => Arc::clone(metered),
                None => {
                    let metered: Arc<dyn KeyProvider> =
                        Arc::new(Metered::new(Arc::clone(&key.provider), Arc::clone(meter)));
                    known.push((Arc::clone(&key.provider), Arc::clone(&metered)));
                    metered
                }
            };
            Key { provider, uri: key.uri.clone() }
        });
        metered.collect()
    };
    Goal { to: wrap(&goal.to), open: wrap(&goal.open), remove: wrap(&goal.remove), ..goal.clone() }
}

/// Sets of keys that envelopes of one job have; more than these are put together each time.
const KNOWN_KEYRINGS: usize = 256;
