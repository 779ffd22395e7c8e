//! Rotation: a new version becomes the primary one, under which the key wraps; the
//! old ones open what they wrapped.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use envelope_sdk::{
    KeyDescription, KeyUri, ProviderError,
    ProviderErrorKind::{Invalid, Protocol, State, Unavailable, Unsupported},
    admin::{AutoRotation, Details, Rotation, RotationStatus},
    lifecycle,
};
use google_cloud_kms_v1::model::{CryptoKey, CryptoKeyVersion, ExternalProtectionLevelOptions};
use google_cloud_wkt::{FieldMask, Timestamp};

use super::{
    CREATE_VERSION, OTHER_PLACE, UPDATE,
    key::{DAY, GcpKey},
    version::GcpVersion,
};
use crate::{
    GcpKms, Protection,
    call::Within,
    error::{failure, unsure},
    reach::Settled,
};

impl GcpKms {
    /// The key, if it can be rotated: for the rotation and for its dry run, which
    /// so refuse the same.
    pub(super) async fn plan_rotation(&self, key: &KeyUri) -> Result<GcpKey, ProviderError> {
        let told = self.describe(key).await?;
        if !told.wraps {
            return Err(failure(Unsupported, key, "this is a key of another kind, which wraps no DEKs"));
        }
        lifecycle::check_rotation("the key", told.state()).map_err(|message| failure(State, key, message))?;
        if told.import_only {
            let message = "the material of this key is imported, and KMS makes none: import a version, and make it the \
                           primary one";
            return Err(failure(Unsupported, key, message));
        }
        if told.protection == Some(Protection::External) {
            let message = "the material of this key is in an external key manager: make a key there, and a version that \
                           names it with `gcloud kms keys versions create --external-key-uri`";
            return Err(failure(Unsupported, key, message));
        }
        Ok(told)
    }

    /// Makes a version in one attempt, and the primary one of it once it is there.
    pub(super) async fn rotate_now(&self, key: &KeyUri) -> Result<KeyDescription, ProviderError> {
        self.plan_rotation(key).await?;
        let made = self.make_version(key, None).await?;
        self.promote(key, &made).await?;
        self.describe_changed(key).await
    }

    /// A further version, with `external` for a key of an external key manager.
    pub(super) async fn make_version(
        &self,
        key: &KeyUri,
        external: Option<ExternalProtectionLevelOptions>,
    ) -> Result<GcpVersion, ProviderError> {
        let name = self.resource(key)?;
        let Settled { client, limits } = self.settled().await?;
        let new = CryptoKeyVersion::new().set_or_clear_external_protection_level_options(external);
        let call = client.create_crypto_key_version().set_parent(name.text).set_crypto_key_version(new);
        let made = limits.once(call).send().until(limits.deadline()).await.map_err(|failed| {
            let refused = self.refused(CREATE_VERSION, key, &failed);
            if failed.may_be_done() { unsure(&refused, LOOK) } else { refused }
        })?;
        GcpVersion::of(name.text, made, None)
            .ok_or_else(|| unsure(&failure(Protocol, key, OTHER_PLACE), LOOK))
    }

    /// Makes a version the primary one. KMS may need a moment to generate it.
    pub(super) async fn promote(&self, key: &KeyUri, made: &GcpVersion) -> Result<(), ProviderError> {
        let not_primary = |error: &ProviderError| {
            let message = format!(
                "version {} was made, and is not the primary one: make it that, or rotate again: {}",
                made.version,
                error.message()
            );
            failure(error.kind(), key, message).retryable(false)
        };
        self.see_generated(key, made).await.map_err(|error| not_primary(&error))?;
        self.make_primary(key, &made.version).await.map_err(|error| not_primary(&error))
    }

    /// Waits until a version is generated.
    async fn see_generated(&self, key: &KeyUri, made: &GcpVersion) -> Result<(), ProviderError> {
        let mut now = made.clone();
        for wait in WAITS {
            if now.state.is_enabled() {
                return Ok(());
            }
            if !now.state.is_pending() {
                let message = format!("the new version is not enabled, but {}", now.state);
                return Err(failure(State, key, message));
            }
            tokio::time::sleep(wait).await;
            now = self.version_now(key, &made.version).await?;
        }
        if now.state.is_enabled() {
            return Ok(());
        }
        Err(failure(Unavailable, key, "KMS is still generating the new version"))
    }

