//! `encrypt` and `decrypt` of many files: which they are, who works on which, and what is told of each.

use std::{
    collections::HashSet,
    ffi::{OsStr, OsString},
    fs::{self, Metadata},
    mem,
    num::NonZero,
    os::unix::{ffi::OsStrExt, fs::MetadataExt},
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, mpsc::sync_channel},
    thread,
};

use envelope_files::{
    FileError, make_folders,
    tree::{Found, Walk, walk},
};
use envelope_sdk::{printable, stream::Parallel};
use serde_json::{Value, json};

use crate::{
    cli::{self, Global},
    descriptor,
    error::{CliError, ErrorKind, Result},
    input::Input,
    output::Target,
    report,
};

/// Which files a call is about.
pub(crate) struct Call<'a> {
    pub(crate) files: &'a [OsString],
    pub(crate) recursive: bool,
    pub(crate) output: &'a cli::Output,
}

impl<'a> Call<'a> {
    /// The file, if the call is about one and says where its output goes as such a call does.
    pub(crate) fn only(&self) -> Option<&'a OsStr> {
        match self.files {
            [file] if !self.recursive && self.folder().is_none() => Some(file),
            _ => None,
        }
    }

    /// The folder that `-o FOLDER/` means.
    fn folder(&self) -> Option<&Path> {
        let output = Path::new(self.output.output.as_ref()?);
        (output.as_os_str().as_bytes().ends_with(b"/") && output.is_dir()).then_some(output)
    }
}

/// What is done with each file.
pub(crate) trait Work: Sync {
    /// The word for it.
    const DONE: &'static str;

    /// The name of the output of `input`, beside it.
    fn output(&self, input: &Path) -> Result<PathBuf>;

    /// Whether a file that was found in a folder is for this.
    fn wants(&self, input: &Input) -> Result<bool>;

    /// Does it, and says so. Nothing is said where the output has no name.
    fn work(&self, input: Input, target: &Target, cores: &Cores) -> Tried<Option<Done>>;
}

/// What is told of a file that is done.
pub(crate) struct Done {
    pub(crate) value: Value,
    pub(crate) text: String,
}

impl Done {
    /// Tells it of the only file of a call.
    pub(crate) fn say(&self, global: &Global) -> Result<()> {
        if global.json {
            report::print(true, &self.value, "")
        } else {
            report::status(false, &self.value, &self.text)
        }
    }
}

pub(crate) type Tried<T> = std::result::Result<T, Failure>;

/// What failed.
pub(crate) enum Failure {
    /// This file: the next may work.
    File(CliError),
    /// The keys that all files of the call are for.
    Keys(CliError),
}

impl Failure {
    /// The same with another error.
    pub(crate) fn map(self, with: impl FnOnce(CliError) -> CliError) -> Self {
        match self {
            Self::File(error) => Self::File(with(error)),
            Self::Keys(error) => Self::Keys(with(error)),
        }
    }
}

impl From<CliError> for Failure {
    fn from(error: CliError) -> Self {
        Self::File(error)
    }
}

impl From<FileError> for Failure {
    fn from(error: FileError) -> Self {
        Self::File(error.into())
    }
}

impl From<Failure> for CliError {
    fn from(failure: Failure) -> Self {
        let (Failure::File(error) | Failure::Keys(error)) = failure;
        error
    }
}

/// Does each file of `call`. One that fails does not stop the others; the exit code is that of the first that failed,
/// in the order of the call.
pub(crate) fn run<W: Work>(global: &Global, call: &Call<'_>, work: &W) -> Result<()> {
    let roots = Roots::of(call)?;
    let (cores, told) = (Cores::shared(), Told::new(global));
    let take = |job: &Job| {
        if !told.is_over() {
            let done = one(&roots, job, work, &cores);
            told.add(job, done);
        }
    };
    let (send, receive) = sync_channel::<Job>(WAITING);
    let receive = Mutex::new(receive);
    let next = || receive.lock().unwrap_or_else(PoisonError::into_inner).recv().ok();
    let worker = || {
        while let Some(job) = next() {
            take(&job);
        }
    };
    thread::scope(|scope| {
        // Where fewer threads are to be had, there are fewer workers.
        let start = |_| thread::Builder::new().spawn_scoped(scope, worker).ok();
        let workers = (0..roots.most(WORKERS)).map_while(start).count();
        roots.each(|job| {
            if workers == 0 {
                take(&job);
            } else {
                let _ = send.send(job);
            }
            !told.is_over()
        });
        drop(send);
    });
    told.finish(W::DONE, call.recursive)
}

