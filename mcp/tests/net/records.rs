//! A recorder that tests ask.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use envelope_mcp::net::{Event, NotRecorded, Recorder};
use tokio::{sync::Notify, time::timeout};

/// Keeps what is recorded.
#[derive(Default)]
pub(crate) struct Records {
    events: Mutex<Vec<Event>>,
    more: Notify,
    pub(crate) is_full: AtomicBool,
}

#[async_trait]
impl Recorder for Records {
    async fn record(&self, event: Event) -> Result<(), NotRecorded> {
        if self.is_full.load(Ordering::Relaxed) {
            return Err(NotRecorded("no space left on device".into()));
        }
        self.events.lock().unwrap().push(event);
        self.more.notify_waiters();
        Ok(())
    }
}

impl Records {
    /// Waits for the first record that `is` so.
    pub(crate) async fn find(self: &Arc<Self>, is: impl Fn(&Event) -> bool) -> Event {
        let found = async {
            loop {
                let more = self.more.notified();
                tokio::pin!(more);
                // Before the look, so that nothing comes between.
                more.as_mut().enable();
                if let Some(event) = self.events.lock().unwrap().iter().find(|event| is(event)) {
                    return event.clone();
                }
                more.await;
            }
        };
        match timeout(PATIENCE, found).await {
            Ok(event) => event,
            Err(_) => panic!("there is no such record, but {:#?}", self.all()),
        }
    }

    /// Waits for the first record with a reason.
    pub(crate) async fn refusal(self: &Arc<Self>) -> Event {
        self.find(|event| event.reason.is_some()).await
    }

    pub(crate) fn all(&self) -> Vec<Event> {
        self.events.lock().unwrap().clone()
    }

    pub(crate) fn reasons(&self) -> Vec<&'static str> {
        self.events.lock().unwrap().iter().filter_map(|event| event.reason).collect()
    }
}

/// A test that fails rather than one that hangs.
const PATIENCE: Duration = Duration::from_secs(60);
