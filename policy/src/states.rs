//! The states of keys, where rules require them: asked once a minute.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use envelope_sdk::{KeyAdmin, KeyDescription, KeyState, KeyUri, ProviderError, registry::Scheme};

/// Asks who manages the keys.
pub(crate) struct States {
    source: Source,
    known: Mutex<HashMap<KeyUri, (Instant, State)>>,
}

enum Source {
    Admin(Arc<dyn KeyAdmin>),
    /// Opened when it is first asked.
    Scheme(Arc<dyn Scheme>),
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct State {
    pub(crate) state: KeyState,
    /// When the use of its current version ends.
    not_after: Option<u64>,
}

impl State {
    pub(crate) fn is_due(self, now: u64) -> bool {
        self.state == KeyState::Active && self.not_after.is_some_and(|end| end <= now)
    }
}

impl States {
    pub(crate) fn new(admin: Arc<dyn KeyAdmin>) -> Self {
        Self { source: Source::Admin(admin), known: Mutex::default() }
    }

    pub(crate) fn of_scheme(scheme: Arc<dyn Scheme>) -> Self {
        Self { source: Source::Scheme(scheme), known: Mutex::default() }
    }

    pub(crate) async fn of(&self, key: &KeyUri) -> Result<State, ProviderError> {
        let known =
            |(asked, state): &(Instant, State)| (asked.elapsed() < ASKS_AGAIN_AFTER).then_some(*state);
        if let Some(state) = self.lock().get(key).and_then(known) {
            return Ok(state);
        }
        let asked = Instant::now();
        let admin = match &self.source {
            Source::Admin(admin) => Arc::clone(admin),
            Source::Scheme(scheme) => scheme.admin(Some(key))?,
        };
        let description = admin.describe_key(key).await?;
        let not_after = KeyDescription::current(&description).and_then(|version| version.not_after);
        let state = State { state: description.state, not_after };
        let mut all = self.lock();
        if all.len() >= MANY {
            all.retain(|_, known| known.0.elapsed() < ASKS_AGAIN_AFTER);
        }
        if all.len() < MANY {
            all.insert(key.clone(), (asked, state));
        }
        Ok(state)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<KeyUri, (Instant, State)>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const ASKS_AGAIN_AFTER: Duration = Duration::from_secs(60);
const MANY: usize = 1024;
