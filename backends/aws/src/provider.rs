//! Wrapping and unwrapping with Encrypt and Decrypt, `GenerateDataKey` and
//! `ReEncrypt`.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    error::Error,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use aws_sdk_kms::{
    Client,
    config::http::HttpResponse,
    error::{ProvideErrorMetadata, SdkError},
    primitives::Blob,
    types::DataKeySpec,
};
use envelope_sdk::{
    ContextBinding, Dek, FullContext, KeyProvider, KeyUri, ProviderError, ProviderErrorKind,
    ProviderIdentity, WrappedDek, key_uri::aws::KeyArn,
};
use zeroize::Zeroizing;

use crate::{
    error::{NAME, failure, finds_credentials_refused, finds_no_credentials, refusal},
    reach::{Reach, Settled},
    transport::{Unlogged, counted},
};

/// Keys of AWS KMS, as many as are named, in any region and account that the
/// credentials reach.
///
/// - A DEK is wrapped by Encrypt and unwrapped by Decrypt, each with the key's
///   ARN and with the full context as the KMS encryption context.
/// - The DEK of a new envelope is made by `GenerateDataKey` of the first of its
///   keys that is one of KMS.
/// - A rewrap between keys of one account and region is a `ReEncrypt`, where the
///   caller may; otherwise Decrypt and Encrypt.
/// - A wrap names the ARN of the key, also where an alias was configured.
/// - An alias that is configured to decrypt costs a `DescribeKey`, once, when
///   something that it may mean is to be opened.
/// - A key is asked in the region of its ARN. There is one client for each
///   region, made when it is first needed.
/// - It needs a tokio runtime with time and I/O.
pub struct AwsKms {
    identity: ProviderIdentity,
    reach: Reach,
    replica_regions: Vec<String>,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    /// The key behind each alias, as KMS said last: a caller that may wrap under
    /// an alias need not be one that may describe it.
    aliases: BTreeMap<KeyUri, KeyUri>,
    /// From which key to which one the caller may not rewrap: asking again would
    /// fill CloudTrail with refusals.
    not_rewrapping: BTreeSet<(KeyUri, KeyUri)>,
}

impl AwsKms {
    pub(crate) fn new(reach: Reach, replica_regions: Vec<String>) -> Self {
        Self { identity: ProviderIdentity::unique(), reach, replica_regions, known: Mutex::default() }
    }

    /// The settings, read if they were not.
    pub(crate) async fn settled(&self) -> Result<Arc<Settled>, ProviderError> {
        self.reach.settled().await
    }

    /// The client of a region.
    pub(crate) async fn client(&self, region: &str) -> Result<Client, ProviderError> {
        self.settled().await?.client(region)
    }

    /// Has the next call read the settings anew: they lack something.
    pub(crate) fn forget_settings(&self) {
        self.reach.forget();
    }

