//! What is linked: no cloud SDK into the core, and one TLS and one
//! cryptographic library into this crate.

use std::{collections::BTreeSet, fs, path::PathBuf, process::Command};

#[test]
fn the_core_has_no_cloud_sdk_and_no_runtime() {
    let names: BTreeSet<String> = tree("envelope-sdk").into_iter().map(|(name, _)| name).collect();
    assert!(names.contains("aws-lc-rs"), "{names:?}");
    for name in &names {
        let cloud = ["aws-sdk", "aws-config", "aws-smithy", "google-cloud", "azure", "cryptoki"];
        assert!(!cloud.iter().any(|prefix| name.starts_with(prefix)), "{name} is in the core");
        assert!(!["tokio", "hyper", "rustls", "reqwest"].contains(&name.as_str()), "{name} is in the core");
    }
}

#[test]
fn this_crate_has_one_rustls_one_aws_lc_and_neither_ring_nor_openssl() {
    let tree = tree("envelope-aws");
    let versions = |wanted: &str| -> Vec<&str> {
        tree.iter().filter(|(name, _)| name == wanted).map(|(_, version)| version.as_str()).collect()
    };
    for once in ["rustls", "aws-lc-rs", "aws-lc-sys", "hyper", "hyper-rustls", "tokio", "aws-sdk-kms"] {
        assert_eq!(versions(once).len(), 1, "{once}: {:?}", versions(once));
    }
    for never in ["ring", "openssl", "openssl-sys", "native-tls", "aws-lc-fips-sys"] {
        assert!(versions(never).is_empty(), "{never}: {:?}", versions(never));
    }
}

#[test]
fn every_call_of_the_sdk_is_unlogged() {
    let mut folders = vec![PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/src"))];
    let mut calls = 0;
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let source: String = fs::read_to_string(&path).unwrap().split_whitespace().collect();
            for begun in [".send().await", "pages.next().await"] {
                assert!(!source.contains(begun), "{}: {begun} without `unlogged`", path.display());
            }
            calls += source.matches(".unlogged().await").count();
        }
    }
    assert!(calls >= 20, "{calls}");
}

/// The crates that a package is built from with its default features, without
/// those of its tests.
fn tree(package: &str) -> BTreeSet<(String, String)> {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--offline", "--edges", "normal,build", "--prefix", "none", "--package", package])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let line = |line: &str| {
        let mut words = line.split_whitespace();
        Some((words.next()?.to_owned(), words.next()?.to_owned()))
    };
    text.lines().filter_map(line).collect()
}
