//! Changes of a key's state: enabled, disabled, deleted.

use envelope_sdk::{
    KeyChange, KeyProvider, KeyState, KeyUri, ProviderError,
    ProviderErrorKind::{Invalid, State, Unsupported},
};

use super::key::{AwsKey, seconds};
use crate::{AwsKms, error::failure, transport::Unlogged};

/// What KMS does for a change.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    Enable,
    Disable,
    ScheduleDeletion,
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
    /// What KMS says (kms:ScheduleKeyDeletion).
    pub async fn schedule_deletion(&self, key: &KeyUri, days: u32) -> Result<Option<u64>, ProviderError> {
        let wait = i32::try_from(days).ok().filter(|_| (SHORTEST_WAIT_DAYS..=WAIT_DAYS).contains(&days));
        let Some(wait) = wait else {
            return Err(failure(Invalid, key, "a key is deleted after 7 to 30 days"));
        };
        let key = self.resolve(key).await?;
        let arn = self.arn(&key)?;
        let call = self.client(arn.region).await?.schedule_key_deletion().key_id(arn.text);
        let sent = call.pending_window_in_days(wait).send().unlogged().await;
        let scheduled = sent.map_err(|error| self.refused("kms:ScheduleKeyDeletion", &key, &error))?;
        Ok(scheduled.deletion_date.as_ref().and_then(seconds))
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
        match step {
            Step::Enable => {
                let sent = client.enable_key().key_id(arn.text).send().unlogged().await;
                sent.map(drop).map_err(|error| self.refused("kms:EnableKey", key, &error))
            }
            Step::Disable => {
                let sent = client.disable_key().key_id(arn.text).send().unlogged().await;
                sent.map(drop).map_err(|error| self.refused("kms:DisableKey", key, &error))
            }
            Step::ScheduleDeletion => self.schedule_deletion(key, WAIT_DAYS).await.map(drop),
        }
    }

    pub(super) async fn cancel_deletion(&self, key: &KeyUri) -> Result<AwsKey, ProviderError> {
        let key = self.resolve(key).await?;
        let arn = self.arn(&key)?;
        let call = self.client(arn.region).await?.cancel_key_deletion().key_id(arn.text);
        let sent = call.send().unlogged().await;
        sent.map_err(|error| self.refused("kms:CancelKeyDeletion", &key, &error))?;
        self.describe(&key).await
    }
}

/// What KMS refuses by the state of the key, and what is refused for it.
fn check(key: &AwsKey, step: Step) -> Result<(), String> {
    let words = match (key.state.standard(), step) {
        _ if key.state.is_pending_deletion() => match step {
            Step::ScheduleDeletion => "its deletion is scheduled already",
            Step::Enable | Step::Disable => "the key waits for its deletion: restore it first",
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

/// How long a key waits for its deletion at least.
pub(super) const SHORTEST_WAIT_DAYS: u32 = 7;
/// How long at most, and if nothing else is said, as KMS has it.
const WAIT_DAYS: u32 = 30;
