//! Where passphrases and PINs come from: a file, a file descriptor, the
//! environment, or the terminal. Never an argument: other users can see those.
//!
//! What the call names is read at the start, in one order whatever the run does
//! later, and not a byte beyond its line: `(echo "$passphrase"; cat data) | envctl
//! --passphrase-fd 0 encrypt` encrypts the data.

use std::{
    collections::HashMap,
    ffi::OsStr,
    fs::File,
    io::{self, Read, Write},
    os::fd::RawFd,
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
};

use envelope_files::trust::{self, Purpose};
use envelope_local::Passphrase;
use envelope_providers::EnvironmentSecrets;
use envelope_sdk::{
    ProviderErrorKind, printable,
    secret::{self, Prompt, SecretError, Secrets},
};
use zeroize::Zeroizing;

use crate::{
    cli::Global,
    descriptor, environment,
    error::{CliError, ErrorKind, Result},
    harden,
    interrupt::{EchoGuard, hide_typing},
};

/// The secrets of one run, as far as they were given, and the terminal for others.
pub(crate) struct Passphrases {
    /// By the names that key stores ask for, once they are read.
    given: OnceLock<HashMap<String, Given>>,
    key_stores: Vec<(String, &'static str)>,
}

impl Passphrases {
    /// Nothing is read yet.
    pub(crate) fn of(global: &Global) -> Self {
        let secrets = &global.key_stores.secrets;
        let key_stores = secrets.iter().map(|secret| (secret.name.clone(), secret.what)).collect();
        Self { given: OnceLock::new(), key_stores }
    }

    /// Opens the files and descriptors that the call names, makes the process
    /// undumpable, and reads a line of each. Two secrets of one descriptor are
    /// two lines of it, in this order: passphrase, the keystore's, the new one,
    /// those of key stores.
    pub(crate) fn read_given(&self, global: &Global) -> Result<()> {
        let mut named = Vec::new();
        let mut open = |name: &str, file: Option<&PathBuf>, number| -> Result<(String, Option<Source>)> {
            Ok((name.to_owned(), Source::open(file, number, &mut named)?))
        };
        let mut sources = vec![
            open("passphrase", global.passphrase_file.as_ref(), global.passphrase_fd)?,
            open("keystore-passphrase", global.keystore_passphrase_file.as_ref(), None)?,
            open("new-passphrase", global.new_passphrase_file.as_ref(), None)?,
        ];
        for secret in &global.key_stores.secrets {
            sources.push(open(&secret.name, secret.file.as_ref(), secret.fd)?);
        }
        harden::before_secrets()?;
        let mut secrets = environment::secrets().map_err(|error| {
            CliError::other(format!("cannot read the secrets of the environment: {error}"))
        })?;
        let mut given = HashMap::new();
        for (name, source) in sources {
            let secret = Given::by(source, EnvironmentSecrets::variable(&name), &mut secrets)?;
            given.insert(name, secret);
        }
        let _ = self.given.set(given);
        Ok(())
    }

    /// The passphrase of an existing keystore: its own, or the only one given.
    pub(crate) fn of_keystore(&self, path: &Path) -> Result<Passphrase> {
        let prompt = format!("Passphrase of the keystore {}", printable::path(path));
        self.first_of(&["keystore-passphrase", "passphrase"], &Prompt::once(&prompt))
    }

    /// The passphrase of a keystore that is being made.
    pub(crate) fn of_new_keystore(&self, path: &Path) -> Result<Passphrase> {
        let prompt = format!("Passphrase for the new keystore {}", printable::path(path));
        self.first_of(&["keystore-passphrase", "passphrase"], &Prompt::twice(&prompt))
    }

    /// The passphrase that replaces another.
    pub(crate) fn replacement(&self) -> Result<Passphrase> {
        self.first_of(&["new-passphrase"], &Prompt::twice("New passphrase"))
    }

    /// The first of these that was given, or the first one from the terminal.
    fn first_of(&self, names: &[&str], prompt: &Prompt<'_>) -> Result<Passphrase> {
        for name in names {
            if let Some(line) = self.read(name)? {
                return passphrase(&line);
            }
        }
        passphrase(&self.ask_for(names.first().copied().unwrap_or_default(), prompt)?)
    }

    fn read(&self, name: &str) -> Result<Option<Zeroizing<String>>> {
        self.given.get().and_then(|given| given.get(name)).map_or(Ok(None), Given::read_line)
    }

    fn ask_for(&self, name: &str, prompt: &Prompt<'_>) -> Result<Zeroizing<String>> {
        let of_key_store = self.key_stores.iter().find(|(known, _)| known == name);
        let what = of_key_store.map_or("a passphrase", |(_, what)| what);
        let sources = match name {
            "passphrase" => OF_PASSPHRASE.to_owned(),
            "keystore-passphrase" => OF_KEYSTORE.to_owned(),
            "new-passphrase" => OF_NEW.to_owned(),
            name => format!("use --{name}-file, --{name}-fd or ${}", EnvironmentSecrets::variable(name)),
        };
        let mut terminal = Terminal::open(what, &sources)?;
        let text = Zeroizing::new(terminal.ask(prompt.text)?);
        if prompt.twice {
            let again = Zeroizing::new(terminal.ask("Again, to be sure")?);
            if text != again {
                return Err(CliError::usage("the two passphrases differ: nothing was done"));
            }
        }
        Ok(text)
    }
}

/// What key stores ask for.
impl Secrets for Passphrases {
    fn given(&self, name: &str) -> std::result::Result<Option<Zeroizing<String>>, SecretError> {
        self.read(name).map_err(|error| secret_error(&error))
    }

