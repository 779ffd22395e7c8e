//! `envctl decrypt`

use std::{
    ffi::OsStr,
    io::Read,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

use envelope_audit::about_envelope;
use envelope_files::{Access, LockedFile, open_header};
use envelope_rotation::{half_reencrypted, is_half_reencrypted, is_left_over, payload_path};
use envelope_sdk::{
    EncryptionContext, Envelope, Header, Kind, OpenedHeader, crypto::cobblestone, printable, stream,
};
use serde_json::json;

use super::{
    SUFFIX, check_files, context, existing,
    many::{self, Cores, Done, Failure, Tried, Work},
    remove_input,
};
use crate::{
    cli::{Decrypt, Global},
    error::{CliError, ErrorKind, Result},
    in_place,
    input::{EnvelopeSource, Input, InputName},
    output::{FORCE_OR_ELSEWHERE, InputFile, Options, Output, Target},
    progress::Progress,
    providers::Providers,
    recorder::{Act, Recorder},
    report,
    runtime::block_on,
    transfer,
};

pub(crate) fn run(global: &Global, args: &Decrypt) -> Result<()> {
    let expected = context::expected(&args.context)?;
    let providers = Providers::new(global)?;
    let keyring = providers.opened().keyring_to_decrypt(&args.keys)?;
    let recorder = providers.recorder().clone();
    let opening = Opening { global, args, expected, envelope: Envelope::new(keyring), recorder };
    let call = many::Call { files: &args.files, recursive: args.recursive, output: &args.output };
    match call.only() {
        None if args.payload.is_some() => {
            Err(CliError::usage("--payload names the payload of one header, and there may be several")
                .hint("decrypt the file by itself"))
        }
        None => many::run(global, &call, &opening),
        Some(file) => {
            let input = Input::open(file)?;
            let target = Target::of(args.output.output.as_ref(), || default_target(&input))?;
            let done = opening.work(input, &target, &Cores::default())?;
            done.map_or(Ok(()), |done| done.say(global))
        }
    }
}

/// What is the same for each file of a call.
struct Opening<'a> {
    global: &'a Global,
    args: &'a Decrypt,
    expected: EncryptionContext,
    envelope: Envelope,
    recorder: Recorder,
}

impl Work for Opening<'_> {
    const DONE: &'static str = "decrypted";

    fn output(&self, input: &Path) -> Result<PathBuf> {
        without_suffix(input)
    }

    /// An envelope, also one whose header was cut off, and none that only stands beside another.
    fn wants(&self, input: &Input) -> Result<bool> {
        let Some((file, path)) = input.seekable().zip(input.path()) else { return Ok(false) };
        Ok((input.is_envelope()? || in_place::has_journal(file, path)) && !is_left_over(path))
    }

    fn work(&self, input: Input, target: &Target, cores: &Cores) -> Tried<Option<Done>> {
        let mut act = Act::new("decrypt");
        let done = self.one(input, target, cores, &mut act);
        done.map_err(|error| Failure::File(self.recorder.failed(&act, error)))
    }
}

impl Opening<'_> {
    fn one(&self, input: Input, target: &Target, cores: &Cores, act: &mut Act) -> Result<Option<Done>> {
        let Self { global, args, expected, envelope, recorder } = self;
        let (input_file, remove) = check_files(&input, target, &args.output)?;

        let path = input.path().map(ToOwned::to_owned);
        let name = input.name().clone();
        let mut source = input.into_envelope()?;
        let header = source.read_header().map_err(CliError::from);
        let header = header.and_then(|header| check_kind(&header, args).map(|()| header));
        // One that was cut off may be in its journal.
        let may_be_cut_off =
            source.file().zip(path.as_deref()).is_some_and(|(file, path)| in_place::has_journal(file, path));
        let explain = |error, source: &EnvelopeSource| {
            in_place::explain(error, source.file(), path.as_deref()).about(&name)
        };
        let header = match header {
            // A rewrap that was under way a moment ago is done: then the header is whole now.
            Err(error) if !may_be_cut_off => match source.file() {
                Some(file) => match stream::read_header_at(file) {
                    Ok(header) if check_kind(&header, args).is_ok() => Ok(header),
                    _ => return Err(explain(error, &source)),
                },
                None => return Err(explain(error, &source)),
            },
            header => header,
        };
        let options = Options {
            existing: existing(&args.output),
            access: Access::Private,
            is_text: false,
            if_exists: FORCE_OR_ELSEWHERE,
        };
        let mut output = Output::open(target, options, &input_file)?;
        if let Ok(header) = &header {
            act.is_about(header);
        }
        let was = header.as_ref().ok().cloned();
        let unlock = |header: Header| unlock(envelope, &header, args, expected);
        let attached = header.as_ref().ok().filter(|header| header.kind() == Kind::Attached);
        let sealed_len = attached.and_then(|header| source.full_len()?.checked_sub(header.len() as u64));
        // Where the keystore is unlocked.
        let opened = output.reserve_while(sealed_len.and_then(cobblestone::opened_len), || {
            match (header, source.file(), &path) {
                (_, Some(file), Some(path)) => open_header(file, path, unlock),
                (header, _, _) => header.and_then(unlock),
            }
        });
        let opened = match path.as_deref().filter(|_| args.payload.is_none()) {
            Some(path) => by_payload(opened, was.as_ref(), path, unlock),
            None => opened,
        };
        let opened = opened.map_err(|error| explain(error, &source))?;
        act.is_about(opened.header());
        let (source, at) = payload(source, opened.header(), args, path.as_deref(), (target, &output))?;

        let sealed_len = source.file_len().and_then(|len| len.checked_sub(at));
        let plaintext_len = sealed_len.and_then(cobblestone::opened_len);
        let share = cores.share(plaintext_len);
        let progress = Progress::new(global, plaintext_len, target.is_terminal() || !share.is_alone());
        let done = transfer::open(&opened, source, at, &mut output, (share.parallel(), &progress));
        drop(progress);
        drop(share);
        let explain = |error: stream::StreamError| {
            let error = context::explain(error.into(), opened.header(), expected).about(&name);
            if path.as_deref().is_some_and(is_half_reencrypted) {
                error.hint_instead(HALF_REENCRYPTED.into())
            } else {
                error
            }
        };
        let total = done.map_err(explain)?;
        recorder.done(act)?;
        drop(output.commit()?);
        act.ends();
        remove_input(remove)?;

        let Some(path) = target.path() else { return Ok(None) };
        let text = format!("{}: decrypted, {total} bytes", printable::path(path));
        let value = json!({
            "output": path.to_string_lossy(),
            "plaintext_bytes": total,
            "envelope": report::header_json(opened.header(), true),
        });
        Ok(Some(Done { value, text }))
    }
}

