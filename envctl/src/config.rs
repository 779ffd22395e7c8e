//! The configuration file.
//!
//! ```toml
//! keys = ["main"]                       # encrypt for these; they may decrypt too
//! decrypt-keys = ["local:old"]          # these may decrypt only
//! keystore = "/srv/keys/keystore.json"
//!
//! [aliases]
//! main = "local:main"
//!
//! [profiles.backup]                     # `--profile backup` puts these first
//! keys = ["local:backup", "passphrase:"]
//!
//! [aws]                                 # all of it optional
//! profile = "backup"
//! region = "eu-central-1"               # of keys that are created and listed
//!
//! [pkcs11]
//! module = "/usr/lib/softhsm/libsofthsm2.so"
//! token = "envelopes"                   # of keys that are created and listed; or serial = "…"
//! pin-file = "/run/secrets/pin"         # of the token that is named here
//!
//! [pkcs11.tokens.other]                 # the token with the label `other`
//! pin-file = "/run/secrets/pin-of-other"
//!
//! [[pkcs11.accept]]
//! key = "pkcs11:token=envelopes;object=old"
//! weaknesses = ["not-private"]
//! ```
//!
//! A flag goes before the environment, the environment before the file. It chooses keys,
//! and code to load, so nobody but the user or root may be able to write it.

use std::{
    collections::BTreeMap,
    env,
    path::{Path, PathBuf},
};

use envelope_files::trust::{self, Purpose};
#[cfg(feature = "pkcs11")]
use envelope_pkcs11::TokenSelector;
use envelope_sdk::{KeyUri, printable};
use serde::Deserialize;

use crate::{
    cli::Global,
    error::{CliError, ErrorKind, Result},
};

/// What the file and the profile say, with the global options over them.
pub(crate) struct Config {
    keys: Vec<String>,
    decrypt_keys: Vec<String>,
    aliases: BTreeMap<String, String>,
    keystore: Option<PathBuf>,
    #[cfg_attr(not(feature = "aws"), expect(dead_code, reason = "read, and of no use without AWS"))]
    aws: AwsSettings,
    #[cfg_attr(not(feature = "pkcs11"), allow(dead_code, reason = "read, and of no use without PKCS#11"))]
    pkcs11: Pkcs11Settings,
}

/// Where `pkcs11:` keys are.
#[derive(Clone, Default, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Pkcs11Settings {
    pub(crate) module: Option<PathBuf>,
    pub(crate) token: Option<String>,
    pub(crate) serial: Option<String>,
    pub(crate) pin_file: Option<PathBuf>,
    pub(crate) sessions: Option<usize>,
    pub(crate) tokens: BTreeMap<String, TokenSettings>,
    pub(crate) accept: Vec<AcceptedWeaknesses>,
    /// What the file says, whatever the call does: its `pin-file` is of that token.
    #[serde(skip)]
    of_file: OfFile,
}

/// What the file says of the token whose PIN it gives.
#[derive(Clone, Default)]
#[cfg_attr(not(feature = "pkcs11"), expect(dead_code, reason = "of no use without PKCS#11"))]
struct OfFile {
    token: Option<String>,
    serial: Option<String>,
    /// The keys that encrypt and decrypt by default.
    keys: Vec<KeyUri>,
}

/// What is said of one token, by its label.
#[derive(Clone, Default, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct TokenSettings {
    pub(crate) pin_file: Option<PathBuf>,
}

/// A key that is used in spite of these weaknesses.
#[derive(Clone, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
#[cfg_attr(not(feature = "pkcs11"), expect(dead_code, reason = "read, and of no use without PKCS#11"))]
pub(crate) struct AcceptedWeaknesses {
    pub(crate) key: String,
    pub(crate) weaknesses: Vec<String>,
}

/// How AWS KMS is reached, where the environment and AWS's own configuration
/// files do not say it.
#[derive(Clone, Default, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct AwsSettings {
    pub(crate) profile: Option<String>,
    pub(crate) region: Option<String>,
    pub(crate) replica_regions: Vec<String>,
    pub(crate) endpoint_url: Option<String>,
    pub(crate) fips: Option<bool>,
    pub(crate) role: Option<String>,
    pub(crate) external_id: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
