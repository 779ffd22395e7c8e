//! Describing and listing keys.

use aws_sdk_kms::types::KeyMetadata;
use envelope_sdk::{
    KeyUri, ProviderError,
    ProviderErrorKind::{AccessDenied, Invalid, NotFound, Protocol},
    key_uri::aws::KeyArn,
};
use futures_util::future::join_all;

use super::key::AwsKey;
use crate::{AwsKms, error::failure, transport::Unlogged};

impl AwsKms {
    /// Describes a key, by ARN or alias, in the words of KMS.
    ///
    /// # Errors
    ///
    /// What KMS says (kms:DescribeKey).
    pub async fn describe(&self, key: &KeyUri) -> Result<AwsKey, ProviderError> {
        let arn = self.arn(key)?;
        let call = self.client(arn.region).await?.describe_key().key_id(arn.text);
        let described = call.send().unlogged().await;
        let described = described.map_err(|error| self.refused("kms:DescribeKey", key, &error))?;
        let described = key_of(described.key_metadata, key)?;
        self.key_behind(key, Some(described.uri.rest().trim_start_matches('/')))?;
        Ok(described)
    }

    /// A page of the keys of the account in the region of the configuration that
    /// can wrap, without those that AWS made for its services and those that the
    /// caller may not describe; and what names the next page.
    pub(super) async fn page_of_keys(
        &self,
        page: Option<&str>,
    ) -> Result<(Vec<AwsKey>, Option<String>), ProviderError> {
        let region = self.region_of_new_keys().await?;
        // A marker is of its region.
        let prefix = format!("{region}:");
        let marker = page.map(|page| {
            let message = format!("this is no page of the list of keys of AWS KMS in {region}");
            page.strip_prefix(&prefix).ok_or_else(|| failure(Invalid, None, message))
        });
        let marker = marker.transpose()?;
        let call = self.client(&region).await?.list_keys().limit(PAGE).set_marker(marker.map(str::to_owned));
        let listed = call.send().unlogged().await;
        let listed = listed.map_err(|error| self.refused("kms:ListKeys", None, &error))?;
        let next = match (listed.truncated, listed.next_marker) {
            (false, _) => None,
            (true, Some(marker)) => Some(format!("{prefix}{marker}")),
            (true, None) => {
                let message =
                    "KMS says that the list goes on, and not where: do not trust what stands between";
                return Err(failure(Protocol, None, message));
            }
        };
        let arns = listed.keys.unwrap_or_default().into_iter().filter_map(|entry| entry.key_arn);
        let uris: Vec<KeyUri> = arns.filter_map(|arn| KeyUri::parse(&arn).ok()).collect();
        check_listed(&uris, &region)?;
        let mut keys = Vec::new();
        for some in uris.chunks(AT_ONCE) {
            for described in join_all(some.iter().map(|uri| self.describe(uri))).await {
                match described {
                    Ok(key) if key.wraps && !key.aws_managed => keys.push(key),
                    Ok(_) => {}
                    // Deleted meanwhile, or another team's.
                    Err(error) if matches!(error.kind(), AccessDenied | NotFound) => {}
                    Err(error) => return Err(error),
                }
            }
        }
        keys.sort_by(|one, other| one.uri.cmp(&other.uri));
        Ok((keys, next))
    }

    pub(super) async fn region_of_new_keys(&self) -> Result<String, ProviderError> {
        let settled = self.settled().await?;
        settled.region().map(str::to_owned).ok_or_else(|| {
            self.forget_settings();
            let message = "no region is configured: set AWS_REGION, or the region of the profile";
            failure(Invalid, None, message)
        })
    }
}

/// Keys are listed of one region and account.
fn check_listed(keys: &[KeyUri], region: &str) -> Result<(), ProviderError> {
    let Some(first) = keys.first().and_then(KeyArn::of) else { return Ok(()) };
    let fits =
        |key: &KeyUri| KeyArn::of(key).is_some_and(|arn| arn.region == region && arn.same_account(&first));
    if keys.iter().all(fits) {
        return Ok(());
    }
    let message = "KMS listed keys of another region or account: do not trust what stands between";
    Err(failure(Protocol, None, message))
}

/// The key of an answer to a call that asked for `asked`.
pub(super) fn key_of<'k>(
    metadata: Option<KeyMetadata>,
    asked: impl Into<Option<&'k KeyUri>>,
) -> Result<AwsKey, ProviderError> {
    metadata
        .and_then(AwsKey::of)
        .ok_or_else(|| failure(Protocol, asked, "KMS answered without the description of a key"))
}

const PAGE: i32 = 100;
/// Keys that are described at once: KMS throttles by account.
const AT_ONCE: usize = 8;
