//! `envctl rotate` and `envctl plan`: many envelopes, to other keys or new versions of them.

use std::{
    io::{BufWriter, Write},
    path::Path,
    sync::Arc,
    time::{Duration, UNIX_EPOCH},
};

use envelope_files::{Access, Existing, NewFile};
use envelope_rotation::{Checkpoint, Control, Files, Goal, ItemReport, Job, Key, Outcome, Shard, Source};
use envelope_sdk::{KeyUri, registry::Purpose};
use serde_json::Value;

use super::{context, moment};
use crate::{
    cli::{Expected, Global, Rotate, Rotation},
    descriptor,
    error::{CliError, ErrorKind, Result},
    progress::Items,
    providers::Providers,
    report,
    runtime::block_on,
};

/// Changes what is not in the target state. An envelope that fails stays as it is and does not stop the others. The
/// exit code is that of the first failure.
pub(crate) fn run(global: &Global, args: &Rotate) -> Result<()> {
    if args.dry_run {
        return plan(global, &args.what);
    }
    let mut job = job(global, &args.what, true)?;
    if let Some(concurrency) = args.concurrency {
        job = job.concurrency(concurrency.into());
    }
    if let Some(rate) = args.rate {
        job = job.calls_per_second(rate);
    }
    if let Some(path) = &args.resume {
        job = job.checkpoint(Checkpoint::open(path)?);
    }
    let mut told = Told::new(global, &args.what)?;
    let report = block_on(job.run(&Control::new(), |item| told.add(item)))?;
    told.finish(serde_json::to_value(&report), &format!("{report}\n"))
}

/// Says what [`run`] would do.
pub(crate) fn plan(global: &Global, args: &Rotation) -> Result<()> {
    let job = job(global, args, false)?;
    let mut told = Told::new(global, args)?;
    let plan = block_on(job.plan(&Control::new(), |item| told.add(item)))?;
    told.finish(serde_json::to_value(&plan), &plan.to_string())
}

fn job(global: &Global, args: &Rotation, writes: bool) -> Result<Job> {
    let goal = goal(global, args)?;
    let is_list = args.paths.iter().any(|path| path == Path::new("-"));
    let mut files = match args.paths.as_slice() {
        [_] if is_list => {
            let cannot = |error| CliError::io("read", Path::new("standard input"), &error);
            Files::listed(descriptor::duplicate(0).map_err(cannot)?)
        }
        _ if is_list => {
            return Err(CliError::usage("`-` reads all names from standard input, and stands alone")
                .hint("a file of that name is ./-"));
        }
        paths => Files::new(paths.to_vec()),
    };
    if writes {
        files = files.removing_left_files();
    }
    Ok(Job::new(Arc::new(files) as Arc<dyn Source>, goal).shard(args.shard.unwrap_or(Shard::ALL)))
}

fn goal(global: &Global, args: &Rotation) -> Result<Goal> {
    let expected = Expected { context: args.context.clone(), expect: Vec::new() };
    let expected = context::expected(&expected)?;
    let older_than = args.older_than.as_deref().map(moment::parse).transpose()?;
    let providers = Providers::new(global)?;
    let opened = providers.opened();
    let key = |uri: &KeyUri, purpose| -> Result<Key> {
        let provider = opened.registry().provider(uri, purpose).map_err(CliError::of_call)?;
        Ok(Key::new(provider, uri.clone()))
    };
    let keys = |names: &[String], purpose| -> Result<Vec<Key>> {
        names.iter().map(|name| key(&opened.key(name)?, purpose)).collect()
    };
    let goal = if args.add.is_empty() && args.remove.is_empty() {
        let keyring = opened.keyring_to_encrypt(&args.to)?;
        Goal::only(keyring.encrypting().map(|uri| key(uri, Purpose::Replace)).collect::<Result<_>>()?)
    } else {
        Goal::edit(keys(&args.add, Purpose::Replace)?, keys(&args.remove, Purpose::Decrypt)?)
    };
    let from = opened.keyring_to_decrypt(&args.from)?;
    let from = from.decrypting().map(|uri| key(uri, Purpose::Decrypt)).collect::<Result<_>>()?;
    let goal = goal.open_with(from).with_context(expected);
    let goal = if args.reencrypt { goal.reencrypting() } else { goal };
    Ok(match older_than {
        Some(seconds) => goal.older_than(UNIX_EPOCH + Duration::from_secs(seconds)),
        None => goal,
    })
}

/// What is told of each envelope: a bar, errors, and the file of the report.
struct Told<'a> {
    global: &'a Global,
    progress: Items,
    report: Option<ReportFile>,
    failed: u64,
    first: Option<ErrorKind>,
}

impl<'a> Told<'a> {
    fn new(global: &'a Global, args: &Rotation) -> Result<Self> {
        let report = args.report.as_deref().map(ReportFile::create).transpose()?;
        Ok(Self { global, progress: Items::new(global), report, failed: 0, first: None })
    }

    fn add(&mut self, item: ItemReport) {
        if let Some(report) = &mut self.report {
            report.add(&item);
        }
        self.progress.add(item.calls);
        if let Outcome::Failed(error) = item.outcome {
            let error = CliError::from(error);
            // What cannot be listed has no name, and says which folder it is.
            let error = if item.item.name().is_empty() { error } else { error.about(&item.item) };
            self.progress.aside(|| error.report(self.global.json));
            self.failed += 1;
            self.first.get_or_insert(error.kind());
        }
    }

    fn finish(self, totals: serde_json::Result<Value>, text: &str) -> Result<()> {
        drop(self.progress);
        let totals = totals.map_err(|error| CliError::other(error.to_string()))?;
        let written = self.report.map_or(Ok(()), |report| report.finish(&totals));
        report::print(self.global.json, &totals, text)?;
        written?;
        match self.first {
            None => Ok(()),
            Some(kind) => {
                Err(CliError::new(kind, format!("{} envelopes failed and are as they were", self.failed)))
            }
        }
    }
}

/// `{"items": [one in a line], "totals": …}`, written as it comes. It appears under its name when it is whole.
struct ReportFile {
    file: BufWriter<NewFile>,
    path: std::path::PathBuf,
    is_first: bool,
    written: std::io::Result<()>,
}

impl ReportFile {
    fn create(path: &Path) -> Result<Self> {
        let file = BufWriter::new(NewFile::create(path, Existing::Keep, Access::Public)?);
        let mut report = Self { file, path: path.to_owned(), is_first: true, written: Ok(()) };
        report.write("{\"items\":[");
        Ok(report)
    }

    fn add(&mut self, item: &ItemReport) {
        let line = item.to_json().to_string();
        let before = if std::mem::take(&mut self.is_first) { "\n" } else { ",\n" };
        self.write(before);
        self.write(&line);
    }

    fn finish(mut self, totals: &Value) -> Result<()> {
        self.write(&format!("\n],\"totals\":{totals}}}\n"));
        let cannot = |error| CliError::io("write", &self.path, &error);
        self.written.map_err(cannot)?;
        let file = self.file.into_inner().map_err(|error| cannot(error.into_error()))?;
        Ok(file.commit().map(drop)?)
    }

    /// The first error is told at the end: the job goes on.
    fn write(&mut self, text: &str) {
        if self.written.is_ok() {
            self.written = self.file.write_all(text.as_bytes());
        }
    }
}
