//! What every [`KeyProvider`] must do, as a suite that runs against any of them.
//! The suites of [`admin`] and [`scheme`] are the same for who manages its keys
//! and for what opens it by settings.
//!
//! A test describes the provider as a [`Backend`], calls [`run`] and demands
//! that the [`Report`] [conforms](Report::assert_conforms). Each check is a
//! function of [`checks`] whose name says what must hold. What a backend cannot
//! do (rotate, suspend, …) is listed as not run, with the reason: nothing passes
//! silently.
//!
//! The suite needs no runtime. It blocks the calling thread and drives futures
//! by [`Backend::block_on`], from up to 64 threads at once; a provider that needs
//! tokio overrides that method.
//!
//! ```
//! use std::sync::Arc;
//! use envelope_sdk::KeyUri;
//! use envelope_testkit::{MemoryProvider, conformance::{self, Backend, Subject}};
//!
//! struct Memory(Arc<MemoryProvider>);
//!
//! impl Backend for Memory {
//!     fn subject(&self) -> Subject {
//!         Subject::new(self.0.clone(), MemoryProvider::key("one"))
//!     }
//!     fn other_subject(&self) -> Subject {
//!         Subject::new(self.0.clone(), MemoryProvider::key("two"))
//!     }
//!     fn unknown_key(&self) -> Option<KeyUri> {
//!         Some(MemoryProvider::key("three"))
//!     }
//! }
//!
//! let provider = MemoryProvider::new()
//!     .with_key(&MemoryProvider::key("one"))
//!     .with_key(&MemoryProvider::key("two"));
//! conformance::run(&Memory(Arc::new(provider))).assert_conforms();
//! ```

pub mod admin;
mod ask;
pub mod checks;
pub mod live;
mod report;
pub mod scheme;

use std::{pin::Pin, sync::Arc};

use envelope_sdk::{KeyAdmin, KeyChange, KeyProvider, KeyState, KeyUri, ProviderErrorKind};

pub use report::{Check, Failure, Outcome, Report};

/// A provider and the keys to test it with.
///
/// A factory of subjects rather than one provider, because some checks change a
/// key for good. Where a method may panic, it stops the check with that panic.
pub trait Backend: Sync {
    /// An active key and its provider.
    ///
    /// A backend whose [`apply`](Self::apply) changes keys returns a new key at
    /// each call; another may return the same one. The key may be configured by
    /// an alias.
    fn subject(&self) -> Subject;

    /// A key under which nothing opens that a [`subject`](Self::subject)
    /// wrapped: another one of the same provider, or the same key URI at a
    /// provider with another secret.
    fn other_subject(&self) -> Subject;

    /// A key URI that the provider of a subject could have, and has not.
    fn unknown_key(&self) -> Option<KeyUri> {
        None
    }

    /// A key whose server does not answer, such as at an endpoint with a closed
    /// port. A provider without a server has none.
    fn unreachable(&self) -> Option<Subject> {
        None
    }

    /// The provider of a subject made once more: another login at the same key
    /// store, such as a provider that is opened a second time with the same
    /// settings. For the check of a provider that rewraps.
    fn another_instance(&self) -> Option<Arc<dyn KeyProvider>> {
        None
    }

    /// Moves the key of a subject through its life, for the checks of rotation
    /// and states. [`apply_with_admin`] does it where a [`KeyAdmin`] manages the
    /// keys.
    fn apply(&self, subject: &Subject, change: Change) -> Applied {
        let _ = (subject, change);
        Applied::NotPossible("this backend offers no changes of keys".into())
    }

    /// Runs a future to its end on the calling thread. A provider that needs
    /// tokio returns `runtime.block_on(future)` of a multi-thread runtime.
    fn block_on(&self, future: Task<'_>) {
        futures_executor::block_on(future);
    }
}

/// A future that [`Backend::block_on`] runs.
pub type Task<'t> = Pin<Box<dyn Future<Output = ()> + Send + 't>>;

/// A key and the provider that has it.
#[derive(Clone)]
pub struct Subject {
    /// The provider.
    pub provider: Arc<dyn KeyProvider>,
    /// The key as a caller configures it: resolved, or an alias.
    pub key: KeyUri,
}

impl Subject {
    /// A key and its provider.
    #[must_use]
    pub fn new(provider: Arc<dyn KeyProvider>, key: KeyUri) -> Self {
        Self { provider, key }
    }
}

/// What is done to a key. The states are those of [`KeyState`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Change {
    /// Adds a version, which wraps from now on.
    Rotate,
    /// Active to suspended.
    Suspend,
    /// Suspended to active.
    Activate,
    /// Active to deactivated.
    Deactivate,
    /// Active to compromised.
    Compromise,
    /// Deactivated, or suspended where the backend cannot deactivate, to
    /// destroyed or on an unstoppable way there.
    Destroy,
}

/// What became of a [`Change`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Applied {
    /// It is done, and the provider of the subject knows.
    Done,
    /// The backend has no such change, and why. The check is reported as not
    /// run.
    NotPossible(String),
    /// It should have been possible, and why it failed. The check fails.
    Failed(String),
}

/// Applies `change` as [`KeyAdmin`] says. A refusal of kind
/// [`ProviderErrorKind::Unsupported`] means that it is not possible.
pub async fn apply_with_admin(admin: &dyn KeyAdmin, key: &KeyUri, change: Change) -> Applied {
    let state = match change {
        Change::Rotate => return applied(admin.rotate_key(key).await.map(drop)),
        Change::Suspend => KeyState::Suspended,
        Change::Activate => KeyState::Active,
        Change::Deactivate => KeyState::Deactivated,
        Change::Compromise => KeyState::Compromised,
        Change::Destroy => KeyState::Destroyed,
    };
    applied(admin.change_key(key, None, KeyChange::State(state)).await.map(drop))
}

/// Runs every check, one after the other.
pub fn run(backend: &dyn Backend) -> Report {
    report::run(checks::ALL.iter().map(|(name, check)| (*name, move || check(backend))))
}

fn applied(outcome: Result<(), envelope_sdk::ProviderError>) -> Applied {
    match outcome {
        Ok(()) => Applied::Done,
        Err(error) if error.kind() == ProviderErrorKind::Unsupported => {
            Applied::NotPossible(error.to_string())
        }
        Err(error) => Applied::Failed(error.to_string()),
    }
}
