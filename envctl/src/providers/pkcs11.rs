//! Tokens over PKCS#11.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use envelope_pkcs11::{
    Pin, PinError, PinSource, PinTries, Pkcs11Config, Pkcs11Provider, RefusedPins, TokenSelector, Weakness,
};
use envelope_sdk::{
    ContextBinding, Dek, FullContext, KeyAdmin, KeyChange, KeyDescription, KeyProvider, KeyUri,
    ProviderError, ProviderErrorKind, WrappedDek, is_local_key_name,
};
use serde_json::{Map, Value};

use super::{Backend, NewKey};
use crate::{
    config::Pkcs11Settings,
    error::{CliError, ErrorKind, Result},
    harden,
    passphrase::{Passphrases, ask_pin},
    runtime::block_on,
};

/// The tokens of the configured module.
pub(crate) struct Pkcs11 {
    tokens: Arc<Tokens>,
}

impl Pkcs11 {
    pub(super) fn new(settings: &Pkcs11Settings, passphrases: &Arc<Passphrases>) -> Self {
        let tokens = Tokens {
            settings: settings.clone(),
            passphrases: Arc::clone(passphrases),
            named: Mutex::default(),
            open: Mutex::default(),
            refused: RefusedPins::default(),
        };
        Self { tokens: Arc::new(tokens) }
    }

    /// Takes note of the token of a key that the call or the configuration names:
    /// the PIN may be for it.
    pub(super) fn with_key(&self, key: &KeyUri) -> &Self {
        if let Some(token) = TokenSelector::of(key) {
            let mut named = self.tokens.named.lock().unwrap_or_else(PoisonError::into_inner);
            if !named.contains(&token) {
                named.push(token);
            }
        }
        self
    }
}

impl Backend for Pkcs11 {
    fn provider(&self) -> Result<Arc<dyn KeyProvider>> {
        self.tokens.settings.module()?;
        Ok(Arc::clone(&self.tokens) as _)
    }

    fn admin(&self) -> Result<Arc<dyn KeyAdmin>> {
        self.tokens.settings.module()?;
        Ok(Arc::clone(&self.tokens) as _)
    }

    fn check_new(&self, new: &NewKey) -> Result<()> {
        check_words(new)?;
        let token = self.tokens.configured()?;
        let taken = block_on(token.list_keys())?;
        let named = token.key_uri(&new.name).ok();
        if taken.iter().any(|key| named.as_ref() == Some(&key.uri)) {
            return Err(CliError::usage(format!("there is a key {} already", new.name)));
        }
        Ok(())
    }

    fn create(&self, new: &NewKey) -> Result<KeyDescription> {
        check_words(new)?;
        Ok(block_on(self.tokens.configured()?.create_key(&new.name, false))?)
    }

    /// The attributes of each version, and why a key would be refused.
    fn details(&self, key: &KeyUri) -> Result<Map<String, Value>> {
        let token = self.tokens.of(key)?;
        let versions = block_on(token.attributes(key))?;
        let accepted: Vec<_> = token.accepted(key).collect();
        let versions = versions.iter().map(|version| {
            let kind = if version.rsa { "RSA" } else { "AES" };
            let attributes = [
                (version.private, "private"),
                (version.sensitive, "sensitive"),
                (version.extractable, "extractable"),
                (version.local, "local"),
                (version.encrypt, "encrypt"),
                (version.decrypt, "decrypt"),
                (version.wrap, "wrap"),
                (version.unwrap, "unwrap"),
            ];
            let attributes: Vec<_> = attributes.iter().filter(|(is, _)| *is).map(|(_, name)| *name).collect();
            let mut told = Map::new();
            told.insert("key".into(), format!("{kind}-{}", version.bits).into());
            told.insert("attributes".into(), attributes.join(" ").into());
            if !version.version.is_empty() {
                told.insert("version".into(), version.version.clone().into());
            }
            let tolerated: Vec<_> =
                version.weaknesses().filter(|weakness| accepted.contains(weakness)).collect();
            if !tolerated.is_empty() {
                let names: Vec<_> = tolerated.iter().map(|weakness| weakness.name()).collect();
                told.insert("accepted".into(), format!("accepted: {}", names.join(" ")).into());
            }
            if let Some(reason) = version.refusal_unless(|weakness| accepted.contains(&weakness)) {
                told.insert("refused".into(), reason.into());
            }
            Value::Object(told)
        });
        Ok(Map::from_iter([("objects".into(), versions.collect())]))
    }
}

