//! Who asks: each method to log in, files, a helper, an agent, and who is trusted.

use std::path::Path;

use aws_lc_rs::{
    encoding::AsDer,
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair},
};
use base64ct::{Base64, Base64UrlUnpadded, Encoding};
use envelope_sdk::{
    ProviderErrorKind::{AccessDenied, Invalid},
    registry::{Purpose, Settings, Surroundings},
    secret::{Prompt, SecretError, Secrets},
};
use envelope_vault::VaultSettings;
use tempfile::TempDir;
use zeroize::Zeroizing;

use super::*;

/// A role, its secret id, and its name.
pub(crate) fn app_role(server: &Server, more: &Value) -> (String, String, String) {
    enable(server, "approle", "approle");
    let (policy, name) = (policy(server), fresh_name());
    let mut role = json!({"token_policies": policy});
    for (field, value) in more.as_object().unwrap() {
        role[field] = value.clone();
    }
    let path = format!("auth/approle/role/{name}");
    server.does("POST", &path, &role);
    let id = server.does("GET", &format!("{path}/role-id"), &json!({}))["data"]["role_id"].clone();
    // A role that asks for none has none.
    let (_, made) = server.api("POST", &format!("{path}/secret-id"), &json!({}));
    let secret = made["data"]["secret_id"].as_str().unwrap_or_default().to_owned();
    (id.as_str().unwrap().to_owned(), secret, name)
}

fn enable(server: &Server, mount: &str, kind: &str) {
    let (status, _) = server.api("POST", &format!("sys/auth/{mount}"), &json!({"type": kind}));
    // Another test was first.
    assert!([200, 204, 400].contains(&status), "{status}");
}

fn policy(server: &Server) -> String {
    let policy = r#"path "transit/*" { capabilities = ["update"] }"#;
    server.does("PUT", "sys/policies/acl/uses-transit", &json!({"policy": policy}));
    "uses-transit".to_owned()
}

fn here(server: &Server) -> HashiVaultBuilder {
    HashiVault::builder().address(&server.url)
}

fn refused(builder: HashiVaultBuilder, key: &KeyUri) -> ProviderError {
    wrap(&builder.build(), key).unwrap_err()
}

#[test]
fn an_app_role_logs_in_with_its_secret_id() {
    let Some(server) = Server::shared() else { return };
    let key = server.key();
    let (id, secret, _) = app_role(&server, &json!({}));
    wrap(&here(&server).app_role(&id, Some(secret.clone())).build(), &key).unwrap();
    let folder = TempDir::new().unwrap();
    let file = written(&folder, "secret-id", &format!("{secret}\n"));
    wrap(&here(&server).app_role_with_file(&id, &file).trusted_files_only().build(), &key).unwrap();
    for (id, secret) in [(id.as_str(), "another-4711"), ("another", secret.as_str())] {
        let error = refused(here(&server).app_role(id, Some(secret.to_owned())), &key);
        assert_eq!((error.kind(), error.is_retryable()), (AccessDenied, false), "{error}");
        assert!(error.message().contains("the role id or the secret id"), "{error}");
        assert!(!error.to_string().contains("4711"), "{error}");
    }
    // A role that asks for none.
    let (id, ..) = app_role(&server, &json!({"bind_secret_id": false, "token_bound_cidrs": "127.0.0.0/8"}));
    wrap(&here(&server).app_role(&id, None).build(), &key).unwrap();
    let error = refused(here(&server).app_role(&id, None).auth_mount("nobody/mounted/it"), &key);
    assert_eq!(error.kind(), AccessDenied, "{error}");
    assert!(error.message().contains("auth-mount"), "{error}");
}

