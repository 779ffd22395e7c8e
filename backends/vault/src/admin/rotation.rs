//! Rotation: a new version is the latest one, under which the key wraps; the old ones open what they wrapped.

use envelope_sdk::{
    KeyDescription, KeyUri, ProviderError,
    ProviderErrorKind::{Invalid, State, Unsupported},
    admin::{AutoRotation, Details, Rotation, RotationStatus},
};

use super::{
    ROTATE,
    changes::{Config, check_not_deleted},
    key::TransitKey,
    path,
};
use crate::{
    HashiVault,
    call::Call,
    error::{refusal, unsure},
    failure::failure,
    scheme::name_of,
};

impl HashiVault {
    /// The key, if it can be rotated: for the rotation and for its dry run, which so refuse the same.
    pub(super) async fn plan_rotation(&self, key: &KeyUri) -> Result<TransitKey, ProviderError> {
        let told = self.describe_ours(key).await?;
        check_not_deleted(&told)?;
        if told.may_rotate { Ok(told) } else { Err(failure(State, key, IMPORTED)) }
    }

    /// Makes a version, in one attempt.
    pub(super) async fn rotate_now(&self, key: &KeyUri) -> Result<KeyDescription, ProviderError> {
        let before = self.plan_rotation(key).await?;
        let call = Call::write(path(name_of(key)?, ROTATE));
        self.reach().call(&call).await.map_err(|failed| {
            let refused = refusal(&call, key, &failed);
            if failed.may_be_done() { unsure(&refused, LOOK) } else { refused }
        })?;
        // Somebody else may have rotated it at the same moment.
        let now = self.describe_changed(key, |now| now.latest_version > before.latest_version).await?;
        Ok(now.describe())
    }

    /// After how many seconds, for the operation and its dry run, which so refuse the same.
    pub(super) async fn plan_period(
        &self,
        key: &KeyUri,
        rotation: AutoRotation,
    ) -> Result<Config, ProviderError> {
        let days = match rotation {
            AutoRotation::Off => 0,
            AutoRotation::Default => DEFAULT_DAYS,
            AutoRotation::Days(days) if PERIOD_DAYS.contains(&days) => days,
            AutoRotation::Days(_) => {
                return Err(failure(Invalid, key, "a key rotates every 1 to 36500 days"));
            }
            _ => return Err(failure(Unsupported, key, "this key store cannot rotate a key so")),
        };
        self.plan_rotation(key).await?;
        let seconds = u64::from(days) * SECONDS_OF_A_DAY;
        Ok(Config { auto_rotate_period: Some(seconds), ..Config::default() })
    }

    /// Each version but the first one is a rotation that was done. Transit does not say which of them it did by itself, and
    /// nothing of those that are held back.
    pub(super) async fn told_rotation(&self, key: &KeyUri) -> Result<RotationStatus, ProviderError> {
        let told = self.describe(key).await?;
        let period = told.auto_rotate_period;
        let mut status = RotationStatus::default();
        status.automatic = period > 0;
        if status.automatic {
            let days = (period % SECONDS_OF_A_DAY == 0).then_some(period / SECONDS_OF_A_DAY);
            status.period_days = days.and_then(|days| u32::try_from(days).ok());
            status.next = told.created.get(&told.latest_version).map(|made| made.saturating_add(period));
        }
        status.past = told.created.range(2..).map(|(_, date)| Rotation::new(Some(*date), None)).collect();
        status.details = Details::new()
            .with("latest_version", told.latest_version)
            .with("period_seconds", status.automatic.then_some(period));
        Ok(status)
    }
}

/// Transit takes an hour or more.
const PERIOD_DAYS: std::ops::RangeInclusive<u32> = 1..=36_500;
/// NIST SP 800-38D permits 2³² wraps under random nonces: a key that wraps 500 times a second has done them in 99 days.
const DEFAULT_DAYS: u32 = 90;
const SECONDS_OF_A_DAY: u64 = 24 * 60 * 60;
const LOOK: &str = "describe the key, before another version is made";
const IMPORTED: &str = "the key was imported, and may not be rotated by the server: import another version, or encrypt with \
                        another key";