    /// The error of a call that needs the permission `action`, such as
    /// `kms:Encrypt`. Settings without credentials, or with some that AWS does not accept any more, are read
    /// anew by the next call.
    pub(crate) fn refused<'k, E>(
        &self,
        action: &str,
        key: impl Into<Option<&'k KeyUri>>,
        error: &SdkError<E, HttpResponse>,
    ) -> ProviderError
    where
        E: ProvideErrorMetadata + Error + 'static,
    {
        if finds_no_credentials(error) || finds_credentials_refused(error) {
            self.forget_settings();
        }
        refusal(action, key.into(), error)
    }

    pub(crate) fn arn<'u>(&self, key: &'u KeyUri) -> Result<KeyArn<'u>, ProviderError> {
        KeyArn::of(key).ok_or_else(|| {
            let message = "a key of AWS KMS is named awskms:///arn:aws:kms:REGION:ACCOUNT:key/ID";
            failure(ProviderErrorKind::Unsupported, key, message)
        })
    }

    /// The key that KMS says it used, which must be the one that was asked, or
    /// one of the same account and region for an alias.
    pub(crate) fn key_behind(&self, asked: &KeyUri, answered: Option<&str>) -> Result<KeyUri, ProviderError> {
        let (arn, other) = (self.arn(asked)?, answered.and_then(|arn| KeyUri::parse(arn).ok()));
        let fits = |key: &KeyUri| {
            KeyArn::of(key).is_some_and(|answered| {
                answered == arn
                    || (arn.is_alias()
                        && !answered.is_alias()
                        && answered.same_account(&arn)
                        && answered.region == arn.region)
            })
        };
        let Some(key) = other.filter(fits) else {
            return Err(failure(ProviderErrorKind::Protocol, asked, OTHER_KEY));
        };
        if arn.is_alias() {
            self.known().aliases.insert(asked.clone(), key.clone());
        }
        Ok(key)
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        // Each change of it is one insertion.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Unwraps with the key, or with its replica in another region.
    async fn unwrap_in(
        &self,
        region: &str,
        wrapped: &WrappedDek,
        context: &FullContext,
    ) -> Result<Dek, ProviderError> {
        let key = wrapped.key_uri();
        let asked = self.arn(key)?.in_region(region);
        let sent = self
            .client(region)
            .await?
            .decrypt()
            .key_id(&asked)
            .ciphertext_blob(Blob::new(wrapped.ciphertext()))
            .set_encryption_context(entries(context))
            .send()
            .unlogged()
            .await;
        let output = sent.map_err(|error| self.refused("kms:Decrypt", key, &error))?;
        // Wrong bytes in the wrap of another writer, not an answer that is broken.
        let dek = take_dek(output.plaintext, "Decrypt", key, ProviderErrorKind::Unauthentic);
        if output.key_id.as_deref() != Some(&asked) {
            return Err(failure(ProviderErrorKind::Protocol, key, OTHER_KEY));
        }
        dek
    }

    /// Unwraps with the key, or with the first of its replicas that answers.
    async fn unwrap(&self, wrapped: &WrappedDek, context: &FullContext) -> Result<Dek, ProviderError> {
        let key = wrapped.key_uri();
        let arn = self.wrapped_by(wrapped)?;
        if !arn.is_multi_region() || self.replica_regions.is_empty() {
            return self.unwrap_in(arn.region, wrapped, context).await;
        }
        let mut first = None;
        for region in &self.replica_regions {
            match self.unwrap_in(region, wrapped, context).await {
                Err(error) if error.is_retryable() || error.kind() == ProviderErrorKind::NotFound => {
                    first.get_or_insert(error);
                }
                outcome => return outcome,
            }
        }
        Err(first.unwrap_or_else(|| failure(ProviderErrorKind::Other, key, "no region was asked")))
    }

    /// A wrap by `answered`, which KMS says it used for `asked`.
    fn take_wrap(
        &self,
        call: &str,
        asked: &KeyUri,
        answered: Option<&str>,
        ciphertext: Option<Blob>,
    ) -> Result<WrappedDek, ProviderError> {
        let used = self.key_behind(asked, answered)?;
        let ciphertext = ciphertext.map(Blob::into_inner).unwrap_or_default();
        if ciphertext.is_empty() {
            let message =
                format!("KMS answered {call} without a ciphertext: do not trust what stands between");
            return Err(failure(ProviderErrorKind::Protocol, asked, message));
        }
        WrappedDek::new(used, "", ALGORITHM, ciphertext)
    }

    /// The ARN of the key that wrapped.
    fn wrapped_by<'w>(&self, wrapped: &'w WrappedDek) -> Result<KeyArn<'w>, ProviderError> {
        let arn = self.arn(wrapped.key_uri())?;
        if wrapped.wrap_algorithm() != ALGORITHM || !wrapped.key_version().is_empty() {
            let message = "this is no wrap of algorithm AWS-KMS without version";
            return Err(failure(ProviderErrorKind::Unsupported, wrapped.key_uri(), message));
        }
        Ok(arn)
    }
}

