//! Rotation by KMS: the key's ARN stays, new wraps take new key material, and
//! old wraps find theirs by themselves.

use aws_sdk_kms::types::RotationType;
use envelope_sdk::{
    KeyProvider, KeyUri, ProviderError,
    ProviderErrorKind::{Invalid, State, Unsupported},
    admin::{AutoRotation, Detail, Details, Rotation, RotationStatus},
    lifecycle,
};

use super::{
    Pages,
    key::{AwsKey, seconds},
    once,
};
use crate::{
    AwsKms,
    error::{failure, may_be_done, unsure},
    transport::Unlogged,
};

impl AwsKms {
    /// The key, if it can be rotated: for the rotation and for its dry run, which
    /// so refuse the same.
    pub(super) async fn plan_rotation(&self, key: &KeyUri) -> Result<AwsKey, ProviderError> {
        let described = self.describe(key).await?;
        lifecycle::check_rotation("the key", described.state.standard())
            .map_err(|message| failure(State, key, message))?;
        if !described.wraps {
            let message = "KMS rotates only symmetric keys for encryption, and this is another kind of key";
            return Err(failure(Unsupported, key, message));
        }
        if KEY_STORES.contains(&described.origin.as_str()) {
            let message = format!(
                "the material of this key is in a key store of one's own ({}), where KMS rotates none: make another \
                 key, and turn the alias to it",
                described.origin
            );
            return Err(failure(Unsupported, key, message));
        }
        Ok(described)
    }

    /// Rotates a key now, in one attempt. KMS allows 25 such rotations in the life
    /// of a key, and may take a while; while one is under way, the error is
    /// retryable.
    pub(super) async fn rotate_on_demand(&self, key: &KeyUri) -> Result<(), ProviderError> {
        let arn = self.arn(key)?;
        let call = self.client(arn.region).await?.rotate_key_on_demand().key_id(arn.text);
        let sent = call.customize().config_override(once()).send().unlogged().await;
        sent.map(drop).map_err(|error| {
            let refused = self.refused("kms:RotateKeyOnDemand", key, &error);
            if may_be_done(&error) { unsure(&refused, LOOK) } else { refused }
        })
    }

    /// The key, if it can rotate so, and the period: `None` for never, and within
    /// for the default. For the operation and its dry run, which so refuse the same.
    pub(super) async fn plan_period(
        &self,
        key: &KeyUri,
        rotation: AutoRotation,
    ) -> Result<(KeyUri, Option<Option<i32>>), ProviderError> {
        let period = match rotation {
            AutoRotation::Off => None,
            AutoRotation::Default => Some(None),
            AutoRotation::Days(days) => Some(Some(
                period(days).ok_or_else(|| failure(Invalid, key, "a key rotates every 90 to 2560 days"))?,
            )),
            _ => return Err(failure(Unsupported, key, "AWS KMS does not know this rotation")),
        };
        let described = self.plan_rotation(key).await?;
        if period.is_some() && described.origin == IMPORTED {
            let message = "the material of this key was imported, and KMS makes none for it: import new material, and \
                           rotate the key";
            return Err(failure(Unsupported, key, message));
        }
        Ok((described.uri, period))
    }

    pub(super) async fn rotate_by_itself(
        &self,
        key: &KeyUri,
        rotation: AutoRotation,
    ) -> Result<(), ProviderError> {
        let (key, period) = self.plan_period(key, rotation).await?;
        let arn = self.arn(&key)?;
        let client = self.client(arn.region).await?;
        match period {
            None => {
                let sent = client.disable_key_rotation().key_id(arn.text).send().unlogged().await;
                sent.map(drop).map_err(|error| self.refused("kms:DisableKeyRotation", &key, &error))
            }
            Some(days) => {
                let call = client.enable_key_rotation().key_id(arn.text);
                let sent = call.set_rotation_period_in_days(days).send().unlogged().await;
                sent.map(drop).map_err(|error| self.refused("kms:EnableKeyRotation", &key, &error))
            }
        }
    }

    pub(super) async fn told_rotation(&self, key: &KeyUri) -> Result<RotationStatus, ProviderError> {
        let key = self.resolve(key).await?;
        let arn = self.arn(&key)?;
        let call = self.client(arn.region).await?.get_key_rotation_status().key_id(arn.text);
        let sent = call.send().unlogged().await;
        let told = sent.map_err(|error| self.refused("kms:GetKeyRotationStatus", &key, &error))?;
        let on_demand = told.on_demand_rotation_start_date.as_ref().and_then(seconds);
        let mut status = RotationStatus::default();
        status.automatic = told.key_rotation_enabled;
        status.period_days = told.rotation_period_in_days.and_then(|days| u32::try_from(days).ok());
        status.next = told.next_rotation_date.as_ref().and_then(seconds);
        status.past = self.rotations(&key).await?;
        status.details = Details::new().with("on_demand_since", on_demand.map(Detail::Time));
        Ok(status)
    }

    /// The rotations of a key that were done, oldest first.
    async fn rotations(&self, key: &KeyUri) -> Result<Vec<Rotation>, ProviderError> {
        let arn = self.arn(key)?;
        let call = self.client(arn.region).await?.list_key_rotations().key_id(arn.text);
        let mut pages = call.into_paginator().send();
        let (mut rotations, mut turned) = (Vec::new(), Pages::default());
        while let Some(page) = pages.next().unlogged().await {
            let page = page.map_err(|error| self.refused("kms:ListKeyRotations", key, &error))?;
            turned.turn(key)?;
            rotations.extend(page.rotations.unwrap_or_default().iter().map(|rotation| {
                let automatic = match rotation.rotation_type {
                    Some(RotationType::Automatic) => Some(true),
                    Some(RotationType::OnDemand) => Some(false),
                    _ => None,
                };
                Rotation::new(rotation.rotation_date.as_ref().and_then(seconds), automatic)
            }));
        }
        rotations.sort_by_key(|rotation| rotation.date);
        Ok(rotations)
    }
}

fn period(days: u32) -> Option<i32> {
    i32::try_from(days).ok().filter(|_| PERIOD_DAYS.contains(&days))
}

const PERIOD_DAYS: std::ops::RangeInclusive<u32> = 90..=2560;
/// Origins of keys whose material KMS does not hold.
const KEY_STORES: [&str; 2] = ["AWS_CLOUDHSM", "EXTERNAL_KEY_STORE"];
const IMPORTED: &str = "EXTERNAL";
const LOOK: &str = "see the status of its rotation, which tells one that is under way and those that were done, before it is \
                    rotated again";
