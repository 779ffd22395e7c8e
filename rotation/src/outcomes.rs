//! Reports of items, on their way from those who work to the one who tells of them.
//!
//! To wake a task costs as much as a third of what a small file does. So a report is put down at once, and somebody is woken for it
//! once the worker [waits](Sender::telling) for anything.

use std::{
    future::{Future, poll_fn},
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::Notify;

use crate::ItemReport;

/// A queue, and what puts reports into it. Clones are of the same queue.
pub(crate) fn queue() -> (Sender, Receiver) {
    let shared = Arc::new(Shared::default());
    shared.lock().senders = 1;
    (Sender(Arc::clone(&shared)), Receiver(shared))
}

#[derive(Default)]
struct Shared {
    queue: Mutex<Queue>,
    arrived: Notify,
    taken: Notify,
}

#[derive(Default)]
struct Queue {
    reports: Vec<ItemReport>,
    /// Whether the receiver has yet to hear of some of them.
    is_untold: bool,
    senders: usize,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        // Each change of it is one step.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self) {
        if std::mem::take(&mut self.lock().is_untold) {
            self.arrived.notify_one();
        }
    }
}

/// Puts reports into the queue.
pub(crate) struct Sender(Arc<Shared>);

impl Sender {
    /// Puts a report down, once there is room.
    pub(crate) async fn send(&self, report: ItemReport) {
        let mut report = Some(report);
        loop {
            let mut taken = pin!(self.0.taken.notified());
            // Before the look: what is taken after it is heard of.
            taken.as_mut().enable();
            {
                let mut queue = self.0.lock();
                if queue.reports.len() < MOST {
                    queue.reports.extend(report.take());
                    queue.is_untold = true;
                    return;
                }
            }
            taken.await;
        }
    }

    /// Runs `work`, and tells the receiver of what was put down whenever that waits, and at its end.
    pub(crate) async fn telling(self, work: impl AsyncFnOnce(&Self)) {
        let mut work = pin!(work(&self));
        poll_fn(|context| {
            let polled = work.as_mut().poll(context);
            self.0.tell();
            polled
        })
        .await;
    }
}

impl Clone for Sender {
    fn clone(&self) -> Self {
        self.0.lock().senders += 1;
        Self(Arc::clone(&self.0))
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        self.0.lock().senders -= 1;
        self.0.arrived.notify_one();
    }
}

/// Takes reports out of the queue.
pub(crate) struct Receiver(Arc<Shared>);

impl Receiver {
    /// What there is, once there is anything. `None` when nobody puts in anything more.
    pub(crate) async fn receive(&self) -> Option<Vec<ItemReport>> {
        loop {
            {
                let queue = self.0.lock();
                if queue.reports.is_empty() && queue.senders == 0 {
                    return None;
                }
            }
            let reports = self.take();
            if !reports.is_empty() {
                return Some(reports);
            }
            self.0.arrived.notified().await;
        }
    }

    /// What there is now.
    pub(crate) fn take(&self) -> Vec<ItemReport> {
        let reports = {
            let mut queue = self.0.lock();
            queue.is_untold = false;
            std::mem::take(&mut queue.reports)
        };
        if !reports.is_empty() {
            self.0.taken.notify_waiters();
        }
        reports
    }
}

/// Reports that wait, at most: whoever cancels is told of an item soon after it is done.
const MOST: usize = 64;
