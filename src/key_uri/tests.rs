//! Each spelling that is taken, what it becomes, and what is refused.

use proptest::prelude::*;

use super::*;

const ARN: &str = "arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab";
const GCP: &str = "projects/my-project/locations/europe-west3/keyRings/ring_1/cryptoKeys/Key-1";
const AZURE: &str = "my-vault.vault.azure.net/keys/Key-1";
const LOCAL: &str = "local://0123456789abcdef0123456789abcdef/backup-2026.v1";

#[test]
fn an_aws_key_in_every_spelling_is_one_key() {
    let canonical = format!("awskms:///{ARN}");
    for input in [
        ARN.to_owned(),
        canonical.clone(),
        format!("aws-kms:///{ARN}"),
        format!("aws-kms://{ARN}"),
        format!("awskms://{ARN}"),
        format!("AWSKMS:///{ARN}"),
        ARN.replace("arn:", "ARN:"),
    ] {
        becomes(&input, &canonical, true);
    }
}

#[test]
fn an_aws_alias_is_taken_and_not_resolved() {
    for alias in ["alias/backup", "alias/team_1/backup", "alias/aws/s3"] {
        let arn = format!("arn:aws-us-gov:kms:us-gov-west-1:111122223333:{alias}");
        becomes(&arn, &format!("awskms:///{arn}"), false);
    }
    let multi_region = "arn:aws:kms:us-east-1:111122223333:key/mrk-1234abcd12ab34cd56ef1234567890ab";
    becomes(multi_region, &format!("awskms:///{multi_region}"), true);
}

#[test]
fn a_malformed_arn_is_refused() {
    let form = "must be arn:PARTITION:kms:REGION:ACCOUNT:key/ID or …:alias/NAME";
    for input in [
        "arn:aws:kms:eu-central-1:111122223333:key/",
        "arn:aws:kms:eu-central-1:111122223333:key",
        "arn:aws:kms:eu-central-1:111122223333:key/a/b",
        "arn:aws:kms:eu-central-1:111122223333:key/a:b",
        "arn:aws:kms:eu-central-1:11112222333:key/a",
        "arn:aws:kms:eu-central-1:11112222333x:key/a",
        "arn:aws:kms::111122223333:key/a",
        "arn:aws:kms:EU-central-1:111122223333:key/a",
        "arn::kms:eu-central-1:111122223333:key/a",
        "arn:aws:s3:eu-central-1:111122223333:key/a",
        "arn:aws:kms:eu-central-1:111122223333:user/a",
        "awskms:///1234abcd",
        "awskms:////arn:aws:kms:eu-central-1:111122223333:key/a",
    ] {
        refused(input, form);
    }
    refused(&format!("awskms:{ARN}"), "must be awskms:///arn:aws:kms:REGION:ACCOUNT:key/ID");
}

#[test]
fn a_google_key_in_every_spelling_is_one_key() {
    let canonical = format!("gcpkms://{GCP}");
    for input in [GCP.to_owned(), canonical.clone(), format!("gcp-kms://{GCP}"), format!("GcpKms://{GCP}")] {
        becomes(&input, &canonical, true);
    }
    let domain = GCP.replace("my-project", "example.com:my-project");
    becomes(&domain, &format!("gcpkms://{domain}"), true);
}

#[test]
fn a_malformed_google_key_is_refused() {
    for input in [
        "projects/p",
        "projects//locations/l/keyRings/r/cryptoKeys/k",
        "projects/p/locations/l/keyRings/r/cryptoKeys/",
        "projects/p/locations/l/keyRings/r/cryptoKeys/k/cryptoKeyVersions/1",
        "projects/p/locations/l/keyrings/r/cryptoKeys/k",
        "projects/p/locations/l.x/keyRings/r/cryptoKeys/k",
        "gcpkms:projects/p/locations/l/keyRings/r/cryptoKeys/k",
        "gcpkms:///projects/p/locations/l/keyRings/r/cryptoKeys/k",
    ] {
        refused(input, gcp::FORM);
    }
}

