//! Describing and listing keys.

use std::collections::{BTreeSet, HashSet};

use envelope_sdk::{
    KeyUri, ProviderError,
    ProviderErrorKind::{AccessDenied, Invalid, NotFound, Protocol},
    admin::{Detail, Details},
    key_uri::gcp::CryptoKeyName,
};
use futures_util::future::join_all;

use super::{
    GET, GET_VERSION, LIST, LIST_VERSIONS, OTHER_PLACE, PAGE, Pages, imports::GcpImportJob, key::GcpKey,
    version::GcpVersion,
};
use crate::{GcpKms, call::Within, error::failure, reach::Settled};

impl GcpKms {
    /// Describes a key and all of its versions, in the words of KMS.
    ///
    /// # Errors
    ///
    /// What KMS says (cloudkms.cryptoKeys.get, cloudkms.cryptoKeyVersions.list).
    pub async fn describe(&self, key: &KeyUri) -> Result<GcpKey, ProviderError> {
        let name = self.resource(key)?;
        let Settled { client, limits } = self.settled().await.map_err(|error| error.about(key))?;
        let call = limits.again(client.get_crypto_key().set_name(name.text));
        let told = call.send().until(limits.deadline()).await;
        let told = told.map_err(|failed| self.refused(GET, key, &failed))?;
        let primary = told.primary.as_ref().map(|primary| primary.name.clone());
        let told = GcpKey::of(told).filter(|told| told.uri == *key);
        let told = told.ok_or_else(|| failure(Protocol, key, OTHER_PLACE))?;
        let versions = self.versions_of(key, primary.as_deref()).await?;
        Ok(told.with_versions(versions))
    }

    async fn versions_of(
        &self,
        key: &KeyUri,
        primary: Option<&str>,
    ) -> Result<Vec<GcpVersion>, ProviderError> {
        let name = self.resource(key)?;
        let Settled { client, limits } = self.settled().await?;
        let (mut versions, mut pages, mut page) = (Vec::new(), Pages::default(), String::new());
        loop {
            let call = client.list_crypto_key_versions().set_parent(name.text).set_page_size(PAGE);
            let call = limits.again(call.set_page_token(page));
            let listed = call.send().until(limits.deadline()).await;
            let listed = listed.map_err(|failed| self.refused(LIST_VERSIONS, key, &failed))?;
            Pages::check_count(listed.crypto_key_versions.len(), key)?;
            for version in listed.crypto_key_versions {
                let version = GcpVersion::of(name.text, version, primary);
                versions.push(version.ok_or_else(|| failure(Protocol, key, OTHER_PLACE))?);
            }
            match pages.turn(listed.next_page_token, key)? {
                Some(next) => page = next,
                None => {
                    let numbers: HashSet<&str> = versions.iter().map(|it| it.version.as_str()).collect();
                    let is_there = primary.is_none() || versions.iter().any(|version| version.primary);
                    if numbers.len() < versions.len() || !is_there {
                        return Err(failure(Protocol, key, CONTRADICTS));
                    }
                    return Ok(versions);
                }
            }
        }
    }

    /// One version of a key, in the words of KMS.
    pub(super) async fn version_now(&self, key: &KeyUri, version: &str) -> Result<GcpVersion, ProviderError> {
        let name = self.resource(key)?;
        let Settled { client, limits } = self.settled().await?;
        let full = format!("{}/cryptoKeyVersions/{version}", name.text);
        let call = limits.again(client.get_crypto_key_version().set_name(&full));
        let told = call.send().until(limits.deadline()).await;
        let told = told.map_err(|failed| self.refused(GET_VERSION, key, &failed))?;
        let told = GcpVersion::of(name.text, told, None).filter(|told| told.version == version);
        told.ok_or_else(|| failure(Protocol, key, OTHER_PLACE))
    }

