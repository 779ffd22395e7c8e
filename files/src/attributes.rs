//! Owner, group, mode, access list and attributes of a file that is replaced.

use std::{
    fs::{File, Permissions},
    io,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::Path,
};

use rustix::fs::{Gid, Uid, fchown};

use crate::FileError;

/// Gives `new` what `old`, at `path`, has. Nobody gets more rights than they had,
/// not for a moment: the owner comes first and the mode last.
pub(crate) fn copy(old: &File, new: &File, path: &Path) -> Result<(), FileError> {
    let cannot = |what| move |source| FileError::Attributes { path: path.to_owned(), what, source };
    let (from, to) = (old.metadata().map_err(cannot("mode"))?, new.metadata().map_err(cannot("mode"))?);
    let owner = (from.uid() != to.uid()).then(|| Uid::from_raw(from.uid()));
    let group = (from.gid() != to.gid()).then(|| Gid::from_raw(from.gid()));
    if owner.is_some() || group.is_some() {
        fchown(new, owner, group).map_err(|error| cannot("owner and group")(error.into()))?;
    }
    copy_extended(old, new).map_err(cannot("access list and attributes"))?;
    new.set_permissions(Permissions::from_mode(from.mode() & 0o777)).map_err(cannot("mode"))
}

/// Gives the journal `new` owner, group, access list and mode of its file where that is
/// permitted; elsewhere it stays with who made it. Without the list the mode would mean
/// another thing: the group would have the rights of all who are named in it.
pub(crate) fn lend(old: &File, new: &File) -> io::Result<()> {
    let (from, to) = (old.metadata()?, new.metadata()?);
    let same = (from.uid(), from.gid()) == (to.uid(), to.gid());
    let lent = same || fchown(new, Some(Uid::from_raw(from.uid())), Some(Gid::from_raw(from.gid()))).is_ok();
    if lent && copy_extended(old, new).is_ok() {
        new.set_permissions(Permissions::from_mode(from.mode() & 0o777))?;
    }
    Ok(())
}

/// The access list, without which the group's bits mean another thing, and what
/// users attached. Labels of security modules are the system's to set.
#[cfg(target_os = "linux")]
fn copy_extended(old: &File, new: &File) -> io::Result<()> {
    use rustix::{
        fs::{XattrFlags, fgetxattr, fgetxattr_query, flistxattr, flistxattr_query, fremovexattr, fsetxattr},
        io::Errno,
    };
    // A folder may have given the new file a list of its own.
    match fremovexattr(new, ACCESS_LIST) {
        Ok(()) | Err(Errno::NODATA | Errno::OPNOTSUPP) => {}
        Err(error) => return Err(error.into()),
    }
    let len = match flistxattr_query(old) {
        Ok(len) => len,
        Err(Errno::OPNOTSUPP) => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    let mut names = vec![0; len];
    if len > 0 {
        let read = flistxattr(old, names.as_mut_slice())?;
        names.truncate(read);
    }
    let is_kept = |name: &&[u8]| *name == ACCESS_LIST || name.starts_with(b"user.");
    for name in names.split(|byte| *byte == 0).filter(is_kept) {
        let mut value = vec![0; fgetxattr_query(old, name)?];
        if !value.is_empty() {
            let read = fgetxattr(old, name, value.as_mut_slice())?;
            value.truncate(read);
        }
        fsetxattr(new, name, &value, XattrFlags::empty())?;
    }
    Ok(())
}

#[cfg(not(target_os = "linux"))]
#[expect(clippy::unnecessary_wraps, reason = "elsewhere it fails")]
fn copy_extended(_old: &File, _new: &File) -> io::Result<()> {
    Ok(())
}

#[cfg(target_os = "linux")]
const ACCESS_LIST: &[u8] = b"system.posix_acl_access";
