//! Keys of Cloud KMS in a registry: the scheme and its settings.

use std::sync::Arc;

use envelope_gcp::GcpSettings;
use envelope_sdk::{
    ProviderErrorKind::{Invalid, Unsupported},
    Registry,
    registry::{Purpose, Scheme, Settings, Surroundings},
};

use super::*;

#[test]
fn the_table_of_a_configuration_is_read_with_the_names_of_its_documentation() {
    let settings: GcpSettings = serde_json::from_str(
        r#"{"key-ring": "r", "credentials-file": "/f", "metadata-server": true, "anonymous": true,
            "impersonate": "a@b", "delegates": ["c@d"], "quota-project": "q", "endpoint-url": "https://x",
            "protection": "hsm", "hsm-randomness": true}"#,
    )
    .unwrap();
    assert_eq!((settings.key_ring.as_deref(), settings.quota_project.as_deref()), (Some("r"), Some("q")));
    assert_eq!((settings.impersonate.as_deref(), settings.delegates.len()), (Some("a@b"), 1));
    assert!(settings.metadata_server && settings.anonymous && settings.hsm_randomness);
    assert_eq!(
        (settings.protection.as_deref(), settings.endpoint_url.as_deref()),
        (Some("hsm"), Some("https://x"))
    );
    let error = serde_json::from_str::<GcpSettings>(r#"{"keyring": "r"}"#).unwrap_err();
    assert!(error.to_string().contains("unknown field `keyring`"), "{error}");
}

#[test]
fn one_provider_is_opened_for_all_keys_and_no_key_of_another_scheme() {
    let registry = Registry::new().with_arc(scheme(GcpSettings::default()));
    assert_eq!((registry.providers(), registry.schemes()), (vec!["gcp"], vec!["gcpkms"]));
    let identity = |name: &str| registry.provider(&key(name), Purpose::Encrypt).unwrap().identity();
    assert!(identity("a").is_some());
    assert_eq!(identity("a"), identity("b"));
    assert_eq!(registry.admin(&key("a")).unwrap().provider(), "gcp");
    for refused in [
        scheme(GcpSettings::default()).open(&KeyUri::passphrase(), Purpose::Decrypt).map(drop),
        scheme(GcpSettings::default()).admin(Some(&KeyUri::passphrase())).map(drop),
    ] {
        let error = refused.unwrap_err();
        assert_eq!((error.kind(), error.key()), (Unsupported, Some(&KeyUri::passphrase())));
    }
}

#[test]
fn the_survey_tells_the_settings_and_refuses_an_endpoint_that_holds_a_secret() {
    let mut settings = GcpSettings::default();
    settings.key_ring = Some(RING.to_owned());
    settings.protection = Some("hsm".to_owned());
    settings.endpoint_url = Some("https://cloudkms.example".to_owned());
    let told = block_on(scheme(settings.clone()).survey()).unwrap();
    let expected = envelope_sdk::admin::Details::new()
        .with("key_ring", RING)
        .with("protection", "hsm")
        .with("endpoint", "https://cloudkms.example");
    assert_eq!(told, expected);
    settings.endpoint_url = Some("https://user:canary-4711@cloudkms.example".to_owned());
    let error = block_on(scheme(settings).survey()).unwrap_err();
    assert!(error.kind() == Invalid && !format!("{error} {error:?}").contains("4711"), "{error}");
}

fn scheme(settings: GcpSettings) -> Arc<dyn Scheme> {
    settings.into_scheme(&Surroundings::default()).unwrap()
}
