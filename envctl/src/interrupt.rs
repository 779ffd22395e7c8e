//! Ctrl-C and its like: remove what is half-written, restore the terminal.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
    thread,
};

use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};
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

/// Runs `prompt`, which turns the terminal's echo off; an interrupt in it turns
/// the echo on again.
pub(crate) fn with_terminal_restored<T>(prompt: impl FnOnce() -> T) -> T {
    let terminal = File::open("/dev/tty").ok().and_then(|terminal| {
        let attributes = tcgetattr(&terminal).ok()?;
        Some((terminal, attributes))
    });
    state().terminal = terminal;
    let answer = prompt();
    state().terminal = None;
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
