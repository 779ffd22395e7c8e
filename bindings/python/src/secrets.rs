//! Secrets that a Python program gives: as they are, or by a function that is called when one is needed.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use envelope_providers::EnvironmentSecrets;
use envelope_sdk::{
    ProviderErrorKind,
    secret::{Prompt, SecretError, Secrets},
};
use pyo3::{
    exceptions::PyTypeError,
    prelude::*,
    types::{PyByteArray, PyBytes, PyString},
};
use zeroize::Zeroizing;

/// The secrets of one [`Providers`](crate::providers::Providers), and those of the environment for all other names.
pub(crate) struct Given(HashMap<String, Mutex<Secret>>);

enum Secret {
    Known(Zeroizing<String>),
    Asked(Py<PyAny>),
}

impl Given {
    /// `secrets` by their names: a text, bytes in UTF-8, or a function without arguments that returns either.
    pub(crate) fn new(secrets: Vec<(String, Bound<'_, PyAny>)>) -> PyResult<Arc<Self>> {
        let secret = |(name, value): (String, Bound<'_, PyAny>)| {
            let secret = if value.is_callable() {
                Secret::Asked(value.unbind())
            } else {
                Secret::Known(text(&value)?)
            };
            Ok((name, Mutex::new(secret)))
        };
        secrets.into_iter().map(secret).collect::<PyResult<_>>().map(|secrets| Arc::new(Self(secrets)))
    }
}

impl Secrets for Given {
    fn given(&self, name: &str) -> Result<Option<Zeroizing<String>>, SecretError> {
        let Some(secret) = self.0.get(name) else { return EnvironmentSecrets.given(name) };
        let mut secret = secret.lock().unwrap_or_else(PoisonError::into_inner);
        if let Secret::Asked(function) = &*secret {
            // Attached for the call alone, and never while somebody attached waits for the lock: who takes it is detached.
            let answer = Python::attach(|py| text(&function.bind(py).call0()?));
            let answer = answer.map_err(|error| {
                let raised = Python::attach(|py| error.get_type(py).to_string());
                // Its words may hold the secret.
                let message = format!("the function that gives the secret {name} raised {raised}");
                SecretError::new(ProviderErrorKind::Other, message)
            })?;
            *secret = Secret::Known(answer);
        }
        match &*secret {
            Secret::Known(secret) => Ok(Some(secret.clone())),
            Secret::Asked(_) => Ok(None),
        }
    }

    /// A function is there to give one: it is called when that is used, and not to learn this.
    fn is_given(&self, name: &str) -> bool {
        let Some(secret) = self.0.get(name) else { return EnvironmentSecrets.is_given(name) };
        match &*secret.lock().unwrap_or_else(PoisonError::into_inner) {
            Secret::Known(secret) => !secret.is_empty(),
            Secret::Asked(_) => true,
        }
    }

    fn ask(&self, name: &str, prompt: &Prompt<'_>) -> Result<Zeroizing<String>, SecretError> {
        EnvironmentSecrets.ask(name, prompt).map_err(|error| {
            error.with_hint(format!("give it as `passphrase` or `secrets={{{name:?}: …}}` to Providers"))
        })
    }
}

/// The text of a secret. No error repeats it.
fn text(value: &Bound<'_, PyAny>) -> PyResult<Zeroizing<String>> {
    let wrong = |what: &str| PyTypeError::new_err(format!("a secret is {what}"));
    if let Ok(text) = value.cast::<PyString>() {
        let text = text.to_str().map_err(|_| wrong("text without half surrogates"))?;
        return Ok(Zeroizing::new(text.to_owned()));
    }
    let bytes = if let Ok(bytes) = value.cast::<PyBytes>() {
        Zeroizing::new(bytes.as_bytes().to_vec())
    } else if let Ok(bytes) = value.cast::<PyByteArray>() {
        Zeroizing::new(bytes.to_vec())
    } else {
        return Err(wrong("str, bytes in UTF-8, or a function that returns one"));
    };
    match std::str::from_utf8(&bytes) {
        Ok(text) => Ok(Zeroizing::new(text.to_owned())),
        Err(_) => Err(wrong("bytes in UTF-8, and these are not")),
    }
}
