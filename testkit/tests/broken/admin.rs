//! Who manages keys.

mod flawed;
mod flaws;
mod provider;

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use envelope_sdk::{KeyAdmin, KeyProvider, KeyUri, NewKey};
use envelope_testkit::conformance::admin::{self, AdminBackend};
use futures_executor::block_on;

use super::example::ExampleProvider;
use flawed::Flawed;
use flaws::{FOUND, Flaw};
use provider::FlawedProvider;

#[test]
fn who_manages_keys_without_a_flaw_passes_every_check() {
    let report = admin::run(&Broken::new(Flaw::None));
    report.assert_conforms();
    let not_run: Vec<_> = report.not_run.iter().map(|(check, _)| *check).collect();
    assert_eq!(
        not_run,
        ["rotation_by_itself_is_told_as_it_was_set"],
        "keys in memory rotate by a call alone"
    );
}

#[test]
fn a_key_store_that_destroys_on_a_later_day_passes_every_check() {
    admin::run(&Broken::new(Flaw::DestroysLater)).assert_conforms();
}

#[test]
fn each_flaw_is_found_by_its_check() {
    for flaw in FOUND.iter().map(|(flaw, _)| *flaw).collect::<BTreeSet<_>>() {
        let report = admin::run(&Broken::new(flaw));
        for (_, check) in FOUND.iter().filter(|(of, _)| *of == flaw) {
            assert!(report.fails(check), "{flaw:?} was not found by {check}:\n{report}");
        }
    }
}

#[test]
fn every_check_finds_a_flaw() {
    for (check, _) in admin::ALL {
        assert!(FOUND.iter().any(|(_, by)| by == check), "no flaw is found by {check}");
    }
}

struct Broken {
    admin: Arc<Flawed>,
    provider: Arc<FlawedProvider>,
    keys: AtomicUsize,
}

impl Broken {
    fn new(flaw: Flaw) -> Self {
        let below = Arc::new(ExampleProvider::with_page_len(3));
        // A first key, which is of no check.
        block_on(below.create_key(&NewKey::named("another"))).unwrap();
        let provider = Arc::new(FlawedProvider::new(below.clone(), flaw));
        Self { admin: Arc::new(Flawed::new(below, flaw)), provider, keys: AtomicUsize::new(0) }
    }
}

impl AdminBackend for Broken {
    fn admin(&self) -> Arc<dyn KeyAdmin> {
        self.admin.clone()
    }

    fn provider(&self) -> Arc<dyn KeyProvider> {
        self.provider.clone()
    }

    fn new_key(&self) -> NewKey {
        NewKey::named(format!("key-{}", self.keys.fetch_add(1, Ordering::SeqCst)))
    }

    fn unknown_key(&self) -> KeyUri {
        uri("nobody")
    }
}

fn uri(name: &str) -> KeyUri {
    KeyUri::parse(&format!("example:{name}")).unwrap()
}
