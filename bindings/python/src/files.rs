//! Files and file objects, in constant memory.

use std::{
    fs::{self, File},
    io::{self, BufReader, BufWriter, Cursor, Read, Write},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use envelope_files::{Access, Existing, FileError, NewFile, open_header};
use envelope_rotation::payload_path;
use envelope_sdk::{
    EncryptionContext, FormatError, Header, Kind, OpenedHeader, PayloadKind,
    format::armor::{self, ArmorReader, ArmorWriter},
    printable,
    stream::{self, FileIdentity, Parallel},
};
use pyo3::prelude::*;
use tokio::task::spawn_blocking;

use crate::{
    aside::Aside,
    envelope::Keys,
    failure::{Failure, Result},
    objects::{Reader, Writer},
    stop::{Stop, StopOnDrop, interruptible},
    task::Task,
};

/// Where bytes come from or go to.
pub(crate) enum Place {
    Path(PathBuf),
    Object(Py<PyAny>),
}

impl FromPyObject<'_, '_> for Place {
    type Error = PyErr;

    fn extract(object: Borrowed<'_, '_, PyAny>) -> PyResult<Self> {
        match object.extract() {
            Ok(path) => Ok(Self::Path(path)),
            Err(_) => Ok(Self::Object(object.to_owned().unbind())),
        }
    }
}

/// A file to be encrypted or decrypted.
pub(crate) struct Job {
    pub(crate) keys: Arc<Aside<Keys>>,
    pub(crate) context: EncryptionContext,
    /// Of what is encrypted: as text. What is decrypted says so itself.
    pub(crate) armored: bool,
    pub(crate) overwrite: bool,
    pub(crate) decrypts: bool,
}

type Verb = fn(&Job, Input, Output, &Stop) -> Result<u64>;

impl Job {
    /// Does it while the caller waits.
    pub(crate) fn here(&self, py: Python<'_>, source: Place, target: Place, verb: Verb) -> PyResult<u64> {
        match (source, target) {
            (Place::Path(source), Place::Path(target)) => {
                interruptible(py, |stop| self.by_path(&source, &target, verb, stop))
            }
            // Objects of Python are used where they were made.
            (source, target) => Ok(py.detach(|| {
                let (input, identity) = Input::open(source)?;
                let output = Output::open(target, identity, self)?;
                verb(self, input, output, &Stop::new())
            })?),
        }
    }

    /// Does it elsewhere, until nobody awaits it any more.
    pub(crate) fn begin(
        self,
        source: PathBuf,
        target: PathBuf,
        verb: Verb,
        done: Py<PyAny>,
    ) -> PyResult<Task> {
        let work = async move {
            let stop = Stop::new();
            let _stop = StopOnDrop(stop.clone());
            match spawn_blocking(move || elsewhere(|| self.by_path(&source, &target, verb, &stop))).await {
                Ok(done) => done,
                Err(error) => Err(Failure::other(error)),
            }
        };
        Task::begin(work, done)
    }

    /// Of plaintext the owner's alone; ciphertext as the umask says.
    fn access(&self) -> Access<'static> {
        if self.decrypts { Access::Private } else { Access::Public }
    }

    fn by_path(&self, source: &Path, target: &Path, verb: Verb, stop: &Stop) -> Result<u64> {
        let (input, identity) = Input::open(Place::Path(source.to_owned()))?;
        let output = Output::open(Place::Path(target.to_owned()), identity, self)?;
        verb(self, input, output, stop).map_err(|error| error.about(printable::path(source)))
    }

    pub(crate) fn encrypt(&self, input: Input, mut output: Output, stop: &Stop) -> Result<u64> {
        let leaves_room = !self.armored && matches!(output, Output::New(_));
        let sealer = if leaves_room { &self.keys.file_sealer } else { &self.keys.sealer };
        let started = stop.wait(sealer.start(PayloadKind::Attached, &self.context))?;
        let (header, payload) = (started.header, started.payload);
        let cannot = |error| Failure::from(stream::StreamError::Write(error));
        let total = match (&input, &output) {
            (Input::File(input, _), Output::New(output)) if !self.armored => {
                let at = header.len() as u64;
                (&mut output.file()).write_all(&header).map_err(cannot)?;
                Parallel::new().seal_file(payload, &stop.over(input), &stop.over(output.file()), at)?
            }
            _ => {
                let mut input = input.into_reader(stop);
                let mut writer = BufWriter::with_capacity(BUFFER, output.writer(stop));
                if self.armored {
                    let mut armor = ArmorWriter::new(&mut writer).map_err(cannot)?;
                    armor.write_all(&header).map_err(cannot)?;
                    let total = stream::seal(payload, &mut input, &mut armor)?;
                    armor.finish().and_then(Write::flush).map_err(cannot)?;
                    total
                } else {
                    writer.write_all(&header).map_err(cannot)?;
                    let total = stream::seal(payload, &mut input, &mut writer)?;
                    writer.flush().map_err(cannot)?;
                    total
                }
            }
        };
        output.finish(stop)?;
        Ok(total)
    }

    pub(crate) fn decrypt(&self, input: Input, mut output: Output, stop: &Stop) -> Result<u64> {
        let unlock = |header: Header| stop.wait(self.keys.opener.unlock(header, &self.context));
        let total = match input {
            Input::File(file, path) if !is_armored(&file, &path)? => {
                // Also where a rewrap of it was cut off.
                let opened = open_header(&file, &path, unlock)?;
                let (file, at) = payload_of(file, &path, &opened)?;
                match &output {
                    Output::New(output) => Parallel::new().open_file(
                        &opened,
                        &stop.over(&file),
                        at,
                        &stop.over(output.file()),
                    )?,
                    Output::Object(_) => {
                        let mut payload = Cut { file: &file, at, stop };
                        stream::open(&opened, &mut payload, &mut output.writer(stop))?
                    }
                }
            }
            input => {
                let mut reader = unarmored(input.into_reader(stop)).map_err(stream::StreamError::Read)?;
                let header = stream::read_header(&mut reader)?;
                if header.kind() != Kind::Attached {
                    return Err(Failure::usage(
                        "this is a detached header or a data key, and its payload is elsewhere",
                    ));
                }
                let opened = unlock(header)?;
                stream::open(&opened, &mut reader, &mut output.writer(stop))?
            }
        };
        output.finish(stop)?;
        Ok(total)
    }
}

