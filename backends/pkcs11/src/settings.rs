//! What the operator says of all tokens: the table `[pkcs11]` of a configuration.

use std::{collections::BTreeMap, ffi::OsString, path::PathBuf};

use envelope_sdk::{
    KeyUri, ProviderError, ProviderErrorKind,
    registry::{MissingSetting, SettingError, text},
};
use serde::Deserialize;

use crate::{error::NAME, selector::TokenSelector, weakness::Weakness};

/// Where `pkcs11:` keys are: a module, and the PINs of its tokens. In a
/// configuration it is the table `[pkcs11]`:
///
/// ```toml
/// [pkcs11]
/// module = "/usr/lib/softhsm/libsofthsm2.so"
/// token = "envelopes"                   # of keys that are created and listed; or serial = "…"
/// pin-file = "/run/secrets/pin"         # of the token that is named here
///
/// [pkcs11.tokens.other]                 # the token with the label `other`
/// pin-file = "/run/secrets/pin-of-other"
///
/// [[pkcs11.accept]]
/// key = "pkcs11:token=envelopes;object=old"
/// weaknesses = ["not-private"]
/// ```
///
/// It becomes a [`Pkcs11Scheme`](crate::Pkcs11Scheme). Which token gets which PIN
/// is settled by these words and by the keys that the operator names, never by a
/// header.
///
/// `module`, `token`, `serial`, `pin-file` and `sessions` are also taken for [one
/// call](envelope_sdk::registry::Settings::set). When that names another module,
/// the PINs and accepted weaknesses of the table do not hold for it, whose tokens
/// may bear any label; when it names another token, that gets no PIN of the table
/// that is for this one.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
#[non_exhaustive]
pub struct Pkcs11Settings {
    /// The module, a shared library, by its absolute path.
    pub module: Option<PathBuf>,
    /// The label of the token whose keys are created and listed. Without it and
    /// [`serial`](Self::serial), the only token of the module.
    pub token: Option<String>,
    /// The serial number of that token, in place of its label.
    pub serial: Option<String>,
    /// A file with the PIN of the token that is named here. Where none is, of the one that
    /// [`Pkcs11Scheme`](crate::Pkcs11Scheme) says.
    pub pin_file: Option<PathBuf>,
    /// How many sessions each token is used by at most
    /// ([`Pkcs11Config::sessions`](crate::Pkcs11Config::sessions)).
    pub sessions: Option<usize>,
    /// What is said of single tokens, by their labels.
    pub tokens: BTreeMap<String, Pkcs11TokenSettings>,
    /// The weaknesses that are accepted.
    pub accept: Vec<Pkcs11Accepted>,
    /// What the call says over these.
    #[serde(skip)]
    call: Call,
}

/// What is said of one token: `[pkcs11.tokens.LABEL]`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
#[non_exhaustive]
pub struct Pkcs11TokenSettings {
    /// A file with its PIN.
    pub pin_file: Option<PathBuf>,
}

/// A key that is used in spite of weaknesses: `[[pkcs11.accept]]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Pkcs11Accepted {
    /// The key, by exactly the URI under which it is used.
    pub key: String,
    /// Names of weaknesses ([`Weakness::name`]).
    pub weaknesses: Vec<String>,
}

#[derive(Debug, Clone, Default)]
struct Call {
    module: Option<PathBuf>,
    token: Option<String>,
    serial: Option<String>,
    pin_file: Option<PathBuf>,
    sessions: Option<usize>,
}

impl Pkcs11Settings {
    /// Takes a setting of the call.
    pub(crate) fn set_for_call(&mut self, name: &str, value: OsString) -> Result<(), SettingError> {
        let call = &mut self.call;
        match name {
            "module" => call.module = Some(value.into()),
            "token" => call.token = Some(text(value)?),
            "serial" => call.serial = Some(text(value)?),
            "pin-file" => call.pin_file = Some(value.into()),
            "sessions" => {
                let number = text(value)?.parse().map_err(|_| SettingError::Value("a number"))?;
                call.sessions = Some(number);
            }
            _ => return Err(SettingError::Unknown),
        }
        Ok(())
    }

