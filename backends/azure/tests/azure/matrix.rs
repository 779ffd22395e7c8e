//! All that may go wrong between the provider and a vault.

use envelope_layers::{Retry, RetryBudget};
use envelope_testkit::fault_matrix::{self, Proxy, Rig};
use serde_json::json;

use super::*;

#[test]
fn whatever_goes_wrong_attempts_are_bounded_and_the_error_is_the_right_one() {
    let folders = std::sync::Mutex::new(Vec::new());
    let rig = || {
        let (rig, folder) = rig();
        folders.lock().unwrap().push(folder);
        rig
    };
    fault_matrix::run(rig, &|future| block_on(future));
}

/// And where the certificate of its CA is.
fn rig() -> (Rig, TempDir) {
    let said = json!({"error": {"code": "Unauthorized", "message": "[TokenExpired] the token has expired"}});
    let expired = envelope_testkit::http_server::Answer::json(401, said.to_string());
    // Without a token a request only asks for the challenge.
    let proxy = Proxy::new(expired, |request| {
        let verb = request.path().rsplit('/').next().unwrap_or_default().to_owned();
        matches!(verb.as_str(), "wrapkey" | "unwrapkey" | "encrypt" | "decrypt") && request.token().is_some()
    });
    let (server, between) = (AzureServer::new(), proxy.clone());
    let service = server.serve_with(move |request, reply| between.alter(request, || reply.into()));
    let folder = TempDir::new().unwrap();
    server.write_ca(folder.path().join("ca.pem")).unwrap();
    // A managed HSM wraps by itself; a vault's keys of RSA are wrapped with here.
    let vaults = at(&service, &folder).vault(HSM).attempt_timeout(Duration::from_secs(1)).build();
    let key = block_on(vaults.create_key(&NewKey::named(fresh_name()))).unwrap().uri;
    let provider = Arc::new(vaults);
    let rig = Rig {
        retrying: Arc::new(Retry::new(provider.clone(), &RetryBudget::default())),
        provider,
        key_in_answers: key.as_str().rsplit('/').next().map(str::to_owned),
        key,
        proxy,
        attempts: 3,
    };
    (rig, folder)
}
