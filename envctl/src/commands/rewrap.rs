//! `envctl rewrap`: new header, same payload, in place and atomic.

use std::{
    fs::File,
    io::{self, BufReader, BufWriter, Read, Seek, SeekFrom, Write},
    os::unix::fs::MetadataExt,
    path::Path,
};

use envelope_sdk::{
    EncryptionContext, Envelope, Header, Kind,
    format::armor::ArmorWriter,
    printable,
    stream::{self, StreamError},
};
use rustix::fs::{FlockOperation, flock};
use serde_json::{Value, json};

use super::{HEADER_PADDING, context};
use crate::{
    cli::{Global, Rewrap},
    error::{CliError, ErrorKind, Result},
    in_place,
    input::EnvelopeReader,
    keys::Providers,
    output::{NewFile, Secrecy},
    progress::Progress,
    report,
    runtime::block_on,
};

/// Rewraps each file; one that fails stays as it is and does not stop the
/// others. The exit code is that of the first failure.
pub(crate) fn run(global: &Global, args: &Rewrap) -> Result<()> {
    let expected = context::expected(&args.context)?;
    let keyring = Providers::new(global)?.keyring_to_rewrap(&args.keys, &args.from)?;
    let envelope = Envelope::new(keyring);
    let mut failed = Vec::new();
    for path in &args.files {
        match rewrap(global, &envelope, path, args, &expected)
            .map_err(|error| error.about(printable::path(path)))
        {
            Ok(new) => say(global, args, path, &new)?,
            Err(error) if args.files.len() == 1 => return Err(error),
            Err(error) => {
                error.report(global.json);
                failed.push(error.kind());
            }
        }
    }
    match failed.first() {
        None => Ok(()),
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
) -> Result<Header> {
    let (file, writable) = open_locked(path, args.dry_run)?;
    let read = |error: io::Error| CliError::io("read", path, &error);
    let mut reader = EnvelopeReader::new(Box::new(file.try_clone().map_err(read)?)).map_err(read)?;
    let old = if !reader.is_armored() && in_place::has_journal(path) {
        finish_interrupted(&file, path, envelope, args, expected)?
    } else {
        stream::read_header(&mut reader)?
    };
    context::check_expected(&args.context, &old)?;
    let padded = old.kind() == Kind::Attached && !reader.is_armored();
    let envelope = envelope.clone().pad_headers_to(if padded { HEADER_PADDING } else { 0 });
    let new = block_on(envelope.rewrap_header(old.clone(), expected))
        .map_err(|error| context::explain(error.into(), &old, expected))?;
    if args.dry_run {
        return Ok(new);
    }
    if writable && padded && new.len() == old.len() {
        in_place::replace_header(&file, path, &new)?;
        return Ok(new);
    }
    let mode = file.metadata().map_err(read)?.mode();
    let mut output = NewFile::create(path, true, Secrecy::Mode(mode))?;
    if reader.is_armored() {
        write_armored(&mut reader, &new, output.file())?;
    } else {
        let payload = file.metadata().map_err(read)?.len().saturating_sub(old.len() as u64);
        let progress = Progress::new(global, Some(payload), false);
        copy_with_header(&file, &old, &new, output.file(), &progress)
            .map_err(|error| CliError::io("rewrite", path, &error))?;
    }
    output.commit()?;
    in_place::remove_journal(path)?;
    Ok(new)
}

/// The header of a file that has a journal: its own, if that opens, or the one
/// of the journal, which stands in the file then too.
fn finish_interrupted(
    file: &File,
    path: &Path,
    envelope: &Envelope,
    args: &Rewrap,
    expected: &EncryptionContext,
) -> Result<Header> {
    let unlock = |header: Header| {
        block_on(envelope.unlock(header.clone(), expected))
            .map_err(|error| context::explain(error.into(), &header, expected))
    };
    let opened = match stream::read_header_at(file).map_err(CliError::from).and_then(unlock) {
        Ok(opened) => opened,
        Err(error) => in_place::recover(file, path, !args.dry_run, unlock).ok_or(error)?,
    };
    Ok(opened.header().clone())
}

/// Opens a file and locks it, so that of two rewraps at once one is told to
/// come later instead of undoing the other. Says whether it can be written too.
fn open_locked(path: &Path, shared: bool) -> Result<(File, bool)> {
    let metadata = std::fs::symlink_metadata(path).map_err(|error| CliError::io("read", path, &error))?;
    if metadata.is_symlink() {
        return Err(CliError::usage("is a symbolic link")
            .hint("name the file itself: it is replaced, and a link would be too"));
    }
    if !metadata.is_file() {
        return Err(CliError::usage("is not a regular file, so it cannot be replaced"));
    }
    let (file, writable) = match File::options().read(true).write(!shared).open(path) {
        Ok(file) => (file, !shared),
        // It can still be replaced, if its folder can be written.
        Err(_) => (File::open(path).map_err(|error| CliError::io("read", path, &error))?, false),
    };
    let operation =
        if shared { FlockOperation::NonBlockingLockShared } else { FlockOperation::NonBlockingLockExclusive };
    let busy = || {
        CliError::new(ErrorKind::InputOutput, "another process is working on it")
            .hint("try again when it is done")
    };
    flock(&file, operation).map_err(|error| {
        if error == rustix::io::Errno::WOULDBLOCK {
            busy()
        } else {
            CliError::io("lock", path, &error.into())
        }
    })?;
    // Replaced between open and lock: then this is not the file any more.
    let (held, there) = (file.metadata(), std::fs::metadata(path));
    match (held, there) {
        (Ok(held), Ok(there)) if (held.dev(), held.ino()) == (there.dev(), there.ino()) => {
            Ok((file, writable))
        }
        _ => Err(busy()),
    }
}

/// Everything behind the header, byte for byte. `io::copy` between files lets
/// the kernel share the blocks where the file system can.
fn copy_with_header(
    mut file: &File,
    old: &Header,
    new: &Header,
    output: &mut File,
    progress: &Progress,
) -> io::Result<()> {
    output.write_all(&new.to_bytes())?;
    file.seek(SeekFrom::Start(old.len() as u64))?;
    loop {
        let copied = io::copy(&mut file.take(COPY_STEP), output)?;
        if copied == 0 {
            return Ok(());
        }
        progress.add(copied);
    }
}

fn write_armored(payload: &mut impl Read, new: &Header, output: &mut File) -> Result<()> {
    let mut armor = ArmorWriter::new(BufWriter::new(output)).map_err(StreamError::Write)?;
    armor.write_all(&new.to_bytes()).map_err(StreamError::Write)?;
    // Base64 lines are decoded to the end, so damage there is an error here.
    let mut payload = BufReader::new(payload);
    let mut block = vec![0; 64 * 1024];
    loop {
        let read = payload.read(&mut block).map_err(StreamError::Read)?;
        if read == 0 {
            break;
        }
        armor.write_all(&block[..read]).map_err(StreamError::Write)?;
    }
    armor.finish().map_err(StreamError::Write)?;
    Ok(())
}

/// Bytes to copy between two reports of progress.
const COPY_STEP: u64 = 64 << 20;

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
