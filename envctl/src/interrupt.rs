//! Signals. One that ends the process removes what is half-written and gives the
//! terminal its echo back first; then the process dies of it, so that the shell
//! knows. One that was ignored at the start, as `nohup` and a shell's `&` do, stays ignored.

use std::{
    fs::{self, File},
    io::{self, Write},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use envelope_files::{under_way, unfinished};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{Pid, Signal, getpgid, getpgrp, getppid, getsid},
    termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr},
};
use signal_hook::{
    consts::{
        SIGABRT, SIGALRM, SIGCONT, SIGHUP, SIGINT, SIGIO, SIGPROF, SIGQUIT, SIGSYS, SIGTERM, SIGTRAP,
        SIGTSTP, SIGUSR1, SIGUSR2, SIGVTALRM, SIGXCPU, SIGXFSZ,
    },
    iterator::Signals,
    low_level::{emulate_default_handler, exit},
};

use crate::{
    error::{CliError, Result},
    progress::is_shown,
    turn::{Turn, is_in_background, is_in_foreground},
};

/// From now on a signal that ends the process cleans up first.
///
/// SIGPIPE is ignored and becomes an error of the write, and so does SIGXFSZ. SIGKILL
/// and SIGSTOP cannot be caught, nor usefully those that a fault of the program itself
/// raises.
pub(crate) fn clean_up_when_told_to_end() -> Result<()> {
    let ignored = ignored_at_start();
    let heeded = |signal: &i32| ignored & (1 << (signal - 1)) == 0;
    if heeded(&SIGXFSZ) {
        // Caught, it makes the write fail with EFBIG; what it sets is of no interest.
        signal_hook::flag::register(SIGXFSZ, Arc::default()).map_err(|error| cannot(&error))?;
    }
    let ending = ENDING.into_iter().chain(REAL_TIME);
    let heeded: Vec<i32> = ending.chain([SIGTSTP, SIGCONT]).filter(heeded).collect();
    let mut signals = Signals::new(heeded).map_err(|error| cannot(&error))?;
    let handle = move || {
        loop {
            let came: Vec<i32> = signals.wait().collect();
            for signal in came {
                match signal {
                    SIGTSTP => stop(),
                    SIGCONT => go_on(),
                    signal if ends_in_order(signal) => {}
                    signal => end(signal, &mut signals),
                }
            }
        }
    };
    thread::Builder::new().name("signals".into()).spawn(handle).map(drop).map_err(|error| cannot(&error))
}

fn cannot(error: &io::Error) -> CliError {
    CliError::other(format!("cannot handle signals: {error}"))
        .hint("envctl needs a few threads and descriptors: see `ulimit -u` and `ulimit -n`")
}

/// Turns the echo of `terminal` off, until the guard is dropped, and then writes the prompt.
/// Meanwhile a signal that ends or stops the process turns it on again. Another process
/// that asks at this terminal is waited for first.
pub(crate) fn hide_typing(terminal: &File, prompt: &str) -> io::Result<EchoGuard> {
    let prompting = Prompting {
        terminal: terminal.try_clone()?,
        turn: Arc::new(Turn::at(terminal)?),
        shown: None,
        prompt: prompt.to_owned(),
    };
    let turn = Arc::clone(&prompting.turn);
    {
        let mut state = state();
        // One at a time: whoever asks sees to that.
        if state.over || state.prompting.is_some() {
            return Err(io::Error::other("the call is over, or asks something else"));
        }
        state.prompting = Some(prompting);
    }
    let guard = EchoGuard;
    hide_in_turn(&turn)?;
    Ok(guard)
}

/// Ends a prompt that another thread is waiting at, and lets none begin: the call is over,
/// since another key failed, and the terminal goes back as it was.
pub(crate) fn ask_no_more() {
    let mut state = state();
    state.over = true;
    if let Some(prompting) = state.prompting.as_mut().filter(|of| is_in_foreground(&of.terminal)) {
        let begun = prompting.shown.is_some();
        prompting.cut_off();
        if begun {
            // What is said next stands on a line of its own.
            let _ = prompting.terminal.write_all(b"\n");
        }
    }
}

/// From now on the first signal that ends the process calls `finish` in place of that: the command comes to an end by itself,
/// says how far it came, and [`die_as_told`] ends the process. A second signal does at once.
pub(crate) fn finish_when_told(finish: impl FnOnce() + Send + 'static) {
    state().finish = Some(Box::new(finish));
}

