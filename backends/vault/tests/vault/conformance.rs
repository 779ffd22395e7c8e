//! The conformance suites against HashiCorp's server.

use std::sync::Arc;

use envelope_sdk::{
    ContextBinding,
    registry::{Scheme, Settings, Surroundings},
};
use envelope_testkit::{
    conformance::{
        self, Applied, Backend, Change, Subject, Task, apply_with_admin,
        scheme::{self, SchemeBackend},
    },
    http_server::closed_address,
};
use envelope_vault::{Binding, VaultSettings};

use super::*;

#[test]
fn keys_with_associated_data_conform() {
    let Some(server) = Server::shared() else { return };
    conforms(&Keys::of(server, json!({})), "VAULT-TRANSIT-AD");
}

#[test]
fn chacha20_keys_conform() {
    let Some(server) = Server::shared() else { return };
    conforms(&Keys::of(server, json!({"type": "chacha20-poly1305"})), "VAULT-TRANSIT-AD");
}

#[test]
fn derived_keys_conform() {
    let Some(server) = Server::shared() else { return };
    conforms(&Keys::of(server, json!({"derived": true})), "VAULT-TRANSIT-DERIVED");
}

#[test]
fn keys_of_a_server_that_ignores_associated_data_conform() {
    let Some(server) = Server::own(&["-old"]) else { return };
    conforms(&Keys::of(server, json!({})), "VAULT-TRANSIT");
}

#[test]
fn derived_keys_of_a_server_that_ignores_associated_data_conform() {
    let Some(server) = Server::own(&["-old"]) else { return };
    conforms(&Keys::of(server, json!({"derived": true})), "VAULT-TRANSIT-DERIVED");
}

fn conforms(keys: &Keys, algorithm: &str) {
    let Subject { provider, key } = Backend::subject(keys);
    let wrapped = block_on(provider.wrap_dek(&key, &fresh_dek(), &context())).unwrap();
    assert_eq!(wrapped.wrap_algorithm(), algorithm);
    let is_bound = provider.context_binding(&wrapped) == ContextBinding::Provider;
    assert_eq!(is_bound, algorithm != "VAULT-TRANSIT");
    let report = conformance::run(keys);
    report.assert_conforms();
    let not_run: Vec<_> = report.not_run.iter().map(|(check, _)| *check).collect();
    let expected: &[&str] = match algorithm {
        "VAULT-TRANSIT-AD" => &["a_rewrapped_dek_is_the_same_under_the_same_context_alone"],
        _ => &[],
    };
    for check in expected {
        assert!(not_run.contains(check), "{check}");
    }
    let states = ["suspended", "compromised", "deactivated", "destroyed"];
    for check in not_run.iter().filter(|check| !expected.contains(check)) {
        assert!(
            states.iter().any(|state| check.contains(state)),
            "Vault has no such state of a key: {check}"
        );
    }
}

/// What was wrapped before the server heeded it opens afterwards, as it was wrapped; and what is
/// bound by associated data opens nowhere else.
#[test]
fn each_wrap_is_opened_as_it_was_bound_whatever_the_settings_say() {
    let Some(server) = Server::shared() else { return };
    let key = server.key();
    let plain = server.builder().context_binding(Binding::Envelope).build();
    let best = server.vault();
    let (loose, bound) = (wrap(&plain, &key).unwrap(), wrap(&best, &key).unwrap());
    assert_eq!((loose.wrap_algorithm(), bound.wrap_algorithm()), ("VAULT-TRANSIT", "VAULT-TRANSIT-AD"));
    for vault in [&plain, &best] {
        unwrap(vault, &loose).unwrap();
        unwrap(vault, &bound).unwrap();
        block_on(vault.unwrap_dek(&loose, &other_context())).unwrap();
        let error = block_on(vault.unwrap_dek(&bound, &other_context())).unwrap_err();
        assert_eq!(error.kind(), envelope_sdk::ProviderErrorKind::Unauthentic, "{error}");
    }
    // A name that says more, or less, than was done.
    for (wrapped, algorithm) in
        [(&loose, "VAULT-TRANSIT-AD"), (&bound, "VAULT-TRANSIT"), (&loose, "VAULT-TRANSIT-DERIVED")]
    {
        let renamed =
            WrappedDek::new(key.clone(), wrapped.key_version(), algorithm, wrapped.ciphertext().to_vec())
                .unwrap();
        let opened = unwrap(&best, &renamed);
        // Vault ignores the context of a key that is not derived: the envelope then finds it out.
        if algorithm == "VAULT-TRANSIT-DERIVED" {
            opened.unwrap();
        } else {
            assert_eq!(opened.unwrap_err().kind(), envelope_sdk::ProviderErrorKind::Unauthentic);
        }
    }
}

