//! Credentials of each kind, challenges, and who is trusted.

use aws_lc_rs::{
    encoding::AsDer,
    rsa::{KeyPair, KeySize},
};
use base64ct::{Base64, Encoding};
use envelope_azure::AzureSettings;
use envelope_sdk::{
    KeyProvider, ProviderError,
    ProviderErrorKind::{AccessDenied, Invalid, Protocol, Unavailable},
    registry::{Purpose, Settings, Surroundings},
    secret::{Prompt, SecretError, Secrets},
};
use envelope_testkit::http_server::Answer;
use zeroize::Zeroizing;

use super::*;

#[test]
fn a_client_secret_a_certificate_and_the_token_of_a_workload_are_taken() {
    let azure = Azure::new();
    let key = azure.key();
    let token = azure.folder.path().join("token");
    std::fs::write(&token, "a.token.of-kubernetes\n").unwrap();
    for builder in [
        client(&azure).client_secret("secret"),
        client(&azure).client_certificate(certificate()),
        client(&azure).workload_identity(Some(token)),
    ] {
        block_on(builder.build().wrap_dek(&key, &fresh_dek(), &context())).unwrap();
    }
    let asked = azure.service.http().take();
    let tokens = asked.iter().filter(|request| request.path().ends_with("/oauth2/v2.0/token"));
    assert_eq!(tokens.count(), 3);
}

/// At the endpoint of virtual machines, in whose place the stand-in is asked; unless the environment of the
/// tests names another endpoint (`IDENTITY_ENDPOINT`, `MSI_ENDPOINT`).
#[test]
fn the_identity_of_a_virtual_machine_is_that_of_the_system_or_the_one_that_was_assigned() {
    let azure = Azure::new();
    let key = azure.key();
    let resource =
        "/subscriptions/s/resourceGroups/g/providers/Microsoft.ManagedIdentity/userAssignedIdentities/me";
    for (builder, who) in [
        (azure.builder().managed_identity(), None),
        (azure.builder().managed_identity_of_client("a-client"), Some(("client_id", "a-client"))),
        (azure.builder().managed_identity_of_object("an-object"), Some(("object_id", "an-object"))),
        (azure.builder().managed_identity_of_resource(resource), Some(("msi_res_id", resource))),
    ] {
        block_on(builder.build().wrap_dek(&key, &fresh_dek(), &context())).unwrap();
        let asked = azure.service.http().take();
        let asked: Vec<_> =
            asked.iter().filter(|request| request.path() == "/metadata/identity/oauth2/token").collect();
        assert_eq!((asked.len(), asked[0].header("metadata")), (1, Some("true")));
        let query = asked[0].query().unwrap();
        let of = |name: &str| query.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
        assert_eq!(of("resource"), Some("https://vault.localhost"));
        let ids = ["client_id", "object_id", "msi_res_id"];
        assert_eq!(ids.into_iter().find_map(|name| Some((name, of(name)?))), who);
    }
}

/// The endpoint says 400 of an identity that the machine has not; of trouble Microsoft's client asks again.
#[test]
fn an_identity_that_the_machine_has_not_and_an_endpoint_in_trouble_are_told_apart() {
    let azure = Azure::new();
    let key = azure.key();
    let unknown = azure.builder().managed_identity_of_client("unknown").build();
    let error = block_on(unknown.wrap_dek(&key, &fresh_dek(), &context())).unwrap_err();
    assert_eq!((error.kind(), error.is_retryable()), (AccessDenied, false), "{error}");
    assert!(error.message().contains("the identity of this machine"), "{error}");
    for (status, kind) in [(503, Unavailable), (404, Unavailable), (403, AccessDenied), (302, AccessDenied)] {
        let service = azure.server.serve_with(move |request, reply| {
            if request.path().starts_with("/metadata/") {
                return Answer::new(status)
                    .header("location", "https://elsewhere.example/")
                    .body("canary-4711");
            }
            reply.into()
        });
        let vaults = at(&service, &azure.folder).managed_identity().attempts(1);
        let vaults = vaults.attempt_timeout(Duration::from_millis(300)).build();
        let error = block_on(vaults.wrap_dek(&key, &fresh_dek(), &context())).unwrap_err();
        assert_eq!(error.kind(), kind, "{status}: {error}");
        assert!(!error.to_string().contains("4711"), "{error}");
    }
}

/// A token is asked for once, and then kept.
#[test]
fn a_crowd_of_calls_asks_for_one_token() {
    let azure = Azure::new();
    let key = azure.key();
    let vaults = client(&azure).client_secret("secret").build();
    block_on(async {
        let calls = (0..16).map(|_| async {
            vaults.wrap_dek(&key, &fresh_dek(), &context()).await.unwrap();
        });
        futures_util::future::join_all(calls).await;
    });
    let asked = azure.service.http().take();
    assert_eq!(asked.iter().filter(|request| request.path().ends_with("/token")).count(), 1);
}

