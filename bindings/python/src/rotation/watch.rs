//! Waits for a job, and ends it in order when a signal says so.

use std::{pin::pin, time::Duration};

use envelope_rotation::{Control, RotationError};
use serde::Serialize;
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use super::outcome::carrying;
use crate::{
    failure::{Failure, Result, raised},
    run::{LOOK, check_signals},
    runtime::runtime,
};

/// Waits for the job of `control`. When the handler of a signal raises, the job begins nothing more, and finishes what is under
/// way, for 10 seconds at most; then the exception goes on, with the report.
pub(super) fn until_done<R: Serialize>(
    control: &Control,
    job: impl Future<Output = std::result::Result<R, RotationError>>,
) -> Result<R> {
    runtime()?.block_on(async {
        let mut job = pin!(job);
        let mut look = interval_at(Instant::now() + LOOK, LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut told = None;
        loop {
            tokio::select! {
                biased;
                done = &mut job => return match (told, done) {
                    (None, Ok(report)) => Ok(report),
                    (None, Err(error)) => Err(failed(error)),
                    (Some((Failure::Raised(raised), _)), Ok(report)) => Err(carrying(raised, &report)),
                    (Some((raised, _)), _) => Err(raised),
                },
                _ = look.tick() => match (&told, check_signals()) {
                    (None, Ok(())) => {}
                    (None, Err(raised)) => {
                        control.cancel();
                        told = Some((raised, Instant::now() + PATIENCE));
                    }
                    // A second one is not waited with.
                    (Some(_), Err(_)) => control.stop(),
                    (Some((_, end)), Ok(())) if Instant::now() >= *end => control.stop(),
                    (Some(_), Ok(())) => {}
                },
            }
        }
    })
}

/// A job that did not come to its end, with what it did until then.
fn failed(error: RotationError) -> Failure {
    match error {
        RotationError::Stopped { why, report } => carrying(raised(*why), &report),
        error => error.into(),
    }
}

const PATIENCE: Duration = Duration::from_secs(10);