/// Ends the process by the signal that a command was [ended in order](finish_when_told) for, if there was one.
pub(crate) fn die_as_told() {
    let told = state().told;
    if let Some(signal) = told {
        let _stopped = unfinished::remove_all();
        let _ = emulate_default_handler(signal);
        exit(128 + signal);
    }
}

/// Lets a command end by itself, if it can and was not told before.
fn ends_in_order(signal: i32) -> bool {
    let finish = {
        let mut state = state();
        // Whoever is asked for a secret would have to answer first.
        if state.prompting.is_some() {
            return false;
        }
        let Some(finish) = state.finish.take() else { return false };
        state.told = Some(signal);
        finish
    };
    // Before anything that the command says at its end.
    if is_shown() {
        tell("\n");
    }
    tell("finishing what is under way; another signal ends this at once\n");
    finish();
    true
}

/// Turns the echo on again when dropped.
pub(crate) struct EchoGuard;

impl EchoGuard {
    /// Asks something else, and nobody comes in between.
    pub(crate) fn ask_also(&self, prompt: &str) -> io::Result<()> {
        match &mut state().prompting {
            Some(prompting) => {
                prompt.clone_into(&mut prompting.prompt);
                // Otherwise it is written as soon as it is this process's turn again.
                if prompting.shown.is_some() { prompting.write_prompt() } else { Ok(()) }
            }
            None => Ok(()),
        }
    }

    /// Whether what is typed now is for this process. After a stop, another may be asking.
    pub(crate) fn has_turn(&self) -> bool {
        state().prompting.as_ref().is_some_and(|prompting| prompting.shown.is_some())
    }
}

impl Drop for EchoGuard {
    fn drop(&mut self) {
        if let Some(mut prompting) = state().prompting.take() {
            prompting.show();
        }
    }
}

/// Waits for the turn of this process, and then turns the echo off and prompts.
fn hide_in_turn(turn: &Arc<Turn>) -> io::Result<()> {
    loop {
        // Not under the lock of the state: a signal must find it free.
        turn.wait()?;
        // Under it, so that a signal comes before or after, never between.
        let mut state = state();
        let over = state.over;
        let Some(prompting) = state.prompting.as_mut().filter(|of| Arc::ptr_eq(&of.turn, turn)) else {
            turn.give_up();
            return Ok(());
        };
        if prompting.shown.is_some() || over {
            return Ok(());
        }
        // A stop in the meantime gave it up.
        if turn.take_if_free()? {
            return prompting.hide();
        }
    }
}

/// A terminal where somebody is asked for a secret.
struct Prompting {
    terminal: File,
    turn: Arc<Turn>,
    /// The terminal as it was, while the echo is off and it is this process's turn.
    shown: Option<Termios>,
    prompt: String,
}

impl Prompting {
    fn hide(&mut self) -> io::Result<()> {
        let shown = match self.shown.take() {
            Some(shown) => shown,
            None => tcgetattr(&self.terminal)?,
        };
        let mut hidden = shown.clone();
        hidden.local_modes.remove(LocalModes::ECHO);
        self.shown = Some(shown);
        tcsetattr(&self.terminal, OptionalActions::Now, &hidden)?;
        self.write_prompt()
    }

    fn write_prompt(&self) -> io::Result<()> {
        (&self.terminal).write_all(self.prompt.as_bytes())
    }

    /// Gives the echo back, and the turn to whoever waits for it.
    fn show(&mut self) {
        self.end(OptionalActions::Now);
    }

    /// The same before there is an answer: what was typed of it is for nobody else, such as the
    /// shell.
    fn cut_off(&mut self) {
        self.end(OptionalActions::Flush);
    }

    fn end(&mut self, typed: OptionalActions) {
        if let Some(shown) = self.shown.take() {
            let _ = tcsetattr(&self.terminal, typed, &shown);
        }
        self.turn.give_up();
    }
}

fn end(signal: i32, more: &mut Signals) {
    // Both held until the end: nothing is made, registered or named any more.
    let _stopped = unfinished::remove_all();
    let mut state = state();
    if let Some(prompting) = state.prompting.as_mut().filter(|of| is_in_foreground(&of.terminal)) {
        prompting.cut_off();
    }
    if is_shown() {
        // So that the shell's prompt does not stand in the line of the bar.
        tell("\n");
    }
    let mut told = false;
    under_way::end(|waited| {
        let another = more.pending().any(|signal| !matches!(signal, SIGTSTP | SIGCONT | SIGHUP));
        if !told {
            // Nobody has asked for that yet: one act can be two signals, as that of timeout(1) is.
            told = waited > AT_ONCE;
            if told {
                tell(
                    "waiting for the token, which may be changing a key; another signal ends this at once\n",
                );
            }
            return true;
        }
        waited < PATIENCE && !another
    });
    let _ = emulate_default_handler(signal);
    // Those that it does not know end the process too.
    exit(128 + signal);
}

