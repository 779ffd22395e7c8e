use envelope_local::{Argon2Error, PassphraseProvider};
use envelope_sdk::ProviderErrorKind::{self, Unauthentic, Unsupported};

use super::*;

fn provider(text: &str) -> PassphraseProvider {
    PassphraseProvider::with_params(passphrase(text), FAST).unwrap()
}

fn with_blob(wrapped: &WrappedDek, change: impl FnOnce(&mut Vec<u8>)) -> WrappedDek {
    let mut blob = wrapped.ciphertext().to_vec();
    change(&mut blob);
    WrappedDek::new(KeyUri::passphrase(), wrapped.key_version(), wrapped.wrap_algorithm(), blob).unwrap()
}

fn kind(opened: Result<Dek, ProviderError>) -> ProviderErrorKind {
    opened.unwrap_err().kind()
}

#[test]
fn the_right_passphrase_opens_in_another_process_and_the_form_is_the_formats() {
    let dek = dek();
    let wrapped = wrap(&provider(SECRET), "passphrase:", &dek).unwrap();
    assert_eq!(wrapped.wrap_algorithm(), "ARGON2ID-COBBLESTONE-256");
    assert_eq!(wrapped.key_version(), "");
    assert_eq!(wrapped.ciphertext().len(), 129);
    assert_eq!(wrapped.ciphertext()[..9], [0, 0, 0x4C, 0, 0, 0, 0, 1, 1]);
    assert_eq!(unwrap(&provider(SECRET), &wrapped).unwrap().expose(), dek.expose());
}

#[test]
fn new_providers_wrap_with_64_mib_3_passes_4_lanes() {
    let provider = PassphraseProvider::new(passphrase(SECRET));
    let wrapped = wrap(&provider, "passphrase:", &dek()).unwrap();
    assert_eq!(wrapped.ciphertext()[..9], [0, 1, 0, 0, 0, 0, 0, 3, 4]);
}

#[test]
fn a_provider_keeps_its_salt_and_no_two_wraps_are_alike() {
    let (one, other, dek) = (provider(SECRET), provider(SECRET), dek());
    let [a, b, c] = [&one, &one, &other].map(|provider| wrap(provider, "passphrase:", &dek).unwrap());
    assert_eq!(a.ciphertext()[9..25], b.ciphertext()[9..25]);
    assert_ne!(a.ciphertext()[9..25], c.ciphertext()[9..25]);
    assert_ne!(a.ciphertext()[25..], b.ciphertext()[25..]);
}

#[test]
fn a_wrong_passphrase_is_unauthentic() {
    let wrapped = wrap(&provider(SECRET), "passphrase:", &dek()).unwrap();
    for wrong in ["correct hors", "correct horse ", "Correct horse", "x"] {
        assert_eq!(kind(unwrap(&provider(wrong), &wrapped)), Unauthentic, "{wrong}");
    }
}

#[test]
fn passphrases_are_not_normalised() {
    let wrapped = wrap(&provider("\u{e9}"), "passphrase:", &dek()).unwrap();
    assert_eq!(kind(unwrap(&provider("e\u{301}"), &wrapped)), Unauthentic);
}

#[test]
fn a_wrong_context_is_unauthentic() {
    let provider = provider(SECRET);
    let wrapped = wrap(&provider, "passphrase:", &dek()).unwrap();
    for wrong in [context("43"), FullContext::empty()] {
        assert_eq!(kind(block_on(provider.unwrap_dek(&wrapped, &wrong))), Unauthentic);
    }
}

#[test]
fn parameters_out_of_bounds_are_unsupported_before_any_memory_is_taken() {
    let provider = provider(SECRET);
    let wrapped = wrap(&provider, "passphrase:", &dek()).unwrap();
    let four = |at: usize, value: u32| {
        with_blob(&wrapped, |blob| blob[at..at + 4].copy_from_slice(&value.to_be_bytes()))
    };
    let m = [0, 1, 19455, 1024 * 1024 + 1, u32::MAX].map(|m| four(0, m));
    let t = [0, 17, u32::MAX].map(|t| four(4, t));
    let p = [0, 17, 255].map(|p| with_blob(&wrapped, |blob| blob[8] = p));
    let before = resident_kib();
    for refused in m.iter().chain(&t).chain(&p) {
        let error = unwrap(&provider, refused).unwrap_err();
        assert_eq!(error.kind(), Unsupported, "{error}");
        assert!(error.message().contains("Argon2id parameter"), "{error}");
    }
    // 4 TiB could not be there; this sees the gigabyte of a bound off by one.
    assert!(resident_kib() - before < 900_000);
}

#[test]
fn parameters_at_the_bounds_are_accepted() {
    for (m_cost, t_cost, p_cost) in [(19456, 1, 1), (1048576, 16, 16)] {
        assert_eq!(Argon2Params { m_cost, t_cost, p_cost }.check(), Ok(()));
    }
    for (m_cost, t_cost, p_cost, parameter) in [
        (19455, 1, 1, "m_cost in KiB"),
        (1048577, 1, 1, "m_cost in KiB"),
        (65536, 0, 1, "t_cost"),
        (65536, 17, 1, "t_cost"),
        (65536, 1, 0, "p_cost"),
        (65536, 1, 17, "p_cost"),
    ] {
        let error = Argon2Params { m_cost, t_cost, p_cost }.check().unwrap_err();
        assert!(matches!(error, Argon2Error::OutOfBounds { parameter: p, .. } if p == parameter), "{error}");
    }
    let refused = PassphraseProvider::with_params(
        passphrase(SECRET),
        Argon2Params { m_cost: 1024, t_cost: 1, p_cost: 1 },
    );
    assert!(matches!(refused.err(), Some(Argon2Error::OutOfBounds { value: 1024, min: 19456, .. })));
}

