//! Where passphrases and PINs come from: a file, a file descriptor, the
//! environment, or the terminal. Never an argument: other users can see those.

use std::{
    env,
    fs::File,
    io::{self, Read, Write},
    path::{Path, PathBuf},
    sync::OnceLock,
};

use envelope_local::Passphrase;
use zeroize::{Zeroize, Zeroizing};

use crate::{
    cli::Global,
    error::{CliError, ErrorKind, Result},
    harden,
    interrupt::hide_typing,
};

/// The passphrases of one run, and where each may come from.
pub(crate) struct Passphrases {
    passphrase: Source,
    keystore: Source,
    new: Source,
    #[cfg(feature = "pkcs11")]
    pin: Source,
}

/// Where one passphrase comes from: an open file, or else the environment.
struct Source {
    /// Opened at once, read when it is needed: a pipe such as `<(…)` is only
    /// found under its name while the process is dumpable.
    file: Option<(String, File)>,
    variable: &'static str,
    /// A pipe can be read only once, so what was read is kept.
    line: OnceLock<Zeroizing<String>>,
}

impl Passphrases {
    /// Opens the files and descriptors that the call names.
    pub(crate) fn of(global: &Global) -> Result<Self> {
        let descriptor = global.passphrase_fd.map(|number| PathBuf::from(format!("/dev/fd/{number}")));
        let passphrase = global.passphrase_file.as_ref().or(descriptor.as_ref());
        Ok(Self {
            passphrase: Source::open(passphrase, "ENVCTL_PASSPHRASE")?,
            keystore: Source::open(global.keystore_passphrase_file.as_ref(), "ENVCTL_KEYSTORE_PASSPHRASE")?,
            new: Source::open(global.new_passphrase_file.as_ref(), "ENVCTL_NEW_PASSPHRASE")?,
            #[cfg(feature = "pkcs11")]
            pin: {
                let descriptor =
                    global.pkcs11_pin_fd.map(|number| PathBuf::from(format!("/dev/fd/{number}")));
                Source::open(global.pkcs11_pin_file.as_ref().or(descriptor.as_ref()), "ENVCTL_PKCS11_PIN")?
            },
        })
    }

    /// Whether a passphrase was given with the call, so that nobody need type it.
    pub(crate) fn is_given(&self) -> bool {
        let Source { file, variable, .. } = &self.passphrase;
        file.is_some() || env::var_os(variable).is_some_and(|value| !value.is_empty())
    }

    /// The passphrase that encrypts: typed twice if it is typed.
    pub(crate) fn for_encryption(&self) -> Result<Passphrase> {
        self.passphrase.read()?.map_or_else(|| ask_twice("Passphrase"), Ok)
    }

    /// The passphrase that decrypts.
    pub(crate) fn for_decryption(&self) -> Result<Passphrase> {
        self.passphrase.read()?.map_or_else(|| ask("Passphrase"), Ok)
    }

    /// The passphrase of an existing keystore: its own, or the only one given.
    pub(crate) fn of_keystore(&self, path: &Path) -> Result<Passphrase> {
        match self.keystore.read()? {
            Some(passphrase) => Ok(passphrase),
            None => match self.passphrase.read()? {
                Some(passphrase) => Ok(passphrase),
                None => ask(&format!("Passphrase of the keystore {}", path.display())),
            },
        }
    }

