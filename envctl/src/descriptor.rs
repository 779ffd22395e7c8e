//! Descriptors that this process was started with: named by number, or by a path
//! that stands for one.

use std::{
    fs::{self, File},
    io::{self, Seek, SeekFrom},
    os::fd::{AsFd, RawFd},
    path::Path,
};

use rustix::{
    fs::{OFlags, fcntl_getfl},
    io::Errno,
    process::{PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open},
};

/// The number in `/dev/stdin`, `/dev/fd/N` and `/proc/self/fd/N`.
pub(crate) fn named_by(path: &Path) -> Option<RawFd> {
    let path = path.to_str()?;
    if path == "/dev/stdin" {
        return Some(0);
    }
    let number = path.strip_prefix("/dev/fd/").or_else(|| path.strip_prefix("/proc/self/fd/"))?;
    number.parse().ok().filter(|number| *number >= 0)
}

/// Another handle of the descriptor itself, with the position that both share: what is
/// read here is not there any more for whoever reads on. (To open `/dev/fd/N`
/// begins a regular file anew.)
///
/// Where the system refuses that, as some sandboxes do, the file is opened anew at the position
/// of the descriptor, whose own position stays.
pub(crate) fn open(number: RawFd) -> io::Result<File> {
    if number == 0 {
        return Ok(io::stdin().as_fd().try_clone_to_owned()?.into());
    }
    let copied = pidfd_open(getpid(), PidfdFlags::empty())
        .and_then(|process| pidfd_getfd(process, number, PidfdGetfdFlags::empty()));
    match copied {
        Ok(descriptor) => Ok(descriptor.into()),
        Err(Errno::BADF) => Err(Errno::BADF.into()),
        Err(_) => reopen(number),
    }
}

/// No child process inherits a descriptor but its standard ones: not a secret that was
/// given to this process, nor a file of it.
pub(crate) fn keep_from_children() {
    close_fds::set_fds_cloexec(3, &[]);
}

/// Whether this process was started with standard output closed.
///
/// The runtime opens `/dev/null` for reading and writing in its place before `main`, so
/// that no file gets its number, and that is what can be seen. A caller that opens it
/// in the same way cannot be told apart; a shell's `>/dev/null` is for writing only.
pub(crate) fn stdout_is_closed() -> bool {
    let stdout = io::stdout();
    let read_write = fcntl_getfl(&stdout).is_ok_and(|flags| flags & OFlags::RWMODE == OFlags::RDWR);
    let same = |a: &rustix::fs::Stat, b: &rustix::fs::Stat| (a.st_dev, a.st_ino) == (b.st_dev, b.st_ino);
    let null = rustix::fs::stat("/dev/null");
    read_write && rustix::fs::fstat(&stdout).is_ok_and(|out| null.is_ok_and(|null| same(&out, &null)))
}

fn reopen(number: RawFd) -> io::Result<File> {
    let mut file = File::open(format!("/proc/self/fd/{number}"))?;
    if file.metadata()?.is_file() {
        let info = fs::read_to_string(format!("/proc/self/fdinfo/{number}"))?;
        let position = info.lines().find_map(|line| line.strip_prefix("pos:")?.trim().parse().ok());
        let position = position.ok_or_else(|| io::Error::other("its position is not known"))?;
        file.seek(SeekFrom::Start(position))?;
    }
    Ok(file)
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
        for opened in [open(file.as_raw_fd()), reopen(file.as_raw_fd())] {
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
        open(file.as_raw_fd()).unwrap().read_exact(&mut byte).unwrap();
        open(file.as_raw_fd()).unwrap().read_exact(&mut byte).unwrap();
        assert_eq!(&byte, b"two\n");
    }

    #[test]
    fn paths_that_stand_for_a_descriptor_are_known() {
        for (path, number) in [
            ("/dev/stdin", Some(0)),
            ("/dev/fd/63", Some(63)),
            ("/proc/self/fd/3", Some(3)),
            ("/dev/fd/", None),
            ("/dev/fd/-1", None),
            ("/dev/fd/3/x", None),
            ("fd/3", None),
        ] {
            assert_eq!(named_by(Path::new(path)), number, "{path}");
        }
    }
}