#[async_trait]
impl KeyProvider for AwsKms {
    fn name(&self) -> &'static str {
        NAME
    }

    fn identity(&self) -> Option<ProviderIdentity> {
        Some(self.identity)
    }

    /// The key that an alias means now: asks KMS (kms:DescribeKey). A key is
    /// returned as it is, and nobody is asked.
    async fn resolve(&self, key: &KeyUri) -> Result<KeyUri, ProviderError> {
        tried(async {
            let arn = self.arn(key)?;
            if !arn.is_alias() {
                return Ok(key.clone());
            }
            let call = self.client(arn.region).await?.describe_key().key_id(arn.text);
            let described = call.send().unlogged().await;
            let described = described.map_err(|error| self.refused("kms:DescribeKey", key, &error))?;
            let arn = described.key_metadata.and_then(|metadata| metadata.arn);
            self.key_behind(key, arn.as_deref())
        })
        .await
    }

    fn context_binding(&self, _wrapped: &WrappedDek) -> ContextBinding {
        ContextBinding::Provider
    }

    /// Besides equality: an alias means the key that KMS last said it means, and
    /// the replicas of a multi-region key are one key if `configured` lies
    /// in one of the [replica regions](crate::AwsKmsBuilder::replica_regions).
    fn is_same_key(&self, configured: &KeyUri, recipient: &KeyUri) -> bool {
        let resolved = self.known().aliases.get(configured).cloned();
        let configured = resolved.as_ref().unwrap_or(configured);
        if configured == recipient {
            return true;
        }
        let (Some(configured), Some(recipient)) = (KeyArn::of(configured), KeyArn::of(recipient)) else {
            return false;
        };
        configured.is_multi_region()
            && configured.name == recipient.name
            && configured.same_account(&recipient)
            && self.replica_regions.iter().any(|region| region == configured.region)
    }

    async fn wrap_dek(
        &self,
        key: &KeyUri,
        dek: &Dek,
        context: &FullContext,
    ) -> Result<WrappedDek, ProviderError> {
        tried(async {
            let arn = self.arn(key)?;
            let sent = self
                .client(arn.region)
                .await?
                .encrypt()
                .key_id(arn.text)
                .plaintext(Blob::new(dek.expose()))
                .set_encryption_context(entries(context))
                .send()
                .unlogged()
                .await;
            let output = sent.map_err(|error| self.refused("kms:Encrypt", key, &error))?;
            self.take_wrap("Encrypt", key, output.key_id.as_deref(), output.ciphertext_blob)
        })
        .await
    }

    async fn unwrap_dek(&self, wrapped: &WrappedDek, context: &FullContext) -> Result<Dek, ProviderError> {
        tried(self.unwrap(wrapped, context)).await
    }

    fn binding_of_new_wraps(&self, _key: &KeyUri) -> Option<ContextBinding> {
        Some(ContextBinding::Provider)
    }

    fn generates_deks(&self, _key: &KeyUri) -> bool {
        true
    }

    async fn generate_dek(
        &self,
        key: &KeyUri,
        context: &FullContext,
    ) -> Result<(Dek, WrappedDek), ProviderError> {
        tried(async {
            let arn = self.arn(key)?;
            let sent = self
                .client(arn.region)
                .await?
                .generate_data_key()
                .key_id(arn.text)
                .key_spec(DataKeySpec::Aes256)
                .set_encryption_context(entries(context))
                .send()
                .unlogged()
                .await;
            let output = sent.map_err(|error| self.refused("kms:GenerateDataKey", key, &error))?;
            let dek = take_dek(output.plaintext, "GenerateDataKey", key, ProviderErrorKind::Protocol);
            let wrapped =
                self.take_wrap("GenerateDataKey", key, output.key_id.as_deref(), output.ciphertext_blob)?;
            Ok((dek?, wrapped))
        })
        .await
    }

    /// Within one account and region; `None` elsewhere, where KMS does not know
    /// the call and where the caller lacks `kms:ReEncryptFrom` or
    /// `kms:ReEncryptTo`.
    async fn rewrap_dek(
        &self,
        wrapped: &WrappedDek,
        key: &KeyUri,
        context: &FullContext,
    ) -> Result<Option<WrappedDek>, ProviderError> {
        tried(async {
            let (from, to) = (self.wrapped_by(wrapped)?, self.arn(key)?);
            let pair = (wrapped.key_uri().clone(), key.clone());
            if !from.same_account(&to)
                || from.region != to.region
                || self.known().not_rewrapping.contains(&pair)
            {
                return Ok(None);
            }
            let sent = self
                .client(to.region)
                .await?
                .re_encrypt()
                .source_key_id(from.text)
                .ciphertext_blob(Blob::new(wrapped.ciphertext()))
                .set_source_encryption_context(entries(context))
                .destination_key_id(to.text)
                .set_destination_encryption_context(entries(context))
                .send()
                .unlogged()
                .await;
            let output = match sent {
                Ok(output) => output,
                Err(error) => {
                    let refused = self.refused("kms:ReEncrypt*", key, &error);
                    // Credentials that expired are renewed; a permission that is missing stays so.
                    let stays = error.code() == Some("AccessDeniedException")
                        || refused.kind() == ProviderErrorKind::Unsupported;
                    if !stays {
                        return Err(refused);
                    }
                    self.known().not_rewrapping.insert(pair);
                    return Ok(None);
                }
            };
            if output.source_key_id.as_deref() != Some(from.text) {
                return Err(failure(ProviderErrorKind::Protocol, wrapped.key_uri(), OTHER_KEY));
            }
            self.take_wrap("ReEncrypt", key, output.key_id.as_deref(), output.ciphertext_blob).map(Some)
        })
        .await
    }
}

/// A call whose error says how often KMS was asked, in all regions together.
async fn tried<T>(call: impl Future<Output = Result<T, ProviderError>>) -> Result<T, ProviderError> {
    let (outcome, attempts) = counted(call).await;
    outcome.map_err(|error| error.with_attempts(attempts))
}

/// The DEK of an answer to `call`, to be taken before anything else: what came is
/// wiped whatever follows. The answer is never printed.
fn take_dek(
    plaintext: Option<Blob>,
    call: &str,
    key: &KeyUri,
    of_another_length: ProviderErrorKind,
) -> Result<Dek, ProviderError> {
    let plaintext = Zeroizing::new(plaintext.map(Blob::into_inner).unwrap_or_default());
    if plaintext.is_empty() {
        let message = format!("KMS answered {call} without a plaintext: do not trust what stands between");
        return Err(failure(ProviderErrorKind::Protocol, key, message));
    }
    Dek::from_slice(&plaintext).map_err(|_| {
        let message = format!("the plaintext of {call} is no DEK, which has 32 bytes");
        failure(of_another_length, key, message)
    })
}

/// The KMS encryption context. KMS takes no empty map for none.
fn entries(context: &FullContext) -> Option<HashMap<String, String>> {
    let entries: HashMap<_, _> =
        context.entries().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    (!entries.is_empty()).then_some(entries)
}

const ALGORITHM: &str = "AWS-KMS";
const OTHER_KEY: &str = "KMS did not answer for the key that was asked: do not trust what stands between";