#[test]
fn an_azure_key_in_every_spelling_is_one_key() {
    let canonical = format!("azurekeyvault://{AZURE}");
    for input in [
        canonical.clone(),
        format!("azurekms://{AZURE}"),
        format!("https://{AZURE}"),
        format!("HTTPS://{AZURE}"),
        format!("AzureKeyVault://{AZURE}"),
    ] {
        becomes(&input, &canonical, true);
    }
    for host in ["hsm.managedhsm.azure.net", "v.vault.azure.cn", "v.vault.usgovcloudapi.net"] {
        becomes(&format!("https://{host}/keys/k"), &format!("azurekeyvault://{host}/keys/k"), true);
    }
}

#[test]
fn a_key_of_transit_in_every_spelling_is_one_key() {
    for (input, canonical) in [
        ("hashivault://transit/orders", "hashivault://transit/orders"),
        ("HashiVault://transit/orders", "hashivault://transit/orders"),
        ("openbao://transit/orders", "hashivault://transit/orders"),
        ("hashivault://orders", "hashivault://transit/orders"),
        ("openbao://teams/a-1/transit/Key_1.0", "hashivault://teams/a-1/transit/Key_1.0"),
    ] {
        becomes(input, canonical, true);
    }
}

#[test]
fn a_malformed_key_of_transit_is_refused() {
    for input in [
        "hashivault:transit/orders",
        "hashivault://",
        "hashivault:///orders",
        "hashivault://transit/",
        "hashivault://transit//orders",
        "hashivault://../orders",
        "hashivault://transit/./orders",
        "hashivault://vault.example:8200/transit/orders",
        "hashivault://token@transit/orders",
        "hashivault://transit%2Fkeys/orders",
        "hashivault://transit/-orders",
        "hashivault://transit/orders.",
        "hashivault://transit/orders:1",
        "openbao://-",
    ] {
        refused(input, vault::FORM);
    }
}

#[test]
fn a_malformed_azure_key_is_refused() {
    for input in [
        "https://example.com/keys/k",
        "https://.vault.azure.net/keys/k",
        "https://a.b.vault.azure.net/keys/k",
        "https://My-Vault.vault.azure.net/keys/k",
        "https://my-vault.vault.azure.net.example.com/keys/k",
        "https://my-vault.vault.azure.net:443/keys/k",
        "https://my-vault.vault.azure.net/secrets/k",
        "https://my-vault.vault.azure.net/keys",
        "https://my-vault.vault.azure.net/keys/",
        "https://my-vault.vault.azure.net/keys/a_b",
        "azurekeyvault:my-vault.vault.azure.net/keys/k",
    ] {
        refused(input, azure::FORM);
    }
    refused(
        "https://my-vault.vault.azure.net/keys/k/0123456789abcdef",
        "must not name a key version: the current one wraps, and each header says which one did",
    );
    refused(
        "http://my-vault.vault.azure.net/keys/k",
        "is not a key: Azure key identifiers begin with https://",
    );
}

#[test]
fn pkcs11_attributes_get_one_order_and_one_escaping() {
    for (input, canonical) in [
        ("pkcs11:token=t;object=k", "pkcs11:token=t;object=k"),
        ("pkcs11:object=k;token=t", "pkcs11:token=t;object=k"),
        ("PKCS11:object=%6b;token=%74", "pkcs11:token=t;object=k"),
        ("pkcs11:token=my%20token;object=a:b", "pkcs11:token=my%20token;object=a%3Ab"),
        ("pkcs11:token=t;id=%ab%0C", "pkcs11:token=t;id=%AB%0C"),
        ("pkcs11:token=t;id=ab", "pkcs11:token=t;id=%61%62"),
        (
            "pkcs11:id=%01;object=k;model=m;serial=1;manufacturer=x;token=t",
            "pkcs11:token=t;manufacturer=x;serial=1;model=m;object=k;id=%01",
        ),
        ("pkcs11:serial=1;id=%01", "pkcs11:serial=1;id=%01"),
    ] {
        becomes(input, canonical, true);
    }
}