/// Each try counts, where users are locked out; and Vault 1.13.0 takes them for trouble of its own.
#[test]
fn credentials_that_are_refused_are_shown_once() {
    let Some(server) = Server::shared() else { return };
    let key = server.key();
    let (id, secret, _) = app_role(&server, &json!({}));
    for (id, secret) in [(id.as_str(), "another"), ("another", secret.as_str())] {
        let recorder =
            envelope_testkit::servers::Recorder::before(server.url.strip_prefix("http://").unwrap()).unwrap();
        let builder = HashiVault::builder().address(format!("http://{}", recorder.address()));
        let error = refused(builder.app_role(id, Some(secret.to_owned())), &key);
        assert_eq!((error.kind(), error.is_retryable()), (AccessDenied, false), "{error}");
        let sent = String::from_utf8_lossy(&recorder.take().concat()).into_owned();
        assert_eq!(sent.matches("POST /v1/auth/approle/login").count(), 1);
    }
}

#[test]
fn a_jwt_and_the_token_of_a_service_account_log_in() {
    let Some(server) = Server::shared() else { return };
    let key = server.key();
    let signer = Signer::new();
    for mount in ["jwt", "kubernetes"] {
        enable(&server, mount, "jwt");
        server.does(
            "POST",
            &format!("auth/{mount}/config"),
            &json!({"jwt_validation_pubkeys": [signer.pem()]}),
        );
        let role = json!({
            "role_type": "jwt", "user_claim": "sub", "bound_audiences": ["vault"], "token_policies": policy(&server),
        });
        server.does("POST", &format!("auth/{mount}/role/tests"), &role);
    }
    let folder = TempDir::new().unwrap();
    let file = written(&folder, "jwt", &signer.jwt("vault"));
    wrap(&here(&server).jwt(Some("tests".into()), signer.jwt("vault")).build(), &key).unwrap();
    wrap(&here(&server).jwt_file(Some("tests".into()), &file).build(), &key).unwrap();
    wrap(&here(&server).kubernetes("tests", Some(file.clone())).build(), &key).unwrap();
    let error = refused(here(&server).jwt(Some("tests".into()), signer.jwt("another")), &key);
    assert_eq!(error.kind(), AccessDenied, "{error}");
    assert!(error.message().contains("the JWT, or the role"), "{error}");
    let error = refused(here(&server).kubernetes("nobody", Some(file)), &key);
    assert_eq!(error.kind(), AccessDenied, "{error}");
    assert!(error.message().contains("service account"), "{error}");
    let error = refused(here(&server).kubernetes("tests", Some(folder.path().join("nothing"))), &key);
    assert_eq!(error.kind(), Invalid, "{error}");
}

#[test]
fn a_certificate_of_tls_logs_in_at_a_server_of_an_authority_of_ones_own() {
    let Some(server) = Server::shared() else { return };
    let key = server.key();
    enable(&server, "cert", "cert");
    let certificate = server.told("ca.pem");
    let role = json!({"certificate": certificate, "allowed_common_names": ["tests"], "token_policies": policy(&server)});
    server.does("POST", "auth/cert/certs/tests", &role);
    let tls = || HashiVault::builder().address(server.told("tls-address"));
    let shown = |builder: HashiVaultBuilder| {
        builder
            .ca_file(server.file("ca.pem"))
            .client_certificate(server.file("client.pem"), server.file("client-key.pem"))
    };
    for role in [None, Some("tests".to_owned())] {
        wrap(&shown(tls()).certificate_login(role).trusted_files_only().build(), &key).unwrap();
    }
    let error = refused(shown(tls()).certificate_login(Some("nobody".into())), &key);
    assert_eq!(error.kind(), AccessDenied, "{error}");
    assert!(error.message().contains("the certificate of this client, or the role"), "{error}");
    let error = refused(tls().ca_file(server.file("ca.pem")).certificate_login(None), &key);
    assert_eq!(error.kind(), AccessDenied, "{error}");
    assert!(error.message().contains("client-certificate-file"), "{error}");
    // Of that authority alone, and it is not one of the platform's.
    let error = refused(tls().token("root"), &key);
    assert_eq!((error.kind(), error.is_retryable()), (AccessDenied, false), "{error}");
    assert!(error.message().contains("is not trusted"), "{error}");
    let folder = TempDir::new().unwrap();
    for bad in ["", "nothing", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
        let file = written(&folder, "bad.pem", bad);
        let error = refused(tls().token("root").ca_file(&file), &key);
        assert_eq!(error.kind(), Invalid, "{bad}: {error}");
        let error = refused(
            tls().token("root").ca_file(server.file("ca.pem")).client_certificate(&file, &file),
            &key,
        );
        assert_eq!(error.kind(), Invalid, "{bad}: {error}");
    }
}

