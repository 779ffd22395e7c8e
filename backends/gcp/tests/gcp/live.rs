//! The conformance suite against Google itself, which costs money: `scripts/live gcp`
//! runs it. No other run does.

use std::{env, sync::Arc};

use envelope_sdk::{KeyChange, KeyState};
use envelope_testkit::conformance::{self, live::TwoKeys};

use super::*;

#[test]
#[ignore = "it costs money: scripts/live gcp"]
fn the_service_itself_conforms() {
    let ring = env::var("ENVELOPE_LIVE_GCP_KEY_RING").expect("scripts/live demands it");
    let mut settings = GcpKms::builder().key_ring(ring);
    if let Ok(url) = env::var("ENVELOPE_LIVE_GCP_ENDPOINT") {
        let on_this_machine = url.starts_with("http://127.0.0.1:");
        settings = settings.endpoint_url(url);
        if on_this_machine {
            settings = settings.anonymous();
        }
    }
    conformance::run(&two_keys(settings.build())).assert_conforms();
}

/// Against the stand-in, for the sake of what the test above leaves behind.
#[test]
fn what_is_made_for_the_service_itself_is_removed() {
    let gcp = Gcp::new();
    let made = two_keys(at(&gcp.http.url()).build());
    let keys = made.keys().to_vec();
    assert_eq!(keys.len(), 2);
    drop(made);
    gcp.server.advance(A_DAY);
    for key in keys {
        let described = block_on(gcp.kms.describe_key(&key)).unwrap();
        assert_eq!(described.state, KeyState::Destroyed, "a day later: {described:?}");
    }
}

/// Two keys, which are destroyed however the suite ends. They stay in the list for ever,
/// without material: another run has other names.
fn two_keys(kms: GcpKms) -> TwoKeys {
    let kms = Arc::new(kms);
    let (making, removing) = (Arc::clone(&kms), Arc::clone(&kms));
    TwoKeys::make(
        kms,
        "envelope-live-",
        "nobody-made-it",
        |task| RUNTIME.block_on(task),
        move |name| {
            let new = NewKey::named(name).option("destroy-delay-days", "1");
            Ok(block_on(making.create_key(&new))?.uri)
        },
        move |key| {
            for state in [KeyState::Suspended, KeyState::Destroyed] {
                block_on(removing.change_key(key, None, KeyChange::State(state)))?;
            }
            Ok(())
        },
    )
}

const A_DAY: Duration = Duration::from_secs(24 * 60 * 60);
