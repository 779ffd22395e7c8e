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
    io::{self, Read, Seek, Write},
    os::{
        fd::AsRawFd,
        unix::{
            ffi::{OsStrExt, OsStringExt},
            fs::MetadataExt,
            process::CommandExt,
        },
    },
    process::{self, Command},
    sync::{Mutex, PoisonError},
};

use rustix::fs::{MemfdFlags, memfd_create};
use zeroize::Zeroizing;

use crate::{
    descriptor,
    error::{CliError, Result},
};

/// The secrets that were in the environment, by the names of their variables.
pub(crate) type Secrets = HashMap<OsString, Zeroizing<Vec<u8>>>;

/// Starts envctl anew if the environment holds secrets; otherwise receives what such a
/// start handed over. Called first, while there is one thread and nothing is open.
pub(crate) fn take_secrets_out() -> Result<()> {
    let secrets: Vec<_> =
        env::vars_os().filter(|(name, _)| VARIABLES.iter().any(|secret| name == secret)).collect();
    if secrets.is_empty() {
        receive();
        return Ok(());
    }
    let error = start_anew(&secrets).err().unwrap_or_else(|| io::ErrorKind::Other.into());
    Err(CliError::other(format!("cannot take the secrets out of the environment: {error}"))
        .hint("give them by a file or descriptor, such as --passphrase-file, or see that /proc is mounted"))
}

/// What was handed over, once.
pub(crate) fn secrets() -> io::Result<Secrets> {
    let Some(mut memory) = HANDED_OVER.lock().unwrap_or_else(PoisonError::into_inner).take() else {
        return Ok(Secrets::new());
    };
    let len = usize::try_from(memory.metadata()?.len()).unwrap_or(usize::MAX);
    let mut bytes = Zeroizing::new(Vec::with_capacity(len.saturating_add(1)));
    memory.rewind()?;
    memory.read_to_end(&mut bytes)?;
    memory.set_len(0)?;
    let mut words = bytes.split(|byte| *byte == 0);
    let mut secrets = Secrets::new();
    while let (Some(name), Some(value)) = (words.next(), words.next()) {
        secrets.insert(OsString::from_vec(name.to_owned()), Zeroizing::new(value.to_owned()));
    }
    Ok(secrets)
}

/// Returns only if it failed.
fn start_anew(secrets: &[(OsString, OsString)]) -> io::Result<()> {
    // Inherited, as the next program is meant to have it.
    let mut memory = File::from(memfd_create("envctl", MemfdFlags::empty())?);
    for (name, value) in secrets {
        for word in [name, value] {
            memory.write_all(word.as_bytes())?;
            memory.write_all(&[0])?;
        }
    }
    let mut arguments = env::args_os();
    // The very program that runs, whatever has its name by now.
    let mut command = Command::new("/proc/self/exe");
    command.arg0(arguments.next().unwrap_or_else(|| "envctl".into())).args(arguments);
    for (name, _) in secrets {
        command.env_remove(name);
    }
    command.env(HANDED_OVER_IN, format!("{}:{}", process::id(), memory.as_raw_fd()));
    Err(command.exec())
}

fn receive() {
    let Some(memory) = env::var_os(HANDED_OVER_IN).and_then(|place| memory_at(&place)) else { return };
    *HANDED_OVER.lock().unwrap_or_else(PoisonError::into_inner) = Some(memory);
    // Named after the link that it was started by, no list of processes would show it.
    let _ = rustix::thread::set_name(c"envctl");
}

/// `None` if it was not meant for this process but for one that started it.
fn memory_at(place: &OsStr) -> Option<File> {
    let (process, number) = place.to_str()?.split_once(':')?;
    let number = number.parse().ok().filter(|_| process.parse() == Ok(process::id()))?;
    // Memory has no name in any folder.
    descriptor::duplicate_to_read(number)
        .ok()
        .filter(|file| file.metadata().is_ok_and(|metadata| metadata.nlink() == 0))
}

static HANDED_OVER: Mutex<Option<File>> = Mutex::new(None);

/// Every variable that may hold a secret of envctl.
const VARIABLES: [&str; 4] =
    ["ENVCTL_PASSPHRASE", "ENVCTL_KEYSTORE_PASSPHRASE", "ENVCTL_NEW_PASSPHRASE", "ENVCTL_PKCS11_PIN"];

/// Process and descriptor.
const HANDED_OVER_IN: &str = "ENVCTL_HANDED_OVER";