struct ConfigFile {
    keys: Vec<String>,
    decrypt_keys: Vec<String>,
    keystore: Option<PathBuf>,
    aliases: BTreeMap<String, String>,
    profiles: BTreeMap<String, Profile>,
    aws: AwsSettings,
    pkcs11: Pkcs11Settings,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
struct Profile {
    keys: Option<Vec<String>>,
    decrypt_keys: Option<Vec<String>>,
    keystore: Option<PathBuf>,
}

impl Config {
    /// Reads the file: the one that was named must be there, the default one
    /// need not.
    pub(crate) fn load(global: &Global) -> Result<Self> {
        let file = match (&global.config, user_folder("XDG_CONFIG_HOME", ".config")) {
            (Some(path), _) => parse(path, trust::read(path, Purpose::Settings, MAX_FILE)?)?,
            (None, Some(folder)) => {
                let path = folder.join("envctl/config.toml");
                match trust::read(&path, Purpose::Settings, MAX_FILE) {
                    Err(error) if error.is_not_found() => ConfigFile::default(),
                    bytes => parse(&path, bytes?)?,
                }
            }
            (None, None) => ConfigFile::default(),
        };
        let mut profiles = file.profiles;
        let profile = match &global.profile {
            Some(name) => profiles.remove(name).ok_or_else(|| {
                let known: Vec<_> = profiles.keys().map(|name| printable::text(name)).collect();
                CliError::usage(format!("there is no profile {name:?} in the configuration")).hint(format!(
                    "profiles there: {}",
                    if known.is_empty() { "none".into() } else { known.join(", ") }
                ))
            })?,
            None => Profile::default(),
        };
        let mut config = Self {
            keys: profile.keys.unwrap_or(file.keys),
            decrypt_keys: profile.decrypt_keys.unwrap_or(file.decrypt_keys),
            aliases: file.aliases,
            keystore: global.keystore.clone().or(profile.keystore).or(file.keystore),
            aws: file.aws,
            pkcs11: file.pkcs11.under(global),
        };
        let keys = config.keys.iter().chain(&config.decrypt_keys).filter_map(|key| config.key(key).ok());
        config.pkcs11.of_file.keys = keys.collect();
        Ok(config)
    }

    /// The keys to encrypt for: those of the call, or the configuration's.
    pub(crate) fn encrypt_keys(&self, named: &[String]) -> Result<Vec<KeyUri>> {
        let keys = if named.is_empty() { &self.keys } else { named };
        keys.iter().map(|key| self.key(key)).collect()
    }

    /// The keys that may decrypt: those of the call, or the configuration's.
    pub(crate) fn decrypt_keys(&self, named: &[String]) -> Result<Vec<KeyUri>> {
        let keys: Vec<&String> = if named.is_empty() {
            self.keys.iter().chain(&self.decrypt_keys).collect()
        } else {
            named.iter().collect()
        };
        keys.into_iter().map(|key| self.key(key)).collect()
    }

    /// How AWS KMS is reached.
    #[cfg(feature = "aws")]
    pub(crate) fn aws(&self) -> &AwsSettings {
        &self.aws
    }

    /// Where `pkcs11:` keys are.
    #[cfg(feature = "pkcs11")]
    pub(crate) fn pkcs11(&self) -> &Pkcs11Settings {
        &self.pkcs11
    }

    /// Whether the configuration has an alias of this name.
    pub(crate) fn has_alias(&self, name: &str) -> bool {
        self.aliases.contains_key(name)
    }

    /// A key by its alias or URI.
    pub(crate) fn key(&self, name: &str) -> Result<KeyUri> {
        if let Some(uri) = self.aliases.get(name) {
            return KeyUri::parse(uri)
                .map_err(|error| CliError::from(error).about(format!("alias {}", printable::text(name))));
        }
        // Never repeated: a passphrase or PIN may have been typed in the place of a key.
        if !name.contains(':') && !name.contains('/') {
            let aliases: Vec<_> = self.aliases.keys().map(|alias| printable::text(alias)).collect();
            let aliases = if aliases.is_empty() {
                String::new()
            } else {
                format!("; aliases of the configuration: {}", aliases.join(", "))
            };
            return Err(CliError::usage(format!(
                "a key that was named ({} bytes) is neither a key URI nor an alias of the configuration",
                name.len()
            ))
            .hint(format!("for a key of your keystore write local:NAME{aliases}")));
        }
        Ok(KeyUri::parse(name)?)
    }

    /// Where the keystore is, or would be.
    pub(crate) fn keystore(&self) -> Result<PathBuf> {
        if let Some(path) = &self.keystore {
            return Ok(path.clone());
        }
        user_folder("XDG_DATA_HOME", ".local/share")
            .map(|folder| folder.join("envctl/keystore.json"))
            .ok_or_else(|| {
                CliError::usage("neither $XDG_DATA_HOME nor $HOME is set, so there is no default keystore")
                    .hint("name one with --keystore FILE")
            })
    }
}

impl Pkcs11Settings {
    /// What the call says goes first.
    #[cfg(feature = "pkcs11")]
    fn under(self, global: &Global) -> Self {
        let of_file = OfFile { token: self.token.clone(), serial: self.serial.clone(), keys: Vec::new() };
        let serial = self.serial.filter(|_| global.pkcs11_token.is_none());
        let token = global.pkcs11_token.clone().or(self.token);
        let mut settings = Self { serial, token, of_file, ..self };
        if let Some(named) = &global.pkcs11_module {
            // A token of another module does not get a PIN of the file, whatever it calls itself.
            if settings.module.as_ref().is_some_and(|own| own != named) {
                (settings.pin_file, settings.tokens) = Default::default();
            }
            settings.module = Some(named.clone());
        }
        settings
    }

