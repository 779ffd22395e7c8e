//! `envctl rewrap`: new header, same payload, in place and atomic.

use std::{
    fs::File,
    io::{self, Read},
    os::unix::fs::FileExt,
    path::Path,
};

use envelope_audit::about_envelope;
use envelope_files::{HowWritten, LockedFile, open_header};
use envelope_rotation::is_left_over;
use envelope_sdk::{
    EncryptionContext, Envelope, Header, Kind, OpenedHeader, crypto::cobblestone::PREFIX_LEN, printable,
    stream,
};
use serde_json::{Value, json};

use super::{HEADER_PADDING, context};
use crate::{
    cli::{Global, Rewrap},
    error::{CliError, Result},
    in_place,
    input::EnvelopeReader,
    progress::Progress,
    providers::Providers,
    recorder::{Act, Recorder},
    report,
    runtime::block_on,
};

/// Rewraps each file; one that fails stays as it is and does not stop the
/// others. The exit code is that of the first failure.
pub(crate) fn run(global: &Global, args: &Rewrap) -> Result<()> {
    let expected = context::expected(&args.context)?;
    let providers = Providers::new(global)?;
    let envelope = Envelope::new(providers.opened().keyring_to_rewrap(&args.keys, &args.from)?);
    let recorder = providers.recorder();
    let (mut failed, mut unsaid) = (Vec::new(), Ok(()));
    for path in &args.files {
        let act = Act::new("rewrap");
        let mut act = if args.dry_run { act.dry() } else { act };
        match rewrap(global, &envelope, path, args, &expected, (recorder, &mut act))
            .map_err(|error| recorder.failed(&act, error).about(printable::path(path)))
        {
            // The other files are rewrapped also if nobody is told of it.
            Ok(new) => unsaid = unsaid.and(say(global, args, path, &new)),
            Err(error) if args.files.len() == 1 => return Err(error),
            Err(error) => {
                error.report(global.json);
                failed.push(error.kind());
            }
        }
    }
    match failed.first() {
        None => unsaid,
        Some(first) => Err(CliError::new(
            *first,
            format!("{} of {} files failed and are as they were", failed.len(), args.files.len()),
        )),
    }
}

fn rewrap(
    global: &Global,
    envelope: &Envelope,
    path: &Path,
    args: &Rewrap,
    expected: &EncryptionContext,
    (recorder, act): (&Recorder, &mut Act),
) -> Result<Header> {
    // With another header, the journal of a pair is none any more, and no other has the key of the payload.
    if is_left_over(path) {
        return Err(CliError::usage(
            "it belongs to an envelope beside it, whose rewrap or reencryption is not done",
        )
        .hint("`envctl rotate` over that envelope finishes it"));
    }
    if args.dry_run {
        let file = LockedFile::open_unlocked(path)?;
        let open = |unlock: Unlock<'_>| open_header(&file, path, unlock);
        let new = new_header(envelope, &file, path, args, expected, act, open)?.new;
        recorder.done(act)?;
        return Ok(new);
    }
    let locked = LockedFile::open(path)?;
    let file = locked.file();
    let open = |unlock: Unlock<'_>| locked.open_header(unlock);
    let Rewrapped { is_armored, old, new } = new_header(envelope, file, path, args, expected, act, open)?;
    act.is_about(&new);
    recorder.done(act)?;
    if !is_armored && locked.write_header(&old, &new)? == HowWritten::InPlace {
        return Ok(new);
    }
    let len = file.metadata().map_err(|error| CliError::io("read", path, &error))?.len();
    let payload = (!is_armored).then(|| len.saturating_sub(old.len() as u64));
    let progress = Progress::new(global, payload, false);
    locked.replace_header(&old, &new, is_armored, &|bytes| progress.add(bytes))?;
    Ok(new)
}

/// A header, and the one that shall take its place.
struct Rewrapped {
    is_armored: bool,
    old: Header,
    new: Header,
}

type Unlock<'a> = &'a dyn Fn(Header) -> Result<OpenedHeader>;

/// Rewraps the header of `file`; `open` opens the one of a file that has a journal.
fn new_header(
    envelope: &Envelope,
    file: &File,
    path: &Path,
    args: &Rewrap,
    expected: &EncryptionContext,
    act: &mut Act,
    open: impl FnOnce(Unlock<'_>) -> Result<OpenedHeader>,
) -> Result<Rewrapped> {
    let read = |error: io::Error| CliError::io("read", path, &error);
    let mut reader = EnvelopeReader::new(Box::new(file.try_clone().map_err(read)?)).map_err(read)?;
    let unlock = |header: Header| {
        block_on(about(&header, envelope.unlock(header.clone(), expected)))
            .map_err(|error| context::explain(error.into(), &header, expected))
    };
    let opened_by_journal = !reader.is_armored() && in_place::has_journal(file, path);
    let old = if opened_by_journal {
        open(&unlock).map(|opened| opened.header().clone())
    } else {
        stream::read_header(&mut reader).map_err(CliError::from)
    };
    let explain = |error| in_place::explain(error, Some(file), Some(path));
    let old = old.map_err(explain)?;
    act.is_about(&old);
    context::check_expected(&args.context, &old)?;
    let padded = old.kind() == Kind::Attached && !reader.is_armored();
    let envelope = envelope.clone().pad_headers_to(if padded { HEADER_PADDING } else { 0 });
    // What the payload begins with shows that withheld values are right.
    let mut payload = Vec::with_capacity(PREFIX_LEN);
    if old.kind() == Kind::Attached {
        if reader.is_armored() {
            (&mut reader).take(PREFIX_LEN as u64).read_to_end(&mut payload).map_err(read)?;
        } else {
            payload.resize(PREFIX_LEN, 0);
            file.read_exact_at(&mut payload, old.len() as u64).or_else(|error| match error.kind() {
                io::ErrorKind::UnexpectedEof => {
                    payload.clear();
                    Ok(())
                }
                _ => Err(read(error)),
            })?;
        }
    }
    let rewrapped = match payload.first_chunk() {
        Some(payload) => block_on(about(&old, envelope.rewrap_header_of(payload, old.clone(), expected))),
        None => block_on(about(&old, envelope.rewrap_header(old.clone(), expected))),
    };
    let new = rewrapped.map_err(|error| explain(context::explain(error.into(), &old, expected)))?;
    Ok(Rewrapped { is_armored: reader.is_armored(), old, new })
}

/// Says to what is recorded of it which envelope `work` is about.
fn about<F: Future>(header: &Header, work: F) -> impl Future<Output = F::Output> {
    about_envelope(*header.envelope_id(), header.generation(), work)
}

fn say(global: &Global, args: &Rewrap, path: &Path, new: &Header) -> Result<()> {
    let recipients: Vec<_> = new.recipients().iter().map(|recipient| recipient.key_uri().as_str()).collect();
    let would = if args.dry_run { "would be rewrapped" } else { "rewrapped" };
    let text = format!(
        "{}: {would} for {}, generation {}",
        printable::path(path),
        recipients.join(", "),
        new.generation()
    );
    let value: Value = json!({
        "file": path.to_string_lossy(),
        "written": !args.dry_run,
        "envelope": report::header_json(new, true),
    });
    if global.json { report::print(true, &value, "") } else { report::status(false, &value, &text) }
}
