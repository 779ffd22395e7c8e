//! What is around a call: who acts, for which request, on which envelope. A key provider hears of none of it.

use std::{cell::RefCell, mem, pin::Pin};

use tokio::task_local;

use crate::{AppendError, Entry};

/// Runs `future` as acts of `actor`: what is recorded in it names that one in place of the log's own actor.
pub fn acting_as<F: Future>(actor: impl Into<String>, future: F) -> impl Future<Output = F::Output> {
    let actor = actor.into();
    within(|scope| scope.actor = Some(actor), future)
}

/// Runs `future` as part of this request: what is recorded in it has its id.
pub fn in_request<F: Future>(id: impl Into<String>, future: F) -> impl Future<Output = F::Output> {
    let id = id.into();
    within(|scope| scope.request = Some(id), future)
}

/// Runs `future` as being about the envelope of this id ([`Header::envelope_id`](envelope_sdk::Header::envelope_id)) and
/// generation.
pub fn about_envelope<F: Future>(
    id: [u8; 16],
    generation: u32,
    future: F,
) -> impl Future<Output = F::Output> {
    within(move |scope| scope.envelope = Some((id, generation)), future)
}

/// What a policy said of a call that is being recorded.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PolicyDecision {
    /// The key URI that was judged; none where there is no particular one.
    pub key: Option<String>,
    /// Which policy it was, as `envctl policy check` names it; none if there is none that can be used.
    pub policy: Option<String>,
    /// The rule that decided; none if it was the default.
    pub rule: Option<String>,
    /// Whether it was denied.
    pub denied: bool,
    /// Why, as the `error` of a record has it: a word, where it is more than that the rule denies.
    pub why: Option<&'static str>,
}

/// Says, from within a call that is being recorded ([`Audited`](crate::Audited)), what a policy decided: so the record has
/// the policy that was asked, and not the one of a moment later. Outside of such a call the decision comes back.
///
/// # Errors
///
/// The decision, which no record will have.
pub fn policy_decided(decision: PolicyDecision) -> Result<(), PolicyDecision> {
    let mut decision = Some(decision);
    let put = |decisions: &RefCell<Vec<PolicyDecision>>| {
        if let Ok(mut decisions) = decisions.try_borrow_mut() {
            decisions.extend(decision.take());
        }
    };
    let _ = DECISIONS.try_with(put);
    decision.map_or(Ok(()), Err)
}

/// Runs `future`, and says what policies decided in it.
pub(crate) async fn with_decisions<F: Future>(future: F) -> (F::Output, Vec<PolicyDecision>) {
    let both = async {
        let output = future.await;
        let decisions = DECISIONS.try_with(|decisions| mem::take(&mut *decisions.borrow_mut()));
        (output, decisions.unwrap_or_default())
    };
    DECISIONS.scope(RefCell::default(), both).await
}

/// Runs `future`, in which calls to key providers are recorded without waiting for the disk, and says what is to be waited for. For who
/// does more before anything comes of the calls: a record of his own stands behind theirs, and one flush serves all where
/// [who records writes](crate::LogOptions::write_on_callers_threads), as with [`Log::append_later`](crate::Log::append_later).
/// Changes of keys ([`AuditedAdmin`](crate::AuditedAdmin)) are waited for all the same: they cannot be withheld.
///
/// Nothing that came of `future` may be handed out, nor given a name, before [`Unwritten::wait`] has ended well.
pub async fn recorded_later<F: Future>(future: F) -> (F::Output, Unwritten) {
    let both = async {
        let output = future.await;
        let records = LATER.try_with(|later| mem::take(&mut *later.borrow_mut()));
        (output, Unwritten(records.unwrap_or_default()))
    };
    LATER.scope(RefCell::default(), both).await
}

/// Records that the writer of the log has, and that may not be on disk yet.
#[derive(Default)]
#[must_use = "what was not recorded must not be done"]
pub struct Unwritten(Vec<Record>);

type Record = Pin<Box<dyn Future<Output = Result<(), AppendError>> + Send>>;

impl Unwritten {
    /// Waits until all of them are on disk.
    ///
    /// # Errors
    ///
    /// [`AppendError`] of the first that is not: what was done must fail. Never with
    /// [`BestEffort`](crate::Unwritable::BestEffort).
    pub async fn wait(self) -> Result<(), AppendError> {
        for record in self.0 {
            record.await?;
        }
        Ok(())
    }
}

/// Waits for `record`, or leaves it to whoever waits for all of them.
pub(crate) async fn wait_or_leave<F>(record: F) -> Result<(), AppendError>
where
    F: Future<Output = Result<(), AppendError>> + Send + 'static,
{
    let mut record = Some(record);
    let leave = |later: &RefCell<Vec<Record>>| {
        if let Ok(mut later) = later.try_borrow_mut() {
            later.extend(record.take().map(|record| Box::pin(record) as Record));
        }
    };
    let _ = LATER.try_with(leave);
    match record {
        Some(record) => record.await,
        None => Ok(()),
    }
}

/// Says in `entry` what is around the call, where it says nothing itself.
pub(crate) fn fill(entry: &mut Entry) {
    let Scope { actor, request, envelope } = Scope::current();
    entry.actor = entry.actor.take().or(actor);
    entry.request = entry.request.take().or(request);
    let id = envelope.map(|(id, _)| id).or_else(envelope_layers::envelope_around);
    entry.envelope = entry.envelope.or(id);
    entry.generation = entry.generation.or(envelope.map(|(_, generation)| generation));
}

/// Asks what is around when the future runs, not when it is made: so scopes nest.
async fn within<F: Future>(change: impl FnOnce(&mut Scope), future: F) -> F::Output {
    let mut scope = Scope::current();
    change(&mut scope);
    SCOPE.scope(scope, future).await
}

#[derive(Clone, Default)]
struct Scope {
    actor: Option<String>,
    request: Option<String>,
    envelope: Option<([u8; 16], u32)>,
}

impl Scope {
    fn current() -> Self {
        SCOPE.try_with(Clone::clone).unwrap_or_default()
    }
}

task_local! {
    static SCOPE: Scope;
    static DECISIONS: RefCell<Vec<PolicyDecision>>;
    static LATER: RefCell<Vec<Record>>;
}
