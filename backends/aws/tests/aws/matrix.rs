//! All that may go wrong between the provider and LocalStack.

use std::{sync::Arc, time::Duration};

use envelope_layers::{Retry, RetryBudget};
use envelope_testkit::{
    fault_matrix::{self, Proxy, Rig},
    http_server::{HttpServer, forward},
};

use super::*;

#[test]
fn whatever_goes_wrong_attempts_are_bounded_and_the_error_is_the_right_one() {
    let Some(server) = servers::address("LOCALSTACK") else { return };
    fault_matrix::run(|| rig(&server), &|future| block_on(future));
}

fn rig(server: &str) -> Rig {
    let expired = canned::refusal(400, "ExpiredTokenException");
    let proxy =
        Proxy::new(expired, |request| matches!(canned::call_of(request).as_str(), "Encrypt" | "Decrypt"));
    let (between, address) = (proxy.clone(), server.trim_start_matches("http://").to_owned());
    let http = HttpServer::answering(move |request| between.alter(request, || forward(&address, request)));
    // The SDK's pauses take up to three seconds.
    let kms = at(&http.url()).attempt_timeout(Duration::from_millis(1500)).build();
    let key = create(&kms).0.uri;
    let provider = Arc::new(kms);
    Rig {
        retrying: Arc::new(Retry::new(provider.clone(), &RetryBudget::default())),
        provider,
        key_in_answers: key.as_str().rsplit('/').next().map(str::to_owned),
        key,
        proxy,
        attempts: 3,
    }
}
