//! A job that runs, from outside.

use tokio::sync::watch;

/// Pauses, resumes and cancels a job. Clones are of the same job.
///
/// A job that is told to pause or to end finishes the items that are under way, and begins no other, unless it is
/// [stopped](Self::stop).
#[derive(Debug, Clone)]
pub struct Control(watch::Sender<State>);

/// In the order in which the later ones go before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd)]
enum State {
    Running,
    Paused,
    Cancelled,
    Stopped,
}

impl Control {
    /// Of a job that runs.
    #[must_use]
    pub fn new() -> Self {
        Self(watch::Sender::new(State::Running))
    }

    /// Begins no item until [`resume`](Self::resume). What was cancelled stays so.
    pub fn pause(&self) {
        self.set(State::Paused);
    }

    /// Goes on.
    pub fn resume(&self) {
        self.set(State::Running);
    }

    /// Ends the job, with the report of what was done. A job with a checkpoint can be resumed by another one.
    pub fn cancel(&self) {
        self.set(State::Cancelled);
    }

    /// Ends the job, and does not wait for what is under way: each of those items is done or as it was, and in no report.
    pub fn stop(&self) {
        self.set(State::Stopped);
    }

    /// Whether the job was cancelled or stopped.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        *self.0.borrow() >= State::Cancelled
    }

    /// Waits while the job is paused. False when it is cancelled.
    pub(crate) async fn may_go_on(&self) -> bool {
        // Nearly always, and asked for each item.
        if *self.0.borrow() == State::Running {
            return true;
        }
        let mut state = self.0.subscribe();
        match state.wait_for(|state| *state != State::Paused).await {
            Ok(state) => *state == State::Running,
            // The sender is held by self.
            Err(_) => false,
        }
    }

    /// Returns when the job is cancelled or stopped.
    pub(crate) async fn cancelled(&self) {
        let _ = self.0.subscribe().wait_for(|state| *state >= State::Cancelled).await;
    }

    /// Returns when the job is stopped.
    pub(crate) async fn stopped(&self) {
        let _ = self.0.subscribe().wait_for(|state| *state == State::Stopped).await;
    }

    fn set(&self, new: State) {
        self.0.send_if_modified(|state| {
            // What has ended stays so.
            let changes = *state != new && (*state < State::Cancelled || new == State::Stopped);
            if changes {
                *state = new;
            }
            changes
        });
    }
}

impl Default for Control {
    fn default() -> Self {
        Self::new()
    }
}
