//! Whose PIN a given one is, where neither the call nor the settings name the token.

use envelope_pkcs11::Pkcs11Scheme;
use envelope_sdk::{
    ProviderErrorKind::{AccessDenied, Invalid},
    registry::{Purpose, Scheme, Settings, Surroundings},
};

use super::{
    scheme::{Given, TwoTokens, WRONG, encrypt, key_of, with_module},
    *,
};

on_each_token!(a_pin_is_not_shown_to_the_only_token_if_the_configuration_uses_another);

/// In a service keys are opened at any time.
#[test]
fn the_token_that_a_pin_was_first_used_for_keeps_it_and_no_other_gets_it() {
    let Some(two) = TwoTokens::new() else { return };
    let [key, other_key] = two.keys();
    let scheme = two.scheme("", &Given::pin(PIN));
    encrypt(&scheme, &key).unwrap();
    refused(encrypt(&scheme, &other_key), Invalid, "it may be for several tokens");
    encrypt(&scheme, &key).unwrap();
    let by_serial = KeyUri::parse(&format!("pkcs11:serial={};object=db", two.one.serial())).unwrap();
    encrypt(&scheme, &by_serial).unwrap();
    refused(encrypt(&scheme, &other_key), Invalid, "it may be for several tokens");
    two.other_was_left_alone();
}

#[test]
fn the_keys_of_the_configuration_say_whose_pin_it_is_whatever_is_opened_first() {
    let Some(two) = TwoTokens::new() else { return };
    let [key, other_key] = two.keys();
    let file = format!("pin-file = {}", two.file(WRONG));
    for (table, secrets) in [("", Given::pin(WRONG)), (file.as_str(), Given::nothing())] {
        let around = Surroundings::new(secrets as _).keys(vec![key.clone()]);
        let scheme = Pkcs11Scheme::new(with_module(&two.one, table), &around).unwrap();
        refused(encrypt(&scheme, &other_key), Invalid, "it may be for several tokens");
        two.other_was_left_alone();
    }
    let around = Surroundings::new(Given::pin(PIN) as _).keys(vec![key.clone()]);
    let scheme = Pkcs11Scheme::new(with_module(&two.one, ""), &around).unwrap();
    refused(encrypt(&scheme, &other_key), Invalid, "it may be for several tokens");
    encrypt(&scheme, &key).unwrap();
    // With its name it is for the token that is named.
    let mut settings = with_module(&two.one, "");
    settings.set("token", two.other.label.clone().into()).unwrap();
    let around = Surroundings::new(Given::pin(PIN) as _).keys(vec![key]);
    encrypt(&Pkcs11Scheme::new(settings, &around).unwrap(), &other_key).unwrap();
}

#[test]
fn a_token_with_a_pin_of_its_own_does_not_make_it_several() {
    let Some(two) = TwoTokens::new() else { return };
    let table = format!("[tokens.{:?}]\npin-file = {}\n", two.other.label, two.file(PIN));
    let by_serial = KeyUri::parse(&format!("pkcs11:serial={};object=db", two.other.serial())).unwrap();
    let [key, other_key] = two.keys();
    for keys in [[&key, &other_key], [&other_key, &key], [&by_serial, &key]] {
        let scheme = two.scheme(&table, &Given::pin(PIN));
        for key in keys {
            scheme.open(key, Purpose::Encrypt).unwrap();
        }
        for key in keys {
            encrypt(&scheme, key).unwrap();
        }
    }
    // And it gets its own alone.
    let scheme = two.scheme(&table, &Given::pin(WRONG));
    encrypt(&scheme, &other_key).unwrap();
    refused(encrypt(&scheme, &key), AccessDenied, "the PIN is wrong");
}

#[test]
fn a_token_that_is_named_by_label_and_by_serial_number_is_one() {
    let Some(two) = TwoTokens::new() else { return };
    let [key, _] = two.keys();
    let by_serial = KeyUri::parse(&format!("pkcs11:serial={};object=db", two.one.serial())).unwrap();
    let scheme = two.scheme("", &Given::pin(PIN));
    scheme.open(&by_serial, Purpose::Encrypt).unwrap();
    encrypt(&scheme, &key).unwrap();
    encrypt(&scheme, &by_serial).unwrap();
}

/// The configuration is of another token, and this is the only one of the module.
fn a_pin_is_not_shown_to_the_only_token_if_the_configuration_uses_another(token: &Token) {
    let test = "a_pin_is_not_shown_to_the_only_token_if_the_configuration_uses_another";
    sessions::in_a_child("whose_pin", test, token, |token| {
        let elsewhere = KeyUri::parse("pkcs11:token=elsewhere;object=db").unwrap();
        let here = key_of(token, "object=db");
        let with = |keys: &[&KeyUri], pin| {
            let keys = keys.iter().copied().cloned().collect();
            let around = Surroundings::new(Given::pin(pin) as _).keys(keys);
            let scheme = Pkcs11Scheme::new(with_module(token, ""), &around).unwrap();
            scheme.admin(None).unwrap()
        };
        let admin = with(&[&elsewhere], WRONG);
        refused(block_on(admin.list_keys(None)), Invalid, "it may be for several tokens");
        refused(block_on(admin.create_key(&NewKey::named("db"))), Invalid, "that with label \"elsewhere\"");
        block_on(open(token).list_keys(None)).unwrap();
        for keys in [&[][..], &[&here]] {
            block_on(with(keys, PIN).list_keys(None)).unwrap();
        }
    });
}
