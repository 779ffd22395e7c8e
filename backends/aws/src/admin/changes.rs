//! Changes of a key's state: enabled, disabled, deleted.

use envelope_sdk::{
    KeyChange, KeyDescription, KeyProvider, KeyState, KeyUri, ProviderError,
    ProviderErrorKind::{AccessDenied, Invalid, State, Unsupported},
};

use super::key::{AwsKey, seconds};
use crate::{AwsKms, error::failure, transport::Unlogged};

/// What KMS does for a change.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    Enable,
    Disable,
    ScheduleDeletion,
    /// Cancels the deletion.
    Restore,
}

impl AwsKms {
    /// Has a key deleted after `days`, 7 to 30. Until then it neither wraps nor
    /// unwraps, and the deletion can be cancelled
    /// ([`restore_key`](envelope_sdk::KeyAdmin::restore_key)). Returns when it will
    /// be deleted, in seconds since 1970.
    ///
    /// Unlike [`change_key`](envelope_sdk::KeyAdmin::change_key) it deletes active
    /// keys too.
    ///
    /// # Errors
    ///
    /// [`State`] if it is scheduled already; what KMS says (kms:ScheduleKeyDeletion,
    /// and kms:DescribeKey for an alias; if that is permitted, the key is looked at first).
    pub async fn schedule_deletion(&self, key: &KeyUri, days: u32) -> Result<Option<u64>, ProviderError> {
        if !(SHORTEST_WAIT_DAYS..=WAIT_DAYS).contains(&days) {
            return Err(failure(Invalid, key, "a key is deleted after 7 to 30 days"));
        }
        let key = self.resolve(key).await?;
        match self.describe(&key).await {
            Ok(described) => {
                if described.state.is_pending_deletion() {
                    return Err(failure(State, &key, SCHEDULED_ALREADY));
                }
            }
            // KMS refuses it then.
            Err(error) if error.kind() == AccessDenied => {}
            Err(error) => return Err(error),
        }
        self.delete_after(&key, days).await
    }

    /// The same for a key whose deletion is not scheduled yet.
    pub(super) async fn delete_after(&self, key: &KeyUri, days: u32) -> Result<Option<u64>, ProviderError> {
        let arn = self.arn(key)?;
        let call = self.client(arn.region).await?.schedule_key_deletion().key_id(arn.text);
        let wait = i32::try_from(days).unwrap_or(i32::MAX);
        match call.pending_window_in_days(wait).send().unlogged().await {
            Ok(scheduled) => Ok(scheduled.deletion_date.as_ref().and_then(seconds)),
            Err(error) => {
                let refused = self.refused("kms:ScheduleKeyDeletion", key, &error);
                Ok(self.unless_done(key, Step::ScheduleDeletion, refused).await?.deletion)
            }
        }
    }

    /// The key as a step leaves it, although the call was refused: its answer, or
    /// that of an earlier attempt, may have been lost.
    async fn unless_done(
        &self,
        key: &KeyUri,
        step: Step,
        refused: ProviderError,
    ) -> Result<AwsKey, ProviderError> {
        // No earlier attempt was permitted either.
        if refused.kind() == AccessDenied {
            return Err(refused);
        }
        let Ok(described) = self.describe(key).await else { return Err(refused) };
        let is_done = match step {
            Step::Enable => described.state.standard() == KeyState::Active,
            Step::Disable => described.state.is_disabled(),
            Step::ScheduleDeletion => described.state.is_pending_deletion(),
            Step::Restore => !described.state.is_pending_deletion(),
        };
        if is_done { Ok(described) } else { Err(refused) }
    }