#[test]
fn malformed_pkcs11_attributes_are_refused() {
    for (input, reason) in [
        ("pkcs11:", "pkcs11 attributes are name=value"),
        ("pkcs11:token=t;object=k;", "pkcs11 attributes are name=value"),
        (
            "pkcs11:token=t;type=private;object=k",
            "pkcs11 takes token, manufacturer, serial, model, object and id",
        ),
        ("pkcs11:token=t;object=%4", "a % must be followed by two hexadecimal digits"),
        ("pkcs11:token=t;object=%zz", "a % must be followed by two hexadecimal digits"),
        ("pkcs11:token=t;object=%+1", "a % must be followed by two hexadecimal digits"),
        ("pkcs11:token=;object=k", "a pkcs11 attribute is empty"),
        ("pkcs11:token=t;token=t;object=k", "a pkcs11 attribute is repeated"),
        ("pkcs11:token=t", "pkcs11 needs a token (token= or serial=) and a key (object= or id=)"),
        ("pkcs11:object=k", "pkcs11 needs a token (token= or serial=) and a key (object= or id=)"),
    ] {
        refused(input, reason);
    }
}

#[test]
fn a_local_key_is_resolved_with_its_keystore_and_unresolved_without() {
    becomes(LOCAL, LOCAL, true);
    becomes(&LOCAL.replace("local", "LOCAL"), LOCAL, true);
    becomes("local:backup", "local:backup", false);
}

#[test]
fn a_malformed_local_key_is_refused() {
    let long = format!("local:{}", "a".repeat(65));
    for input in ["local:", "local:.a", "local:-a", "local:a/b", "local:ä", "local:a@b", &long] {
        let reason = if input.is_ascii() { local::NAME } else { "must be printable ASCII without spaces" };
        refused(input, reason);
    }
    becomes(&format!("local:{}", "a".repeat(64)), &format!("local:{}", "a".repeat(64)), false);
    refused(
        "local://0123456789abcdef0123456789abcdef",
        "must be local://KEYSTORE-ID/KEY-NAME or local:KEY-NAME",
    );
    refused("local://0123456789abcdef0123456789abcdef/", local::NAME);
    for id in ["", "0123", "0123456789ABCDEF0123456789ABCDEF", "0123456789abcdef0123456789abcdeg"] {
        refused(&format!("local://{id}/k"), "a keystore id is 32 hexadecimal digits in lower case");
    }
}

#[test]
fn a_passphrase_has_no_name() {
    becomes("passphrase:", "passphrase:", true);
    becomes("Passphrase:", "passphrase:", true);
    assert_eq!(KeyUri::passphrase(), KeyUri::parse("passphrase:").unwrap());
    refused("passphrase:x", "is just `passphrase:`; the passphrase itself is never an argument");
}

#[test]
fn another_scheme_is_kept_as_it_is() {
    becomes("memory:Alpha", "memory:Alpha", true);
    becomes("MEMORY:Alpha", "memory:Alpha", true);
    becomes("x-vault://host/transit/Key", "x-vault://host/transit/Key", true);
    for input in ["memory:", "memory://"] {
        refused(input, "names no key after the scheme");
    }
    for input in ["nothing", "key/1", "/etc/passwd"] {
        refused(input, "has no scheme, such as local: or awskms:");
    }
    for input in [":x", "1a:x", "a b:x", "a_b:x"] {
        let reason = if input.contains(' ') {
            "must be printable ASCII without spaces"
        } else {
            "the scheme is not one of RFC 3986"
        };
        refused(input, reason);
    }
}

