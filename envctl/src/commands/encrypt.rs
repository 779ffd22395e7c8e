//! `envctl encrypt`

use std::{
    ffi::{OsStr, OsString},
    fs,
    io::Write,
    mem,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use envelope_audit::{LazyLog, closed_segment, recorded_later};
use envelope_files::Access;
use envelope_rotation::{is_left_over, payload_path};
use envelope_sdk::{
    EncryptionContext, Envelope, Header, Kind, PayloadKind, WrapPolicy, printable, stream::StreamError,
};
use serde_json::json;

use super::{
    HEADER_PADDING, SUFFIX, check_files, context, existing,
    many::{self, Cores, Done, Failure, Tried, Work},
    remove_input,
};
use crate::{
    cli::{Encrypt, Global},
    error::{CliError, Result},
    input::Input,
    output::{ELSEWHERE, FORCE_OR_ELSEWHERE, Options, Output, Target, commit_both},
    progress::Progress,
    providers::Providers,
    recorder::{Act, Recorder},
    report,
    runtime::block_on,
    transfer::{self, Format},
};

pub(crate) fn run(global: &Global, args: &Encrypt) -> Result<()> {
    let bound = context::to_bind(&args.context, &args.withhold)?;
    let providers = Providers::new(global)?;
    let keyring = providers.opened().keyring_to_encrypt(&args.keys)?;
    let wrap = providers.opened().wrap_policy();
    let padding = if args.armor || args.detached { 0 } else { HEADER_PADDING };
    let envelope = Envelope::new(keyring).pad_headers_to(padding);
    let openers = openers(global, &providers);
    let log = providers.opened().audit().map(|log| log.path().to_owned());
    let recorder = providers.recorder().clone();
    let sealing = Sealing { global, args, bound, envelope, wrap, openers, log, recorder };
    let call = many::Call { files: &args.files, recursive: args.recursive, output: &args.output };
    match call.only() {
        None => many::run(global, &call, &sealing),
        Some(file) => {
            let input = Input::open(file)?;
            let target = Target::of(args.output.output.as_ref(), || default_target(&input))?;
            let done = sealing.work(input, &target, &Cores::default())?;
            done.map_or(Ok(()), |done| done.say(global))
        }
    }
}

/// What is the same for each file of a call.
struct Sealing<'a> {
    global: &'a Global,
    args: &'a Encrypt,
    bound: EncryptionContext,
    envelope: Envelope,
    wrap: WrapPolicy,
    /// What is needed to decrypt.
    openers: Vec<PathBuf>,
    /// The audit log, whose closed segments are needed, too.
    log: Option<PathBuf>,
    recorder: Recorder,
}

impl Work for Sealing<'_> {
    const DONE: &'static str = "encrypted";

    fn output(&self, input: &Path) -> Result<PathBuf> {
        Ok(with_suffix(input))
    }

    /// What is encrypted already is not encrypted again, nor is what belongs to that.
    fn wants(&self, input: &Input) -> Result<bool> {
        let is_done = input.is_envelope()?
            || input.path().is_some_and(|path| is_left_over(path) || is_detached_payload(path));
        Ok(!is_done)
    }

    fn work(&self, input: Input, target: &Target, cores: &Cores) -> Tried<Option<Done>> {
        let mut act = Act::new("encrypt");
        let done = self.one(input, target, cores, &mut act);
        done.map_err(|failure| failure.map(|error| self.recorder.failed(&act, error)))
    }
}

