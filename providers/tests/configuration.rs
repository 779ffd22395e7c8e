//! From a configuration file to keyrings that open, with local keys.

#![cfg(feature = "local")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on says so")]

#[cfg(feature = "audit")]
#[path = "configuration/audit.rs"]
mod audit;

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use envelope_local::{Argon2Params, Keystore, Passphrase};
#[cfg(target_os = "linux")]
use envelope_policy::PolicyFile;
use envelope_providers::{Builder, Providers, ProvidersError};
use envelope_sdk::{
    DecryptError, EncryptionContext, Envelope, KeyAdmin, KeyUri, Keyring, NewKey, ProviderErrorKind,
    registry::SettingError,
    secret::{Prompt, SecretError, Secrets},
};
use futures_executor::block_on;
use tempfile::TempDir;
use zeroize::Zeroizing;

#[test]
fn a_file_is_all_it_takes_to_encrypt_and_decrypt() {
    let place = Place::new(&["main", "old"]);
    let providers = place.providers(
        "keys = ['main']\ndecrypt-keys = ['local:old']\n[aliases]\nmain = 'local:main'\n\
         [local]\nkeystore = 'KEYSTORE'\npassphrase-file = 'PASSPHRASE'",
    );
    let keyring = providers.keyring().unwrap();
    assert_eq!(uris(keyring.encrypting()), ["local:main"]);
    assert_eq!(uris(keyring.decrypting()), ["local:main", "local:old"]);
    let sealed = encrypt(keyring.clone());
    assert_eq!(decrypt(keyring, &sealed).unwrap(), b"data");
    let old = encrypt(providers.keyring_to_encrypt(&["local:old".into()]).unwrap());
    assert_eq!(decrypt(providers.keyring_to_decrypt(&[]).unwrap(), &old).unwrap(), b"data");
}

#[test]
fn nothing_is_read_and_nobody_is_asked_before_a_key_is_used() {
    let place = Place::new(&["main"]);
    let secrets = Arc::new(Counting::default());
    let builder = place.builder("keys = ['local:main']\n[local]\nkeystore = 'KEYSTORE'");
    let providers = builder.secrets(Arc::clone(&secrets) as Arc<dyn Secrets>).build().unwrap();
    let keyring = providers.keyring_to_encrypt(&[]).unwrap();
    assert_eq!(secrets.asked(), 0);
    let sealed = encrypt(keyring.clone());
    assert_eq!(secrets.asked(), 1);
    // The key store is opened once, whoever asks for it.
    encrypt(keyring);
    assert_eq!(decrypt(providers.keyring().unwrap(), &sealed).unwrap(), b"data");
    assert_eq!(secrets.asked(), 1);
}

#[test]
fn a_profile_goes_before_the_file_and_the_call_before_both() {
    let place = Place::new(&["main", "backup"]);
    let text = "keys = ['local:main']\nkeystore = '/nowhere'\n\
                [profiles.backup]\nkeys = ['local:backup']\nkeystore = '/elsewhere'";
    let keystore = |builder: Builder| builder.build().unwrap().keystore().map(PathBuf::from);
    assert_eq!(keystore(place.builder(text)), Some("/nowhere".into()));
    assert_eq!(keystore(place.builder(text).profile("backup")), Some("/elsewhere".into()));
    let call = || place.builder(text).profile("backup").set("local", "keystore", "/named");
    assert_eq!(keystore(call()), Some("/named".into()));
    let text = "[local]\nkeystore = '/of/the/table'";
    assert_eq!(keystore(place.builder(text)), Some("/of/the/table".into()));
    let refused = place.builder("").profile("backup").build().err().unwrap();
    assert_eq!(refused.to_string(), "there is no profile \"backup\" in the configuration");
    assert_eq!(refused.hint().unwrap(), "profiles there: none");
}

#[test]
fn the_files_that_a_configuration_needs_are_itself_and_those_that_its_tables_name() {
    let place = Place::new(&["main"]);
    let text = "[local]\npassphrase-file = '/secret'\n[pkcs11]\nmodule = '/module'\npin-file = '/pin'\n\
                [pkcs11.tokens.archive]\npin-file = '/pin-of-archive'";
    let providers = place.builder(text).build().unwrap();
    let mut files = providers.files().to_vec();
    let own = files.remove(0);
    assert!(own.is_file(), "{own:?}");
    assert_eq!(files, ["/secret", "/pin", "/pin-of-archive"].map(PathBuf::from));
}

#[test]
fn a_program_may_say_the_configuration_itself_and_errors_call_it_by_its_name() {
    let named = |text: &str| Providers::builder().text("settings of the shop", text).build();
    let providers = named("keys = ['local:main']\nkeystore = '/nowhere'").unwrap();
    assert_eq!(providers.keystore(), Some("/nowhere".as_ref()));
    assert_eq!(providers.configured_keys().unwrap().0, [KeyUri::parse("local:main").unwrap()]);
    let error = named("\nkees = []").err().unwrap().to_string();
    assert!(error.starts_with("configuration settings of the shop: unknown field `kees`"), "{error}");
    assert!(error.ends_with("line 2"), "{error}");
}

