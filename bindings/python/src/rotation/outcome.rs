//! What became of an item, as Python is told.

use std::{
    ffi::OsString,
    os::unix::ffi::OsStringExt,
    sync::{Mutex, PoisonError},
};

use envelope_rotation::{Control, Item, ItemReport, Outcome as Core};
use pyo3::prelude::*;
use serde::Serialize;

use super::record::Recorder;
use crate::failure::{Failure, Result, Told as Words};

/// `envelope_sdk.rotation.Outcome`, field by field: item, outcome, reasons, generation, bytes, error, kind, retry.
#[derive(Debug, Clone, IntoPyObject)]
pub(crate) struct Outcome(
    pub(super) OsString,
    &'static str,
    Vec<String>,
    Option<u32>,
    u64,
    Option<String>,
    Option<&'static str>,
    bool,
);

/// The name of an item.
pub(super) fn name(item: &Item) -> OsString {
    OsString::from_vec(item.name().to_vec())
}

/// An outcome, as it is told.
pub(super) fn of(report: ItemReport) -> Outcome {
    let (outcome, _) = with_failure(report);
    outcome
}

/// An outcome, and what failed, to be raised.
pub(crate) fn with_failure(report: ItemReport) -> (Outcome, Option<Failure>) {
    let reasons = report.reasons.iter().map(ToString::to_string).collect();
    let (outcome, item) = (report.outcome.name(), name(&report.item));
    let failure = match report.outcome {
        Core::Failed(error) => Some(Failure::from(error)),
        _ => None,
    };
    let (error, kind, retry) = match &failure {
        Some(Failure::Told(told)) => {
            let Words { kind, message, retry, .. } = &**told;
            (Some(message.clone()), Some(kind.word()), *retry)
        }
        Some(Failure::Raised(error)) => (Some(error.to_string()), None, false),
        None => (None, None, false),
    };
    (Outcome(item, outcome, reasons, report.generation, report.bytes, error, kind, retry), failure)
}

/// Who is told of each item.
pub(super) struct Told {
    callback: Option<Py<PyAny>>,
    recorder: Option<Recorder>,
}

impl Told {
    pub(super) fn new(callback: Option<Py<PyAny>>, recorder: Option<Recorder>) -> Self {
        Self { callback, recorder }
    }

    /// Runs a job that tells of its items. An exception of the callback ends it, and has the report of what was done.
    pub(super) fn listen<R: Serialize>(
        self,
        control: &Control,
        run: impl FnOnce(&mut (dyn FnMut(ItemReport) + Send)) -> Result<R>,
    ) -> Result<R> {
        let Self { callback, recorder } = self;
        let raised = Mutex::new(None);
        let mut tell = |item: ItemReport| {
            if let Some(recorder) = &recorder {
                recorder.add(&item);
            }
            let Some(callback) = &callback else { return };
            let mut raised = raised.lock().unwrap_or_else(PoisonError::into_inner);
            // After one there are no more: whoever raised it does not expect them.
            if raised.is_none()
                && let Err(error) = Python::attach(|py| callback.call1(py, (of(item),)).map(drop))
            {
                *raised = Some(error);
                control.cancel();
            }
        };
        let done = run(&mut tell);
        let recorded = recorder.map_or(Ok(()), Recorder::finish);
        match (raised.into_inner().unwrap_or_else(PoisonError::into_inner), done) {
            (Some(error), Ok(report)) => Err(carrying(error, &report)),
            (Some(error), Err(_)) => Err(error.into()),
            (None, done) => recorded.and(done),
        }
    }
}

/// The exception, with the report of what was done until then: the Python side takes it off.
pub(super) fn carrying(error: PyErr, report: &impl Serialize) -> Failure {
    let Ok(report) = serde_json::to_string(report) else { return error.into() };
    Python::attach(|py| match error.value(py).setattr("_report", report) {
        Ok(()) => error.into(),
        Err(other) => other.into(),
    })
}
