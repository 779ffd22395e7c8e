//! The data keys of a job: the old ones, and a new one for each context.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
    time::SystemTime,
};

use envelope_layers::DataKeyId;
use envelope_sdk::{DataKey, DecryptError, Envelope, Header, Keyring, Kind};

use super::{RecordStore, RecordsError, StoredDataKey};
use crate::{Goal, work::same_context};

/// The context of a data key, as its header shows it.
pub(super) type ContextKey = (BTreeMap<String, String>, Vec<String>);

pub(super) struct Keys {
    store: Arc<dyn RecordStore>,
    goal: Goal,
    envelope: Envelope,
    old: HashMap<DataKeyId, Header>,
    /// Those that nobody named and whose headers were destroyed.
    passed_over: HashSet<DataKeyId>,
    to: Option<DataKeyId>,
    /// When the last of the old ones was made, where the store tells.
    made: Option<SystemTime>,
    /// Headers that were made after all of the old ones, the newest first.
    newer: Vec<(DataKeyId, Header)>,
    /// By their contexts.
    new: HashMap<ContextKey, (DataKeyId, Arc<DataKey>)>,
}

impl Keys {
    /// Reads the headers of the old data keys, which somebody [named](super::RecordJob::from) or which are all that are in use. Key
    /// stores are not asked yet.
    pub(super) async fn find(
        store: Arc<dyn RecordStore>,
        goal: &Goal,
        from: &[DataKeyId],
        to: Option<DataKeyId>,
        are_named: bool,
    ) -> Result<Self, RecordsError> {
        let keyring = goal
            .to
            .iter()
            .fold(Keyring::new(), |keyring, key| keyring.both(Arc::clone(&key.provider), key.uri.clone()));
        let keyring = goal
            .open
            .iter()
            .fold(keyring, |keyring, key| keyring.decrypt(Arc::clone(&key.provider), key.uri.clone()));
        let (mut old, mut passed_over) = (HashMap::new(), HashSet::new());
        let mut made = Some(SystemTime::UNIX_EPOCH);
        for id in from {
            let Some(stored) = store.data_key(id).await.map_err(RecordsError::Store)? else { continue };
            // The end of one tenant's must not keep those of all others where they are.
            if !are_named && stored.header.is_empty() {
                passed_over.insert(*id);
                continue;
            }
            made = made.zip(stored.made).map(|(latest, made)| latest.max(made));
            old.insert(*id, header_of(&stored)?);
        }
        let (envelope, newer, new) = (Envelope::new(keyring), Vec::new(), HashMap::new());
        Ok(Self { store, goal: goal.clone(), envelope, old, passed_over, to, made, newer, new })
    }

    /// Whether nobody named this data key, and it was destroyed.
    pub(super) fn is_passed_over(&self, id: DataKeyId) -> bool {
        self.passed_over.contains(&id)
    }

    /// Looks for what a job before this one may have left.
    pub(super) async fn find_left(&mut self) -> Result<(), RecordsError> {
        if let (Some(made), None, false) = (self.made, self.to, self.old.is_empty()) {
            self.newer = made_after(&*self.store, made, &self.old).await?;
        }
        Ok(())
    }

    /// The header of an old data key, if there is one.
    pub(super) fn old_header(&self, id: DataKeyId) -> Option<Header> {
        self.old.get(&id).cloned()
    }

    /// Opens an old data key.
    pub(super) async fn open_old(&self, id: DataKeyId, header: &Header) -> Result<DataKey, RecordsError> {
        let opened = self.envelope.open_data_key(&header.to_bytes(), &self.goal.context).await;
        opened.map_err(|source| RecordsError::Open { id, source })
    }

    /// The new data key for the context of `old`, which is in the store; and whether it was made for this.
    pub(super) async fn new_for(
        &mut self,
        old: &Header,
    ) -> Result<(DataKeyId, Arc<DataKey>, bool), RecordsError> {
        let context = context_key(old);
        if let Some((id, new)) = self.new.get(&context) {
            return Ok((*id, Arc::clone(new), false));
        }
        let (id, new, made) = match self.to {
            Some(id) => (id, self.given(id, &context).await?, false),
            None => self.left_or_made(old, &context).await?,
        };
        let new = Arc::new(new);
        self.new.insert(context, (id, Arc::clone(&new)));
        Ok((id, new, made))
    }

