//! From the arguments to a call, or to an error that repeats no value: what was
//! mistyped may be a passphrase.

use std::{env, ffi::OsString};

use clap::{
    Parser,
    error::{ContextKind, ContextValue},
};

use crate::{
    cli::{Cli, Command},
    error::{CliError, Result},
};

/// The call. `None` when help or the version was asked for and printed.
pub(crate) fn parse() -> Result<Option<Cli>> {
    let mut cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) if !error.use_stderr() => {
            // `head` and its friends close the pipe early.
            let _ = error.print();
            return Ok(None);
        }
        Err(error) => return Err(without_values(error)),
    };
    if let Command::Encrypt(crate::cli::Encrypt { keys, .. })
    | Command::Decrypt(crate::cli::Decrypt { keys, .. })
    | Command::Rewrap(crate::cli::Rewrap { keys, .. }) = &mut cli.command
        && keys.is_empty()
    {
        *keys = keys_of_environment(env::var_os("ENVCTL_KEYS"))?;
    }
    Ok(Some(cli))
}

/// Whether results and errors are to be JSON, asked of arguments that may not
/// be right.
pub(crate) fn wants_json(arguments: impl Iterator<Item = OsString>) -> bool {
    arguments.skip(1).take_while(|argument| argument != "--").any(|argument| argument == "--json")
}

/// Keys between any number of blanks. An empty variable is as good as none.
fn keys_of_environment(value: Option<OsString>) -> Result<Vec<String>> {
    let Some(value) = value else { return Ok(Vec::new()) };
    let text = value.to_str().ok_or_else(|| CliError::usage("$ENVCTL_KEYS is not UTF-8"))?;
    Ok(text.split_whitespace().map(ToOwned::to_owned).collect())
}

fn without_values(mut error: clap::Error) -> CliError {
    let hidden = || ContextValue::String("…".into());
    for kind in [ContextKind::InvalidValue, ContextKind::InvalidSubcommand] {
        if error.get(kind).is_some() {
            error.insert(kind, hidden());
        }
    }
    // The name of an option is told; its value and a word that is none are not.
    if let Some(ContextValue::String(argument)) = error.get(ContextKind::InvalidArg) {
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

/// `--name`, or `-n`, without what may follow it. Also as clap shows its own, `--name <VALUE>`.
fn option_name(argument: &str) -> Option<String> {
    if argument.starts_with('<') || argument.starts_with('[') {
        return Some(argument.to_owned());
    }
    if argument.starts_with("--") {
        return argument.split('=').next().map(ToOwned::to_owned);
    }
    argument.starts_with('-').then(|| argument.chars().take(2).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_the_environment_stand_between_any_blanks() {
        let keys = |text: &str| keys_of_environment(Some(text.into())).unwrap();
        assert_eq!(keys(""), [""; 0]);
        assert_eq!(keys("  \n"), [""; 0]);
        assert_eq!(keys(" local:a\tlocal:b  "), ["local:a", "local:b"]);
        assert_eq!(keys_of_environment(None).unwrap(), [""; 0]);
    }

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
            "encrypt in hunter2",
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
