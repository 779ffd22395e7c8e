//! A key in use: what it wrapped, and whether its states are enforced.

use envelope_sdk::{
    Dek, KeyChange, KeyDescription, KeyState, KeyUri, KeyUse,
    ProviderErrorKind::{self, NotFound, State},
    WrappedDek,
};

use super::super::ask::{Step, context, fails, fresh_dek, must_not_rewrap, must_refuse, told, wait};
use super::AdminBackend;
use super::ask::{change, describe, is_unsupported, must, must_create};

/// A key, and what it wrapped while it could.
pub(super) struct Used {
    pub(super) key: KeyUri,
    wraps: Vec<(Dek, WrappedDek)>,
}

impl Used {
    /// A new active key, which wrapped once.
    pub(super) fn new(backend: &dyn AdminBackend) -> Step<Self> {
        let key = must_create(backend, &backend.new_key())?.uri;
        let mut used = Self { key, wraps: Vec::new() };
        used.wrap(backend)?;
        Ok(used)
    }

    /// Rotates it, and wraps once more. Where the key store rotates nothing, the
    /// check is not run.
    pub(super) fn rotate(&mut self, backend: &dyn AdminBackend) -> Step<()> {
        must("rotating", wait(backend, backend.admin().rotate_key(&self.key))?)?;
        self.wrap(backend)
    }

    /// Wraps where nothing stands against it.
    pub(super) fn wrap(&mut self, backend: &dyn AdminBackend) -> Step<()> {
        let dek = fresh_dek();
        let wrapped = wait(backend, backend.provider().wrap_dek(&self.key, &dek, &context()))?
            .or_else(|error| fails(format!("wrapping with {} failed: {}", self.key, told(&error))))?;
        self.wraps.push((dek, wrapped));
        Ok(())
    }

    /// The version of its first wrap.
    pub(super) fn oldest(&self) -> Option<&str> {
        self.wraps.first().map(|(_, wrapped)| wrapped.key_version())
    }

    /// The version of its last wrap.
    pub(super) fn latest(&self) -> Option<&str> {
        self.wraps.last().map(|(_, wrapped)| wrapped.key_version())
    }

    /// Demands that the provider does what the described states permit and nothing
    /// else ([`KeyState::permits`]): the key and its current version for a wrap, the
    /// key and the version of each wrap to open it. A version that is no
    /// longer described is destroyed, and so is a key that is not found.
    pub(super) fn must_be_enforced(&self, backend: &dyn AdminBackend, when: &str) -> Step<()> {
        let described = match describe(backend, &self.key)? {
            Ok(described) => Some(described),
            Err(error) if error.kind() == NotFound => None,
            Err(error) => return fails(format!("{when}: it is not described: {}", told(&error))),
        };
        let key = described.as_ref().map_or(KeyState::Destroyed, |described| described.state);
        let current = described.as_ref().and_then(KeyDescription::current);
        let current_state = current.map_or(KeyState::Destroyed, |current| current.state);
        let wraps = key.permits(KeyUse::Wrap) && current_state.permits(KeyUse::Wrap);
        let named = current.map_or("", |current| current.version.as_str());
        self.must_wrap_or_not(backend, when, wraps.then_some(named), kinds(key, current_state))?;
        for (dek, wrapped) in &self.wraps {
            let version = described.iter().flat_map(|described| &described.versions);
            let version = version
                .filter(|version| version.version == wrapped.key_version())
                .map(|version| version.state)
                .next_back();
            let state = version.unwrap_or(KeyState::Destroyed);
            let opens = key.permits(KeyUse::Unwrap) && state.permits(KeyUse::Unwrap);
            let what = format!(
                "{when}, a wrap of version {:?}, which is {state} of a key that is {key}",
                wrapped.key_version()
            );
            let outcome = wait(backend, backend.provider().unwrap_dek(wrapped, &context()))?;
            match outcome {
                Ok(back) if opens && back.expose() == dek.expose() => {}
                Ok(_) if opens => return fails(format!("{what}: it gave another DEK")),
                Err(error) if opens => return fails(format!("{what}: it does not open: {}", told(&error))),
                outcome => drop(must_refuse(&what, outcome, kinds(key, state))?),
            }
            if !(opens && wraps) {
                let rewrapped = wait(backend, backend.provider().rewrap_dek(wrapped, &self.key, &context()))?;
                must_not_rewrap(&format!("{what}, rewrapped"), rewrapped, &[State, NotFound])?;
            }
        }
        Ok(())
    }

