//! [`Call`]: one call of a tool, who makes it, and how it is told of progress and of its end.

use std::sync::Arc;

use rmcp::{
    RoleServer,
    model::{NumberOrString, ProgressNotificationParam, ProgressToken},
    service::{Peer, RequestContext},
};

use tokio::task::{JoinHandle, spawn_blocking};

use crate::{Caller, Facade, Failure, Kind, cursor::Asked, places::Place};

/// One call.
pub(crate) struct Call {
    pub(crate) facade: Arc<Facade>,
    pub(crate) caller: Caller,
    /// What cursors of it are good for.
    pub(crate) asked: Asked,
    /// Counts the call.
    place: Arc<Place>,
    progress: Option<(Peer<RoleServer>, ProgressToken)>,
}

impl Call {
    pub(crate) fn new(
        facade: Arc<Facade>,
        caller: Caller,
        asked: Asked,
        place: Arc<Place>,
        context: &RequestContext<RoleServer>,
    ) -> Self {
        let token = context.meta.get_progress_token();
        Self { facade, caller, asked, place, progress: token.map(|token| (context.peer.clone(), token)) }
    }

    /// Does what blocks. Nothing can stop that: when the call is cancelled it goes on, and counts as a call until it ends.
    pub(crate) async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Failure> {
        let place = Arc::clone(&self.place);
        ended(spawn_blocking(move || {
            let _place = place;
            work()
        }))
        .await
    }

    /// Does what somebody else may have put on a thread that blocks: as [`blocking`](Self::blocking).
    pub(crate) async fn to_its_end<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, Failure> {
        let place = Arc::clone(&self.place);
        ended(tokio::spawn(async move {
            let _place = place;
            work.await
        }))
        .await
    }

    /// Says how many items were looked at, if the client wants to know. That nobody hears it is no reason to stop.
    pub(crate) async fn progress(&self, items: u64) {
        // It comes back in each notification, and is the client's: a long one would be multiplied.
        let is_short = |token: &ProgressToken| match &token.0 {
            NumberOrString::String(text) => text.len() <= crate::words::MAX_NAME,
            NumberOrString::Number(_) => true,
        };
        if let Some((peer, token)) = self.progress.as_ref().filter(|(_, token)| is_short(token)) {
            // A count of items: far below 2⁵³.
            let mut progress = ProgressNotificationParam::new(token.clone(), items as f64);
            progress.message = Some(format!("{items} items looked at"));
            let _ = peer.notify_progress(progress).await;
        }
    }
}

async fn ended<T>(work: JoinHandle<T>) -> Result<T, Failure> {
    work.await.map_err(|_| {
        Failure::new(Kind::Other, "the server failed while it worked on this; its log says where")
    })
}
