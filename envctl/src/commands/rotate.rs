//! `envctl rotate` and `envctl plan`: many envelopes, to other keys or new versions of them.

use std::{
    collections::BTreeMap,
    fmt::Display,
    fs, thread,
    time::{Duration, UNIX_EPOCH},
};

use envelope_audit::{self as audit, Entry};
use envelope_policy::distinct_keys;
use envelope_rotation::{
    Checkpoint, Concern, Control, Goal, ItemReport, Job, Key, KeyStores, Outcome, Prices, RotationError,
    Shard,
};
use envelope_sdk::{KeyState, KeyUri, printable, registry::Purpose};
use serde_json::Value;

use super::{context, moment, overlap, report_file::ReportFile};
use crate::{
    cli::{Estimate, Expected, Global, Plan, Rotate, Rotation},
    error::{CliError, ErrorKind, Result},
    interrupt,
    progress::Items,
    providers::{Providers, check_inspect},
    recorder::{JobRecorder, Recorder, word},
    report::{self, now},
    runtime::block_on,
    sources,
};

/// Changes what is not in the target state. An envelope that fails stays as it is and does not stop the others. The
/// exit code is that of the first failure.
pub(crate) fn run(global: &Global, args: &Rotate) -> Result<()> {
    if args.dry_run {
        return say_plan(global, &args.what, &args.estimate);
    }
    let (mut job, recorder) = job(global, &args.what, true)?;
    if let Some(concurrency) = args.concurrency {
        job = job.concurrency(concurrency.into());
    }
    if let Some(path) = &args.resume {
        job = job.checkpoint(Checkpoint::open(path)?);
    }
    let mut told = Told::new(global, &args.what)?;
    told.recorder = Some(recorder.of_job());
    let control = until_told_to_end();
    let ended = block_on(async {
        told.progress.count(&args.what);
        job.run(&control, |item| told.add(item)).await
    });
    let (report, why) = match ended {
        Ok(report) => (Some(report), None),
        Err(RotationError::Stopped { why, report }) => (Some(*report), Some(*why)),
        Err(why) => (None, Some(why)),
    };
    let text = report.as_ref().map(|report| format!("{report}\n")).unwrap_or_default();
    let is_cancelled = report.as_ref().is_some_and(|report| report.cancelled);
    told.finish(serde_json::to_value(&report), &text, why.map(CliError::from), is_cancelled)
}

/// Says what [`run`] would do.
pub(crate) fn plan(global: &Global, args: &Plan) -> Result<()> {
    say_plan(global, &args.what, &args.estimate)
}

fn say_plan(global: &Global, args: &Rotation, estimate: &Estimate) -> Result<()> {
    let prices = prices(estimate)?;
    check_inspect(global, &[])?;
    let (job, _) = job(global, args, false)?;
    let mut told = Told::new(global, args)?;
    let control = until_told_to_end();
    let ended = block_on(async {
        told.progress.count(args);
        job.plan(&control, |item| told.add(item)).await
    });
    let (value, text, why) = match ended {
        Ok(plan) => {
            let (value, text) =
                with_estimates(serde_json::to_value(&plan), &plan, &plan.calls, &prices, args.rate);
            (value, text, None)
        }
        Err(why) => (Ok(Value::Null), String::new(), Some(CliError::from(why))),
    };
    told.finish(value, &text, why, control.is_cancelled())
}

/// A plan with what its calls cost and how long they take, as JSON and as text.
pub(super) fn with_estimates(
    plan: serde_json::Result<Value>,
    text: &impl Display,
    calls: &BTreeMap<&'static str, u64>,
    prices: &Prices,
    rate: Option<u32>,
) -> (serde_json::Result<Value>, String) {
    let estimates = prices.estimate(calls, rate);
    let mut value = plan;
    if let (Ok(Value::Object(plan)), Ok(estimates)) = (&mut value, serde_json::to_value(&estimates)) {
        plan.insert("estimates".into(), estimates);
    }
    let estimates: String = estimates.iter().map(|estimate| format!("  {estimate}\n")).collect();
    (value, format!("{text}{estimates}"))
}

pub(super) fn prices(args: &Estimate) -> Result<Prices> {
    let Some(path) = &args.prices else { return Ok(Prices::builtin()) };
    let text = fs::read_to_string(path).map_err(|error| CliError::io("read", path, &error))?;
    let own = Prices::parse(&text);
    let own = own.map_err(|error| CliError::usage(error.to_string()).about(printable::path(path)))?;
    Ok(Prices::builtin().with(own))
}

