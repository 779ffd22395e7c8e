//! Describing and listing keys.

use std::collections::BTreeSet;

use azure_core::{
    http::{
        PageIterator, Response, Url,
        pager::{PagerContinuation, PagerOptions},
    },
    json::from_json,
};
use azure_security_keyvault_keys::models::{
    Key, KeyClientListKeyPropertiesOptions, KeyClientListKeyPropertiesVersionsOptions,
    ListKeyPropertiesResult,
};
use envelope_sdk::{
    KeyUri, ProviderError,
    ProviderErrorKind::{AccessDenied, Invalid, NotFound, Protocol},
    http::MAX_PAGES,
    key_uri::azure::VaultKey,
};
use futures_util::{StreamExt, future::join_all};
use serde::{Deserialize, de::IgnoredAny};

use super::{GET, LIST, OTHER_PLACE, key::AzureKey, version::AzureVersion};
use crate::{
    AzureKeyVault,
    error::refusal,
    failure::failure,
    provider::version_of,
    reach::{Vault, name_of},
};

impl AzureKeyVault {
    /// Describes a key and all of its versions, in the words of Azure. One that is
    /// deleted, and can be recovered, is described too, if the caller may see it.
    ///
    /// # Errors
    ///
    /// What Azure says (`keys/read`).
    pub async fn describe(&self, key: &KeyUri) -> Result<AzureKey, ProviderError> {
        let (vault, name) = self.at(key).await?;
        let told =
            self.reach().limits.again(|| async { vault.client.get_key(name.key, None).await?.into_model() });
        let told = match told.await {
            Ok(told) => told,
            Err(failed) => {
                if failed.is_not_found()
                    && let Ok(Some(deleted)) = self.deleted(key).await
                {
                    return Ok(deleted);
                }
                return Err(refusal(GET, key, &failed));
            }
        };
        self.with_versions(key, told).await
    }

    /// The key that was told, with all of its versions.
    pub(super) async fn with_versions(&self, key: &KeyUri, told: Key) -> Result<AzureKey, ProviderError> {
        let (vault, name) = self.at(key).await?;
        let current = version_told(key, &vault, name, &told)?;
        let mut versions = self.versions_of(key).await?;
        versions.retain(|version| version.version != current.version);
        versions.sort_by(|one, other| (one.created, &one.version).cmp(&(other.created, &other.version)));
        versions.push(current);
        let mut described = AzureKey::new(key.clone(), &told.key.unwrap_or_default(), versions);
        described.managed = told.managed.unwrap_or(false);
        Ok(described)
    }

    async fn versions_of(&self, key: &KeyUri) -> Result<Vec<AzureVersion>, ProviderError> {
        let (vault, name) = self.at(key).await?;
        let (mut versions, mut names) = (Vec::new(), BTreeSet::new());
        let (mut page, mut seen) = (None, BTreeSet::new());
        for _ in 0..MAX_PAGES {
            let (listed, next) = self.page_of_versions(key, &vault, name, page.as_ref()).await?;
            check_len(listed.value.len(), key)?;
            for version in listed.value {
                let kid = version.kid.as_deref().and_then(|kid| version_of(&vault.url, name.key, kid));
                let kid = kid.ok_or_else(|| failure(Protocol, key, OTHER_PLACE))?;
                if !names.insert(kid.to_owned()) {
                    return Err(failure(Protocol, key, TWICE));
                }
                versions.push(AzureVersion::of(kid, version.attributes.as_ref(), version.tags.as_ref()));
            }
            let Some(next) = next else { return Ok(versions) };
            // It would come round for ever.
            if !seen.insert(next.to_string()) {
                break;
            }
            page = Some(next);
        }
        Err(failure(Protocol, key, "the list of versions repeats itself, or has no end"))
    }

    async fn page_of_versions(
        &self,
        key: &KeyUri,
        vault: &Vault,
        name: VaultKey<'_>,
        page: Option<&PagerContinuation>,
    ) -> Result<(ListKeyPropertiesResult, Option<PagerContinuation>), ProviderError> {
        let listed = self.reach().limits.again(|| async {
            let options = KeyClientListKeyPropertiesVersionsOptions {
                maxresults: Some(PAGE),
                method_options: PagerOptions { continuation: page.cloned(), ..Default::default() },
            };
            let pages = vault.client.list_key_properties_versions(name.key, Some(options))?;
            one_page(pages.into_pages()).await
        });
        listed.await.map_err(|failed| refusal(LIST, key, &failed))
    }

    /// The host of the vault in which keys are made and listed.
    pub(super) fn the_vault(&self) -> Result<&str, ProviderError> {
        let Some(host) = self.vault_of_settings() else {
            let message = "it is not known in which vault keys are made and listed: set `vault` under [azure], as \
                           NAME.vault.azure.net";
            return Err(failure(Invalid, None, message)
                .with_source(envelope_sdk::registry::MissingSetting::new(crate::failure::NAME, "vault")));
        };
        Self::uri_in(host, "k")?;
        Ok(host)
    }

    /// The key URI of a key in a vault.
    pub(super) fn uri_in(host: &str, name: &str) -> Result<KeyUri, ProviderError> {
        KeyUri::parse(&format!("azurekeyvault://{host}/keys/{name}"))
            .ok()
            .filter(|uri| name_of(uri).is_ok_and(|parts| parts.host == host && parts.key == name))
            .ok_or_else(|| {
                let message = "a vault is named NAME.vault.azure.net or NAME.managedhsm.azure.net (or as another cloud has \
                               it), and a key with 1 to 127 of A–Z a–z 0–9 -";
                failure(Invalid, None, message)
            })
    }

