//! The conformance suites against the stand-in.

use std::sync::Arc;

use envelope_gcp::GcpSettings;
use envelope_sdk::{
    KeyAdmin, KeyProvider,
    registry::{Scheme, Settings, Surroundings},
};
use envelope_testkit::conformance::{
    self, Applied, Backend, Change, Subject, Task,
    admin::{self, AdminBackend},
    apply_with_admin,
    scheme::{self, SchemeBackend},
};

use super::*;

#[test]
fn keys_in_software_conform() {
    conforms(&Kms::with(|builder| builder));
}

/// The DEK of an envelope is then made by `generate_dek`.
#[test]
fn keys_conform_with_randomness_of_a_cloud_hsm() {
    conforms(&Kms::with(|builder| builder.hsm_randomness(true)));
}

fn conforms(kms: &Kms) {
    let report = conformance::run(kms);
    report.assert_conforms();
    let not_run: Vec<_> = report.not_run.iter().map(|(check, _)| *check).collect();
    assert_eq!(
        not_run,
        [
            "a_rewrapped_dek_is_the_same_under_the_same_context_alone",
            "a_deactivated_key_unwraps_and_does_not_wrap",
            "a_compromised_key_unwraps_and_does_not_wrap",
        ],
        "Cloud KMS rewraps nothing inside, and a key of it as a whole has no such states"
    );
}

#[test]
fn who_manages_keys_conforms() {
    let report = admin::run(&Kms::with(|builder| builder));
    report.assert_conforms();
    let not_run: Vec<_> = report.not_run.iter().map(|(check, _)| *check).collect();
    assert_eq!(
        not_run,
        [
            "the_end_of_a_cryptoperiod_is_told_and_its_key_is_due",
            "the_end_of_a_cryptoperiod_is_of_the_version_it_was_set_for",
            "an_alias_is_the_key_it_was_made_for",
        ],
        "Cloud KMS has neither"
    );
}

#[test]
fn the_settings_conform() {
    scheme::run_settings::<GcpSettings>().assert_conforms();
}

#[test]
fn the_scheme_conforms() {
    scheme::run(&Kms::with(|builder| builder)).assert_conforms();
}

struct Kms {
    gcp: Gcp,
    kms: Arc<GcpKms>,
}

impl Kms {
    fn with(settings: impl Fn(GcpKmsBuilder) -> GcpKmsBuilder) -> Self {
        let gcp = Gcp::new();
        let kms = Arc::new(settings(at(&gcp.http.url())).build());
        Self { gcp, kms }
    }
}

impl Backend for Kms {
    fn subject(&self) -> Subject {
        Subject::new(self.kms.clone(), self.gcp.key())
    }

    fn other_subject(&self) -> Subject {
        self.subject()
    }

    fn unknown_key(&self) -> Option<KeyUri> {
        Some(key("nobody-made-it"))
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

impl AdminBackend for Kms {
    fn admin(&self) -> Arc<dyn KeyAdmin> {
        self.kms.clone()
    }

    fn provider(&self) -> Arc<dyn KeyProvider> {
        self.kms.clone()
    }

    fn new_key(&self) -> NewKey {
        NewKey::named(fresh_name())
    }

    fn unknown_key(&self) -> KeyUri {
        key("nobody-made-it")
    }

    fn block_on(&self, task: Task<'_>) {
        RUNTIME.block_on(task);
    }
}

impl SchemeBackend for Kms {
    fn scheme(&self, around: &Surroundings) -> Arc<dyn Scheme> {
        let mut settings = GcpSettings::default();
        settings.endpoint_url = Some(self.gcp.http.url());
        settings.anonymous = true;
        settings.into_scheme(around).unwrap()
    }

    fn keys(&self) -> Vec<KeyUri> {
        vec![self.gcp.key(), self.gcp.key()]
    }

    fn block_on(&self, task: Task<'_>) {
        RUNTIME.block_on(task);
    }
}
