//! What is around a call: who acts, for which request, on which envelope. A key provider hears of none of it.

use tokio::task_local;

use crate::Entry;

/// Runs `future` as acts of `actor`: what is recorded in it names that one in place of the log's own actor.
pub fn acting_as<F: Future>(actor: impl Into<String>, future: F) -> impl Future<Output = F::Output> {
    let scope = Scope { actor: Some(actor.into()), ..Scope::current() };
    SCOPE.scope(scope, future)
}

/// Runs `future` as part of this request: what is recorded in it has its id.
pub fn in_request<F: Future>(id: impl Into<String>, future: F) -> impl Future<Output = F::Output> {
    let scope = Scope { request: Some(id.into()), ..Scope::current() };
    SCOPE.scope(scope, future)
}

/// Runs `future` as being about the envelope of this id ([`Header::envelope_id`](envelope_sdk::Header::envelope_id)) and
/// generation.
pub fn about_envelope<F: Future>(
    id: [u8; 16],
    generation: u32,
    future: F,
) -> impl Future<Output = F::Output> {
    let scope = Scope { envelope: Some((id, generation)), ..Scope::current() };
    SCOPE.scope(scope, future)
}

/// Says in `entry` what is around the call, where it says nothing itself.
pub(crate) fn fill(entry: &mut Entry) {
    let Scope { actor, request, envelope } = Scope::current();
    entry.actor = entry.actor.take().or(actor);
    entry.request = entry.request.take().or(request);
    entry.envelope = entry.envelope.or(envelope.map(|(id, _)| id));
    entry.generation = entry.generation.or(envelope.map(|(_, generation)| generation));
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
}
