//! Key administration behind a pointer is the same.

use std::sync::Arc;

use async_trait::async_trait;

use super::{AutoRotation, KeyAdmin, KeyDescription, KeyPage, NewKey, RotationStatus};
use crate::{KeyChange, KeyUri, ProviderError};

macro_rules! delegate {
    ($pointer:ty) => {
        // A method that is not handed on would be the default in place of the key store's own.
        #[deny(clippy::missing_trait_methods)]
        #[async_trait]
        impl<A: KeyAdmin + ?Sized> KeyAdmin for $pointer {
            fn provider(&self) -> &'static str {
                (**self).provider()
            }

            async fn create_key(&self, new: &NewKey) -> Result<KeyDescription, ProviderError> {
                (**self).create_key(new).await
            }

            async fn check_new_key(&self, new: &NewKey) -> Result<(), ProviderError> {
                (**self).check_new_key(new).await
            }

            async fn describe_key(&self, key: &KeyUri) -> Result<KeyDescription, ProviderError> {
                (**self).describe_key(key).await
            }

            async fn list_keys(&self, page: Option<&str>) -> Result<KeyPage, ProviderError> {
                (**self).list_keys(page).await
            }

            async fn rotate_key(&self, key: &KeyUri) -> Result<KeyDescription, ProviderError> {
                (**self).rotate_key(key).await
            }

            async fn check_rotation(&self, key: &KeyUri) -> Result<(), ProviderError> {
                (**self).check_rotation(key).await
            }

            async fn change_key(
                &self,
                key: &KeyUri,
                version: Option<&str>,
                change: KeyChange,
            ) -> Result<KeyDescription, ProviderError> {
                (**self).change_key(key, version, change).await
            }

            async fn check_change(
                &self,
                key: &KeyUri,
                version: Option<&str>,
                change: KeyChange,
            ) -> Result<(), ProviderError> {
                (**self).check_change(key, version, change).await
            }

            async fn set_not_after(
                &self,
                key: &KeyUri,
                version: Option<&str>,
                not_after: Option<u64>,
            ) -> Result<KeyDescription, ProviderError> {
                (**self).set_not_after(key, version, not_after).await
            }

            async fn set_rotation(&self, key: &KeyUri, rotation: AutoRotation) -> Result<(), ProviderError> {
                (**self).set_rotation(key, rotation).await
            }

            async fn rotation_status(&self, key: &KeyUri) -> Result<RotationStatus, ProviderError> {
                (**self).rotation_status(key).await
            }

            async fn set_alias(&self, alias: &str, key: &KeyUri) -> Result<KeyUri, ProviderError> {
                (**self).set_alias(alias, key).await
            }

            async fn restore_key(&self, key: &KeyUri) -> Result<KeyDescription, ProviderError> {
                (**self).restore_key(key).await
            }

            async fn check_set_not_after(
                &self,
                key: &KeyUri,
                version: Option<&str>,
                not_after: Option<u64>,
            ) -> Result<(), ProviderError> {
                (**self).check_set_not_after(key, version, not_after).await
            }

            async fn check_set_rotation(
                &self,
                key: &KeyUri,
                rotation: AutoRotation,
            ) -> Result<(), ProviderError> {
                (**self).check_set_rotation(key, rotation).await
            }

            async fn check_set_alias(&self, alias: &str, key: &KeyUri) -> Result<(), ProviderError> {
                (**self).check_set_alias(alias, key).await
            }

            async fn check_restore_key(&self, key: &KeyUri) -> Result<(), ProviderError> {
                (**self).check_restore_key(key).await
            }
        }
    };
}

delegate!(Arc<A>);
delegate!(Box<A>);
