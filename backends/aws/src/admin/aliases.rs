//! Aliases of keys.

use std::time::Duration;

use aws_sdk_kms::error::ProvideErrorMetadata;
use envelope_sdk::{
    KeyProvider, KeyUri, ProviderError,
    ProviderErrorKind::{Invalid, NotFound, Protocol, State, Throttled, Unavailable, Unsupported},
    key_uri::aws::KeyArn,
};

use super::{Pages, keys::key_of};
use crate::{
    AwsKms,
    error::{ALREADY_EXISTS, failure, may_be_done},
    transport::Unlogged,
};

/// What is done to an alias.
pub(super) enum Turn {
    Nothing,
    Make,
    Switch,
}

/// An alias that was not made.
pub(super) struct Unmade {
    pub(super) error: ProviderError,
    /// Whether the key has it in no case. If not, nobody knows.
    pub(super) is_certain: bool,
}

impl AwsKms {
    /// The aliases of a key.
    ///
    /// # Errors
    ///
    /// What KMS says (kms:ListAliases, and kms:DescribeKey if `key` is an alias).
    pub async fn aliases(&self, key: &KeyUri) -> Result<Vec<KeyUri>, ProviderError> {
        let key = self.resolve(key).await?;
        let arn = self.arn(&key)?;
        let call = self.client(arn.region).await?.list_aliases().key_id(arn.text);
        let mut pages = call.into_paginator().send();
        let (mut aliases, mut turned) = (Vec::new(), Pages::default());
        while let Some(page) = pages.next().unlogged().await {
            let page = page.map_err(|error| self.refused("kms:ListAliases", &key, &error))?;
            turned.turn(&key)?;
            let arns = page.aliases.unwrap_or_default().into_iter().filter_map(|entry| entry.alias_arn);
            aliases.extend(arns.filter_map(|arn| KeyUri::parse(&arn).ok()));
        }
        let is_beside = |alias: &KeyUri| {
            KeyArn::of(alias).is_some_and(|alias| alias.region == arn.region && alias.same_account(&arn))
        };
        if !aliases.iter().all(is_beside) {
            let message = "KMS listed aliases of another region or account: do not trust what stands between";
            return Err(failure(Protocol, &key, message));
        }
        Ok(aliases)
    }

    /// The key, the alias and what is to be done: for [`turn_alias`](Self::turn_alias)
    /// and its dry run, which so refuse the same.
    pub(super) async fn plan_alias(
        &self,
        name: &str,
        key: &KeyUri,
    ) -> Result<(KeyUri, KeyUri, Turn), ProviderError> {
        check_alias(name, key)?;
        let described = self.describe(key).await?;
        if described.aws_managed {
            let message = "AWS made this key for a service of its own, and KMS gives it no alias: make a key";
            return Err(failure(Unsupported, key, message));
        }
        if described.state.is_pending_deletion() {
            let message = "the key waits for its deletion, and KMS gives it no alias: restore it first";
            return Err(failure(State, key, message));
        }
        let alias = self.alias_beside(name, &described.uri)?;
        let turn = match self.describe(&alias).await {
            Ok(now) if now.uri == described.uri => Turn::Nothing,
            Ok(now) if now.wraps != described.wraps => {
                let message = "the alias means a key of another kind, and KMS turns it to keys of that kind alone: take \
                               another name";
                return Err(failure(Unsupported, &alias, message));
            }
            Ok(_) => Turn::Switch,
            Err(error) if error.kind() == NotFound => Turn::Make,
            Err(error) => return Err(error),
        };
        Ok((described.uri, alias, turn))
    }

    /// Makes an alias, without `alias/`, of a key of KMS, or turns it to that key.
    pub(super) async fn turn_alias(&self, name: &str, key: &KeyUri) -> Result<KeyUri, ProviderError> {
        let (key, alias, turn) = self.plan_alias(name, key).await?;
        match turn {
            Turn::Nothing => {}
            Turn::Make => self.create_alias(name, &key).await.map_err(|unmade| unmade.error)?,
            Turn::Switch => self.switch_alias(name, &alias, &key).await?,
        }
        Ok(alias)
    }

