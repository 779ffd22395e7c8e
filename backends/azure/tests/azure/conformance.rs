//! The conformance suites against the stand-in.

use std::sync::Arc;

use envelope_azure::AzureSettings;
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
fn rsa_keys_of_a_vault_conform() {
    conforms(&Keys::of(Azure::new()));
}

#[test]
fn symmetric_keys_of_a_managed_hsm_conform() {
    conforms(&Keys::of(Azure::hsm()));
}

#[test]
fn symmetric_keys_that_wrap_with_aes_key_wrap_conform() {
    conforms(&Keys::with(Azure::hsm(), |builder| builder.symmetric_algorithm(SymmetricAlgorithm::A256Kw)));
}

#[test]
fn rsa_keys_of_a_managed_hsm_conform() {
    conforms(&Keys { kind: Some("RSA-HSM-3072"), ..Keys::of(Azure::hsm()) });
}

fn conforms(keys: &Keys) {
    let report = conformance::run(keys);
    report.assert_conforms();
    let not_run: Vec<_> = report.not_run.iter().map(|(check, _)| *check).collect();
    for check in not_run {
        assert!(
            [
                "a_rewrapped_dek_is_the_same_under_the_same_context_alone",
                "a_compromised_key_unwraps_and_does_not_wrap",
                "another_context_does_not_unwrap",
            ]
            .contains(&check),
            "Azure rewraps nothing inside and has no such state: {check}"
        );
    }
}

#[test]
fn who_manages_keys_of_a_vault_conforms() {
    manages(&Keys::of(Azure::new()));
}

#[test]
fn who_manages_keys_of_a_managed_hsm_conforms() {
    manages(&Keys::of(Azure::hsm()));
}

fn manages(keys: &Keys) {
    let report = admin::run(keys);
    report.assert_conforms();
    let not_run: Vec<_> = report.not_run.iter().map(|(check, _)| *check).collect();
    assert_eq!(not_run, ["an_alias_is_the_key_it_was_made_for"], "Azure has none");
}

#[test]
fn the_settings_conform() {
    scheme::run_settings::<AzureSettings>().assert_conforms();
}

#[test]
fn the_scheme_conforms() {
    scheme::run(&Keys::of(Azure::new())).assert_conforms();
}

struct Keys {
    azure: Azure,
    vaults: Arc<AzureKeyVault>,
    kind: Option<&'static str>,
}

impl Keys {
    fn of(azure: Azure) -> Self {
        Self::with(azure, |builder| builder)
    }

    fn with(azure: Azure, settings: impl Fn(AzureKeyVaultBuilder) -> AzureKeyVaultBuilder) -> Self {
        let vaults = settings(azure.builder().vault(azure.host)).build();
        Self { vaults: Arc::new(vaults), azure, kind: None }
    }
}

impl Backend for Keys {
    fn subject(&self) -> Subject {
        let new = AdminBackend::new_key(self);
        Subject::new(self.vaults.clone(), block_on(self.vaults.create_key(&new)).unwrap().uri)
    }

    fn other_subject(&self) -> Subject {
        self.subject()
    }

    fn unknown_key(&self) -> Option<KeyUri> {
        Some(AdminBackend::unknown_key(self))
    }

    fn unreachable(&self) -> Option<Subject> {
        let away = self.azure.builder().domain("localhost:1").attempts(1).build();
        Some(Subject::new(Arc::new(away), key(self.azure.host, "away")))
    }

    fn apply(&self, subject: &Subject, change: Change) -> Applied {
        block_on(apply_with_admin(&*self.vaults, &subject.key, change))
    }

    fn block_on(&self, task: Task<'_>) {
        RUNTIME.block_on(task);
    }
}

impl AdminBackend for Keys {
    fn admin(&self) -> Arc<dyn KeyAdmin> {
        self.vaults.clone()
    }

    fn provider(&self) -> Arc<dyn KeyProvider> {
        self.vaults.clone()
    }

    fn new_key(&self) -> NewKey {
        let mut new = NewKey::named(fresh_name());
        new.algorithm = self.kind.map(str::to_owned);
        new
    }

    fn unknown_key(&self) -> KeyUri {
        key(self.azure.host, "nobody-made-it")
    }

    fn block_on(&self, task: Task<'_>) {
        RUNTIME.block_on(task);
    }
}

impl SchemeBackend for Keys {
    fn scheme(&self, around: &Surroundings) -> Arc<dyn Scheme> {
        let mut settings = AzureSettings::default();
        settings.domain = Some(format!("localhost:{}", self.azure.service.port()));
        settings.ca_file = Some(self.azure.ca());
        settings.credentials = Some("client-secret".into());
        settings.tenant_id = Some("tests".into());
        settings.client_id = Some("a-test".into());
        let secret = self.azure.folder.path().join("secret");
        std::fs::write(&secret, "secret\n").unwrap();
        #[cfg(unix)]
        std::fs::set_permissions(&secret, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        settings.client_secret_file = Some(secret);
        settings.into_scheme(around).unwrap()
    }

    fn keys(&self) -> Vec<KeyUri> {
        vec![self.azure.key(), self.azure.key()]
    }

    fn block_on(&self, task: Task<'_>) {
        RUNTIME.block_on(task);
    }
}
