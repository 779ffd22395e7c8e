//! Answers of a service as they are documented, kept as data.

use std::{fs, path::Path};

use serde_json::Value;

/// The cases of a folder of this package by their names. Each tells what it shows,
/// where and when it was seen, and what was said there.
pub(crate) fn cases(folder: &str) -> Vec<(String, Value)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let read = |file: std::path::PathBuf| {
        let name = file.file_stem().unwrap().to_str().unwrap().to_owned();
        let case: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
        for told in ["what", "source", "seen", "said"] {
            assert!(case[told].as_str().is_some_and(|text| !text.is_empty()), "{name} does not tell {told}");
        }
        (name, case)
    };
    files.into_iter().map(read).collect()
}

/// With the names filled in, everywhere.
pub(crate) fn filled(value: &Value, names: &[(&str, &str)]) -> Value {
    match value {
        Value::String(text) => {
            Value::String(names.iter().fold(text.clone(), |text, (name, value)| text.replace(name, value)))
        }
        Value::Array(all) => all.iter().map(|value| filled(value, names)).collect(),
        Value::Object(all) => all.iter().map(|(key, value)| (key.clone(), filled(value, names))).collect(),
        other => other.clone(),
    }
}