/// Waits for calls of key stores that are in this process: others may be under way when one has
/// failed.
pub(crate) fn finish_calls() {
    under_way::end(|waited| waited < PATIENCE);
}

/// Writes to standard error if it takes that at once: nothing may hold the end up, neither the lock
/// of `Stderr`, nor a pipe that is full, nor a terminal that stops who writes to it from the
/// background.
fn tell(line: &str) {
    let stderr = rustix::stdio::stderr();
    if is_in_background(stderr) {
        return;
    }
    let mut ready = [PollFd::new(&stderr, PollFlags::OUT)];
    if poll(&mut ready, Some(&Timespec::default())).is_ok() && ready[0].revents() == PollFlags::OUT {
        let _ = rustix::io::write(stderr, line.as_bytes());
    }
}

fn stop() {
    if is_orphaned() {
        return;
    }
    if let Some(prompting) = &mut state().prompting {
        prompting.cut_off();
    }
    let _ = emulate_default_handler(SIGTSTP);
}

/// Whether nobody is there who would let the process go on, in which case Ctrl-Z has no
/// effect (POSIX, orphaned process group).
fn is_orphaned() -> bool {
    let (session, group) = (getsid(None), getpgrp());
    let mut ancestor = getppid();
    while let Some(process) = ancestor.filter(|process| getsid(Some(*process)) == session) {
        if getpgid(Some(process)) != Ok(group) {
            return false;
        }
        ancestor = parent_of(process);
    }
    true
}

fn parent_of(process: Pid) -> Option<Pid> {
    let status = fs::read_to_string(format!("/proc/{}/status", process.as_raw_nonzero())).ok()?;
    Pid::from_raw(status.lines().find_map(|line| line.strip_prefix("PPid:"))?.trim().parse().ok()?)
}

/// Back in the foreground, maybe with the terminal as the shell left it.
fn go_on() {
    let mut state = state();
    if state.over {
        return;
    }
    let Some(prompting) = state.prompting.as_mut().filter(|of| is_in_foreground(&of.terminal)) else {
        return;
    };
    if prompting.shown.is_some() || prompting.turn.take_if_free().unwrap_or(true) {
        let _ = prompting.hide();
        return;
    }
    // Not here, where the next signal is waited for.
    let turn = Arc::clone(&prompting.turn);
    let wait = move || drop(hide_in_turn(&turn));
    if thread::Builder::new().name("terminal".into()).spawn(wait).is_err() {
        let _ = prompting.hide();
    }
}

/// The signals that whoever started this process wants ignored, as bits. Where the
/// system does not tell, none.
fn ignored_at_start() -> u128 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u128::from_str_radix(mask.trim(), 16).ok()).unwrap_or_default()
}

struct State {
    prompting: Option<Prompting>,
    /// The call is over: nobody is asked any more.
    over: bool,
    /// Ends the command in order.
    finish: Option<Box<dyn FnOnce() + Send>>,
    /// The signal that it was ended for.
    told: Option<i32>,
}

static STATE: Mutex<State> = Mutex::new(State { prompting: None, over: false, finish: None, told: None });

fn state() -> MutexGuard<'static, State> {
    STATE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// For which a call of a token is waited for at the end. Most take milliseconds.
const PATIENCE: Duration = Duration::from_secs(5);
/// Nobody wonders yet why nothing happens.
const AT_ONCE: Duration = Duration::from_millis(300);

/// The signals that end a process (signal(7)) and that another process may send.
const ENDING: [i32; 16] = [
    SIGHUP,
    SIGINT,
    SIGQUIT,
    SIGTRAP,
    SIGABRT,
    SIGUSR1,
    SIGUSR2,
    SIGALRM,
    SIGTERM,
    Signal::STKFLT.as_raw(),
    SIGXCPU,
    SIGVTALRM,
    SIGPROF,
    SIGIO,
    Signal::POWER.as_raw(),
    SIGSYS,
];

/// Those that the C libraries leave to programs.
const REAL_TIME: std::ops::RangeInclusive<i32> = 35..=64;
