//! Secrets of the environment, and asking one thing after the other.

use std::{
    env,
    sync::{Arc, Mutex, PoisonError},
};

use envelope_sdk::{
    ProviderErrorKind,
    secret::{Prompt, SecretError, Secrets},
};
use zeroize::Zeroizing;

/// Gives the secrets that the environment holds: `ENVCTL_PASSPHRASE` for
/// `passphrase`, `ENVCTL_PKCS11_PIN` for `pkcs11-pin`. A variable that is empty
/// is as good as none. Nobody is asked.
///
/// Other processes of the same user, and every program that this one starts, can
/// read the environment: a file that the configuration names is better.
#[derive(Debug, Clone, Copy, Default)]
pub struct EnvironmentSecrets;

impl EnvironmentSecrets {
    /// The variable of a secret, or of another setting, of this name.
    #[must_use]
    pub fn variable(name: &str) -> String {
        format!("ENVCTL_{}", name.to_ascii_uppercase().replace('-', "_"))
    }
}

impl Secrets for EnvironmentSecrets {
    fn given(&self, name: &str) -> Result<Option<Zeroizing<String>>, SecretError> {
        let variable = Self::variable(name);
        match env::var(&variable) {
            Ok(value) if value.is_empty() => Ok(None),
            Ok(value) => Ok(Some(Zeroizing::new(value))),
            Err(env::VarError::NotPresent) => Ok(None),
            Err(env::VarError::NotUnicode(_)) => {
                Err(SecretError::new(ProviderErrorKind::Invalid, format!("${variable} is not UTF-8")))
            }
        }
    }

    fn ask(&self, name: &str, _prompt: &Prompt<'_>) -> Result<Zeroizing<String>, SecretError> {
        let message = format!("the secret {name} is needed: give it as ${}", Self::variable(name));
        Err(SecretError::new(ProviderErrorKind::Invalid, message))
    }
}

/// Asks one question after the other: several keys are used at once, and a person
/// can answer one.
pub(crate) struct InTurn {
    secrets: Arc<dyn Secrets>,
    turn: Mutex<()>,
}

impl InTurn {
    pub(crate) fn new(secrets: Arc<dyn Secrets>) -> Self {
        Self { secrets, turn: Mutex::default() }
    }
}

impl Secrets for InTurn {
    fn given(&self, name: &str) -> Result<Option<Zeroizing<String>>, SecretError> {
        self.secrets.given(name)
    }

    fn is_given(&self, name: &str) -> bool {
        self.secrets.is_given(name)
    }

    fn ask(&self, name: &str, prompt: &Prompt<'_>) -> Result<Zeroizing<String>, SecretError> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        self.secrets.ask(name, prompt)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_has_the_variable_that_envctl_reads() {
        assert_eq!(EnvironmentSecrets::variable("keystore-passphrase"), "ENVCTL_KEYSTORE_PASSPHRASE");
        assert_eq!(EnvironmentSecrets::variable("pkcs11-pin"), "ENVCTL_PKCS11_PIN");
    }

    #[test]
    fn nobody_is_asked_and_the_error_says_where_to_give_it() {
        let error = EnvironmentSecrets.ask("no-such-secret", &Prompt::once("Secret")).unwrap_err();
        assert_eq!(error.kind(), ProviderErrorKind::Invalid);
        assert_eq!(
            error.to_string(),
            "the secret no-such-secret is needed: give it as $ENVCTL_NO_SUCH_SECRET"
        );
        assert_eq!(EnvironmentSecrets.given("no-such-secret"), Ok(None));
    }
}
