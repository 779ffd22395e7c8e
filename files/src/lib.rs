//! Files as rewrap and rotation need them: what may be trusted, what is replaced
//! whole or not at all, and what survives being cut off half-way.
//!
//! - [`NewFile`]: an output that appears whole under its name, or never was.
//! - [`LockedFile`]: an envelope that is rewrapped, in place behind a [`Journal`]
//!   or by a file that replaces it.
//! - [`open_header`]: the header of a file for who only reads, also when a rewrap
//!   of it was interrupted; [`read_settled`]: that of a file that may be rewrapped just
//!   now, for who has no key.
//! - [`tree`]: the files below a folder.
//! - [`ReadFile`]: an input that may be removed once its output is on disk.
//!
//! A path is not a file. Whatever is written over, replaced or removed here is
//! compared, by device and inode, with the file that was opened; names are looked
//! up in a folder that is open, so that nobody exchanges the folder meanwhile.

mod attributes;
#[doc(hidden)]
pub mod disk;
mod error;
mod flocked;
mod folder;
mod folders;
mod journal;
mod kill;
mod locked;
mod new_file;
mod read_file;
mod recover;
mod replace;
mod reserve;
pub mod secret;
pub mod tree;
pub mod trust;
pub mod under_way;
pub mod unfinished;
mod user_folder;

pub use error::FileError;
pub use folders::make_folders;
pub use journal::Journal;
pub use locked::{HowWritten, LockedFile};
pub use new_file::{Access, Existing, NewFile, Written, commit_both};
pub use read_file::ReadFile;
pub use recover::{JournalBeside, journal_beside, open_header, read_settled};
pub use user_folder::user_folder;

#[cfg(test)]
mod tests;
