//! A recorder that tests ask.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use envelope_mcp::{Denial, Event, Failure, Kind, Recorder};
use tokio::{sync::Notify, time::timeout};

/// Keeps what is recorded.
#[derive(Default)]
pub(crate) struct Records {
    events: Mutex<Vec<Record>>,
    more: Notify,
    pub(crate) is_full: AtomicBool,
}

/// What was recorded.
#[derive(Debug, Clone)]
pub(crate) struct Record {
    /// `None` for whoever is not known.
    pub(crate) client: Option<String>,
    pub(crate) operation: &'static str,
    pub(crate) failure: Option<Kind>,
    pub(crate) reason: Option<&'static str>,
    pub(crate) denial: Option<Denial>,
    details: Vec<(&'static str, String)>,
}

impl Record {
    pub(crate) fn value(&self, name: &str) -> Option<&str> {
        self.details.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_str())
    }
}

#[async_trait]
impl Recorder for Records {
    async fn record(&self, event: &Event) -> Result<(), Failure> {
        if self.is_full.load(Ordering::Relaxed) {
            return Err(Failure::new(Kind::InputOutput, "no space left on device"));
        }
        let name = event.actor.strip_prefix("mcp:").unwrap();
        let record = Record {
            client: Some(name).filter(|name| !["", "unidentified"].contains(name)).map(ToOwned::to_owned),
            operation: event.operation.clone().leak(),
            failure: event.failure,
            reason: event
                .details
                .iter()
                .find(|(name, _)| *name == "reason")
                .map(|(_, reason)| &*reason.clone().leak()),
            denial: event.denial.clone(),
            details: event.details.clone(),
        };
        assert_eq!(record.failure.is_some(), record.reason.is_some() || record.value("why").is_some());
        self.events.lock().unwrap().push(record);
        self.more.notify_waiters();
        Ok(())
    }
}

impl Records {
    /// Waits for the first record that `is` so.
    pub(crate) async fn find(self: &Arc<Self>, is: impl Fn(&Record) -> bool) -> Record {
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
    pub(crate) async fn refusal(self: &Arc<Self>) -> Record {
        self.find(|event| event.reason.is_some()).await
    }

    pub(crate) fn all(&self) -> Vec<Record> {
        self.events.lock().unwrap().clone()
    }

    pub(crate) fn reasons(&self) -> Vec<&'static str> {
        self.events.lock().unwrap().iter().filter_map(|event| event.reason).collect()
    }
}

/// A test that fails rather than one that hangs.
const PATIENCE: Duration = Duration::from_secs(60);
