//! Keys whose type changes: by a version of another type, or deleted, purged and made
//! anew. What was known of them leads to no wrong wrap.

use envelope_sdk::{
    KeyChange, KeyProvider, KeyState,
    ProviderErrorKind::{Invalid, NotFound, Protocol, Unsupported},
    WrappedDek,
};
use serde_json::{Value, json};

use super::*;

#[test]
fn versions_of_several_types_wrap_each_by_its_own_algorithm_and_each_opens_by_the_one_recorded() {
    for symmetric in [SymmetricAlgorithm::A256Gcm, SymmetricAlgorithm::A256Kw] {
        let azure = Azure::with(HSM, |builder| builder.symmetric_algorithm(symmetric));
        let key = azure.key();
        let mut wraps = vec![wrapped(&azure, &key)];
        for (kty, size) in [("RSA-HSM", 3072), ("oct-HSM", 256), ("RSA-HSM", 4096)] {
            make_version(&azure, &key, &json!({ "kty": kty, "key_size": size }));
            wraps.push(wrapped(&azure, &key));
        }
        let named: Vec<_> = wraps.iter().map(|(wrapped, _)| wrapped.wrap_algorithm()).collect();
        let symmetric = symmetric.name();
        assert_eq!(named, [symmetric, "RSA-OAEP-256", symmetric, "RSA-OAEP-256"]);
        for (wrapped, dek) in &wraps {
            let opened = block_on(azure.vaults.unwrap_dek(wrapped, &context())).unwrap();
            assert_eq!(opened.expose(), dek.expose());
        }
    }
}

/// The vault says of a key that its operations do not permit it, before it looks at the algorithm.
#[test]
fn a_version_that_permits_other_operations_is_wrapped_with_by_those() {
    let azure = Azure::hsm();
    let key = azure.key();
    wrapped(&azure, &key);
    make_version(
        &azure,
        &key,
        &json!({ "kty": "RSA-HSM", "key_size": 3072, "key_ops": ["wrapKey", "unwrapKey"] }),
    );
    assert_eq!(wrapped(&azure, &key).0.wrap_algorithm(), "RSA-OAEP-256");
    make_version(&azure, &key, &json!({ "kty": "oct-HSM", "key_ops": ["encrypt", "decrypt"] }));
    assert_eq!(wrapped(&azure, &key).0.wrap_algorithm(), "A256GCM");
    make_version(&azure, &key, &json!({ "kty": "EC-HSM", "key_ops": ["sign"] }));
    let error = block_on(azure.vaults.wrap_dek(&key, &fresh_dek(), &context())).unwrap_err();
    assert_eq!((error.kind(), error.key()), (Unsupported, Some(&key)), "{error}");
    assert!(error.message().contains("of a type that wraps no DEK"), "{error}");
}

#[test]
fn a_key_that_was_purged_and_made_anew_wraps_as_it_is_now_and_opens_nothing_of_before() {
    for (first, second, algorithm) in [
        ("oct-HSM-256", "RSA-HSM-3072", "RSA-OAEP-256"),
        ("RSA-HSM-3072", "oct-HSM-256", "A256GCM"),
        ("oct-HSM-256", "oct-HSM-256", "A256GCM"),
    ] {
        let azure = Azure::hsm();
        let key = azure.key_with(|new| new.algorithm(first));
        let (before, _) = wrapped(&azure, &key);
        remove(&azure, &key);
        let name = key.as_str().rsplit_once('/').unwrap().1;
        block_on(azure.vaults.create_key(&NewKey::named(name).algorithm(second))).unwrap();
        let (now, dek) = wrapped(&azure, &key);
        assert_eq!(now.wrap_algorithm(), algorithm);
        assert_eq!(block_on(azure.vaults.unwrap_dek(&now, &context())).unwrap().expose(), dek.expose());
        let error = block_on(azure.vaults.unwrap_dek(&before, &context())).unwrap_err();
        assert_eq!((error.kind(), error.key()), (NotFound, Some(&key)), "{error}");
        assert!(error.message().contains("no such version") && error.message().contains("purged"), "{error}");
    }
}

