//! Ctrl-C and its like: remove what is half-written, restore the terminal.

use std::{
    fs::File,
    io,
    sync::{Mutex, MutexGuard, PoisonError},
    thread,
};

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGTERM},
    iterator::Signals,
};

use crate::{
    error::{CliError, Result},
    progress::leave_line_if_interrupted,
};

/// From now on an interrupt removes every unfinished file,
/// gives the terminal its echo back and exits with 130.
pub(crate) fn clean_up_when_interrupted() -> Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP])
        .map_err(|error| CliError::other(format!("cannot handle interrupts: {error}")))?;
    thread::spawn(move || {
        if signals.forever().next().is_some() {
            // Held until the end: no file is made or gets its name any more.
            let _stopped = envelope_files::unfinished::remove_all();
            let state = state();
            if let Some((terminal, attributes)) = &state.terminal {
                let _ = tcsetattr(terminal, OptionalActions::Now, attributes);
            }
            leave_line_if_interrupted();
            std::process::exit(INTERRUPTED);
        }
    });
    Ok(())
}

/// Turns the echo of `terminal` off until the guard is dropped. An interrupt
/// until then turns it on again.
pub(crate) fn hide_typing(terminal: &File) -> io::Result<EchoGuard> {
    let attributes = tcgetattr(terminal)?;
    let mut hidden = attributes.clone();
    hidden.local_modes.remove(LocalModes::ECHO);
    let own = terminal.try_clone()?;
    // Under the lock, so that an interrupt comes before or after, never between.
    let mut state = state();
    tcsetattr(terminal, OptionalActions::Now, &hidden)?;
    state.terminal = Some((own, attributes));
    Ok(EchoGuard)
}

/// Turns the echo on again when dropped.
pub(crate) struct EchoGuard;

impl Drop for EchoGuard {
    fn drop(&mut self) {
        let mut state = state();
        if let Some((terminal, attributes)) = state.terminal.take() {
            let _ = tcsetattr(&terminal, OptionalActions::Now, &attributes);
        }
    }
}

struct State {
    terminal: Option<(File, Termios)>,
}

static STATE: Mutex<State> = Mutex::new(State { terminal: None });

fn state() -> MutexGuard<'static, State> {
    STATE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// 128 and the number of SIGINT, as shells count.
const INTERRUPTED: i32 = 130;
