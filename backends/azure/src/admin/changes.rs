//! Changes of the states of keys and versions: enabled, disabled, expired, deleted.

use std::collections::BTreeMap;

use azure_core::http::RequestContent;
use azure_security_keyvault_keys::models::{
    KeyAttributes, KeyClientUpdateKeyPropertiesOptions, UpdateKeyPropertiesParameters,
};
use envelope_sdk::{
    KeyChange, KeyDescription, KeyState, KeyUri, ProviderError,
    ProviderErrorKind::{self, NotFound, Other, State, Unsupported},
    printable,
};

use super::{UPDATE, key::AzureKey, keys::version_told, moment, now, tags, version::AzureVersion};
use crate::{
    AzureKeyVault,
    error::{refusal, words},
    failure::failure,
};

/// What is changed of a version. What is `None` stays.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Patch {
    enabled: Option<bool>,
    not_before: Option<u64>,
    expires: Option<u64>,
    tags: Option<BTreeMap<String, String>>,
}

impl Patch {
    pub(super) fn of_tags(tags: BTreeMap<String, String>) -> Self {
        Self { tags: Some(tags), ..Self::default() }
    }
}

/// A change that may be done.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Plan {
    /// To which versions what.
    Patches(Vec<(String, Patch)>),
    Delete,
}

impl AzureKeyVault {
    /// What a change does, for the change and for its dry run, which so refuse the
    /// same.
    pub(super) async fn plan_change(
        &self,
        key: &KeyUri,
        version: Option<&str>,
        change: KeyChange,
    ) -> Result<Plan, ProviderError> {
        let refuse = |words: &str| Err(failure(Unsupported, key, words));
        let next = match change {
            KeyChange::State(next) => next,
            KeyChange::Archive => return refuse("Azure archives no keys: suspend it, or leave it"),
            _ => return refuse("Azure does not know this change"),
        };
        match next {
            KeyState::PreActive => return refuse("Azure makes no key pre-active again"),
            KeyState::Compromised => return refuse(COMPROMISED),
            KeyState::Destroyed if version.is_some() => {
                return refuse(
                    "Azure deletes a key as a whole, and no single version: suspend the key, or rewrap and leave it",
                );
            }
            _ => {}
        }
        let told = self.describe_ours(key).await?;
        let now = now();
        let plan = match version {
            None => of_key(&told, next, now),
            Some(name) => {
                of_version(self.known_version(key, &told, name)?, told.deleted.is_some(), next, now)
            }
        };
        plan.map_err(|(kind, message)| failure(kind, key, message))
    }

    /// The key, if it is one that is managed here.
    pub(super) async fn describe_ours(&self, key: &KeyUri) -> Result<AzureKey, ProviderError> {
        let told = self.describe(key).await?;
        check_ours(key, &told)?;
        Ok(told)
    }