#[test]
fn a_binding_that_cannot_be_is_refused_before_anything_is_wrapped() {
    use envelope_sdk::ProviderErrorKind::Unsupported;
    let Some(server) = Server::shared() else { return };
    let Some(old) = Server::own(&["-old"]) else { return };
    for (server, is_derived, binding, words) in [
        (&server, true, Binding::AssociatedData, "the key is derived"),
        (&server, true, Binding::Envelope, "wraps nothing without a context"),
        (&server, false, Binding::Derived, "is not derived"),
        (&old, false, Binding::AssociatedData, "ignores associated data"),
        (&old, false, Binding::Derived, "is not derived"),
    ] {
        let key = if is_derived { server.derived_key() } else { server.key() };
        let vault = server.builder().context_binding(binding).build();
        let error = wrap(&vault, &key).unwrap_err();
        if binding == Binding::Envelope {
            // Nothing is found out: the server says it.
            assert_eq!(error.kind(), Unsupported, "{error}");
        } else {
            assert_eq!(error.kind(), Unsupported, "{error}");
            assert!(error.message().contains(words), "{error}");
        }
    }
}

#[test]
fn keys_of_types_that_wrap_no_dek_are_refused() {
    use envelope_sdk::ProviderErrorKind::Unsupported;
    let Some(server) = Server::shared() else { return };
    for kind in ["rsa-3072", "ed25519", "ecdsa-p256", "hmac"] {
        let key = server.key_with(&json!({"type": kind, "key_size": if kind == "hmac" { 32 } else { 0 }}));
        for binding in [Binding::Best, Binding::AssociatedData, Binding::Envelope] {
            let vault = server.builder().context_binding(binding).build();
            let error = wrap(&vault, &key).unwrap_err();
            assert_eq!(error.kind(), Unsupported, "{kind}: {error}");
            assert!(error.message().contains("aes256-gcm96"), "{kind}: {error}");
        }
    }
}

/// Root may create keys, and Vault would.
#[test]
fn a_key_that_is_not_there_is_not_made_by_wrapping_under_it() {
    use envelope_sdk::ProviderErrorKind::NotFound;
    let Some(server) = Server::shared() else { return };
    for binding in [Binding::Best, Binding::AssociatedData, Binding::Derived, Binding::Envelope] {
        let vault = server.builder().context_binding(binding).build();
        let name = fresh_name();
        let error = wrap(&vault, &key(&name)).unwrap_err();
        assert_eq!(error.kind(), NotFound, "{error}");
        let error = block_on(vault.generate_dek(&key(&name), &context())).map(drop).unwrap_err();
        assert_eq!(error.kind(), NotFound, "{error}");
        assert_eq!(server.api("GET", &format!("transit/keys/{name}"), &json!({})).0, 404);
    }
}

#[test]
fn a_key_that_was_made_anew_as_a_derived_one_is_found_out() {
    let Some(server) = Server::shared() else { return };
    let key = server.key();
    let path = format!("transit/keys/{}", server::name(&key));
    let vault = server.vault();
    assert_eq!(wrap(&vault, &key).unwrap().wrap_algorithm(), "VAULT-TRANSIT-AD");
    server.does("POST", &format!("{path}/config"), &json!({"deletion_allowed": true}));
    server.does("DELETE", &path, &json!({}));
    server.does("POST", &path, &json!({"derived": true}));
    assert_eq!(wrap(&vault, &key).unwrap().wrap_algorithm(), "VAULT-TRANSIT-DERIVED");
}