    /// Demands a wrap under the version of that name, or that there is none.
    fn must_wrap_or_not(
        &self,
        backend: &dyn AdminBackend,
        when: &str,
        version: Option<&str>,
        kinds: &[ProviderErrorKind],
    ) -> Step<()> {
        let (provider, dek, context) = (backend.provider(), fresh_dek(), context());
        let outcome = wait(backend, provider.wrap_dek(&self.key, &dek, &context))?;
        let Some(version) = version else {
            must_refuse(&format!("{when}, a wrap"), outcome, kinds)?;
            let generated = wait(backend, provider.generate_dek(&self.key, &context))?;
            return must_refuse(&format!("{when}, a generated DEK"), generated, kinds).map(drop);
        };
        let wrapped =
            outcome.or_else(|error| fails(format!("{when}, it does not wrap: {}", told(&error))))?;
        if wrapped.key_version() != version {
            let by = wrapped.key_version();
            return fails(format!("{when}, version {version:?} is current, and {by:?} wraps"));
        }
        match wait(backend, provider.unwrap_dek(&wrapped, &context))? {
            Ok(back) if back.expose() == dek.expose() => Ok(()),
            Ok(_) => fails(format!("{when}, its new wrap gave another DEK")),
            Err(error) => fails(format!("{when}, its new wrap does not open: {}", told(&error))),
        }
    }
}

/// A new key in this state, with one version or rotated once, or `None` if the key
/// store cannot bring it there. Its states are enforced.
pub(super) fn reach(backend: &dyn AdminBackend, state: KeyState, rotated: bool) -> Step<Option<Used>> {
    use KeyState::{Active, Compromised, Deactivated, Destroyed, PreActive, Suspended};
    let when = format!("a key that is {state}");
    if state == PreActive && rotated {
        return Ok(None);
    }
    if state == PreActive {
        let new = backend.new_key().pre_active();
        let used = match wait(backend, backend.admin().create_key(&new))? {
            Ok(created) => Used { key: created.uri, wraps: Vec::new() },
            Err(error) if is_unsupported(&error) => return Ok(None),
            Err(error) => return fails(format!("creating a pre-active key failed: {}", told(&error))),
        };
        used.must_be_enforced(backend, &when)?;
        return Ok(Some(used));
    }
    let ways: &[&[KeyState]] = match state {
        Active => &[&[]],
        Suspended => &[&[Suspended]],
        Deactivated => &[&[Deactivated]],
        Compromised => &[&[Compromised]],
        // Where a key cannot be deactivated, a suspended one is destroyed.
        Destroyed => &[&[Deactivated, Destroyed], &[Suspended, Destroyed]],
        _ => &[],
    };
    for way in ways {
        let mut used = Used::new(backend)?;
        if rotated {
            used.rotate(backend)?;
        }
        let mut there = true;
        for next in *way {
            match change(backend, &used.key, None, KeyChange::State(*next))? {
                Ok(_) => {}
                Err(error) if is_unsupported(&error) => {
                    there = false;
                    break;
                }
                Err(error) => return fails(format!("making {} {next} failed: {}", used.key, told(&error))),
            }
        }
        if there {
            used.must_be_enforced(backend, &when)?;
            return Ok(Some(used));
        }
    }
    Ok(None)
}

/// How a use is refused that these states do not permit.
fn kinds(key: KeyState, version: KeyState) -> &'static [ProviderErrorKind] {
    let is_gone = key == KeyState::Destroyed || version == KeyState::Destroyed;
    if is_gone { &[State, NotFound] } else { &[State] }
}
