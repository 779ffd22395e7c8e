//! The conformance suite against Google itself, which costs money: `scripts/live gcp`
//! runs it. No other run does.

use std::{
    env,
    io::{self, Write as _},
    sync::Arc,
    time::SystemTime,
};

use envelope_sdk::{KeyChange, KeyProvider, KeyState};
use envelope_testkit::conformance::{self, Backend, Subject, Task};

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
    let made = Made::new(settings.build());
    conformance::run(&made).assert_conforms();
}

/// Against the stand-in, for the sake of what the test above leaves behind.
#[test]
fn what_is_made_for_the_service_itself_is_removed() {
    let gcp = Gcp::new();
    let made = Made::new(at(&gcp.http.url()).build());
    let keys = made.keys.clone();
    assert_eq!(keys.len(), 2);
    drop(made);
    gcp.server.advance(A_DAY);
    for key in keys {
        let described = block_on(gcp.kms.describe_key(&key)).unwrap();
        assert_eq!(described.state, KeyState::Destroyed, "a day later: {described:?}");
    }
}

/// Two keys, which are destroyed however the suite ends. The suite shall not
/// change them: Google takes up to hours until every server knows that a version is
/// disabled (<https://cloud.google.com/kms/docs/consistency>), and makes few keys a
/// minute.
struct Made {
    kms: Arc<GcpKms>,
    keys: Vec<KeyUri>,
}

impl Made {
    fn new(kms: GcpKms) -> Self {
        let mut made = Self { kms: Arc::new(kms), keys: Vec::new() };
        let since_1970 = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        for number in ["one", "two"] {
            // Keys stay for ever, without material: another run has other names.
            let name = format!("envelope-live-{}-{number}", since_1970.as_micros());
            let new = NewKey::named(name).option("destroy-delay-days", "1");
            let key = block_on(made.kms.create_key(&new)).unwrap().uri;
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
            let go = |state| block_on(self.kms.change_key(key, None, KeyChange::State(state)));
            match go(KeyState::Suspended).and_then(|_| go(KeyState::Destroyed)) {
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
        KeyUri::parse(&format!("{place}/nobody-made-it")).ok()
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

const A_DAY: Duration = Duration::from_secs(24 * 60 * 60);