fn one<W: Work>(roots: &Roots, job: &Job, work: &W, cores: &Cores) -> Tried<Outcome> {
    if let Some(error) = &job.unreadable {
        return Err(Failure::File(CliError::new(ErrorKind::InputOutput, error)));
    }
    let input = if job.found { Input::open_found(&job.input)? } else { Input::open(job.input.as_os_str())? };
    if job.found && !work.wants(&input)? {
        return Ok(Outcome::PassedOver);
    }
    let output = work.output(&job.output)?;
    if roots.replaces && fs::symlink_metadata(&output).is_ok() && roots.is_input(&output, work) {
        let text = format!("{} is input and output at once", printable::path(&output));
        return Err(Failure::File(CliError::usage(text).hint("write into another folder with -o FOLDER")));
    }
    if let (Some(_), Some(folder)) = (&roots.into, output.parent()) {
        // On disk: with --rm the output may be all that there is.
        make_folders(folder)?;
    }
    let target = Target::named(output)?;
    if target.file().is_none() {
        return Err(FileError::NotAFile { path: target.path().unwrap_or(&job.output).to_owned() }.into());
    }
    Ok(work.work(input, &target, cores)?.map_or(Outcome::PassedOver, Outcome::Done))
}

enum Outcome {
    Done(Done),
    PassedOver,
}

/// One file.
struct Job {
    /// Where it stands in the order of the call.
    number: u64,
    input: PathBuf,
    /// Where the input would be if it stood where the output shall.
    output: PathBuf,
    /// In a folder: it may be none of those that are meant.
    found: bool,
    /// It is a folder that cannot be read, and why.
    unreadable: Option<String>,
}

/// The files and folders that a call names, each once.
struct Roots {
    roots: Vec<Root>,
    /// The folder for the outputs, and which one that is.
    into: Option<(PathBuf, (u64, u64))>,
    replaces: bool,
    files: HashSet<PathBuf>,
    folders: HashSet<PathBuf>,
}

struct Root {
    path: PathBuf,
    is_folder: bool,
}

impl Roots {
    fn of(call: &Call<'_>) -> Result<Self> {
        let into = call.output.output.as_ref().map(into_folder).transpose()?;
        let (mut files, mut folders) = (HashSet::new(), HashSet::new());
        let mut found = Vec::new();
        for file in call.files {
            let path = PathBuf::from(file);
            if file == "-" || descriptor::number(&path).is_some() {
                return Err(CliError::usage(
                    "standard input and descriptors are encrypted and decrypted one by one",
                )
                .hint("a file of that name is ./-"));
            }
            let is_folder = call.recursive && path.is_dir();
            let really = really(&path, is_folder);
            let is_first =
                if is_folder { folders.insert(really.clone()) } else { files.insert(really.clone()) };
            if is_first {
                found.push((Root { path, is_folder }, really));
            }
        }
        // What is below a folder of the call is found there, but no link, and nothing that is not there.
        found.retain(|(Root { path, is_folder }, really)| {
            let is_found = *is_folder || fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_file());
            !(is_found && really.ancestors().skip(1).any(|above| folders.contains(above)))
        });
        let roots = found.into_iter().map(|(root, _)| root).collect();
        let roots = Self { roots, into, replaces: call.output.force, files, folders };
        roots.check_names()?;
        Ok(roots)
    }

    /// Two inputs of one name would be one output in the folder of `-o`.
    fn check_names(&self) -> Result<()> {
        if self.into.is_none() || self.roots.len() < 2 {
            return Ok(());
        }
        let mut names = HashSet::new();
        for Root { path, .. } in &self.roots {
            let shown = printable::path(path);
            match path.file_name() {
                None => {
                    return Err(CliError::usage(format!(
                        "{shown} has no name of its own in the folder of -o"
                    ))
                    .hint("name the folder from outside of it, or by itself"));
                }
                Some(name) if !names.insert(name) => {
                    let text =
                        format!("{shown} has the name of another input, and one folder cannot have both");
                    return Err(CliError::usage(text).hint("write them into two folders, by two calls"));
                }
                Some(_) => {}
            }
        }
        Ok(())
    }

    /// As many workers as there can be work for.
    fn most(&self, workers: usize) -> usize {
        if self.roots.iter().any(|root| root.is_folder) { workers } else { workers.min(self.roots.len()) }
    }

    /// Tells `send` of each file, until it says no.
    fn each(&self, mut send: impl FnMut(Job) -> bool) {
        let mut number = 0;
        let mut send = |input: &Path, output: PathBuf, found, unreadable| {
            number += 1;
            send(Job { number, input: input.to_owned(), output, found, unreadable })
        };
        for Root { path, is_folder } in &self.roots {
            let output = |input: &Path| self.place(path, input);
            if !is_folder {
                if !send(path, output(path), false, None) {
                    return;
                }
                continue;
            }
            let end = walk(path, &mut |found| {
                let wants_more = match found {
                    Found::Folder(folder) if self.is_of_outputs(folder) => return Walk::Around,
                    Found::Folder(_) => true,
                    Found::File(file) => send(file, output(file), true, None),
                    Found::Unreadable(error) => send(path, output(path), true, Some(error.to_string())),
                };
                if wants_more { Walk::On } else { Walk::End }
            });
            if end == Walk::End {
                return;
            }
        }
    }

    /// Where `input`, at or below `root`, would be in the folder for the outputs: as `cp -r` has it.
    fn place(&self, root: &Path, input: &Path) -> PathBuf {
        let Some((into, _)) = &self.into else { return input.to_owned() };
        let below = input.strip_prefix(root).unwrap_or(input);
        let mut place = into.clone();
        place.extend(root.file_name());
        if below.as_os_str().is_empty() { place } else { place.join(below) }
    }

    fn is_of_outputs(&self, folder: &Path) -> bool {
        let Some((_, into)) = &self.into else { return false };
        fs::metadata(folder).is_ok_and(|metadata| identity(&metadata) == *into)
    }

    /// Whether a file that an output would replace is to be read by this call.
    fn is_input(&self, output: &Path, work: &impl Work) -> bool {
        let really = really(output, false);
        let is_below = really.ancestors().skip(1).any(|above| self.folders.contains(above));
        self.files.contains(&really)
            || is_below && Input::open_found(output).and_then(|input| work.wants(&input)).unwrap_or(true)
    }
}

