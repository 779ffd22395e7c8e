//! Where output goes: a file that appears whole or not at all, or a stream that
//! is written as it is.

use std::{
    ffi::OsString,
    fs::{self, File, Metadata},
    io::{self, BufWriter, IsTerminal, Write},
    os::unix::fs::{FileTypeExt, MetadataExt},
    path::{Path, PathBuf},
};

use envelope_files::{Access, Existing, FileError, NewFile, Written};
use envelope_sdk::printable;
use rustix::process::geteuid;

use crate::{
    descriptor,
    error::{CliError, ErrorKind, Result},
    input::{Input, widen_pipe},
};

/// Where the output of a call goes.
pub(crate) enum Target {
    /// Standard output. `even_to_terminal` when it was asked for by name.
    Stdout { even_to_terminal: bool },
    /// A descriptor that was given, by the name it was called.
    Descriptor(i32, PathBuf),
    /// A pipe or device.
    Special(PathBuf),
    /// A file of this name, there or not.
    File(PathBuf),
}

impl Target {
    /// The target that `-o` names, or the default.
    pub(crate) fn of(output: Option<&OsString>, default: impl FnOnce() -> Result<Self>) -> Result<Self> {
        match output {
            None => default(),
            Some(name) if name == "-" => Ok(Self::Stdout { even_to_terminal: true }),
            Some(name) => Self::named(name.into()),
        }
    }

    /// What `path` means as an output. This is decided here for every command: a
    /// symbolic link is not written through and not replaced; what is no file is
    /// written as it is.
    pub(crate) fn named(path: PathBuf) -> Result<Self> {
        match descriptor::number(&path) {
            Some(1) => return Ok(Self::Stdout { even_to_terminal: true }),
            Some(number) => return Ok(Self::Descriptor(number, path)),
            None => {}
        }
        let is_link = fs::symlink_metadata(&path).is_ok_and(|metadata| metadata.is_symlink());
        match fs::metadata(&path) {
            Ok(metadata) if metadata.is_dir() => {
                Err(CliError::io("write", &path, &io::ErrorKind::IsADirectory.into()))
            }
            Ok(metadata) if !metadata.is_file() => Ok(Self::Special(path)),
            _ if is_link => Err(FileError::Link { path }.into()),
            _ => Ok(Self::File(path)),
        }
    }

    pub(crate) fn is_terminal(&self) -> bool {
        matches!(self, Self::Stdout { .. }) && io::stdout().is_terminal()
    }

    /// What it is called, unless it is standard output.
    pub(crate) fn path(&self) -> Option<&Path> {
        match self {
            Self::Stdout { .. } => None,
            Self::Descriptor(_, path) | Self::Special(path) | Self::File(path) => Some(path),
        }
    }

    /// The name of the file, if it is one.
    pub(crate) fn file(&self) -> Option<&Path> {
        match self {
            Self::File(path) => Some(path),
            _ => None,
        }
    }

    /// Of the file that has its name now, if there is one.
    pub(crate) fn metadata(&self) -> Option<Metadata> {
        self.file().and_then(|path| fs::metadata(path).ok())
    }
}

/// An output that is being written. Dropped without [`commit`](Self::commit),
/// a file disappears as if it had never been.
pub(crate) enum Output {
    Stream(BufWriter<File>),
    File(NewFile),
}

/// How an output is opened.
#[derive(Clone, Copy)]
pub(crate) struct Options<'a> {
    pub(crate) existing: Existing,
    pub(crate) access: Access<'a>,
    /// Fit for a terminal.
    pub(crate) is_text: bool,
    /// What to do about a file that is there already.
    pub(crate) if_exists: &'static str,
}

impl Output {
    /// Opens `target`. Says now, before any work is done, when the file is
    /// there already, its folder cannot be written, or it is `input`.
    pub(crate) fn open(target: &Target, options: Options<'_>, input: &InputFile) -> Result<Self> {
        let stream = match target {
            Target::File(path) => {
                return match NewFile::create(path, options.existing, options.access) {
                    Ok(new) => Ok(Self::File(new)),
                    Err(error @ FileError::Exists { .. }) => {
                        Err(CliError::from(error).hint(options.if_exists))
                    }
                    Err(error) => Err(error.into()),
                };
            }
            Target::Stdout { even_to_terminal } => {
                if io::stdout().is_terminal() && !options.is_text && !even_to_terminal {
                    return Err(CliError::usage("this would write binary data to your terminal").hint(
                        "name a file with -o FILE, use `-o -` to do it anyway, or --armor to encrypt to text",
                    ));
                }
                if descriptor::was_closed(io::stdout()) {
                    let closed = io::Error::other("it is closed");
                    return Err(CliError::io("write to", Path::new("standard output"), &closed)
                        .hint("name a file with -o FILE; -o /dev/null throws the output away"));
                }
                descriptor::duplicate(1)
                    .map_err(|error| CliError::io("write to", Path::new("standard output"), &error))?
            }
            Target::Descriptor(number, path) => {
                descriptor::duplicate(*number).map_err(|error| CliError::io("write to", path, &error))?
            }
            Target::Special(path) => open_special(path)?,
        };
        input.refuse(stream.metadata().ok().as_ref())?;
        // Not through `Stdout`, which looks for the ends of lines.
        widen_pipe(&stream);
        Ok(Self::Stream(BufWriter::with_capacity(BUFFER, stream)))
    }

