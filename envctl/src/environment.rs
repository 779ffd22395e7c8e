//! Secrets of the environment, taken out of it before anything else happens.
//!
//! Every child process inherits the environment, and other processes of the same
//! user can read it for as long as this one runs. A running process cannot change
//! what the kernel shows of it, nor safely its own copy. So envctl starts itself anew
//! without these variables and hands their values over in memory.

use std::{
    collections::HashMap,
    env,
    ffi::{OsStr, OsString},
    fs::File,
    io::{self, Read, Write},
    os::{
        fd::AsRawFd,
        unix::{
            ffi::{OsStrExt, OsStringExt},
            fs::FileTypeExt,
            process::CommandExt,
        },
    },
    process::{self, Command},
    sync::{Mutex, PoisonError},
};

use envelope_sdk::printable;
use rustix::{
    io::{FdFlags, fcntl_setfd, ioctl_fionbio},
    pipe::{PipeFlags, fcntl_setpipe_size, pipe_with},
};
use zeroize::Zeroizing;

use crate::{
    descriptor,
    error::{CliError, Result},
    harden,
    key_stores::setting_variables,
};

/// The secrets that were in the environment, by the names of their variables.
pub(crate) type Secrets = HashMap<OsString, Zeroizing<Vec<u8>>>;

/// Starts envctl anew if the environment holds secrets; otherwise receives what such a
/// start handed over. Called first, while there is one thread and nothing is open.
pub(crate) fn take_secrets_out() -> Result<()> {
    // An empty one is as good as none.
    let no_secrets: Vec<_> = setting_variables().collect();
    let is_secret = |(name, value): &(OsString, OsString)| {
        let is_no_secret = NO_SECRETS.iter().any(|known| name == known)
            || no_secrets.iter().any(|known| name == known.as_str());
        !value.is_empty() && name.as_bytes().starts_with(b"ENVCTL_") && !is_no_secret
    };
    let secrets: Vec<_> = env::vars_os().filter(is_secret).collect();
    if secrets.is_empty() {
        return receive();
    }
    let error = start_anew(&secrets).err().unwrap_or_else(|| io::ErrorKind::Other.into());
    let names: Vec<_> = secrets.iter().map(|(name, _)| printable::text(&name.to_string_lossy())).collect();
    let names = names.join(", ");
    Err(CliError::other(format!("cannot take {names} out of the environment, which may be secret: {error}"))
        .hint("give secrets by a file or descriptor, such as --passphrase-file, and unset what is none, or see that /proc is mounted"))
}

/// What was handed over, once.
pub(crate) fn secrets() -> io::Result<Secrets> {
    let Some(mut pipe) = HANDED_OVER.lock().unwrap_or_else(PoisonError::into_inner).take() else {
        return Ok(Secrets::new());
    };
    // Never grown: a buffer that moves leaves a copy behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_LEN));
    pipe.read_to_end(&mut bytes)?;
    let mut words = bytes.split(|byte| *byte == 0);
    let mut secrets = Secrets::new();
    while let (Some(name), Some(value)) = (words.next(), words.next()) {
        secrets.insert(OsString::from_vec(name.to_owned()), Zeroizing::new(value.to_owned()));
    }
    Ok(secrets)
}

/// Returns only if it failed.
fn start_anew(secrets: &[(OsString, OsString)]) -> io::Result<()> {
    // A pipe: no limit of file sizes is on it, and what was read is gone.
    let (for_next, into) = pipe_with(PipeFlags::CLOEXEC)?;
    let _ = fcntl_setpipe_size(&into, MAX_LEN);
    ioctl_fionbio(&into, true)?;
    let mut into = File::from(into);
    for (name, value) in secrets {
        for word in [name, value] {
            into.write_all(word.as_bytes()).and_then(|()| into.write_all(&[0])).map_err(
                |error| match error.kind() {
                    io::ErrorKind::WouldBlock => io::Error::other("they are too long"),
                    _ => error,
                },
            )?;
        }
    }
    // Inherited, as the next program is meant to have it.
    fcntl_setfd(&for_next, FdFlags::empty())?;
    let mut arguments = env::args_os();
    // The very program that runs, whatever has its name by now.
    let mut command = Command::new("/proc/self/exe");
    command.arg0(arguments.next().unwrap_or_else(|| "envctl".into())).args(arguments);
    for (name, _) in secrets {
        command.env_remove(name);
    }
    command.env(HANDED_OVER_IN, format!("{}:{}", process::id(), for_next.as_raw_fd()));
    Err(command.exec())
}

fn receive() -> Result<()> {
    let Some(pipe) = env::var_os(HANDED_OVER_IN).and_then(|place| pipe_at(&place)) else {
        return Ok(());
    };
    // Whether or not they are ever asked for: through /proc others could read the pipe.
    harden::before_secrets()?;
    *HANDED_OVER.lock().unwrap_or_else(PoisonError::into_inner) = Some(pipe);
    // Named after the link that it was started by, no list of processes would show it.
    let _ = rustix::thread::set_name(c"envctl");
    Ok(())
}

/// `None` if it was not meant for this process but for one that started it.
fn pipe_at(place: &OsStr) -> Option<File> {
    let (process, number) = place.to_str()?.split_once(':')?;
    let number = number.parse().ok().filter(|_| process.parse() == Ok(process::id()))?;
    let pipe = descriptor::duplicate_to_read(number).ok()?;
    let is_pipe = pipe.metadata().is_ok_and(|metadata| metadata.file_type().is_fifo());
    if is_pipe {
        descriptor::is_own(number);
    }
    is_pipe.then_some(pipe)
}

static HANDED_OVER: Mutex<Option<File>> = Mutex::new(None);

/// Variables of envctl that hold no secret, beside the settings of key stores. Any other may be one,
/// also of a key store that this build lacks: one environment may serve several builds.
const NO_SECRETS: [&str; 6] =
    ["ENVCTL_AUDIT", "ENVCTL_CONFIG", "ENVCTL_PROFILE", "ENVCTL_KEYSTORE", "ENVCTL_KEYS", HANDED_OVER_IN];

/// Most bytes of names and values: as much as a pipe of any user may hold (pipe(7)).
const MAX_LEN: usize = 1 << 20;

/// Process and descriptor.
const HANDED_OVER_IN: &str = "ENVCTL_HANDED_OVER";
