//! [`KeyAdmin`]: what every backend that manages keys can do.

use async_trait::async_trait;
use envelope_sdk::{
    KeyAdmin, KeyChange, KeyDescription, KeyState, KeyUri, ProviderError,
    ProviderErrorKind::{Invalid, State, Unsupported},
};

use super::{keys::WAIT_DAYS, types::NewKey};
use crate::{AwsKms, error::failure};

/// Keys of KMS as far as its states go; see [`AwsKeyState`](crate::AwsKeyState).
///
/// - A name is an alias. The region of the configuration is where keys are made
///   and listed.
/// - KMS makes no pre-active keys, and keys have no versions that could be named.
/// - **Rotating** is a rotation on demand, for keys whose material KMS made.
/// - **Suspended** is disabled, **active** is enabled. **Deactivated** and **compromised** are
///   refused as [`Unsupported`]: deny kms:Encrypt in the key's policy.
/// - **Destroyed** schedules the deletion in 30 days. The key must be suspended first, so that
///   nobody learns from a deletion that the key was in use. Until that day it is
///   suspended and [`cancel_deletion`](AwsKms::cancel_deletion) brings it back.
#[async_trait]
impl KeyAdmin for AwsKms {
    async fn create_key(&self, name: &str, pre_active: bool) -> Result<KeyDescription, ProviderError> {
        if pre_active {
            let message = "AWS KMS makes active keys alone: create it, then suspend it";
            return Err(failure(Unsupported, &named(name)?, message));
        }
        let new = NewKey {
            alias: Some(name.to_owned()),
            description: Some(format!("Key-encryption key {name} of envelope-sdk")),
            ..NewKey::default()
        };
        Ok(self.create(&new).await?.describe())
    }

    async fn describe_key(&self, key: &KeyUri) -> Result<KeyDescription, ProviderError> {
        Ok(self.describe(key).await?.describe())
    }

    async fn list_keys(&self) -> Result<Vec<KeyDescription>, ProviderError> {
        Ok(self.list().await?.iter().map(super::AwsKey::describe).collect())
    }

    async fn rotate_key(&self, key: &KeyUri) -> Result<KeyDescription, ProviderError> {
        self.rotate_on_demand(key).await?;
        self.describe_key(key).await
    }

    async fn change_key(
        &self,
        key: &KeyUri,
        version: Option<&str>,
        change: KeyChange,
    ) -> Result<KeyDescription, ProviderError> {
        if version.is_some() {
            let message = "versions of an AWS KMS key have no names: change the whole key";
            return Err(failure(Unsupported, key, message));
        }
        match change {
            KeyChange::State(KeyState::Active) => self.enable(key).await?,
            KeyChange::State(KeyState::Suspended) => self.disable(key).await?,
            KeyChange::State(KeyState::Destroyed) => self.destroy(key).await?,
            KeyChange::State(state @ (KeyState::Deactivated | KeyState::Compromised)) => {
                let message = format!(
                    "AWS KMS has no state {state}, in which a key unwraps only: deny kms:Encrypt in the key's policy"
                );
                return Err(failure(Unsupported, key, message));
            }
            _ => return Err(failure(Unsupported, key, "AWS KMS does not know this change")),
        }
        self.describe_key(key).await
    }
}

impl AwsKms {
    async fn destroy(&self, key: &KeyUri) -> Result<(), ProviderError> {
        let described = self.describe(key).await?;
        let refuse = |message: &str| Err(failure(State, key, message));
        if described.state.is_pending_deletion() {
            return refuse("its deletion is scheduled already");
        }
        if described.state.standard() == KeyState::Active {
            return refuse("the key is active: suspend it first, and see whether anything still needs it");
        }
        self.schedule_deletion(&described.uri, WAIT_DAYS).await.map(drop)
    }
}

fn named(name: &str) -> Result<KeyUri, ProviderError> {
    KeyUri::parse(&format!("aws-kms-alias:{name}"))
        .map_err(|error| failure(Invalid, &KeyUri::passphrase(), error.to_string()))
}