#[test]
fn lengths_and_characters_have_limits() {
    refused("", "must have 1 to 2048 characters");
    refused(&format!("x:{}", "a".repeat(2047)), "must have 1 to 2048 characters");
    assert_eq!(KeyUri::parse(&format!("x:{}", "a".repeat(2046))).unwrap().as_str().len(), KeyUri::MAX_LEN);
    let growing = format!("pkcs11:token=t;id={}", "a".repeat(1000));
    refused(&growing, "must have at most 2048 characters when normalised");
    for input in ["x:a b", "x:a\n", "x:a\0", "x:\u{e4}", "x:a\x7F"] {
        refused(input, "must be printable ASCII without spaces");
    }
}

#[test]
fn credentials_fragments_and_queries_are_refused() {
    refused("local:backup#x", "a key URI has no fragment");
    refused("local:backup?x", "a key URI has no query: endpoints, PINs and modules are configuration");
    refused("x-vault://user@host/key", "must not hold credentials: a key URI has no user part");
}

#[test]
fn an_error_shows_the_length_and_a_known_scheme_and_nothing_else_of_the_text() {
    for (input, shown) in [
        ("awskms://AKIA:CANARY@arn:aws:kms:eu-central-1:111122223333:key/a", "awskms:… (64 bytes)"),
        ("https://mallory:CAN?ARY@my-vault.vault.azure.net/keys/k", "https:… (55 bytes)"),
        ("gcpkms://mallory:CANARY@projects/p/locations/l", "gcpkms:… (46 bytes)"),
        ("x-vault://mallory:CANARY@host/key", "of 33 bytes"),
        ("CANARY://mallory@host", "of 21 bytes"),
        ("pkcs11:token=t;object=k?pin-value=CANARY", "pkcs11:… (40 bytes)"),
        ("PKCS11:token=t;object=k;PIN-VALUE=CANARY", "pkcs11:… (40 bytes)"),
        ("pkcs11:token=t;object=k;pin%2Dvalue=1234", "pkcs11:… (40 bytes)"),
        ("pin%2Dvalue=1234", "of 16 bytes"),
        ("local:backup#CANARY", "local:… (19 bytes)"),
        ("local:.CANARY", "local:… (13 bytes)"),
        ("passphrase:CANARY", "passphrase:… (17 bytes)"),
        ("PASSPHRASE:CANARY CANARY", "passphrase:… (24 bytes)"),
        (" passphrase:hunter2", "of 19 bytes"),
        ("passphrase=hunter2", "of 18 bytes"),
        ("hunter2", "of 7 bytes"),
        ("CANARY@host", "of 11 bytes"),
        ("größer CANARY", "of 15 bytes"),
        ("arn:CANARY", "arn:… (10 bytes)"),
    ] {
        let error = KeyUri::parse(input).expect_err(input);
        assert_eq!(error.to_string(), format!("key URI {shown}: {}", error.reason()), "{input}");
        for secret in ["CAN", "ARY", "mallory", "AKIA", "hunter2", "1234", "gr"] {
            for text in [error.to_string(), format!("{error:?}")] {
                assert!(!text.contains(secret), "{input}: {text}");
            }
        }
    }
}

#[test]
fn a_header_takes_only_the_canonical_and_resolved_spelling() {
    for text in [
        format!("awskms:///{ARN}"),
        format!("gcpkms://{GCP}"),
        LOCAL.into(),
        "passphrase:".into(),
        "hashivault://transit/orders".into(),
    ] {
        assert_eq!(KeyUri::parse_canonical(&text).unwrap().as_str(), text);
    }
    for text in [
        ARN.to_owned(),
        format!("AWSKMS:///{ARN}"),
        format!("https://{AZURE}"),
        "awskms:///arn:aws:kms:eu-central-1:111122223333:alias/a".into(),
        "local:NAME".into(),
        "openbao://transit/orders".into(),
        "hashivault://orders".into(),
        "pkcs11:object=k;token=t".into(),
        "not a key".into(),
    ] {
        assert_eq!(KeyUri::parse_canonical(&text), None, "{text}");
    }
}

