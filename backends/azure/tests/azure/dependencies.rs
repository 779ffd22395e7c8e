//! What is linked, and what the sources may not do.

use std::{collections::BTreeSet, fs, path::PathBuf, process::Command};

#[test]
fn this_crate_has_one_rustls_one_aws_lc_and_neither_ring_nor_openssl() {
    let tree = tree("envelope-azure");
    let versions = |wanted: &str| -> Vec<&str> {
        tree.iter().filter(|(name, _)| name == wanted).map(|(_, version)| version.as_str()).collect()
    };
    for once in ["rustls", "aws-lc-rs", "aws-lc-sys", "hyper", "hyper-rustls", "tokio", "reqwest"] {
        assert_eq!(versions(once).len(), 1, "{once}: {:?}", versions(once));
    }
    assert_eq!(versions("azure_security_keyvault_keys").len(), 1);
    for never in ["ring", "openssl", "openssl-sys", "native-tls", "rsa", "jsonwebtoken"] {
        assert!(versions(never).is_empty(), "{never}: {:?}", versions(never));
    }
}

/// Microsoft's client holds answers in its errors, and prints some of them: no error,
/// answer or request of it is ever formatted here, and each call goes through
/// `Limits`, which has it unlogged.
#[test]
fn nothing_of_microsofts_client_is_formatted_and_every_call_is_unlogged() {
    let mut calls = 0;
    for (path, source) in sources() {
        let code: String = source.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
        // Tests of the sources format values of their own.
        let code = code.split("#[cfg(test)]mod tests").next().unwrap_or_default().to_owned();
        for form in [
            ":?}",
            ":#?}",
            "{:?",
            "dbg!",
            "print!",
            "println!",
            "trace!(",
            "debug!(",
            "info!(",
            "warn!(",
            "error!(",
            "event!(",
            "span!(",
            "assert!(",
            "assert_eq!(",
            "panic!(",
            ".expect(",
            ".unwrap()",
        ] {
            assert!(!code.contains(form), "{path}: {form}");
        }
        assert!(path.ends_with("call.rs") || !code.contains("tracing::"), "{path} logs");
        for (at, _) in code.match_indices("derive(") {
            let derived = &code[at..];
            let (traits, rest) = derived.split_once(')').unwrap();
            // The whole item: a type that holds an answer must not be printable.
            let item = rest.split(['}', ';']).next().unwrap();
            if traits.contains("Debug") {
                for held in ["KeyOperation", "Bytes", "Zeroizing", "Text", "azure_core::Error"] {
                    assert!(!item.contains(held), "{path}: Debug of {item}");
                }
            }
        }
        let tight: String = code.split_whitespace().collect();
        calls += tight.matches("limits.again(||").count() + tight.matches("limits.once(||").count();
        let named = tight.matches("vault.client.").count();
        let within = tight.matches("limits.again(||").count() + tight.matches("limits.once(||").count();
        // Encrypt or wrapKey, and decrypt or unwrapKey, are two names in one call.
        let doubles = if path.ends_with("provider.rs") { 2 } else { 0 };
        assert_eq!(named, within + doubles, "{path}: a call past the limits");
    }
    assert!(calls >= 14, "{calls}");
}

/// An error of the client is looked at by its questions, and never handed on as a
/// source.
#[test]
fn no_error_of_microsofts_client_is_the_source_of_ours() {
    for (path, source) in sources() {
        for (at, _) in source.match_indices(".with_source(") {
            let what = source[at..].split(')').next().unwrap().trim_start_matches(".with_source(");
            let is_ours = ["error", "panicked", "envelope_sdk::registry::MissingSetting::new("]
                .iter()
                .any(|ours| what.starts_with(ours));
            assert!(is_ours, "{path}: {what}");
        }
        assert!(!source.contains("causes("), "{path}");
    }
}

fn sources() -> Vec<(String, String)> {
    let mut folders = vec![PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/src"))];
    let mut sources = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                sources.push((path.display().to_string(), fs::read_to_string(&path).unwrap()));
            }
        }
    }
    assert!(sources.len() > 20);
    sources
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