/// `-o` of a call about many files.
fn into_folder(name: &OsString) -> Result<(PathBuf, (u64, u64))> {
    let path = PathBuf::from(name);
    match fs::metadata(&path) {
        Ok(metadata) if metadata.is_dir() && name != "-" => Ok((path, identity(&metadata))),
        _ => Err(CliError::usage(format!(
            "the outputs of several files need a folder, and {} is none",
            printable::path(&path)
        ))
        .hint("make it first, or leave -o away: each output stands beside its input then")),
    }
}

fn identity(metadata: &Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}

/// One name for each file: of a file its own, in the folder as it is called from `/`.
fn really(path: &Path, is_folder: bool) -> PathBuf {
    let whole = |path: &Path| fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    match (path.parent(), path.file_name()) {
        (Some(parent), Some(name)) if !is_folder => {
            whole(if parent.as_os_str().is_empty() { Path::new(".") } else { parent }).join(name)
        }
        _ => whole(path),
    }
}

/// What was told so far.
struct Told<'a> {
    global: &'a Global,
    counts: Mutex<Counts>,
}

#[derive(Default)]
struct Counts {
    done: u64,
    passed_over: u64,
    failed: u64,
    /// Of the first in the order of the call.
    first: Option<(u64, ErrorKind)>,
    /// The keys did not work for these files, and nothing worked before. A key store may only be asked for fewer calls at once.
    of_keys: Vec<(u64, PathBuf, CliError)>,
    unsaid: Option<CliError>,
}

impl<'a> Told<'a> {
    fn new(global: &'a Global) -> Self {
        Self { global, counts: Mutex::default() }
    }

    fn add(&self, job: &Job, done: Tried<Outcome>) {
        let mut counts = self.lock();
        match done {
            Ok(Outcome::PassedOver) => counts.passed_over += 1,
            Ok(Outcome::Done(done)) => {
                counts.done += 1;
                for (number, input, error) in mem::take(&mut counts.of_keys) {
                    self.fail(&mut counts, number, &about(error, &input));
                }
                // The other files are done also if nobody is told of it.
                if let Err(error) = self.say(job, done) {
                    counts.unsaid.get_or_insert(error);
                }
            }
            Err(Failure::Keys(error)) if counts.done == 0 => {
                counts.of_keys.push((job.number, job.input.clone(), error));
            }
            Err(failure) => {
                let error = CliError::from(failure);
                let error = match job.unreadable {
                    Some(_) => error,
                    None => about(error, &job.input),
                };
                self.fail(&mut counts, job.number, &error);
            }
        }
    }