    fn ask(&self, name: &str, prompt: &Prompt<'_>) -> std::result::Result<Zeroizing<String>, SecretError> {
        self.ask_for(name, prompt).map_err(|error| secret_error(&error))
    }
}

fn secret_error(error: &CliError) -> SecretError {
    let kind = match error.kind() {
        ErrorKind::Usage => ProviderErrorKind::Invalid,
        _ => ProviderErrorKind::Other,
    };
    let new = SecretError::new(kind, error.message());
    match error.hint_text() {
        Some(hint) => new.with_hint(hint),
        None => new,
    }
}

/// Something open that a line is to be read from.
struct Source {
    name: String,
    file: Arc<File>,
}

impl Source {
    /// A descriptor that is named twice is one source.
    fn open(
        file: Option<&PathBuf>,
        number: Option<RawFd>,
        named: &mut Vec<(RawFd, Arc<File>)>,
    ) -> Result<Option<Self>> {
        let number = number.or_else(|| descriptor::number(file?));
        let Some(number) = number else {
            let Some(path) = file else { return Ok(None) };
            let file = trust::open(path, Purpose::Secret)?;
            return Ok(Some(Self { name: printable::path(path), file: Arc::new(file) }));
        };
        let name = format!("descriptor {number}");
        if let Some((_, file)) = named.iter().find(|(known, _)| *known == number) {
            return Ok(Some(Self { name, file: Arc::clone(file) }));
        }
        let opened = descriptor::duplicate_to_read(number).map_err(|error| {
            CliError::new(ErrorKind::InputOutput, format!("cannot read {name}: {error}"))
                .hint("a descriptor must be given to envctl, such as `--passphrase-fd 3 3<passphrase.txt`")
        })?;
        let file = Arc::new(opened);
        named.push((number, Arc::clone(&file)));
        Ok(Some(Self { name, file }))
    }
}

/// A secret that was given with the call, or was not.
enum Given {
    Nothing,
    Line(Zeroizing<String>),
    /// A variable whose value is no text.
    NotText(String),
}

impl Given {
    /// A file or descriptor goes before the environment.
    fn by(source: Option<Source>, variable: String, secrets: &mut environment::Secrets) -> Result<Self> {
        if let Some(source) = source {
            let line = secret::read_line(&mut &*source.file).map_err(|error| {
                let message = format!("cannot read the secret from {}: {error}", source.name);
                CliError::new(ErrorKind::InputOutput, message)
            })?;
            return Ok(Self::Line(line));
        }
        Ok(match secrets.remove(OsStr::new(&variable)) {
            None => Self::Nothing,
            Some(value) => match std::str::from_utf8(&value) {
                Ok(text) => Self::Line(Zeroizing::new(text.to_owned())),
                Err(_) => Self::NotText(variable),
            },
        })
    }

    fn read_line(&self) -> Result<Option<Zeroizing<String>>> {
        match self {
            Self::Nothing => Ok(None),
            Self::Line(line) => Ok(Some(line.clone())),
            Self::NotText(variable) => Err(CliError::usage(format!("${variable} is not UTF-8"))),
        }
    }
}

fn passphrase(text: &Zeroizing<String>) -> Result<Passphrase> {
    Passphrase::new(text.to_string()).map_err(|error| CliError::usage(error.to_string()))
}

/// The controlling terminal, whatever standard input and output are, and what it is asked for.
struct Terminal {
    file: File,
    what: &'static str,
    /// From the first prompt on.
    guard: Option<EchoGuard>,
}

impl Terminal {
    fn open(what: &'static str, sources: &str) -> Result<Self> {
        match File::options().read(true).write(true).open("/dev/tty") {
            Ok(file) => Ok(Self { file, what, guard: None }),
            Err(_) => {
                Err(CliError::usage(format!("{what} is needed, and there is no terminal to ask for it"))
                    .hint(sources))
            }
        }
    }

    /// The echo is off from before the first character of the first prompt, so that what
    /// is typed early is not shown either.
    fn ask(&mut self, prompt: &str) -> Result<String> {
        self.read_hidden(prompt).map_err(|error| {
            let message = format!("cannot read {} from the terminal: {error}", self.what);
            CliError::new(ErrorKind::InputOutput, message)
        })
    }

    fn read_hidden(&mut self, prompt: &str) -> io::Result<String> {
        let prompt = format!("{}: ", printable::text(prompt));
        match &self.guard {
            Some(guard) => guard.ask_also(&prompt)?,
            None => self.guard = Some(hide_typing(&self.file, &prompt)?),
        }
        // A terminal gives one line, of at most 4095 bytes, to one read.
        let mut line = Zeroizing::new([0; 4096]);
        let len = loop {
            match self.file.read(line.as_mut_slice()) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => break read?,
            }
        };
        if !self.guard.as_ref().is_some_and(EchoGuard::has_turn) {
            return Err(io::Error::other(
                "another program asked there meanwhile, and the line may be for it",
            ));
        }
        writeln!(self.file)?;
        match line[..len].strip_suffix(b"\n") {
            Some(line) => text_of(line),
            None => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the line has no end")),
        }
    }
}

fn text_of(line: &[u8]) -> io::Result<String> {
    let text = std::str::from_utf8(line);
    text.map(str::to_owned).map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "it is not UTF-8"))
}

const OF_PASSPHRASE: &str = "use --passphrase-file, --passphrase-fd or $ENVCTL_PASSPHRASE";
const OF_KEYSTORE: &str = "use --keystore-passphrase-file or $ENVCTL_KEYSTORE_PASSPHRASE, or the passphrase of the call: \
                           --passphrase-file, --passphrase-fd or $ENVCTL_PASSPHRASE";
const OF_NEW: &str = "use --new-passphrase-file or $ENVCTL_NEW_PASSPHRASE";
