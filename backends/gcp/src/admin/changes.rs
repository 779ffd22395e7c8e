//! Changes of the states of keys and versions: enabled, disabled, destroyed.

use envelope_sdk::{
    KeyChange, KeyDescription, KeyState, KeyUri, ProviderError,
    ProviderErrorKind::{self, AccessDenied, NotFound, Other, Protocol, State, Unsupported},
    printable,
};
use google_cloud_kms_v1::model::{CryptoKeyVersion, crypto_key_version::CryptoKeyVersionState};
use google_cloud_wkt::FieldMask;

use super::{
    DESTROY_VERSION, OTHER_PLACE, RESTORE_VERSION, UPDATE_VERSION, key::GcpKey, version::GcpVersion,
};
use crate::{
    GcpKms,
    call::Within,
    error::{Failed, failure},
    reach::Settled,
};

/// What KMS does to a version for a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    Enable,
    Disable,
    /// Schedules its destruction.
    Destroy,
    Restore,
}

/// A change that may be done: to which versions what.
pub(super) struct Plan {
    step: Step,
    versions: Vec<String>,
    /// How many versions there were.
    pub(super) known: usize,
}

impl GcpKms {
    /// What a change does, for the change and for its dry run, which so refuse the
    /// same.
    pub(super) async fn plan_change(
        &self,
        key: &KeyUri,
        version: Option<&str>,
        change: KeyChange,
    ) -> Result<Plan, ProviderError> {
        let next = match change {
            KeyChange::State(next) => next,
            KeyChange::Archive => {
                return Err(failure(Unsupported, key, "Cloud KMS archives no keys: suspend it, or leave it"));
            }
            _ => return Err(failure(Unsupported, key, "Cloud KMS does not know this change")),
        };
        if matches!(next, KeyState::PreActive | KeyState::Compromised)
            || (next == KeyState::Deactivated && version.is_none())
        {
            return Err(failure(Unsupported, key, has_not(next)));
        }
        let told = self.describe(key).await?;
        check_wraps(&told)?;
        let plan = match version {
            None => of_key(&told, next),
            Some(number) => match told.version(number) {
                Some(version) => of_version(version, next),
                None => {
                    let message = format!("the key has no version {}", printable::cut(number, SHOWN));
                    return Err(failure(NotFound, key, message));
                }
            },
        };
        plan.map_err(|(kind, message)| failure(kind, key, message))
    }

    /// Does it, version by version. If one fails, those before it stay as they were made.
    pub(super) async fn carry_out(&self, key: &KeyUri, plan: &Plan) -> Result<(), ProviderError> {
        for (at, version) in plan.versions.iter().enumerate() {
            if let Err(error) = self.take_step(key, version, plan.step).await {
                if at == 0 {
                    return Err(error);
                }
                let message = format!(
                    "{at} of {} versions were changed, and version {version} was not: {}",
                    plan.versions.len(),
                    error.message()
                );
                return Err(failure(error.kind(), key, message).retryable(error.is_retryable()));
            }
        }
        Ok(())
    }

    async fn take_step(&self, key: &KeyUri, version: &str, step: Step) -> Result<(), ProviderError> {
        let name = format!("{}/cryptoKeyVersions/{version}", self.resource(key)?.text);
        let Settled { client, limits } = self.settled().await?;
        let deadline = limits.deadline();
        let (call, sent) = match step {
            Step::Enable | Step::Disable => {
                let state = if step == Step::Enable {
                    CryptoKeyVersionState::Enabled
                } else {
                    CryptoKeyVersionState::Disabled
                };
                let changed = CryptoKeyVersion::new().set_name(&name).set_state(state);
                let call = client.update_crypto_key_version().set_crypto_key_version(changed);
                let call = call.set_update_mask(FieldMask::default().set_paths(["state"]));
                (UPDATE_VERSION, limits.again(call).send().until(deadline).await)
            }
            Step::Destroy => {
                let call = client.destroy_crypto_key_version().set_name(&name);
                (DESTROY_VERSION, limits.again(call).send().until(deadline).await)
            }
            Step::Restore => {
                let call = client.restore_crypto_key_version().set_name(&name);
                (RESTORE_VERSION, limits.again(call).send().until(deadline).await)
            }
        };
        match sent {
            Ok(now) if now.name == name => Ok(()),
            Ok(_) => Err(failure(Protocol, key, OTHER_PLACE)),
            Err(failed) => {
                self.unless_done(key, version, step, &failed, self.refused(call, key, &failed)).await
            }
        }
    }

