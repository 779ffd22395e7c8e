//! What a command goes through: files by their paths, objects and tables by their URLs.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use envelope_rotation::{Files, Source};

use crate::{
    descriptor,
    error::{CliError, Result},
};

/// The envelopes that the words of a call name: paths and `file://` URLs, or URLs of object stores, or `-` for a list
/// on standard input. Where something is written, what a killed job left there is removed, too.
pub(crate) fn open(words: &[PathBuf], writes: bool) -> Result<Arc<dyn Source>> {
    let is_list = words.iter().any(|word| word == Path::new("-"));
    if is_list && words.len() > 1 {
        return Err(CliError::usage("`-` reads all names from standard input, and stands alone")
            .hint("a file of that name is ./-"));
    }
    if is_list {
        let cannot = |error| CliError::io("read", Path::new("standard input"), &error);
        if descriptor::was_closed(io::stdin()) {
            return Err(cannot(io::Error::other("it is closed")).hint("/dev/null is an empty list"));
        }
        return Ok(files(Files::listed(descriptor::duplicate(0).map_err(cannot)?), writes));
    }
    if let [word] = words
        && let Some(url) = word.to_str().filter(|word| is_table_url(word))
    {
        return table(url);
    }
    let urls: Vec<&str> =
        words.iter().filter_map(|word| word.to_str()).filter(|word| is_object_url(word)).collect();
    match urls.len() {
        0 if words.iter().any(|word| word.to_str().is_some_and(is_table_url)) => {
            Err(CliError::usage("the URL of a table stands alone: a call goes through one table"))
        }
        0 => {
            let paths = words.iter().map(|word| path_of(word)).collect::<Result<_>>()?;
            Ok(files(Files::new(paths), writes))
        }
        count if count == words.len() => objects(&urls, writes),
        _ => Err(CliError::usage("files and objects are not gone through by one call: name either of them")
            .hint(format!("a file of the name {} is ./{}", urls[0], urls[0]))),
    }
}

fn files(files: Files, writes: bool) -> Arc<dyn Source> {
    Arc::new(if writes { files.removing_left_files() } else { files })
}

/// Where what a word names is, as its name or the file system tells. Of what is not there, such as a pattern, it is not known.
pub(crate) fn place(word: &Path) -> Option<PathBuf> {
    match word.to_str() {
        Some(url) if is_object_url(url) => Some(word.to_owned()),
        _ => fs::canonicalize(path_of(word).ok()?).ok(),
    }
}

/// A path, or that of a `file://` URL, which is written as it is.
fn path_of(word: &Path) -> Result<PathBuf> {
    match word.to_str().and_then(|word| word.strip_prefix("file://")) {
        None => Ok(word.to_owned()),
        Some(path) if path.starts_with('/') => Ok(path.into()),
        Some(_) => Err(CliError::usage("a file:// URL has three slashes: file:///srv/archive")),
    }
}

#[cfg(feature = "objects")]
fn is_object_url(word: &str) -> bool {
    envelope_rotation::Objects::is_url(word)
}

#[cfg(feature = "objects")]
fn objects(urls: &[&str], writes: bool) -> Result<Arc<dyn Source>> {
    let objects = envelope_rotation::Objects::open(urls).map_err(|error| {
        CliError::usage(error.to_string())
            .hint("docs/rotation-objects.md names the variables of the environment")
    })?;
    Ok(Arc::new(if writes { objects.removing_left_objects() } else { objects }))
}

#[cfg(not(feature = "objects"))]
fn is_object_url(word: &str) -> bool {
    ["s3://", "gs://", "az://"].iter().any(|scheme| word.starts_with(scheme))
}

#[cfg(not(feature = "objects"))]
fn objects(_: &[&str], _: bool) -> Result<Arc<dyn Source>> {
    Err(CliError::usage("this envctl was built without object stores")
        .hint("build it with the feature `objects`"))
}

fn is_table_url(word: &str) -> bool {
    word.starts_with("postgres://") || word.starts_with("postgresql://")
}

#[cfg(feature = "sql")]
fn table(url: &str) -> Result<Arc<dyn Source>> {
    let table = envelope_rotation::Sql::from_url(url).map_err(|error| {
        CliError::usage(error.to_string()).hint("docs/rotation-sql.md says what stands in such a URL")
    })?;
    Ok(Arc::new(table))
}

#[cfg(not(feature = "sql"))]
fn table(_: &str) -> Result<Arc<dyn Source>> {
    Err(CliError::usage("this envctl was built without tables").hint("build it with the feature `sql`"))
}
