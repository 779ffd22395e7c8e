//! Where output goes: a file that appears whole or not at all, a pipe, or the
//! terminal.

use std::{
    ffi::OsString,
    fs::{self, File, Permissions},
    io::{self, BufWriter, IsTerminal, Write},
    os::{fd::AsFd, unix::fs::PermissionsExt},
    path::{Path, PathBuf},
};

use envelope_sdk::printable;
use tempfile::{NamedTempFile, TempPath};

use crate::{
    descriptor::stdout_is_closed,
    error::{CliError, ErrorKind, Result},
    input::widen_pipe,
    interrupt::{RemoveGuard, remove_if_interrupted},
};

/// Where the output of a call goes.
pub(crate) enum Target {
    /// Standard output. `even_to_terminal` when it was asked for with `-`.
    Stdout { even_to_terminal: bool },
    /// A file of this name.
    File(PathBuf),
}

impl Target {
    /// The target that `-o` names, or the default.
    pub(crate) fn of(output: Option<&OsString>, default: impl FnOnce() -> Result<Self>) -> Result<Self> {
        match output {
            None => default(),
            Some(name) if name == "-" => Ok(Self::Stdout { even_to_terminal: true }),
            Some(name) => Ok(Self::File(name.into())),
        }
    }

    pub(crate) fn is_terminal(&self) -> bool {
        matches!(self, Self::Stdout { .. }) && io::stdout().is_terminal()
    }

    pub(crate) fn path(&self) -> Option<&Path> {
        match self {
            Self::Stdout { .. } => None,
            Self::File(path) => Some(path),
        }
    }
}

/// Who may read a new file.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Secrecy {
    /// Plaintext and keys: the owner alone (0600).
    Private,
    /// Ciphertext: as the umask says.
    Public,
    /// As this file that it replaces.
    Mode(u32),
}

/// An output that is being written. Dropped without [`commit`](Self::commit),
/// a file disappears as if it had never been.
pub(crate) enum Output {
    Stream(BufWriter<Box<dyn Write>>),
    File(Box<NewFile>),
}

/// A file under a temporary name in the folder of its real one.
pub(crate) struct NewFile {
    file: File,
    temporary: TempPath,
    path: PathBuf,
    replace: bool,
    _guard: RemoveGuard,
}

impl Output {
    /// Opens `target`. Says now, before any work is done, when the file is
    /// there already or its folder cannot be written.
    pub(crate) fn open(target: &Target, force: bool, secrecy: Secrecy, is_text: bool) -> Result<Self> {
        let path = match target {
            Target::File(path) => path,
            Target::Stdout { even_to_terminal } => {
                if io::stdout().is_terminal() && !is_text && !even_to_terminal {
                    return Err(CliError::usage("this would write binary data to your terminal").hint(
                        "name a file with -o FILE, use `-o -` to do it anyway, or --armor to encrypt to text",
                    ));
                }
                if stdout_is_closed() {
                    let closed = io::Error::other("it is closed");
                    return Err(CliError::io("write to", Path::new("standard output"), &closed)
                        .hint("name a file with -o FILE; -o /dev/null throws the output away"));
                }
                // Not through `Stdout`, which looks for the ends of lines.
                widen_pipe(io::stdout());
                let stdout = io::stdout()
                    .as_fd()
                    .try_clone_to_owned()
                    .map_err(|error| CliError::io("write to", Path::new("standard output"), &error))?;
                return Ok(Self::stream(Box::new(File::from(stdout))));
            }
        };
        match fs::metadata(path) {
            Ok(metadata) if metadata.is_dir() => {
                Err(CliError::io("write", path, &io::ErrorKind::IsADirectory.into()))
            }
            // A device or a named pipe is written as it is.
            Ok(metadata) if !metadata.is_file() => {
                let file = File::options()
                    .write(true)
                    .open(path)
                    .map_err(|error| CliError::io("write", path, &error))?;
                Ok(Self::stream(Box::new(file)))
            }
            Ok(_) if !force => Err(exists(path)),
            _ => NewFile::create(path, force, secrecy).map(|file| Self::File(Box::new(file))),
        }
    }

    /// The file, if it is a new one.
    pub(crate) fn file(&self) -> Option<&File> {
        match self {
            Self::File(new) => Some(&new.file),
            Self::Stream(_) => None,
        }
    }

    fn stream(writer: Box<dyn Write>) -> Self {
        Self::Stream(BufWriter::with_capacity(BUFFER, writer))
    }

    /// Makes the output final: a file is flushed to disk and gets its name.
    pub(crate) fn commit(self) -> Result<()> {
        match self {
            Self::Stream(mut writer) => writer.flush().map_err(|error| {
                CliError::new(ErrorKind::InputOutput, format!("cannot write the output: {error}"))
            }),
            Self::File(file) => file.commit(),
        }
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Stream(writer) => writer.write(bytes),
            Self::File(file) => file.file.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Stream(writer) => writer.flush(),
            Self::File(_) => Ok(()),
        }
    }
}

impl NewFile {
    /// A new file in the folder of `path`, which replaces what is there only if
    /// `replace`.
    pub(crate) fn create(path: &Path, replace: bool, secrecy: Secrecy) -> Result<Self> {
        let folder = folder_of(path);
        let mode = match secrecy {
            Secrecy::Private => 0o600,
            Secrecy::Public => 0o666,
            Secrecy::Mode(mode) => mode & 0o777,
        };
        let new: NamedTempFile = tempfile::Builder::new()
            .prefix(".envctl-")
            .permissions(Permissions::from_mode(mode))
            .tempfile_in(folder)
            .map_err(|error| CliError::io("write into", folder, &error))?;
        let (file, temporary) = new.into_parts();
        let guard = remove_if_interrupted(&temporary);
        if let Secrecy::Mode(mode) = secrecy {
            // What the umask took away, the file that is replaced had.
            file.set_permissions(Permissions::from_mode(mode & 0o777))
                .map_err(|error| CliError::io("set the mode of", &temporary, &error))?;
        }
        Ok(Self { file, temporary, path: path.to_owned(), replace, _guard: guard })
    }

    pub(crate) fn file(&mut self) -> &mut File {
        &mut self.file
    }

    /// Flushes the file to disk and gives it its name, then flushes the folder.
    pub(crate) fn commit(self) -> Result<()> {
        let Self { file, temporary, path, replace, _guard } = self;
        file.sync_all().map_err(|error| CliError::io("write", &path, &error))?;
        let named = if replace { temporary.persist(&path) } else { temporary.persist_noclobber(&path) };
        named.map_err(|error| match error.error.kind() {
            io::ErrorKind::AlreadyExists => exists(&path),
            _ => CliError::io("write", &path, &error.error),
        })?;
        let folder = folder_of(&path);
        File::open(folder)
            .and_then(|folder| folder.sync_all())
            .map_err(|error| CliError::io("flush", folder, &error))
    }
}

fn exists(path: &Path) -> CliError {
    CliError::new(ErrorKind::InputOutput, format!("{} is there already", printable::path(path)))
        .hint("--force replaces it, -o FILE writes elsewhere")
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

const BUFFER: usize = 64 * 1024;