/// Certificates have an end, and are replaced in their files while a service runs.
#[test]
fn certificates_that_were_replaced_in_their_files_are_read_again() {
    let Some(server) = Server::shared() else { return };
    let (key, folder) = (server.key(), TempDir::new().unwrap());
    let file = |name: &str| std::fs::read_to_string(server.file(name)).unwrap();
    // One that is no authority of the server's.
    let path = written(&folder, "ca.pem", &file("client.pem"));
    let vault =
        HashiVault::builder().address(server.told("tls-address")).token("root").ca_file(&path).build();
    for _ in 0..2 {
        let error = wrap(&vault, &key).unwrap_err();
        assert_eq!(error.kind(), AccessDenied, "{error}");
        assert!(error.message().contains("is not trusted"), "{error}");
    }
    written(&folder, "ca.pem", &file("ca.pem"));
    wrap(&vault, &key).unwrap();
    // And then they are kept.
    std::fs::remove_file(&path).unwrap();
    wrap(&vault, &key).unwrap();
}

#[cfg(unix)]
#[test]
fn an_agent_adds_its_own_token_over_its_socket() {
    let Some(server) = Server::shared() else { return };
    let key = server.key();
    let socket = server.file("agent.sock");
    let agent = || HashiVault::builder().agent(format!("unix://{}", socket.display()));
    let vault = agent().agents_token().trusted_files_only().build();
    let wrapped = wrap(&vault, &key).unwrap();
    unwrap(&vault, &wrapped).unwrap();
    // A token of one's own goes first.
    let error = refused(agent().token("nobody"), &key);
    assert_eq!(error.kind(), AccessDenied, "{error}");
    let error = refused(HashiVault::builder().agent("unix:///nobody/listens").agents_token(), &key);
    assert_eq!(error.kind(), Invalid, "{error}");
    let error =
        refused(HashiVault::builder().agent(format!("unix://{}", server.file("ca.pem").display())), &key);
    assert!(error.kind() == Invalid && error.message().contains("it is none"), "{error}");
    let folder = TempDir::new().unwrap();
    mode(folder.path(), 0o777);
    std::os::unix::net::UnixListener::bind(folder.path().join("agent.sock")).unwrap();
    let path = format!("unix://{}/agent.sock", folder.path().display());
    let error = refused(HashiVault::builder().agent(path).agents_token().trusted_files_only(), &key);
    assert!(error.kind() == Invalid && error.message().contains("others may write"), "{error}");
}

/// What logs in for others, and renews, writes the token anew.
#[test]
fn a_file_with_a_token_is_read_again_when_the_token_is_refused() {
    let Some(server) = Server::shared() else { return };
    let key = server.key();
    let folder = TempDir::new().unwrap();
    let file = written(&folder, "token", "never-was-one");
    let vault = here(&server).token_file(&file).trusted_files_only().build();
    let error = wrap(&vault, &key).unwrap_err();
    assert_eq!(error.kind(), AccessDenied, "{error}");
    written(&folder, "token", "root\n");
    wrap(&vault, &key).unwrap();
    #[cfg(unix)]
    {
        mode(&file, 0o644);
        let error = refused(here(&server).token_file(&file).trusted_files_only(), &key);
        assert!(error.kind() == Invalid && error.message().contains("chmod"), "{error}");
    }
}

