//! Rotation: a new version becomes the current one, under which the key wraps; the old
//! ones open what they wrapped.

use azure_core::http::RequestContent;
use azure_security_keyvault_keys::models::{
    KeyRotationPolicy, KeyRotationPolicyAction, LifetimeAction, LifetimeActionTrigger, LifetimeActionType,
};
use envelope_sdk::{
    KeyDescription, KeyUri, ProviderError,
    ProviderErrorKind::{Invalid, Other, Protocol, State, Unsupported},
    admin::{AutoRotation, Details, Rotation, RotationStatus},
    lifecycle,
};

use super::{GET_POLICY, OTHER_PLACE, ROTATE, SET_POLICY, key::AzureKey, keys::version_told, now};
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
        let mut policy = self.policy(key).await?;
        let mut actions = policy.lifetime_actions.take().unwrap_or_default();
        actions.retain(|action| !rotates(action));
        if let Some(days) = days {
            actions.push(LifetimeAction {
                action: Some(LifetimeActionType { type_prop: Some(KeyRotationPolicyAction::Rotate) }),
                trigger: Some(LifetimeActionTrigger {
                    time_after_create: Some(format!("P{days}D")),
                    ..Default::default()
                }),
            });
        }
        policy.lifetime_actions = Some(actions);
        let body = serde_json::to_vec(&policy)
            .map_err(|_| failure(Other, key, "the policy cannot be written down"))?;
        let (vault, name) = self.at(key).await?;
        let sent = self.reach().limits.again(|| async {
            let body: RequestContent<KeyRotationPolicy> = RequestContent::from(body.clone());
            vault.client.update_key_rotation_policy(name.key, body, None).await?.into_model()
        });
        let told = sent.await.map_err(|failed| refusal(SET_POLICY, key, &failed))?;
        if period(&told).is_some() == days.is_some() {
            return Ok(());
        }
        Err(failure(Protocol, key, OTHER_PLACE))
    }

    async fn policy(&self, key: &KeyUri) -> Result<KeyRotationPolicy, ProviderError> {
        let (vault, name) = self.at(key).await?;
        let told = self
            .reach()
            .limits
            .again(|| async { vault.client.get_key_rotation_policy(name.key, None).await?.into_model() });
        match told.await {
            Ok(told) => Ok(told),
            // One that was never set, where the key was just described.
            Err(failed) if failed.is_not_found() => Ok(KeyRotationPolicy::default()),
            Err(failed) => Err(refusal(GET_POLICY, key, &failed)),
        }
    }

    /// Each version but the first one is a rotation that was done. Azure does not say
    /// which of them it did by itself.
    pub(super) async fn told_rotation(&self, key: &KeyUri) -> Result<RotationStatus, ProviderError> {
        let told = self.describe(key).await?;
        let policy = self.policy(key).await?;
        let mut status = RotationStatus::default();
        let period = period(&policy);
        status.automatic = period.is_some();
        status.period_days = period.as_deref().and_then(days_of);
        status.next = status.period_days.and_then(|days| {
            Some(told.current()?.created?.saturating_add(u64::from(days) * SECONDS_OF_A_DAY))
        });
        let mut dates: Vec<_> = told.versions.iter().map(|version| version.created).collect();
        dates.sort_unstable();
        status.past = dates.into_iter().skip(1).map(|date| Rotation::new(date, None)).collect();
        let expiry = policy.attributes.and_then(|attributes| attributes.expiry_time);
        status.details = Details::new()
            .with("current", told.current().map(|current| current.version.as_str()))
            .with("period", period)
            .with("expiry_of_new_versions", expiry);
        Ok(status)
    }
}

fn rotates(action: &LifetimeAction) -> bool {
    action.action.as_ref().and_then(|action| action.type_prop) == Some(KeyRotationPolicyAction::Rotate)
}

/// After which time a policy rotates, in Azure's form (ISO 8601): after the version was
/// made, or before it expires.
fn period(policy: &KeyRotationPolicy) -> Option<String> {
    let action = policy.lifetime_actions.iter().flatten().find(|action| rotates(action))?;
    let trigger = action.trigger.clone().unwrap_or_default();
    let before = || trigger.time_before_expiry.map(|time| format!("{time} before the expiry"));
    Some(trigger.time_after_create.or_else(before).unwrap_or_default())
}

/// The days of `P…D`. Months and years have no fixed number of them.
fn days_of(period: &str) -> Option<u32> {
    period.strip_prefix('P')?.strip_suffix('D')?.parse().ok()
}

/// What Azure takes (<https://learn.microsoft.com/azure/key-vault/keys/how-to-configure-key-rotation>).
const PERIOD_DAYS: std::ops::RangeInclusive<u32> = 7..=36_500;
/// Two years, as NIST SP 800-57 part 1, table 1 has it for keys that wrap, and Azure
/// recommends for keys of its services.
const DEFAULT_DAYS: u32 = 730;
const SECONDS_OF_A_DAY: u64 = 24 * 60 * 60;
const LOOK: &str = "describe the key, before another version is made";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_alone_are_told_as_days() {
        for (period, days) in [("P90D", Some(90)), ("P18M", None), ("P2Y", None), ("", None), ("P1Y2D", None)]
        {
            assert_eq!(days_of(period), days, "{period}");
        }
    }
}