    fn known_version<'k>(
        &self,
        key: &KeyUri,
        told: &'k AzureKey,
        name: &str,
    ) -> Result<&'k AzureVersion, ProviderError> {
        told.version(name).ok_or_else(|| {
            failure(NotFound, key, format!("the key has no version {}", printable::cut(name, SHOWN)))
        })
    }

    /// Does it, version by version. If one fails, those before it stay as they were made.
    pub(super) async fn carry_out(&self, key: &KeyUri, plan: &Plan) -> Result<(), ProviderError> {
        let patches = match plan {
            Plan::Delete => return self.delete(key).await,
            Plan::Patches(patches) => patches,
        };
        for (at, (version, patch)) in patches.iter().enumerate() {
            if let Err(error) = self.patch(key, version, patch).await {
                if at == 0 {
                    return Err(error);
                }
                let message = format!(
                    "{at} of {} versions were changed, and version {version} was not: {}",
                    patches.len(),
                    error.message()
                );
                return Err(failure(error.kind(), key, message).retryable(error.is_retryable()));
            }
        }
        Ok(())
    }

    /// A change that does the same each time that it is done.
    pub(super) async fn patch(
        &self,
        key: &KeyUri,
        version: &str,
        patch: &Patch,
    ) -> Result<(), ProviderError> {
        let (vault, name) = self.at(key).await?;
        let body = body(patch).ok_or_else(|| failure(Other, key, "the change cannot be written down"))?;
        let sent = self.reach().limits.again(|| async {
            let options = KeyClientUpdateKeyPropertiesOptions {
                key_version: Some(version.to_owned()),
                ..Default::default()
            };
            let body: RequestContent<UpdateKeyPropertiesParameters> = RequestContent::from(body.clone());
            vault.client.update_key_properties(name.key, body, Some(options)).await?.into_model()
        });
        let told = match sent.await {
            Ok(told) => told,
            Err(failed) => return Err(refusal(UPDATE, key, &failed)),
        };
        let told = version_told(key, &vault, name, &told)?;
        let has = |asked: Option<u64>, told: Option<u64>| asked.is_none_or(|asked| told == Some(asked));
        let done = told.version == version
            && patch.enabled.is_none_or(|enabled| told.enabled == enabled)
            && has(patch.not_before, told.not_before)
            && has(patch.expires, told.expires)
            && patch.tags.as_ref().is_none_or(|tags| told.tags == *tags);
        if done {
            return Ok(());
        }
        let message = "the vault answered, and did not do the change: describe the key";
        Err(failure(ProviderErrorKind::Protocol, key, message))
    }

    /// The key after a change.
    pub(super) async fn describe_changed(&self, key: &KeyUri) -> Result<KeyDescription, ProviderError> {
        let described = self.describe(key).await.map_err(|error| {
            let message =
                format!("the key was changed, and could not be described then: {}", error.message());
            // Called again it would be made, or rotated, once more.
            failure(error.kind(), key, message).retryable(false)
        })?;
        Ok(described.describe())
    }

    /// The version whose cryptoperiod is to end then, and what is changed of it.
    pub(super) async fn plan_not_after(
        &self,
        key: &KeyUri,
        version: Option<&str>,
        end: Option<u64>,
    ) -> Result<Plan, ProviderError> {
        let told = self.describe_ours(key).await?;
        if told.deleted.is_some() {
            return Err(failure(State, key, RECOVER_FIRST));
        }
        let version = match version {
            Some(name) => self.known_version(key, &told, name)?,
            None => told.current().ok_or_else(|| failure(NotFound, key, "the key has no version"))?,
        };
        let tags = tags::with_not_after(&version.tags, &version.version, end);
        tags::check(&tags).map_err(|error| error.about(key))?;
        Ok(Plan::Patches(vec![(version.version.clone(), Patch::of_tags(tags))]))
    }
}

/// Refuses a key that is not managed here: one that wraps nothing is not changed as if it
/// were out of use, and the life of a certificate's key is the certificate's.
pub(super) fn check_ours(key: &KeyUri, told: &AzureKey) -> Result<(), ProviderError> {
    if told.managed {
        return Err(failure(Unsupported, key, words::MANAGED));
    }
    if told.wraps() { Ok(()) } else { Err(failure(Unsupported, key, OTHER_KIND)) }
}

/// Refuses what came of a change where it is not what was asked for: a version that was made
/// meanwhile, by a rotation perhaps, was not changed.
pub(super) fn check_changed(
    key: &KeyUri,
    version: Option<&str>,
    change: KeyChange,
    now: &KeyDescription,
) -> Result<(), ProviderError> {
    let KeyChange::State(asked) = change else { return Ok(()) };
    let (what, state) = match version {
        None => ("the key".to_owned(), Some(now.state)),
        Some(name) => {
            let version = now.versions.iter().find(|known| known.version == name);
            (format!("version {}", printable::cut(name, SHOWN)), version.map(|version| version.state))
        }
    };
    // Deleted, a key is suspended until it is purged; and that it is deleted was waited for.
    if asked == KeyState::Destroyed || state == Some(asked) {
        return Ok(());
    }
    let state = state.map_or("not there", KeyState::name);
    let message = format!(
        "the change was made, and {what} is {state} all the same: a version was made, or changed, at the same moment. Describe \
         the key, and change it again"
    );
    Err(failure(Other, key, message))
}

fn body(patch: &Patch) -> Option<Vec<u8>> {
    let has_attributes = patch.enabled.is_some() || patch.not_before.is_some() || patch.expires.is_some();
    let attributes = KeyAttributes {
        enabled: patch.enabled,
        not_before: patch.not_before.and_then(moment),
        expires: patch.expires.and_then(moment),
        ..Default::default()
    };
    let parameters = UpdateKeyPropertiesParameters {
        key_attributes: has_attributes.then_some(attributes),
        tags: patch.tags.clone().map(|tags| tags.into_iter().collect()),
        ..Default::default()
    };
    serde_json::to_vec(&parameters).ok()
}

