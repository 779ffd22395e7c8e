//! `rotation_status`: how far a job came, and how a key rotates.

use std::{
    fs::File,
    io::{BufRead, BufReader, Read, Seek, SeekFrom},
};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    Tool,
    keys::{MAX_KEY, flatten},
};
use crate::{Failure, Kind, Look, call::Call, times, words};

pub(super) struct RotationStatus;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Input {
    /// A checkpoint (`--resume`) or a report in JSON (`--report`) of `envctl rotate`, in a folder that is served.
    #[serde(default)]
    path: Option<String>,
    /// Or a key: its past rotations, as its key store tells them.
    #[serde(default)]
    key: Option<String>,
}

#[derive(Default, Serialize, JsonSchema)]
pub(super) struct Output {
    /// What was looked at: `checkpoint`, `report` or `key`.
    what: String,
    /// Of a checkpoint: envelopes that the job is done with, or was about to write when it ended.
    items_noted: Option<u64>,
    /// Of a checkpoint: which job it is of; the same for the same job.
    job: Option<String>,
    /// Of a checkpoint or report: when it was last written.
    modified: Option<String>,
    /// Of a report: whether the job came to its end.
    finished: Option<bool>,
    /// Of a report: outcomes, each as NAME=COUNT.
    totals: Vec<String>,
    /// Of a report: why the job did not come to its end.
    error: Option<String>,
    /// Of a key: its URI.
    key: Option<String>,
    /// Of a key: whether it rotates by itself.
    automatic: Option<bool>,
    period_days: Option<u32>,
    next: Option<String>,
    /// Of a key: the last 20 rotations.
    past: Vec<PastRotation>,
    details: Vec<String>,
    unverified: String,
}

#[derive(Serialize, JsonSchema)]
struct PastRotation {
    date: Option<String>,
    /// Null where the key store does not say.
    automatic: Option<bool>,
}

impl Tool for RotationStatus {
    const NAME: &'static str = "rotation_status";
    const TITLE: &'static str = "Status of a rotation";
    const DESCRIPTION: &'static str = "Tells how far a rotation job came, from its checkpoint or report, or when a key was rotated. Begins, resumes and stops \
        nothing.";
    const ASKS: Option<Look> = Some(Look::Survey);
    type Input = Input;
    type Output = Output;

    async fn call(call: Call, input: Input) -> Result<Output, Failure> {
        let mut output = match (input.path, input.key) {
            (Some(path), None) => {
                let roots = std::sync::Arc::clone(&call.facade.roots);
                let read = call.blocking(move || read(&roots.file(&path)?.1)).await?;
                // To whoever may look at no envelope, not even whether there is such a file.
                read.map_err(|failure| match call.facade.policy.may(&call.caller, Look::Inspect) {
                    Ok(()) => failure,
                    Err(_) => neither(),
                })?
            }
            (None, Some(key)) => of_key(&call, &key).await?,
            _ => return Err(Failure::usage("name either `path` or `key`")),
        };
        output.unverified = words::UNVERIFIED.into();
        Ok(output)
    }
}

async fn of_key(call: &Call, key: &str) -> Result<Output, Failure> {
    let status = call.facade.keys.rotations(&call.caller, key).await?;
    let mut details = Vec::new();
    flatten(&status.details, "", &mut details);
    let skipped = status.past.len().saturating_sub(20);
    let past = status.past.iter().skip(skipped);
    Ok(Output {
        what: "key".into(),
        key: Some(words::shown(key, MAX_KEY)),
        automatic: Some(status.automatic),
        period_days: status.period_days,
        next: status.next.map(times::shown),
        past: past
            .map(|one| PastRotation { date: one.date.map(times::shown), automatic: one.automatic })
            .collect(),
        details,
        ..Output::default()
    })
}

fn read(file: &File) -> Result<Output, Failure> {
    let metadata = file.metadata().map_err(|error| of_io(&error))?;
    let modified = times::of_file(metadata.modified().ok());
    let mut reader = BufReader::new(file);
    let mut first = Vec::new();
    (&mut reader).take(MAX_LINE).read_until(b'\n', &mut first).map_err(|error| of_io(&error))?;
    if let Ok(Begin { job, .. }) = serde_json::from_slice::<Begin>(&first) {
        let items_noted = Some(lines(reader)?);
        return Ok(Output {
            what: "checkpoint".into(),
            items_noted,
            job: Some(job),
            modified,
            ..Output::default()
        });
    }
    if first.starts_with(b"{\"items\":[") {
        return of_report(file, metadata.len(), modified);
    }
    Err(neither())
}

fn neither() -> Failure {
    Failure::usage("the file is neither a checkpoint nor a report in JSON of `envctl rotate`")
}

/// Whole lines: half a one is of a job that was killed.
fn lines(mut reader: impl BufRead) -> Result<u64, Failure> {
    let (mut count, mut looked_at) = (0, 0);
    loop {
        let there = reader.fill_buf().map_err(|error| of_io(&error))?;
        if there.is_empty() {
            return Ok(count);
        }
        count += there.iter().filter(|byte| **byte == b'\n').count() as u64;
        let read = there.len();
        reader.consume(read);
        looked_at += read as u64;
        if looked_at > MOST_BYTES {
            return Err(Failure::new(Kind::Other, "the checkpoint is longer than this looks at"));
        }
    }
}

/// Its end says what became of the whole.
fn of_report(mut file: &File, length: u64, modified: Option<String>) -> Result<Output, Failure> {
    file.seek(SeekFrom::Start(length.saturating_sub(END))).map_err(|error| of_io(&error))?;
    let mut end = Vec::new();
    file.take(END).read_to_end(&mut end).map_err(|error| of_io(&error))?;
    let end = String::from_utf8_lossy(&end);
    let unfinished =
        || Failure::new(Kind::NotAuthentic, "the report has no end: it is cut off, or another file");
    let (_, end) = end.rsplit_once("\n],\"totals\":").ok_or_else(unfinished)?;
    let end: ReportEnd = serde_json::from_str(&format!("{{\"totals\":{end}")).map_err(|_| unfinished())?;
    let totals = match &end.totals {
        Value::Object(totals) => totals.get("totals").and_then(Value::as_object).unwrap_or(totals).clone(),
        _ => serde_json::Map::new(),
    };
    let totals = totals.iter().filter(|(_, count)| count.is_u64()).take(20);
    Ok(Output {
        what: "report".into(),
        modified,
        finished: Some(end.finished),
        totals: totals.map(|(name, count)| format!("{}={count}", words::shown(name, 64))).collect(),
        error: end.error.map(|error| words::shown(&error, words::MAX_NAME)),
        ..Output::default()
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Begin {
    #[serde(rename = "envelope_rotation")]
    _version: u32,
    job: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ReportEnd {
    totals: Value,
    finished: bool,
    error: Option<String>,
}

fn of_io(error: &std::io::Error) -> Failure {
    Failure::new(Kind::InputOutput, format!("the file cannot be read: {error}"))
}

const MAX_LINE: u64 = 4096;
/// 1 GiB: some five million envelopes.
const MOST_BYTES: u64 = 1 << 30;
const END: u64 = 16 * 1024;