    fn fail(&self, counts: &mut Counts, number: u64, error: &CliError) {
        error.report(self.global.json);
        counts.failed += 1;
        if counts.first.is_none_or(|(first, _)| number < first) {
            counts.first = Some((number, error.kind()));
        }
    }

    /// Under the lock: one line after the other.
    fn say(&self, job: &Job, mut done: Done) -> Result<()> {
        if !self.global.json {
            return report::status(false, &done.value, &done.text);
        }
        done.value["input"] = job.input.to_string_lossy().into();
        report::print_bytes(format!("{}\n", report::json_line(&done.value)).as_bytes())
    }

    /// Whether the rest is not worth a try.
    fn is_over(&self) -> bool {
        self.lock().of_keys.len() >= WORKERS
    }

    fn finish(self, done: &str, tells_counts: bool) -> Result<()> {
        let json = self.global.json;
        let counts = self.counts.into_inner().unwrap_or_else(PoisonError::into_inner);
        if let Some((.., error)) = counts.of_keys.into_iter().min_by_key(|(number, ..)| *number) {
            return Err(error);
        }
        if tells_counts || counts.passed_over > 0 {
            let text = format!("{} {done}, {} passed over", counts.done, counts.passed_over);
            let value =
                json!({ done: counts.done, "passed_over": counts.passed_over, "failed": counts.failed });
            report::status(json, &value, &text)?;
        }
        match counts.first {
            None => counts.unsaid.map_or(Ok(()), Err),
            Some((_, kind)) => {
                let all = counts.done + counts.failed;
                Err(CliError::new(kind, format!("{} of {all} files failed", counts.failed)))
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Says which file it was, unless the words do already.
fn about(error: CliError, path: &Path) -> CliError {
    let name = printable::path(path);
    if error.message().contains(&name) { error } else { error.about(name) }
}

/// Who has which cores. Of many files, small ones have one each, and a large one has them all.
#[derive(Default)]
pub(crate) struct Cores(Option<RwLock<()>>);

impl Cores {
    fn shared() -> Self {
        Self(Some(RwLock::new(())))
    }

    /// Waits for the share of a file of `len` bytes. What does not know its length waits for nobody.
    pub(crate) fn share(&self, len: Option<u64>) -> Share<'_> {
        match (&self.0, len) {
            (None, _) => Share::Only,
            (Some(_), None) => Share::Stream,
            (Some(cores), Some(len)) if len >= LARGE => {
                Share::All(cores.write().unwrap_or_else(PoisonError::into_inner))
            }
            (Some(cores), Some(_)) => Share::One(cores.read().unwrap_or_else(PoisonError::into_inner)),
        }
    }
}

/// The cores of a file, until it is dropped.
pub(crate) enum Share<'a> {
    Only,
    All(#[expect(dead_code, reason = "held, not used")] RwLockWriteGuard<'a, ()>),
    One(#[expect(dead_code, reason = "held, not used")] RwLockReadGuard<'a, ()>),
    Stream,
}

impl Share<'_> {
    /// Whether nothing else is encrypted or decrypted meanwhile.
    pub(crate) fn is_alone(&self) -> bool {
        matches!(self, Self::Only | Self::All(_))
    }

    pub(crate) fn parallel(&self) -> Parallel<'static> {
        if self.is_alone() { Parallel::new() } else { Parallel::new().threads(NonZero::<usize>::MIN) }
    }
}

/// Files under way at once: more than there are cores, since key stores and disks are waited for.
const WORKERS: usize = 16;
/// Names that wait to be taken.
const WAITING: usize = 64;
/// Bytes from which on all cores are faster than one beside other files.
const LARGE: u64 = 16 << 20;

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[test]
    fn keys_that_work_for_one_file_are_not_given_up_for_another() {
        let cli = cli::Cli::try_parse_from(["envctl", "inspect"]).unwrap();
        let job =
            |number| Job { number, input: "a".into(), output: "a".into(), found: false, unreadable: None };
        let busy = || Err(Failure::Keys(CliError::new(ErrorKind::InputOutput, "too many calls")));
        let told = Told::new(&cli.global);
        told.add(&job(1), busy());
        assert!(!told.is_over());
        told.add(&job(2), Ok(Outcome::Done(Done { value: json!({}), text: String::new() })));
        told.add(&job(3), busy());
        assert_eq!(told.finish("encrypted", false).unwrap_err().message(), "2 of 3 files failed");

        let told = Told::new(&cli.global);
        (1..=WORKERS as u64).for_each(|number| told.add(&job(number), busy()));
        assert!(told.is_over());
        assert_eq!(told.finish("encrypted", false).unwrap_err().message(), "too many calls");
    }
}
