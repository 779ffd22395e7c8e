//! Paths that mean an open descriptor: `/dev/stdout`, `/dev/fd/N` and their like.
//!
//! Opening such a path makes a new description of the file behind it, which begins
//! at its front and forgets that it should append. Whoever names one means the
//! descriptor as it stands, so it is duplicated instead.

use std::{fs, fs::File, io, os::fd::AsFd, path::Path};

use rustix::process::{PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open};

/// The number of the descriptor that `path` means, if it means one.
pub(crate) fn number(path: &Path) -> Option<i32> {
    let path = path.to_str()?;
    match path {
        "/dev/stdin" => Some(0),
        "/dev/stdout" => Some(1),
        "/dev/stderr" => Some(2),
        _ => {
            let digits = path
                .strip_prefix("/dev/fd/")
                .or_else(|| path.strip_prefix("/proc/self/fd/"))
                .or_else(|| path.strip_prefix(&format!("/proc/{}/fd/", std::process::id())))?;
            digits.bytes().all(|digit| digit.is_ascii_digit()).then(|| digits.parse().ok())?
        }
    }
}

/// Another descriptor of the same description as number `number`, which was given
/// to this process.
pub(crate) fn duplicate(number: i32) -> io::Result<File> {
    let owned = match number {
        0 => io::stdin().as_fd().try_clone_to_owned()?,
        1 => io::stdout().as_fd().try_clone_to_owned()?,
        2 => io::stderr().as_fd().try_clone_to_owned()?,
        _ => {
            if !was_given(number)? {
                return Err(io::Error::new(
                    io::ErrorKind::NotFound,
                    "no descriptor of this number was given to envctl",
                ));
            }
            pidfd_getfd(pidfd_open(getpid(), PidfdFlags::empty())?, number, PidfdGetfdFlags::empty())?
        }
    };
    Ok(owned.into())
}

/// Descriptors that this process opened itself are closed when it executes
/// another program; those that it was given are not.
fn was_given(number: i32) -> io::Result<bool> {
    let info = match fs::read_to_string(format!("/proc/self/fdinfo/{number}")) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        info => info?,
    };
    let flags = info.lines().find_map(|line| line.strip_prefix("flags:"));
    let flags = flags.and_then(|flags| u32::from_str_radix(flags.trim(), 8).ok());
    Ok(flags.is_some_and(|flags| flags & rustix::fs::OFlags::CLOEXEC.bits() == 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_numbers_are_descriptors() {
        assert_eq!(number(Path::new("/dev/stdout")), Some(1));
        assert_eq!(number(Path::new("/dev/fd/63")), Some(63));
        assert_eq!(number(Path::new("/proc/self/fd/3")), Some(3));
        for other in ["/dev/fd/", "/dev/fd/-1", "/dev/fd/1/x", "/dev/fd/+1", "dev/fd/1", "/dev/null"] {
            assert_eq!(number(Path::new(other)), None, "{other}");
        }
    }
}
