//! Describing and listing keys.

use std::collections::BTreeSet;

use envelope_sdk::{
    KeyUri, ProviderError,
    ProviderErrorKind::{AccessDenied, Invalid, NotFound, Protocol, Unsupported},
    key_uri::vault::is_transit_key_name,
};
use futures_util::future::join_all;
use serde::Deserialize;

use super::{
    key::{Told, TransitKey},
    path,
};
use crate::{
    HashiVault,
    call::{Call, Failed},
    error::{refusal, unreadable},
    failure::failure,
    scheme::name_of,
};

#[derive(Deserialize)]
struct Names {
    keys: Vec<String>,
}

impl HashiVault {
    /// Describes a key and all of its versions, in the words of Transit.
    ///
    /// # Errors
    ///
    /// What the server says (`read` on `MOUNT/keys/KEY`);
    /// [`Protocol`](envelope_sdk::ProviderErrorKind::Protocol) for an answer about another key, or one that contradicts
    /// itself.
    pub async fn describe(&self, key: &KeyUri) -> Result<TransitKey, ProviderError> {
        let name = name_of(key)?;
        let call = Call::read(path(name, ""));
        let answer = self.reach().call(&call).await.map_err(|failed| refusal(&call, key, &failed))?;
        let told: Told = answer.data().ok_or_else(|| unreadable(key))?;
        if told.name != name.key {
            return Err(failure(Protocol, key, OTHER_KEY));
        }
        TransitKey::read(key.clone(), told).ok_or_else(|| unreadable(key))
    }

    /// The key, if it is one that wraps: another is not changed here.
    pub(super) async fn describe_ours(&self, key: &KeyUri) -> Result<TransitKey, ProviderError> {
        let told = self.describe(key).await?;
        if told.wraps() { Ok(told) } else { Err(failure(Unsupported, key, OTHER_KIND)) }
    }

    /// The key after a change, which it must show.
    pub(super) async fn describe_changed(
        &self,
        key: &KeyUri,
        shows: impl FnOnce(&TransitKey) -> bool,
    ) -> Result<TransitKey, ProviderError> {
        let told = self.describe(key).await.map_err(|error| {
            let message =
                format!("the key was changed, and could not be described then: {}", error.message());
            // Called again it would be made, or rotated, once more.
            failure(error.kind(), key, message).retryable(false)
        })?;
        if shows(&told) { Ok(told) } else { Err(failure(Protocol, key, super::NOT_DONE)) }
    }

    /// Some of the keys that wrap and that the caller may look at, and where the list goes on. Transit has but one page of
    /// names: what is asked for key by key is the rest.
    pub(super) async fn page_of_keys(
        &self,
        page: Option<&str>,
    ) -> Result<(Vec<TransitKey>, Option<String>), ProviderError> {
        let after = page.map(|page| {
            let name = page.strip_prefix(AFTER).filter(|name| is_transit_key_name(name));
            name.ok_or_else(|| failure(Invalid, None, "this is no page of the list: begin it anew"))
        });
        let after = after.transpose()?;
        let mut rest: Vec<String> = self.names().await?.into_iter().collect();
        rest.retain(|name| after.is_none_or(|after| name.as_str() > after));
        let more = rest.len() > PAGE;
        rest.truncate(PAGE);
        let next = rest.last().filter(|_| more).map(|last| format!("{AFTER}{last}"));
        let uris = rest.iter().map(|name| self.uri_of(name)).collect::<Result<Vec<_>, _>>()?;
        let mut keys = Vec::with_capacity(uris.len());
        for some in uris.chunks(AT_ONCE) {
            for described in join_all(some.iter().map(|uri| self.describe(uri))).await {
                match described {
                    Ok(key) if key.wraps() => keys.push(key),
                    Ok(_) => {}
                    Err(error) if matches!(error.kind(), AccessDenied | NotFound) => {}
                    Err(error) => return Err(error),
                }
            }
        }
        Ok((keys, next))
    }

    async fn names(&self) -> Result<BTreeSet<String>, ProviderError> {
        // It must be a mount, before it becomes a path.
        self.uri_of("k")?;
        let call = Call::list(format!("{}/keys", self.mount()));
        let listed = match self.reach().call(&call).await {
            Ok(answer) => answer.data::<Names>().ok_or_else(|| unreadable(None))?.keys,
            Err(failed) if is_empty(&failed) => Vec::new(),
            Err(failed) => return Err(refusal(&call, None, &failed)),
        };
        let len = listed.len();
        let names: BTreeSet<String> = listed.into_iter().filter(|name| is_transit_key_name(name)).collect();
        if names.len() == len { Ok(names) } else { Err(failure(Protocol, None, NO_NAMES)) }
    }

    /// The key of that name in the mount of the settings.
    pub(super) fn uri_of(&self, name: &str) -> Result<KeyUri, ProviderError> {
        let mount = self.mount();
        let uri = KeyUri::parse(&format!("hashivault://{mount}/{name}")).ok();
        let is_it = |uri: &KeyUri| name_of(uri).is_ok_and(|parts| parts.mount == mount && parts.key == name);
        uri.filter(is_it).ok_or_else(|| {
            let message = "the mount of the settings is none in which keys can be named: set `mount` to where Transit is \
                           mounted, such as transit";
            failure(Invalid, None, message)
        })
    }
}

/// So Vault answers where there is nothing to list. Where nothing is mounted, it says so.
fn is_empty(failed: &Failed) -> bool {
    matches!(failed, Failed::Refused(refused) if refused.status == 404 && refused.errors.as_ref().is_some_and(Vec::is_empty))
}

const OTHER_KEY: &str =
    "the server answered for another key than was asked: do not trust what stands between";
pub(super) const OTHER_KIND: &str =
    "this is a key of another type, which wraps no DEKs, and is not managed here";
const NO_NAMES: &str =
    "the server listed what is no name of a key, or one twice: do not trust what stands between";
/// How a page is named: by the last key of the one before.
const AFTER: &str = "after ";
/// Keys of a page.
const PAGE: usize = 100;
/// Keys that are described at once.
const AT_ONCE: usize = 8;