/// Runs `work` on a thread that knows no runtime, as that of [`stream`] must be: it waits for key stores by itself.
fn elsewhere<T: Send>(work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    std::thread::scope(|scope| match scope.spawn(work).join() {
        Ok(done) => done,
        Err(_) => Err(Failure::other("the work on the file broke down")),
    })
}

/// What is read.
pub(crate) enum Input {
    /// A regular file, at its front.
    File(File, PathBuf),
    /// Anything else with a path, such as a pipe.
    Stream(File),
    Object(Reader),
}

impl Input {
    fn open(place: Place) -> Result<(Self, Option<FileIdentity>)> {
        let path = match place {
            Place::Object(object) => return Ok((Self::Object(Reader(object)), None)),
            Place::Path(path) => path,
        };
        let cannot = |error| Failure::io("read", &path, &error);
        let file = File::open(&path).map_err(cannot)?;
        let metadata = file.metadata().map_err(cannot)?;
        if metadata.is_dir() {
            return Err(cannot(io::ErrorKind::IsADirectory.into()));
        }
        let identity = FileIdentity::of(&file).map_err(cannot)?;
        // Files of /proc say 0 bytes and have more.
        let is_regular = metadata.is_file() && metadata.len() > 0;
        let input = if is_regular { Self::File(file, path) } else { Self::Stream(file) };
        Ok((input, Some(identity)))
    }

