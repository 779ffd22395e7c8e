//! `envctl rewrap`: new header, same payload, in place and atomic.

use std::{
    fs::File,
    io::{self, BufReader, BufWriter, Read, Seek, SeekFrom, Write},
    os::unix::fs::MetadataExt,
    path::Path,
};

use envelope_sdk::{
    EncryptionContext, Envelope, Header,
    format::armor::ArmorWriter,
    stream::{self, StreamError},
};
use futures_executor::block_on;
use rustix::fs::{FlockOperation, flock};
use serde_json::{Value, json};

use super::context;
use crate::{
    cli::{Global, Rewrap},
    error::{CliError, ErrorKind, Result},
    input::EnvelopeReader,
    keys::Providers,
    output::{NewFile, Secrecy},
    report,
};

/// Rewraps each file; one that fails stays as it is and does not stop the
/// others. The exit code is that of the first failure.
pub(crate) fn run(global: &Global, args: &Rewrap) -> Result<()> {
    let expected = context::expected(&args.context)?;
    let keyring = Providers::new(global)?.keyring_to_rewrap(&args.keys, &args.from)?;
    let envelope = Envelope::new(keyring);
    let mut failed = Vec::new();
    for path in &args.files {
        match rewrap(&envelope, path, args, &expected).map_err(|error| error.about(path.display())) {
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

fn rewrap(envelope: &Envelope, path: &Path, args: &Rewrap, expected: &EncryptionContext) -> Result<Header> {
    let file = open_locked(path, args.dry_run)?;
    let read = |error: io::Error| CliError::io("read", path, &error);
    let mut reader = EnvelopeReader::new(Box::new(file.try_clone().map_err(read)?)).map_err(read)?;
    let old = stream::read_header(&mut reader)?;
    context::check_expected(&args.context, &old)?;
    let new = block_on(envelope.rewrap_header(old.clone(), expected))
        .map_err(|error| context::explain(error.into(), &old, expected))?;
    if args.dry_run {
        return Ok(new);
    }
    let mode = file.metadata().map_err(read)?.mode();
    let mut output = NewFile::create(path, true, Secrecy::Mode(mode))?;
    if reader.is_armored() {
        write_armored(&mut reader, &new, output.file())?;
    } else {
        copy_with_header(&file, &old, &new, output.file())
            .map_err(|error| CliError::io("rewrite", path, &error))?;
    }
    output.commit()?;
    Ok(new)
}

/// Opens a file and locks it, so that of two rewraps at once one is told to
/// come later instead of undoing the other.
fn open_locked(path: &Path, shared: bool) -> Result<File> {
    let metadata = std::fs::symlink_metadata(path).map_err(|error| CliError::io("read", path, &error))?;
    if metadata.is_symlink() {
        return Err(CliError::usage("is a symbolic link")
            .hint("name the file itself: it is replaced, and a link would be too"));
    }
    if !metadata.is_file() {
        return Err(CliError::usage("is not a regular file, so it cannot be replaced"));
    }
    let file = File::open(path).map_err(|error| CliError::io("read", path, &error))?;
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
        (Ok(held), Ok(there)) if (held.dev(), held.ino()) == (there.dev(), there.ino()) => Ok(file),
        _ => Err(busy()),
    }
}

/// Everything behind the header, byte for byte. `io::copy` between files lets
/// the kernel share the blocks where the file system can.
fn copy_with_header(file: &File, old: &Header, new: &Header, output: &mut File) -> io::Result<()> {
    output.write_all(&new.to_bytes())?;
    let mut payload = file;
    payload.seek(SeekFrom::Start(old.len() as u64))?;
    io::copy(&mut payload, output)?;
    Ok(())
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

fn say(global: &Global, args: &Rewrap, path: &Path, new: &Header) -> Result<()> {
    let recipients: Vec<_> = new.recipients().iter().map(|recipient| recipient.key_uri().as_str()).collect();
    let would = if args.dry_run { "would be rewrapped" } else { "rewrapped" };
    let text =
        format!("{}: {would} for {}, generation {}", path.display(), recipients.join(", "), new.generation());
    let value: Value = json!({
        "file": path.to_string_lossy(),
        "written": !args.dry_run,
        "envelope": report::header_json(new, true),
    });
    if global.json { report::print(true, &value, "") } else { report::status(false, &value, &text) }
}
