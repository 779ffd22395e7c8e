//! Paths and URLs of one call that stand for the same files or objects.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
};

use envelope_sdk::printable;
use serde_json::json;

use crate::{cli::Global, report, sources};

/// Says which paths are below others of the call: their envelopes are listed, and counted, once for each.
pub(crate) fn warn(global: &Global, paths: &[PathBuf]) {
    for (path, within) in overlaps(paths) {
        let (path, within) = (printable::path(path), printable::path(within));
        let text = format!("{path} is named twice, as it is part of {within}: it is counted for each");
        let _ = report::status(global.json, &json!({ "warning": text }), &format!("warning: {text}"));
    }
}

/// What is not there, such as a pattern, is part of nothing.
fn overlaps(paths: &[PathBuf]) -> Vec<(&Path, &Path)> {
    let real: Vec<_> = paths.iter().map(|path| sources::place(path)).collect();
    let found = within(&real);
    found.into_iter().map(|(at, within)| (paths[at].as_path(), paths[within].as_path())).collect()
}

/// By their places. A shell gives tens of thousands of paths: each is looked for, and none compared with all others.
fn within(real: &[Option<PathBuf>]) -> Vec<(usize, usize)> {
    let there = || real.iter().enumerate().filter_map(|(at, path)| Some((at, path.as_deref()?)));
    let mut first = HashMap::new();
    for (at, path) in there() {
        first.entry(path).or_insert(at);
    }
    let mut found = Vec::new();
    for (at, path) in there() {
        // Of two that are the same, the second.
        let mut above = path.ancestors().filter_map(|above| first.get(above).copied());
        found.extend(above.find(|within| *within != at).map(|within| (at, within)));
    }
    found
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_path_below_another_or_named_again_is_found_and_its_neighbour_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::create_dir_all(at("tree/sub")).unwrap();
        fs::create_dir(at("tree-2")).unwrap();
        fs::write(at("tree/file"), "").unwrap();
        let (tree, again, file) = (at("tree"), at("tree/sub/.."), at("tree/file"));
        let paths = [tree.clone(), at("tree-2"), again.clone(), file.clone(), at("tree/*")];
        let found = overlaps(&paths);
        assert_eq!(found, [(again.as_path(), tree.as_path()), (file.as_path(), tree.as_path())]);
        let url = PathBuf::from(format!("file://{}", file.display()));
        let paths = [url.clone(), tree.clone()];
        assert_eq!(overlaps(&paths), [(url.as_path(), tree.as_path())]);
    }

    #[test]
    fn so_is_a_url_of_objects() {
        let urls = ["s3://b/2026", "s3://b/2026/x", "s3://b/20", "gs://b/2026", "s3://c", "s3://c/"];
        let urls = urls.map(PathBuf::from);
        let found = overlaps(&urls);
        let expected = [(&urls[1], &urls[0]), (&urls[5], &urls[4])];
        assert_eq!(found, expected.map(|(url, within)| (url.as_path(), within.as_path())));
    }

    /// Each with each would take hours.
    #[test]
    fn as_many_paths_as_a_shell_gives_take_no_time() {
        let name = |number: u32| Some(PathBuf::from(format!("/srv/archive/{number}")));
        let mut real: Vec<Option<PathBuf>> = (0..50_000).map(name).collect();
        assert!(within(&real).is_empty());
        real.push(Some("/srv/archive".into()));
        real.push(None);
        assert_eq!(within(&real).len(), 50_000);
    }
}
