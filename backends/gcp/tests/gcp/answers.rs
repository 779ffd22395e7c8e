//! Answers that are not what they must be: corrupted on the way, empty, about
//! another key, or of another protection level.

use envelope_gcp::Protection;
use envelope_sdk::{
    KeyProvider,
    ProviderErrorKind::{Invalid, Protocol, Unauthentic, Unsupported},
    WrappedDek,
};
use envelope_testkit::{gcp_server::Reply, http_server::Answer};
use serde_json::{Value, json};

use super::{
    canned::{Canned, call_of, crc32c, decrypted, encrypted, refusal, some_wrap, the_key, with},
    *,
};

/// Each field that is checked, changed and left out.
#[test]
fn an_answer_of_encrypt_that_was_corrupted_is_attempted_again_and_never_accepted() {
    for (field, value, what) in [
        ("ciphertextCrc32c", Some(json!("7")), "the ciphertext by a checksum that fits"),
        ("ciphertextCrc32c", None, "the ciphertext by a checksum that fits"),
        ("ciphertext", Some(json!("AAAA")), "the ciphertext by a checksum that fits"),
        ("verifiedPlaintextCrc32c", Some(json!(false)), "that the plaintext came as it was sent"),
        ("verifiedPlaintextCrc32c", None, "that the plaintext came as it was sent"),
        (
            "verifiedAdditionalAuthenticatedDataCrc32c",
            Some(json!(false)),
            "that the context came as it was sent",
        ),
        ("verifiedAdditionalAuthenticatedDataCrc32c", None, "that the context came as it was sent"),
    ] {
        let server = Canned::saying(with(encrypted(), field, value).to_string());
        let kms = at(&server.0.url()).attempts(3).build();
        let error = block_on(kms.wrap_dek(&the_key(), &fresh_dek(), &context())).unwrap_err();
        assert_eq!((error.kind(), error.is_retryable(), error.key()), (Protocol, false, Some(&the_key())));
        let words = format!(
            "Cloud KMS did not confirm {what}, at any attempt of Encrypt: something on the way changes what is sent"
        );
        assert_eq!(error.message(), words, "{field}");
        assert_eq!(server.0.count(), 3, "{field}");
    }
}

#[test]
fn an_answer_of_decrypt_that_was_corrupted_is_attempted_again_and_never_accepted() {
    for (field, value) in
        [("plaintextCrc32c", Some(json!("7"))), ("plaintextCrc32c", None), ("plaintext", Some(json!("AAAA")))]
    {
        let server = Canned::saying(with(decrypted(&[7; 32]), field, value).to_string());
        let kms = at(&server.0.url()).attempts(2).build();
        let error = block_on(kms.unwrap_dek(&some_wrap(), &context())).unwrap_err();
        assert_eq!((error.kind(), error.is_retryable(), error.key()), (Protocol, false, Some(&the_key())));
        assert_eq!(
            error.message(),
            "Cloud KMS did not confirm the plaintext by a checksum that fits, at any attempt of Decrypt: something on \
             the way changes what is sent"
        );
        assert_eq!(server.0.count(), 2, "{field}");
    }
}

#[test]
fn what_was_corrupted_once_is_right_the_second_time() {
    let bad = with(encrypted(), "ciphertextCrc32c", Some(json!("7"))).to_string();
    let server = Canned::in_turn([Answer::json(200, bad), Answer::json(200, encrypted().to_string())]);
    let wrapped =
        block_on(at(&server.0.url()).build().wrap_dek(&the_key(), &fresh_dek(), &context())).unwrap();
    assert_eq!((wrapped.key_version(), server.0.count()), ("1", 2));
    // Google says so of a request that was changed on the way to it.
    let words = "The checksum in field ciphertext_crc32c did not match the data in field ciphertext.";
    let server = Canned::in_turn([
        refusal(400, "INVALID_ARGUMENT", words, ""),
        Answer::json(200, decrypted(&[7; 32]).to_string()),
    ]);
    let dek = block_on(at(&server.0.url()).build().unwrap_dek(&some_wrap(), &context())).unwrap();
    assert_eq!((dek.expose(), server.0.count()), (&[7; 32], 2));
}

/// The stand-in computes them by itself, from what it got.
#[test]
fn a_request_whose_checksums_do_not_fit_is_told_from_a_wrap_that_does_not() {
    let words = "The checksum in field additional_authenticated_data_crc32c did not match the data in field \
                 additional_authenticated_data.";
    let server = Canned::answering(move |_| refusal(400, "INVALID_ARGUMENT", words, ""));
    for error in [server.wrap().unwrap_err(), server.unwrap().unwrap_err()] {
        assert_eq!(error.kind(), Protocol, "{error}");
        assert!(error.message().contains("that the request came as it was sent"), "{error}");
    }
}

