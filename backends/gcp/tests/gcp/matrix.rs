//! All that may go wrong between the provider and Google.

use std::sync::Arc;

use envelope_layers::{Retry, RetryBudget};
use envelope_testkit::fault_matrix::{self, Proxy, Rig};

use super::*;

#[test]
fn whatever_goes_wrong_attempts_are_bounded_and_the_error_is_the_right_one() {
    fault_matrix::run(rig, &|future| block_on(future));
}

fn rig() -> Rig {
    let server = GcpServer::new();
    let expired = canned::refusal(401, "UNAUTHENTICATED", "the token has expired", "");
    let proxy =
        Proxy::new(expired, |request| matches!(canned::call_of(request).as_str(), "encrypt" | "decrypt"));
    let between = proxy.clone();
    let http = HttpServer::answering(move |request| between.alter(request, || server.reply(request).into()));
    let kms = at(&http.url()).attempt_timeout(Duration::from_secs(1)).build();
    let key = block_on(async {
        kms.create_key_ring(RING).await.unwrap();
        kms.create_key(&NewKey::named(fresh_name())).await.unwrap().uri
    });
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
