//! `envctl encrypt`

use std::{
    ffi::OsString,
    io::{Read, Write},
};

use envelope_sdk::{
    Envelope, Header, Kind, Started,
    format::armor::ArmorWriter,
    stream::{self, StreamError},
};
use futures_executor::block_on;
use serde_json::json;

use super::{SUFFIX, check_files, context, remove_input};
use crate::{
    cli::{Encrypt, Global},
    error::Result,
    input::Input,
    keys::Providers,
    output::{Output, Secrecy, Target},
    report,
};

pub(crate) fn run(global: &Global, args: &Encrypt) -> Result<()> {
    let bound = context::to_bind(&args.context, &args.withhold)?;
    let keyring = Providers::new(global)?.keyring_to_encrypt(&args.keys)?;
    let input = Input::open(&args.file)?;
    let target = Target::of(args.output.output.as_ref(), || Ok(default_target(&input)))?;
    check_files(&input, &target, &args.output)?;
    let mut output = Output::open(&target, args.output.force, Secrecy::Public, args.armor)?;
    let started = block_on(Envelope::new(keyring).start(Kind::Attached, &bound))?;

    let header = Header::parse_exact(&started.header)?;
    let path = input.path().map(ToOwned::to_owned);
    let name = input.name().clone();
    let mut plaintext = input.into_reader();
    let written = if args.armor {
        ArmorWriter::new(&mut output).map_err(StreamError::Write).and_then(|mut armor| {
            let total = write(started, &mut plaintext, &mut armor)?;
            armor.finish().map_err(StreamError::Write)?;
            Ok(total)
        })
    } else {
        write(started, &mut plaintext, &mut output)
    };
    let total = written.map_err(|error| crate::error::CliError::from(error).about(&name))?;
    output.commit()?;
    remove_input(&args.output, path.as_deref())?;

    let Some(path) = target.path() else { return Ok(()) };
    let recipients: Vec<_> =
        header.recipients().iter().map(|recipient| recipient.key_uri().as_str()).collect();
    let text = format!("{}: encrypted for {}", path.display(), recipients.join(", "));
    let value = json!({
        "output": path.to_string_lossy(),
        "plaintext_bytes": total,
        "envelope": report::header_json(&header, true),
    });
    if global.json { report::print(true, &value, "") } else { report::status(false, &value, &text) }
}

fn write(
    started: Started,
    plaintext: &mut impl Read,
    out: &mut impl Write,
) -> std::result::Result<u64, StreamError> {
    out.write_all(&started.header).map_err(StreamError::Write)?;
    stream::seal(started.payload, plaintext, out)
}

/// `FILE.envelope` beside FILE; standard output for standard input.
fn default_target(input: &Input) -> Target {
    match input.path() {
        None => Target::Stdout { even_to_terminal: false },
        Some(path) => {
            let mut name = OsString::from(path);
            name.push(SUFFIX);
            Target::File(name.into())
        }
    }
}
