//! [`LocalSettings`]: the table `[local]` of a configuration.

use std::{
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use envelope_files::user_folder;
use envelope_sdk::{
    ProviderError, ProviderErrorKind,
    registry::{MissingSetting, Scheme, SettingError, Settings, Surroundings, text},
};
use serde::Deserialize;

use crate::{LocalScheme, NAME};

/// The settings of the keystore and of passphrases, and their registration: the
/// table `[local]`, for the schemes `local` and `passphrase`.
///
/// ```toml
/// [local]
/// keystore = "/srv/keys/keystore.json"
/// passphrase-file = "/run/secrets/keystore"   # for a service
/// max-passphrase-work = 8
/// ```
///
/// All three are also taken for [one call](Settings::set): `keystore`,
/// `passphrase-file` and `max-passphrase-work`. Secrets are
/// [`keystore-passphrase`](crate::KeystoreOnUse::SECRET),
/// [`passphrase`](crate::PassphraseOnUse::SECRET) and
/// [`new-passphrase`](crate::PassphraseOnUse::NEW_SECRET).
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
pub struct LocalSettings {
    /// The keystore file. Without it, [`default_keystore`].
    pub keystore: Option<PathBuf>,
    /// A file whose first line is the passphrase of the keystore, at most 4096
    /// bytes, for services. It and the folders on the way to it must belong to the user or to root and
    /// be writable by nobody else, and a file of the user readable by nobody else
    /// ([`envelope_files::trust`]). Only a `keystore-passphrase` that is given goes first. When a call
    /// names another keystore, it is not used: it is of this one.
    pub passphrase_file: Option<PathBuf>,
    /// How many times the work of a new passphrase recipient an old one may ask
    /// for: [`PassphraseProvider::allow_work`](crate::PassphraseProvider::allow_work).
    pub max_passphrase_work: Option<u32>,
    #[serde(skip)]
    of_call: OfCall,
}

/// What a call says over the table: kept apart, since the passphrase file of the
/// table is of its own keystore.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct OfCall {
    keystore: Option<PathBuf>,
    passphrase_file: Option<PathBuf>,
}

impl LocalSettings {
    /// Where the keystore is, or would be: where the call says, or the table, or
    /// [by default](default_keystore).
    ///
    /// # Errors
    ///
    /// [`ProviderError`] of kind [`Invalid`](ProviderErrorKind::Invalid) when none
    /// is named and there is no default; its source is a [`MissingSetting`].
    pub fn keystore_path(&self) -> Result<PathBuf, ProviderError> {
        found(self.of_call.keystore.clone().or_else(|| self.configured_keystore()))
    }

    /// The file with the passphrase of that keystore, if there is one. Where a call
    /// names a keystore, this looks whether it is the file of the table, however it
    /// is spelled.
    #[must_use]
    pub fn keystore_passphrase_file(&self) -> Option<&Path> {
        let is_of_table = || match (&self.of_call.keystore, self.configured_keystore()) {
            (None, _) => true,
            (Some(named), Some(configured)) => is_same_file(named, &configured),
            (Some(_), None) => false,
        };
        let of_table = || self.passphrase_file.as_deref().filter(|_| is_of_table());
        self.of_call.passphrase_file.as_deref().or_else(of_table)
    }

    fn configured_keystore(&self) -> Option<PathBuf> {
        self.keystore.clone().or_else(default_keystore)
    }
}

/// Whether two paths mean one file. Of what is not there, only the spelling tells.
fn is_same_file(one: &Path, other: &Path) -> bool {
    let real = |path| fs::canonicalize(path).ok();
    one == other || real(one).is_some_and(|one| real(other) == Some(one))
}

fn found(path: Option<PathBuf>) -> Result<PathBuf, ProviderError> {
    path.ok_or_else(|| {
        let message = "neither $XDG_DATA_HOME nor $HOME is set, so there is no default keystore";
        ProviderError::without_key(ProviderErrorKind::Invalid, NAME, message)
            .with_source(MissingSetting::new(NAME, "keystore"))
    })
}

impl Settings for LocalSettings {
    const PROVIDER: &'static str = NAME;
    const WAITS_FOR_A_PERSON: bool = true;

    fn set(&mut self, name: &str, value: OsString) -> Result<(), SettingError> {
        match name {
            "keystore" => self.of_call.keystore = Some(value.into()),
            "passphrase-file" => self.of_call.passphrase_file = Some(value.into()),
            "max-passphrase-work" => {
                let number = text(value)?.parse().map_err(|_| SettingError::Value("a number below 2^32"))?;
                self.max_passphrase_work = Some(number);
            }
            _ => return Err(SettingError::Unknown),
        }
        Ok(())
    }

    fn into_scheme(self, around: &Surroundings) -> Result<Arc<dyn Scheme>, ProviderError> {
        Ok(Arc::new(LocalScheme::new(self, Arc::clone(&around.secrets))))
    }
}

/// The keystore of a user: `$XDG_DATA_HOME/envctl/keystore.json`, or
/// `$HOME/.local/share/envctl/keystore.json`. `None` when neither variable holds an
/// absolute path: relative ones are ignored, as the XDG base directory
/// specification demands.
#[must_use]
pub fn default_keystore() -> Option<PathBuf> {
    user_folder("XDG_DATA_HOME", ".local/share").map(|folder| folder.join("envctl/keystore.json"))
}

#[cfg(test)]
mod tests {
    use envelope_sdk::http::find_cause;

    use super::*;

    #[test]
    fn without_a_folder_for_it_the_error_says_which_setting_is_missing() {
        let error = found(None).unwrap_err();
        assert_eq!((error.kind(), error.key()), (ProviderErrorKind::Invalid, None));
        let text = "local: neither $XDG_DATA_HOME nor $HOME is set, so there is no default keystore";
        assert_eq!(error.to_string(), text);
        let cause = find_cause::<MissingSetting>(&error).unwrap();
        assert_eq!((cause.provider, cause.setting), ("local", "keystore"));
    }
}
