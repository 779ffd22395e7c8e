//! From paths to files.

use std::{
    fs, io,
    os::unix::ffi::OsStrExt,
    path::{Component, Path, PathBuf},
};

use envelope_files::{
    tree::{self, Found, Walk},
    unfinished,
};
use glob::{MatchOptions, Pattern};

use super::{
    item,
    pair::{self, Beside},
};
use crate::{Item, SourceError};

/// Who is told of what is found. It says no when it wants no more.
pub(super) trait Listener {
    fn found(&mut self, listed: Result<Item, SourceError>) -> bool;

    /// The names of a folder are read next, which may take long.
    fn before_folder(&mut self) -> bool {
        true
    }
}

impl<F: FnMut(Result<Item, SourceError>) -> bool> Listener for F {
    fn found(&mut self, listed: Result<Item, SourceError>) -> bool {
        self(listed)
    }
}

/// Notes whether anything was found.
struct Noting<'l, L> {
    listener: &'l mut L,
    has_found: bool,
}

impl<L: Listener> Listener for Noting<'_, L> {
    fn found(&mut self, listed: Result<Item, SourceError>) -> bool {
        self.has_found = true;
        self.listener.found(listed)
    }

    fn before_folder(&mut self) -> bool {
        self.listener.before_folder()
    }
}

/// Tells `listener` of the items of `paths`. With `clean`, files that were left behind are removed.
pub(super) fn walk(paths: &[PathBuf], clean: bool, listener: &mut impl Listener) {
    for path in paths {
        let wanted = match fs::metadata(path) {
            Ok(metadata) if metadata.is_dir() => below(path, None, clean, listener),
            Err(error) if error.kind() == io::ErrorKind::NotFound && is_pattern(path) => {
                match pattern(path) {
                    Ok((folder, pattern)) => {
                        let mut noting = Noting { listener, has_found: false };
                        let wants_more = below(&folder, Some(&pattern), clean, &mut noting);
                        // Reading it says that it is not there: whoever mistyped it must not be told that nothing is in use.
                        if noting.has_found { wants_more } else { listener.found(Ok(item(path, true))) }
                    }
                    Err(error) => listener.found(Err(error)),
                }
            }
            // What cannot be read is told when it is read.
            _ => listener.found(Ok(item(path, true))),
        };
        if !wanted {
            return;
        }
    }
}

/// The files below a folder, in the order of their names. False when nobody wants more.
fn below(folder: &Path, pattern: Option<&Pattern>, clean: bool, listener: &mut impl Listener) -> bool {
    let deepest = deepest(pattern);
    if !listener.before_folder() {
        return false;
    }
    let end = tree::walk(folder, &mut |found| {
        let wants_more = match found {
            Found::Unreadable(error) => listener.found(Err(SourceError::store(error))),
            Found::Folder(path) if deepest.is_some_and(|deepest| path.components().count() >= deepest) => {
                return Walk::Around;
            }
            Found::Folder(_) => listener.before_folder(),
            Found::File(path) => file(path, pattern, clean, listener),
        };
        if wants_more { Walk::On } else { Walk::End }
    });
    end != Walk::End
}

fn file(path: &Path, pattern: Option<&Pattern>, clean: bool, listener: &mut impl Listener) -> bool {
    // Beside what the pattern may mean, and nowhere else.
    let is_beside = deepest(pattern).is_none_or(|deepest| path.components().count() == deepest);
    if clean && is_beside {
        match unfinished::remove_left(path) {
            Ok(true) => return true,
            Ok(false) => {}
            Err(error) => return listener.found(Err(SourceError::store(error))),
        }
    }
    if unfinished::is_left(path) || pattern.is_some_and(|pattern| !is_meant(pattern, path)) {
        return true;
    }
    match pair::beside(path) {
        Beside::Nothing => listener.found(Ok(item(path, false))),
        Beside::OfJob => true,
        Beside::NotBelieved => {
            let shown = envelope_sdk::printable::path(path);
            listener.found(Err(SourceError::store(format!(
                "{shown} looks like the journal of a reencryption that was cut off, and is not believed: it must have \
                 the owner and group of the header beside it, one name, and no writers but those of the header"
            ))))
        }
    }
}

/// Whether a pattern matches a path. By itself it matches none that is not UTF-8, and a wildcard means those too.
fn is_meant(pattern: &Pattern, path: &Path) -> bool {
    pattern.matches_with(&path.to_string_lossy(), AS_A_SHELL)
}

/// Of how many parts the paths are that a pattern may match. `None`: any number.
fn deepest(pattern: Option<&Pattern>) -> Option<usize> {
    let path = Path::new(pattern?.as_str());
    let is_any = path.components().any(|part| part.as_os_str() == "**");
    (!is_any).then(|| path.components().count())
}

fn is_pattern(path: &Path) -> bool {
    path.as_os_str().as_bytes().iter().any(|byte| b"*?[".contains(byte))
}

/// The folder above the first part that is a pattern, and the pattern.
fn pattern(path: &Path) -> Result<(PathBuf, Pattern), SourceError> {
    let text = path.to_str().ok_or(SourceError::Unsupported("a pattern must be UTF-8"))?;
    let pattern = Pattern::new(text).map_err(SourceError::store)?;
    let is_plain = |component: &Component<'_>| !is_pattern(component.as_ref());
    Ok((path.components().take_while(is_plain).collect(), pattern))
}

