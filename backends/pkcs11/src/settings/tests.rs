use super::*;

fn read(table: &str) -> Pkcs11Settings {
    toml::from_str(table).unwrap()
}

fn with(mut settings: Pkcs11Settings, call: &[(&str, &str)]) -> Pkcs11Settings {
    for (name, value) in call {
        settings.set_for_call(name, value.into()).unwrap();
    }
    settings
}

fn call(call: &[(&str, &str)]) -> Pkcs11Settings {
    with(read(TABLE), call)
}

fn pin_file(settings: &Pkcs11Settings) -> Option<(&str, TokenSelector)> {
    let file = settings.the_pin_file().unwrap();
    file.map(|(file, token)| (file.to_str().unwrap(), token))
}

const TABLE: &str = r#"
module = "/usr/lib/one.so"
token = "envelopes"
pin-file = "/run/pin"
sessions = 2
[tokens.other]
pin-file = "/run/other"
[[accept]]
key = "pkcs11:token=envelopes;object=old"
weaknesses = ["not-private", "wraps-and-decrypts"]
"#;

#[test]
fn what_the_call_says_goes_first() {
    let own = call(&[]);
    assert_eq!(own.the_token().unwrap(), TokenSelector::label("envelopes"));
    assert_eq!((own.most_sessions(), own.the_module().unwrap().to_str()), (Some(2), Some("/usr/lib/one.so")));
    let another = call(&[("token", "another"), ("sessions", "7")]);
    assert_eq!(another.the_token().unwrap(), TokenSelector::label("another"));
    assert_eq!(another.most_sessions(), Some(7));
    assert_eq!(call(&[("serial", "1")]).the_token().unwrap(), TokenSelector::serial("1"));
    let by_serial = with(read("serial = \"1\""), &[("token", "a"), ("module", "/m.so")]);
    assert_eq!(by_serial.the_token().unwrap(), TokenSelector::label("a"));
    assert_eq!(by_serial.the_module().unwrap().to_str(), Some("/m.so"));
}

#[test]
fn a_pin_file_stays_with_the_token_that_was_named_beside_it() {
    let envelopes = Some(("/run/pin", TokenSelector::label("envelopes")));
    assert_eq!(pin_file(&call(&[])), envelopes);
    assert_eq!(pin_file(&call(&[("token", "another")])), envelopes);
    assert_eq!(pin_file(&call(&[("serial", "1")])), envelopes);
    let unnamed = with(read("pin-file = \"/run/pin\""), &[("token", "another")]);
    assert_eq!(pin_file(&unnamed), Some(("/run/pin", TokenSelector::only())));
    let own = call(&[("pin-file", "/run/own"), ("token", "another")]);
    assert_eq!(pin_file(&own), Some(("/run/own", TokenSelector::label("another"))));
}

#[test]
fn another_module_gets_no_pin_of_the_table_and_none_of_its_weaknesses_is_accepted() {
    let same = call(&[("module", "/usr/lib/one.so")]);
    let other = call(&[("module", "/usr/lib/another.so")]);
    for (settings, has) in [(same, true), (other, false)] {
        assert_eq!(pin_file(&settings).is_some(), has);
        assert_eq!(settings.pin_files_of_tokens().count(), usize::from(has));
        assert_eq!(settings.accepted().unwrap().len(), if has { 2 } else { 0 });
        assert_eq!(settings.the_token().unwrap(), TokenSelector::label("envelopes"));
    }
    // What the call itself says is of its module, in whichever order it is said.
    let own = call(&[("pin-file", "/run/own"), ("module", "/usr/lib/another.so")]);
    assert_eq!(pin_file(&own), Some(("/run/own", TokenSelector::label("envelopes"))));
    // A table without a module is for whichever one the call names.
    let without = with(read(&TABLE.replace("module = ", "#")), &[("module", "/usr/lib/another.so")]);
    assert_eq!((pin_file(&without).is_some(), without.accepted().unwrap().len()), (true, 2));
}

#[test]
fn settings_that_cannot_be_meant_are_refused() {
    let says = |table: &str, expected: &str| {
        let settings = read(table);
        let error = settings.the_token().and_then(|_| settings.accepted().map(drop)).unwrap_err();
        assert_eq!(error.kind(), ProviderErrorKind::Invalid, "{error}");
        assert!(error.message().contains(expected), "{error}");
        assert!(!format!("{error} {error:?}").contains("hunter2") && error.key().is_none(), "{error:?}");
    };
    says("token = \"a\"\nserial = \"1\"", "by `token` and by `serial` (one of them is enough)");
    let accept = |key: &str, name: &str| format!("[[accept]]\nkey = {key:?}\nweaknesses = [{name:?}]");
    let no_weakness =
        "it names a weakness that cannot be accepted (those that can: not-private, wraps-and-decrypts)";
    says(&accept("pkcs11:token=a;object=b", "hunter2"), no_weakness);
    says(&accept("local:hunter2", "not-private"), "it is not a key of a token");
    says(&accept("4711", "not-private"), "[[pkcs11.accept]] of the configuration: key URI of 4 bytes");
    let unknown = toml::from_str::<Pkcs11Settings>("pin = \"1234\"").unwrap_err();
    assert!(unknown.message().starts_with("unknown field `pin`"), "{unknown}");
    let mut settings = read("");
    assert_eq!(settings.set_for_call("accept", "x".into()), Err(SettingError::Unknown));
    assert_eq!(settings.set_for_call("sessions", "x".into()), Err(SettingError::Value("a number")));
}

#[test]
fn a_missing_module_is_told_as_a_missing_setting() {
    let settings = read("");
    let error = settings.the_module().unwrap_err();
    assert_eq!(error.to_string(), "pkcs11: no PKCS#11 module is configured");
    assert_eq!(error.kind(), ProviderErrorKind::Invalid);
    let source = envelope_sdk::http::find_cause::<MissingSetting>(&error);
    assert_eq!(source, Some(&MissingSetting::new("pkcs11", "module")));
}
