//! Of the processes that ask at one terminal, as those of a pipeline may, one does so at a
//! time. Otherwise the first to end would turn the echo on while something is
//! typed for the other.
//!
//! The lock is a `flock` of the device itself, such as `/dev/pts/3`: every terminal has
//! the file `/dev/tty` in common.

use std::{
    fs::{self, File},
    io,
    os::{fd::AsFd, unix::fs::MetadataExt},
};

use rustix::{
    fs::{FlockOperation, Mode, OFlags, flock, major, makedev, minor, open},
    io::{Errno, retry_on_intr},
    process::getpgrp,
    termios::{tcdrain, tcgetpgrp},
};

/// The turn of this process to ask at its terminal.
pub(crate) struct Turn {
    terminal: File,
    /// `None` where it cannot be had: then nobody is waited for.
    device: Option<File>,
}

impl Turn {
    /// `terminal` is the controlling one.
    pub(crate) fn at(terminal: &File) -> io::Result<Self> {
        Ok(Self { terminal: terminal.try_clone()?, device: device() })
    }

    /// Waits until no other process asks, and takes the turn. In the background the
    /// process is stopped before it does.
    ///
    /// # Errors
    ///
    /// Another process has the turn, and it may be another user's, who could keep it.
    pub(crate) fn wait(&self) -> io::Result<()> {
        loop {
            retry_on_intr(|| tcdrain(&self.terminal))?;
            let was_in_foreground = is_in_foreground(&self.terminal);
            let Some(device) = &self.device else { return Ok(()) };
            if !self.take_if_free()? {
                if device.metadata()?.mode() & OTHERS_MAY_OPEN != 0 {
                    return Err(io::Error::other(
                        "another program holds the lock of the terminal, which other users may open: \
                         `chmod go-r,o-w \"$(tty)\"`",
                    ));
                }
                retry_on_intr(|| flock(device, FlockOperation::LockExclusive))?;
            }
            if is_in_foreground(&self.terminal) || !was_in_foreground {
                return Ok(());
            }
            self.give_up();
        }
    }

    /// Whether it is this process's turn now.
    pub(crate) fn take_if_free(&self) -> io::Result<bool> {
        let Some(device) = &self.device else { return Ok(true) };
        match retry_on_intr(|| flock(device, FlockOperation::NonBlockingLockExclusive)) {
            Ok(()) => Ok(true),
            Err(Errno::WOULDBLOCK) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Lets the next process have the turn.
    pub(crate) fn give_up(&self) {
        if let Some(device) = &self.device {
            let _ = flock(device, FlockOperation::Unlock);
        }
    }
}

/// A process in the background that touches the terminal is stopped.
pub(crate) fn is_in_foreground(terminal: &File) -> bool {
    tcgetpgrp(terminal).is_ok_and(|group| group == getpgrp())
}

/// Whether it is the controlling terminal, and another process group has it now.
pub(crate) fn is_in_background(terminal: impl AsFd) -> bool {
    tcgetpgrp(terminal).is_ok_and(|group| group != getpgrp())
}

/// The controlling terminal by its own name.
fn device() -> Option<File> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    // Behind the program's name in parentheses: state, parent, group, session, terminal.
    let number: i32 = stat.rsplit_once(')')?.1.split_whitespace().nth(4)?.parse().ok()?;
    // The kernel's encoding of 32 bits, which is that of the C libraries as well.
    let number = u64::from(number.cast_unsigned());
    let (major, minor) = (major(number), minor(number));
    let path = if (136..=143).contains(&major) {
        format!("/dev/pts/{}", (major - 136) * 256 + minor)
    } else {
        let device = fs::read_to_string(format!("/sys/dev/char/{major}:{minor}/uevent")).ok()?;
        format!("/dev/{}", device.lines().find_map(|line| line.strip_prefix("DEVNAME="))?)
    };
    let flags = OFlags::RDONLY | OFlags::NOCTTY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = File::from(open(path, flags, Mode::empty()).ok()?);
    (file.metadata().ok()?.rdev() == makedev(major, minor)).then_some(file)
}

/// The group `tty` may write to terminals, and has no members but programs.
const OTHERS_MAY_OPEN: u32 = 0o046;
