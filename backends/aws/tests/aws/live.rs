//! The conformance suite against AWS itself, which costs money: `scripts/live aws`
//! runs it. No other run does.

use std::{
    env,
    io::{self, Write as _},
    sync::Arc,
    time::SystemTime,
};

use envelope_sdk::KeyProvider;
use envelope_testkit::conformance::{self, Backend, Subject, Task};

use super::*;

#[test]
#[ignore = "it costs money: scripts/live aws"]
fn the_service_itself_conforms() {
    let region = env::var("ENVELOPE_LIVE_AWS_REGION").expect("scripts/live demands it");
    let made = Made::new(AwsKms::builder().region(region).build());
    conformance::run(&made).assert_conforms();
}

/// Against LocalStack, for the sake of what the test above leaves behind.
#[test]
fn what_is_made_for_the_service_itself_is_removed() {
    let Some(kms) = localstack() else { return };
    let made = Made::new(kms);
    let (kms, keys) = (Arc::clone(&made.kms), made.keys.clone());
    assert_eq!(keys.len(), 2);
    drop(made);
    for key in keys {
        let described = block_on(kms.describe(&key)).unwrap();
        assert!(described.state.is_pending_deletion(), "{described:?}");
    }
}

/// Two keys, which are scheduled for deletion however the suite ends. The suite
/// shall not change them, since AWS takes minutes until everyone knows of a change.
struct Made {
    kms: Arc<AwsKms>,
    keys: Vec<KeyUri>,
}

impl Made {
    fn new(kms: AwsKms) -> Self {
        let mut made = Self { kms: Arc::new(kms), keys: Vec::new() };
        let since_1970 = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        for number in ["one", "two"] {
            // An alias goes with its key, in a week: another run has other names.
            let name = format!("envelope-live/{}-{number}", since_1970.as_micros());
            let key = block_on(made.kms.create_key(&NewKey::named(name))).unwrap().uri;
            tell("made", &key);
            made.keys.push(key);
        }
        made
    }

    fn subject_of(&self, key: usize) -> Subject {
        let provider: Arc<dyn KeyProvider> = self.kms.clone();
        Subject::new(provider, self.keys[key].clone())
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        for key in &self.keys {
            match block_on(self.kms.schedule_deletion(key, FEWEST_DAYS)) {
                Ok(_) => tell("removed", key),
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
        let key = self.keys[0].to_string();
        let (place, _) = key.rsplit_once('/')?;
        KeyUri::parse(&format!("{place}/1234abcd-12ab-34cd-56ef-1234567890ab")).ok()
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

/// Sooner AWS deletes no key.
const FEWEST_DAYS: u32 = 7;
