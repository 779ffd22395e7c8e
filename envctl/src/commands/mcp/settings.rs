//! `[mcp]` of the configuration, and which key stores the rest of it is about.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use envelope_files::trust::{self, Purpose};
use envelope_sdk::{KeyUri, printable};
use serde::Deserialize;
use toml::Value;

use crate::{
    cli::Global,
    error::{CliError, Result},
    key_stores::registered,
    report,
};

/// What the server is told.
#[derive(Debug, Clone, Default)]
pub(super) struct Settings {
    pub(super) roots: Vec<PathBuf>,
    pub(super) buckets: Vec<String>,
    pub(super) audit_log: Option<PathBuf>,
    pub(super) audit_public_key: Option<[u8; 32]>,
    pub(super) prices: Option<PathBuf>,
    /// `[mcp.listen]`.
    #[cfg(feature = "listen")]
    pub(super) listen: envelope_mcp::net::ListenSettings,
    /// Providers whose keys are listed.
    pub(super) key_stores: BTreeSet<String>,
    /// The file and what stands in it, if there is one.
    pub(super) file: Option<(PathBuf, toml::Table)>,
}

/// The table.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
struct Words {
    roots: Vec<PathBuf>,
    buckets: Vec<String>,
    audit_log: Option<PathBuf>,
    audit_public_key: Option<String>,
    prices: Option<PathBuf>,
    key_stores: Option<Vec<String>>,
    #[cfg(feature = "listen")]
    listen: envelope_mcp::net::ListenSettings,
    /// A build without the network reads the same configuration.
    #[cfg(not(feature = "listen"))]
    #[serde(rename = "listen")]
    _listen: serde::de::IgnoredAny,
}

impl Settings {
    /// Reads the configuration of the call, or the user's own if it is there.
    pub(super) fn read(global: &Global) -> Result<Self> {
        let (path, must_be_there) = match &global.config {
            Some(path) => (Some(path.clone()), true),
            None => {
                let folder = envelope_files::user_folder("XDG_CONFIG_HOME", ".config");
                (folder.map(|folder| folder.join("envctl/config.toml")), false)
            }
        };
        let Some(path) = path else { return Self::of(Words::default(), None) };
        let bytes = match trust::read(&path, Purpose::Settings, MAX_LEN) {
            Err(error) if error.is_not_found() && !must_be_there => return Self::of(Words::default(), None),
            bytes => bytes?,
        };
        // What is wrong elsewhere in it is told by whoever reads that, and values are never repeated.
        let wrong = |what: &str| CliError::usage(format!("configuration {}: {what}", printable::path(&path)));
        let text = String::from_utf8(bytes).map_err(|_| wrong("it is not UTF-8"))?;
        let document: toml::Table = text.parse().map_err(|_| wrong("it is no TOML"))?;
        let words = match document.get("mcp") {
            None => Words::default(),
            Some(table) => Words::deserialize(table.clone()).map_err(|error| {
                wrong("the table [mcp] does not fit").hint(without_values(error.message()))
            })?,
        };
        Self::of(words, Some((path, document)))
    }

    fn of(words: Words, file: Option<(PathBuf, toml::Table)>) -> Result<Self> {
        let absolute = |name: &str, path: &Path| match path.is_absolute() {
            true => Ok(()),
            false => Err(CliError::usage(format!("[mcp]: `{name}` is a path from / on"))),
        };
        words.roots.iter().try_for_each(|root| absolute("roots", root))?;
        words.audit_log.iter().try_for_each(|log| absolute("audit-log", log))?;
        words.prices.iter().try_for_each(|prices| absolute("prices", prices))?;
        let public_key = words.audit_public_key.as_deref().map(|text| {
            report::unhex(text)
                .ok_or_else(|| CliError::usage("[mcp]: `audit-public-key` is 64 hexadecimal digits"))
        });
        let known = |name: &str| registered().iter().any(|store| store.provider == name);
        let key_stores = match words.key_stores {
            Some(named) => {
                if !named.iter().all(|name| known(name)) {
                    let known: Vec<_> = registered().iter().map(|store| store.provider).collect();
                    return Err(CliError::usage(format!("[mcp]: `key-stores` are of {}", known.join(", "))));
                }
                named.into_iter().collect()
            }
            None => file.as_ref().map(|(_, document)| mentioned(document)).unwrap_or_default(),
        };
        Ok(Self {
            roots: words.roots,
            buckets: words.buckets,
            audit_log: words.audit_log,
            audit_public_key: public_key.transpose()?,
            prices: words.prices,
            #[cfg(feature = "listen")]
            listen: words.listen,
            key_stores,
            file,
        })
    }
}

/// The key stores that the configuration has a table of, or a key: nobody else is asked, perhaps far away.
fn mentioned(document: &toml::Table) -> BTreeSet<String> {
    let words = |value: Option<&Value>| -> Vec<String> {
        let listed = value.and_then(Value::as_array).into_iter().flatten();
        listed.filter_map(Value::as_str).map(ToOwned::to_owned).collect()
    };
    let mut keys = words(document.get("keys"));
    keys.extend(words(document.get("decrypt-keys")));
    let aliases = document.get("aliases").and_then(Value::as_table);
    keys.extend(
        aliases.into_iter().flat_map(|table| table.values().filter_map(Value::as_str).map(ToOwned::to_owned)),
    );
    let schemes: BTreeSet<_> =
        keys.iter().filter_map(|key| KeyUri::parse(key).ok()).map(|uri| uri.scheme().to_owned()).collect();
    let is_mentioned = |provider: &str| {
        document.contains_key(provider)
            || schemes.iter().any(|scheme| scheme.split('-').next() == Some(provider))
    };
    registered()
        .iter()
        .map(|store| store.provider)
        .filter(|name| is_mentioned(name))
        .map(Into::into)
        .collect()
}

/// The error without what it quotes of the file.
fn without_values(message: &str) -> String {
    let kind = message.split(['`', '"']).next().unwrap_or_default().trim_end();
    match message.rsplit_once(", expected ") {
        Some((_, expected)) => format!("{kind} …, expected {expected}"),
        None => kind.to_owned(),
    }
}

/// As the configuration's.
const MAX_LEN: u64 = 1 << 20;
