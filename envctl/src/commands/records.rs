//! `envctl rotate-records`: the records of a table, to a new data key.

use std::sync::Arc;

use envelope_audit::{Entry, Outcome};
use envelope_layers::{DataKeyId, StoreError};
use envelope_policy::distinct_keys;
use envelope_rotation::{
    Goal, Key, KeyStores, SqlError, SqlRecords,
    records::{
        ContextTemplate, RecordEvent, RecordFailure, RecordJob, RecordReport, RecordsError, Retirement,
    },
};
use envelope_sdk::{KeyUri, registry::Purpose};
use serde_json::{Value, json};

use super::{
    context,
    report_file::ReportFile,
    rotate::{first_of, key_stores, prices, until_told_to_end, with_estimates},
};
use crate::{
    cli::{Expected, Global, RotateRecords},
    error::{CliError, ErrorKind, Result},
    progress::Items,
    providers::{Providers, check_inspect},
    recorder::{Recorder, word},
    report,
    runtime::block_on,
};

/// Moves records. A row that fails stays as it is and does not stop the others; the exit code is 4 then.
pub(crate) fn run(global: &Global, args: &RotateRecords) -> Result<()> {
    if args.dry_run {
        return plan(global, args);
    }
    let (keys, recorder) = keys(global, args)?;
    let job = job(args, &keys)?;
    let control = until_told_to_end();
    let mut told = Told::new(global, args)?;
    let entry = begun(args)?;
    recorder.record(entry.clone())?;
    let ended = block_on(async {
        // By another connection; what is wrong with it is told by the job.
        if told.progress.is_wanted()
            && let Ok(counting) = self::job(args, &keys)
        {
            let control = control.clone();
            told.progress.count_by(async move { counting.plan(&control).await.ok().map(|plan| plan.rows) });
        }
        job.run(&control, |event| told.hear(&event)).await
    });
    told.finish(ended, |done, error| recorder.record_done(outcome(entry, done, error)))
}

/// What is recorded before a row is moved. The table's URL is not: it names hosts and users, which a log need not tell.
fn begun(args: &RotateRecords) -> Result<Entry> {
    let mut entry = Entry::new("rotate_records", Outcome::Begun);
    let ids = |ids: &[String]| ids.iter().map(|id| data_key_id(id)).collect::<Result<Vec<_>>>();
    for (name, ids) in [("old", ids(&args.old)?), ("new", ids(args.new.as_slice())?)] {
        if !ids.is_empty() {
            entry.detail.insert(name.into(), listed(&ids));
        }
    }
    Ok(entry)
}

/// How it ended, and what was done until then.
fn outcome(mut entry: Entry, done: Option<&RecordReport>, error: Option<&CliError>) -> Entry {
    entry.outcome = Outcome::Ok;
    if let Some(error) = error {
        (entry.outcome, entry.error) = (Outcome::Failed, Some(word(error.kind()).into()));
    }
    let Some(done) = done else { return entry };
    if done.cancelled {
        entry.outcome = Outcome::Failed;
        entry.detail.insert("cancelled".into(), "true".into());
    }
    for (name, rows) in [("rows", done.moved), ("failed", done.failed), ("left", done.left)] {
        entry.detail.insert(name.into(), rows.to_string());
    }
    let of = |wanted: fn(&Retirement) -> bool| -> Vec<_> {
        done.emptied.iter().filter(|(_, retired)| wanted(retired)).map(|(id, _)| *id).collect()
    };
    let retired = of(|retired| *retired == Retirement::Retired);
    let kept = of(|retired| *retired != Retirement::Retired);
    for (name, ids) in [("new", &done.new), ("retired", &retired), ("emptied", &kept)] {
        if !ids.is_empty() {
            entry.detail.insert(name.into(), listed(ids));
        }
    }
    entry
}

/// So many that they all have room in a record.
fn listed(ids: &[DataKeyId]) -> String {
    let mut text = ids.iter().take(LISTED).map(ToString::to_string).collect::<Vec<_>>().join(" ");
    if ids.len() > LISTED {
        text.push_str(&format!(" and {} more", ids.len() - LISTED));
    }
    text
}