#[test]
fn checksums_of_each_field_are_sent() {
    let gcp = Gcp::new();
    let (key, dek) = (gcp.key(), fresh_dek());
    let _ = gcp.calls();
    let wrapped = block_on(gcp.kms.wrap_dek(&key, &dek, &context())).unwrap();
    block_on(gcp.kms.unwrap_dek(&wrapped, &context())).unwrap();
    let sent = gcp.http.take();
    let body = |at: usize| serde_json::from_slice::<Value>(&sent[at].body).unwrap();
    let aad = json!(crc32c(context().as_bytes()).to_string());
    assert_eq!(body(0)["plaintextCrc32c"], json!(crc32c(dek.expose()).to_string()));
    assert_eq!(body(0)["additionalAuthenticatedDataCrc32c"], aad);
    assert_eq!(body(1)["ciphertextCrc32c"], json!(crc32c(wrapped.ciphertext()).to_string()));
    assert_eq!(body(1)["additionalAuthenticatedDataCrc32c"], aad);
}

#[test]
fn an_empty_answer_is_refused_at_once() {
    let server = Canned::saying("{}");
    let kms = at(&server.0.url()).hsm_randomness(true).build();
    for (call, what, error) in [
        ("Encrypt", "ciphertext", block_on(kms.wrap_dek(&the_key(), &fresh_dek(), &context())).unwrap_err()),
        ("Decrypt", "plaintext", block_on(kms.unwrap_dek(&some_wrap(), &context())).unwrap_err()),
        (
            "GenerateRandomBytes",
            "random bytes",
            block_on(kms.generate_dek(&the_key(), &context())).unwrap_err(),
        ),
    ] {
        assert_eq!((error.kind(), error.is_retryable(), error.key()), (Protocol, false, Some(&the_key())));
        let words = format!("Cloud KMS answered {call} without {what}: do not trust what stands between");
        assert_eq!(error.message(), words);
    }
    assert_eq!(server.0.count(), 3, "no attempt was repeated");
}

#[test]
fn a_wrap_of_another_key_or_of_no_version_is_refused() {
    for name in [
        format!("{RING}/cryptoKeys/another/cryptoKeyVersions/1"),
        format!("{RING}/cryptoKeys/the-key"),
        format!("{RING}/cryptoKeys/the-key/cryptoKeyVersions/"),
        format!("{RING}/cryptoKeys/the-key/cryptoKeyVersions/0"),
        format!("{RING}/cryptoKeys/the-key/cryptoKeyVersions/1/more"),
        "projects/other/locations/europe-west3/keyRings/tests/cryptoKeys/the-key/cryptoKeyVersions/1"
            .to_owned(),
        String::new(),
    ] {
        let server = Canned::saying(with(encrypted(), "name", Some(json!(name))).to_string());
        let error = server.wrap().unwrap_err();
        assert_eq!((error.kind(), error.is_retryable()), (Protocol, false), "{name}: {error}");
        assert_eq!(
            error.message(),
            "Cloud KMS did not answer for a version of the key that was asked: do not trust what stands between"
        );
    }
}

#[test]
fn a_ciphertext_that_no_header_could_hold_is_refused() {
    let ciphertext = [1; WrappedDek::MAX_CIPHERTEXT_LEN + 1];
    let answer = with(encrypted(), "ciphertext", Some(json!(base64(&ciphertext))));
    let answer = with(answer, "ciphertextCrc32c", Some(json!(crc32c(&ciphertext).to_string())));
    let error = Canned::saying(answer.to_string()).wrap().unwrap_err();
    assert_eq!(error.kind(), Protocol);
    assert_eq!(error.message(), "Cloud KMS answered with a ciphertext of 4097 bytes, which is none of a DEK");
}

#[test]
fn what_is_unwrapped_has_32_bytes() {
    for len in [1, 31, 33, 64] {
        let error = Canned::saying(decrypted(&vec![7; len]).to_string()).unwrap().unwrap_err();
        assert_eq!((error.kind(), error.is_retryable()), (Unauthentic, false), "{len}");
        assert_eq!(error.message(), "the plaintext of Decrypt is no DEK, which has 32 bytes");
    }
}

