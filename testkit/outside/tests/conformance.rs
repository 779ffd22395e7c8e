//! The suites over the example: its provider, who manages its keys, its scheme
//! and its settings.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so")]

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use envelope_example::{ExampleProvider, ExampleSettings};
use envelope_sdk::{
    KeyAdmin, KeyProvider, KeyUri, NewKey,
    registry::{Scheme, Settings, Surroundings},
};
use envelope_testkit::conformance::{
    self, Applied, Backend, Change, Subject,
    admin::{self, AdminBackend},
    apply_with_admin,
    scheme::{self, SchemeBackend},
};
use futures_executor::block_on;

#[test]
fn the_provider_conforms_whether_configured_by_key_or_by_alias() {
    for by_alias in [false, true] {
        let report = conformance::run(&Example { by_alias, ..Example::new() });
        report.assert_conforms();
        let not_run: Vec<_> = report.not_run.iter().map(|(check, _)| *check).collect();
        assert_eq!(
            not_run,
            ["a_key_without_its_server_is_unavailable_and_worth_a_retry"],
            "it has no server"
        );
    }
}

#[test]
fn the_management_of_its_keys_conforms() {
    let report = admin::run(&Example::new());
    report.assert_conforms();
    let not_run: Vec<_> = report.not_run.iter().map(|(check, _)| *check).collect();
    assert_eq!(not_run, ["rotation_by_itself_is_told_as_it_was_set"]);
}

#[test]
fn the_scheme_and_its_settings_conform() {
    let report = scheme::run(&Configured);
    report.assert_conforms();
    assert!(report.not_run.is_empty(), "{report}");
    let report = scheme::run_settings::<ExampleSettings>();
    report.assert_conforms();
    assert!(report.not_run.is_empty(), "{report}");
}

/// A new key for each subject.
struct Example {
    provider: Arc<ExampleProvider>,
    names: AtomicUsize,
    by_alias: bool,
}

impl Example {
    fn new() -> Self {
        // Two keys to a page: the lists of the checks have several.
        let provider = Arc::new(ExampleProvider::with_page_len(2));
        Self { provider, names: AtomicUsize::new(0), by_alias: false }
    }

    fn next(&self) -> NewKey {
        NewKey::named(format!("key-{}", self.names.fetch_add(1, Ordering::SeqCst)))
    }
}

impl Backend for Example {
    fn subject(&self) -> Subject {
        let new = self.next();
        let created = block_on(self.provider.create_key(&new)).unwrap().uri;
        let alias = || block_on(self.provider.set_alias(&new.name, &created)).unwrap();
        Subject::new(self.provider.clone(), if self.by_alias { alias() } else { created.clone() })
    }

    fn other_subject(&self) -> Subject {
        self.subject()
    }

    fn unknown_key(&self) -> Option<KeyUri> {
        Some(AdminBackend::unknown_key(self))
    }

    fn another_instance(&self) -> Option<Arc<dyn KeyProvider>> {
        Some(Arc::new(ExampleProvider::new()))
    }

    fn apply(&self, subject: &Subject, change: Change) -> Applied {
        block_on(apply_with_admin(&*self.provider, &subject.key, change))
    }
}

impl AdminBackend for Example {
    fn admin(&self) -> Arc<dyn KeyAdmin> {
        self.provider.clone()
    }

    fn provider(&self) -> Arc<dyn KeyProvider> {
        self.provider.clone()
    }

    fn new_key(&self) -> NewKey {
        self.next()
    }

    fn unknown_key(&self) -> KeyUri {
        KeyUri::parse("example:nobody").unwrap()
    }
}

/// The scheme of a configuration with two keys.
struct Configured;

impl SchemeBackend for Configured {
    fn scheme(&self, around: &Surroundings) -> Arc<dyn Scheme> {
        let settings: ExampleSettings = toml::from_str(r#"keys = ["orders", "people"]"#).unwrap();
        settings.into_scheme(around).unwrap()
    }

    fn keys(&self) -> Vec<KeyUri> {
        ["example:orders", "example:people"].map(|key| KeyUri::parse(key).unwrap()).into()
    }
}
