//! All that may go wrong between the provider and HashiCorp's server.

use std::sync::Arc;

use envelope_layers::{Retry, RetryBudget};
use envelope_sdk::{KeyAdmin, NewKey};
use envelope_testkit::{
    fault_matrix::{self, Proxy, Rig},
    http_server::{Answer, HttpServer, forward},
};

use super::*;

#[test]
fn whatever_goes_wrong_attempts_are_bounded_and_the_error_is_the_right_one() {
    let Some(server) = Server::shared() else { return };
    fault_matrix::run(|| rig(&server), &|future| block_on(future));
}

fn rig(server: &Server) -> Rig {
    let expired = Answer::json(
        403,
        r#"{"errors":["2 errors occurred:\n\t* permission denied\n\t* invalid token\n\n"]}"#,
    );
    let proxy = Proxy::new(expired, |request| {
        request.path().contains("/transit/encrypt/") || request.path().contains("/transit/decrypt/")
    });
    let (between, address) = (proxy.clone(), server.url.trim_start_matches("http://").to_owned());
    let http = HttpServer::answering(move |request| between.alter(request, || forward(&address, request)));
    let vault = at(&http.url()).attempt_timeout(Duration::from_secs(1)).build();
    let key = block_on(vault.create_key(&NewKey::named(fresh_name()))).unwrap().uri;
    let provider = Arc::new(vault);
    Rig {
        retrying: Arc::new(Retry::new(provider.clone(), &RetryBudget::default())),
        provider,
        key,
        proxy,
        attempts: 3,
        // Transit names the version alone.
        key_in_answers: None,
    }
}
