//! The states of a key version.

use serde_json::json;

use super::reply::{Code, Refusal};

/// The state of a key version, as the API names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum State {
    /// In the making; of asymmetric keys and of keys in HSMs.
    PendingGeneration,
    /// In use.
    Enabled,
    /// Neither encrypts nor decrypts; can be enabled again.
    Disabled,
    /// Waits for its destruction; can be restored.
    DestroyScheduled,
    /// The material is gone.
    Destroyed,
    /// Imported material has not come yet.
    PendingImport,
    /// Imported material was refused.
    ImportFailed,
    /// Could not be made.
    GenerationFailed,
    /// An external manager has been asked to destroy it.
    PendingExternalDestruction,
    /// An external manager could not destroy it.
    ExternalDestructionFailed,
}

impl State {
    /// Every state.
    pub const ALL: [Self; 10] = [
        Self::PendingGeneration,
        Self::Enabled,
        Self::Disabled,
        Self::DestroyScheduled,
        Self::Destroyed,
        Self::PendingImport,
        Self::ImportFailed,
        Self::GenerationFailed,
        Self::PendingExternalDestruction,
        Self::ExternalDestructionFailed,
    ];

    /// The name in the API, such as `DESTROY_SCHEDULED`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::PendingGeneration => "PENDING_GENERATION",
            Self::Enabled => "ENABLED",
            Self::Disabled => "DISABLED",
            Self::DestroyScheduled => "DESTROY_SCHEDULED",
            Self::Destroyed => "DESTROYED",
            Self::PendingImport => "PENDING_IMPORT",
            Self::ImportFailed => "IMPORT_FAILED",
            Self::GenerationFailed => "GENERATION_FAILED",
            Self::PendingExternalDestruction => "PENDING_EXTERNAL_DESTRUCTION",
            Self::ExternalDestructionFailed => "EXTERNAL_DESTRUCTION_FAILED",
        }
    }

    /// The state of that [`name`](Self::name).
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.name() == name)
    }

    pub(super) fn was_generated(self) -> bool {
        !matches!(
            self,
            Self::PendingGeneration | Self::PendingImport | Self::ImportFailed | Self::GenerationFailed
        )
    }

    /// The field that says why something failed, and what it says.
    pub(super) fn failure(self) -> Option<(&'static str, &'static str)> {
        match self {
            Self::ImportFailed => Some(("importFailureReason", "The key material could not be unwrapped.")),
            Self::GenerationFailed => Some(("generationFailureReason", "The key could not be made.")),
            Self::ExternalDestructionFailed => {
                Some(("externalDestructionFailureReason", "The external key manager did not answer."))
            }
            _ => None,
        }
    }

    /// Refuses the use of a version that is not enabled.
    pub(super) fn check_use(self, version: &str) -> Result<(), Refusal> {
        if self == Self::Enabled {
            return Ok(());
        }
        let message = format!("{version} is not enabled, current state is: {}.", self.name());
        let violation = json!({ "type": format!("KEY_{}", self.name()), "subject": version });
        Err(Refusal::new(Code::FailedPrecondition, message)
            .detail("PreconditionFailure", json!({ "violations": [violation] })))
    }

    /// Refuses a change that this state does not allow.
    pub(super) fn check_change(self, version: &str, from: &[Self]) -> Result<(), Refusal> {
        if from.contains(&self) {
            return Ok(());
        }
        Err(Refusal::new(
            Code::FailedPrecondition,
            format!(
                "The request cannot be fulfilled. Resource {version} has value {} in field \
                 crypto_key_version.state.",
                self.name()
            ),
        ))
    }
}
