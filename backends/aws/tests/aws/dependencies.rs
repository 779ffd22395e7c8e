//! What is linked: no cloud SDK into the core, and one TLS and one
//! cryptographic library into this crate.

use std::collections::BTreeSet;

use envelope_testkit::sources::{all, demand_linked, tree};

#[test]
fn the_core_has_no_cloud_sdk_and_no_runtime() {
    let names: BTreeSet<String> = tree(FOLDER, "envelope-sdk").into_iter().map(|(name, _)| name).collect();
    assert!(names.contains("aws-lc-rs"), "{names:?}");
    for name in &names {
        let cloud = ["aws-sdk", "aws-config", "aws-smithy", "google-cloud", "azure", "cryptoki"];
        assert!(!cloud.iter().any(|prefix| name.starts_with(prefix)), "{name} is in the core");
        assert!(!["tokio", "hyper", "rustls", "reqwest"].contains(&name.as_str()), "{name} is in the core");
    }
}

#[test]
fn this_crate_has_one_rustls_one_aws_lc_and_neither_ring_nor_openssl() {
    let once = ["rustls", "aws-lc-rs", "aws-lc-sys", "hyper", "hyper-rustls", "tokio", "aws-sdk-kms"];
    let never = ["ring", "openssl", "openssl-sys", "native-tls", "aws-lc-fips-sys"];
    demand_linked(&tree(FOLDER, "envelope-aws"), &once, &never);
}

#[test]
fn every_call_of_the_sdk_is_unlogged() {
    let mut calls = 0;
    for source in all(concat!(env!("CARGO_MANIFEST_DIR"), "/src")) {
        let tight = source.tight();
        for begun in [".send().await", "pages.next().await"] {
            assert!(!tight.contains(begun), "{}: {begun} without `unlogged`", source.path);
        }
        calls += tight.matches(".unlogged().await").count();
    }
    assert!(calls >= 20, "{calls}");
}

const FOLDER: &str = env!("CARGO_MANIFEST_DIR");