    /// Of what is written where it is: a pipe, a device, or a file behind a descriptor.
    pub(crate) fn stream_metadata(&self) -> Option<Metadata> {
        match self {
            Self::Stream(writer) => writer.get_ref().metadata().ok(),
            Self::File(_) => None,
        }
    }

    /// The file, if it is a new one.
    pub(crate) fn file(&self) -> Option<&File> {
        match self {
            Self::File(new) => Some(new.file()),
            Self::Stream(_) => None,
        }
    }

    /// Runs `work`, and takes memory for `len` bytes of a new file meanwhile: [`NewFile::reserve_while`].
    pub(crate) fn reserve_while<T>(&self, len: Option<u64>, work: impl FnOnce() -> T) -> T {
        match (self, len) {
            (Self::File(new), Some(len)) => new.reserve_while(len, work),
            _ => work(),
        }
    }

    /// Makes the output final: a file is flushed to disk and gets its name.
    pub(crate) fn commit(self) -> Result<Option<Written>> {
        match self {
            Self::Stream(mut writer) => writer.flush().map(|()| None).map_err(|error| {
                CliError::new(ErrorKind::InputOutput, format!("cannot write the output: {error}"))
            }),
            Self::File(file) => Ok(Some(file.commit()?)),
        }
    }
}

/// Makes two outputs final, both or neither: files that nobody can see until then.
pub(crate) fn commit_both(first: Output, second: Output) -> Result<()> {
    match (first, second) {
        (Output::File(first), Output::File(second)) => Ok(envelope_files::commit_both(first, second)?),
        (first, second) => first.commit().and_then(|_| second.commit()).map(drop),
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Stream(writer) => writer.write(bytes),
            Self::File(file) => file.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Stream(writer) => writer.flush(),
            Self::File(file) => file.flush(),
        }
    }
}

/// Which file the input is, to be refused as output.
pub(crate) struct InputFile {
    name: String,
    metadata: Option<Metadata>,
}

impl InputFile {
    pub(crate) fn of(input: &Input) -> Self {
        Self { name: input.name().to_string(), metadata: input.metadata() }
    }

    /// Refuses an output that is the input: the same file, or the same disk.
    pub(crate) fn refuse(&self, output: Option<&Metadata>) -> Result<()> {
        match (&self.metadata, output) {
            (Some(input), Some(output)) if is_same_storage(input, output) => {
                Err(CliError::usage(format!("{} is input and output at once", self.name))
                    .hint("write to another file with -o FILE"))
            }
            _ => Ok(()),
        }
    }
}

/// A disk may have several names, each a file of its own.
fn is_same_storage(a: &Metadata, b: &Metadata) -> bool {
    let are_disks = a.file_type().is_block_device() && b.file_type().is_block_device();
    b.is_file() && (a.dev(), a.ino()) == (b.dev(), b.ino()) || are_disks && a.rdev() == b.rdev()
}

/// Opens a pipe or device. Nothing is created, and a file that took the name
/// meanwhile is not written.
fn open_special(path: &Path) -> Result<File> {
    let cannot = |error: io::Error| CliError::io("write", path, &error);
    // Before it is opened, which waits for a reader, and after, since the name may mean another one then.
    refuse_foreign_pipe(path, &fs::metadata(path).map_err(cannot)?)?;
    let file = File::options().write(true).open(path).map_err(cannot)?;
    let metadata = file.metadata().map_err(cannot)?;
    if metadata.is_file() {
        return Err(FileError::Changed { path: path.to_owned() }.into());
    }
    refuse_foreign_pipe(path, &metadata)?;
    Ok(file)
}

/// Refuses a named pipe that another user made: where a file was meant, as in `/tmp`, that user
/// would read what is for the owner alone.
fn refuse_foreign_pipe(path: &Path, metadata: &Metadata) -> Result<()> {
    let owner = metadata.uid();
    if !metadata.file_type().is_fifo() || owner == 0 || owner == geteuid().as_raw() {
        return Ok(());
    }
    let text = format!("{} is a pipe of user {owner}, who would read the output", printable::path(path));
    Err(CliError::new(ErrorKind::InputOutput, text)
        .hint("write to another file, or to standard output, `-o - >PIPE`, if that user is to have it"))
}

/// What to do about an output that is there already.
pub(crate) const FORCE_OR_ELSEWHERE: &str = "--force replaces it, -o FILE writes elsewhere";
/// The same where nothing is ever replaced.
pub(crate) const ELSEWHERE: &str = "-o FILE writes elsewhere";

const BUFFER: usize = 64 * 1024;