    /// A page of the keys of the key ring of the settings that can wrap, without
    /// those whose versions the caller may not list; and what names the next page.
    pub(super) async fn page_of_keys(
        &self,
        page: Option<&str>,
    ) -> Result<(Vec<GcpKey>, Option<String>), ProviderError> {
        let ring = self.the_key_ring()?;
        // A token is of its key ring.
        let token = page.map(|page| {
            let token = page.strip_prefix(ring).and_then(|rest| rest.strip_prefix(' '));
            token.filter(|token| is_token(token)).ok_or_else(|| {
                failure(Invalid, None, "this is no page of the list of keys of the key ring of the settings")
            })
        });
        let token = token.transpose()?.unwrap_or_default();
        let Settled { client, limits } = self.settled().await?;
        let call = client.list_crypto_keys().set_parent(ring).set_page_size(PAGE).set_page_token(token);
        let listed = limits.again(call).send().until(limits.deadline()).await;
        let listed = listed.map_err(|failed| self.refused(LIST, None, &failed))?;
        Pages::check_count(listed.crypto_keys.len(), None)?;
        let next = Some(listed.next_page_token).filter(|next| !next.is_empty());
        if next.as_deref().is_some_and(|next| next == token || !is_token(next)) {
            let message =
                "Cloud KMS says that the list goes on, and not where: do not trust what stands between";
            return Err(failure(Protocol, None, message));
        }
        let mut found = Vec::new();
        for key in listed.crypto_keys {
            let primary = key.primary.as_ref().map(|primary| primary.name.clone());
            let key = GcpKey::of(key).filter(|key| is_in(ring, &key.uri));
            let key = key.ok_or_else(|| failure(Protocol, None, OTHER_PLACE))?;
            if key.wraps {
                found.push((key, primary));
            }
        }
        let mut keys = Vec::new();
        for some in found.chunks(AT_ONCE) {
            let versions = some.iter().map(|(key, primary)| self.versions_of(&key.uri, primary.as_deref()));
            for ((key, _), versions) in some.iter().zip(join_all(versions).await) {
                match versions {
                    Ok(versions) => keys.push(key.clone().with_versions(versions)),
                    Err(error) if matches!(error.kind(), AccessDenied | NotFound) => {}
                    Err(error) => return Err(error),
                }
            }
        }
        keys.sort_by(|one, other| one.uri.cmp(&other.uri));
        Ok((keys, next.map(|next| format!("{ring} {next}"))))
    }

    /// The import jobs by which the versions of a key came, as far as the caller may
    /// see them.
    pub(super) async fn import_jobs_of(&self, key: &GcpKey) -> Result<Option<Detail>, ProviderError> {
        let names: BTreeSet<&str> =
            key.versions.iter().filter_map(|version| version.import_job.as_deref()).collect();
        let mut jobs: Vec<Details> = Vec::new();
        for name in names {
            match self.import_job_of(&key.uri, name).await {
                Ok(job) => jobs.push(job.details()),
                Err(error) if matches!(error.kind(), AccessDenied | NotFound) => {}
                Err(error) => return Err(error),
            }
        }
        Ok((!jobs.is_empty()).then(|| jobs.into_iter().collect()))
    }

    async fn import_job_of(&self, key: &KeyUri, job: &str) -> Result<GcpImportJob, ProviderError> {
        let name = self.resource(key)?;
        let ring = name.text.split("/cryptoKeys/").next().unwrap_or_default();
        self.import_job_in(ring, job).await.map_err(|error| error.about(key))
    }
}

/// Whether a key lies in a key ring.
pub(super) fn is_in(ring: &str, key: &KeyUri) -> bool {
    CryptoKeyName::of(key)
        .and_then(|name| name.text.strip_prefix(ring))
        .is_some_and(|rest| rest.strip_prefix("/cryptoKeys/").is_some_and(|rest| !rest.contains('/')))
}

/// It stands in a query.
fn is_token(token: &str) -> bool {
    (1..=MAX_TOKEN_LEN).contains(&token.len()) && token.bytes().all(|byte| byte.is_ascii_graphic())
}

const CONTRADICTS: &str = "Cloud KMS tells of one version twice, or of a primary version that is none of the key's: do not trust \
                           what stands between";
/// Keys whose versions are listed at once: KMS throttles by project.
const AT_ONCE: usize = 8;
const MAX_TOKEN_LEN: usize = 4096;
