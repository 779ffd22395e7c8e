//! One module for each command.

mod audit;
mod context;
mod decrypt;
mod destroy;
#[cfg(feature = "sql")]
mod destroy_data_key;
mod encrypt;
mod inspect;
mod keys;
mod keystore;
mod many;
mod mcp;
mod moment;
mod overlap;
mod pages;
mod policy;
#[cfg(feature = "sql")]
mod records;
mod report_file;
mod rewrap;
mod rotate;
mod signed_report;
mod survey;
mod usage;

use envelope_files::{Existing, ReadFile};

use crate::{
    cli::{self, Cli, Command},
    error::{CliError, Result},
    input::Input,
    output::{InputFile, Target},
};

/// Runs the command.
pub(crate) fn run(cli: Cli) -> Result<()> {
    let global = &cli.global;
    match cli.command {
        Command::Encrypt(args) => encrypt::run(global, &args),
        Command::Decrypt(args) => decrypt::run(global, &args),
        Command::Inspect(args) => inspect::run(global, &args),
        Command::Rewrap(args) => rewrap::run(global, &args),
        Command::Rotate(args) => rotate::run(global, &args),
        Command::Plan(args) => rotate::plan(global, &args),
        #[cfg(feature = "sql")]
        Command::RotateRecords(args) => records::run(global, &args),
        #[cfg(feature = "sql")]
        Command::DestroyDataKey(args) => destroy_data_key::run(global, &args),
        Command::Keys(command) => keys::run(global, command),
        Command::Keystore(command) => keystore::run(global, &command),
        Command::Audit(command) => audit::run(global, &command),
        Command::Policy(command) => policy::run(global, &command),
        Command::Mcp(args) => mcp::run(global, &args),
        Command::Completions { shell } => pages::completions(shell),
        Command::Man { dir } => pages::man(dir.as_deref()),
        Command::KeyStore(command) => survey::run(global, &command),
    }
}

/// Refuses what would write a file over itself, or remove what was not written
/// to a file. Returns the input if it is to be removed.
fn check_files(
    input: &Input,
    target: &Target,
    output: &cli::Output,
) -> Result<(InputFile, Option<ReadFile>)> {
    let file = InputFile::of(input);
    file.refuse(target.metadata().as_ref())?;
    if !output.rm {
        return Ok((file, None));
    }
    if target.file().is_none() {
        return Err(CliError::usage("--rm needs an input file and an output file"));
    }
    Ok((file, Some(input.to_remove()?)))
}

/// `--rm`: the output is on disk, the input may go.
fn remove_input(input: Option<ReadFile>) -> Result<()> {
    input.map_or(Ok(()), |input| Ok(input.remove()?))
}

/// What happens to a file that has the name of the output.
fn existing(output: &cli::Output) -> Existing {
    if output.force { Existing::Replace } else { Existing::Keep }
}

/// Bytes that the header of a binary envelope is padded to a multiple of, so that
/// the header of a rewrap fits in place.
const HEADER_PADDING: usize = 4096;

/// What a file of ours is called: the name of its plaintext, and this.
const SUFFIX: &str = ".envelope";
