//! Who may what: encrypters and decrypters apart, viewers and administrators
//! without either.

use std::sync::Arc;

use envelope_sdk::{
    Envelope, KeyAdmin, KeyChange, KeyProvider, KeyState, Keyring, ProviderErrorKind::AccessDenied,
};

use super::{credentials::bearer, *};

#[test]
fn an_encrypter_wraps_and_a_decrypter_unwraps_and_neither_does_more() {
    let gcp = Gcp::new();
    let key = gcp.key();
    let of = |role: &'static str| Arc::new(bearer(&gcp.http.url(), role));
    let (encrypter, decrypter) = (of("encrypter"), of("decrypter"));
    let context = EncryptionContext::new().with("tenant", "42");
    let writer = Envelope::new(Keyring::new().encrypt(encrypter.clone(), key.clone()));
    let sealed = block_on(writer.encrypt(b"x", &context)).unwrap();
    let reader = Envelope::new(Keyring::new().decrypt(decrypter.clone(), key.clone()));
    assert_eq!(block_on(reader.decrypt(&sealed, &context)).unwrap(), b"x");

    let full = super::context();
    let wrapped = block_on(encrypter.wrap_dek(&key, &fresh_dek(), &full)).unwrap();
    let refused = [
        ("useToDecrypt", block_on(encrypter.unwrap_dek(&wrapped, &full)).map(drop)),
        ("useToEncrypt", block_on(decrypter.wrap_dek(&key, &fresh_dek(), &full)).map(drop)),
        ("useToEncrypt", block_on(of("viewer").wrap_dek(&key, &fresh_dek(), &full)).map(drop)),
        ("useToDecrypt", block_on(of("admin").unwrap_dek(&wrapped, &full)).map(drop)),
        ("useToDecrypt", block_on(of("nobody").unwrap_dek(&wrapped, &full)).map(drop)),
    ];
    for (permission, refused) in refused {
        let error = refused.unwrap_err();
        assert_eq!((error.kind(), error.key(), error.is_retryable()), (AccessDenied, Some(&key), false));
        let needs = format!("The caller needs cloudkms.cryptoKeyVersions.{permission} on this key");
        assert!(error.message().contains(&needs), "{error}");
    }
}

#[test]
fn each_refused_operation_names_its_permission() {
    let gcp = Gcp::new();
    let key = gcp.key();
    let nobody = bearer(&gcp.http.url(), "nobody");
    let viewer = bearer(&gcp.http.url(), "viewer");
    block_on(viewer.describe_key(&key)).unwrap();
    block_on(viewer.list_keys(None)).unwrap();
    let refused = [
        ("cryptoKeys.get", block_on(nobody.describe_key(&key)).map(drop)),
        ("cryptoKeys.list", block_on(nobody.list_keys(None)).map(drop)),
        ("keyRings.get", block_on(nobody.has_key_ring(RING)).map(drop)),
        ("keyRings.create", block_on(viewer.create_key_ring(&format!("{RING}-x")))),
        ("importJobs.list", block_on(nobody.import_jobs(RING)).map(drop)),
        ("cryptoKeys.create", block_on(viewer.create_key(&NewKey::named("k"))).map(drop)),
        ("cryptoKeyVersions.create", block_on(viewer.rotate_key(&key)).map(drop)),
        ("cryptoKeys.update", block_on(viewer.make_primary(&key, "1"))),
        (
            "cryptoKeys.update",
            block_on(viewer.set_rotation(&key, envelope_sdk::admin::AutoRotation::Default)),
        ),
        (
            "cryptoKeyVersions.update",
            block_on(viewer.change_key(&key, None, KeyChange::State(KeyState::Suspended))).map(drop),
        ),
    ];
    for (permission, refused) in refused {
        let error = refused.unwrap_err();
        assert_eq!((error.kind(), error.is_retryable()), (AccessDenied, false), "{permission}: {error}");
        assert!(error.message().contains(&format!("needs cloudkms.{permission}")), "{permission}: {error}");
    }
    let location = RING.split("/keyRings/").next().unwrap();
    let error = block_on(nobody.key_rings(location)).unwrap_err();
    assert!(error.message().contains("needs cloudkms.keyRings.list"), "{error}");
}

#[test]
fn credentials_that_google_no_longer_takes_say_so() {
    let gcp = Gcp::new();
    let key = gcp.key();
    let expired = bearer(&gcp.http.url(), "expired");
    let error = block_on(expired.wrap_dek(&key, &fresh_dek(), &context())).unwrap_err();
    assert_eq!((error.kind(), error.key()), (AccessDenied, Some(&key)));
    assert_eq!(
        error.message(),
        "the credentials have expired: log in again (UNAUTHENTICATED, ACCESS_TOKEN_EXPIRED)"
    );
}