#[test]
fn a_protection_level_that_is_demanded_is_checked_in_each_answer() {
    let server = Canned::answering(|request| {
        let answer = if call_of(request) == "encrypt" { encrypted() } else { decrypted(&[7; 32]) };
        Answer::json(200, answer.to_string())
    });
    let demanding = |level| at(&server.0.url()).protection(level).build();
    let software = demanding(Protection::Software);
    block_on(software.wrap_dek(&the_key(), &fresh_dek(), &context())).unwrap();
    block_on(software.unwrap_dek(&some_wrap(), &context())).unwrap();
    let hsm = demanding(Protection::Hsm);
    for error in [
        block_on(hsm.wrap_dek(&the_key(), &fresh_dek(), &context())).unwrap_err(),
        block_on(hsm.unwrap_dek(&some_wrap(), &context())).unwrap_err(),
    ] {
        assert_eq!((error.kind(), error.is_retryable(), error.key()), (Invalid, false, Some(&the_key())));
        assert_eq!(
            error.message(),
            "the settings demand the protection level hsm, and Cloud KMS says that it used software: use another key"
        );
    }
}

/// Decrypt does not name the version that it used; the protection level of the one
/// that wrapped it cannot change.
#[test]
fn a_version_that_seems_to_have_changed_its_protection_level_is_refused() {
    let server = Canned::answering(|request| {
        let answer = if call_of(request) == "encrypt" {
            with(encrypted(), "protectionLevel", Some(json!("HSM")))
        } else {
            decrypted(&[7; 32])
        };
        Answer::json(200, answer.to_string())
    });
    let kms = server.kms();
    let wrapped = block_on(kms.wrap_dek(&the_key(), &fresh_dek(), &context())).unwrap();
    let error = block_on(kms.unwrap_dek(&wrapped, &context())).unwrap_err();
    assert_eq!(error.kind(), Protocol);
    assert_eq!(
        error.message(),
        "Cloud KMS says that it unwrapped at another protection level than version 1 has, which wrapped: do not trust \
         what stands between"
    );
    // Of another version nothing is known.
    let other = WrappedDek::new(the_key(), "2", "GCP-KMS", vec![1; 113]).unwrap();
    assert!(block_on(kms.unwrap_dek(&other, &context())).is_ok());
}

#[test]
fn wraps_of_other_algorithms_or_without_a_number_of_a_version_are_unsupported() {
    let kms = at("http://127.0.0.1:1").build();
    for (version, algorithm) in [("1", "AWS-KMS"), ("", "GCP-KMS"), ("v1", "GCP-KMS"), ("0", "GCP-KMS")] {
        let wrapped = WrappedDek::new(key("k"), version, algorithm, vec![1; 113]).unwrap();
        let error = block_on(kms.unwrap_dek(&wrapped, &context())).unwrap_err();
        assert_eq!((error.kind(), error.key()), (Unsupported, Some(&key("k"))), "{version} {algorithm}");
    }
}

#[test]
fn random_bytes_of_a_cloud_hsm_are_checked_and_mixed_with_our_own() {
    // The same random bytes each time: what comes out differs all the same.
    let gcp = Gcp::new();
    let key = gcp.key();
    let http = gcp.server.serve_with(|request, reply: Reply| {
        if call_of(request) != "generateRandomBytes" {
            return reply.into();
        }
        let data = [9; 32];
        Answer::json(200, json!({"data": base64(&data), "dataCrc32c": crc32c(&data).to_string()}).to_string())
    });
    let kms = at(&http.url()).hsm_randomness(true).build();
    assert!(kms.generates_deks(&key) && !gcp.kms.generates_deks(&key));
    let (one, wrapped) = block_on(kms.generate_dek(&key, &context())).unwrap();
    let (other, _) = block_on(kms.generate_dek(&key, &context())).unwrap();
    assert_ne!(one.expose(), other.expose());
    assert_ne!(one.expose(), &[9; 32]);
    assert_eq!(block_on(kms.unwrap_dek(&wrapped, &context())).unwrap().expose(), one.expose());
    let first = &http.requests()[0];
    assert_eq!(first.path(), "/v1/projects/tests/locations/europe-west3:generateRandomBytes");
    let asked: Value = serde_json::from_slice(&first.body).unwrap();
    assert_eq!((&asked["lengthBytes"], &asked["protectionLevel"]), (&json!(32), &json!(2)));
    // Too few, and corrupted.
    for (data, sum, words) in [
        (vec![9; 31], crc32c(&[9; 31]), "in the number that was asked for"),
        (vec![9; 32], 7, "the random bytes by a checksum that fits"),
    ] {
        let answer = json!({"data": base64(&data), "dataCrc32c": sum.to_string()}).to_string();
        let server = Canned::saying(answer);
        let kms = once_at(&server.0.url()).hsm_randomness(true).build();
        let error = block_on(kms.generate_dek(&the_key(), &context())).unwrap_err();
        assert_eq!(error.kind(), Protocol);
        assert!(error.message().contains(words), "{error}");
    }
}

fn base64(bytes: &[u8]) -> String {
    use base64ct::Encoding as _;
    base64ct::Base64::encode_string(bytes)
}
