//! What the crate cannot reach.

use std::{
    collections::{BTreeMap, BTreeSet},
    process::Command,
};

use serde_json::Value;

/// What opens keys, or changes them, or runs jobs that do.
const NEVER: [&str; 11] = [
    "envelope-audit",
    "envelope-aws",
    "envelope-azure",
    "envelope-gcp",
    "envelope-layers",
    "envelope-local",
    "envelope-pkcs11",
    "envelope-policy",
    "envelope-providers",
    "envelope-rotation",
    "envelope-vault",
];

#[test]
fn the_server_depends_on_nothing_that_opens_or_changes_a_key() {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version=1", "--offline", "--locked"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let names: BTreeMap<&str, &str> = metadata["packages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|package| (package["id"].as_str().unwrap(), package["name"].as_str().unwrap()))
        .collect();
    let nodes: BTreeMap<&str, &Value> = metadata["resolve"]["nodes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|node| (node["id"].as_str().unwrap(), node))
        .collect();
    let start = names.iter().find(|(_, name)| **name == "envelope-mcp").unwrap().0;
    let (mut seen, mut waiting) = (BTreeSet::new(), vec![*start]);
    while let Some(id) = waiting.pop() {
        if !seen.insert(names[id]) {
            continue;
        }
        for dependency in nodes[id]["deps"].as_array().unwrap() {
            // Those of tests are no part of it.
            if dependency["dep_kinds"].as_array().unwrap().iter().any(|kind| kind["kind"].is_null()) {
                waiting.push(dependency["pkg"].as_str().unwrap());
            }
        }
    }
    assert!(seen.contains("envelope-sdk"), "it was not looked at");
    let reached: Vec<_> = NEVER.iter().filter(|name| seen.contains(**name)).collect();
    assert!(reached.is_empty(), "{reached:?}");
}