/// Vault ignores the context of a key that is not derived: a wrap would say that it is bound, and open under any context.
#[test]
fn a_key_that_was_made_anew_as_one_that_is_not_derived_is_found_out() {
    let Some(server) = Server::shared() else { return };
    for is_generated in [false, true] {
        let key = server.derived_key();
        let path = format!("transit/keys/{}", server::name(&key));
        let (vault, strict) = (server.vault(), server.builder().context_binding(Binding::Derived).build());
        let wrap = |vault: &HashiVault| {
            if is_generated {
                block_on(vault.generate_dek(&key, &context())).map(|(_, wrapped)| wrapped)
            } else {
                wrap(vault, &key)
            }
        };
        for vault in [&vault, &strict] {
            assert_eq!(wrap(vault).unwrap().wrap_algorithm(), "VAULT-TRANSIT-DERIVED");
        }
        server.does("POST", &format!("{path}/config"), &json!({"deletion_allowed": true}));
        server.does("DELETE", &path, &json!({}));
        server.does("POST", &path, &json!({}));
        let wrapped = wrap(&vault).unwrap();
        assert_eq!(wrapped.wrap_algorithm(), "VAULT-TRANSIT-AD");
        let refused = block_on(vault.unwrap_dek(&wrapped, &other_context())).unwrap_err();
        assert_eq!(refused.kind(), envelope_sdk::ProviderErrorKind::Unauthentic, "{refused}");
        let error = wrap(&strict).unwrap_err();
        assert_eq!(error.kind(), envelope_sdk::ProviderErrorKind::Unsupported, "{error}");
        assert!(error.message().contains("is not derived"), "{error}");
    }
}

/// Where nothing binds in the server, data keys are asked for without a context: a derived key refuses that.
#[test]
fn a_data_key_is_had_of_a_key_that_was_made_anew_as_a_derived_one() {
    let Some(old) = Server::own(&["-old"]) else { return };
    let (vault, key) = (old.vault(), old.key());
    let path = format!("transit/keys/{}", server::name(&key));
    let generate = || block_on(vault.generate_dek(&key, &context())).unwrap().1;
    assert_eq!(generate().wrap_algorithm(), "VAULT-TRANSIT");
    old.does("POST", &format!("{path}/config"), &json!({"deletion_allowed": true}));
    old.does("DELETE", &path, &json!({}));
    old.does("POST", &path, &json!({"derived": true}));
    for _ in 0..2 {
        let wrapped = generate();
        assert_eq!(wrapped.wrap_algorithm(), "VAULT-TRANSIT-DERIVED");
        unwrap(&vault, &wrapped).unwrap();
    }
}

#[test]
fn convergent_keys_bind_as_derived_ones_do() {
    let Some(server) = Server::shared() else { return };
    let key = server.key_with(&json!({"derived": true, "convergent_encryption": true}));
    let wrapped = wrap(&server.vault(), &key).unwrap();
    assert_eq!(wrapped.wrap_algorithm(), "VAULT-TRANSIT-DERIVED");
    unwrap(&server.vault(), &wrapped).unwrap();
    let error = block_on(server.vault().unwrap_dek(&wrapped, &other_context())).unwrap_err();
    assert_eq!(error.kind(), envelope_sdk::ProviderErrorKind::Unauthentic, "{error}");
}