    /// The error of a step, unless it is done all the same: its answer, or that of an
    /// earlier attempt, may have been lost.
    async fn unless_done(
        &self,
        key: &KeyUri,
        version: &str,
        step: Step,
        failed: &Failed,
        refused: ProviderError,
    ) -> Result<(), ProviderError> {
        // No earlier attempt was permitted either.
        if refused.kind() == AccessDenied || failed.was_not_sent() {
            return Err(refused);
        }
        let Ok(now) = self.version_now(key, version).await else { return Err(refused) };
        let is_done = match step {
            Step::Enable => now.state.is_enabled(),
            Step::Disable => now.state.is_disabled(),
            Step::Destroy => {
                now.state.is_scheduled_for_destruction() || now.standard() == KeyState::Destroyed
            }
            Step::Restore => now.state.is_disabled() || now.state.is_enabled(),
        };
        if is_done { Ok(()) } else { Err(refused) }
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

    /// The versions whose destruction can be cancelled.
    pub(super) async fn plan_restoration(&self, key: &KeyUri) -> Result<Plan, ProviderError> {
        let told = self.describe(key).await?;
        check_wraps(&told)?;
        let waiting = numbers(&told, |version| version.state.is_scheduled_for_destruction());
        if waiting.is_empty() {
            let message = "no version of the key waits for its destruction: there is nothing to restore";
            return Err(failure(State, key, message));
        }
        Ok(Plan { step: Step::Restore, versions: waiting, known: told.versions.len() })
    }
}

/// Refuses what came of a change where a version that was made meanwhile, by a rotation
/// perhaps, has the key in another state than was asked for: it was not changed.
pub(super) fn check_changed(
    key: &KeyUri,
    version: Option<&str>,
    change: KeyChange,
    known: usize,
    now: &KeyDescription,
) -> Result<(), ProviderError> {
    let (None, KeyChange::State(asked)) = (version, change) else { return Ok(()) };
    // Where no version is new, what is told may be as it was before: a change takes its time.
    if now.versions.len() <= known || now.state == asked {
        return Ok(());
    }
    let message = format!(
        "the change was made, and the key is {} all the same: a version was made at the same moment. Describe the key, and \
         change it again",
        now.state
    );
    Err(failure(Other, key, message))
}

type Refusal = (ProviderErrorKind, String);

/// A key for signatures has no primary version, by which it would be told to be in use.
fn check_wraps(key: &GcpKey) -> Result<(), ProviderError> {
    if key.wraps {
        return Ok(());
    }
    let message = "it is no key that wraps (its purpose is not ENCRYPT_DECRYPT): manage it with `gcloud kms`";
    Err(failure(Unsupported, &key.uri, message))
}

/// A change of the key as a whole: of each version that it concerns.
fn of_key(key: &GcpKey, next: KeyState) -> Result<Plan, Refusal> {
    let state = key.state();
    let waits = key.versions.iter().any(|version| version.state.is_scheduled_for_destruction());
    let refuse = |words: &str| Err((State, words.to_owned()));
    let plan = |step, versions| Ok(Plan { step, versions, known: key.versions.len() });
    // The primary one goes first when it is enabled and last when it is disabled: what fails in between can be
    // repeated, since the key as a whole is still, or already, active.
    let enable = || {
        let mut versions = numbers(key, |version| version.primary && version.state.is_disabled());
        versions.extend(numbers(key, |version| !version.primary && version.state.is_disabled()));
        plan(Step::Enable, versions)
    };
    match (state, next) {
        (KeyState::Destroyed, KeyState::Destroyed) => refuse("the key is destroyed already"),
        (KeyState::Destroyed, _) => refuse("the key is destroyed, and stays so"),
        (KeyState::PreActive, _) => {
            refuse("the key waits for its key material: it is active as soon as that is there")
        }
        (KeyState::Active, KeyState::Active) => enable(),
        (KeyState::Active, KeyState::Suspended) => {
            let mut versions = numbers(key, |version| !version.primary && version.state.is_enabled());
            versions.extend(numbers(key, |version| version.primary && version.state.is_enabled()));
            plan(Step::Disable, versions)
        }
        (KeyState::Active, KeyState::Destroyed) => {
            refuse("the key is active: suspend it first, and see whether anything still needs it")
        }
        (KeyState::Suspended, KeyState::Destroyed)
            if !key.versions.iter().any(|it| it.state.is_disabled()) =>
        {
            refuse(SCHEDULED_ALREADY)
        }
        (KeyState::Suspended | KeyState::Deactivated, KeyState::Destroyed) => {
            let of = |version: &GcpVersion| version.state.is_enabled() || version.state.is_disabled();
            plan(Step::Destroy, numbers(key, of))
        }
        (KeyState::Suspended, KeyState::Active)
            if !key.primary().is_some_and(|it| it.state.is_disabled()) =>
        {
            refuse(if waits { RESTORE_FIRST } else { "the key has no primary version that could be enabled" })
        }
        (KeyState::Suspended, KeyState::Active) => enable(),
        (KeyState::Suspended, KeyState::Suspended) if waits => refuse(RESTORE_FIRST),
        (KeyState::Suspended, KeyState::Suspended) => plan(Step::Disable, Vec::new()),
        (from, next) => Err((State, words_for("the key", from, next))),
    }
}

/// A change of one version.
fn of_version(version: &GcpVersion, next: KeyState) -> Result<Plan, Refusal> {
    let what = format!("version {}", version.version);
    let refuse = |words: String| Err((State, words));
    let plan = |step| Ok(Plan { step, versions: vec![version.version.clone()], known: 1 });
    if version.state.is_scheduled_for_destruction() {
        return refuse(match next {
            KeyState::Destroyed => SCHEDULED_ALREADY.to_owned(),
            _ => RESTORE_FIRST.to_owned(),
        });
    }
    match (version.standard(), next) {
        (KeyState::Active | KeyState::Suspended, KeyState::Deactivated) if version.primary => {
            Err((Unsupported, has_not(KeyState::Deactivated)))
        }
        (KeyState::Active, KeyState::Destroyed) => {
            refuse(format!("{what} is active: suspend it first, and see whether anything still needs it"))
        }
        (KeyState::Active, KeyState::Suspended) => plan(Step::Disable),
        (KeyState::Suspended, KeyState::Active) if !version.primary => refuse(format!(
            "{what} is not the primary version, which alone is active: it may become deactivated, and open what it wrapped"
        )),
        (KeyState::Suspended, KeyState::Active | KeyState::Deactivated) => plan(Step::Enable),
        (KeyState::Suspended | KeyState::Deactivated, KeyState::Destroyed)
            if version.state.is_enabled() || version.state.is_disabled() =>
        {
            plan(Step::Destroy)
        }
        (from, next) if from == next && from != KeyState::Destroyed && from != KeyState::PreActive => {
            Ok(Plan { step: Step::Enable, versions: Vec::new(), known: 1 })
        }
        (KeyState::Deactivated, KeyState::Suspended) => refuse(format!(
            "{what} is deactivated and cannot become suspended: destroy it, which can be cancelled, or suspend the whole key"
        )),
        (from, next) => refuse(words_for(&what, from, next)),
    }
}

fn words_for(what: &str, from: KeyState, next: KeyState) -> String {
    match envelope_sdk::lifecycle::check_transition(what, from, next) {
        Err(words) => words,
        Ok(()) => format!("{what} is {from}, and Cloud KMS does not make it {next}"),
    }
}

fn numbers(key: &GcpKey, fits: impl Fn(&GcpVersion) -> bool) -> Vec<String> {
    key.versions.iter().filter(|version| fits(version)).map(|version| version.version.clone()).collect()
}

/// What KMS has no state for, and what does the same.
fn has_not(state: KeyState) -> String {
    match state {
        KeyState::Deactivated => {
            "Cloud KMS does not deactivate a primary version, nor a whole key: rotate the key, which deactivates the \
             version, or take roles/cloudkms.cryptoKeyEncrypter from whoever wraps"
                .to_owned()
        }
        KeyState::Compromised => {
            "Cloud KMS has no state compromised, in which a key unwraps only: rotate the key, rewrap, and destroy the \
             version; or take roles/cloudkms.cryptoKeyEncrypter from whoever wraps"
                .to_owned()
        }
        state => format!("Cloud KMS makes no key {state}"),
    }
}

const SCHEDULED_ALREADY: &str = "its destruction is scheduled already";
const RESTORE_FIRST: &str = "it waits for its destruction: restore it first";
/// Characters that are shown of a word of the caller.
const SHOWN: usize = 100;