#[cfg(unix)]
#[test]
fn a_token_helper_is_run_by_its_absolute_path_and_trusted() {
    let Some(server) = Server::shared() else { return };
    let key = server.key();
    let folder = TempDir::new().unwrap();
    let helper = |text: &str| {
        let path = written(&folder, &fresh_name(), &format!("#!/bin/sh\n{text}\n"));
        mode(&path, 0o700);
        path
    };
    let good = helper(r#"[ "$1" = get ] && printf 'root'"#);
    wrap(&here(&server).token_helper(&good).trusted_files_only().build(), &key).unwrap();
    for (path, words) in [
        (helper("exit 1"), "failed"),
        (helper("true"), "has no token"),
        (helper("printf '\\377'"), "no token"),
        ("helper".into(), "absolute path"),
        (folder.path().join("nothing"), "nothing"),
    ] {
        let error = refused(here(&server).token_helper(&path).trusted_files_only(), &key);
        assert!(error.kind() == Invalid && error.message().contains(words), "{words}: {error}");
    }
    mode(&good, 0o722);
    let error = refused(here(&server).token_helper(&good).trusted_files_only(), &key);
    assert!(error.kind() == Invalid && error.message().contains("chmod"), "{error}");
}

#[test]
fn secrets_are_given_or_asked_for_by_their_names() {
    let Some(server) = Server::shared() else { return };
    let key = server.key();
    let (id, secret, _) = app_role(&server, &json!({}));
    let used = |auth: Option<&str>, given: &'static str, value: &str, asks: bool| {
        let mut settings = VaultSettings::default();
        settings.address = Some(server.url.clone());
        settings.auth = auth.map(str::to_owned);
        settings.role_id = (auth == Some("approle")).then(|| id.clone());
        let secrets = Known { name: given, value: value.to_owned(), asks };
        let scheme = settings.into_scheme(&Surroundings::new(std::sync::Arc::new(secrets))).unwrap();
        let provider = scheme.open(&key, Purpose::Encrypt).unwrap();
        block_on(provider.wrap_dek(&key, &fresh_dek(), &context())).map(drop)
    };
    used(None, "vault-token", "root", false).unwrap();
    used(Some("token"), "vault-token", "root", false).unwrap();
    used(Some("token"), "vault-token", "root", true).unwrap();
    used(Some("approle"), "vault-secret-id", &secret, false).unwrap();
    used(Some("approle"), "vault-secret-id", &secret, true).unwrap();
    let error = used(Some("approle"), "vault-jwt", "x", false).unwrap_err();
    assert_eq!(error.kind(), Invalid, "{error}");
}

/// Gives one secret, or tells it when it is asked.
struct Known {
    name: &'static str,
    value: String,
    asks: bool,
}

impl Secrets for Known {
    fn given(&self, name: &str) -> Result<Option<Zeroizing<String>>, SecretError> {
        Ok((name == self.name && !self.asks).then(|| Zeroizing::new(self.value.clone())))
    }

    fn ask(&self, name: &str, prompt: &Prompt<'_>) -> Result<Zeroizing<String>, SecretError> {
        assert!(prompt.text.starts_with("Vault: "), "{}", prompt.text);
        if name == self.name && self.asks {
            return Ok(Zeroizing::new(self.value.clone()));
        }
        Err(SecretError::new(Invalid, format!("nobody knows {name}")))
    }
}

fn written(folder: &TempDir, name: &str, text: &str) -> std::path::PathBuf {
    let path = folder.path().join(name);
    std::fs::write(&path, text).unwrap();
    #[cfg(unix)]
    mode(&path, 0o600);
    path
}

#[cfg(unix)]
fn mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
}

/// Signs JWTs by ES256.
struct Signer(EcdsaKeyPair);

impl Signer {
    fn new() -> Self {
        Self(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap())
    }

    fn pem(&self) -> String {
        let der = self.0.public_key().as_der().unwrap();
        format!(
            "-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n",
            Base64::encode_string(der.as_ref())
        )
    }

    fn jwt(&self, audience: &str) -> String {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
        let part = |value: Value| Base64UrlUnpadded::encode_string(value.to_string().as_bytes());
        let claims =
            json!({"sub": "tests", "aud": audience, "iat": now - 10, "nbf": now - 10, "exp": now + 600});
        let signed = format!("{}.{}", part(json!({"alg": "ES256", "typ": "JWT"})), part(claims));
        let signature = self.0.sign(&SystemRandom::new(), signed.as_bytes()).unwrap();
        format!("{signed}.{}", Base64UrlUnpadded::encode_string(signature.as_ref()))
    }
}
