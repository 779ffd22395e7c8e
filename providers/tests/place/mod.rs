//! A folder with a keystore, its passphrase in a file, and a configuration.

use std::{
    fs::{self, Permissions},
    marker::PhantomData,
    os::unix::fs::PermissionsExt,
    path::PathBuf,
};

use envelope_local::{Argon2Params, Keystore, Passphrase};
use envelope_providers::{Builder, Providers};
use envelope_sdk::{KeyAdmin, NewKey, registry::Settings};
use serde::de::DeserializeOwned;
use tempfile::TempDir;

/// With a key store of settings `S` beside it.
pub(crate) struct Place<S>(TempDir, PhantomData<S>);

impl<S: Settings + DeserializeOwned> Place<S> {
    pub(crate) fn new() -> Self {
        let place = Self(tempfile::tempdir().unwrap(), PhantomData);
        let passphrase = Passphrase::new("of the keystore".into()).unwrap();
        let keystore = Keystore::create_with(place.file("keystore.json"), &passphrase, Argon2Params::MINIMUM);
        futures_executor::block_on(keystore.unwrap().create_key(&NewKey::named("main"))).unwrap();
        place.write("passphrase", "of the keystore");
        place
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// A file that is this user's own.
    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.file(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        path
    }

    pub(crate) fn builder(&self, text: &str) -> Builder {
        let (keystore, passphrase) = (self.file("keystore.json"), self.file("passphrase"));
        let local = format!("\n[local]\nkeystore = {keystore:?}\npassphrase-file = {passphrase:?}\n");
        let path = self.write("config.toml", &format!("{text}{local}"));
        Providers::builder().register::<S>().file(path)
    }

    pub(crate) fn providers(&self, text: &str) -> Providers {
        self.builder(text).build().unwrap()
    }
}