/// Of a cluster that is being upgraded each node may answer: here those of before 1.13 answer so many calls to encrypt, from the
/// second one on.
#[test]
fn a_wrap_says_that_it_is_bound_only_if_the_node_that_made_it_binds() {
    use envelope_sdk::ProviderErrorKind::{Unavailable, Unsupported};
    let Some(server) = Server::shared() else { return };
    let key = server.key();
    for (binding, old_nodes, expected) in [
        (Binding::Best, 1, Ok("VAULT-TRANSIT-AD")),
        (Binding::Best, 2, Ok("VAULT-TRANSIT")),
        (Binding::AssociatedData, 1, Ok("VAULT-TRANSIT-AD")),
        (Binding::AssociatedData, 2, Err(Unsupported)),
    ] {
        let nodes = before_113(&server, move |call| (1..=old_nodes).contains(&call));
        let vault = at(&nodes.url()).context_binding(binding).build();
        let wrapped = wrap(&vault, &key);
        let (algorithm, wrapped) = (wrapped.as_ref().map(WrappedDek::wrap_algorithm), wrapped.as_ref().ok());
        assert_eq!(algorithm.map_err(ProviderError::kind), expected, "{binding:?} {old_nodes}");
        if let Some(wrapped) = wrapped {
            let opens = block_on(vault.unwrap_dek(wrapped, &other_context())).is_ok();
            assert_eq!(opens, expected == Ok("VAULT-TRANSIT"));
            unwrap(&vault, wrapped).unwrap();
        }
    }
    // Each time another one.
    let nodes = before_113(&server, |call| call % 2 == 1);
    let error = wrap(&at(&nodes.url()).build(), &key).unwrap_err();
    assert_eq!((error.kind(), error.is_retryable()), (Unavailable, true), "{error}");
    assert!(error.message().contains("nodes of several versions"), "{error}");
}

/// Stands before the server, and hides associated data in these calls to encrypt.
fn before_113(
    server: &Server,
    hides: impl Fn(usize) -> bool + Send + Sync + 'static,
) -> envelope_testkit::http_server::HttpServer {
    let (url, calls) = (server.url.clone(), AtomicUsize::new(0));
    envelope_testkit::http_server::HttpServer::answering(move |request| {
        let (path, mut text) = (request.target.trim_start_matches("/v1/"), request.text());
        if path.contains("/encrypt/") && hides(calls.fetch_add(1, Ordering::SeqCst)) {
            text = text.replace("\"associated_data\"", "\"unknown\"");
        }
        between::ask(&url, &request.method, path, &text).into()
    })
}

#[test]
fn the_settings_conform() {
    scheme::run_settings::<VaultSettings>().assert_conforms();
}

#[test]
fn the_scheme_conforms() {
    let Some(server) = Server::shared() else { return };
    scheme::run(&Keys::of(server, json!({}))).assert_conforms();
}

struct Keys {
    server: Server,
    vault: Arc<HashiVault>,
    what: Value,
}

impl Keys {
    fn of(server: Server, what: Value) -> Self {
        Self { vault: Arc::new(server.vault()), server, what }
    }
}

impl Backend for Keys {
    fn subject(&self) -> Subject {
        Subject::new(self.vault.clone(), self.server.key_with(&self.what))
    }

    fn other_subject(&self) -> Subject {
        self.subject()
    }

    fn unknown_key(&self) -> Option<KeyUri> {
        Some(key("nobody-made-it"))
    }

    fn unreachable(&self) -> Option<Subject> {
        let away = at(&format!("http://{}", closed_address())).attempts(1).build();
        Some(Subject::new(Arc::new(away), key("away")))
    }

    fn another_instance(&self) -> Option<Arc<dyn KeyProvider>> {
        Some(Arc::new(self.server.vault()))
    }

    fn apply(&self, subject: &Subject, change: Change) -> Applied {
        block_on(apply_with_admin(&*self.vault, &subject.key, change))
    }

    fn block_on(&self, task: Task<'_>) {
        RUNTIME.block_on(task);
    }
}

impl SchemeBackend for Keys {
    fn scheme(&self, around: &Surroundings) -> Arc<dyn Scheme> {
        let token = self.server.file("a-token-of-tests");
        std::fs::write(&token, "root\n").unwrap();
        #[cfg(unix)]
        std::fs::set_permissions(&token, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        let mut settings = VaultSettings::default();
        settings.address = Some(self.server.url.clone());
        settings.token_file = Some(token);
        settings.into_scheme(around).unwrap()
    }

    fn keys(&self) -> Vec<KeyUri> {
        vec![self.server.key(), self.server.key()]
    }

    fn block_on(&self, task: Task<'_>) {
        RUNTIME.block_on(task);
    }
}