/// A signal that ends the process ends the job first, which says how far it came: what is under way is finished, but not waited
/// for without end.
pub(super) fn until_told_to_end() -> Control {
    let control = Control::new();
    let told = control.clone();
    interrupt::finish_when_told(move || {
        told.cancel();
        let stop = move || {
            thread::sleep(PATIENCE);
            told.stop();
        };
        // Without a thread it is waited for; another signal ends that.
        let _ = thread::Builder::new().name("patience".into()).spawn(stop);
    });
    control
}

fn job(global: &Global, args: &Rotation, writes: bool) -> Result<(Job, Recorder)> {
    let key_stores = key_stores(args.rate);
    let (goal, recorder) = goal(global, args, &key_stores, writes)?;
    overlap::warn(global, &args.paths);
    let source = sources::open(&args.paths, writes)?;
    Ok((Job::new(source, goal).key_stores(key_stores).shard(args.shard.unwrap_or(Shard::ALL)), recorder))
}

/// What a job has over its key stores, with so many calls in a second at most.
pub(super) fn key_stores(rate: Option<u32>) -> KeyStores {
    match rate {
        Some(rate) => KeyStores::new().calls_per_second(rate),
        None => KeyStores::new(),
    }
}

/// With what is wrong with the keys that envelopes may lose, as far as their key stores tell.
fn concerned(goal: Goal, opened: &envelope_providers::Providers, args: &Rotation) -> Goal {
    let names = args.to.iter().chain(&args.from).chain(&args.remove);
    let described = names.filter_map(|name| {
        let key = opened.key(name).ok()?;
        block_on(opened.registry().admin(&key).ok()?.describe_key(&key)).ok()
    });
    described.fold(goal, |goal, key| {
        key.versions.iter().fold(goal, |goal, version| {
            let concern = if KeyState::Compromised == version.state || KeyState::Compromised == key.state {
                Concern::Compromised
            } else if version.is_due(now()) {
                Concern::Due
            } else {
                return goal;
            };
            goal.concerned_about(key.uri.clone(), Some(version.version.clone()), concern)
        })
    })
}

fn goal(global: &Global, args: &Rotation, key_stores: &KeyStores, writes: bool) -> Result<(Goal, Recorder)> {
    let expected = Expected { context: args.context.clone(), expect: Vec::new() };
    let expected = context::expected(&expected)?;
    let older_than = args.older_than.as_deref().map(moment::parse_beginning).transpose()?;
    let providers = Providers::for_job(global, key_stores)?;
    let opened = providers.opened();
    let edits = !(args.add.is_empty() && args.remove.is_empty());
    let to =
        if edits { Vec::new() } else { opened.keyring_to_encrypt(&args.to)?.encrypting().cloned().collect() };
    // How many stay of those that an envelope has is not known before: a policy counts those that are named.
    let added = args.add.iter().map(|name| opened.key(name)).collect::<std::result::Result<Vec<_>, _>>()?;
    let recipients = if edits { distinct_keys(&added) } else { distinct_keys(&to) };
    let registry = if args.reencrypt {
        opened.registry_to_encrypt(recipients)
    } else {
        opened.registry_to_rewrap(recipients)
    };
    let key = |uri: &KeyUri, purpose| -> Result<Key> {
        let provider = registry.provider(uri, purpose).map_err(CliError::of_call)?;
        Ok(Key::new(provider, uri.clone()))
    };
    let keys = |names: &[String], purpose| -> Result<Vec<Key>> {
        names.iter().map(|name| key(&opened.key(name)?, purpose)).collect()
    };
    let goal = if edits {
        Goal::edit(keys(&args.add, Purpose::Replace)?, keys(&args.remove, Purpose::Decrypt)?)
    } else {
        Goal::only(to.iter().map(|uri| key(uri, Purpose::Replace)).collect::<Result<_>>()?)
    };
    let from = opened.keyring_to_decrypt(&args.from)?;
    let from = from.decrypting().map(|uri| key(uri, Purpose::Decrypt)).collect::<Result<_>>()?;
    let goal = goal.open_with(from).with_context(expected);
    let goal = if args.reencrypt { goal.reencrypting() } else { goal };
    let goal = if writes { goal } else { concerned(goal, opened, args) };
    let goal = match older_than {
        Some(seconds) => goal.older_than(UNIX_EPOCH + Duration::from_secs(seconds)),
        None => goal,
    };
    Ok((goal, providers.recorder().clone()))
}

/// What is told of each envelope: a bar, errors, and the file of the report.
struct Told<'a> {
    global: &'a Global,
    progress: Items,
    /// Of a job that changes something.
    recorder: Option<JobRecorder>,
    reencrypts: bool,
    report: Option<ReportFile>,
    failed: u64,
    /// Folders, pages or names that could not be listed: any number of envelopes.
    unlisted: u64,
    first: Option<ErrorKind>,
}