/// Microsoft's own credentials keep a token until it ends by the clock of this machine.
#[test]
fn a_token_that_the_vault_no_longer_accepts_is_asked_for_anew_of_whoever_gave_it() {
    let azure = Azure::new();
    let key = azure.key();
    let token = azure.folder.path().join("token");
    std::fs::write(&token, "a.token.of-kubernetes\n").unwrap();
    let left = Arc::new(AtomicUsize::new(0));
    let refusals = left.clone();
    let service = azure.server.serve_with(move |request, reply| {
        let is_refused = request.header("authorization").is_some()
            && left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok();
        if !is_refused {
            return reply.into();
        }
        let challenge =
            r#"Bearer authorization="https://login.localhost/t", resource="https://vault.localhost""#;
        Answer::json(401, "{}").header("www-authenticate", challenge)
    });
    let client = || at(&service, &azure.folder).tenant_id("tests").client_id("a-test");
    for builder in [
        client().client_secret("secret"),
        client().client_certificate(certificate()),
        client().workload_identity(Some(token)),
        at(&service, &azure.folder).managed_identity(),
    ] {
        let vaults = builder.build();
        for _ in 0..2 {
            block_on(vaults.wrap_dek(&key, &fresh_dek(), &context())).unwrap();
            refusals.store(1, Ordering::SeqCst);
        }
        refusals.store(0, Ordering::SeqCst);
        let asked = service.http().take();
        assert_eq!(asked.iter().filter(|request| request.path().ends_with("/token")).count(), 2);
    }
}

#[test]
fn credentials_that_are_refused_or_missing_say_what_to_do() {
    let azure = Azure::new();
    let key = azure.key();
    let wrap = |builder: AzureKeyVaultBuilder| -> ProviderError {
        block_on(builder.build().wrap_dek(&key, &fresh_dek(), &context())).unwrap_err()
    };
    let error = wrap(client(&azure).client_secret("another"));
    assert_eq!((error.kind(), error.is_retryable()), (AccessDenied, false), "{error}");
    assert!(
        error.message().contains("Microsoft Entra accepts") && !error.message().contains("another"),
        "{error}"
    );
    let error = wrap(client(&azure).client_secret_file(azure.folder.path().join("nothing")));
    assert_eq!(error.kind(), Invalid, "{error}");
    let error = wrap(client(&azure).client_certificate("nothing"));
    assert_eq!(error.kind(), Invalid, "{error}");
    for url in ["http://login.localhost", "login", "https://user:canary-4711@login.localhost"] {
        let error = wrap(client(&azure).client_secret("secret").authority_host(url));
        assert_eq!(error.kind(), Invalid, "{url}");
        assert!(!error.to_string().contains("4711"));
    }
    for name in ["expired", "nobody"] {
        let error = wrap(azure.builder().credential(Token::of(name)));
        assert_eq!(error.kind(), AccessDenied, "{name}: {error}");
    }
    let user = azure.builder().credential(Token::of("serviceEncryptionUser")).build();
    block_on(user.wrap_dek(&key, &fresh_dek(), &context())).unwrap();
    let error = block_on(user.rotate_key(&key)).unwrap_err();
    assert!(error.kind() == AccessDenied && error.message().contains("Key Vault Crypto Officer"), "{error}");
}

#[test]
fn a_certificate_that_nobody_trusts_ends_the_call() {
    let azure = Azure::new();
    let key = azure.key();
    let other = AzureServer::new();
    other.write_ca(azure.folder.path().join("other.pem")).unwrap();
    let vaults = azure.builder().ca_file(azure.folder.path().join("other.pem")).build();
    let error = block_on(vaults.wrap_dek(&key, &fresh_dek(), &context())).unwrap_err();
    assert_eq!((error.kind(), error.is_retryable()), (AccessDenied, false), "{error}");
    assert!(error.message().contains("ca-file"), "{error}");
    std::fs::write(azure.folder.path().join("empty.pem"), "").unwrap();
    let vaults = azure.builder().ca_file(azure.folder.path().join("empty.pem")).build();
    let error = block_on(vaults.wrap_dek(&key, &fresh_dek(), &context())).unwrap_err();
    assert_eq!(error.kind(), Invalid, "{error}");
}