    /// A page of the keys of the vault of the settings that can wrap, without those that
    /// the caller may not look at; and what names the next page.
    pub(super) async fn page_of_keys(
        &self,
        page: Option<&str>,
    ) -> Result<(Vec<AzureKey>, Option<String>), ProviderError> {
        let host = self.the_vault()?;
        let any = Self::uri_in(host, "k")?;
        let (vault, _) = self.at(&any).await.map_err(|error| failure(error.kind(), None, error.message()))?;
        let start = format!("{}/keys?", vault.url);
        let here = match page {
            None => None,
            Some(page) => {
                let link = page.starts_with(&start).then(|| Url::parse(page).ok()).flatten();
                let link = link.filter(|link| {
                    page.len() <= MAX_LINK_LEN
                        && link.as_str() == page
                        && link.query_pairs().any(|(name, _)| name == "$skiptoken")
                });
                let no_page = || {
                    failure(Invalid, None, "this is no page of the list of keys of the vault of the settings")
                };
                Some(PagerContinuation::Link(link.ok_or_else(no_page)?))
            }
        };
        let listed = self.reach().limits.again(|| async {
            let options = KeyClientListKeyPropertiesOptions {
                maxresults: Some(PAGE),
                method_options: PagerOptions { continuation: here.clone(), ..Default::default() },
            };
            one_page(vault.client.list_key_properties(Some(options))?.into_pages()).await
        });
        let (listed, next) = listed.await.map_err(|failed| refusal(LIST, None, &failed))?;
        let next = next.map(String::from);
        if next.as_deref().is_some_and(|next| Some(next) == page || !next.starts_with(&start)) {
            let message =
                "the vault says that the list goes on, and not where: do not trust what stands between";
            return Err(failure(Protocol, None, message));
        }
        check_len(listed.value.len(), None)?;
        let mut found = BTreeSet::new();
        for key in listed.value {
            let name = key
                .kid
                .as_deref()
                .and_then(|kid| kid.strip_prefix(vault.url.as_str())?.strip_prefix("/keys/"));
            let uri = name.and_then(|name| Self::uri_in(host, name).ok());
            if !found.insert(uri.ok_or_else(|| failure(Protocol, None, OTHER_PLACE))?) {
                return Err(failure(Protocol, None, TWICE));
            }
        }
        let (found, mut keys) = (Vec::from_iter(found), Vec::new());
        for some in found.chunks(AT_ONCE) {
            for described in join_all(some.iter().map(|uri| self.describe(uri))).await {
                match described {
                    Ok(key) if key.wraps() && key.deleted.is_none() => keys.push(key),
                    Ok(_) => {}
                    Err(error) if matches!(error.kind(), AccessDenied | NotFound) => {}
                    Err(error) => return Err(error),
                }
            }
        }
        keys.sort_by(|one, other| one.uri.cmp(&other.uri));
        Ok((keys, next))
    }
}

/// The version that an answer about a key tells, as its current one.
pub(super) fn version_told(
    key: &KeyUri,
    vault: &Vault,
    name: VaultKey<'_>,
    told: &Key,
) -> Result<AzureVersion, ProviderError> {
    let kid = told.key.as_ref().and_then(|key| key.kid.as_deref());
    let version = kid.and_then(|kid| version_of(&vault.url, name.key, kid));
    let version = version.ok_or_else(|| failure(Protocol, key, OTHER_PLACE))?;
    let mut version = AzureVersion::of(version, told.attributes.as_ref(), told.tags.as_ref());
    version.current = true;
    Ok(version)
}

/// An answer with a list, whatever that holds.
#[derive(Deserialize)]
struct HasList {
    #[serde(rename = "value")]
    _value: IgnoredAny,
}

/// A page, and where the list goes on.
async fn one_page(
    mut pages: PageIterator<Response<ListKeyPropertiesResult>>,
) -> azure_core::Result<(ListKeyPropertiesResult, Option<PagerContinuation>)> {
    let listed: ListKeyPropertiesResult = match pages.next().await {
        Some(listed) => {
            let body = listed?.into_body();
            // The client takes an answer that holds no list for one that is empty.
            let _: HasList = from_json(&body)?;
            from_json(&body)?
        }
        None => ListKeyPropertiesResult::default(),
    };
    let more = listed.next_link.as_deref().is_some_and(|link| !link.is_empty());
    Ok((listed, pages.into_continuation().filter(|_| more)))
}

/// No more than was asked for: a page without an end would fill the memory.
fn check_len<'k>(len: usize, key: impl Into<Option<&'k KeyUri>>) -> Result<(), ProviderError> {
    if len <= PAGE.unsigned_abs() as usize {
        return Ok(());
    }
    Err(failure(Protocol, key, "the vault listed more than was asked for: do not trust what stands between"))
}

const TWICE: &str = "the vault listed something twice: do not trust what stands between";
/// Keys or versions of a page: at most 25.
const PAGE: i32 = 25;
/// Keys that are described at once: vaults throttle.
const AT_ONCE: usize = 8;
const MAX_LINK_LEN: usize = 8192;