#[test]
fn work_counts_memory_and_memory_times_passes() {
    for (m_cost, t_cost, p_cost, work) in [
        (19456, 1, 1, 1),
        (65536, 3, 4, 1),
        (65536, 4, 4, 2),
        (19456, 16, 16, 2),
        (65536, 12, 4, 4),
        (262144, 1, 1, 4),
        (262144, 3, 1, 4),
        (262145, 1, 1, 5),
        (65537, 12, 1, 5),
        (49153, 16, 1, 5),
        (1048576, 16, 16, 86),
        (u32::MAX, u32::MAX, 1, u32::MAX),
    ] {
        assert_eq!(Argon2Params { m_cost, t_cost, p_cost }.work(), work, "{m_cost} {t_cost} {p_cost}");
    }
}

#[test]
fn a_wrap_that_asks_for_more_than_four_times_the_work_is_refused_before_any_memory_is_taken() {
    let provider = provider(SECRET);
    let wrapped = wrap(&provider, "passphrase:", &dek()).unwrap();
    let asking = |m: u32, t: u32| {
        with_blob(&wrapped, |blob| {
            blob[..4].copy_from_slice(&m.to_be_bytes());
            blob[4..8].copy_from_slice(&t.to_be_bytes());
        })
    };
    let before = resident_kib();
    for (m_cost, t_cost, words) in [
        (1048576, 16, "(memory 1024 MiB, passes 16), 86 times the work"),
        (262145, 1, "(memory 257 MiB, passes 1), 5 times the work"),
        (65536, 13, "(memory 64 MiB, passes 13), 5 times the work"),
    ] {
        let error = unwrap(&provider, &asking(m_cost, t_cost)).unwrap_err();
        assert_eq!(error.kind(), Unsupported, "{error}");
        assert!(error.message().contains(words) && error.message().contains("4 times is allowed"), "{error}");
        let source = std::error::Error::source(&error).and_then(|source| source.downcast_ref());
        let params = Argon2Params { m_cost, t_cost, p_cost: 1 };
        assert_eq!(source, Some(&Argon2Error::TooMuchWork { params, allowed: 4 }));
    }
    // What the first of them would have taken.
    assert!(resident_kib() - before < 900_000);
}

#[test]
fn more_work_is_done_where_it_was_allowed_and_for_a_providers_own_parameters() {
    let heavy = Argon2Params { m_cost: 262_145, t_cost: 1, p_cost: 1 };
    let writer = PassphraseProvider::with_params(passphrase(SECRET), heavy).unwrap();
    let dek = dek();
    let wrapped = wrap(&writer, "passphrase:", &dek).unwrap();
    assert_eq!(kind(unwrap(&provider(SECRET), &wrapped)), Unsupported);
    for allowing in [
        PassphraseProvider::with_params(passphrase(SECRET), heavy).unwrap(),
        PassphraseProvider::with_params(passphrase(SECRET), heavy).unwrap().allow_work(1),
        provider(SECRET).allow_work(5),
    ] {
        assert_eq!(unwrap(&allowing, &wrapped).unwrap().expose(), dek.expose());
    }
    assert_eq!(kind(unwrap(&provider(SECRET).allow_work(4), &wrapped)), Unsupported);
}

#[test]
fn every_changed_byte_is_refused() {
    let provider = provider(SECRET);
    let wrapped = wrap(&provider, "passphrase:", &dek()).unwrap();
    for at in 0..wrapped.ciphertext().len() {
        let kind = kind(unwrap(&provider, &with_blob(&wrapped, |blob| blob[at] ^= 1)));
        // 2²⁴ KiB, 0 passes and 0 lanes are out of bounds; all else is within.
        let expected = if [0, 4, 5, 6, 7, 8].contains(&at) { Unsupported } else { Unauthentic };
        assert_eq!(kind, expected, "byte {at}");
    }
}

#[test]
fn every_other_length_is_refused() {
    let provider = provider(SECRET);
    let wrapped = wrap(&provider, "passphrase:", &dek()).unwrap();
    for length in (1..wrapped.ciphertext().len()).chain([130, 145, 4096]) {
        let cut = with_blob(&wrapped, |blob| blob.resize(length, 0));
        assert_eq!(kind(unwrap(&provider, &cut)), Unauthentic, "{length} bytes");
    }
}

#[test]
fn other_schemes_algorithms_and_versions_are_unsupported() {
    let provider = provider(SECRET);
    assert_eq!(wrap(&provider, "local:a", &dek()).unwrap_err().kind(), Unsupported);
    let wrapped = wrap(&provider, "passphrase:", &dek()).unwrap();
    for (uri, version, algorithm) in [
        ("passphrase:", "", "XAES-256-GCM"),
        ("passphrase:", "1", "ARGON2ID-COBBLESTONE-256"),
        ("other:x", "", "ARGON2ID-COBBLESTONE-256"),
    ] {
        let uri = KeyUri::parse(uri).unwrap();
        let other = WrappedDek::new(uri, version, algorithm, wrapped.ciphertext().to_vec()).unwrap();
        assert_eq!(kind(unwrap(&provider, &other)), Unsupported);
    }
}

#[test]
fn errors_hold_no_passphrase() {
    let provider = provider("hunter2-canary");
    let wrapped = wrap(&provider, "passphrase:", &dek()).unwrap();
    let error = unwrap(&provider, &with_blob(&wrapped, |blob| blob[60] ^= 1)).unwrap_err();
    assert!(!format!("{error} {error:?}").contains("canary"));
}

fn resident_kib() -> i64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    peak.and_then(|peak| peak.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0)
}
