//! Aliases of keys.

use envelope_sdk::{
    KeyProvider, KeyUri, ProviderError,
    ProviderErrorKind::{Invalid, NotFound},
};

use super::Pages;
use crate::{AwsKms, error::failure, transport::Unlogged};

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
        Ok(aliases)
    }

    /// Makes an alias, without `alias/`, of a key of KMS, or turns it to that key.
    pub(super) async fn turn_alias(&self, name: &str, key: &KeyUri) -> Result<KeyUri, ProviderError> {
        check_alias(name, key)?;
        let key = self.resolve(key).await?;
        let alias = self.alias_beside(name, &key)?;
        match self.resolve(&alias).await {
            Ok(now) if now == key => {}
            Ok(_) => self.switch_alias(name, &alias, &key).await?,
            Err(error) if error.kind() == NotFound => self.create_alias(name, &key).await?,
            Err(error) => return Err(error),
        }
        Ok(alias)
    }

    pub(super) async fn create_alias(&self, name: &str, key: &KeyUri) -> Result<(), ProviderError> {
        let arn = self.arn(key)?;
        let call = self.client(arn.region).await?.create_alias().alias_name(format!("alias/{name}"));
        let sent = call.target_key_id(arn.id()).send().unlogged().await;
        sent.map_err(|error| self.refused("kms:CreateAlias", key, &error))?;
        self.key_behind(&self.alias_beside(name, key)?, Some(arn.text)).map(drop)
    }

    async fn switch_alias(&self, name: &str, alias: &KeyUri, key: &KeyUri) -> Result<(), ProviderError> {
        let arn = self.arn(key)?;
        let call = self.client(arn.region).await?.update_alias().alias_name(format!("alias/{name}"));
        let sent = call.target_key_id(arn.id()).send().unlogged().await;
        sent.map_err(|error| self.refused("kms:UpdateAlias", alias, &error))?;
        self.key_behind(alias, Some(arn.text)).map(drop)
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

/// With `alias/`, 256.
const MAX_ALIAS_LEN: usize = 250;