    /// The module. Nothing but the operator's words chooses code to load.
    pub(crate) fn the_module(&self) -> Result<&PathBuf, ProviderError> {
        self.call.module.as_ref().or(self.module.as_ref()).ok_or_else(|| {
            invalid("no PKCS#11 module is configured").with_source(MissingSetting::new(NAME, "module"))
        })
    }

    /// The token whose keys are created and listed.
    pub(crate) fn the_token(&self) -> Result<TokenSelector, ProviderError> {
        match (&self.call.token, &self.call.serial) {
            (None, None) => self.token_of_table(),
            (token, serial) => selector(token.as_ref(), serial.as_ref()),
        }
    }

    /// The sessions of each token at most, if somebody says so.
    pub(crate) fn most_sessions(&self) -> Option<usize> {
        self.call.sessions.or(self.sessions)
    }

    /// The file with a PIN of which it is not said, beside it, which token it is for;
    /// and the token that is named with it.
    pub(crate) fn the_pin_file(&self) -> Result<Option<(&PathBuf, TokenSelector)>, ProviderError> {
        if let Some(file) = &self.call.pin_file {
            return Ok(Some((file, self.the_token()?)));
        }
        match &self.pin_file {
            Some(file) if self.is_of_the_module() => Ok(Some((file, self.token_of_table()?))),
            _ => Ok(None),
        }
    }

    /// The files with the PINs of single tokens.
    pub(crate) fn pin_files_of_tokens(&self) -> impl Iterator<Item = (TokenSelector, &PathBuf)> {
        let tokens = self.tokens.iter().filter(|_| self.is_of_the_module());
        tokens.filter_map(|(label, token)| Some((TokenSelector::label(label), token.pin_file.as_ref()?)))
    }

    /// What is accepted, key by key.
    pub(crate) fn accepted(&self) -> Result<Vec<(KeyUri, Weakness)>, ProviderError> {
        let mut all = Vec::new();
        for accepted in &self.accept {
            let key = KeyUri::parse(&accepted.key)
                .map_err(|error| invalid(format!("[[pkcs11.accept]] of the configuration: {error}")))?;
            if TokenSelector::of(&key).is_none() {
                let message = "[[pkcs11.accept]] of the configuration: it is not a key of a token";
                return Err(invalid(message));
            }
            for name in &accepted.weaknesses {
                all.push((key.clone(), weakness(name)?));
            }
        }
        // Told of only if it would hold, but refused wherever it cannot be meant.
        Ok(if self.is_of_the_module() { all } else { Vec::new() })
    }

    /// Whether the table speaks of the module that is used.
    fn is_of_the_module(&self) -> bool {
        match (&self.call.module, &self.module) {
            (Some(named), Some(own)) => named == own,
            _ => true,
        }
    }

    /// The token that the table names, whatever the call names.
    fn token_of_table(&self) -> Result<TokenSelector, ProviderError> {
        selector(self.token.as_ref(), self.serial.as_ref())
    }
}

fn selector(token: Option<&String>, serial: Option<&String>) -> Result<TokenSelector, ProviderError> {
    match (token, serial) {
        (Some(_), Some(_)) => {
            Err(invalid("[pkcs11] names the token by `token` and by `serial` (one of them is enough)"))
        }
        (Some(label), None) => Ok(TokenSelector::label(label)),
        (None, Some(serial)) => Ok(TokenSelector::serial(serial)),
        (None, None) => Ok(TokenSelector::only()),
    }
}

fn weakness(name: &str) -> Result<Weakness, ProviderError> {
    Weakness::from_name(name).ok_or_else(|| {
        let known: Vec<_> = Weakness::ALL.into_iter().map(Weakness::name).collect();
        // Not what stands there: somebody may have put a secret into the wrong place.
        invalid(format!(
            "[[pkcs11.accept]] of the configuration: it names a weakness that cannot be accepted (those that can: {})",
            known.join(", ")
        ))
    })
}

fn invalid(message: impl Into<String>) -> ProviderError {
    ProviderError::without_key(ProviderErrorKind::Invalid, NAME, message)
}

#[cfg(test)]
mod tests;
