//! [`Audited`]: a key provider whose every call is recorded, or refused.

use std::fmt;

use async_trait::async_trait;
use envelope_sdk::{Dek, FullContext, KeyProvider, KeyUri, ProviderError, ProviderErrorKind, WrappedDek};

use crate::{
    AppendError, Appended, Entry, LazyLog, Log, Outcome, PolicyDecision, Unwritable,
    scope::{self, with_decisions},
};

/// Records each call to the provider below in a [`Log`](crate::Log). A call is made once the log is open; a result is handed out once its record is on disk: a DEK whose
/// unwrapping cannot be recorded is dropped, and the call fails, unless the log says
/// [`BestEffort`](Unwritable::BestEffort). Within [`recorded_later`](crate::recorded_later) it is the caller who waits.
///
/// It is for the outside of a stack of layers: what the cache answers is recorded too, and what a policy denies
/// ([`policy_decided`](crate::policy_decided)). Who acts, for which request and on which
/// envelope is what [`acting_as`](crate::acting_as), [`in_request`](crate::in_request) and
/// [`about_envelope`](crate::about_envelope) say around the call. A call that is dropped is recorded as
/// [`Dropped`](Outcome::Dropped).
pub struct Audited<P> {
    below: P,
    log: LazyLog,
}

impl<P: KeyProvider> Audited<P> {
    /// Records the calls to `below` in `log`.
    #[must_use]
    pub fn new(below: P, log: impl Into<LazyLog>) -> Self {
        Self { below, log: log.into() }
    }

    fn entry(&self, operation: &'static str, key: &KeyUri, context: Option<&FullContext>) -> Entry {
        let mut entry = entry(operation, self.below.name(), Some(key));
        if let Some(context) = context {
            entry.context = context.entries().map(|(name, value)| (name.into(), value.into())).collect();
        }
        entry
    }

    fn entry_of(&self, operation: &'static str, wrapped: &WrappedDek, context: &FullContext) -> Entry {
        let mut entry = self.entry(operation, wrapped.key_uri(), Some(context));
        entry.key_version = version(wrapped.key_version());
        entry
    }

    async fn pending(&self, entries: Vec<Entry>) -> Result<Pending, ProviderError> {
        Pending::begin(&self.log, self.below.name(), entries).await
    }
}

