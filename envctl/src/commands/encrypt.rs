//! `envctl encrypt`

use std::{ffi::OsString, io::Write, path::PathBuf};

use envelope_files::Access;
use envelope_rotation::payload_path;
use envelope_sdk::{Envelope, Header, PayloadKind, printable, stream::StreamError};
use serde_json::json;

use super::{HEADER_PADDING, SUFFIX, check_files, context, existing, remove_input};
use crate::{
    cli::{Encrypt, Global},
    error::{CliError, Result},
    input::Input,
    output::{ELSEWHERE, FORCE_OR_ELSEWHERE, Options, Output, Target, commit_both},
    progress::Progress,
    providers::Providers,
    report,
    runtime::block_on,
    transfer::{self, Format},
};

pub(crate) fn run(global: &Global, args: &Encrypt) -> Result<()> {
    let bound = context::to_bind(&args.context, &args.withhold)?;
    let keyring = Providers::new(global)?.opened().keyring_to_encrypt(&args.keys)?;
    let input = Input::open(&args.file)?;
    let target = Target::of(args.output.output.as_ref(), || default_target(&input))?;
    let (input_file, remove) = check_files(&input, &target, &args.output)?;
    let payload_path = if args.detached { Some(detached_payload(&target)?) } else { None };
    let options = Options {
        existing: existing(&args.output),
        access: Access::Public,
        is_text: args.armor,
        if_exists: if args.detached { ELSEWHERE } else { FORCE_OR_ELSEWHERE },
    };
    let open = |target: &Target| Output::open(target, options, &input_file);
    let mut output = open(&target)?;
    let mut payload = match &payload_path {
        Some(path) => Some(open(&Target::File(path.clone()))?),
        None => None,
    };

    let padding = if args.armor || args.detached { 0 } else { HEADER_PADDING };
    let kind = if args.detached { PayloadKind::Detached } else { PayloadKind::Attached };
    let started = block_on(Envelope::new(keyring).pad_headers_to(padding).start(kind, &bound))?;
    let header = Header::parse_exact(&started.header)?;
    let name = input.name().clone();
    let plaintext_len = input.seekable().and_then(|file| Some(file.metadata().ok()?.len()));
    let progress = Progress::new(global, plaintext_len, target.is_terminal());
    let sealed = match &mut payload {
        Some(payload) => output
            .write_all(&started.header)
            .map_err(StreamError::Write)
            .and_then(|()| transfer::seal(started, input, payload, Format::Detached, &progress)),
        None => {
            let format = if args.armor { Format::Armored } else { Format::Binary };
            transfer::seal(started, input, &mut output, format, &progress)
        }
    };
    drop(progress);
    let total = sealed.map_err(|error| CliError::from(error).about(&name))?;
    // The payload first: without its header it is nothing.
    match payload {
        Some(payload) => commit_both(payload, output)?,
        None => drop(output.commit()?),
    }
    remove_input(remove)?;

    let Some(path) = target.path() else { return Ok(()) };
    let recipients: Vec<_> =
        header.recipients().iter().map(|recipient| recipient.key_uri().as_str()).collect();
    let text = format!("{}: encrypted for {}", printable::path(path), recipients.join(", "));
    let value = json!({
        "output": path.to_string_lossy(),
        "payload": payload_path.map(|path| path.to_string_lossy().into_owned()),
        "plaintext_bytes": total,
        "envelope": report::header_json(&header, true),
    });
    if global.json { report::print(true, &value, "") } else { report::status(false, &value, &text) }
}

/// `FILE.envelope` beside FILE; standard output for standard input.
fn default_target(input: &Input) -> Result<Target> {
    match input.path() {
        None => Ok(Target::Stdout { even_to_terminal: false }),
        Some(path) => {
            let mut name = OsString::from(path);
            name.push(SUFFIX);
            Target::named(name.into())
        }
    }
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
