//! The report of a destruction: lines of JSON, and a signature over them by the key of an audit log.

use std::{
    fs::File,
    io::{self, BufWriter, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use envelope_audit::{DocumentError, DocumentSignature, KeyFile, LazyLog, Log};
use envelope_files::{Access, Existing, NewFile};
use envelope_sdk::printable;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::audit;
use crate::{
    cli::{DestructionReport, Global},
    error::{CliError, ErrorKind, Result},
    providers::Providers,
    report,
    runtime::block_on,
};

/// A file that gets its name when it is whole.
pub(super) struct SignedReport {
    path: PathBuf,
    file: BufWriter<NewFile>,
    hash: Sha256,
    length: u64,
    /// The audit log whose key signs.
    signer: Option<Log>,
}

impl SignedReport {
    /// The file that a call names, if it names one. The log of this call, whose key signs it, is opened now: it may be under
    /// the key that comes to its end.
    pub(super) fn begin(providers: &Providers, args: &DestructionReport) -> Result<Option<Self>> {
        let Some(path) = &args.report else { return Ok(None) };
        let signer = providers.opened().audit().map(signer).transpose()?;
        let file = BufWriter::new(NewFile::create(path, Existing::Keep, Access::Public)?);
        Ok(Some(Self { path: path.clone(), file, hash: Sha256::new(), length: 0, signer }))
    }

    /// One more line.
    pub(super) fn line(&mut self, line: &Value) -> Result<()> {
        let line = format!("{}\n", report::json_line(line));
        self.hash.update(line.as_bytes());
        self.length += line.len() as u64;
        self.file.write_all(line.as_bytes()).map_err(|error| CliError::io("write", &self.path, &error))
    }

    /// Brings the lines so far to disk: where there is no room for them, that is known before anything is destroyed.
    pub(super) fn flush(&mut self) -> Result<()> {
        let flushed = self.file.flush().and_then(|()| self.file.get_ref().file().sync_all());
        flushed.map_err(|error| CliError::io("write", &self.path, &error))
    }

    /// Ends it, and says `text` of it, which begins behind its name, and the members of `value`.
    pub(super) fn finish(mut self, global: &Global, mut value: Value, text: &str) -> Result<()> {
        let name = printable::path(&self.path);
        let signed = match &self.signer {
            Some(signer) => {
                let signature = signer.key().sign_document(self.length, &self.hash.finalize().into());
                let written = writeln!(self.file, "{signature}");
                written.map_err(|error| CliError::io("write", &self.path, &error))?;
                value["signed_by"] = json!(report::hex(&signer.key().public_key()));
                "signed by the key of the audit log"
            }
            None => "not signed: --audit-log FILE names a log whose key signs it",
        };
        let cannot = |error: io::IntoInnerError<_>| CliError::io("write", &self.path, &error.into_error());
        let file = self.file.into_inner().map_err(cannot)?;
        drop(file.commit()?);
        value["report"] = json!(name);
        report::status(global.json, &value, &format!("{name}: {text}; {signed}"))
    }
}

/// The log that signs. Without it nothing is destroyed, also where what cannot be recorded is done all the same: a report that
/// nobody signed is not what was asked for.
fn signer(log: &LazyLog) -> Result<Log> {
    let opened = block_on(log.get()).cloned();
    opened.map_err(|error| CliError::by_log(&error, format!("the report cannot be signed: {error}")))
}

/// `envctl audit verify-report`.
pub(super) fn verify(
    global: &Global,
    path: &Path,
    log: Option<&Path>,
    public_key: Option<&str>,
) -> Result<()> {
    let public_key = match (public_key, log) {
        (Some(text), _) => audit::public_key(text)?,
        (None, Some(log)) => *KeyFile::of(log)?.public_key(),
        (None, None) => return Err(CliError::usage("--public-key or --log says who should have signed it")),
    };
    let mut file = regular(path)?;
    let signed = DocumentSignature::verify(&mut file, &public_key).map_err(|error| {
        let kind = match error {
            DocumentError::Io(_) => ErrorKind::InputOutput,
            _ => ErrorKind::LogInvalid,
        };
        CliError::new(kind, error.to_string()).about(printable::path(path))
    })?;
    let log_id = report::hex(signed.log_id());
    let value = json!({ "report": printable::path(path), "bytes": signed.length(), "log_id": log_id });
    let text = format!("{}: as it was signed: {} bytes\n", printable::path(path), signed.length());
    report::print(global.json, &value, &text)
}

/// A file that is read from its beginning more than once: no pipe, and no device without an end.
fn regular(path: &Path) -> Result<File> {
    // Looked at before, since opening a pipe waits for its writer; and after, for what was opened.
    let is_file = |metadata: io::Result<std::fs::Metadata>| {
        metadata.map(|metadata| metadata.is_file()).map_err(|error| CliError::io("read", path, &error))
    };
    let no_file = || CliError::usage("this is no regular file").about(printable::path(path));
    if !is_file(path.metadata())? {
        return Err(no_file());
    }
    let file = File::open(path).map_err(|error| CliError::io("read", path, &error))?;
    if is_file(file.metadata())? { Ok(file) } else { Err(no_file()) }
}

/// The SHA-256 of a file, in hexadecimal. It is at its beginning then.
pub(super) fn sha256(file: &mut File) -> io::Result<String> {
    let mut hash = Sha256::new();
    let mut chunk = vec![0; 1 << 16];
    loop {
        match file.read(&mut chunk)? {
            0 => break,
            read => hash.update(&chunk[..read]),
        }
    }
    file.seek(SeekFrom::Start(0))?;
    Ok(report::hex(&hash.finalize()))
}
