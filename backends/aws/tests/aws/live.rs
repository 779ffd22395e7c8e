//! The conformance suite against AWS itself, which costs money: `scripts/live aws`
//! runs it. No other run does.

use std::{env, sync::Arc};

use envelope_testkit::conformance::{self, live::TwoKeys};

use super::*;

#[test]
#[ignore = "it costs money: scripts/live aws"]
fn the_service_itself_conforms() {
    let region = env::var("ENVELOPE_LIVE_AWS_REGION").expect("scripts/live demands it");
    let kms = Arc::new(AwsKms::builder().region(region).build());
    conformance::run(&two_keys(kms)).assert_conforms();
}

/// Against LocalStack, for the sake of what the test above leaves behind.
#[test]
fn what_is_made_for_the_service_itself_is_removed() {
    let Some(kms) = localstack() else { return };
    let kms = Arc::new(kms);
    let made = two_keys(Arc::clone(&kms));
    let keys = made.keys().to_vec();
    assert_eq!(keys.len(), 2);
    drop(made);
    for key in keys {
        let described = block_on(kms.describe(&key)).unwrap();
        assert!(described.state.is_pending_deletion(), "{described:?}");
    }
}

/// Two keys, which are scheduled for deletion however the suite ends.
fn two_keys(kms: Arc<AwsKms>) -> TwoKeys {
    let (making, removing) = (Arc::clone(&kms), Arc::clone(&kms));
    // An alias goes with its key, in a week: another run has other names.
    TwoKeys::make(
        kms,
        "envelope-live/",
        "1234abcd-12ab-34cd-56ef-1234567890ab",
        |task| RUNTIME.block_on(task),
        move |name| Ok(block_on(making.create_key(&NewKey::named(name)))?.uri),
        move |key| block_on(removing.schedule_deletion(key, FEWEST_DAYS)).map(drop),
    )
}

/// Sooner AWS deletes no key.
const FEWEST_DAYS: u32 = 7;
