//! Opening a token, and which PIN is for which token.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use envelope_sdk::{
    KeyUri, ProviderError, ProviderErrorKind,
    registry::{MissingSetting, Surroundings},
    secret::{Prompt, Secrets},
};

use crate::{
    config::Pkcs11Config,
    error::NAME,
    pin::{Pin, PinError, PinSource, PinTries},
    provider::Pkcs11Provider,
    refused::RefusedPins,
    selector::TokenSelector,
    settings::Pkcs11Settings,
    weakness::Weakness,
};

/// What opens tokens.
pub(super) struct Opener {
    settings: Pkcs11Settings,
    accepted: Vec<(KeyUri, Weakness)>,
    secrets: Arc<dyn Secrets>,
    /// The tokens of the keys that the configuration uses.
    of_configuration: Vec<TokenSelector>,
    /// The tokens of the keys that were opened: those that the call or the
    /// configuration names.
    named: Mutex<Vec<TokenSelector>>,
    /// Of all tokens: keys may name one in two ways.
    refused: RefusedPins,
}

impl Opener {
    pub(super) fn new(settings: Pkcs11Settings, around: &Surroundings) -> Result<Self, ProviderError> {
        settings.the_token()?;
        settings.the_pin_file()?;
        Ok(Self {
            accepted: settings.accepted()?,
            settings,
            secrets: Arc::clone(&around.secrets),
            of_configuration: around.keys.iter().filter_map(TokenSelector::of).collect(),
            named: Mutex::default(),
            refused: RefusedPins::default(),
        })
    }

    pub(super) fn module(&self) -> Result<&PathBuf, ProviderError> {
        self.settings.the_module()
    }

    /// The token that the settings name, or the only one.
    pub(super) fn configured(&self) -> Result<TokenSelector, ProviderError> {
        self.settings.the_token()
    }

    /// Takes note of the token of a key that the operator named: the PIN may be for
    /// it.
    pub(super) fn note(&self, key: &KeyUri) -> Result<(), ProviderError> {
        let token = token_of(key)?;
        let mut named = self.named.lock().unwrap_or_else(PoisonError::into_inner);
        if !named.contains(&token) {
            named.push(token);
        }
        Ok(())
    }

    /// Loads the module, which blocks. So may reading a secret.
    pub(super) fn open(&self, token: TokenSelector) -> Result<Pkcs11Provider, ProviderError> {
        let module = self.module()?;
        let pin = self.pin(&token)?;
        let mut config = Pkcs11Config::new(module, token).pin(pin).refused_pins(&self.refused);
        if let Some(sessions) = self.settings.most_sessions() {
            config = config.sessions(sessions);
        }
        for (key, weakness) in &self.accepted {
            config = config.accept(key, *weakness);
        }
        Ok(Pkcs11Provider::open(config)?)
    }

    /// What is given for each token, and a person for every other one. Nothing here
    /// depends on a header: which token gets which PIN is settled by the words of
    /// the call and of the configuration.
    fn pin(&self, token: &TokenSelector) -> Result<PinSource, ProviderError> {
        let mut pins = Vec::new();
        pins.extend(self.given_pin()?);
        let files = self.settings.pin_files_of_tokens();
        pins.extend(files.map(|(token, file)| (token, PinSource::file(file))));
        let (secrets, name) = (Arc::clone(&self.secrets), token.to_string());
        let ask = PinSource::ask(move |tries| {
            let warning = if tries == PinTries::All { String::new() } else { format!(" ({tries})") };
            let prompt = format!("PIN of the token with {name}{warning}");
            let asked = secrets.ask(SECRET, &Prompt::once(&prompt));
            asked.map_err(|error| PinError::NotGiven(error.to_string())).and_then(Pin::of)
        });
        Ok(PinSource::by_token(pins, ask))
    }

    /// The PIN of the call, or the file of the settings, and the token that it is
    /// for.
    fn given_pin(&self) -> Result<Option<(TokenSelector, PinSource)>, ProviderError> {
        let given = self.secrets.given(SECRET);
        let given =
            given.map_err(|error| ProviderError::without_key(error.kind(), NAME, error.to_string()))?;
        if let Some(pin) = given {
            let pin = Pin::of(pin).map_err(|error| invalid(error.to_string()))?;
            return Ok(Some((self.the_one(Vec::new())?, PinSource::pin(pin))));
        }
        let Some((file, named)) = self.settings.the_pin_file()? else { return Ok(None) };
        // A call that names another token does not get this one's PIN for it. Where none is named, the
        // call's words alone tell, if the configuration's keys do not contradict them.
        let token =
            if named == TokenSelector::only() { self.the_one(self.of_configuration.clone())? } else { named };
        Ok(Some((token, PinSource::file(file))))
    }

    /// The one token that such a PIN is for: the one that is named as such, or that
    /// of all keys that are named, or the only one of the module.
    fn the_one(&self, mut tokens: Vec<TokenSelector>) -> Result<TokenSelector, ProviderError> {
        let configured = self.configured()?;
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
                    "a PIN is given, and it may be for several tokens: that with {} (name its token, or give each \
                     token its own: `pin-file` under [pkcs11.tokens.LABEL] of the configuration)",
                    tokens.join(", that with ")
                );
                Err(invalid(message).with_source(MissingSetting::new(NAME, "token")))
            }
        }
    }
}

/// The token that a key names.
pub(super) fn token_of(key: &KeyUri) -> Result<TokenSelector, ProviderError> {
    TokenSelector::of(key).ok_or_else(|| invalid("it is not a key of a token").about(key))
}

fn invalid(message: impl Into<String>) -> ProviderError {
    ProviderError::without_key(ProviderErrorKind::Invalid, NAME, message)
}

/// The name of the secret that is the PIN.
const SECRET: &str = "pkcs11-pin";
