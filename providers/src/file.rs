//! The configuration file: whom it is believed from, and what stands in it.

use std::{
    collections::BTreeMap,
    mem::take,
    num::NonZeroU32,
    path::{Path, PathBuf},
};

use envelope_files::trust::{self, Purpose};
use envelope_layers::{LayerSettings, RetryBudget};
use serde::Deserialize;
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

#[cfg(feature = "audit")]
use crate::audit::AuditWords;
use crate::{
    ProvidersError, Registration, keyring::KeyringWords, layers::Layers, names::Keys, policy::PolicyWords,
};

pub(crate) fn read(path: &Path) -> Result<String, ProvidersError> {
    let bytes = trust::read(path, Purpose::Settings, MAX_LEN)?;
    String::from_utf8(bytes)
        .map_err(|_| ProvidersError::Content { path: path.into(), what: "it is not UTF-8".into() })
}

/// `None` if there is no such file.
pub(crate) fn read_if_there(path: &Path) -> Result<Option<String>, ProvidersError> {
    match read(path) {
        Err(ProvidersError::File(error)) if error.is_not_found() => Ok(None),
        text => text.map(Some),
    }
}

/// What a configuration says, apart from the tables of key stores.
pub(crate) struct Document<'t> {
    words: Words,
    tables: BTreeMap<String, Spanned<DeValue<'t>>>,
    layers: Layers,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
struct Words {
    keys: Vec<String>,
    decrypt_keys: Vec<String>,
    keystore: Option<String>,
    keyring: KeyringWords,
    policy: Option<PolicyWords>,
    audit: Option<AuditWords>,
    aliases: BTreeMap<String, String>,
    profiles: BTreeMap<String, Profile>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
struct Profile {
    keys: Option<Vec<String>>,
    decrypt_keys: Option<Vec<String>>,
    keystore: Option<PathBuf>,
    keyring: KeyringWords,
}

impl<'t> Document<'t> {
    pub(crate) fn parse(text: &'t str, registered: &[Registration]) -> Result<Self, toml::de::Error> {
        let mut document = DeTable::parse(text)?;
        let is_of_a_key_store = |name: &str| is_of_a_key_store(name, registered);
        let tables = document.get_mut();
        let names: Vec<_> = tables.keys().filter(|name| is_of_a_key_store(name.get_ref())).cloned().collect();
        let tables = names
            .into_iter()
            .filter_map(|name| Some((name.get_ref().to_string(), tables.remove(&name)?)))
            .collect();
        let layers = match document.get_mut().remove("layers") {
            Some(table) => Layers::read(table, registered)?,
            None => Layers::default(),
        };
        // Of a program, which reads it itself.
        document.get_mut().remove("mcp");
        let words = Words::deserialize(toml::de::Deserializer::from(document))?;
        Ok(Self { words, tables, layers })
    }

    /// Puts a profile of the file first, and returns the keystore that it names.
    pub(crate) fn choose_profile(&mut self, name: Option<&str>) -> Result<Option<PathBuf>, ProvidersError> {
        let mut profiles = take(&mut self.words.profiles);
        let Some(name) = name else { return Ok(None) };
        let profile = profiles.remove(name).ok_or_else(|| ProvidersError::NoProfile {
            name: name.to_owned(),
            known: profiles.into_keys().collect(),
        })?;
        if let Some(keys) = profile.keys {
            self.words.keys = keys;
        }
        if let Some(keys) = profile.decrypt_keys {
            self.words.decrypt_keys = keys;
        }
        self.words.keyring = profile.keyring.over(self.words.keyring);
        Ok(profile.keystore)
    }

    /// `keystore` at the top is that of the table `[local]`, which it returns. Unless one was `chosen`
    /// by the profile or the call, they must not contradict each other.
    pub(crate) fn settle_keystore(&mut self, chosen: bool) -> Result<Option<PathBuf>, &'static str> {
        let local = self.tables.get("local").map(Spanned::get_ref);
        let of_table = match local {
            Some(DeValue::Table(table)) => table.get("keystore").and_then(|value| value.get_ref().as_str()),
            _ => None,
        };
        let of_table = of_table.map(ToOwned::to_owned);
        let Some(named) = self.words.keystore.take() else { return Ok(of_table.map(PathBuf::from)) };
        match of_table {
            Some(other) if Path::new(&other) != Path::new(&named) && !chosen => {
                return Err("it names two keystores: `keystore` and that of [local]");
            }
            Some(_) => {}
            None => {
                let nowhere = 0..0;
                let table = self
                    .tables
                    .entry("local".to_owned())
                    .or_insert_with(|| Spanned::new(nowhere.clone(), DeValue::Table(DeTable::new())));
                // Another kind of value is told of when it is read.
                if let DeValue::Table(table) = table.get_mut()
                    && !table.contains_key("keystore")
                {
                    let value = DeValue::String(named.clone().into());
                    table.insert(
                        Spanned::new(nowhere.clone(), "keystore".into()),
                        Spanned::new(nowhere, value),
                    );
                }
            }
        }
        Ok(Some(named.into()))
    }

    /// The keys of the file, with those of the profile that was chosen.
    pub(crate) fn keys(&mut self) -> Keys {
        let Words { keys, decrypt_keys, aliases, .. } = &mut self.words;
        Keys { encrypt: take(keys), decrypt: take(decrypt_keys), aliases: take(aliases) }
    }

    /// How the keys are used, with what the profile says that was chosen.
    pub(crate) fn keyring(&self) -> KeyringWords {
        self.words.keyring
    }