fn unlock(
    envelope: &Envelope,
    header: &Header,
    args: &Decrypt,
    expected: &EncryptionContext,
) -> Result<OpenedHeader> {
    check_kind(header, args)?;
    context::check_expected(&args.context, header)?;
    let unlock = envelope.unlock(header.clone(), expected);
    block_on(about_envelope(*header.envelope_id(), header.generation(), unlock))
        .map_err(|error| context::explain(error.into(), header, expected))
}

/// Another kind of header is the wrong file, or one whose flags were changed.
fn check_kind(header: &Header, args: &Decrypt) -> Result<()> {
    match header.kind() {
        Kind::Attached if args.payload.is_some() => {
            Err(CliError::usage("the envelope has its payload in it, so --payload names another one")
                .hint("leave --payload away"))
        }
        Kind::Attached | Kind::Detached => Ok(()),
        _ => Err(CliError::new(ErrorKind::NotAuthentic, "this is a data key: its records are elsewhere")
            .hint("records are opened with the library, `Envelope::open_data_key`")),
    }
}

/// The header of the payload that is there. Between the two files of a pair that is reencrypted that is the one in the
/// journal, which was on disk before; and once that is done, the one that took the place of `was`, which was read before somebody
/// typed a passphrase or a key store answered. It is believed if the keys open it and the payload commits to its DEK, and does
/// not to that of the header that was read.
fn by_payload(
    opened: Result<OpenedHeader>,
    was: Option<&Header>,
    path: &Path,
    unlock: impl Fn(Header) -> Result<OpenedHeader>,
) -> Result<OpenedHeader> {
    if opened.as_ref().is_ok_and(|opened| opened.header().kind() != Kind::Detached) {
        return opened;
    }
    let mut prefix = [0; cobblestone::PREFIX_LEN];
    let payload = LockedFile::open_unlocked(&payload_path(path));
    if payload.ok().and_then(|mut payload| payload.read_exact(&mut prefix).ok()).is_none() {
        return opened;
    }
    let is_of = |header: &OpenedHeader| header.payload(&prefix).is_ok();
    if opened.as_ref().is_ok_and(is_of) {
        return opened;
    }
    let now = || {
        let now = stream::read_header_at(&LockedFile::open_unlocked(path).ok()?).ok()?;
        (now.kind() == Kind::Detached && was.is_some_and(|was| now != *was)).then_some(now)
    };
    let new = half_reencrypted(path).or_else(now);
    new.and_then(|new| unlock(new).ok()).filter(is_of).map_or(opened, Ok)
}

/// Where the payload is, and at which offset.
fn payload(
    source: EnvelopeSource,
    header: &Header,
    args: &Decrypt,
    path: Option<&Path>,
    (target, output): (&Target, &Output),
) -> Result<(EnvelopeSource, u64)> {
    if header.kind() != Kind::Detached {
        return Ok((source, header.len() as u64));
    }
    let name: PathBuf = match (&args.payload, path) {
        (Some(name), _) => name.into(),
        (None, Some(path)) => payload_path(path),
        (None, None) => {
            return Err(CliError::usage("this is a detached header: its payload is elsewhere")
                .hint("name it with --payload FILE"));
        }
    };
    let input = Input::open(name.as_os_str()).map_err(|error| {
        if args.payload.is_some() { error } else { error.hint("name the payload with --payload FILE") }
    })?;
    if *input.name() == InputName::Stdin && path.is_none() {
        return Err(CliError::usage("header and payload cannot both come from standard input"));
    }
    let input_file = InputFile::of(&input);
    input_file.refuse(target.metadata().as_ref())?;
    input_file.refuse(output.stream_metadata().as_ref())?;
    Ok((input.into_payload(), 0))
}

const HALF_REENCRYPTED: &str = "reencrypting it was cut off, or is under way: a key of the new header may open it, and \
                                `envctl rotate` over the file, as it was called then, finishes it";

/// FILE for `FILE.envelope`; standard output for standard input.
fn default_target(input: &Input) -> Result<Target> {
    match input.path() {
        None => Ok(Target::Stdout { even_to_terminal: false }),
        Some(path) => Target::named(without_suffix(path)?),
    }
}

fn without_suffix(path: &Path) -> Result<PathBuf> {
    let name = path.as_os_str().as_bytes();
    match name.strip_suffix(SUFFIX.as_bytes()).filter(|rest| !rest.is_empty() && !rest.ends_with(b"/")) {
        Some(rest) => Ok(OsStr::from_bytes(rest).into()),
        None => Err(CliError::usage(format!(
            "{} does not end with {SUFFIX}, so its output has no name",
            printable::path(path)
        ))
        .hint("name the output with -o FILE, or -o - for standard output")),
    }
}