/// Nor with one of another key of the same type that was known and is another object's now.
#[test]
fn a_key_that_is_made_anew_for_a_certificate_or_as_rsa_is_looked_at_again() {
    let azure = Azure::new();
    let key = azure.key();
    let made = azure.server.exchanges();
    let managed = Arc::new(AtomicUsize::new(0));
    let (is_managed, told) = (managed.clone(), Arc::new(AtomicUsize::new(0)));
    let asked = told.clone();
    let service = azure.server.serve_with(move |request, mut reply| {
        if reply.body.get("key").is_some() && request.method == "GET" {
            asked.fetch_add(1, Ordering::SeqCst);
            if is_managed.load(Ordering::SeqCst) > 0 {
                reply.body["managed"] = json!(true);
            }
        }
        reply.into()
    });
    let vaults = at(&service, &azure.folder).build();
    let wrap = || block_on(vaults.wrap_dek(&key, &fresh_dek(), &context()));
    for _ in 0..3 {
        wrap().unwrap();
    }
    assert_eq!(told.load(Ordering::SeqCst), 1, "{made}");
    // Its type is the same, and the vault would wrap.
    managed.store(1, Ordering::SeqCst);
    remove(&azure, &key);
    let name = key.as_str().rsplit_once('/').unwrap().1;
    block_on(azure.vaults.create_key(&NewKey::named(name))).unwrap();
    let error = wrap().unwrap_err();
    assert_eq!((error.kind(), error.key()), (Unsupported, Some(&key)), "{error}");
    assert!(error.message().contains("such as a certificate"), "{error}");
    managed.store(0, Ordering::SeqCst);
    wrap().unwrap();
    // Each new version is looked at once.
    block_on(azure.vaults.rotate_key(&key)).unwrap();
    let before = told.load(Ordering::SeqCst);
    for _ in 0..3 {
        wrap().unwrap();
    }
    assert_eq!(told.load(Ordering::SeqCst), before + 1);

    let hsm = Azure::with(HSM, |builder| builder.post_quantum_safe_only(true));
    let key = hsm.key();
    wrapped(&hsm, &key);
    make_version(&hsm, &key, &json!({ "kty": "RSA-HSM", "key_size": 3072 }));
    let error = block_on(hsm.vaults.wrap_dek(&key, &fresh_dek(), &context())).unwrap_err();
    assert_eq!((error.kind(), error.key()), (Invalid, Some(&key)), "{error}");
    assert!(error.message().contains("post-quantum-safe-only"), "{error}");
}

/// It would never unwrap.
#[test]
fn a_wrap_by_a_version_that_is_not_there_or_is_of_another_type_is_not_handed_out() {
    let other = "0123456789abcdef0123456789abcdef";
    for (there, kind, words) in [
        (false, NotFound, "no such version"),
        (true, Protocol, "is of another type, or tells another version"),
    ] {
        let azure = Azure::new();
        let key = azure.key();
        let service = azure.server.serve_with(move |request, mut reply| {
            let path = request.path();
            if path.ends_with("/wrapkey") && reply.status == 200 {
                let (key, _) = reply.body["kid"].as_str().unwrap().rsplit_once('/').unwrap();
                reply.body["kid"] = json!(format!("{key}/{other}"));
            } else if there && path.ends_with(other) {
                // The answer for the right version would do, and this is another one of the key.
                let host = request.header("host").unwrap();
                let kid = format!("https://{host}{path}");
                let body =
                    json!({ "key": { "kid": kid, "kty": "oct-HSM" }, "attributes": { "enabled": true } });
                return envelope_testkit::azure_server::Reply::ok(body).into();
            }
            reply.into()
        });
        let vaults = at(&service, &azure.folder).build();
        for _ in 0..2 {
            let error = block_on(vaults.wrap_dek(&key, &fresh_dek(), &context())).unwrap_err();
            assert_eq!((error.kind(), error.key()), (kind, Some(&key)), "{error}");
            assert!(error.message().contains(words), "{error}");
        }
    }
}

#[test]
fn nor_is_one_after_the_type_has_changed() {
    let azure = Azure::hsm();
    let key = azure.key();
    let service = azure.server.serve_with(move |request, mut reply| {
        if request.path().ends_with("/wrapkey") && reply.status == 200 {
            let (key, _) = reply.body["kid"].as_str().unwrap().rsplit_once('/').unwrap();
            reply.body["kid"] = json!(format!("{key}/0123456789abcdef0123456789abcdef"));
        }
        reply.into()
    });
    let vaults = at(&service, &azure.folder).build();
    block_on(vaults.wrap_dek(&key, &fresh_dek(), &context())).unwrap();
    make_version(&azure, &key, &json!({ "kty": "RSA-HSM", "key_size": 3072 }));
    let error = block_on(vaults.wrap_dek(&key, &fresh_dek(), &context())).unwrap_err();
    assert_eq!((error.kind(), error.key()), (NotFound, Some(&key)), "{error}");
    assert!(error.message().contains("no such version"), "{error}");
}

fn wrapped(azure: &Azure, key: &KeyUri) -> (WrappedDek, Dek) {
    let dek = fresh_dek();
    (block_on(azure.vaults.wrap_dek(key, &dek, &context())).unwrap(), dek)
}

fn remove(azure: &Azure, key: &KeyUri) {
    for state in [KeyState::Suspended, KeyState::Destroyed] {
        block_on(azure.vaults.change_key(key, None, KeyChange::State(state))).unwrap();
    }
    block_on(azure.vaults.purge_key(key)).unwrap();
}

/// What no call of this crate does: a creation over a key that is there.
fn make_version(azure: &Azure, key: &KeyUri, body: &Value) {
    let name = key.as_str().rsplit_once('/').unwrap().1;
    let service = if azure.host == HSM { "managedhsm" } else { "vault" };
    let host = format!("tests.{service}.localhost");
    let ca = reqwest::Certificate::from_pem(azure.server.ca_pem().as_bytes()).unwrap();
    let client = reqwest::Client::builder().tls_certs_only([ca]).resolve(&host, azure.service.address());
    let url = format!("https://{host}:{}/keys/{name}/create?api-version=7.6", azure.service.port());
    let answer = block_on(async {
        let request = client.no_proxy().build().unwrap().post(url).bearer_auth("a-test");
        request.header("content-type", "application/json").body(body.to_string()).send().await.unwrap()
    });
    assert_eq!(answer.status(), 200);
}