    /// Makes a version of a key the primary one, under which it wraps from then on.
    /// All of Google may need hours to know it
    /// (<https://cloud.google.com/kms/docs/consistency>); until then the version
    /// of before wraps too.
    ///
    /// # Errors
    ///
    /// What KMS says (cloudkms.cryptoKeys.update).
    pub async fn make_primary(&self, key: &KeyUri, version: &str) -> Result<(), ProviderError> {
        let name = self.resource(key)?;
        let Settled { client, limits } = self.settled().await?;
        let call =
            client.update_crypto_key_primary_version().set_name(name.text).set_crypto_key_version_id(version);
        let sent = limits.again(call).send().until(limits.deadline()).await;
        let now = sent.map_err(|failed| self.refused(UPDATE, key, &failed))?;
        let primary = now.primary.map(|primary| primary.name).unwrap_or_default();
        if now.name == name.text && primary == format!("{}/cryptoKeyVersions/{version}", name.text) {
            return Ok(());
        }
        Err(failure(Protocol, key, OTHER_PLACE))
    }

    /// How many days, for the operation and its dry run, which so refuse the same.
    pub(super) async fn plan_period(
        &self,
        key: &KeyUri,
        rotation: AutoRotation,
    ) -> Result<Option<u32>, ProviderError> {
        let period = match rotation {
            AutoRotation::Off => None,
            AutoRotation::Default => Some(DEFAULT_DAYS),
            AutoRotation::Days(days) if PERIOD_DAYS.contains(&days) => Some(days),
            AutoRotation::Days(_) => {
                return Err(failure(Invalid, key, "a key rotates every 1 to 36500 days"));
            }
            _ => return Err(failure(Unsupported, key, "Cloud KMS does not know this rotation")),
        };
        let told = self.plan_rotation(key).await?;
        if period.is_some() && told.protection.is_some_and(Protection::is_external) {
            let message =
                "the material of this key is in an external key manager, which KMS does not rotate by itself";
            return Err(failure(Unsupported, key, message));
        }
        Ok(period)
    }

    pub(super) async fn rotate_by_itself(
        &self,
        key: &KeyUri,
        rotation: AutoRotation,
    ) -> Result<(), ProviderError> {
        let period = self.plan_period(key, rotation).await?;
        let name = self.resource(key)?;
        let mut changed = CryptoKey::new().set_name(name.text);
        if let Some(days) = period {
            changed = changed.set_rotation_period(days_of(days)).set_next_rotation_time(after(days));
        }
        let Settled { client, limits } = self.settled().await?;
        let mask = FieldMask::default().set_paths(["rotation_period", "next_rotation_time"]);
        let call = client.update_crypto_key().set_crypto_key(changed).set_update_mask(mask);
        let sent = limits.again(call).send().until(limits.deadline()).await;
        let now = sent.map_err(|failed| self.refused(UPDATE, key, &failed))?;
        if now.name == name.text { Ok(()) } else { Err(failure(Protocol, key, OTHER_PLACE)) }
    }

    /// Each version but the first one is a rotation that was done. KMS does not say
    /// which of them it did by itself.
    pub(super) async fn told_rotation(&self, key: &KeyUri) -> Result<RotationStatus, ProviderError> {
        let told = self.describe(key).await?;
        let mut status = RotationStatus::default();
        status.automatic = told.rotation_period.is_some();
        status.period_days = told.rotation_period.and_then(|period| u32::try_from(period / DAY).ok());
        status.next = told.next_rotation;
        let mut dates: Vec<Option<u64>> = told.versions.iter().map(|version| version.created).collect();
        dates.sort_unstable();
        status.past = dates.into_iter().skip(1).map(|date| Rotation::new(date, None)).collect();
        status.details =
            Details::new().with("primary", told.primary().map(|primary| primary.version.as_str()));
        Ok(status)
    }
}

pub(super) fn days_of(days: u32) -> google_cloud_wkt::Duration {
    google_cloud_wkt::Duration::clamp(i64::from(days) * SECONDS_OF_A_DAY, 0)
}

/// KMS wants the first moment beside the period.
pub(super) fn after(days: u32) -> Timestamp {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    Timestamp::clamp(
        i64::try_from(now).unwrap_or(i64::MAX).saturating_add(i64::from(days) * SECONDS_OF_A_DAY),
        0,
    )
}

/// From a day to a hundred years.
pub(super) const PERIOD_DAYS: std::ops::RangeInclusive<u32> = 1..=36_500;
/// What Google recommends for keys that encrypt.
const DEFAULT_DAYS: u32 = 90;
const SECONDS_OF_A_DAY: i64 = 24 * 60 * 60;
/// How long a version is waited for each time that it is not generated yet.
const WAITS: [Duration; 4] =
    [Duration::from_millis(250), Duration::from_millis(500), Duration::from_secs(1), Duration::from_secs(2)];
const LOOK: &str = "describe the key, and make the newest version the primary one, before another is made";