    pub(super) async fn create_alias(&self, name: &str, key: &KeyUri) -> Result<(), Unmade> {
        let unsent = |error| Unmade { error, is_certain: true };
        let arn = self.arn(key).map_err(unsent)?;
        let client = self.client(arn.region).await.map_err(unsent)?;
        let call = client.create_alias().alias_name(format!("alias/{name}")).target_key_id(arn.id());
        if let Err(error) = call.send().unlogged().await {
            // A retry of the call that did it is told that the name is taken.
            let now = self.alias_in(arn.region, name).await;
            if !matches!(&now, Ok(Some(now)) if now == key) {
                let refused = self.refused("kms:CreateAlias", key, &error);
                let may_be_made = may_be_done(&error)
                    || refused.kind() == Throttled
                    || error.code() == Some(ALREADY_EXISTS);
                let is_certain = matches!(now, Ok(Some(_))) || !may_be_made;
                return Err(Unmade { error: refused, is_certain });
            }
        }
        let alias = self.alias_beside(name, key).map_err(unsent)?;
        self.key_behind(&alias, Some(arn.text)).map(drop).map_err(unsent)
    }

    async fn switch_alias(&self, name: &str, alias: &KeyUri, key: &KeyUri) -> Result<(), ProviderError> {
        let arn = self.arn(key)?;
        let call = self.client(arn.region).await?.update_alias().alias_name(format!("alias/{name}"));
        if let Err(error) = call.target_key_id(arn.id()).send().unlogged().await {
            let is_switched = self.resolve(alias).await.is_ok_and(|now| now == *key);
            if !is_switched {
                return Err(self.refused("kms:UpdateAlias", alias, &error));
            }
        }
        self.key_behind(alias, Some(arn.text)).map(drop)
    }

    /// The key that an alias of the caller's own account means in a region, if
    /// there is one.
    pub(super) async fn alias_in(&self, region: &str, name: &str) -> Result<Option<KeyUri>, ProviderError> {
        let call = self.client(region).await?.describe_key().key_id(format!("alias/{name}"));
        let sent = call.send().unlogged().await;
        match sent.map_err(|error| self.refused("kms:DescribeKey", None, &error)) {
            Ok(described) => Ok(Some(key_of(described.key_metadata, None)?.uri)),
            Err(error) if error.kind() == NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Sees that a new alias means its key. KMS may need a moment to know it.
    pub(super) async fn see_alias(
        &self,
        region: &str,
        name: &str,
        key: &KeyUri,
    ) -> Result<(), ProviderError> {
        for wait in WAITS {
            match self.alias_in(region, name).await? {
                Some(now) if now == *key => return Ok(()),
                Some(_) => {
                    let message = "KMS says that the alias means another key than the one that it made: do not trust \
                                   what stands between";
                    return Err(failure(Protocol, key, message));
                }
                None => self.settled().await?.wait(wait).await,
            }
        }
        Err(failure(Unavailable, key, "KMS does not know the alias that it made"))
    }

    /// An alias of this name for a key: one of its own region and account.
    pub(super) fn alias_beside(&self, name: &str, key: &KeyUri) -> Result<KeyUri, ProviderError> {
        let arn = self.arn(key)?;
        let alias = format!("arn:{}:kms:{}:{}:alias/{name}", arn.partition, arn.region, arn.account);
        KeyUri::parse(&alias).map_err(|error| failure(Invalid, key, error.to_string()))
    }
}

/// Checked here, so that no key is made for an alias that cannot be.
pub(super) fn check_alias<'k>(name: &str, key: impl Into<Option<&'k KeyUri>>) -> Result<(), ProviderError> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"/_-".contains(&byte);
    if (1..=MAX_ALIAS_LEN).contains(&name.len()) && name.bytes().all(allowed) && !name.starts_with("aws/") {
        return Ok(());
    }
    let message = "an alias has 1 to 250 characters of A–Z a–z 0–9 / _ - and does not begin with aws/";
    Err(failure(Invalid, key, message))
}

/// How long a new alias is waited for each time that KMS does not know it.
const WAITS: [Duration; 4] =
    [Duration::from_millis(200), Duration::from_millis(400), Duration::from_millis(800), Duration::ZERO];
/// With `alias/`, 256.
const MAX_ALIAS_LEN: usize = 250;
