//! The conformance suite against LocalStack.

use std::sync::Arc;

use envelope_aws::AwsSettings;
use envelope_sdk::{KeyAdmin, KeyProvider};
use envelope_testkit::conformance::{
    self, Applied, Backend, Change, Subject, Task,
    admin::{self, AdminBackend},
    apply_with_admin, scheme,
};

use super::*;

#[test]
fn keys_configured_by_arn_conform() {
    conforms(Configured::ByArn);
}

#[test]
fn keys_configured_by_alias_conform() {
    conforms(Configured::ByAlias);
}

fn conforms(configured: Configured) {
    let Some(kms) = localstack() else { return };
    let report = conformance::run(&Kms { kms: Arc::new(kms), configured });
    report.assert_conforms_except(&[(BORDERS, "LocalStack puts names and values together without borders")]);
    let not_run: Vec<_> = report.not_run.iter().map(|(check, _)| *check).collect();
    assert_eq!(
        not_run,
        ["a_deactivated_key_unwraps_and_does_not_wrap", "a_compromised_key_unwraps_and_does_not_wrap"],
        "KMS has no such states"
    );
}

#[test]
fn who_manages_keys_conforms() {
    let Some(address) = servers::address("LOCALSTACK") else { return };
    // A region of its own: the suite counts keys, and other tests make some meanwhile.
    let report = admin::run(&Managed(Arc::new(at(&address).region("eu-west-3").build())));
    report.assert_conforms();
}

#[test]
fn the_settings_conform() {
    scheme::run_settings::<AwsSettings>().assert_conforms();
}

struct Managed(Arc<AwsKms>);

impl AdminBackend for Managed {
    fn admin(&self) -> Arc<dyn KeyAdmin> {
        self.0.clone()
    }

    fn provider(&self) -> Arc<dyn KeyProvider> {
        self.0.clone()
    }

    fn new_key(&self) -> NewKey {
        NewKey::named(fresh_name())
    }

    fn unknown_key(&self) -> KeyUri {
        key("1234abcd-12ab-34cd-56ef-1234567890ab")
    }

    fn block_on(&self, task: Task<'_>) {
        RUNTIME.block_on(task);
    }
}

#[derive(Clone, Copy)]
enum Configured {
    ByArn,
    ByAlias,
}

struct Kms {
    kms: Arc<AwsKms>,
    configured: Configured,
}

impl Backend for Kms {
    fn subject(&self) -> Subject {
        let (key, alias) = create(&self.kms);
        match self.configured {
            Configured::ByArn => Subject::new(self.kms.clone(), key.uri),
            Configured::ByAlias => Subject::new(self.kms.clone(), alias),
        }
    }

    fn other_subject(&self) -> Subject {
        self.subject()
    }

    fn unknown_key(&self) -> Option<KeyUri> {
        Some(key("1234abcd-12ab-34cd-56ef-1234567890ab"))
    }

    fn unreachable(&self) -> Option<Subject> {
        let away = at("http://127.0.0.1:1").attempts(1).build();
        Some(Subject::new(Arc::new(away), key("1234abcd-12ab-34cd-56ef-1234567890ab")))
    }

    fn apply(&self, subject: &Subject, change: Change) -> Applied {
        block_on(apply_with_admin(&*self.kms, &subject.key, change))
    }

    fn block_on(&self, task: Task<'_>) {
        RUNTIME.block_on(task);
    }
}

const BORDERS: &str = "contexts_that_read_alike_without_borders_are_told_apart";
