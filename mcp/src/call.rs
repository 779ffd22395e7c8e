//! [`Call`]: one call of a tool, who makes it, and how it is told of progress and of its end.

use std::sync::Arc;

use rmcp::{
    RoleServer,
    model::{ProgressNotificationParam, ProgressToken},
    service::{Peer, RequestContext},
};

use crate::{Caller, Facade};

/// One call.
pub(crate) struct Call {
    pub(crate) facade: Arc<Facade>,
    pub(crate) caller: Caller,
    progress: Option<(Peer<RoleServer>, ProgressToken)>,
}

impl Call {
    pub(crate) fn new(facade: Arc<Facade>, caller: Caller, context: &RequestContext<RoleServer>) -> Self {
        let token = context.meta.get_progress_token();
        Self { facade, caller, progress: token.map(|token| (context.peer.clone(), token)) }
    }

    /// Says how many items were looked at, if the client wants to know. That nobody hears it is no reason to stop.
    pub(crate) async fn progress(&self, items: u64) {
        if let Some((peer, token)) = &self.progress {
            // A count of items: far below 2⁵³.
            let mut progress = ProgressNotificationParam::new(token.clone(), items as f64);
            progress.message = Some(format!("{items} items looked at"));
            let _ = peer.notify_progress(progress).await;
        }
    }
}