impl Sealing<'_> {
    fn one(&self, input: Input, target: &Target, cores: &Cores, act: &mut Act) -> Tried<Option<Done>> {
        let Self { global, args, bound, envelope, wrap, openers, log, recorder } = self;
        let segment = log.as_deref().and_then(|log| segment_called_as(&input, log));
        if args.output.rm && (is_one_of(openers, &input) || is_one_of(segment.as_slice(), &input)) {
            let text = format!("{} is needed to decrypt what is encrypted: it is not removed", input.name());
            return Err(CliError::usage(text).hint("leave --rm away, or keep it elsewhere").into());
        }
        let (input_file, remove) = check_files(&input, target, &args.output)?;
        let payload_path = if args.detached { Some(detached_payload(target)?) } else { None };
        let options = Options {
            existing: existing(&args.output),
            access: Access::Public,
            is_text: args.armor,
            if_exists: if args.detached { ELSEWHERE } else { FORCE_OR_ELSEWHERE },
        };
        let open = |target: &Target| Output::open(target, options, &input_file);
        let mut output = open(target)?;
        let mut payload = match &payload_path {
            Some(path) => Some(open(&Target::File(path.clone()))?),
            None => None,
        };

        act.begins();
        let kind = if args.detached { PayloadKind::Detached } else { PayloadKind::Attached };
        let plaintext_len = input.seekable().and_then(|file| Some(file.metadata().ok()?.len()));
        // Where the keystore is unlocked.
        let start = || block_on(recorded_later(envelope.reporting(*wrap).start(kind, bound)));
        let (started, mut calls) = payload.as_ref().unwrap_or(&output).reserve_while(plaintext_len, start);
        let started = started.map_err(|error| Failure::Keys(error.into()))?;
        // A file has its name after all is recorded; a stream is read as it comes.
        if output.file().is_none() {
            recorder.wait(mem::take(&mut calls)).map_err(Failure::Keys)?;
        }
        let (started, missing) = started.into_parts();
        let header = Header::parse_exact(&started.header).map_err(CliError::from)?;
        act.is_about(&header);
        let name = input.name().clone();
        let share = cores.share(plaintext_len);
        let progress = Progress::new(global, plaintext_len, target.is_terminal() || !share.is_alone());
        let with = (share.parallel(), &progress);
        let sealed = match &mut payload {
            Some(payload) => output
                .write_all(&started.header)
                .map_err(StreamError::Write)
                .and_then(|()| transfer::seal(started, input, payload, Format::Detached, with)),
            None => {
                let format = if args.armor { Format::Armored } else { Format::Binary };
                transfer::seal(started, input, &mut output, format, with)
            }
        };
        drop(progress);
        drop(share);
        let total = sealed.map_err(|error| CliError::from(error).about(&name))?;
        recorder.done(act).and_then(|()| recorder.wait(calls)).map_err(Failure::Keys)?;
        // The payload first: without its header it is nothing.
        match payload {
            Some(payload) => commit_both(payload, output)?,
            None => drop(output.commit()?),
        }
        act.ends();
        // Before what may fail now: the envelope is there.
        let unsaid = report::missing_keys(global.json, &missing, target.path());
        remove_input(remove)?;
        unsaid?;

        let Some(path) = target.path() else { return Ok(None) };
        let recipients: Vec<_> =
            header.recipients().iter().map(|recipient| recipient.key_uri().as_str()).collect();
        let text = format!("{}: encrypted for {}", printable::path(path), recipients.join(", "));
        let value = json!({
            "output": path.to_string_lossy(),
            "payload": payload_path.map(|path| path.to_string_lossy().into_owned()),
            "plaintext_bytes": total,
            "envelope": report::header_json(&header, true),
            "missing": missing.iter().map(report::missing_json).collect::<Vec<_>>(),
        });
        Ok(Some(Done { value, text }))
    }
}

/// The files without which nothing that is encrypted here opens again, by this call's configuration: the keystore, what the call and
/// the configuration name, and the audit log, without which nothing is done.
fn openers(global: &Global, providers: &Providers) -> Vec<PathBuf> {
    let Global { passphrase_file, keystore_passphrase_file, key_stores, .. } = global;
    let mut openers = providers.opened().files().to_vec();
    let of_key_stores = key_stores.secrets.iter().map(|secret| &secret.file);
    let of_call = [passphrase_file, keystore_passphrase_file].into_iter().chain(of_key_stores);
    openers.extend(of_call.flatten().cloned());
    if let Ok(keystore) = providers.keystore() {
        // Two who lock two files change the keystore at once.
        openers.extend(["", ".lock"].map(|end| with_end(&keystore, end)));
    }
    if let Some(log) = providers.opened().audit().map(LazyLog::path) {
        openers.extend(["", ".head", ".key", ".lock"].map(|end| with_end(log, end)));
    }
    openers
}

/// Asked of each file when it is taken: a keystore that another process changes is another file from then on.
fn is_one_of(openers: &[PathBuf], input: &Input) -> bool {
    let Some(input) = input.metadata() else { return false };
    let mut there = openers.iter().filter_map(|path| fs::metadata(path).ok());
    there.any(|opener| (opener.dev(), opener.ino()) == (input.dev(), input.ino()))
}

/// The closed segment of a log that has the name of the input: they come with time, and may be many.
fn segment_called_as(input: &Input, log: &Path) -> Option<PathBuf> {
    closed_segment(log, input.path()?.file_name()?)
}

/// `FILE.envelope` beside FILE; standard output for standard input.
fn default_target(input: &Input) -> Result<Target> {
    match input.path() {
        None => Ok(Target::Stdout { even_to_terminal: false }),
        Some(path) => Target::named(with_suffix(path)),
    }
}

fn with_suffix(path: &Path) -> PathBuf {
    with_end(path, SUFFIX)
}

fn with_end(path: &Path, end: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(end);
    name.into()
}

/// Whether it is the payload of the detached header beside it, and not a file that is only called so.
fn is_detached_payload(path: &Path) -> bool {
    if path.extension() != Some(OsStr::new("sealed")) {
        return false;
    }
    let header = path.with_extension(&SUFFIX[1..]);
    payload_path(&header) == path
        && Input::open_found(&header)
            .and_then(Input::into_envelope)
            .is_ok_and(|mut source| source.read_header().is_ok_and(|header| header.kind() == Kind::Detached))
}

/// Where the payload of a detached header goes. Neither file may be there: two
/// files cannot be replaced at once.
fn detached_payload(target: &Target) -> Result<PathBuf> {
    let Some(path) = target.file() else {
        return Err(CliError::usage("--detached writes two files, so the header needs a name")
            .hint("name it with -o FILE.envelope; the payload is FILE.sealed then"));
    };
    Ok(payload_path(path))
}