fn plan(global: &Global, args: &RotateRecords) -> Result<()> {
    let prices = prices(&args.estimate)?;
    check_inspect(global, &[])?;
    let job = job(args, &keys(global, args)?.0)?;
    let report = args.report.as_deref().map(ReportFile::create_json).transpose()?;
    let control = until_told_to_end();
    let ended = block_on(job.plan(&control)).map_err(of_records);
    let (value, text) = match &ended {
        Ok(plan) => with_estimates(serde_json::to_value(plan), plan, &plan.calls, &prices, args.rate),
        Err(_) => (Ok(Value::Null), String::new()),
    };
    let value = value.map_err(|error| CliError::other(error.to_string()))?;
    let trouble = match &ended {
        Err(error) => Some(error.message()),
        Ok(plan) => plan.cancelled.then_some(CANCELLED),
    };
    let written = report.map_or(Ok(()), |report| report.finish(&value, &text, trouble));
    let said = if value.is_null() { Ok(()) } else { report::print(global.json, &value, &text) };
    first_of([ended.map(drop), written, said])
}

/// The job; a second one is of the same keys.
fn job(args: &RotateRecords, (goal, key_stores): &(Goal, KeyStores)) -> Result<RecordJob> {
    let template =
        ContextTemplate::parse(&args.context).map_err(|error| CliError::usage(error.to_string()))?;
    let ids = |ids: &[String]| ids.iter().map(|id| data_key_id(id)).collect::<Result<Vec<_>>>();
    let (old, new) = (ids(&args.old)?, args.new.as_deref().map(data_key_id).transpose()?);
    let store = store(&args.table)?;
    let mut job =
        RecordJob::new(Arc::new(store), goal.clone(), template).key_stores(key_stores.clone()).from(old);
    if let Some(new) = new {
        job = job.to(new);
    }
    if let Some(rows) = args.batch {
        job = job.batch(rows);
    }
    if args.go_on {
        job = job.going_on();
    }
    if args.keep {
        job = job.keeping_old_data_keys();
    }
    Ok(job)
}

/// The tables that a URL names.
pub(super) fn store(url: &str) -> Result<SqlRecords> {
    SqlRecords::from_url(url).map_err(|error| of_sql(&error))
}

fn keys(global: &Global, args: &RotateRecords) -> Result<((Goal, KeyStores), Recorder)> {
    let key_stores = key_stores(args.rate);
    let expected = Expected { context: args.data_key_context.clone(), expect: Vec::new() };
    let expected = context::expected(&expected)?;
    let providers = Providers::for_job(global, &key_stores)?;
    let opened = providers.opened();
    let to: Vec<_> = opened.keyring_to_encrypt(&args.to)?.encrypting().cloned().collect();
    let registry = opened.registry_to_encrypt(distinct_keys(&to));
    let key = |uri: &KeyUri, purpose| -> Result<Key> {
        let provider = registry.provider(uri, purpose).map_err(CliError::of_call)?;
        Ok(Key::new(provider, uri.clone()))
    };
    let to = to.iter().map(|uri| key(uri, Purpose::Replace)).collect::<Result<_>>()?;
    let from = opened.keyring_to_decrypt(&args.from)?;
    let from = from.decrypting().map(|uri| key(uri, Purpose::Decrypt)).collect::<Result<_>>()?;
    let goal = Goal::only(to).open_with(from).with_context(expected);
    Ok(((goal, key_stores), providers.recorder().clone()))
}

/// What is told while rows are moved: a bar, errors, and the file of the report.
struct Told<'a> {
    global: &'a Global,
    progress: Items,
    report: Option<ReportFile>,
    failed: u64,
}

impl<'a> Told<'a> {
    fn new(global: &'a Global, args: &RotateRecords) -> Result<Self> {
        let report = args.report.as_deref().map(ReportFile::create_json).transpose()?;
        Ok(Self { global, progress: Items::new(global), report, failed: 0 })
    }

    fn hear(&mut self, event: &RecordEvent<'_>) {
        match event {
            RecordEvent::NewDataKey { id, .. } => self.progress.aside(|| {
                let value = json!({ "new_data_key": id.to_string() });
                let text = format!("records move to the data key {id}");
                let _ = report::status(self.global.json, &value, &text);
            }),
            RecordEvent::Moved { rows, calls, .. } => self.progress.add_many(*rows, *calls),
            RecordEvent::Failed(failure) => self.failed(failure),
            _ => {}
        }
    }