    fn into_reader(self, stop: &Stop) -> Box<dyn Read + Send> {
        match self {
            Self::File(file, _) | Self::Stream(file) => Box::new(stop.reader(file)),
            Self::Object(object) => Box::new(object),
        }
    }
}

/// What is written. A file has no name until it is whole.
pub(crate) enum Output {
    New(Box<NewFile>),
    Object(Writer),
}

impl Output {
    fn open(place: Place, input: Option<FileIdentity>, job: &Job) -> Result<Self> {
        let path = match place {
            Place::Object(object) => return Ok(Self::Object(Writer(object))),
            Place::Path(path) => path,
        };
        // Anything else is refused below. To open it might wait for ever, as a pipe does for its writer.
        let is_file = fs::symlink_metadata(&path).is_ok_and(|metadata| metadata.is_file());
        let there = if is_file { File::open(&path).ok() } else { None };
        let there = there.and_then(|file| FileIdentity::of(&file).ok());
        if there.is_some() && there == input {
            return Err(Failure::usage(format!(
                "{} is read and cannot be written too",
                printable::path(&path)
            )));
        }
        let existing = if job.overwrite { Existing::Replace } else { Existing::Keep };
        NewFile::create(&path, existing, job.access()).map(|new| Self::New(Box::new(new))).map_err(|error| {
            match error {
                FileError::Exists { .. } => {
                    Failure::from(error).hint("name another file, or say overwrite=True")
                }
                error => error.into(),
            }
        })
    }

    fn writer(&mut self, stop: &Stop) -> Box<dyn Write + '_> {
        match self {
            Self::New(new) => Box::new(stop.over(new.file())),
            Self::Object(object) => Box::new(object),
        }
    }

    fn finish(self, stop: &Stop) -> Result<()> {
        match self {
            Self::New(new) => {
                // Whoever ended the work expects no file.
                stop.check().map_err(stream::StreamError::Write)?;
                Ok(new.commit().map(drop)?)
            }
            Self::Object(_) => Ok(()),
        }
    }
}

fn is_armored(file: &File, path: &Path) -> Result<bool> {
    let mut start = [0; armor::BEGIN.len()];
    let read = file.read_at(&mut start, 0).map_err(|error| Failure::io("read", path, &error))?;
    Ok(armor::is_armored(&start[..read]))
}

/// Takes the armor off, if there is one. A pipe may give one byte at a time, so the first line is collected.
fn unarmored(mut reader: Box<dyn Read + Send>) -> io::Result<Box<dyn Read + Send>> {
    let mut start = Vec::with_capacity(armor::BEGIN.len());
    (&mut reader).take(armor::BEGIN.len() as u64).read_to_end(&mut start)?;
    let armored = armor::is_armored(&start);
    let whole = Cursor::new(start).chain(reader);
    Ok(if armored {
        Box::new(ArmorReader::new(BufReader::with_capacity(BUFFER, whole)))
    } else {
        Box::new(whole)
    })
}

/// The file with the payload of `opened`, and where it begins there.
pub(crate) fn payload_of(file: File, path: &Path, opened: &OpenedHeader) -> Result<(File, u64)> {
    match opened.header().kind() {
        Kind::Attached => Ok((file, opened.header().len() as u64)),
        Kind::Detached => {
            let path = payload_path(path);
            let payload = File::open(&path).map_err(|error| Failure::io("read", &path, &error))?;
            Ok((payload, 0))
        }
        _ => Err(Failure::from(FormatError::NotAnEnvelope).about("this is a data key")),
    }
}

/// A file from an offset on.
struct Cut<'f> {
    file: &'f File,
    at: u64,
    stop: &'f Stop,
}

impl Read for Cut<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        self.stop.check()?;
        let read = FileExt::read_at(self.file, out, self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}

const BUFFER: usize = 64 << 10;
