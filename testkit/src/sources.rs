//! What is looked at in a crate itself, and not in what it does: the crates that are linked, and what its sources may
//! not do.

use std::{
    collections::BTreeSet,
    env, fs, io,
    path::{Path, PathBuf},
    process::Command,
};

/// The names and versions of the crates that a package is built from with its default features, without those of its
/// tests, as `cargo tree` has them.
///
/// # Panics
///
/// If cargo cannot be run in that folder.
#[must_use]
pub fn tree(folder: &str, package: &str) -> BTreeSet<(String, String)> {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["tree", "--offline", "--edges", "normal,build", "--prefix", "none", "--package", package])
        .current_dir(folder)
        .output();
    let text = match output {
        Ok(output) if output.status.success() => String::from_utf8_lossy(&output.stdout).into_owned(),
        Ok(output) => stop(&String::from_utf8_lossy(&output.stderr)),
        Err(error) => stop(&format!("cargo cannot be run: {error}")),
    };
    let line = |line: &str| {
        let mut words = line.split_whitespace();
        Some((words.next()?.to_owned(), words.next()?.to_owned()))
    };
    text.lines().filter_map(line).collect()
}

/// Demands each of `once` in one version, and none of `never`.
///
/// # Panics
///
/// If that does not hold.
pub fn demand_linked(tree: &BTreeSet<(String, String)>, once: &[&str], never: &[&str]) {
    let versions = |wanted: &str| -> Vec<&str> {
        tree.iter().filter(|(name, _)| name == wanted).map(|(_, version)| version.as_str()).collect()
    };
    for name in once {
        assert_eq!(versions(name).len(), 1, "{name}: {:?}", versions(name));
    }
    for name in never {
        assert!(versions(name).is_empty(), "{name}: {:?}", versions(name));
    }
}

/// A file of a crate's sources.
pub struct Source {
    /// Below the crate's folder.
    pub path: String,
    /// As it stands.
    pub text: String,
}

/// Every file of Rust below a folder of a crate.
///
/// # Panics
///
/// If one cannot be read, or there is none.
#[must_use]
pub fn all(folder: &str) -> Vec<Source> {
    let mut sources = Vec::new();
    match collect(Path::new(folder), Path::new(folder), &mut sources) {
        Ok(()) if !sources.is_empty() => sources,
        Ok(()) => stop(&format!("there are no sources in {folder}")),
        Err(error) => stop(&format!("{folder}: {error}")),
    }
}

fn collect(top: &Path, folder: &Path, sources: &mut Vec<Source>) -> io::Result<()> {
    let mut paths =
        fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<PathBuf>>>()?;
    paths.sort();
    for path in paths {
        if path.is_dir() {
            collect(top, &path, sources)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let below = path.strip_prefix(top).unwrap_or(&path).display().to_string();
            sources.push(Source { path: below, text: fs::read_to_string(&path)? });
        }
    }
    Ok(())
}

impl Source {
    /// Without comments of whole lines, and without the file's own tests, which format values of theirs.
    #[must_use]
    pub fn code(&self) -> String {
        let code: Vec<&str> = self.text.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
        let code = code.concat();
        code.split("#[cfg(test)]mod tests").next().unwrap_or_default().to_owned()
    }

    /// The same without blanks.
    #[must_use]
    pub fn tight(&self) -> String {
        self.code().split_whitespace().collect()
    }

    /// Demands that nothing is formatted for debugging, printed or logged here, and that no type is printable that holds
    /// one of `held`: clients of clouds print what they were sent and answered. In `logging` alone `tracing` is named.
    ///
    /// # Panics
    ///
    /// If that does not hold.
    pub fn demand_nothing_is_formatted(&self, held: &[&str], logging: &str) {
        let (path, code) = (&self.path, self.code());
        for form in FORMS {
            assert!(!code.contains(form), "{path}: {form}");
        }
        assert!(path == logging || !code.contains("tracing::"), "{path}: tracing");
        for (at, _) in code.match_indices("derive(") {
            let Some((traits, rest)) = code[at..].split_once(')') else { continue };
            // The whole item.
            let item = rest.split(['}', ';']).next().unwrap_or_default();
            if traits.contains("Debug") {
                for held in held {
                    assert!(!item.contains(held), "{path}: Debug of {item}");
                }
            }
        }
    }

    /// Demands that each error that is handed on as a source begins with one of `ours`.
    ///
    /// # Panics
    ///
    /// If that does not hold.
    pub fn demand_sources_of_errors(&self, ours: &[&str]) {
        let tight = self.tight();
        for (_, rest) in
            tight.match_indices(".with_source(").map(|(at, found)| (at, &tight[at + found.len()..]))
        {
            let is_ours = ours.iter().any(|ours| rest.starts_with(ours));
            assert!(is_ours, "{}: the source {}", self.path, rest.split(')').next().unwrap_or_default());
        }
        assert!(!self.text.contains("causes("), "{}: causes", self.path);
    }
}

#[expect(clippy::panic, reason = "a test that cannot go on says so")]
fn stop(why: &str) -> ! {
    panic!("{why}")
}

const FORMS: [&str; 20] = [
    ":?}",
    ":#?}",
    "{:?",
    "dbg!",
    "print!",
    "println!",
    "eprintln!",
    "trace!(",
    "debug!(",
    "info!(",
    "warn!(",
    "error!(",
    "event!(",
    "span!(",
    "instrument]",
    "assert_eq!",
    "assert_ne!",
    "panic!(",
    ".expect",
    ".unwrap()",
];
