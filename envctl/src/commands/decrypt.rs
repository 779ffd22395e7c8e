//! `envctl decrypt`

use std::{ffi::OsStr, os::unix::ffi::OsStrExt};

use envelope_sdk::{Envelope, Header, Kind, stream};
use futures_executor::block_on;
use serde_json::json;

use super::{SUFFIX, check_files, context, remove_input};
use crate::{
    cli::{Decrypt, Global},
    error::{CliError, ErrorKind, Result},
    input::Input,
    keys::Providers,
    output::{Output, Secrecy, Target},
    report,
};

pub(crate) fn run(global: &Global, args: &Decrypt) -> Result<()> {
    let expected = context::expected(&args.context)?;
    let keyring = Providers::new(global)?.keyring_to_decrypt(&args.keys)?;
    let input = Input::open(&args.file)?;
    let target = Target::of(args.output.output.as_ref(), || default_target(&input))?;
    check_files(&input, &target, &args.output)?;

    let path = input.path().map(ToOwned::to_owned);
    let name = input.name().clone();
    let mut envelope = input.into_envelope_reader()?;
    let header = stream::read_header(&mut envelope).map_err(|error| CliError::from(error).about(&name))?;
    check_kind(&header).map_err(|error| error.about(&name))?;
    context::check_expected(&args.context, &header).map_err(|error| error.about(&name))?;
    let mut output = Output::open(&target, args.output.force, Secrecy::Private, false)?;

    let explained =
        |error: CliError, header: &Header| context::explain(error, header, &expected).about(&name);
    let opened = block_on(Envelope::new(keyring).unlock(header.clone(), &expected))
        .map_err(|error| explained(error.into(), &header))?;
    let total = stream::open(&opened, &mut envelope, &mut output)
        .map_err(|error| explained(error.into(), &header))?;
    output.commit()?;
    remove_input(&args.output, path.as_deref())?;

    let Some(path) = target.path() else { return Ok(()) };
    let text = format!("{}: decrypted, {total} bytes", path.display());
    let value = json!({
        "output": path.to_string_lossy(),
        "plaintext_bytes": total,
        "envelope": report::header_json(opened.header(), true),
    });
    if global.json { report::print(true, &value, "") } else { report::status(false, &value, &text) }
}

/// Another kind of header is the wrong file, or one whose flags were changed.
fn check_kind(header: &Header) -> Result<()> {
    let refuse = |message: &str, hint: &str| Err(CliError::new(ErrorKind::NotAuthentic, message).hint(hint));
    match header.kind() {
        Kind::Attached => Ok(()),
        Kind::DataKey => refuse(
            "this is a data key: its records are elsewhere",
            "records are opened with the library, `Envelope::open_data_key`",
        ),
        _ => refuse(
            "this is a detached header: its payload is elsewhere",
            "detached payloads are opened with the library, `Envelope::decrypt_detached`",
        ),
    }
}

/// FILE for `FILE.envelope`; standard output for standard input.
fn default_target(input: &Input) -> Result<Target> {
    let Some(path) = input.path() else { return Ok(Target::Stdout { even_to_terminal: false }) };
    let name = path.as_os_str().as_bytes();
    match name.strip_suffix(SUFFIX.as_bytes()).filter(|rest| !rest.is_empty() && !rest.ends_with(b"/")) {
        Some(rest) => Ok(Target::File(OsStr::from_bytes(rest).into())),
        None => Err(CliError::usage(format!(
            "{} does not end with {SUFFIX}, so its output has no name",
            input.name()
        ))
        .hint("name the output with -o FILE, or -o - for standard output")),
    }
}
