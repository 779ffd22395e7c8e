//! The time that one call has for all its keys.

use std::{pin::pin, sync::Arc, time::Duration};

use futures_util::future::{Either, select};

use super::configured::ConfiguredKey;
use crate::{ProviderError, ProviderErrorKind, timer::Timer};

/// How long a call may take, by which clock.
#[derive(Clone)]
pub(super) struct Limit {
    pub(super) time: Duration,
    pub(super) timer: Arc<dyn Timer>,
}

/// When the call that is under way ends at the latest, if it has a [`Limit`].
pub(super) struct Deadline<'k>(Option<(&'k Limit, Duration)>);

impl<'k> Deadline<'k> {
    pub(super) fn start(limit: Option<&'k Limit>) -> Self {
        Self(limit.map(|limit| (limit, limit.timer.now().saturating_add(limit.time))))
    }

    /// Half of the time that is left, for a step that others must follow.
    pub(super) fn half(&self) -> Self {
        Self(self.0.map(|(limit, end)| {
            let now = limit.timer.now();
            (limit, now + end.saturating_sub(now) / 2)
        }))
    }

    pub(super) fn is_over(&self) -> bool {
        self.0.is_some_and(|(limit, end)| limit.timer.now() >= end)
    }

    /// Waits for a call about `key`, and drops it at the deadline. After the deadline nothing is called.
    pub(super) async fn bound<T>(
        &self,
        key: &ConfiguredKey,
        call: impl Future<Output = Result<T, ProviderError>>,
    ) -> Result<T, ProviderError> {
        let Some((limit, end)) = self.0 else { return call.await };
        let late = |message: String| {
            Err(ProviderError::new(ProviderErrorKind::Unavailable, key.provider.name(), &key.uri, message))
        };
        if self.is_over() {
            return late(format!("not asked: the {:?} that the whole call may take were over", limit.time));
        }
        // In this order: an answer that is there at the deadline counts.
        match select(pin!(call), limit.timer.sleep_until(end)).await {
            Either::Left((answer, _)) => answer,
            Either::Right(((), _)) => {
                late(format!("no answer before the end of the {:?} that the whole call may take", limit.time))
            }
        }
    }
}
