//! One module for each command.

mod context;
mod decrypt;
mod encrypt;
mod inspect;
mod keys;
mod keystore;
mod pages;
#[cfg(feature = "pkcs11")]
mod pkcs11;
mod rewrap;

use std::{
    ffi::OsStr,
    fs,
    os::unix::{ffi::OsStrExt, fs::MetadataExt},
    path::{Path, PathBuf},
};

use crate::{
    cli::{self, Cli, Command},
    error::{CliError, Result},
    input::Input,
    output::Target,
};

/// Runs the command.
pub(crate) fn run(cli: Cli) -> Result<()> {
    let global = &cli.global;
    match cli.command {
        Command::Encrypt(args) => encrypt::run(global, &args),
        Command::Decrypt(args) => decrypt::run(global, &args),
        Command::Inspect(args) => inspect::run(global, &args),
        Command::Rewrap(args) => rewrap::run(global, &args),
        Command::Keys(command) => keys::run(global, command),
        Command::Keystore(command) => keystore::run(global, &command),
        #[cfg(feature = "pkcs11")]
        Command::Pkcs11(command) => pkcs11::run(global, &command),
        Command::Completions { shell } => pages::completions(shell),
        Command::Man { dir } => pages::man(dir.as_deref()),
    }
}

/// Refuses what would write a file over itself, or remove what was not written
/// to a file.
fn check_files(input: &Input, target: &Target, output: &cli::Output) -> Result<()> {
    let same = |path: &Path| {
        let (Some(input), Ok(output)) = (input.metadata(), fs::metadata(path)) else { return false };
        output.is_file() && (input.dev(), input.ino()) == (output.dev(), output.ino())
    };
    if target.path().is_some_and(same) {
        return Err(CliError::usage(format!("{} is input and output at once", input.name()))
            .hint("write to another file with -o FILE"));
    }
    if output.rm
        && (input.path().is_none() || target.path().is_none_or(|path| path.exists() && !path.is_file()))
    {
        return Err(CliError::usage("--rm needs an input file and an output file"));
    }
    Ok(())
}

/// `--rm`: the output is on disk, the input may go.
fn remove_input(output: &cli::Output, path: Option<&Path>) -> Result<()> {
    match path {
        Some(path) if output.rm => {
            fs::remove_file(path).map_err(|error| CliError::io("remove", path, &error))
        }
        _ => Ok(()),
    }
}

/// Where the payload of the detached header `path` is: FILE.sealed for
/// FILE.envelope.
fn payload_path(path: &Path) -> PathBuf {
    let name = path.as_os_str().as_bytes();
    let mut payload = OsStr::from_bytes(name.strip_suffix(SUFFIX.as_bytes()).unwrap_or(name)).to_owned();
    payload.push(".sealed");
    payload.into()
}

/// Bytes that the header of a binary envelope is padded to a multiple of, so that
/// the header of a rewrap fits in place.
const HEADER_PADDING: usize = 4096;

/// What a file of ours is called: the name of its plaintext, and this.
const SUFFIX: &str = ".envelope";