    /// The header of the new data key that was named, if there is one.
    pub(super) async fn given_header(&self) -> Result<Option<Header>, RecordsError> {
        match self.to {
            Some(id) => self.named(id).await.map(Some),
            None => Ok(None),
        }
    }

    async fn named(&self, id: DataKeyId) -> Result<Header, RecordsError> {
        let stored = self.store.data_key(&id).await.map_err(RecordsError::Store)?;
        let stored =
            stored.ok_or(RecordsError::Job("the new data key that was named is not in the store"))?;
        header_of(&stored)
    }

    async fn given(&self, id: DataKeyId, context: &ContextKey) -> Result<DataKey, RecordsError> {
        let header = self.named(id).await?;
        if context_key(&header) != *context {
            return Err(RecordsError::Job(
                "the new data key that was named has another context than an old one, and who reads would not open it",
            ));
        }
        self.open_old(id, &header).await
    }

    /// What a job before this one left, or else a new one. What is made shows, too, how the goal's keys wrap now.
    async fn left_or_made(
        &self,
        old: &Header,
        context: &ContextKey,
    ) -> Result<(DataKeyId, DataKey, bool), RecordsError> {
        let made = self.envelope.create_data_key(&same_context(old, &self.goal.context)).await;
        let made = made.map_err(RecordsError::Make)?;
        let wraps = |header: &Header| {
            let wraps = header
                .recipients()
                .iter()
                .map(|wrap| (wrap.key_uri().clone(), wrap.key_version().to_owned()));
            wraps.collect::<Vec<_>>()
        };
        for (id, header) in &self.newer {
            if context_key(header) == *context
                && wraps(header) == wraps(made.header())
                && self.opens_with_each(header).await.is_ok()
            {
                return Ok((*id, self.open_old(*id, header).await?, false));
            }
        }
        self.opens_with_each(made.header()).await.map_err(RecordsError::NotVerified)?;
        let id = DataKeyId::of(made.header());
        self.store.insert(&id, &made.header().to_bytes()).await.map_err(RecordsError::Store)?;
        Ok((id, made, true))
    }

    async fn opens_with_each(&self, header: &Header) -> Result<(), DecryptError> {
        for key in &self.goal.to {
            let keyring = Keyring::new().decrypt(Arc::clone(&key.provider), key.uri.clone());
            Envelope::new(keyring).open_data_key(&header.to_bytes(), &self.goal.context).await?;
        }
        Ok(())
    }
}

async fn made_after(
    store: &dyn RecordStore,
    made: SystemTime,
    old: &HashMap<DataKeyId, Header>,
) -> Result<Vec<(DataKeyId, Header)>, RecordsError> {
    let (mut newer, mut after) = (Vec::new(), None);
    loop {
        let page = store.data_keys(after.as_ref()).await.map_err(RecordsError::Store)?;
        let Some(last) = page.last() else { break };
        after = Some(last.id);
        for stored in page {
            let at = stored.made.filter(|at| *at > made && !old.contains_key(&stored.id));
            // What is no header of a data key is nothing to go on with.
            if let (Some(at), Ok(header)) = (at, header_of(&stored)) {
                newer.push((at, stored.id, header));
            }
        }
    }
    newer.sort_by_key(|(at, id, _)| std::cmp::Reverse((*at, *id)));
    Ok(newer.into_iter().map(|(_, id, header)| (id, header)).collect())
}

fn header_of(stored: &StoredDataKey) -> Result<Header, RecordsError> {
    let wrong = || RecordsError::WrongHeader { id: stored.id };
    if stored.header.is_empty() {
        return Err(RecordsError::Destroyed { id: stored.id });
    }
    let header = Header::parse_exact(&stored.header).map_err(|_| wrong())?;
    let is_it = header.kind() == Kind::DataKey && DataKeyId::of(&header) == stored.id;
    is_it.then_some(header).ok_or_else(wrong)
}

/// The context of the data key that this is the header of.
pub(super) fn context_key(header: &Header) -> ContextKey {
    (header.stored_context().clone(), header.withheld().to_vec())
}
