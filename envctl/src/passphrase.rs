//! Where passphrases and PINs come from: a file, a file descriptor, the
//! environment, or the terminal. Never an argument: other users can see those.
//!
//! What the call names is read at the start, in one order whatever the run does
//! later, and not a byte beyond its line: `(echo "$passphrase"; cat data) | envctl
//! --passphrase-fd 0 encrypt` encrypts the data.

use std::{
    ffi::OsStr,
    fs::File,
    io::{self, Read, Write},
    os::fd::RawFd,
    path::{Path, PathBuf},
    sync::Arc,
};

use envelope_files::trust::{self, Purpose};
use envelope_local::Passphrase;
use envelope_sdk::{printable, secret};
use zeroize::{Zeroize, Zeroizing};

use crate::{
    cli::Global,
    descriptor,
    environment::{self, Secrets},
    error::{CliError, ErrorKind, Result},
    harden,
    interrupt::{EchoGuard, hide_typing},
};

/// The passphrases of one run, as far as they were given.
pub(crate) struct Passphrases {
    passphrase: Given,
    keystore: Given,
    new: Given,
    #[cfg(feature = "pkcs11")]
    pin: Given,
}

impl Passphrases {
    /// Opens the files and descriptors that the call names, makes the process
    /// undumpable, and reads a line of each. Two secrets of one descriptor are
    /// two lines of it, in this order: passphrase, the keystore's, the new one,
    /// PIN.
    pub(crate) fn of(global: &Global) -> Result<Self> {
        let mut named = Vec::new();
        let mut open = |file: Option<&PathBuf>, number| Source::open(file, number, &mut named);
        let passphrase = open(global.passphrase_file.as_ref(), global.passphrase_fd)?;
        let keystore = open(global.keystore_passphrase_file.as_ref(), None)?;
        let new = open(global.new_passphrase_file.as_ref(), None)?;
        #[cfg(feature = "pkcs11")]
        let pin = open(global.pkcs11_pin_file.as_ref(), global.pkcs11_pin_fd)?;
        harden::before_secrets()?;
        let mut secrets = environment::secrets().map_err(|error| {
            CliError::other(format!("cannot read the secrets of the environment: {error}"))
        })?;
        let mut given = |source, variable| Given::by(source, variable, &mut secrets);
        Ok(Self {
            passphrase: given(passphrase, "ENVCTL_PASSPHRASE")?,
            keystore: given(keystore, "ENVCTL_KEYSTORE_PASSPHRASE")?,
            new: given(new, "ENVCTL_NEW_PASSPHRASE")?,
            #[cfg(feature = "pkcs11")]
            pin: given(pin, "ENVCTL_PKCS11_PIN")?,
        })
    }

    /// Whether a passphrase was given with the call, so that nobody need type it.
    pub(crate) fn is_given(&self) -> bool {
        match &self.passphrase {
            Given::Nothing => false,
            Given::Line(line) => !line.is_empty(),
            Given::NotText(_) => true,
        }
    }

    /// The passphrase that encrypts: typed twice if it is typed.
    pub(crate) fn for_encryption(&self) -> Result<Passphrase> {
        self.passphrase.read()?.map_or_else(|| ask_twice("Passphrase", OF_PASSPHRASE), Ok)
    }

    /// The passphrase that decrypts.
    pub(crate) fn for_decryption(&self) -> Result<Passphrase> {
        self.passphrase.read()?.map_or_else(|| ask("Passphrase", OF_PASSPHRASE), Ok)
    }

    /// The passphrase of an existing keystore: its own, or the only one given.
    pub(crate) fn of_keystore(&self, path: &Path) -> Result<Passphrase> {
        match self.keystore.read()? {
            Some(passphrase) => Ok(passphrase),
            None => match self.passphrase.read()? {
                Some(passphrase) => Ok(passphrase),
                None => ask(&format!("Passphrase of the keystore {}", printable::path(path)), OF_KEYSTORE),
            },
        }
    }

    /// The passphrase of a keystore that is being made.
    pub(crate) fn of_new_keystore(&self, path: &Path) -> Result<Passphrase> {
        match self.keystore.read()? {
            Some(passphrase) => Ok(passphrase),
            None => match self.passphrase.read()? {
                Some(passphrase) => Ok(passphrase),
                None => ask_twice(
                    &format!("Passphrase for the new keystore {}", printable::path(path)),
                    OF_KEYSTORE,
                ),
            },
        }
    }

    /// The PIN that was given with the call, if one was.
    #[cfg(feature = "pkcs11")]
    pub(crate) fn pin(&self) -> Result<Option<Zeroizing<String>>> {
        self.pin.read_line()
    }

    /// The passphrase that replaces another.
    pub(crate) fn replacement(&self) -> Result<Passphrase> {
        self.new.read()?.map_or_else(|| ask_twice("New passphrase", OF_NEW), Ok)
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
    NotText(&'static str),
}

impl Given {
    /// A file or descriptor goes before the environment.
    fn by(source: Option<Source>, variable: &'static str, secrets: &mut Secrets) -> Result<Self> {
        if let Some(source) = source {
            let line = secret::read_line(&mut &*source.file).map_err(|error| {
                let message = format!("cannot read the secret from {}: {error}", source.name);
                CliError::new(ErrorKind::InputOutput, message)
            })?;
            return Ok(Self::Line(line));
        }
        Ok(match secrets.remove(OsStr::new(variable)) {
            None => Self::Nothing,
            Some(value) => match std::str::from_utf8(&value) {
                Ok(text) => Self::Line(Zeroizing::new(text.to_owned())),
                Err(_) => Self::NotText(variable),
            },
        })
    }

    fn read(&self) -> Result<Option<Passphrase>> {
        self.read_line()?.map(|line| passphrase(line.to_string())).transpose()
    }

    fn read_line(&self) -> Result<Option<Zeroizing<String>>> {
        match self {
            Self::Nothing => Ok(None),
            Self::Line(line) => Ok(Some(line.clone())),
            Self::NotText(variable) => Err(CliError::usage(format!("${variable} is not UTF-8"))),
        }
    }
}

fn passphrase(text: String) -> Result<Passphrase> {
    Passphrase::new(text).map_err(|error| CliError::usage(error.to_string()))
}

/// `sources` says how else it can be given.
fn ask(prompt: &str, sources: &str) -> Result<Passphrase> {
    passphrase(Terminal::open("a passphrase", sources)?.ask(prompt)?)
}

/// Asks at the terminal for the PIN of a token.
#[cfg(feature = "pkcs11")]
pub(crate) fn ask_pin(prompt: &str) -> Result<String> {
    const SOURCES: &str = "use --pkcs11-pin-file, --pkcs11-pin-fd or $ENVCTL_PKCS11_PIN";
    Terminal::open("a PIN", SOURCES)?.ask(prompt)
}

fn ask_twice(prompt: &str, sources: &str) -> Result<Passphrase> {
    let mut terminal = Terminal::open("a passphrase", sources)?;
    let text = terminal.ask(prompt)?;
    let mut again = terminal.ask("Again, to be sure")?;
    drop(terminal);
    let same = text == again;
    again.zeroize();
    let passphrase = passphrase(text)?;
    if same { Ok(passphrase) } else { Err(CliError::usage("the two passphrases differ: nothing was done")) }
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