#[test]
fn scheme_and_rest_make_up_the_text() {
    let uri = KeyUri::parse(ARN).unwrap();
    assert_eq!((uri.scheme(), uri.rest()), ("awskms", format!("///{ARN}").as_str()));
    assert_eq!(format!("{uri}"), uri.as_str());
    assert_eq!(format!("{uri:?}"), format!("KeyUri({uri})"));
    assert_eq!(ARN.parse::<KeyUri>().unwrap(), uri);
}

fn any_spelling() -> impl Strategy<Value = String> {
    let name = "[A-Za-z0-9][A-Za-z0-9._-]{0,20}";
    prop_oneof![
        // Nearly everything printable, to look for what is taken by accident.
        "[ -~]{0,40}",
        "(pkcs11|PKCS11):((token|object|id|serial|model|manufacturer)=([!-~]|%[0-9a-fA-F]{2}){0,6};?){1,6}",
        (name, name).prop_map(|(a, b)| format!("pkcs11:object={a};token={b}")),
        name.prop_map(|name| format!("LOCAL:{name}")),
        "[0-9a-f]{32}/[a-z]{1,9}".prop_map(|path| format!("local://{path}")),
        "(aws-kms|awskms):/{0,4}arn:aws:kms:[a-z0-9-]{1,9}:[0-9]{12}:(key|alias)/[a-zA-Z0-9/_-]{1,9}",
        "((gcp-kms|gcpkms)://)?projects/[a-z:.]{1,9}/locations/[a-z]{1,9}/keyRings/[a-z]{1,9}/cryptoKeys/[a-z]{1,9}",
        "(https|azurekms|AzureKeyVault)://[a-z0-9-]{1,9}\\.(vault|managedhsm)\\.azure\\.(net|cn)/keys/[a-zA-Z0-9-]{1,9}",
        "(hashivault|OpenBao)://[a-z0-9./_-]{1,20}",
        "[a-zA-Z][a-zA-Z0-9+.-]{0,5}:[!-~]{0,20}",
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(4096) })]

    #[test]
    fn normalising_twice_changes_nothing(input in any_spelling()) {
        if let Ok(once) = KeyUri::parse(&input) {
            let twice = KeyUri::parse(once.as_str());
            prop_assert_eq!(twice.as_ref(), Ok(&once));
            prop_assert_eq!(KeyUri::parse_canonical(once.as_str()).is_some(), once.is_resolved());
            prop_assert!(once.as_str().len() <= KeyUri::MAX_LEN);
            prop_assert!(!once.as_str().contains(['?', '#', ' ']));
            prop_assert!(!once.scheme().bytes().any(|byte| byte.is_ascii_uppercase()));
        }
    }

    #[test]
    fn an_error_is_the_same_for_every_text_of_one_length_scheme_and_reason(input in any_spelling()) {
        if let Err(error) = KeyUri::parse(&input) {
            let scheme = SCHEMES.into_iter().find(|scheme| input.to_ascii_lowercase().starts_with(scheme));
            let other = KeyUriError { scheme, bytes: input.len(), reason: error.reason };
            prop_assert_eq!(error, other);
        }
    }
}

#[track_caller]
fn becomes(input: &str, canonical: &str, resolved: bool) {
    let uri = KeyUri::parse(input).unwrap();
    assert_eq!((uri.as_str(), uri.is_resolved()), (canonical, resolved), "{input}");
    assert_eq!(KeyUri::parse(canonical).unwrap(), uri, "the canonical spelling means the same");
}

#[track_caller]
fn refused(input: &str, reason: &str) {
    assert_eq!(KeyUri::parse(input).expect_err(input).reason(), reason, "{input}");
}
