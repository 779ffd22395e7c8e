//! A program that gives secrets and writes down what it was asked for.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use envelope_sdk::{
    ProviderErrorKind,
    secret::{Prompt, SecretError, Secrets},
};
use zeroize::Zeroizing;

/// Secrets that are given, and answers of a person, by their names.
#[derive(Default)]
pub(super) struct Program {
    given: BTreeMap<&'static str, &'static str>,
    answers: BTreeMap<&'static str, &'static str>,
    asked: Mutex<Vec<String>>,
    /// Holds up whoever asks, until there is something in it.
    pub(super) wait: Option<Mutex<std::sync::mpsc::Receiver<()>>>,
}

impl Program {
    /// A program that gives nothing, and nobody sits before it.
    pub(super) fn new() -> Self {
        Self::default()
    }

    pub(super) fn given(mut self, name: &'static str, secret: &'static str) -> Self {
        self.given.insert(name, secret);
        self
    }

    pub(super) fn answers(mut self, name: &'static str, secret: &'static str) -> Self {
        self.answers.insert(name, secret);
        self
    }

    pub(super) fn shared(self) -> Arc<Self> {
        Arc::new(self)
    }

    /// What was asked since the last look: `given NAME`, and of a person
    /// `NAME once: TEXT` or `NAME twice: TEXT`.
    pub(super) fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.asked.lock().unwrap())
    }
}

impl Secrets for Program {
    fn given(&self, name: &str) -> Result<Option<Zeroizing<String>>, SecretError> {
        self.asked.lock().unwrap().push(format!("given {name}"));
        Ok(self.given.get(name).map(|secret| Zeroizing::new((*secret).to_owned())))
    }

    fn ask(&self, name: &str, prompt: &Prompt<'_>) -> Result<Zeroizing<String>, SecretError> {
        if let Some(wait) = &self.wait {
            wait.lock().unwrap().recv().unwrap();
        }
        let times = if prompt.twice { "twice" } else { "once" };
        self.asked.lock().unwrap().push(format!("{name} {times}: {}", prompt.text));
        let nobody = || SecretError::new(ProviderErrorKind::Invalid, "there is nobody to ask");
        self.answers.get(name).map(|secret| Zeroizing::new((*secret).to_owned())).ok_or_else(nobody)
    }
}