impl<P> fmt::Debug for Audited<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Audited").field("log", &self.log).finish_non_exhaustive()
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl<P: KeyProvider> KeyProvider for Audited<P> {
    envelope_sdk::hand_on!(below);

    /// Uses no key, and is recorded only if a policy denies it.
    async fn resolve(&self, key: &KeyUri) -> Result<KeyUri, ProviderError> {
        let (said, decisions) = with_decisions(self.below.resolve(key)).await;
        if !decisions.iter().any(|decision| decision.denied) {
            return said;
        }
        let pending = self.pending(vec![self.entry("resolve", key, None)]).await;
        match (pending, said) {
            (Ok(pending), said) => pending.end(self.below.name(), (said, decisions), |_, _| ()).await,
            // What was denied stays denied.
            (Err(unrecorded), Err(denied)) => {
                Err(denied.with_note(format_args!("and that was not recorded: {unrecorded}")))
            }
            (Err(unrecorded), Ok(_)) => Err(unrecorded),
        }
    }

    async fn wrap_dek(
        &self,
        key: &KeyUri,
        dek: &Dek,
        context: &FullContext,
    ) -> Result<WrappedDek, ProviderError> {
        let pending = self.pending(vec![self.entry("wrap_dek", key, Some(context))]).await?;
        let said = with_decisions(self.below.wrap_dek(key, dek, context)).await;
        pending.end(self.below.name(), said, names).await
    }

    async fn unwrap_dek(&self, wrapped: &WrappedDek, context: &FullContext) -> Result<Dek, ProviderError> {
        let pending = self.pending(vec![self.entry_of("unwrap_dek", wrapped, context)]).await?;
        let said = with_decisions(self.below.unwrap_dek(wrapped, context)).await;
        pending.end(self.below.name(), said, |_, _| ()).await
    }

    /// A record for each wrap, and one flush for all.
    async fn unwrap_deks(&self, wraps: &[(&WrappedDek, &FullContext)]) -> Vec<Result<Dek, ProviderError>> {
        let entries = wraps.iter().map(|(wrapped, context)| self.entry_of("unwrap_dek", wrapped, context));
        let mut pending = match self.pending(entries.collect()).await {
            Ok(pending) => pending,
            // An error has one owner, and each wrap its own.
            Err(error) => return wraps.iter().map(|_| Err(again(&error))).collect(),
        };
        let (said, decisions) = with_decisions(self.below.unwrap_deks(wraps)).await;
        for (at, (entry, dek)) in pending.entries.iter_mut().zip(&said).enumerate() {
            // One for each wrap, in their order, unless the policy could not be asked of each: then those of its key.
            let own: Vec<_> = match decisions.len() == wraps.len() {
                true => decisions.get(at..=at).unwrap_or_default().to_vec(),
                false => decisions.iter().filter(|decision| decision.key == entry.key).cloned().collect(),
            };
            came_of(entry, dek.as_ref().err(), &own);
        }
        pending.note(&decisions);
        match pending.write_or_leave().await {
            Ok(()) => said,
            Err(error) => {
                let refuse = |dek: Result<Dek, ProviderError>| refused(self.below.name(), dek, &error);
                said.into_iter().map(refuse).collect()
            }
        }
    }

    async fn generate_dek(
        &self,
        key: &KeyUri,
        context: &FullContext,
    ) -> Result<(Dek, WrappedDek), ProviderError> {
        let pending = self.pending(vec![self.entry("generate_dek", key, Some(context))]).await?;
        let said = with_decisions(self.below.generate_dek(key, context)).await;
        pending.end(self.below.name(), said, |entry, (_, wrapped)| names(entry, wrapped)).await
    }

    /// A record for the old wrap, and one for the new one.
    async fn rewrap_dek(
        &self,
        wrapped: &WrappedDek,
        key: &KeyUri,
        context: &FullContext,
    ) -> Result<Option<WrappedDek>, ProviderError> {
        let entries = vec![
            self.entry_of("rewrap_dek", wrapped, context).with_detail("wrap", "old"),
            self.entry("rewrap_dek", key, Some(context)).with_detail("wrap", "new"),
        ];
        let mut pending = self.pending(entries).await?;
        let (said, decisions) = with_decisions(self.below.rewrap_dek(wrapped, key, context)).await;
        pending.note(&decisions);
        for entry in &mut pending.entries {
            came_of(entry, said.as_ref().err(), &decisions);
            if matches!(said, Ok(None)) {
                entry.outcome = Outcome::NotOffered;
            }
        }
        if let (Ok(Some(new)), Some(entry)) = (&said, pending.entries.last_mut()) {
            names(entry, new);
        }
        match pending.write_or_leave().await {
            Ok(()) => said,
            Err(error) => refused(self.below.name(), said, &error),
        }
    }
}

/// What came of a call, and what policies said in it.
pub(crate) type Said<T> = (Result<T, ProviderError>, Vec<PolicyDecision>);

/// A call that has begun. Dropped before it has ended, it is recorded as that. Without a log, which a log of best effort may
/// lack, nothing is recorded.
pub(crate) struct Pending {
    log: Option<Log>,
    pub(crate) entries: Vec<Entry>,
}

impl Pending {
    /// Before the call is made, which is not to be made if this fails.
    pub(crate) async fn begin(
        log: &LazyLog,
        provider: &'static str,
        mut entries: Vec<Entry>,
    ) -> Result<Self, ProviderError> {
        entries.iter_mut().for_each(scope::fill);
        let log = log.before().await.map_err(|error| {
            let message = format!("nothing was done, since it cannot be recorded: {error}");
            ProviderError::without_key(ProviderErrorKind::Other, provider, message).with_source(error)
        })?;
        Ok(Self { log, entries })
    }

    /// The call has ended so. `say` adds what is known by then.
    pub(crate) async fn end<T>(
        mut self,
        provider: &'static str,
        (said, decisions): Said<T>,
        say: impl FnOnce(&mut Entry, &T),
    ) -> Result<T, ProviderError> {
        self.note(&decisions);
        if let Some(entry) = self.entries.first_mut() {
            came_of(entry, said.as_ref().err(), &decisions);
            if let Ok(done) = &said {
                say(entry, done);
            }
        }
        match self.write_or_leave().await {
            Ok(()) => said,
            Err(error) => refused(provider, said, &error),
        }
    }

    /// The log says it when the policy is another one than before.
    pub(crate) fn note(&self, decisions: &[PolicyDecision]) {
        if let (Some(log), Some(decision)) = (&self.log, decisions.last()) {
            log.works_under("policy", decision.policy.as_deref().unwrap_or("unusable"));
        }
    }

    /// Records it, and waits until that is on disk. With a log of best effort it never fails.
    pub(crate) async fn write(self) -> Result<(), AppendError> {
        match self.written(Log::append_all) {
            Some(written) => written.await,
            None => Ok(()),
        }
    }

