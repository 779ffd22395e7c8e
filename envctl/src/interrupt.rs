//! Ctrl-C and its like: remove what is half-written, restore the terminal.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
    thread,
};

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGTERM},
    iterator::Signals,
};

use crate::error::{CliError, Result};

/// From now on an interrupt removes every file of [`remove_if_interrupted`],
/// gives the terminal its echo back and exits with 130.
pub(crate) fn clean_up_when_interrupted() -> Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP])
        .map_err(|error| CliError::other(format!("cannot handle interrupts: {error}")))?;
    thread::spawn(move || {
        if signals.forever().next().is_some() {
            // Held until the end: nothing is registered or kept any more.
            let state = state();
            for path in &state.temporary {
                let _ = fs::remove_file(path);
            }
            if let Some((terminal, attributes)) = &state.terminal {
                let _ = tcsetattr(terminal, OptionalActions::Now, attributes);
            }
            std::process::exit(INTERRUPTED);
        }
    });
    Ok(())
}

/// Removes `path` if the process is interrupted before the guard is dropped.
pub(crate) fn remove_if_interrupted(path: &Path) -> RemoveGuard {
    state().temporary.push(path.to_owned());
    RemoveGuard(path.to_owned())
}

/// Ends the watch over a file when dropped.
pub(crate) struct RemoveGuard(PathBuf);

impl Drop for RemoveGuard {
    fn drop(&mut self) {
        state().temporary.retain(|path| *path != self.0);
    }
}

/// Runs `prompt` with the terminal's echo off from before its first character,
/// so that what is typed early is not shown either. An interrupt in it turns the
/// echo on again.
pub(crate) fn without_echo<T>(prompt: impl FnOnce() -> T) -> T {
    let terminal = File::open("/dev/tty").ok().and_then(|terminal| {
        let attributes = tcgetattr(&terminal).ok()?;
        Some((terminal, attributes))
    });
    if let Some((terminal, attributes)) = &terminal {
        let mut hidden = attributes.clone();
        hidden.local_modes.remove(LocalModes::ECHO);
        // If it fails, the prompt turns the echo off itself, a moment later.
        let _ = tcsetattr(terminal, OptionalActions::Now, &hidden);
    }
    state().terminal = terminal;
    let answer = prompt();
    if let Some((terminal, attributes)) = state().terminal.take() {
        let _ = tcsetattr(&terminal, OptionalActions::Now, &attributes);
    }
    answer
}

struct State {
    temporary: Vec<PathBuf>,
    terminal: Option<(File, Termios)>,
}

static STATE: Mutex<State> = Mutex::new(State { temporary: Vec::new(), terminal: None });

fn state() -> MutexGuard<'static, State> {
    STATE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// 128 and the number of SIGINT, as shells count.
const INTERRUPTED: i32 = 130;
