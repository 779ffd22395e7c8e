//! The conformance suite against a vault itself, which costs money: `scripts/live azure`
//! runs it. No other run does.

use std::env;

use envelope_sdk::{KeyChange, KeyState};
use envelope_testkit::conformance::{self, live::TwoKeys};

use super::*;

#[test]
#[ignore = "it costs money: scripts/live azure"]
fn the_service_itself_conforms() {
    let host = env::var("ENVELOPE_LIVE_AZURE_VAULT").expect("scripts/live demands it");
    let mut settings = AzureKeyVault::builder().vault(&host);
    if let (Ok(domain), Ok(ca)) = (env::var("ENVELOPE_LIVE_AZURE_DOMAIN"), env::var("ENVELOPE_LIVE_AZURE_CA"))
    {
        // The stand-in, to try the script.
        settings = settings.domain(domain).ca_file(ca).credential(Token::of("a-test"));
    }
    if env::var("ENVELOPE_LIVE_AZURE_MANAGED_IDENTITY").is_ok_and(|is_on| is_on == "1") {
        settings = settings.managed_identity();
    }
    conformance::run(&two_keys(settings.build())).assert_conforms();
}

/// Against the stand-in, for the sake of what the test above leaves behind.
#[test]
fn what_is_made_for_the_service_itself_is_removed() {
    let azure = Azure::new();
    let made = two_keys(azure.builder().vault(VAULT).build());
    let keys = made.keys().to_vec();
    assert_eq!(keys.len(), 2);
    drop(made);
    for key in keys {
        let error = block_on(azure.vaults.describe_key(&key)).unwrap_err();
        assert_eq!(error.kind(), envelope_sdk::ProviderErrorKind::NotFound, "{key}");
    }
}

/// Two keys, which are deleted however the suite ends, and purged where the vault and the
/// caller's roles permit it; otherwise Azure purges them when their time is over.
fn two_keys(vaults: AzureKeyVault) -> TwoKeys {
    let vaults = Arc::new(vaults);
    let (making, removing) = (Arc::clone(&vaults), Arc::clone(&vaults));
    // The name of a deleted key is taken: another run has other names.
    TwoKeys::make(
        vaults,
        "envelope-live-",
        "nobody-made-it",
        |task| RUNTIME.block_on(task),
        move |name| Ok(block_on(making.create_key(&NewKey::named(name)))?.uri),
        move |key| {
            for state in [KeyState::Suspended, KeyState::Destroyed] {
                block_on(removing.change_key(key, None, KeyChange::State(state)))?;
            }
            let _ = block_on(removing.purge_key(key));
            Ok(())
        },
    )
}