    /// The key as it is, and what a change does to it: for the change and for its
    /// dry run, which so refuse the same.
    pub(super) async fn plan_change(
        &self,
        key: &KeyUri,
        version: Option<&str>,
        change: KeyChange,
    ) -> Result<(AwsKey, Step), ProviderError> {
        if version.is_some() {
            let message = "versions of an AWS KMS key have no names: change the whole key";
            return Err(failure(Unsupported, key, message));
        }
        let step = match change {
            KeyChange::State(KeyState::Active) => Step::Enable,
            KeyChange::State(KeyState::Suspended) => Step::Disable,
            KeyChange::State(KeyState::Destroyed) => Step::ScheduleDeletion,
            KeyChange::State(state @ (KeyState::Deactivated | KeyState::Compromised)) => {
                let message = format!(
                    "AWS KMS has no state {state}, in which a key unwraps only: deny kms:Encrypt in the key's policy"
                );
                return Err(failure(Unsupported, key, message));
            }
            KeyChange::State(state) => {
                let message = format!("AWS KMS makes no key {state}");
                return Err(failure(Unsupported, key, message));
            }
            KeyChange::Archive => {
                return Err(failure(Unsupported, key, "AWS KMS archives no keys: suspend it, or leave it"));
            }
            _ => return Err(failure(Unsupported, key, "AWS KMS does not know this change")),
        };
        let described = self.describe(key).await?;
        check(&described, step).map_err(|message| failure(State, key, message))?;
        Ok((described, step))
    }

    pub(super) async fn take_step(&self, key: &KeyUri, step: Step) -> Result<(), ProviderError> {
        let arn = self.arn(key)?;
        let client = self.client(arn.region).await?;
        let refused = match step {
            Step::Enable => {
                let sent = client.enable_key().key_id(arn.text).send().unlogged().await;
                sent.err().map(|error| self.refused("kms:EnableKey", key, &error))
            }
            Step::Disable => {
                let sent = client.disable_key().key_id(arn.text).send().unlogged().await;
                sent.err().map(|error| self.refused("kms:DisableKey", key, &error))
            }
            Step::ScheduleDeletion => return self.delete_after(key, WAIT_DAYS).await.map(drop),
            Step::Restore => {
                let sent = client.cancel_key_deletion().key_id(arn.text).send().unlogged().await;
                sent.err().map(|error| self.refused("kms:CancelKeyDeletion", key, &error))
            }
        };
        match refused {
            Some(refused) => self.unless_done(key, step, refused).await.map(drop),
            None => Ok(()),
        }
    }

    /// The key after a step.
    pub(super) async fn describe_changed(&self, key: &KeyUri) -> Result<KeyDescription, ProviderError> {
        let described = self.describe(key).await.map_err(|error| {
            let message =
                format!("the key was changed, and could not be described then: {}", error.message());
            failure(error.kind(), key, message).retryable(error.is_retryable())
        })?;
        Ok(described.describe())
    }

    /// The key, if its deletion can be cancelled: for
    /// [`restore_key`](envelope_sdk::KeyAdmin::restore_key) and its dry run, which
    /// so refuse the same.
    pub(super) async fn plan_restoration(&self, key: &KeyUri) -> Result<AwsKey, ProviderError> {
        let described = self.describe(key).await?;
        if described.state.is_pending_deletion() {
            return Ok(described);
        }
        Err(failure(State, key, "the key does not wait for its deletion: there is nothing to restore"))
    }
}

/// What KMS refuses by the state of the key, and what is refused for it.
fn check(key: &AwsKey, step: Step) -> Result<(), String> {
    let words = match (key.state.standard(), step) {
        _ if key.state.is_pending_deletion() => match step {
            Step::ScheduleDeletion => SCHEDULED_ALREADY,
            Step::Enable | Step::Disable => "the key waits for its deletion: restore it first",
            Step::Restore => return Ok(()),
        },
        (KeyState::Active, Step::ScheduleDeletion) => {
            "the key is active: suspend it first, and see whether anything still needs it"
        }
        (KeyState::PreActive, Step::Enable | Step::Disable) => {
            "the key waits for its key material: it is active as soon as that is there"
        }
        _ => return Ok(()),
    };
    Err(words.to_owned())
}

const SCHEDULED_ALREADY: &str = "its deletion is scheduled already";
/// How long a key waits for its deletion at least.
pub(super) const SHORTEST_WAIT_DAYS: u32 = 7;
/// How long at most, and if nothing else is said, as KMS has it.
const WAIT_DAYS: u32 = 30;
