//! Rotation: a new version becomes the current one, under which the key wraps; the old
//! ones open what they wrapped.

use azure_core::{http::RequestContent, json::from_json};
use azure_security_keyvault_keys::models::KeyRotationPolicy;
use envelope_sdk::{
    KeyDescription, KeyUri, ProviderError,
    ProviderErrorKind::{Invalid, Other, Protocol, State, Unsupported},
    admin::{AutoRotation, Details, Rotation, RotationStatus},
    lifecycle,
};

use super::{
    GET_POLICY, ROTATE, SET_POLICY,
    answer::differs_from,
    key::AzureKey,
    keys::version_told,
    now,
    policy::{Policy, days_of},
};
use crate::{
    AzureKeyVault,
    error::{refusal, unsure},
    failure::failure,
};

impl AzureKeyVault {
    /// The key, if it can be rotated: for the rotation and for its dry run, which so
    /// refuse the same.
    pub(super) async fn plan_rotation(&self, key: &KeyUri) -> Result<AzureKey, ProviderError> {
        let told = self.describe_ours(key).await?;
        lifecycle::check_rotation("the key", told.state(now()))
            .map_err(|words| failure(State, key, words))?;
        Ok(told)
    }

    /// Makes a version, in one attempt.
    pub(super) async fn rotate_now(&self, key: &KeyUri) -> Result<KeyDescription, ProviderError> {
        let before = self.plan_rotation(key).await?;
        let (vault, name) = self.at(key).await?;
        let sent = self
            .reach()
            .limits
            .once(|| async { vault.client.rotate_key(name.key, None).await?.into_model() });
        let told = sent.await.map_err(|failed| {
            let refused = refusal(ROTATE, key, &failed);
            if failed.may_be_done() { unsure(&refused, LOOK) } else { refused }
        })?;
        let made = version_told(key, &vault, name, &told).map_err(|error| unsure(&error, LOOK))?;
        if before.version(&made.version).is_some() {
            return Err(unsure(
                &failure(Protocol, key, "the vault answered with a version that was there before"),
                LOOK,
            ));
        }
        if let Some(what) = differs_from(&before, &told) {
            let message = format!(
                "the vault made version {} of the key, and {what} is not as it was before: describe the key; do not trust what \
                 stands between",
                made.version
            );
            return Err(failure(Protocol, key, message));
        }
        let described = self.describe_changed(key).await?;
        if described.current().is_some_and(|current| current.version == made.version) {
            return Ok(described);
        }
        let message = "the key was rotated, and another version than the new one is current: describe it";
        Err(failure(Other, key, message))
    }

    /// How many days, for the operation and its dry run, which so refuse the same.
    pub(super) async fn plan_period(
        &self,
        key: &KeyUri,
        rotation: AutoRotation,
    ) -> Result<Option<u32>, ProviderError> {
        let days = match rotation {
            AutoRotation::Off => None,
            AutoRotation::Default => Some(DEFAULT_DAYS),
            AutoRotation::Days(days) if PERIOD_DAYS.contains(&days) => Some(days),
            AutoRotation::Days(_) => {
                return Err(failure(Invalid, key, "a key rotates every 7 to 36500 days"));
            }
            _ => return Err(failure(Unsupported, key, "Azure does not know this rotation")),
        };
        self.plan_rotation(key).await?;
        Ok(days)
    }

    /// Sets the rotation in the policy, whose other actions and expiry stay.
    pub(super) async fn rotate_by_itself(
        &self,
        key: &KeyUri,
        rotation: AutoRotation,
    ) -> Result<(), ProviderError> {
        let days = self.plan_period(key, rotation).await?;
        let policy = self.policy(key).await?.rotating(days);
        let body = serde_json::to_vec(&policy)
            .map_err(|_| failure(Other, key, "the policy cannot be written down"))?;
        let (vault, name) = self.at(key).await?;
        let sent = self.reach().limits.again(|| async {
            let body: RequestContent<KeyRotationPolicy> = RequestContent::from(body.clone());
            from_json(vault.client.update_key_rotation_policy(name.key, body, None).await?.into_body())
        });
        let told: Policy = sent.await.map_err(|failed| refusal(SET_POLICY, key, &failed))?;
        let Some(what) = told.differs_from(&policy) else { return Ok(()) };
        let message = format!(
            "the vault set a policy in which {what} is not what was asked for: see the status of the rotation; do not trust what \
             stands between"
        );
        Err(failure(Protocol, key, message))
    }

    async fn policy(&self, key: &KeyUri) -> Result<Policy, ProviderError> {
        let (vault, name) = self.at(key).await?;
        let told = self.reach().limits.again(|| async {
            from_json(vault.client.get_key_rotation_policy(name.key, None).await?.into_body())
        });
        match told.await {
            Ok(told) => Ok(told),
            // One that was never set, where the key was just described.
            Err(failed) if failed.is_not_found() => Ok(Policy::default()),
            Err(failed) => Err(refusal(GET_POLICY, key, &failed)),
        }
    }

    /// Each version but the first one is a rotation that was done. Azure does not say
    /// which of them it did by itself.
    pub(super) async fn told_rotation(&self, key: &KeyUri) -> Result<RotationStatus, ProviderError> {
        let told = self.describe(key).await?;
        let policy = self.policy(key).await?;
        let mut status = RotationStatus::default();
        let period = policy.period();
        status.automatic = period.is_some();
        status.period_days = period.as_deref().and_then(days_of);
        status.next = status.period_days.and_then(|days| {
            Some(told.current()?.created?.saturating_add(u64::from(days) * SECONDS_OF_A_DAY))
        });
        let mut dates: Vec<_> = told.versions.iter().map(|version| version.created).collect();
        dates.sort_unstable();
        status.past = dates.into_iter().skip(1).map(|date| Rotation::new(date, None)).collect();
        status.details = Details::new()
            .with("current", told.current().map(|current| current.version.as_str()))
            .with("period", period)
            .with("expiry_of_new_versions", policy.expiry());
        Ok(status)
    }
}

/// What Azure takes (<https://learn.microsoft.com/azure/key-vault/keys/how-to-configure-key-rotation>).
const PERIOD_DAYS: std::ops::RangeInclusive<u32> = 7..=36_500;
/// Two years, as NIST SP 800-57 part 1, table 1 has it for keys that wrap, and Azure
/// recommends for keys of its services.
const DEFAULT_DAYS: u32 = 730;
const SECONDS_OF_A_DAY: u64 = 24 * 60 * 60;
const LOOK: &str = "describe the key, before another version is made";
