//! Many calls at once, and calls that nobody waits for.

use std::{future::poll_fn, pin::pin, sync::Barrier, task::Poll, thread};

use envelope_sdk::EncryptionContext;

use super::super::{
    Backend, Outcome, Subject,
    ask::{Step, context, decide, fails, fresh_dek, full, must_give_back, must_wrap, wait},
};

/// 64 threads begin together; each wraps and unwraps a DEK of its own under a
/// context of its own, four times.
#[must_use]
pub fn sixty_four_tasks_each_get_their_own_dek(backend: &dyn Backend) -> Outcome {
    const TASKS: usize = 64;
    decide(|| all_at_once(backend, &backend.subject(), TASKS, 4))
}

/// Drops calls of every sort after 0 to 8 polls, 4 of each, then demands 16
/// round trips at once: a call that was dropped keeps no lock, connection or session.
#[must_use]
pub fn a_call_dropped_half_way_leaves_the_provider_working(backend: &dyn Backend) -> Outcome {
    decide(|| {
        let subject = backend.subject();
        let (dek, context) = (fresh_dek(), context());
        let wrapped = must_wrap(backend, &subject, &dek, &context)?;
        for polls in (0..=8).flat_map(|polls| [polls; 4]) {
            let wrapping = subject.provider.wrap_dek(&subject.key, &dek, &context);
            wait(backend, drop_after(polls, wrapping))?;
            let unwrapping = subject.provider.unwrap_dek(&wrapped, &context);
            wait(backend, drop_after(polls, unwrapping))?;
            let generating = subject.provider.generate_dek(&subject.key, &context);
            wait(backend, drop_after(polls, generating))?;
            let rewrapping = subject.provider.rewrap_dek(&wrapped, &subject.key, &context);
            wait(backend, drop_after(polls, rewrapping))?;
        }
        must_give_back(backend, &subject, &wrapped, &context, &dek)?;
        all_at_once(backend, &subject, 16, 1)
    })
}

fn all_at_once(backend: &dyn Backend, subject: &Subject, tasks: usize, rounds: usize) -> Step<()> {
    let start = Barrier::new(tasks);
    let round_trips = |task: usize| {
        let context = full(&EncryptionContext::new().with("task", task.to_string()));
        start.wait();
        for _ in 0..rounds {
            let dek = fresh_dek();
            let wrapped = must_wrap(backend, subject, &dek, &context)?;
            must_give_back(backend, subject, &wrapped, &context, &dek)?;
        }
        Ok(())
    };
    let round_trips = &round_trips;
    thread::scope(|scope| {
        let threads: Vec<_> = (0..tasks).map(|task| scope.spawn(move || round_trips(task))).collect();
        threads.into_iter().enumerate().try_for_each(|(task, thread)| match thread.join() {
            Ok(Ok(())) => Ok(()),
            Ok(Err(Outcome::Fails(seen))) => fails(format!("task {task} of {tasks}: {seen}")),
            Ok(Err(outcome)) => Err(outcome),
            Err(_) => fails(format!("task {task} of {tasks} panicked")),
        })
    })
}

/// Polls `future` at most `polls` times and drops it.
async fn drop_after(polls: usize, future: impl Future) {
    let mut future = pin!(future);
    let mut left = polls;
    poll_fn(|cx| {
        if left == 0 || future.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        left -= 1;
        if left == 0 { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}
