//! The conformance suite against a real project, which costs money: only by
//! `scripts/live gcp`.

use std::{
    env,
    sync::{Arc, Mutex},
};

use envelope_sdk::{KeyAdmin, KeyProvider};
use envelope_testkit::conformance::{self, Applied, Backend, Change, Subject, Task, apply_with_admin};

use super::*;

#[test]
#[ignore = "needs a project of Google Cloud, and costs money: scripts/live gcp"]
fn a_real_key_ring_conforms() {
    let ring =
        env::var("ENVELOPE_LIVE_GCP_KEY_RING").expect("the key ring, projects/P/locations/L/keyRings/R");
    let mut settings = GcpKms::builder().key_ring(&ring);
    if let Ok(url) = env::var("ENVELOPE_LIVE_GCP_ENDPOINT") {
        settings = settings.endpoint_url(url).anonymous();
    }
    let live = Live { kms: Arc::new(settings.build()), ring, made: Mutex::default() };
    let report = conformance::run(&live);
    live.destroy();
    report.assert_conforms();
}

struct Live {
    kms: Arc<GcpKms>,
    ring: String,
    made: Mutex<Vec<KeyUri>>,
}

impl Live {
    /// Keys stay for ever, their material for a day.
    fn destroy(&self) {
        use envelope_sdk::{KeyChange, KeyState};
        for key in self.made.lock().unwrap().iter() {
            for state in [KeyState::Suspended, KeyState::Destroyed] {
                // What was suspended or destroyed by a check is so already.
                let _ = block_on(self.kms.change_key(key, None, KeyChange::State(state)));
            }
        }
    }
}

impl Backend for Live {
    fn subject(&self) -> Subject {
        let new = NewKey::named(format!("conformance-{}", fresh_name())).option("destroy-delay-days", "1");
        let made = block_on(self.kms.create_key(&new)).unwrap().uri;
        // For whoever cleans up after a run that did not end.
        #[expect(clippy::print_stdout, reason = "it is read by scripts/live")]
        {
            println!("made: {}", made.rest().trim_start_matches('/'));
        }
        self.made.lock().unwrap().push(made.clone());
        Subject::new(self.kms.clone() as Arc<dyn KeyProvider>, made)
    }

    fn other_subject(&self) -> Subject {
        self.subject()
    }

    fn unknown_key(&self) -> Option<KeyUri> {
        Some(KeyUri::parse(&format!("{}/cryptoKeys/nobody-made-it", self.ring)).unwrap())
    }

    fn unreachable(&self) -> Option<Subject> {
        let away = at("http://127.0.0.1:1").attempts(1).build();
        Some(Subject::new(Arc::new(away), key("away")))
    }

    fn apply(&self, subject: &Subject, change: Change) -> Applied {
        block_on(apply_with_admin(&*self.kms, &subject.key, change))
    }

    fn block_on(&self, task: Task<'_>) {
        RUNTIME.block_on(task);
    }
}