type Refusal = (ProviderErrorKind, String);

/// A change of the key as a whole: of each version that it concerns.
fn of_key(key: &AzureKey, next: KeyState, now: u64) -> Result<Plan, Refusal> {
    let refuse = |words: &str| Err((State, words.to_owned()));
    if key.deleted.is_some() {
        return match next {
            KeyState::Destroyed => refuse("the key is deleted already, and waits until it is purged"),
            _ => refuse(RECOVER_FIRST),
        };
    }
    let state = key.state(now);
    let Some(current) = key.current() else { return refuse("the key has no version") };
    let set = |enabled: bool| {
        let of = key.versions.iter().filter(move |version| version.enabled != enabled);
        of.map(move |version| (version.version.clone(), Patch { enabled: Some(enabled), ..Patch::default() }))
            .collect::<Vec<_>>()
    };
    // The current one goes first when it is enabled and last when it is disabled: what fails in between can be
    // repeated, since the key as a whole is still, or already, active.
    let enable = || set(true).into_iter().rev().collect::<Vec<_>>();
    let deactivate = || {
        let mut patches = set(true);
        for (version, patch) in &mut patches {
            if *version == current.version && when_enabled(current, now) != KeyState::Deactivated {
                *patch = Patch { enabled: Some(true), ..expired(current, now) };
            }
        }
        patches
    };
    match (state, next) {
        (KeyState::Active, KeyState::Suspended) => Ok(Plan::Patches(set(false))),
        (KeyState::Active, KeyState::Deactivated) => {
            Ok(Plan::Patches(vec![(current.version.clone(), expired(current, now))]))
        }
        (KeyState::PreActive, KeyState::Active) => {
            Ok(Plan::Patches(vec![(current.version.clone(), begun(now))]))
        }
        (KeyState::Suspended, KeyState::Active) => match when_enabled(current, now) {
            KeyState::Active => Ok(Plan::Patches(enable())),
            other => {
                refuse(&format!("enabled, the key would be {other}: its current version is not valid now"))
            }
        },
        (KeyState::Suspended | KeyState::Deactivated, KeyState::Deactivated) => {
            Ok(Plan::Patches(deactivate()))
        }
        (KeyState::Active, KeyState::Active) => Ok(Plan::Patches(enable())),
        (KeyState::Active, KeyState::Destroyed) => {
            refuse("the key is active: suspend it first, and see whether anything still needs it")
        }
        (KeyState::PreActive | KeyState::Suspended | KeyState::Deactivated, KeyState::Destroyed) => {
            Ok(Plan::Delete)
        }
        (from, next) if from == next => Ok(Plan::Patches(Vec::new())),
        (from, next) => Err((State, words_for("the key", from, next))),
    }
}

/// A change of one version.
fn of_version(version: &AzureVersion, deleted: bool, next: KeyState, now: u64) -> Result<Plan, Refusal> {
    if deleted {
        return Err((State, RECOVER_FIRST.to_owned()));
    }
    let what = format!("version {}", version.version);
    let plan = |patch| Ok(Plan::Patches(vec![(version.version.clone(), patch)]));
    let enabled = Patch { enabled: Some(true), ..Patch::default() };
    match (version.standard(now), next) {
        (KeyState::Active, KeyState::Suspended) => plan(Patch { enabled: Some(false), ..Patch::default() }),
        (KeyState::Active, KeyState::Deactivated) => plan(expired(version, now)),
        (KeyState::PreActive, KeyState::Active) if version.current => plan(begun(now)),
        (KeyState::Suspended, KeyState::Active) => match when_enabled(version, now) {
            KeyState::Active => plan(enabled),
            other => Err((
                State,
                format!("enabled, {what} would be {other}: only a current and valid version is active"),
            )),
        },
        (KeyState::Suspended, KeyState::Deactivated) => match when_enabled(version, now) {
            KeyState::Deactivated => plan(enabled),
            _ => plan(Patch { enabled: Some(true), ..expired(version, now) }),
        },
        (from, next) if from == next => Ok(Plan::Patches(Vec::new())),
        (KeyState::Deactivated, KeyState::Suspended) => Err((
            State,
            format!(
                "{what} is deactivated and cannot become suspended: suspend the whole key, and then activate its current version alone"
            ),
        )),
        (from, next) => Err((State, words_for(&what, from, next))),
    }
}

