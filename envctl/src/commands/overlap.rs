//! Paths of one call that stand for the same files.

use std::{
    fs,
    path::{Path, PathBuf},
};

use envelope_sdk::printable;
use serde_json::json;

use crate::{cli::Global, report};

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
    let real: Vec<_> = paths.iter().map(|path| fs::canonicalize(path).ok()).collect();
    let mut found = Vec::new();
    for (at, path) in real.iter().enumerate() {
        let Some(path) = path else { continue };
        let within = real.iter().enumerate().find(|(other, within)| {
            let is_other = *other != at && within.as_ref().is_some_and(|within| path.starts_with(within));
            // Of two that are the same, the second.
            is_other && (real[*other].as_ref() != Some(path) || *other < at)
        });
        found.extend(within.map(|(within, _)| (paths[at].as_path(), paths[within].as_path())));
    }
    found
}

#[cfg(test)]
mod tests {
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
    }
}