    /// The passphrase of a keystore that is being made.
    pub(crate) fn of_new_keystore(&self, path: &Path) -> Result<Passphrase> {
        match self.keystore.read()? {
            Some(passphrase) => Ok(passphrase),
            None => match self.passphrase.read()? {
                Some(passphrase) => Ok(passphrase),
                None => ask_twice(&format!("Passphrase for the new keystore {}", path.display())),
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
        self.new.read()?.map_or_else(|| ask_twice("New passphrase"), Ok)
    }
}

impl Source {
    fn open(path: Option<&PathBuf>, variable: &'static str) -> Result<Self> {
        let file = match path {
            None => None,
            Some(path) => {
                let file = File::open(path).map_err(|error| {
                    CliError::io("read", path, &error).hint(
                        "a descriptor must be given to envctl, such as `--passphrase-fd 3 3<passphrase.txt`",
                    )
                })?;
                Some((path.display().to_string(), file))
            }
        };
        Ok(Self { file, variable, line: OnceLock::new() })
    }

    fn read(&self) -> Result<Option<Passphrase>> {
        self.read_line()?.map(|line| passphrase(line.to_string())).transpose()
    }

    fn read_line(&self) -> Result<Option<Zeroizing<String>>> {
        harden::before_secrets()?;
        if let Some(line) = self.line.get() {
            return Ok(Some(line.clone()));
        }
        let line = if let Some((name, file)) = &self.file {
            first_line(file).map_err(|error| {
                CliError::new(ErrorKind::InputOutput, format!("cannot read the secret from {name}: {error}"))
            })?
        } else if let Some(value) = env::var_os(self.variable) {
            let text = value.into_string();
            text.map_err(|_| CliError::usage(format!("${} is not UTF-8", self.variable)))?
        } else {
            return Ok(None);
        };
        Ok(Some(self.line.get_or_init(|| Zeroizing::new(line)).clone()))
    }
}

fn passphrase(text: String) -> Result<Passphrase> {
    Passphrase::new(text).map_err(|error| CliError::usage(error.to_string()))
}

/// The first line without its end. A passphrase file is small: more than
/// 64 KiB is another kind of file.
fn first_line(file: impl Read) -> io::Result<String> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_LINE));
    file.take(MAX_LINE as u64).read_to_end(&mut bytes)?;
    let line = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    if line.len() == MAX_LINE {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "its first line is longer than 64 KiB"));
    }
    text_of(line)
}

fn ask(prompt: &str) -> Result<Passphrase> {
    passphrase(read_from_terminal(prompt)?)
}

/// Asks at the terminal for the PIN of a token.
#[cfg(feature = "pkcs11")]
pub(crate) fn ask_pin(prompt: &str) -> Result<String> {
    const SOURCES: &str = "use --pkcs11-pin-file, --pkcs11-pin-fd or $ENVCTL_PKCS11_PIN";
    read_secret(prompt, "a PIN", SOURCES)
}

fn ask_twice(prompt: &str) -> Result<Passphrase> {
    let text = read_from_terminal(prompt)?;
    let mut again = read_from_terminal("Again, to be sure")?;
    let same = text == again;
    again.zeroize();
    let passphrase = passphrase(text)?;
    if same { Ok(passphrase) } else { Err(CliError::usage("the two passphrases differ: nothing was done")) }
}

fn read_from_terminal(prompt: &str) -> Result<String> {
    read_secret(prompt, "a passphrase", "use --passphrase-file, --passphrase-fd or $ENVCTL_PASSPHRASE")
}

/// Asks at the controlling terminal, whatever standard input and output are.
/// The echo is off from before the first character of the prompt, so that what
/// is typed early is not shown either.
fn read_secret(prompt: &str, what: &str, sources: &str) -> Result<String> {
    harden::before_secrets()?;
    let Ok(mut terminal) = File::options().read(true).write(true).open("/dev/tty") else {
        return Err(CliError::usage(format!("{what} is needed, and there is no terminal to ask for it"))
            .hint(sources));
    };
    prompt_hidden(&mut terminal, prompt).map_err(|error| {
        CliError::new(ErrorKind::InputOutput, format!("cannot read {what} from the terminal: {error}"))
    })
}

fn prompt_hidden(terminal: &mut File, prompt: &str) -> io::Result<String> {
    let _guard = hide_typing(terminal)?;
    write!(terminal, "{prompt}: ")?;
    // A terminal gives one line, of at most 4095 bytes, to one read.
    let mut line = Zeroizing::new([0; 4096]);
    let len = loop {
        match terminal.read(line.as_mut_slice()) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            read => break read?,
        }
    };
    writeln!(terminal)?;
    match line[..len].strip_suffix(b"\n") {
        Some(line) => text_of(line),
        None => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the line has no end")),
    }
}

fn text_of(line: &[u8]) -> io::Result<String> {
    let text = std::str::from_utf8(line);
    text.map(str::to_owned).map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "it is not UTF-8"))
}

const MAX_LINE: usize = 64 * 1024;