/// What a disabled version would be if it were enabled.
fn when_enabled(version: &AzureVersion, now: u64) -> KeyState {
    AzureVersion { enabled: true, ..version.clone() }.standard(now)
}

/// It wraps no more from now on. Azure wants `exp` after `nbf`.
fn expired(version: &AzureVersion, now: u64) -> Patch {
    let end =
        now.saturating_sub(1).max(version.not_before.map_or(0, |start| start.min(now).saturating_add(1)));
    Patch { expires: Some(end), ..Patch::default() }
}

/// It wraps from now on, on a clock that is a little behind too.
fn begun(now: u64) -> Patch {
    Patch { not_before: Some(now.saturating_sub(SKEW)), ..Patch::default() }
}

fn words_for(what: &str, from: KeyState, next: KeyState) -> String {
    match envelope_sdk::lifecycle::check_transition(what, from, next) {
        Err(words) => words,
        Ok(()) => format!("{what} is {from}, and Azure does not make it {next}"),
    }
}

const OTHER_KIND: &str = "this is a key of another kind, which wraps no DEKs, and is not managed here";
const COMPROMISED: &str = "Azure has no state compromised, in which a key unwraps only: rotate the key and rewrap, or make \
                           it deactivated";
pub(super) const RECOVER_FIRST: &str = "the key is deleted, and waits until it is purged: restore it first";
/// Seconds by which clocks differ.
const SKEW: u64 = 60;
/// Characters that are shown of a word of the caller.
const SHOWN: usize = 100;

#[cfg(test)]
mod tests {
    use super::*;

    fn key(versions: &[(bool, Option<u64>)]) -> AzureKey {
        let uri = KeyUri::parse("azurekeyvault://a.vault.azure.net/keys/k").unwrap();
        let mut versions: Vec<_> = versions
            .iter()
            .enumerate()
            .map(|(at, (enabled, expires))| AzureVersion {
                enabled: *enabled,
                expires: *expires,
                ..AzureVersion::of(&at.to_string(), None, None)
            })
            .collect();
        versions.last_mut().unwrap().current = true;
        AzureKey::new(uri, &Default::default(), versions)
    }

    #[test]
    fn a_whole_key_is_suspended_and_activated_version_by_version() {
        let of = |key: &AzureKey, next| match of_key(key, next, 1000) {
            Ok(Plan::Patches(patches)) => patches.into_iter().map(|(version, _)| version).collect::<Vec<_>>(),
            other => panic!("{other:?}"),
        };
        assert_eq!(of(&key(&[(true, None), (false, None), (true, None)]), KeyState::Suspended), ["0", "2"]);
        assert_eq!(of(&key(&[(false, None), (false, None)]), KeyState::Active), ["1", "0"]);
        assert_eq!(of(&key(&[(true, None), (true, None)]), KeyState::Deactivated), ["1"]);
        // What failed half-way is repeated.
        let (active, deactivated) =
            (key(&[(false, None), (true, None)]), key(&[(true, None), (false, None)]));
        assert_eq!(of(&active, KeyState::Active), ["0"]);
        assert_eq!(of(&deactivated, KeyState::Deactivated), ["1"]);
        assert_eq!(of(&key(&[(true, None), (true, None)]), KeyState::Active), [""; 0]);
        let refused = |key: &AzureKey, next| of_key(key, next, 1000).unwrap_err();
        let expired = refused(&key(&[(false, Some(1))]), KeyState::Active);
        assert!(expired.0 == State && expired.1.contains("is not valid now"), "{expired:?}");
        assert_eq!(of_key(&key(&[(false, None)]), KeyState::Destroyed, 1000), Ok(Plan::Delete));
        let active = refused(&key(&[(true, None)]), KeyState::Destroyed);
        assert!(active.0 == State && active.1.contains("suspend it first"), "{active:?}");
    }

    #[test]
    fn the_end_of_a_version_is_after_its_beginning_and_not_to_come() {
        let version = |start| AzureVersion { not_before: start, ..AzureVersion::of("v", None, None) };
        assert_eq!(expired(&version(None), 1000).expires, Some(999));
        assert_eq!(expired(&version(Some(10)), 1000).expires, Some(999));
        assert_eq!(expired(&version(Some(999)), 1000).expires, Some(1000));
    }
}
