//! [`user_folder`]: where a user's own files are.

use std::{env, ffi::OsString, path::PathBuf};

/// A folder of the [XDG base directory
/// specification](https://specifications.freedesktop.org/basedir/latest/): that of
/// `variable`, such as `XDG_CONFIG_HOME`, or `default`, such as `.config`, at home.
///
/// One that is relative, or empty, is ignored, as the specification demands. `None` where there is
/// no home either.
#[must_use]
pub fn user_folder(variable: &str, default: &str) -> Option<PathBuf> {
    chosen(env::var_os(variable), env::var_os("HOME"), default)
}

fn chosen(named: Option<OsString>, home: Option<OsString>, default: &str) -> Option<PathBuf> {
    let absolute = |path: Option<OsString>| path.map(PathBuf::from).filter(|path| path.is_absolute());
    absolute(named).or_else(|| absolute(home).map(|home| home.join(default)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relative_folders_are_ignored() {
        let of = |named: Option<&str>, home: Option<&str>| {
            chosen(named.map(Into::into), home.map(Into::into), ".local/share")
        };
        assert_eq!(of(Some("/d"), Some("/h")), Some("/d".into()));
        for ignored in [None, Some(""), Some("d"), Some("./d"), Some("~/d")] {
            assert_eq!(of(ignored, Some("/h")), Some("/h/.local/share".into()), "{ignored:?}");
            assert_eq!(of(ignored, None), None);
            assert_eq!(of(ignored, Some("h")), None);
        }
    }
}
