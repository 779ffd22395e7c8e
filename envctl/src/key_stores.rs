//! What the key stores of this build bring to the command line: options, secrets
//! and commands. Nothing here knows one of them; each is registered in
//! `envelope-providers`.

use std::{ffi::OsString, path::PathBuf, sync::LazyLock};

use clap::{
    Arg, ArgAction, ArgMatches, Args, Command, Error, FromArgMatches, Subcommand, ValueHint,
    builder::PossibleValuesParser, error::ErrorKind, value_parser,
};
use envelope_providers::{EnvironmentSecrets, Providers, Registration};

/// Options of key stores: `--PROVIDER-SETTING VALUE`, `--PROVIDER-SECRET-file FILE`
/// and `--PROVIDER-SECRET-fd N`.
#[derive(Debug, Default, Clone)]
pub(crate) struct KeyStoreOptions {
    pub(crate) settings: Vec<Setting>,
    pub(crate) secrets: Vec<Secret>,
}

/// A setting, as the call gives it.
#[derive(Debug, Clone)]
pub(crate) struct Setting {
    pub(crate) provider: &'static str,
    pub(crate) name: &'static str,
    pub(crate) variable: String,
    pub(crate) value: Option<OsString>,
}

/// A secret, and where the call says it is.
#[derive(Debug, Clone)]
pub(crate) struct Secret {
    /// As key stores ask for it: `PROVIDER-NAME`.
    pub(crate) name: String,
    /// Within a sentence.
    pub(crate) what: &'static str,
    pub(crate) file: Option<PathBuf>,
    pub(crate) fd: Option<i32>,
}

/// `envctl PROVIDER SURVEY`: what there is to be reached.
#[derive(Debug)]
pub(crate) struct KeyStoreCommand {
    pub(crate) provider: String,
    pub(crate) all: bool,
}

/// The key stores of this build.
pub(crate) fn registered() -> &'static [Registration] {
    static REGISTERED: LazyLock<Vec<Registration>> =
        LazyLock::new(|| Providers::builder().registered().to_vec());
    &REGISTERED
}

/// The names that `--provider` takes.
pub(crate) fn provider_names() -> PossibleValuesParser {
    registered().iter().map(|store| store.provider).collect::<Vec<_>>().into()
}

/// The variables of the environment that hold settings of key stores.
pub(crate) fn setting_variables() -> impl Iterator<Item = String> {
    let named = |store: &'static Registration| {
        store
            .options
            .iter()
            .map(|option| EnvironmentSecrets::variable(&format!("{}-{}", store.provider, option.name)))
    };
    registered().iter().flat_map(named)
}

fn secret_names() -> impl Iterator<Item = (String, &'static str)> {
    let named = |store: &'static Registration| {
        store.secrets.iter().map(|secret| (format!("{}-{}", store.provider, secret.name), secret.what))
    };
    registered().iter().flat_map(named)
}

impl Args for KeyStoreOptions {
    fn augment_args(mut command: Command) -> Command {
        for store in registered() {
            for option in store.options {
                let name = format!("{}-{}", store.provider, option.name);
                let variable = EnvironmentSecrets::variable(&name);
                let hint = if option.value == "FILE" { ValueHint::FilePath } else { ValueHint::Other };
                command = command.arg(
                    Arg::new(name.clone())
                        .long(name)
                        .global(true)
                        .value_name(option.value)
                        .value_hint(hint)
                        .value_parser(value_parser!(OsString))
                        .help(format!("{} [default: ${variable}, or the configuration's]", option.help)),
                );
            }
        }
        for (name, what) in secret_names() {
            let (file, fd, variable) =
                (format!("{name}-file"), format!("{name}-fd"), EnvironmentSecrets::variable(&name));
            command = command
                .arg(
                    Arg::new(file.clone())
                        .long(file)
                        .global(true)
                        .value_name("FILE")
                        .value_hint(ValueHint::FilePath)
                        .value_parser(value_parser!(PathBuf))
                        .conflicts_with(fd.clone())
                        .help(format!(
                            "Read {what} from the first line of a file [otherwise: ${variable}, or asked for]"
                        )),
                )
                .arg(
                    Arg::new(fd.clone())
                        .long(fd)
                        .global(true)
                        .value_name("N")
                        .value_parser(value_parser!(i32))
                        .help(format!("Read {what} from the first line of an open file descriptor")),
                );
        }
        command
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for KeyStoreOptions {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        let mut settings = Vec::new();
        for store in registered() {
            for option in store.options {
                let name = format!("{}-{}", store.provider, option.name);
                let value = matches.get_one::<OsString>(&name).cloned();
                settings.push(Setting {
                    provider: store.provider,
                    name: option.name,
                    variable: EnvironmentSecrets::variable(&name),
                    value,
                });
            }
        }
        let secrets = secret_names().map(|(name, what)| {
            let file = matches.get_one::<PathBuf>(&format!("{name}-file")).cloned();
            let fd = matches.get_one::<i32>(&format!("{name}-fd")).copied();
            Secret { name, what, file, fd }
        });
        Ok(Self { settings, secrets: secrets.collect() })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl Subcommand for KeyStoreCommand {
    fn augment_subcommands(mut command: Command) -> Command {
        for store in registered() {
            let Some(survey) = store.survey else { continue };
            let all = Arg::new(ALL)
                .long(ALL)
                // What the only such list was called before there were others.
                .alias("mechanisms")
                .action(ArgAction::SetTrue)
                .help("Long lists too, in full (--json tells them always)");
            command = command.subcommand(
                Command::new(store.provider)
                    .about(format!("Tell what there is at the provider {}", store.provider))
                    .subcommand_required(true)
                    .arg_required_else_help(true)
                    .subcommand(Command::new(survey.name).about(survey.help).arg(all)),
            );
        }
        command
    }

    fn augment_subcommands_for_update(command: Command) -> Command {
        Self::augment_subcommands(command)
    }

    fn has_subcommand(name: &str) -> bool {
        registered().iter().any(|store| store.provider == name && store.survey.is_some())
    }
}

impl FromArgMatches for KeyStoreCommand {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        let (provider, matches) =
            matches.subcommand().ok_or_else(|| Error::new(ErrorKind::MissingSubcommand))?;
        let survey = matches.subcommand().ok_or_else(|| Error::new(ErrorKind::MissingSubcommand))?.1;
        Ok(Self { provider: provider.to_owned(), all: survey.get_flag(ALL) })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

const ALL: &str = "all";
