//! The conformance suite against a vault itself, which costs money: `scripts/live azure`
//! runs it. No other run does.

use std::{
    env,
    io::{self, Write as _},
    time::SystemTime,
};

use envelope_sdk::{KeyChange, KeyProvider, KeyState};
use envelope_testkit::conformance::{self, Backend, Subject, Task};

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
    conformance::run(&Made::new(settings.build(), &host)).assert_conforms();
}

/// Against the stand-in, for the sake of what the test above leaves behind.
#[test]
fn what_is_made_for_the_service_itself_is_removed() {
    let azure = Azure::new();
    let made = Made::new(azure.builder().vault(VAULT).build(), VAULT);
    let keys = made.keys.clone();
    assert_eq!(keys.len(), 2);
    drop(made);
    for key in keys {
        let error = block_on(azure.vaults.describe_key(&key)).unwrap_err();
        assert_eq!(error.kind(), envelope_sdk::ProviderErrorKind::NotFound, "{key}");
    }
}

/// Two keys, which are deleted however the suite ends, and purged where the vault and the
/// caller's roles permit it; otherwise Azure purges them when their time is over.
struct Made {
    vaults: Arc<AzureKeyVault>,
    host: String,
    keys: Vec<KeyUri>,
}

impl Made {
    fn new(vaults: AzureKeyVault, host: &str) -> Self {
        let mut made = Self { vaults: Arc::new(vaults), host: host.to_owned(), keys: Vec::new() };
        let since_1970 = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        for number in ["one", "two"] {
            // The name of a deleted key is taken: another run has other names.
            let new = NewKey::named(format!("envelope-live-{}-{number}", since_1970.as_micros()));
            let key = block_on(made.vaults.create_key(&new)).unwrap().uri;
            tell("made", &key);
            made.keys.push(key);
        }
        made
    }

    fn subject_of(&self, key: usize) -> Subject {
        let provider: Arc<dyn KeyProvider> = self.vaults.clone();
        Subject::new(provider, self.keys[key].clone())
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        for key in &self.keys {
            let go = |state| block_on(self.vaults.change_key(key, None, KeyChange::State(state)));
            match go(KeyState::Suspended).and_then(|_| go(KeyState::Destroyed)) {
                Ok(_) => {
                    let _ = block_on(self.vaults.purge_key(key));
                    tell("removed", key);
                }
                // The script sees what is missing; the next key may be removed.
                Err(error) => tell(&format!("left behind, {error}"), key),
            }
        }
    }
}

impl Backend for Made {
    fn subject(&self) -> Subject {
        self.subject_of(0)
    }

    fn other_subject(&self) -> Subject {
        self.subject_of(1)
    }

    fn unknown_key(&self) -> Option<KeyUri> {
        Some(key(&self.host, "nobody-made-it"))
    }

    fn block_on(&self, task: Task<'_>) {
        RUNTIME.block_on(task);
    }
}

/// For the script, past the capture of the test harness.
fn tell(what: &str, key: &KeyUri) {
    // Where standard output is closed, nobody reads it.
    let _ = io::stdout().write_all(format!("{what}: {key}\n").as_bytes());
}