    fn failed(&mut self, failure: &RecordFailure) {
        self.failed += 1;
        if let Some(report) = &mut self.report {
            let (row, column) = (failure.key.to_string(), &failure.column);
            report.add_json(&json!({ "row": row, "column": column, "error": failure.why.to_string() }));
        }
        let error = CliError::new(ErrorKind::NotAuthentic, failure.to_string());
        self.progress.aside(|| error.report(self.global.json));
    }

    /// What was done is told however it ended, once it was given to `record`.
    fn finish(
        self,
        ended: std::result::Result<RecordReport, RecordsError>,
        record: impl FnOnce(Option<&RecordReport>, Option<&CliError>) -> Result<()>,
    ) -> Result<()> {
        drop(self.progress);
        let (done, why) = match ended {
            Ok(done) => (Some(done), None),
            Err(RecordsError::Stopped { why, report }) => (Some(*report), Some(of_records(*why))),
            Err(why) => (None, Some(of_records(why))),
        };
        // Rows that fail are no trouble of the job: the report counts them.
        let broken = why.as_ref().map(|why| why.message().to_owned());
        let verdict = match why {
            Some(why) => Err(why),
            None => Self::verdict(self.failed, done.as_ref()),
        };
        let recorded = record(done.as_ref(), verdict.as_ref().err());
        let value = serde_json::to_value(&done).map_err(|error| CliError::other(error.to_string()))?;
        let text = done.as_ref().map(ToString::to_string).unwrap_or_default();
        let is_cancelled = done.as_ref().is_some_and(|done| done.cancelled);
        let trouble = broken.as_deref().or_else(|| is_cancelled.then_some(CANCELLED));
        let written = self.report.map_or(Ok(()), |report| report.finish(&value, &text, trouble));
        let said = if done.is_some() { report::print(self.global.json, &value, &text) } else { Ok(()) };
        first_of([recorded, verdict, written, said])
    }

    fn verdict(failed: u64, done: Option<&RecordReport>) -> Result<()> {
        let (failed_at_last, left) = done.map_or((0, 0), |done| (done.failed, done.left));
        match (failed.max(failed_at_last), left) {
            (0, 0) => Ok(()),
            (0, left) => Err(CliError::other(format!("{left} rows are left under an old data key"))
                .hint("others still write under it: run this again when they have a new one")),
            (failed, _) => {
                let text = format!("{failed} rows failed and are as they were");
                Err(CliError::new(ErrorKind::NotAuthentic, text))
            }
        }
    }
}

/// 32 hexadecimal digits, or a UUID.
pub(super) fn data_key_id(text: &str) -> Result<DataKeyId> {
    let id: Option<[u8; 16]> = report::unhex(&text.replace('-', ""));
    let id = id.ok_or_else(|| CliError::usage("the id of a data key is 32 hexadecimal digits, or a UUID"))?;
    Ok(id.into())
}

fn of_records(error: RecordsError) -> CliError {
    match error {
        RecordsError::Store(error) => of_store(error),
        RecordsError::Open { id, source } => CliError::from(source).about(format!("data key {id}")),
        RecordsError::Make(error) => error.into(),
        RecordsError::NotVerified(error) => error.into(),
        error @ RecordsError::NothingOpens { .. } => {
            CliError::new(ErrorKind::NotAuthentic, error.to_string())
        }
        error @ RecordsError::Destroyed { .. } => CliError::new(ErrorKind::KeyRefused, error.to_string()),
        error @ RecordsError::Job(_) => CliError::usage(error.to_string())
            .hint("--old ID names a data key that is to go, --new ID one that is there already"),
        RecordsError::Stopped { why, .. } => of_records(*why),
        error => CliError::other(error.to_string()),
    }
}

pub(super) fn of_store(error: StoreError) -> CliError {
    match error.downcast::<SqlError>() {
        Ok(error) => of_sql(&error),
        Err(error) => CliError::new(ErrorKind::InputOutput, error.to_string()),
    }
}

fn of_sql(error: &SqlError) -> CliError {
    let kind = match error {
        SqlError::Url(_) | SqlError::Table { .. } => ErrorKind::Usage,
        _ => ErrorKind::InputOutput,
    };
    CliError::new(kind, error.to_string())
}

/// Ids in a detail of a record.
const LISTED: usize = 200;
const CANCELLED: &str = "it was told to end";
