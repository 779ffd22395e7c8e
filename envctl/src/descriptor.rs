//! Descriptors that this process was started with: named by number, or by a path that
//! stands for one, such as `/dev/stdout` and `/dev/fd/N`.
//!
//! Opening such a path makes a new description of the file behind it, which begins
//! at its front and forgets that it should append. Whoever names one means the
//! descriptor as it stands, so it is duplicated instead.

use std::{
    fs::{self, File},
    io::{self, Seek, SeekFrom},
    os::fd::AsFd,
    path::Path,
    sync::{Mutex, MutexGuard, PoisonError},
};

use rustix::{
    fs::{OFlags, fcntl_getfl},
    io::Errno,
    process::{PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open},
};

/// Remembers which descriptors this process was given. Called first, before anything is
/// opened: a descriptor of its own is nobody's input or output.
pub(crate) fn remember_given() {
    *given() = Some(open_now().unwrap_or_default());
}

/// Takes `number` from those that were given: it holds what this process handed over to
/// itself.
pub(crate) fn is_own(number: i32) {
    if let Some(given) = given().as_mut() {
        given.retain(|other| *other != number);
    }
}

/// Keeps the descriptors that were given, and all that is opened, from the children of this
/// process, but for the standard ones: no child inherits a secret, nor a file.
pub(crate) fn keep_from_children() {
    close_fds::set_fds_cloexec(3, &[]);
}

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

/// Another handle of descriptor `number`, which was given to this process. Both share
/// one position: what is read or written here is so for whoever goes on.
pub(crate) fn duplicate(number: i32) -> io::Result<File> {
    let owned = match number {
        0 => io::stdin().as_fd().try_clone_to_owned()?,
        1 => io::stdout().as_fd().try_clone_to_owned()?,
        2 => io::stderr().as_fd().try_clone_to_owned()?,
        _ if given().as_ref().is_some_and(|given| !given.contains(&number)) => {
            return Err(io::Error::new(
                io::ErrorKind::NotFound,
                "no descriptor of this number was given to envctl",
            ));
        }
        _ => pidfd_getfd(pidfd_open(getpid(), PidfdFlags::empty())?, number, PidfdGetfdFlags::empty())?,
    };
    Ok(owned.into())
}

/// As [`duplicate`], to be read only. Where the system refuses that, as some sandboxes do,
/// the file is opened anew at the position of the descriptor, whose own position stays.
pub(crate) fn duplicate_to_read(number: i32) -> io::Result<File> {
    match duplicate(number) {
        Err(error) if error.raw_os_error().is_some_and(|error| error != Errno::BADF.raw_os_error()) => {
            reopen(number)
        }
        duplicated => duplicated,
    }
}

/// Whether this process was started with this standard stream closed.
///
/// The runtime opens `/dev/null` for reading and writing in its place before `main`, so
/// that no file gets its number, and that is what can be seen. A caller that opens it
/// in the same way cannot be told apart; a shell's `</dev/null` and `>/dev/null` are for
/// one of the two.
pub(crate) fn was_closed(standard: impl AsFd) -> bool {
    let read_write = fcntl_getfl(&standard).is_ok_and(|flags| flags & OFlags::RWMODE == OFlags::RDWR);
    let same = |a: &rustix::fs::Stat, b: &rustix::fs::Stat| (a.st_dev, a.st_ino) == (b.st_dev, b.st_ino);
    let null = rustix::fs::stat("/dev/null");
    read_write && rustix::fs::fstat(&standard).is_ok_and(|it| null.is_ok_and(|null| same(&it, &null)))
}

fn open_now() -> io::Result<Vec<i32>> {
    let entries = fs::read_dir("/proc/self/fd")?;
    let mut open: Vec<i32> =
        entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect();
    // The folder that was read was open too, and is closed now.
    open.retain(|number| fs::read_link(format!("/proc/self/fd/{number}")).is_ok());
    Ok(open)
}

fn reopen(number: i32) -> io::Result<File> {
    let mut file = File::open(format!("/proc/self/fd/{number}"))?;
    if file.metadata()?.is_file() {
        let info = fs::read_to_string(format!("/proc/self/fdinfo/{number}"))?;
        let position = info.lines().find_map(|line| line.strip_prefix("pos:")?.trim().parse().ok());
        let position = position.ok_or_else(|| io::Error::other("its position is not known"))?;
        file.seek(SeekFrom::Start(position))?;
    }
    Ok(file)
}

/// Not set where nobody asked, as in unit tests: then no number is refused.
static GIVEN: Mutex<Option<Vec<i32>>> = Mutex::new(None);

fn given() -> MutexGuard<'static, Option<Vec<i32>>> {
    GIVEN.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read, Write},
        os::fd::AsRawFd,
    };

    use super::*;

    #[test]
    fn a_descriptor_is_read_from_where_it_stands() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"one\ntwo\n").unwrap();
        file.seek(SeekFrom::Start(4)).unwrap();
        for opened in [duplicate_to_read(file.as_raw_fd()), reopen(file.as_raw_fd())] {
            let mut text = String::new();
            opened.unwrap().read_to_string(&mut text).unwrap();
            assert_eq!(text, "two\n");
            file.seek(SeekFrom::Start(4)).unwrap();
        }
    }

    #[test]
    fn two_handles_of_a_descriptor_share_its_position() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"one\ntwo\n").unwrap();
        file.rewind().unwrap();
        let mut byte = [0; 4];
        duplicate(file.as_raw_fd()).unwrap().read_exact(&mut byte).unwrap();
        duplicate(file.as_raw_fd()).unwrap().read_exact(&mut byte).unwrap();
        assert_eq!(&byte, b"two\n");
    }

    #[test]
    fn only_numbers_are_descriptors() {
        assert_eq!(number(Path::new("/dev/stdin")), Some(0));
        assert_eq!(number(Path::new("/dev/stdout")), Some(1));
        assert_eq!(number(Path::new("/dev/fd/63")), Some(63));
        assert_eq!(number(Path::new("/proc/self/fd/3")), Some(3));
        for other in ["/dev/fd/", "/dev/fd/-1", "/dev/fd/1/x", "/dev/fd/+1", "dev/fd/1", "/dev/null", "fd/3"]
        {
            assert_eq!(number(Path::new(other)), None, "{other}");
        }
    }
}