/// The client itself is content with each of those whose host the vault's ends with.
#[test]
fn a_challenge_for_another_service_gets_no_token() {
    for resource in [
        "https://localhost",
        "https://managedhsm.localhost",
        "https://vault.azure.net",
        "https://graph.microsoft.com",
        "https://vault.localhost.example",
    ] {
        let azure = Azure::new();
        let key = azure.key();
        let asked = Arc::new(AtomicUsize::new(0));
        let counted = asked.clone();
        let service = azure.server.serve_with(move |request, reply| {
            if request.header("authorization").is_some() || request.path().ends_with("/token") {
                counted.fetch_add(1, Ordering::SeqCst);
                return reply.into();
            }
            let challenge =
                format!(r#"Bearer authorization="https://login.localhost/t", resource="{resource}""#);
            Answer::json(401, "{}").header("www-authenticate", challenge)
        });
        let vaults =
            at(&service, &azure.folder).client_secret("secret").tenant_id("t").client_id("c").build();
        let error = block_on(vaults.wrap_dek(&key, &fresh_dek(), &context())).unwrap_err();
        assert_eq!((error.kind(), error.is_retryable()), (Protocol, false), "{resource}: {error}");
        assert!(error.message().contains("another service"), "{error}");
        assert_eq!(asked.load(Ordering::SeqCst), 0, "{resource}");
    }
}

/// A next page elsewhere would get the token.
#[test]
fn a_list_that_goes_on_at_another_host_is_refused() {
    let azure = Azure::new();
    azure.key();
    let service = azure.server.serve_with(|request, mut reply| {
        if request.path() == "/keys" && request.header("authorization").is_some() {
            reply.body["nextLink"] = "https://other.vault.localhost/keys?$skiptoken=x".into();
        }
        reply.into()
    });
    let vaults = at(&service, &azure.folder).vault(VAULT).build();
    let error = block_on(vaults.list_keys(None)).unwrap_err();
    assert_eq!(error.kind(), Protocol, "{error}");
}

#[cfg(unix)]
#[test]
fn a_file_of_secrets_that_others_may_read_is_not_used() {
    use std::os::unix::fs::PermissionsExt as _;
    let azure = Azure::new();
    let key = azure.key();
    let secret = azure.folder.path().join("secret");
    std::fs::write(&secret, "secret").unwrap();
    let mode = |mode| std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(mode)).unwrap();
    mode(0o644);
    let open = || {
        let mut settings = settings(&azure);
        settings.client_secret_file = Some(secret.clone());
        let scheme = settings.into_scheme(&Surroundings::default()).unwrap();
        let provider = scheme.open(&key, Purpose::Encrypt).unwrap();
        block_on(provider.wrap_dek(&key, &fresh_dek(), &context()))
    };
    assert_eq!(open().unwrap_err().kind(), Invalid);
    mode(0o600);
    open().unwrap();
}

/// Secrets have an end, and are replaced in their files while a service runs.
#[test]
fn a_secret_that_was_replaced_in_its_file_is_read_again() {
    let azure = Azure::new();
    let key = azure.key();
    let file = azure.folder.path().join("secret");
    std::fs::write(&file, "another\n").unwrap();
    let vaults = client(&azure).client_secret_file(file.clone()).build();
    let wrap = || block_on(vaults.wrap_dek(&key, &fresh_dek(), &context()));
    for _ in 0..2 {
        assert_eq!(wrap().unwrap_err().kind(), AccessDenied);
    }
    std::fs::write(&file, "secret\n").unwrap();
    wrap().unwrap();
    // And then it is kept.
    std::fs::remove_file(&file).unwrap();
    wrap().unwrap();
}

#[test]
fn a_secret_is_asked_for_when_a_key_is_used_and_not_before() {
    struct Asked(AtomicUsize);
    impl Secrets for Asked {
        fn given(&self, _: &str) -> Result<Option<Zeroizing<String>>, SecretError> {
            Ok(None)
        }
        fn ask(&self, name: &str, _: &Prompt<'_>) -> Result<Zeroizing<String>, SecretError> {
            assert_eq!(name, "azure-client-secret");
            self.0.fetch_add(1, Ordering::SeqCst);
            Ok(Zeroizing::new("secret".to_owned()))
        }
    }
    let azure = Azure::new();
    let key = azure.key();
    let asked = Arc::new(Asked(AtomicUsize::new(0)));
    let mut settings = settings(&azure);
    settings.credentials = Some("client-secret".into());
    let scheme = settings.into_scheme(&Surroundings::new(asked.clone())).unwrap();
    let provider = scheme.open(&key, Purpose::Encrypt).unwrap();
    assert_eq!(asked.0.load(Ordering::SeqCst), 0);
    for _ in 0..2 {
        block_on(provider.wrap_dek(&key, &fresh_dek(), &context())).unwrap();
    }
    assert_eq!(asked.0.load(Ordering::SeqCst), 1);
}

fn settings(azure: &Azure) -> AzureSettings {
    let mut settings = AzureSettings::default();
    settings.domain = Some(format!("localhost:{}", azure.service.port()));
    settings.ca_file = Some(azure.ca());
    settings.tenant_id = Some("tests".into());
    settings.client_id = Some("a-test".into());
    settings
}

fn client(azure: &Azure) -> AzureKeyVaultBuilder {
    azure.builder().tenant_id("tests").client_id("a-test")
}

/// A key, and bytes in the place of its certificate: the stand-in looks at neither.
fn certificate() -> String {
    let key = KeyPair::generate(KeySize::Rsa2048).unwrap();
    let pem = |label: &str, bytes: &[u8]| {
        format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", Base64::encode_string(bytes))
    };
    pem("CERTIFICATE", b"of a test") + &pem("PRIVATE KEY", key.as_der().unwrap().as_ref())
}
