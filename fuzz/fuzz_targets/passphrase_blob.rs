//! A wrapped DEK of a passphrase opens when it is exactly what was wrapped, and
//! Argon2id never runs with parameters out of bounds.
#![no_main]

use std::sync::LazyLock;

use arbitrary::Arbitrary;
use envelope_fuzz::{
    fixtures::{PASSPHRASE_BLOBS, context, passphrase_provider},
    memory::bounded,
    mutate::{Change, apply},
    now,
};
use envelope_local::PassphraseProvider;
use envelope_sdk::{FullContext, KeyProvider, KeyUri, ProviderErrorKind, WrappedDek};
use libfuzzer_sys::fuzz_target;

#[derive(Debug, Arbitrary)]
struct Input<'a> {
    which: bool,
    blob: Blob<'a>,
    version: Option<&'a str>,
    algorithm: Option<&'a str>,
    empty_context: bool,
}

#[derive(Debug, Arbitrary)]
enum Blob<'a> {
    Changed(Vec<Change>),
    /// Other costs before the rest of a fixture.
    Costs(u32, u32, u8),
    /// Salt and costs of the fixture before other bytes.
    Sealed(&'a [u8]),
    Raw(&'a [u8]),
}

/// The provider has derived its one key when this is made.
static PROVIDER: LazyLock<PassphraseProvider> = LazyLock::new(|| {
    let provider = passphrase_provider();
    for blob in PASSPHRASE_BLOBS {
        let wrapped = WrappedDek::new(KeyUri::passphrase(), "", ALGORITHM, blob.to_vec()).expect("a fixture");
        now(provider.unwrap_dek(&wrapped, &CONTEXT)).expect("a fixture");
    }
    provider
});
static CONTEXT: LazyLock<FullContext> = LazyLock::new(|| context().full().expect("a fixture"));

fuzz_target!(|input: Input<'_>| {
    let provider = &*PROVIDER;
    let (original, other) =
        (PASSPHRASE_BLOBS[usize::from(input.which)], PASSPHRASE_BLOBS[usize::from(!input.which)]);
    let blob = match input.blob {
        Blob::Changed(changes) => apply(original, other, &changes),
        Blob::Costs(m_cost, t_cost, p_cost) => {
            [&m_cost.to_be_bytes(), &t_cost.to_be_bytes(), &[p_cost][..], &original[9..]].concat()
        }
        Blob::Sealed(bytes) => [&original[..DERIVED_LEN], bytes].concat(),
        Blob::Raw(bytes) => bytes.to_vec(),
    };
    let within = blob.len() == original.len() && is_within_bounds(&blob);
    if within && blob[..DERIVED_LEN] != original[..DERIVED_LEN] {
        // Argon2id would run as it should: up to 1 GiB and some seconds.
        return;
    }
    let (version, algorithm) = (input.version.unwrap_or_default(), input.algorithm.unwrap_or(ALGORITHM));
    let Ok(wrapped) = WrappedDek::new(KeyUri::passphrase(), version, algorithm, blob) else { return };
    let context = if input.empty_context { &FullContext::empty() } else { &*CONTEXT };

    let named = version.is_empty() && algorithm == ALGORITHM;
    let intact = named && !input.empty_context && PASSPHRASE_BLOBS.contains(&wrapped.ciphertext());
    // Argon2id with its least memory would break this bound.
    match bounded(wrapped.ciphertext().len(), || now(provider.unwrap_dek(&wrapped, context))) {
        Ok(_) => assert!(intact),
        Err(error) => {
            assert!(!intact);
            let out_of_bounds = wrapped.ciphertext().len() == original.len() && !within;
            let expected = if !named || out_of_bounds {
                ProviderErrorKind::Unsupported
            } else {
                ProviderErrorKind::Unauthentic
            };
            assert_eq!(error.kind(), expected, "{error}");
            assert!(!error.is_retryable());
        }
    }
});

/// The bounds of the specification, and not those of the library.
fn is_within_bounds(blob: &[u8]) -> bool {
    let cost = |at: usize| u32::from_be_bytes(blob[at..at + 4].try_into().expect("four bytes"));
    (19 * 1024..=1024 * 1024).contains(&cost(0)) && (1..=16).contains(&cost(4)) && (1..=16).contains(&blob[8])
}

const ALGORITHM: &str = "ARGON2ID-COBBLESTONE-256";
/// Costs and salt: what the derived key depends on.
const DERIVED_LEN: usize = 4 + 4 + 1 + 16;