#[test]
fn the_keystore_at_the_top_is_that_of_its_table_whose_passphrase_file_is_for_it() {
    let place = Place::new(&["main"]);
    let encrypts = |text: &str| {
        let asked = Arc::new(Counting::default());
        let builder = place.builder(text).secrets(Arc::clone(&asked) as Arc<dyn Secrets>);
        encrypt(builder.build().unwrap().keyring_to_encrypt(&["local:main".into()]).unwrap());
        asked.asked()
    };
    assert_eq!(encrypts("keystore = 'KEYSTORE'\n[local]\npassphrase-file = 'PASSPHRASE'"), 0);
    assert_eq!(
        encrypts("keystore = 'KEYSTORE'\n[local]\nkeystore = 'KEYSTORE'\npassphrase-file = 'PASSPHRASE'"),
        0
    );
    assert_eq!(encrypts("keystore = 'KEYSTORE'"), 1);
    let keystore = |builder: Builder| builder.build().unwrap().keystore().map(PathBuf::from);
    let twice = place.builder("keystore = '/x/a.json'\n[local]\nkeystore = '/x/./a.json'");
    assert_eq!(keystore(twice), Some("/x/a.json".into()));
    let two = "keystore = '/one'\n[local]\nkeystore = '/other'\n[profiles.third]\nkeystore = '/third'";
    assert_eq!(keystore(place.builder(two).profile("third")), Some("/third".into()));
    assert_eq!(keystore(place.builder(two).set("local", "keystore", "/fourth")), Some("/fourth".into()));
    let error = place.builder("keystore = '/one'\n[local]\nkeystore = 4711").build().err().unwrap();
    assert!(error.to_string().ends_with("invalid type: integer …, expected path string, line 3"), "{error}");
    let error = place.builder(two).build().err().unwrap();
    assert!(
        error.to_string().ends_with("config.toml: it names two keystores: `keystore` and that of [local]"),
        "{error}"
    );
}

#[test]
fn a_passphrase_opens_only_where_it_is_asked_for() {
    let place = Place::new(&["main"]);
    let opening = |text: &str, given: Option<&str>| {
        let secrets = Counting { passphrase: given.map(ToOwned::to_owned), ..Counting::default() };
        let providers = place.builder(text).secrets(Arc::new(secrets)).build().unwrap();
        uris(providers.keyring_to_decrypt(&[]).unwrap().decrypting())
    };
    assert_eq!(opening("", None), ["passphrase:"]);
    assert_eq!(opening("keys = ['local:main']\nkeystore = 'KEYSTORE'", None), ["local:main"]);
    assert_eq!(opening("keys = ['local:main']\nkeystore = 'KEYSTORE'", Some("")), ["local:main"]);
    assert_eq!(
        opening("keys = ['local:main']\nkeystore = 'KEYSTORE'", Some("pw")),
        ["local:main", "passphrase:"]
    );
}

#[test]
fn a_bare_name_is_an_alias_or_a_key_of_the_keystore_and_is_never_repeated() {
    let place = Place::new(&["main"]);
    let providers = place.providers("keystore = 'KEYSTORE'\n[aliases]\nb = 'passphrase:'");
    assert_eq!(providers.key("main").unwrap().as_str(), "local:main");
    assert_eq!(providers.key("b").unwrap(), KeyUri::passphrase());
    let error = providers.key("hunter2").unwrap_err();
    assert!(matches!(error, ProvidersError::NoSuchName { bytes: 7, .. }), "{error}");
    assert!(!format!("{error}{:?}{}", error, error.hint().unwrap()).contains("hunter2"));
    let error = providers.keyring_to_encrypt(&["hunter2:hunter2".into()]).err().unwrap();
    let ProvidersError::Provider(refused) = &error else { panic!("{error}") };
    assert_eq!(refused.kind(), ProviderErrorKind::Unsupported);
    assert!(!format!("{error}{error:?}").contains("hunter2"), "{error:?}");
}

#[test]
fn a_file_that_others_may_write_is_not_believed() {
    let place = Place::new(&[]);
    let builder = place.builder("keys = []");
    fs::set_permissions(place.file("config.toml"), Permissions::from_mode(0o666)).unwrap();
    let error = builder.build().err().unwrap();
    assert!(matches!(error, ProvidersError::File(_)), "{error}");
    assert!(error.to_string().contains("config.toml"), "{error}");
    let missing = Providers::from_file(place.file("missing.toml")).err().unwrap();
    assert!(matches!(&missing, ProvidersError::File(error) if error.is_not_found()), "{missing}");
}