const AS_A_SHELL: MatchOptions =
    MatchOptions { case_sensitive: true, require_literal_separator: true, require_literal_leading_dot: true };

#[cfg(test)]
mod tests {
    use super::*;

    fn walked(paths: &[PathBuf]) -> Vec<String> {
        let mut found = Vec::new();
        walk(paths, false, &mut |item: Result<Item, SourceError>| {
            found.push(item.unwrap().to_string());
            true
        });
        found
    }

    #[test]
    fn a_tree_is_walked_in_order_without_links_and_what_only_has_the_name_of_a_journal_is_listed() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::create_dir_all(at("b/c")).unwrap();
        for name in
            ["b/c/2", "b/1", "a", "\u{1}odd", "b/x.envelope.reencrypt-journal", "b/.envctl-0123456789abcdef"]
        {
            fs::write(at(name), "text").unwrap();
        }
        std::os::unix::fs::symlink(at("b"), at("link")).unwrap();
        let expected =
            ["\u{1}odd", "a", "b/.envctl-0123456789abcdef", "b/1", "b/c/2", "b/x.envelope.reencrypt-journal"]
                .map(|name| item(&at(name), false).to_string());
        assert_eq!(walked(&[folder.path().into()]), expected);
        let pattern = at("b").join("**").join("*");
        // As in a shell, a name that begins with a dot must be said with it.
        assert_eq!(walked(&[pattern]), expected[3..]);
        assert_eq!(walked(&[at("?")]), expected[1..2], "a folder is no file");
        assert_eq!(
            walked(&[at("absent"), at("b/1")]),
            [at("absent"), at("b/1")].map(|path| path.display().to_string())
        );
    }

    #[test]
    fn a_pattern_touches_nothing_below_what_it_may_mean() {
        let folder = tempfile::tempdir().unwrap();
        let left = folder.path().join("sub/deep/.envctl-0123456789abcdef");
        fs::create_dir_all(folder.path().join("sub/deep")).unwrap();
        // Both begin as envelopes do.
        let armored = envelope_sdk::format::armor::BEGIN;
        fs::write(&left, armored).unwrap();
        let beside = folder.path().join("sub/.envctl-0123456789abcdef");
        fs::write(&beside, armored).unwrap();
        walk(&[folder.path().join("sub/*.envelope")], true, &mut |item: Result<Item, SourceError>| {
            item.unwrap();
            true
        });
        assert!(left.exists() && !beside.exists());
    }

    #[test]
    fn a_pattern_that_means_nothing_is_told_as_a_path_that_is_not_there() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("a.envelope"), "").unwrap();
        let pattern = folder.path().join("*.envelop");
        let mut found = Vec::new();
        walk(std::slice::from_ref(&pattern), false, &mut |listed: Result<Item, SourceError>| {
            found.push(listed.unwrap());
            true
        });
        assert_eq!(found, [item(&pattern, true)]);
        assert_eq!(walked(&[folder.path().join("*.envelope")]).len(), 1);
    }

    /// A file system that wants UTF-8 has no such name.
    #[cfg(target_os = "linux")]
    #[test]
    fn a_pattern_means_names_that_are_not_utf_8_as_a_shell_does() {
        use std::ffi::OsStr;
        let folder = tempfile::tempdir().unwrap();
        let name = OsStr::from_bytes(b"caf\xe9.envelope");
        fs::write(folder.path().join(name), "").unwrap();
        fs::create_dir(folder.path().join(OsStr::from_bytes(b"\xff"))).unwrap();
        fs::write(folder.path().join(OsStr::from_bytes(b"\xff/b.envelope")), "").unwrap();
        fs::write(folder.path().join("c.pem"), "").unwrap();
        let found = |pattern: &str| {
            let mut found = Vec::new();
            walk(&[folder.path().join(pattern)], false, &mut |listed: Result<Item, SourceError>| {
                found.push(listed.unwrap());
                true
            });
            found
        };
        let at = |name: &[u8]| item(&folder.path().join(OsStr::from_bytes(name)), false);
        assert_eq!(found("*.envelope"), [at(b"caf\xe9.envelope")]);
        assert_eq!(found("caf?.envelope"), [at(b"caf\xe9.envelope")]);
        assert_eq!(found("**/*.envelope"), [at(b"caf\xe9.envelope"), at(b"\xff/b.envelope")]);
    }

    #[test]
    fn a_folder_that_became_a_link_is_not_entered() {
        let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::create_dir(folder.path().join("z")).unwrap();
        fs::write(folder.path().join("a"), "").unwrap();
        fs::write(other.path().join("foreign"), "").unwrap();
        let mut found = Vec::new();
        walk(&[folder.path().into()], false, &mut |item: Result<Item, SourceError>| {
            found.push(item.unwrap().to_string());
            if found.len() == 1 {
                fs::remove_dir(folder.path().join("z")).unwrap();
                std::os::unix::fs::symlink(other.path(), folder.path().join("z")).unwrap();
            }
            true
        });
        assert_eq!(found, [item(&folder.path().join("a"), false).to_string()]);
    }

    #[test]
    fn walking_ends_when_nobody_wants_more() {
        let folder = tempfile::tempdir().unwrap();
        for name in 0..10 {
            fs::write(folder.path().join(name.to_string()), "").unwrap();
        }
        let mut count = 0;
        walk(&[folder.path().into(), folder.path().into()], false, &mut |_: Result<Item, SourceError>| {
            count += 1;
            count < 3
        });
        assert_eq!(count, 3);
    }
}