fn check_words(new: &NewKey) -> Result<()> {
    if !is_local_key_name(&new.name) {
        return Err(CliError::usage(format!(
            "a name of {} bytes cannot be the name of a key",
            new.name.len()
        ))
        .hint("1 to 64 characters of A-Z a-z 0-9 - _ . that begin with a letter or digit"));
    }
    if new.description.is_some() || !new.tags.is_empty() {
        return Err(CliError::usage("keys of a token have no description and no tags"));
    }
    if new.pre_active {
        return Err(
            CliError::usage("a token has no pre-active keys").hint("create the key when it is to be used")
        );
    }
    Ok(())
}

/// A provider for each token that is used in this run. The module is loaded and a
/// PIN asked for at the first use.
struct Tokens {
    settings: Pkcs11Settings,
    passphrases: Arc<Passphrases>,
    /// The tokens of the keys that the call and the configuration name.
    named: Mutex<Vec<TokenSelector>>,
    open: Mutex<Vec<(TokenSelector, Arc<Pkcs11Provider>)>>,
    /// Of all of them: keys may name one token in two ways.
    refused: RefusedPins,
}

impl Tokens {
    /// The token that the configuration names, or the only one.
    fn configured(&self) -> Result<Arc<Pkcs11Provider>> {
        self.token(self.settings.token()?)
    }

    /// The token of a key that the call or the configuration names.
    fn of(&self, key: &KeyUri) -> Result<Arc<Pkcs11Provider>> {
        let selector = TokenSelector::of(key)
            .ok_or_else(|| CliError::usage(format!("{key} is not a key of a token")))?;
        self.token(selector)
    }

    fn token(&self, selector: TokenSelector) -> Result<Arc<Pkcs11Provider>> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, token)) = open.iter().find(|(of, _)| *of == selector) {
            return Ok(Arc::clone(token));
        }
        let pin = self.pin(&selector)?;
        let mut config = Pkcs11Config::new(self.settings.module()?, selector.clone()).pin(pin);
        config = config.refused_pins(&self.refused);
        if let Some(sessions) = self.settings.sessions {
            config = config.sessions(sessions);
        }
        for accepted in &self.settings.accept {
            let key = KeyUri::parse(&accepted.key)?;
            for name in &accepted.weaknesses {
                config = config.accept(&key, weakness(name)?);
            }
        }
        let token = Arc::new(Pkcs11Provider::open(config)?);
        open.push((selector, Arc::clone(&token)));
        Ok(token)
    }

    /// What is given for each token, and the terminal for every other one. Nothing
    /// here depends on a header: which token gets which PIN is settled by the
    /// words of the call and of the configuration.
    fn pin(&self, token: &TokenSelector) -> Result<PinSource> {
        let mut pins = Vec::new();
        pins.extend(self.given_pin()?);
        for (label, settings) in &self.settings.tokens {
            if let Some(file) = &settings.pin_file {
                harden::before_secrets()?;
                pins.push((TokenSelector::label(label), PinSource::file(file)));
            }
        }
        let name = token.to_string();
        let ask = PinSource::ask(move |tries| {
            let warning = if tries == PinTries::All { String::new() } else { format!(" ({tries})") };
            let asked = ask_pin(&format!("PIN of the token with {name}{warning}"));
            asked.map_err(|error| PinError::NotGiven(error.text())).and_then(Pin::new)
        });
        Ok(PinSource::by_token(pins, ask))
    }

    /// The PIN of the call, or the file of the configuration, and the token that it is for.
    fn given_pin(&self) -> Result<Option<(TokenSelector, PinSource)>> {
        if let Some(pin) = self.passphrases.pin()? {
            let pin =
                Pin::new(pin.as_str().to_owned()).map_err(|error| CliError::usage(error.to_string()))?;
            return Ok(Some((
                self.token_of_given_pin(self.settings.token()?, Vec::new())?,
                PinSource::pin(pin),
            )));
        }
        let Some(file) = &self.settings.pin_file else { return Ok(None) };
        harden::before_secrets()?;
        let token = match self.settings.token_of_file()? {
            // Nothing but the call's words then, if the file's keys do not contradict them.
            token if token == TokenSelector::only() => {
                self.token_of_given_pin(self.settings.token()?, self.settings.tokens_of_keys().collect())?
            }
            // A call that names another token does not get this one's PIN for it.
            token => token,
        };
        Ok(Some((token, PinSource::file(file))))
    }

    /// The one token that such a PIN is for: the one that is named as such, or
    /// that of all keys that are named, or the only one of the module.
    fn token_of_given_pin(
        &self,
        configured: TokenSelector,
        mut tokens: Vec<TokenSelector>,
    ) -> Result<TokenSelector> {
        if configured == TokenSelector::only() {
            tokens.extend(self.named.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned());
        } else {
            tokens.push(configured.clone());
        }
        let mut distinct = Vec::new();
        for token in tokens {
            if !distinct.contains(&token) {
                distinct.push(token);
            }
        }
        match distinct.as_slice() {
            [] => Ok(configured),
            [token] => Ok(token.clone()),
            tokens => {
                let tokens: Vec<_> = tokens.iter().map(ToString::to_string).collect();
                let message = format!(
                    "a PIN is given, and it may be for several tokens: that with {}",
                    tokens.join(", that with ")
                );
                Err(CliError::usage(message).hint(
                    "name its token by --pkcs11-token LABEL, or give each token its own: `pin-file` under \
                     [pkcs11.tokens.LABEL] of the configuration",
                ))
            }
        }
    }

    fn provider_of(&self, key: &KeyUri) -> std::result::Result<Arc<Pkcs11Provider>, ProviderError> {
        self.of(key).map_err(|error| provider_error(&error, key))
    }

    fn provider_configured(&self) -> std::result::Result<Arc<Pkcs11Provider>, ProviderError> {
        self.configured().map_err(|error| provider_error(&error, &some_key()))
    }
}

