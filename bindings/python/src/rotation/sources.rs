//! What a job goes through: files by their paths, objects and tables by their URLs.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use envelope_rotation::{Files, Source};

use crate::failure::{Failure, Result};

/// The envelopes that these words name: paths and `file://` URLs, or URLs of object stores, or that of a table. Where something
/// is written, what a killed job left there is removed, too.
pub(super) fn open(words: &[PathBuf], writes: bool) -> Result<Arc<dyn Source>> {
    let urls: Vec<&str> = words.iter().filter_map(|word| word.to_str()).filter(|word| is_url(word)).collect();
    match (urls.as_slice(), words.len()) {
        ([], _) => {
            let files = Files::new(words.iter().map(|word| path_of(word)).collect::<Result<_>>()?);
            Ok(Arc::new(if writes { files.removing_left_files() } else { files }))
        }
        ([url], 1) if is_table_url(url) => table(url),
        (urls, count) if urls.len() == count && !urls.iter().any(|url| is_table_url(url)) => {
            objects(urls, writes)
        }
        _ => Err(Failure::usage(
            "one job goes through files, or objects, or one table: call it for each of them",
        )),
    }
}

/// A path, or that of a `file://` URL, which is written as it is.
pub(super) fn path_of(word: &Path) -> Result<PathBuf> {
    match word.to_str().and_then(|word| word.strip_prefix("file://")) {
        None => Ok(word.to_owned()),
        Some(path) if path.starts_with('/') => Ok(path.into()),
        Some(_) => Err(Failure::usage("a file:// URL has three slashes: file:///srv/archive")),
    }
}

/// Whether the word is no path.
pub(super) fn is_url(word: &str) -> bool {
    is_object_url(word) || is_table_url(word)
}

pub(super) fn is_table_url(word: &str) -> bool {
    word.starts_with("postgres://") || word.starts_with("postgresql://")
}

fn is_object_url(word: &str) -> bool {
    ["s3://", "gs://", "az://"].iter().any(|scheme| word.starts_with(scheme))
}

#[cfg(feature = "objects")]
pub(super) fn objects(urls: &[&str], writes: bool) -> Result<Arc<dyn Source>> {
    let objects = envelope_rotation::Objects::open(urls).map_err(|error| {
        Failure::usage(error.to_string())
            .hint("docs/rotation-objects.md names the variables of the environment")
    })?;
    Ok(Arc::new(if writes { objects.removing_left_objects() } else { objects }))
}

#[cfg(not(feature = "objects"))]
pub(super) fn objects(_: &[&str], _: bool) -> Result<Arc<dyn Source>> {
    Err(Failure::usage("this build of envelope-sdk has no object stores")
        .hint("build it with the feature `objects`, which wheels have"))
}

#[cfg(feature = "sql")]
fn table(url: &str) -> Result<Arc<dyn Source>> {
    let table = envelope_rotation::Sql::from_url(url).map_err(|error| {
        Failure::usage(error.to_string()).hint("docs/rotation-sql.md says what stands in such a URL")
    })?;
    Ok(Arc::new(table))
}

#[cfg(not(feature = "sql"))]
fn table(_: &str) -> Result<Arc<dyn Source>> {
    Err(Failure::usage("this build of envelope-sdk has no tables")
        .hint("build it with the feature `sql`, which wheels have"))
}