    /// The layers over a key store, which know how often its own client attempts a call where its table says so.
    pub(crate) fn layers(&self, provider: &str) -> LayerSettings {
        let layers = self.layers.of(provider);
        let said = match self.tables.get(provider).map(Spanned::get_ref) {
            Some(DeValue::Table(table)) => table.get("attempts").map(Spanned::get_ref),
            _ => None,
        };
        let attempts = said.and_then(DeValue::as_integer);
        let attempts = attempts.and_then(|said| u32::from_str_radix(said.as_str(), said.radix()).ok());
        match attempts {
            // None is one, as the key stores take it.
            Some(attempts) => {
                layers.with_client_attempts(NonZeroU32::new(attempts).unwrap_or(NonZeroU32::MIN))
            }
            None => layers,
        }
    }

    /// The retries of the process.
    pub(crate) fn retry_budget(&self) -> &RetryBudget {
        &self.layers.budget
    }

    /// The file of the policy, if there is one.
    pub(crate) fn policy(&mut self) -> Result<Option<PathBuf>, &'static str> {
        match self.words.policy.take() {
            // It must not depend on who calls from where.
            Some(policy) if policy.file.is_relative() => Err("[policy]: `file` is a path from / on"),
            policy => Ok(policy.map(|policy| policy.file)),
        }
    }

    /// What it says of the audit log.
    pub(crate) fn audit(&mut self) -> Option<AuditWords> {
        self.words.audit.take()
    }

    /// What the tables of key stores name as `…-file`: secrets, for the most part.
    pub(crate) fn files(&self) -> Vec<PathBuf> {
        let mut files = Vec::new();
        for value in self.tables.values() {
            add_files(&mut files, value.get_ref());
        }
        files
    }

    /// The table of a key store.
    pub(crate) fn table(&mut self, provider: &str) -> Option<Spanned<DeValue<'t>>> {
        self.tables.remove(provider)
    }
}

fn add_files(files: &mut Vec<PathBuf>, value: &DeValue<'_>) {
    let DeValue::Table(table) = value else { return };
    for (name, value) in table {
        match value.get_ref() {
            DeValue::String(path) if name.get_ref().ends_with("-file") => {
                files.push(PathBuf::from(path.to_string()));
            }
            // Such as those of tokens.
            below => add_files(files, below),
        }
    }
}

/// The table `[audit]`, of a build that can do nothing with it.
#[cfg(not(feature = "audit"))]
type AuditWords = serde::de::IgnoredAny;

/// Whether a table of this name is that of a key store.
pub(crate) fn is_of_a_key_store(name: &str, registered: &[Registration]) -> bool {
    registered.iter().any(|known| known.provider == name) || ELSEWHERE.contains(&name)
}

/// The error without the line that it is about and without the values that it
/// quotes: somebody may have put a passphrase there.
pub(crate) fn without_values(text: &str, error: &toml::de::Error) -> String {
    let message = message_without_values(error.message());
    let line =
        error.span().and_then(|span| text.get(..span.start)).map(|before| before.matches('\n').count() + 1);
    let line = line.map(|line| format!(", line {line}")).unwrap_or_default();
    format!("{message}{line}")
}

/// What is not as it was expected is quoted in more than one way, and may hold quotes itself:
/// of that, only the kind is told.
fn message_without_values(message: &str) -> String {
    if let Some(variant) = message.strip_prefix("unknown variant ") {
        let expected = variant.rsplit_once("`, expected ").map(|(_, expected)| expected).unwrap_or_default();
        return format!("unknown word …, expected {expected}");
    }
    let wrong = ["invalid type: ", "invalid value: "].into_iter().find(|start| message.starts_with(start));
    let Some((wrong, (found, expected))) =
        wrong.and_then(|start| Some((start, message[start.len()..].rsplit_once(", expected ")?)))
    else {
        return message.split('"').step_by(2).collect::<Vec<_>>().join("\"…\"");
    };
    let kind = found.split(['`', '"']).next().unwrap_or_default().trim_end();
    let value = if kind.len() < found.len() { " …" } else { "" };
    format!("{wrong}{kind}{value}, expected {expected}")
}

/// Tables of key stores of this repository that a build may lack: one file may
/// serve several builds.
const ELSEWHERE: [&str; 6] = ["aws", "azure", "gcp", "local", "pkcs11", "vault"];

/// Most bytes of a configuration: 1 MiB.
const MAX_LEN: u64 = 1 << 20;

#[cfg(test)]
mod tests {
    use crate::Providers;

    #[test]
    fn no_error_of_the_configuration_repeats_a_value() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.toml");
        let said = |text: &str| {
            std::fs::write(&path, text).unwrap();
            let error = Providers::from_file(&path).err().expect(text).to_string();
            let beginning = format!("configuration {}: ", path.display());
            error.strip_prefix(&beginning).unwrap_or_else(|| panic!("{error}")).to_owned()
        };
        for text in [
            "keys = [47114711]",
            "keys = 'a\"b\"4711'",
            "keystore = a4711",
            "[local]\nkeystore = 47114711",
            "[local]\nmax-passphrase-work = 'a\"4711'",
            "[local]\nmax-passphrase-work = 'a\"b\"4711, expected c'",
            "[local]\nmax-passphrase-work = '4711`4711'",
            "[local]\npassphrase-file = 4711.4711",
            "[aliases]\nx = 4711",
            "[keyring]\norder = 'a`, expected 4711'",
        ] {
            let error = said(text);
            assert!(!error.contains("4711"), "{error}");
        }
        assert_eq!(
            said("\n[local]\nkeystore = 47114711"),
            "invalid type: integer …, expected path string, line 3"
        );
        assert_eq!(said("keys = true"), "invalid type: boolean …, expected a sequence, line 1");
        assert!(said("kees = []").contains("unknown field `kees`, expected one of `keys`"));
        assert!(
            said("[local]\nkeystor = 'x'").contains("unknown field `keystor`, expected one of `keystore`")
        );
    }
}
