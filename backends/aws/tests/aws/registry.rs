//! Keys of AWS KMS in a registry: the scheme and its settings.

use envelope_aws::AwsSettings;
use envelope_sdk::{
    KeyProvider,
    ProviderErrorKind::Unsupported,
    Registry,
    registry::{Purpose, Scheme, Settings, Surroundings},
};

use super::*;

#[test]
fn the_table_of_a_configuration_is_read_with_the_names_of_its_documentation() {
    let settings: AwsSettings = serde_json::from_str(
        r#"{"profile": "p", "region": "r", "replica-regions": ["a", "b"], "endpoint-url": "https://x",
            "fips": true, "role": "arn", "external-id": "e"}"#,
    )
    .unwrap();
    assert_eq!(settings.replica_regions, ["a", "b"]);
    assert_eq!((settings.endpoint_url.as_deref(), settings.fips), (Some("https://x"), Some(true)));
    assert_eq!((settings.role.as_deref(), settings.external_id.as_deref()), (Some("arn"), Some("e")));
    let error = serde_json::from_str::<AwsSettings>(r#"{"profil": "p"}"#).unwrap_err();
    assert!(error.to_string().contains("unknown field `profil`"), "{error}");
}

#[test]
fn one_provider_is_opened_for_all_keys_and_no_key_of_another_scheme() {
    let registry = Registry::new().with_arc(scheme());
    assert_eq!((registry.providers(), registry.schemes()), (vec!["aws"], vec!["awskms"]));
    let identity = |id: &str| registry.provider(&key(id), Purpose::Encrypt).unwrap().identity();
    assert!(identity("1a").is_some());
    assert_eq!(identity("1a"), identity("2b"), "so that KMS may rewrap from one to the other");
    assert_eq!(registry.admin(&key("1a")).unwrap().provider(), "aws");
    for refused in [
        scheme().open(&KeyUri::passphrase(), Purpose::Decrypt).map(drop),
        scheme().admin(Some(&KeyUri::passphrase())).map(drop),
    ] {
        let error = refused.unwrap_err();
        assert_eq!((error.kind(), error.key()), (Unsupported, Some(&KeyUri::passphrase())));
    }
}

fn scheme() -> std::sync::Arc<dyn Scheme> {
    let mut settings = AwsSettings::default();
    settings.set("region", REGION.into()).unwrap();
    settings.into_scheme(&Surroundings::default()).unwrap()
}
