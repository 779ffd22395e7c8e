//! From the arguments to a call, or to an error that repeats no value: what was
//! mistyped may be a passphrase.

use std::{env, ffi::OsString, io};

use anstream::{AutoStream, ColorChoice};
use clap::{
    Parser,
    error::{ContextKind, ContextValue, ErrorKind},
};

use crate::{
    cli::{Audit, Cli, Command, Decrypt, Encrypt, Global, Plan, Rewrap, Rotate},
    error::{CliError, Result},
    report::print_bytes,
};

/// The call. `None` when help or the version was asked for and printed.
pub(crate) fn parse() -> Result<Option<Cli>> {
    let mut cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) if !error.use_stderr() => {
            let text = error.render();
            let plain = AutoStream::choice(&io::stdout()) == ColorChoice::Never;
            let text = if plain { text.to_string() } else { text.ansi().to_string() };
            print_bytes(text.as_bytes())?;
            return Ok(None);
        }
        Err(error) => return Err(without_values(error)),
    };
    fill_from_environment(&mut cli)?;
    Ok(Some(cli))
}

/// Whether results and errors are to be JSON, asked of arguments that may not
/// be right.
pub(crate) fn wants_json(arguments: impl Iterator<Item = OsString>) -> bool {
    arguments.skip(1).take_while(|argument| argument != "--").any(|argument| argument == "--json")
}

/// What the call does not say, its variable may. (Not through clap, to which a
/// variable that is empty is a value that is missing.)
fn fill_from_environment(cli: &mut Cli) -> Result<()> {
    let Global { config, profile, keystore, audit_log, .. } = &mut cli.global;
    fill(audit_log, variable("ENVCTL_AUDIT"));
    fill(config, variable("ENVCTL_CONFIG"));
    fill(keystore, variable("ENVCTL_KEYSTORE"));
    fill(profile, text("ENVCTL_PROFILE")?);
    for setting in &mut cli.global.key_stores.settings {
        fill(&mut setting.value, variable(&setting.variable));
    }
    if let Command::Encrypt(Encrypt { keys, .. })
    | Command::Decrypt(Decrypt { keys, .. })
    | Command::Rewrap(Rewrap { keys, .. })
    | Command::Audit(
        Audit::Create { keys, .. }
        | Audit::Verify { keys, public_key: None, .. }
        | Audit::Checkpoint { keys, .. }
        | Audit::Prune { keys, .. },
    ) = &mut cli.command
        && keys.is_empty()
    {
        keys.extend(keys_of_environment()?);
    }
    if let Command::Rotate(Rotate { what, .. }) | Command::Plan(Plan { what, .. }) = &mut cli.command
        && what.to.is_empty()
        && what.add.is_empty()
        && what.remove.is_empty()
    {
        what.to.extend(keys_of_environment()?);
    }
    #[cfg(feature = "sql")]
    if let Command::RotateRecords(records) = &mut cli.command
        && records.to.is_empty()
    {
        records.to.extend(keys_of_environment()?);
    }
    Ok(())
}

fn keys_of_environment() -> Result<Vec<String>> {
    let named = text("ENVCTL_KEYS")?.unwrap_or_default();
    Ok(named.split_whitespace().map(ToOwned::to_owned).collect())
}

fn fill<T>(option: &mut Option<T>, default: Option<impl Into<T>>) {
    if option.is_none() {
        *option = default.map(Into::into);
    }
}

/// An empty variable is as good as none.
fn variable(name: &str) -> Option<OsString> {
    env::var_os(name).filter(|value| !value.is_empty())
}

fn text(name: &str) -> Result<Option<String>> {
    let text = variable(name).map(OsString::into_string).transpose();
    text.map_err(|_| CliError::usage(format!("${name} is not UTF-8")))
}

fn without_values(mut error: clap::Error) -> CliError {
    let hidden = || ContextValue::String("…".into());
    for kind in [ContextKind::InvalidValue, ContextKind::InvalidSubcommand] {
        if error.get(kind).is_some() {
            error.insert(kind, hidden());
        }
    }
    // The name of an option is told; its value and a word that is none are not. (Other kinds of
    // errors name the options of the program itself.)
    if error.kind() == ErrorKind::UnknownArgument
        && let Some(ContextValue::String(argument)) = error.get(ContextKind::InvalidArg)
    {
        let name = option_name(argument).map_or_else(hidden, ContextValue::String);
        error.insert(ContextKind::InvalidArg, name);
    }
    // "To pass … as a value" repeats what was typed.
    if error.get(ContextKind::Suggested).is_some() {
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(Vec::new()));
    }
    let text = error.render().to_string();
    let text = text.strip_prefix("error: ").unwrap_or(&text).trim_end();
    let (message, rest) = text.split_once("\n\n").unwrap_or((text, ""));
    let error = CliError::usage(message);
    if rest.is_empty() { error } else { error.hint(rest.trim_start()) }
}

/// `--name`, or `-n`, without what may follow it.
fn option_name(argument: &str) -> Option<String> {
    if argument.starts_with("--") {
        return argument.split('=').next().map(ToOwned::to_owned);
    }
    argument.starts_with('-').then(|| argument.chars().take(2).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_asked_for_before_two_dashes_only() {
        let wants = |line: &str| wants_json(line.split(' ').map(OsString::from));
        assert!(wants("envctl encrypt --nonsense --json"));
        assert!(!wants("envctl encrypt -- --json"));
        assert!(!wants("--json encrypt"));
    }

    #[test]
    fn no_error_of_the_arguments_repeats_a_value() {
        const SECRET: &str = "hunter2";
        for line in [
            "inspect in hunter2",
            "inspect in <hunter2>",
            "inspect in [hunter2]",
            "encrypt --nonsense=hunter2",
            "encrypt -xhunter2",
            "encrypt in -phunter2",
            "encrypt --passphrase=hunter2 in",
            "encrypt --passphrase-fd hunter2",
            "encrypt --passphrase-fd=hunter2",
            "hunter2",
            "keys hunter2",
            "keys create x --provider hunter2",
            "completions hunter2",
            "keys auto-rotate x --every hunter2",
            "encrypt --rm=hunter2",
            "keys list hunter2",
            "man --dir hunter2 hunter2",
        ] {
            let arguments = ["envctl"].into_iter().chain(line.split(' '));
            let error = Cli::try_parse_from(arguments).err().expect(line);
            let error = without_values(error);
            assert!(!error.text().contains(SECRET), "{line}: {}", error.text());
            assert_eq!(error.exit_code(), 2);
        }
    }
}
