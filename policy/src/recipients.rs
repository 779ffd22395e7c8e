//! How many keys a list of key URIs means, for rules that require a number of recipients.

use envelope_sdk::{
    KeyUri,
    key_uri::{local::LocalKey, pkcs11::Pkcs11Attributes},
};

/// How many of `keys` are certainly keys of their own. Two that may be one key count once: the same URI, a name of Azure in
/// other letters, `local:NAME` and the same name with its keystore's id, URIs of a token that do not contradict each other.
///
/// An alias of AWS and the key behind it count twice here: only AWS knows. A header has no key twice, so that such a pair makes
/// no envelope.
#[must_use]
pub fn distinct_keys<'k>(keys: impl IntoIterator<Item = &'k KeyUri>) -> usize {
    let mut counted: Vec<&KeyUri> = Vec::new();
    for key in keys {
        if !counted.iter().any(|known| may_be_one(known, key)) {
            counted.push(key);
        }
    }
    counted.len()
}

fn may_be_one(one: &KeyUri, other: &KeyUri) -> bool {
    if one == other {
        return true;
    }
    if one.scheme() != other.scheme() {
        return false;
    }
    match one.scheme() {
        "azurekeyvault" => one.as_str().eq_ignore_ascii_case(other.as_str()),
        "local" => match (LocalKey::of(one), LocalKey::of(other)) {
            (Some(one), Some(other)) => {
                one.name == other.name && (one.keystore.is_none() || other.keystore.is_none())
            }
            _ => false,
        },
        "pkcs11" => match (Pkcs11Attributes::of(one), Pkcs11Attributes::of(other)) {
            (Some(one), Some(other)) => !one.contradicts(&other),
            _ => false,
        },
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(keys: &[&str]) -> usize {
        let keys: Vec<_> = keys.iter().map(|key| KeyUri::parse(key).unwrap()).collect();
        distinct_keys(&keys)
    }

    const ARN: &str = "arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab";
    const GCP: &str = "projects/p/locations/europe-west1/keyRings/r/cryptoKeys/k";
    const ID: &str = "0123456789abcdef0123456789abcdef";

    #[test]
    fn spellings_of_one_key_are_one_recipient_in_each_scheme() {
        let arn = format!("awskms:///{ARN}");
        let aws = [ARN, &arn, &arn.replace("awskms:///", "aws-kms://")];
        let gcp = [GCP, &format!("gcpkms://{GCP}"), &format!("gcp-kms://{GCP}")];
        let azure = [
            "azurekeyvault://v.vault.azure.net/keys/main",
            "azurekms://v.vault.azure.net/keys/main",
            "https://v.vault.azure.net/keys/main",
            "https://v.vault.azure.net/keys/MAIN",
        ];
        let vault = ["hashivault://transit/main", "hashivault://main", "openbao://transit/main"];
        let local = ["local:main", &format!("local://{ID}/main")];
        let pkcs11 = [
            "pkcs11:token=a;object=k",
            "pkcs11:object=%6B;token=a",
            "pkcs11:token=a;id=%01",
            "pkcs11:serial=1;object=k;id=%01",
        ];
        let [passphrase, other] = [["passphrase:"; 2], ["memory:a"; 2]];
        let all: [&[&str]; 8] = [&aws, &gcp, &azure, &vault, &local, &pkcs11, &passphrase, &other];
        for keys in all {
            assert_eq!(count(keys), 1, "{keys:?}");
            let turned: Vec<_> = keys.iter().rev().copied().collect();
            assert_eq!(count(&turned), 1, "{turned:?}");
        }
        assert_eq!(count(&all.concat()), 8);
    }

    #[test]
    fn keys_that_differ_are_recipients_each() {
        let here = format!("local://{ID}/main");
        let there = format!("local://{}/main", ID.replace('0', "1"));
        let region = ARN.replace("eu-central-1", "eu-west-1");
        for keys in [
            [ARN, &region],
            [GCP, &GCP.replace("cryptoKeys/k", "cryptoKeys/l")],
            ["https://v.vault.azure.net/keys/a", "https://v.vault.azure.net/keys/b"],
            ["hashivault://transit/a", "hashivault://other/a"],
            ["local:a", "local:A"],
            [&here, &there],
            ["pkcs11:token=a;object=k", "pkcs11:token=a;object=l"],
            ["pkcs11:token=a;object=k", "pkcs11:token=b;object=k"],
            ["memory:a", "memory:A"],
        ] {
            assert_eq!(count(&keys), 2, "{keys:?}");
        }
    }
}