    #[cfg(not(feature = "pkcs11"))]
    fn under(self, _global: &Global) -> Self {
        self
    }

    /// The module. Nothing but the operator's words chooses code to load.
    #[cfg(feature = "pkcs11")]
    pub(crate) fn module(&self) -> Result<PathBuf> {
        self.module.clone().ok_or_else(|| {
            CliError::usage("no PKCS#11 module is configured")
                .hint("name one by --pkcs11-module FILE, $ENVCTL_PKCS11_MODULE or `module` under [pkcs11]")
        })
    }

    /// The token whose keys are created and listed.
    #[cfg(feature = "pkcs11")]
    pub(crate) fn token(&self) -> Result<TokenSelector> {
        selector(self.token.as_ref(), self.serial.as_ref())
    }

    /// The token that the file names, whatever the call does.
    #[cfg(feature = "pkcs11")]
    pub(crate) fn token_of_file(&self) -> Result<TokenSelector> {
        selector(self.of_file.token.as_ref(), self.of_file.serial.as_ref())
    }

    /// The tokens of the keys that the file names.
    #[cfg(feature = "pkcs11")]
    pub(crate) fn tokens_of_keys(&self) -> impl Iterator<Item = TokenSelector> {
        self.of_file.keys.iter().filter_map(TokenSelector::of)
    }
}

#[cfg(feature = "pkcs11")]
fn selector(token: Option<&String>, serial: Option<&String>) -> Result<TokenSelector> {
    match (token, serial) {
        (Some(_), Some(_)) => Err(CliError::usage("[pkcs11] names the token by `token` and by `serial`")
            .hint("one of them is enough")),
        (Some(label), None) => Ok(TokenSelector::label(label)),
        (None, Some(serial)) => Ok(TokenSelector::serial(serial)),
        (None, None) => Ok(TokenSelector::only()),
    }
}

fn parse(path: &Path, bytes: Vec<u8>) -> Result<ConfigFile> {
    let wrong = |what: &str| {
        CliError::new(ErrorKind::Usage, format!("configuration {}: {what}", printable::path(path)))
    };
    let text = String::from_utf8(bytes).map_err(|_| wrong("it is not UTF-8"))?;
    toml::from_str(&text).map_err(|error| wrong(&without_values(&text, &error)))
}

/// The error without the line that it is about and without the values that it
/// quotes: somebody may have put a passphrase there.
fn without_values(text: &str, error: &toml::de::Error) -> String {
    let message = message_without_values(error.message());
    let line =
        error.span().and_then(|span| text.get(..span.start)).map(|before| before.matches('\n').count() + 1);
    let line = line.map(|line| format!(", line {line}")).unwrap_or_default();
    format!("{message}{line}")
}

/// What is not as it was expected is quoted in more than one way, and may hold quotes itself:
/// of that, the kind is told alone.
fn message_without_values(message: &str) -> String {
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

/// A folder of the XDG base directory specification; relative ones are ignored,
/// as it demands.
fn user_folder(variable: &str, default: &str) -> Option<PathBuf> {
    let absolute = |name: &str| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    absolute(variable).or_else(|| absolute("HOME").map(|home| home.join(default)))
}

/// Most bytes of a configuration: 1 MiB.
const MAX_FILE: u64 = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_error_of_the_configuration_repeats_a_value() {
        for text in [
            "[pkcs11]\npin-file = 47114711",
            "[pkcs11]\npin-file = 4711.4711",
            "[pkcs11]\nsessions = 'a\"4711'",
            "[pkcs11]\nsessions = 'a\"b\"4711, expected c'",
            "[pkcs11]\nsessions = '4711`4711'",
            "keys = [47114711]",
            "keys = 'a\"b\"4711'",
            "keystore = a4711",
            "[aws]\nfips = '4711'",
            "[pkcs11.tokens]\nx = 4711",
        ] {
            let error = parse(Path::new("config.toml"), text.into()).err().expect(text).text();
            assert!(error.starts_with("configuration config.toml: "), "{error}");
            assert!(!error.contains("4711"), "{error}");
        }
        let said = |text: &str| parse(Path::new("c"), text.into()).err().unwrap().text();
        assert_eq!(
            said("\n[pkcs11]\npin-file = 47114711"),
            "configuration c: invalid type: integer …, expected path string, line 3"
        );
        assert_eq!(
            said("keys = true"),
            "configuration c: invalid type: boolean …, expected a sequence, line 1"
        );
        assert!(said("kees = []").contains("unknown field `kees`, expected one of `keys`"));
    }
}
