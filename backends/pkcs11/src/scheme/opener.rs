//! Opening a token, and which PIN is for which token.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use cryptoki::context::Pkcs11;
use envelope_files::under_way;
use envelope_sdk::{
    KeyUri, ProviderError, ProviderErrorKind,
    registry::{MissingSetting, Surroundings},
    secret::{Prompt, Secrets},
};

use crate::{
    config::Pkcs11Config,
    error::NAME,
    module,
    pin::{Pin, PinError, PinSource, PinTries},
    provider::Pkcs11Provider,
    refused::RefusedPins,
    selector::TokenSelector,
    settings::Pkcs11Settings,
    token,
    weakness::Weakness,
};

/// What opens tokens.
pub(super) struct Opener {
    settings: Pkcs11Settings,
    accepted: Vec<(KeyUri, Weakness)>,
    secrets: Arc<dyn Secrets>,
    /// The tokens of the keys that the configuration uses.
    of_configuration: Vec<TokenSelector>,
    /// The tokens of the keys that were opened.
    opened: Mutex<Opened>,
    /// Of all tokens: keys may name one in two ways.
    refused: RefusedPins,
}

/// What counts where neither settings nor the keys of the configuration say which token a PIN
/// is for.
#[derive(Default)]
struct Opened {
    tokens: Vec<TokenSelector>,
    /// The one of them that the PIN is for, since it was the only one when a PIN was first
    /// used. It stays so.
    settled: Option<TokenSelector>,
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
            opened: Mutex::default(),
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
        let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        if !opened.tokens.contains(&token) {
            opened.tokens.push(token);
        }
        Ok(())
    }

    /// Loads the module, which blocks. So may reading a secret.
    pub(super) fn open(&self, token: TokenSelector) -> Result<Pkcs11Provider, ProviderError> {
        let module = self.module()?;
        let pin = self.pin(&token, &module::load(module)?)?;
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
    fn pin(&self, token: &TokenSelector, module: &Pkcs11) -> Result<PinSource, ProviderError> {
        let mut pins = Vec::new();
        pins.extend(self.given_pin(token, module)?);
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
    /// for. `opening` is the token that is opened.
    fn given_pin(
        &self,
        opening: &TokenSelector,
        module: &Pkcs11,
    ) -> Result<Option<(TokenSelector, PinSource)>, ProviderError> {
        let given = under_way::aside(|| self.secrets.given(SECRET));
        let given =
            given.map_err(|error| ProviderError::without_key(error.kind(), NAME, error.to_string()))?;
        let called = self.configured()?;
        let (pin, named) = match given {
            Some(pin) => {
                let pin = Pin::of(pin).map_err(|error| invalid(error.to_string()))?;
                (PinSource::pin(pin), called.clone())
            }
            None => match self.settings.the_pin_file()? {
                Some((file, named)) => (PinSource::file(file), named),
                None => return Ok(None),
            },
        };
        if named != TokenSelector::only() {
            return Ok(Some((named, pin)));
        }
        // A call that names another token does not get the PIN of the table for it, if the keys of
        // the configuration contradict that.
        if called != TokenSelector::only() {
            let mut candidates = self.candidates(self.of_configuration.clone(), module)?;
            for known in &candidates {
                if !is_same(module, known, &called)? {
                    candidates.push(called);
                    return Err(for_several(&candidates));
                }
            }
            return Ok(Some((called, pin)));
        }
        let token = self.the_one(opening, module)?;
        Ok(token.map(|token| (token, pin)))
    }

    /// The one token that a PIN is for of which that is not said: that of all keys of the
    /// configuration, or else of all keys that had been opened when a PIN was first
    /// used, or else the only one of the module. A token with a file of its own is none
    /// of them. Where `opening` is another one, nobody knows which of them was meant.
    fn the_one(
        &self,
        opening: &TokenSelector,
        module: &Pkcs11,
    ) -> Result<Option<TokenSelector>, ProviderError> {
        if self.has_a_file(opening, module)? {
            return Ok(None);
        }
        let mut candidates = self.candidates(self.of_configuration.clone(), module)?;
        let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        if candidates.is_empty() {
            candidates = match &opened.settled {
                Some(settled) => vec![settled.clone()],
                None => self.candidates(opened.tokens.clone(), module)?,
            };
        }
        // Keys are made or listed, and none was named.
        if candidates.is_empty() && *opening == TokenSelector::only() {
            return Ok(Some(TokenSelector::only()));
        }
        if let [token] = candidates.as_slice()
            && is_same(module, token, opening)?
        {
            opened.settled.get_or_insert_with(|| token.clone());
            return Ok(Some(token.clone()));
        }
        if !candidates.contains(opening) {
            candidates.push(opening.clone());
        }
        Err(for_several(&candidates))
    }

    /// Those that have no file of their own, each once however it is named.
    fn candidates(
        &self,
        tokens: Vec<TokenSelector>,
        module: &Pkcs11,
    ) -> Result<Vec<TokenSelector>, ProviderError> {
        let mut distinct: Vec<TokenSelector> = Vec::new();
        for token in tokens {
            let mut is_known = self.has_a_file(&token, module)?;
            for known in &distinct {
                is_known = is_known || is_same(module, known, &token)?;
            }
            if !is_known {
                distinct.push(token);
            }
        }
        Ok(distinct)
    }

    /// Whether the settings give the token a PIN of its own, by its label.
    fn has_a_file(&self, token: &TokenSelector, module: &Pkcs11) -> Result<bool, ProviderError> {
        for (labelled, _) in self.settings.pin_files_of_tokens() {
            if is_same(module, &labelled, token)? {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

fn is_same(module: &Pkcs11, one: &TokenSelector, other: &TokenSelector) -> Result<bool, ProviderError> {
    token::is_same(module, one, other).map_err(ProviderError::from)
}

fn for_several(tokens: &[TokenSelector]) -> ProviderError {
    let tokens: Vec<_> = tokens.iter().map(ToString::to_string).collect();
    let message = format!(
        "a PIN is given, and it may be for several tokens: that with {} (name its token, or give each token its \
         own: `pin-file` under [pkcs11.tokens.LABEL] of the configuration)",
        tokens.join(", that with ")
    );
    invalid(message).with_source(MissingSetting::new(NAME, "token"))
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