#[test]
fn a_setting_that_nobody_knows_is_refused() {
    let place = Place::new(&[]);
    for (provider, setting) in [("local", "nonsense"), ("nobody", "keystore")] {
        let error = place.builder("").set(provider, setting, "x").build().err().unwrap();
        assert!(
            matches!(&error, ProvidersError::Setting { error: SettingError::Unknown, .. }),
            "{provider} {setting}: {error}"
        );
    }
    let error = place.builder("").set("local", "max-passphrase-work", "many").build().err().unwrap();
    assert!(matches!(&error, ProvidersError::Setting { error: SettingError::Value(_), .. }), "{error}");
    assert!(!error.to_string().contains("many"), "{error}");
}

#[test]
fn an_alias_that_means_no_key_is_told_by_its_name() {
    let place = Place::new(&[]);
    let providers = place.providers("keys = ['main']\n[aliases]\nmain = 'nonsense'");
    let error = providers.keyring().err().unwrap();
    assert!(matches!(&error, ProvidersError::Alias { alias, .. } if alias == "main"), "{error}");
}

/// As an upgrade replaces it under a service, which then reads its configuration again.
#[cfg(target_os = "linux")]
#[test]
fn a_program_whose_file_is_replaced_is_the_same_actor_as_before() {
    const NAME: &str = "a_program_whose_file_is_replaced_is_the_same_actor_as_before";
    let this = std::env::current_exe().unwrap();
    if std::env::var_os(NAME).is_some() {
        let place = Place::new(&[]);
        let rules = place.file("policy.toml");
        fs::write(&rules, "version = 1\ndefault = 'allow'").unwrap();
        fs::set_permissions(&rules, Permissions::from_mode(0o600)).unwrap();
        let actor = || {
            let providers = place.builder("").policy(PolicyFile::open(&rules).unwrap()).build().unwrap();
            providers.guard().unwrap().actor().to_string()
        };
        assert_eq!(actor(), "library:billing");
        fs::remove_file(this).unwrap();
        assert_eq!(actor(), "library:billing");
        return;
    }
    // Beside it, so that it can be another name of the same file.
    let folder = tempfile::tempdir_in(this.parent().unwrap()).unwrap();
    let program = folder.path().join("billing");
    fs::hard_link(&this, &program).unwrap();
    let output = std::process::Command::new(&program).arg(NAME).env(NAME, "").output().unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && told.contains("1 passed"), "{told}");
}

struct Place {
    folder: TempDir,
}

impl Place {
    /// With a keystore of these keys, and its passphrase in a file.
    fn new(keys: &[&str]) -> Self {
        let place = Self { folder: tempfile::tempdir().unwrap() };
        let passphrase = Passphrase::new(PASSPHRASE.into()).unwrap();
        let keystore =
            Keystore::create_with(place.file("keystore.json"), &passphrase, Argon2Params::MINIMUM).unwrap();
        for key in keys {
            block_on(keystore.create_key(&NewKey::named(*key))).unwrap();
        }
        fs::write(place.file("passphrase"), PASSPHRASE).unwrap();
        fs::set_permissions(place.file("passphrase"), Permissions::from_mode(0o600)).unwrap();
        place
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn builder(&self, text: &str) -> Builder {
        let text = text
            .replace("KEYSTORE", self.file("keystore.json").to_str().unwrap())
            .replace("PASSPHRASE", self.file("passphrase").to_str().unwrap());
        let path = self.file("config.toml");
        fs::write(&path, text).unwrap();
        Providers::builder().file(path).secrets(Arc::new(Counting::default()))
    }

    fn providers(&self, text: &str) -> Providers {
        self.builder(text).build().unwrap()
    }
}

/// Gives the keystore's passphrase when it is asked, and counts.
#[derive(Default)]
struct Counting {
    passphrase: Option<String>,
    asked: AtomicUsize,
}

impl Counting {
    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

impl Secrets for Counting {
    fn given(&self, name: &str) -> Result<Option<Zeroizing<String>>, SecretError> {
        Ok(self.passphrase.clone().filter(|_| name == "passphrase").map(Zeroizing::new))
    }

    fn ask(&self, name: &str, _prompt: &Prompt<'_>) -> Result<Zeroizing<String>, SecretError> {
        assert_eq!(name, "keystore-passphrase");
        self.asked.fetch_add(1, Ordering::SeqCst);
        Ok(Zeroizing::new(PASSPHRASE.into()))
    }
}

fn encrypt(keyring: Keyring) -> Vec<u8> {
    block_on(Envelope::new(keyring).encrypt(b"data", &EncryptionContext::new())).unwrap()
}

fn decrypt(keyring: Keyring, sealed: &[u8]) -> Result<Vec<u8>, DecryptError> {
    block_on(Envelope::new(keyring).decrypt(sealed, &EncryptionContext::new()))
}

fn uris<'k>(keys: impl Iterator<Item = &'k KeyUri>) -> Vec<String> {
    keys.map(ToString::to_string).collect()
}

const PASSPHRASE: &str = "of the keystore";
