//! What is linked, and what the sources may not do.

use envelope_testkit::sources::{all, demand_linked, tree};

const FOLDER: &str = env!("CARGO_MANIFEST_DIR");
const SOURCES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src");

#[test]
fn this_crate_has_one_rustls_one_aws_lc_and_neither_ring_nor_openssl() {
    let once = [
        "rustls",
        "aws-lc-rs",
        "aws-lc-sys",
        "hyper",
        "hyper-rustls",
        "tokio",
        "reqwest",
        "azure_security_keyvault_keys",
    ];
    let never = ["ring", "openssl", "openssl-sys", "native-tls", "rsa", "jsonwebtoken"];
    demand_linked(&tree(FOLDER, "envelope-azure"), &once, &never);
}

/// Microsoft's client holds answers in its errors, and prints some of them: no error,
/// answer or request of it is ever formatted here, and each call goes through
/// `Limits`, which has it unlogged.
#[test]
fn nothing_of_microsofts_client_is_formatted_and_every_call_is_unlogged() {
    let mut calls = 0;
    for source in all(SOURCES) {
        let held = ["KeyOperation", "Bytes", "Zeroizing", "Text", "azure_core::Error"];
        source.demand_nothing_is_formatted(&held, "call.rs");
        let tight = source.tight();
        let named = tight.matches("vault.client.").count();
        let within = tight.matches("limits.again(||").count() + tight.matches("limits.once(||").count();
        // Encrypt or wrapKey, and decrypt or unwrapKey, are two names in one call.
        let doubles = if source.path == "provider.rs" { 2 } else { 0 };
        assert_eq!(named, within + doubles, "{}: a call past the limits", source.path);
        calls += within;
    }
    assert!(calls >= 14, "{calls}");
}

/// An error of the client is looked at by its questions, and never handed on as a
/// source.
#[test]
fn no_error_of_microsofts_client_is_the_source_of_ours() {
    for source in all(SOURCES) {
        source.demand_sources_of_errors(&[
            "error)",
            "panicked)",
            "envelope_sdk::registry::MissingSetting::new(",
        ]);
    }
}
