//! Rotation by KMS: the key's ARN stays, new wraps take new key material, and
//! old wraps find theirs by themselves.

use aws_sdk_kms::types::RotationType;
use envelope_sdk::{KeyUri, ProviderError, ProviderErrorKind};

use super::{
    Pages,
    types::{PastRotation, RotationKind, RotationStatus, seconds},
};
use crate::{
    AwsKms,
    error::{failure, refusal},
    transport::Unlogged,
};

/// Rotation. By hand it is a new key and
/// [`switch_alias`](AwsKms::switch_alias).
impl AwsKms {
    /// Rotates a key now. KMS allows 25 such rotations in the life of a key, and
    /// may take a while.
    ///
    /// # Errors
    ///
    /// What KMS says (kms:RotateKeyOnDemand); a rotation that is under way is of
    /// kind [`ProviderErrorKind::State`] and retryable.
    pub async fn rotate_on_demand(&self, key: &KeyUri) -> Result<(), ProviderError> {
        let key = self.resolve(key).await?;
        let arn = self.arn(&key)?;
        let sent = self.client(arn.region).rotate_key_on_demand().key_id(arn.text).send().unlogged().await;
        sent.map(drop).map_err(|error| refusal("kms:RotateKeyOnDemand", &key, &error))
    }

    /// Lets a key rotate by itself, every 90 to 2560 days, or every 365 days if
    /// nothing is said.
    ///
    /// # Errors
    ///
    /// What KMS says (kms:EnableKeyRotation).
    pub async fn enable_rotation(&self, key: &KeyUri, period_days: Option<u32>) -> Result<(), ProviderError> {
        let key = self.resolve(key).await?;
        let arn = self.arn(&key)?;
        if period_days.is_some_and(|days| !PERIOD_DAYS.contains(&days)) {
            return Err(failure(ProviderErrorKind::Invalid, &key, "a key rotates every 90 to 2560 days"));
        }
        let period = period_days.and_then(|days| i32::try_from(days).ok());
        let call = self.client(arn.region).enable_key_rotation().key_id(arn.text);
        let sent = call.set_rotation_period_in_days(period).send().unlogged().await;
        sent.map(drop).map_err(|error| refusal("kms:EnableKeyRotation", &key, &error))
    }

    /// Stops that.
    ///
    /// # Errors
    ///
    /// What KMS says (kms:DisableKeyRotation).
    pub async fn disable_rotation(&self, key: &KeyUri) -> Result<(), ProviderError> {
        let key = self.resolve(key).await?;
        let arn = self.arn(&key)?;
        let sent = self.client(arn.region).disable_key_rotation().key_id(arn.text).send().unlogged().await;
        sent.map(drop).map_err(|error| refusal("kms:DisableKeyRotation", &key, &error))
    }

    /// How a key rotates.
    ///
    /// # Errors
    ///
    /// What KMS says (kms:GetKeyRotationStatus).
    pub async fn rotation_status(&self, key: &KeyUri) -> Result<RotationStatus, ProviderError> {
        let key = self.resolve(key).await?;
        let arn = self.arn(&key)?;
        let sent = self.client(arn.region).get_key_rotation_status().key_id(arn.text).send().unlogged().await;
        let status = sent.map_err(|error| refusal("kms:GetKeyRotationStatus", &key, &error))?;
        Ok(RotationStatus {
            automatic: status.key_rotation_enabled,
            period_days: status.rotation_period_in_days.and_then(|days| u32::try_from(days).ok()),
            next: status.next_rotation_date.as_ref().and_then(seconds),
            on_demand_since: status.on_demand_rotation_start_date.as_ref().and_then(seconds),
        })
    }

    /// The rotations of a key that were done, oldest first.
    ///
    /// # Errors
    ///
    /// What KMS says (kms:ListKeyRotations).
    pub async fn rotations(&self, key: &KeyUri) -> Result<Vec<PastRotation>, ProviderError> {
        let key = self.resolve(key).await?;
        let arn = self.arn(&key)?;
        let mut pages = self.client(arn.region).list_key_rotations().key_id(arn.text).into_paginator().send();
        let (mut rotations, mut turned) = (Vec::new(), Pages::default());
        while let Some(page) = pages.next().unlogged().await {
            let page = page.map_err(|error| refusal("kms:ListKeyRotations", &key, &error))?;
            turned.turn(&key)?;
            rotations.extend(page.rotations.unwrap_or_default().iter().map(|rotation| PastRotation {
                date: rotation.rotation_date.as_ref().and_then(seconds),
                kind: match rotation.rotation_type {
                    Some(RotationType::Automatic) => RotationKind::Automatic,
                    Some(RotationType::OnDemand) => RotationKind::OnDemand,
                    _ => RotationKind::Unknown,
                },
            }));
        }
        rotations.sort_by_key(|rotation| rotation.date);
        Ok(rotations)
    }
}

const PERIOD_DAYS: std::ops::RangeInclusive<u32> = 90..=2560;