fn weakness(name: &str) -> Result<Weakness> {
    Weakness::from_name(name).ok_or_else(|| {
        let known: Vec<_> = Weakness::ALL.into_iter().map(Weakness::name).collect();
        CliError::usage(format!(
            "[[pkcs11.accept]] of the configuration: no weakness {name:?} can be accepted"
        ))
        .hint(format!("those that can: {}", known.join(", ")))
    })
}

/// What was found out before a token was asked.
fn provider_error(error: &CliError, key: &KeyUri) -> ProviderError {
    let kind = match error.kind() {
        ErrorKind::Usage => ProviderErrorKind::Invalid,
        ErrorKind::KeyRefused => ProviderErrorKind::AccessDenied,
        ErrorKind::Unreachable => ProviderErrorKind::Unavailable,
        _ => ProviderErrorKind::Other,
    };
    ProviderError::new(kind, NAME, key, error.text())
}

#[async_trait]
impl KeyProvider for Tokens {
    fn name(&self) -> &'static str {
        NAME
    }

    fn context_binding(&self, wrapped: &WrappedDek) -> ContextBinding {
        Pkcs11Provider::binding_of(wrapped)
    }

    async fn wrap_dek(
        &self,
        key: &KeyUri,
        dek: &Dek,
        context: &FullContext,
    ) -> std::result::Result<WrappedDek, ProviderError> {
        self.provider_of(key)?.wrap_dek(key, dek, context).await
    }

    async fn unwrap_dek(
        &self,
        wrapped: &WrappedDek,
        context: &FullContext,
    ) -> std::result::Result<Dek, ProviderError> {
        self.provider_of(wrapped.key_uri())?.unwrap_dek(wrapped, context).await
    }
}

#[async_trait]
impl KeyAdmin for Tokens {
    async fn create_key(
        &self,
        name: &str,
        pre_active: bool,
    ) -> std::result::Result<KeyDescription, ProviderError> {
        self.provider_configured()?.create_key(name, pre_active).await
    }

    async fn describe_key(&self, key: &KeyUri) -> std::result::Result<KeyDescription, ProviderError> {
        self.provider_of(key)?.describe_key(key).await
    }

    async fn list_keys(&self) -> std::result::Result<Vec<KeyDescription>, ProviderError> {
        self.provider_configured()?.list_keys().await
    }

    async fn rotate_key(&self, key: &KeyUri) -> std::result::Result<KeyDescription, ProviderError> {
        self.provider_of(key)?.rotate_key(key).await
    }

    async fn change_key(
        &self,
        key: &KeyUri,
        version: Option<&str>,
        change: KeyChange,
    ) -> std::result::Result<KeyDescription, ProviderError> {
        self.provider_of(key)?.change_key(key, version, change).await
    }
}

/// Stands for the keys of a token in errors that are about none of them.
fn some_key() -> KeyUri {
    KeyUri::parse("pkcs11:token=*;object=*").unwrap_or_else(|_| KeyUri::passphrase())
}

const NAME: &str = "pkcs11";
