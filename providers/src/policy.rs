//! `[policy]`: whom each key store is opened for, and what they may do; and the log that stands over it.

use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
    sync::Arc,
};

use envelope_policy::{Actor, ActorKind, Decided, Guard, GuardedScheme, Operation, PolicyFile};
use envelope_sdk::{KeyUri, ProviderError, Registry, registry::Scheme};
use serde::Deserialize;

use crate::ProvidersError;

/// The table of the configuration.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct PolicyWords {
    pub(crate) file: PathBuf,
}

/// Every key store, the policy that stands before them, and the log that stands over both.
pub(crate) struct Governed {
    schemes: Vec<Arc<dyn Scheme>>,
    guard: Option<Guard>,
    file: Option<PolicyFile>,
    #[cfg(feature = "audit")]
    log: Option<envelope_audit::LazyLog>,
}

impl Governed {
    pub(crate) fn new(
        schemes: Vec<Arc<dyn Scheme>>,
        file: Option<PolicyFile>,
        actor: Option<Actor>,
        told: Vec<Arc<dyn Decided>>,
    ) -> Result<Self, ProvidersError> {
        let guard = match &file {
            None => None,
            Some(file) => {
                let actor = match actor {
                    Some(actor) => actor,
                    None => this_program()?,
                };
                Some(told.into_iter().fold(Guard::of_file(file, actor), Guard::tell))
            }
        };
        Ok(Self {
            schemes,
            guard,
            file,
            #[cfg(feature = "audit")]
            log: None,
        })
    }

    /// Records what is done, also what the policy denies.
    #[cfg(feature = "audit")]
    pub(crate) fn recorded_in(self, log: Option<envelope_audit::LazyLog>) -> Self {
        Self { log, ..self }
    }

    #[cfg(feature = "audit")]
    pub(crate) fn log(&self) -> Option<&envelope_audit::LazyLog> {
        self.log.as_ref()
    }

    pub(crate) fn file(&self) -> Option<&PolicyFile> {
        self.file.as_ref()
    }

    pub(crate) fn guard(&self) -> Option<&Guard> {
        self.guard.as_ref()
    }

    /// Asks for what uses no key store.
    pub(crate) async fn check(
        &self,
        operation: Operation,
        keys: &[&KeyUri],
        recorded_as: &'static str,
    ) -> Result<(), ProviderError> {
        let Some(guard) = &self.guard else { return Ok(()) };
        let request = || guard.request(operation);
        let requests = keys.iter().map(|key| request().key(key));
        let none = keys.is_empty().then(request);
        let asked = requests.chain(none).try_for_each(|request| guard.check_for("policy", &request));
        #[cfg(not(feature = "audit"))]
        let _ = recorded_as;
        #[cfg(feature = "audit")]
        if let Some(log) = &self.log {
            return match asked {
                Ok(()) => Ok(()),
                Err(denied) => Err(crate::audit::denied(log, recorded_as, denied).await),
            };
        }
        asked
    }

    /// The key stores, as far as the policy lets them be used.
    pub(crate) fn registry(&self) -> Registry {
        self.with(Guard::clone)
    }

    /// For new envelopes of so many recipients.
    pub(crate) fn to_encrypt(&self, recipients: usize) -> Registry {
        self.with(|guard| guard.for_recipients(recipients))
    }

    /// For envelopes that will have so many recipients.
    pub(crate) fn to_rewrap(&self, recipients: usize) -> Registry {
        self.with(|guard| guard.for_rewrap().for_recipients(recipients))
    }

    fn with(&self, guard: impl Fn(&Guard) -> Guard) -> Registry {
        let guard = self.guard.as_ref().map(guard);
        self.schemes.iter().fold(Registry::new(), |registry, scheme| {
            let scheme = Arc::clone(scheme);
            let scheme: Arc<dyn Scheme> = match &guard {
                None => scheme,
                Some(guard) => Arc::new(GuardedScheme::new(scheme, guard.clone())),
            };
            #[cfg(feature = "audit")]
            let scheme = match &self.log {
                None => scheme,
                Some(log) => crate::audit::recorded(scheme, log),
            };
            registry.with_arc(scheme)
        })
    }
}

/// `library:` and the name of the program's file.
pub(crate) fn this_program() -> Result<Actor, ProvidersError> {
    let program = program();
    let name = program.as_deref().and_then(Path::file_name).and_then(OsStr::to_str);
    Actor::new(ActorKind::Library, name.unwrap_or("unknown")).map_err(|error| ProvidersError::Actor { error })
}

/// The program's file, by the name that it was started by.
pub(crate) fn program() -> Option<PathBuf> {
    std::env::current_exe().ok().map(|path| as_started(&path))
}

/// Linux writes ` (deleted)` behind the name of a file that is gone, also where an upgrade has put another in its
/// place (proc(5)). Who runs on is who it was: a policy must not take it for somebody else.
fn as_started(path: &Path) -> PathBuf {
    let name = path.file_name().and_then(OsStr::to_str).and_then(|name| name.strip_suffix(" (deleted)"));
    match name {
        // Also where that cannot be looked at, as by who has given rights away since: it is the rarer name by far.
        Some(name) if !name.is_empty() && !matches!(path.try_exists(), Ok(true)) => path.with_file_name(name),
        _ => path.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_whose_folder_cannot_be_looked_at_is_called_as_it_was_started() {
        // A name that is too long: root may look everywhere.
        let folder = Path::new("/").join("n".repeat(300));
        assert!(folder.join("billing (deleted)").try_exists().is_err());
        assert_eq!(as_started(&folder.join("billing (deleted)")), folder.join("billing"));
        assert_eq!(as_started(&folder.join("billing")), folder.join("billing"));
    }
}
