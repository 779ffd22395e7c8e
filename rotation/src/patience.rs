//! Others work on an item meanwhile, and are done soon.

use std::time::Duration;

/// How often an item is begun.
pub(crate) const TRIES: u32 = 20;

/// Waits before the next try, after the first times longer: 6 seconds or so in all. It needs a runtime of tokio with time.
pub(crate) async fn wait(tries: u32) {
    tokio::time::sleep(FIRST_WAIT * (1 << tries.min(MAX_DOUBLINGS))).await;
}

const FIRST_WAIT: Duration = Duration::from_millis(1);
const MAX_DOUBLINGS: u32 = 9;
