//! What is refused of a new key, before one is made.

use envelope_sdk::{
    ProviderErrorKind::{Invalid, Unsupported},
    admin::all_keys,
};

use super::*;

#[test]
fn a_name_that_is_taken_makes_no_second_key() {
    let Some(kms) = localstack() else { return };
    let name = fresh_name();
    let new = NewKey::named(&name).description(format!("the one of {name}"));
    block_on(kms.create_key(&new)).unwrap();
    for refused in [block_on(kms.check_new_key(&new)), block_on(kms.create_key(&new)).map(drop)] {
        let refused = refused.unwrap_err();
        assert_eq!((refused.kind(), refused.key()), (Invalid, None));
        assert!(refused.message().contains(&name), "{refused}");
    }
    let description = Some(&format!("the one of {name}").into());
    let made = block_on(all_keys(&kms)).unwrap();
    assert_eq!(made.iter().filter(|key| key.details.get("description") == description).count(), 1);
}

#[test]
fn what_kms_does_not_make_is_refused_by_the_dry_run_too_and_nobody_is_asked() {
    // There is no server.
    let kms = at("http://127.0.0.1:1").build();
    let named = || NewKey::named("a");
    let mut many = named();
    many.tags = (0..51).map(|number| (number.to_string(), String::new())).collect();
    let long = "a".repeat(251);
    let bad_name = ["", "no blanks", "aws/reserved", "größe", &long];
    let bad_names = bad_name.map(|name| (NewKey::named(name), Invalid, "an alias has"));
    for (new, kind, says) in [
        (named().pre_active(), Unsupported, "create it, then suspend it"),
        (named().not_after(1_900_000_000), Unsupported, "no end of a cryptoperiod"),
        (named().algorithm("RSA_4096"), Unsupported, "SYMMETRIC_DEFAULT, not RSA_4096"),
        (named().option("multi-region", "yes"), Invalid, "`true` or `false`"),
        (named().option("policy", "{}"), Unsupported, "no option policy"),
        (named().description("x".repeat(8193)), Invalid, "8192"),
        (named().tag("", "x"), Invalid, "1 to 128"),
        (named().tag("aws:x", "x"), Invalid, "does not begin with aws:"),
        (named().tag("AwS:x", "x"), Invalid, "does not begin with aws:"),
        (named().tag("x", "x".repeat(257)), Invalid, "at most 256"),
        (many, Invalid, "at most 50 tags"),
    ]
    .into_iter()
    .chain(bad_names)
    {
        for refused in [block_on(kms.check_new_key(&new)), block_on(kms.create_key(&new)).map(drop)] {
            let refused = refused.unwrap_err();
            assert_eq!((refused.kind(), refused.key()), (kind, None), "{new:?}: {refused}");
            assert!(refused.message().contains(says), "{new:?}: {refused}");
        }
    }
}

#[test]
fn without_a_region_no_key_is_created_or_listed() {
    let config = envelope_aws::SdkConfig::builder().build();
    let kms = AwsKms::from_sdk_config(config);
    for refused in [
        block_on(kms.create_key(&NewKey::named("a"))).map(drop),
        block_on(kms.check_new_key(&NewKey::named("a"))),
        block_on(kms.list_keys(None)).map(drop),
    ] {
        let error = refused.unwrap_err();
        assert_eq!((error.kind(), error.key()), (Invalid, None));
        assert!(error.message().contains("AWS_REGION"), "{error}");
    }
}