impl<'a> Told<'a> {
    fn new(global: &'a Global, args: &Rotation) -> Result<Self> {
        let report = args.report.as_deref().map(ReportFile::create).transpose()?;
        let (progress, reencrypts) = (Items::new(global), args.reencrypt);
        Ok(Self { global, progress, recorder: None, reencrypts, report, failed: 0, unlisted: 0, first: None })
    }

    fn add(&mut self, item: ItemReport) {
        if let Some(report) = &mut self.report {
            report.add(&item);
        }
        self.progress.add(item.calls);
        let about = self.recorder.as_ref().and_then(|_| entry(&item, self.reencrypts));
        let failed = match item.outcome {
            Outcome::Failed(error) => Some(CliError::from(error)),
            _ => None,
        };
        if let (Some(recorder), Some(mut entry)) = (&mut self.recorder, about) {
            entry.error = failed.as_ref().map(|error| word(error.kind()).into());
            recorder.add(entry);
        }
        if let Some(error) = failed {
            // What cannot be listed has no name, and says which folder it is.
            let is_unlisted = item.item.name().is_empty();
            let error = if is_unlisted { error } else { error.about(&item.item) };
            self.unlisted += u64::from(is_unlisted);
            self.progress.aside(|| error.report(self.global.json));
            self.failed += 1;
            self.first.get_or_insert(error.kind());
        }
    }

    /// `why`: what ended it, if that was no end of its own. What was done until then is told all the same.
    fn finish(
        self,
        totals: serde_json::Result<Value>,
        text: &str,
        why: Option<CliError>,
        is_cancelled: bool,
    ) -> Result<()> {
        drop(self.progress);
        // Nobody is told of success before it is on disk.
        let recorded = self.recorder.map_or(Ok(()), JobRecorder::finish);
        let totals = totals.map_err(|error| CliError::other(error.to_string()))?;
        let trouble = why.as_ref().map(|error| error.message().to_owned());
        let trouble = trouble.or_else(|| is_cancelled.then(|| "it was told to end".into()));
        let unlisted = (self.unlisted > 0).then(|| "not everything could be listed".into());
        let trouble = trouble.or(unlisted);
        let written = self.report.map_or(Ok(()), |report| report.finish(&totals, text, trouble.as_deref()));
        let said = if totals.is_null() { Ok(()) } else { report::print(self.global.json, &totals, text) };
        let failed = self.first.map(|kind| {
            CliError::new(kind, format!("{} envelopes failed and are as they were", self.failed))
        });
        first_of([recorded, why.or(failed).map_or(Ok(()), Err), written, said])
    }
}

/// The first error is the exit code, and says the others: standard output that is full hides none of them.
pub(super) fn first_of<const N: usize>(ended: [Result<()>; N]) -> Result<()> {
    let mut errors = ended.into_iter().filter_map(Result::err);
    match errors.next() {
        None => Ok(()),
        Some(first) => Err(errors.fold(first, |first, more| first.noted(more.message()))),
    }
}

/// What is recorded of an item: what was changed, or could not be. Of the others no key was asked.
fn entry(item: &ItemReport, reencrypts: bool) -> Option<Entry> {
    let outcome = match item.outcome {
        Outcome::Rewrapped | Outcome::Reencrypted => audit::Outcome::Ok,
        Outcome::Failed(_) => audit::Outcome::Failed,
        _ => return None,
    };
    let operation = if reencrypts { "reencrypt" } else { "rewrap" };
    let mut entry = Entry::about(operation, item.header()?).with_detail("job", "rotate");
    entry.outcome = outcome;
    if outcome == audit::Outcome::Ok {
        // The header is the one of before; the keys of now stand in the records of the wraps.
        (entry.key, entry.key_version) = (None, None);
        entry.generation = item.generation.or(entry.generation);
        let _ = entry.detail.remove("recipients");
    }
    Some(entry)
}

const PATIENCE: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_hides_no_other_and_the_first_is_the_exit_code() {
        assert!(first_of([Ok(()), Ok(()), Ok(()), Ok(())]).is_ok());
        let failed = CliError::new(ErrorKind::NotAuthentic, "2 rows failed");
        let full = CliError::new(ErrorKind::InputOutput, "cannot write the output");
        let error = first_of([Ok(()), Err(failed), Ok(()), Err(full)]).unwrap_err();
        assert_eq!((error.exit_code(), error.message()), (4, "2 rows failed; cannot write the output"));
    }
}