    /// The same of a call whose result is all that there is to withhold: within [`recorded_later`](crate::recorded_later) it is
    /// left to the caller to wait.
    pub(crate) async fn write_or_leave(self) -> Result<(), AppendError> {
        match self.written(Log::append_later) {
            Some(written) => scope::wait_or_leave(written).await,
            None => Ok(()),
        }
    }

    /// Hands it over.
    fn written<W>(
        mut self,
        append: impl FnOnce(&Log, Vec<Entry>) -> W,
    ) -> Option<impl Future<Output = Result<(), AppendError>> + Send + 'static>
    where
        W: Future<Output = Result<Appended, AppendError>> + Send + 'static,
    {
        let entries = std::mem::take(&mut self.entries);
        let log = self.log.as_ref().filter(|_| !entries.is_empty())?;
        let (appended, unwritable) = (append(log, entries), log.if_unwritable());
        Some(async move {
            match appended.await {
                Err(error) if unwritable == Unwritable::BestEffort => {
                    tracing::error!(%error, "an operation was not recorded in the audit log");
                    Ok(())
                }
                written => written.map(drop),
            }
        })
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        let entries = std::mem::take(&mut self.entries);
        if let Some(log) = self.log.as_ref().filter(|_| !entries.is_empty()) {
            // Handed over now; nobody is left to wait for it.
            drop(log.append_all(entries));
        }
    }
}

/// An entry for a call whose outcome is not known yet: what is dropped now is recorded as dropped.
pub(crate) fn entry(operation: &'static str, provider: &str, key: Option<&KeyUri>) -> Entry {
    let mut entry = Entry::new(operation, Outcome::Dropped);
    entry.provider = Some(provider.into());
    entry.key = key.map(|key| key.as_str().into());
    entry
}

/// Says in `entry` how the call ended, and which rule of which policy decided.
pub(crate) fn came_of(entry: &mut Entry, error: Option<&ProviderError>, decisions: &[PolicyDecision]) {
    entry.outcome = error.map_or(Outcome::Ok, |_| Outcome::Failed);
    entry.error = error.map(|error| kind_name(error.kind()).into());
    let denied = error.and_then(|_| decisions.iter().find(|decision| decision.denied));
    let Some(decision) = denied.or_else(|| decisions.first()) else { return };
    entry.rule.clone_from(&decision.rule);
    if let Some(policy) = &decision.policy {
        entry.detail.insert("policy".into(), policy.clone());
    }
    if let Some(denied) = denied {
        (entry.outcome, entry.error) = (Outcome::Denied, denied.why.map(Into::into));
    }
}

/// The same error for another wrap.
fn again(error: &ProviderError) -> ProviderError {
    let same = ProviderError::without_key(error.kind(), error.provider(), error.message().to_owned());
    match std::error::Error::source(error).and_then(|source| source.downcast_ref::<AppendError>()) {
        Some(source) => same.with_source(source.clone()),
        None => same,
    }
}

/// What the caller is told when its call was not recorded: nothing of what came of it.
pub(crate) fn refused<T>(
    provider: &'static str,
    said: Result<T, ProviderError>,
    error: &AppendError,
) -> Result<T, ProviderError> {
    match said {
        Ok(_) => {
            let message = format!("the call was not recorded, so its result is withheld: {error}");
            let refusal = ProviderError::without_key(ProviderErrorKind::Other, provider, message);
            Err(refusal.with_source(error.clone()))
        }
        Err(failed) => Err(failed.with_note(format_args!("and the call was not recorded: {error}"))),
    }
}

/// Key and version of a wrap: for an alias, the key behind it.
fn names(entry: &mut Entry, wrapped: &WrappedDek) {
    entry.key = Some(wrapped.key_uri().as_str().into());
    entry.key_version = version(wrapped.key_version());
}

fn version(version: &str) -> Option<String> {
    (!version.is_empty()).then(|| version.into())
}

/// A word for a kind of error: those of [`envelope_layers::Outcome::name`].
pub(crate) fn kind_name(kind: ProviderErrorKind) -> &'static str {
    match kind {
        ProviderErrorKind::Unauthentic => "unauthentic",
        ProviderErrorKind::NotFound => "not_found",
        ProviderErrorKind::AccessDenied => "access_denied",
        ProviderErrorKind::State => "state",
        ProviderErrorKind::Unavailable => "unavailable",
        ProviderErrorKind::Throttled => "throttled",
        ProviderErrorKind::Unsupported => "unsupported",
        ProviderErrorKind::Protocol => "protocol",
        ProviderErrorKind::Invalid => "invalid",
        _ => "other",
    }
}
