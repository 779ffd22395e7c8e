//! [`AzureKeyVault`]: wraps and unwraps DEKs under keys of Key Vault and Managed HSM.

mod algorithm;
mod answer;
mod kinds;
mod local;

use async_trait::async_trait;
use azure_core::http::RequestContent;
use azure_security_keyvault_keys::models::{
    EncryptionAlgorithm, KeyClientEncryptOptions, KeyClientGetKeyOptions, KeyClientWrapKeyOptions,
    KeyOperationParameters, KeyOperationResult,
};
use envelope_sdk::{
    ContextBinding, Dek, FullContext, KeyProvider, KeyUri, KeyUse, ProviderError,
    ProviderErrorKind::{Invalid, NotFound, Protocol, State, Unauthentic, Unsupported},
    ProviderIdentity, WrappedDek,
    key_uri::azure::VaultKey,
    lifecycle,
};
use zeroize::Zeroizing;

use crate::{
    AzureKeyVaultBuilder,
    admin::current_state,
    call::Failed,
    error::{Call, refusal, refusal_to_open, words},
    failure::{NAME, failure},
    reach::{Reach, Vault, name_of},
};
pub use algorithm::SymmetricAlgorithm;
use algorithm::Wrap;
pub(crate) use answer::{is_version, version_of};
pub(crate) use kinds::Ways;
use kinds::{Kinds, Known};

/// Keys of Azure Key Vault and Managed HSM, as many as are named, in any vault that the
/// credentials reach.
///
/// - RSA keys wrap by wrapKey with `RSA-OAEP-256`, never with SHA-1 or `RSA1_5`. They take
///   no context: the envelope binds it
///   ([`EnvelopeOnly`](ContextBinding::EnvelopeOnly)). They are **not post-quantum safe**.
/// - Symmetric keys (`oct-HSM`, of managed HSMs) encrypt with `A256GCM`, with the encoded
///   full context as the additional authenticated data; the service makes the IV. Or they
///   wrap with `A256KW`, if the settings say so, which takes no context.
/// - Which of them follows from the key's type, which is asked for once and again if the
///   vault then refuses; it is recorded, and nothing else is unwrapped than what is known.
/// - A wrap names the version that made it, and each answer is compared with the vault, the
///   key and the version that were asked.
/// - It needs a tokio runtime with time and I/O.
pub struct AzureKeyVault {
    identity: ProviderIdentity,
    reach: Reach,
    vault: Option<String>,
    ways: Ways,
    kinds: Kinds,
}

impl AzureKeyVault {
    /// Settings to change.
    pub fn builder() -> AzureKeyVaultBuilder {
        AzureKeyVaultBuilder::default()
    }

    pub(crate) fn new(settings: AzureKeyVaultBuilder) -> Self {
        let AzureKeyVaultBuilder { sources, domain, roots, limits, vault, ways } = settings;
        Self {
            identity: ProviderIdentity::unique(),
            reach: Reach::new(sources, domain, roots, limits),
            vault,
            ways,
            kinds: Kinds::default(),
        }
    }

    pub(crate) fn reach(&self) -> &Reach {
        &self.reach
    }

    /// The vault in which keys are made and listed.
    pub(crate) fn vault_of_settings(&self) -> Option<&str> {
        self.vault.as_deref()
    }

    pub(crate) fn ways(&self) -> Ways {
        self.ways
    }

    /// The vault of a key, and the key's parts.
    pub(crate) async fn at<'u>(&self, key: &'u KeyUri) -> Result<(Vault, VaultKey<'u>), ProviderError> {
        let name = name_of(key)?;
        Ok((self.reach.vault(name).await.map_err(|error| error.about(key))?, name))
    }

    /// What is known of a key, asked for if nothing is.
    async fn known(&self, key: &KeyUri) -> Result<Known, ProviderError> {
        match self.kinds.get(key) {
            Some(known) => Ok(known),
            None => self.look(key, None).await,
        }
    }

    /// Asks for a version of a key, or for the current one, and remembers what is told.
    async fn look(&self, key: &KeyUri, version: Option<&str>) -> Result<Known, ProviderError> {
        let (vault, name) = self.at(key).await?;
        let told = self.reach.limits.again(|| async {
            let options =
                KeyClientGetKeyOptions { key_version: version.map(str::to_owned), ..Default::default() };
            vault.client.get_key(name.key, Some(options)).await?.into_model()
        });
        let told = match told.await {
            Ok(told) => told,
            Err(failed) => return Err(self.explain(GET, key, &failed).await),
        };
        let (jwk, attributes) = (told.key.unwrap_or_default(), told.attributes);
        let version = answer::of_key(key, &vault.url, name.key, jwk.kid.as_deref())?;
        if told.managed == Some(true) {
            return Err(failure(Unsupported, key, words::MANAGED));
        }
        let known =
            Known::of(&jwk, version, self.ways).map_err(|(kind, message)| failure(kind, key, message))?;
        if known.public.is_some() {
            // What the vault would say of a wrap that was made there.
            let state = current_state(attributes.as_ref());
            lifecycle::check_use("the key", state, KeyUse::Wrap)
                .map_err(|message| failure(State, key, message))?;
            if !jwk.key_ops.iter().flatten().any(|permitted| permitted == WRAP_KEY) {
                return Err(failure(State, key, words::FORBIDDEN));
            }
        }
        self.kinds.learn(key, known.clone());
        Ok(known)
    }

    /// The error of a call that used a key. Of one that is not there it is asked
    /// whether it is deleted, and could be recovered.
    pub(crate) async fn explain(&self, call: Call, key: &KeyUri, failed: &Failed) -> ProviderError {
        let error = refusal(call, key, failed);
        if error.kind() == NotFound && matches!(self.deleted(key).await, Ok(Some(_))) {
            return failure(State, key, words::DELETED);
        }
        error
    }

    async fn wrap_with(
        &self,
        key: &KeyUri,
        dek: &Dek,
        context: &FullContext,
        known: &Known,
    ) -> Result<WrappedDek, Refused> {
        if let Some(public) = &known.public {
            let wrapped = public.wrap(dek).ok_or_else(|| failure(Invalid, key, local::NOT_WRAPPED))?;
            return Ok(WrappedDek::new(key.clone(), known.version.as_str(), known.wrap.name(), wrapped)?);
        }
        let (vault, name) = self.at(key).await?;
        let body = body(known.wrap.algorithm(), |parameters| {
            parameters.value = Some(dek.expose().to_vec());
            parameters.additional_authenticated_data =
                known.wrap.takes_context().then(|| context.as_bytes().to_vec());
        });
        let told = self.reach.limits.again(|| async {
            let body: RequestContent<KeyOperationParameters> = RequestContent::from(body.to_vec());
            let answer = if known.wrap.encrypts() {
                vault.client.encrypt(name.key, body, Some(KeyClientEncryptOptions::default())).await
            } else {
                vault.client.wrap_key(name.key, body, Some(KeyClientWrapKeyOptions::default())).await
            };
            answer?.into_model()
        });
        let told = match told.await {
            Ok(told) => told,
            Err(failed) => {
                let error = self.explain(known.wrap.wraps(), key, &failed).await;
                // Perhaps the current version is of another type than it was: it knows the algorithm no more, or
                // does not permit the operation.
                return Err(match error.kind() {
                    Invalid | State => Refused::Kind(error),
                    _ => error.into(),
                });
            }
        };
        let version = answer::of_key(key, &vault.url, name.key, told.kid.as_deref())?;
        let bytes = answer::wrapped(key, known.wrap, told)?;
        Ok(WrappedDek::new(key.clone(), version, known.wrap.name(), bytes)?)
    }

    async fn unwrap(&self, wrapped: &WrappedDek, context: &FullContext) -> Result<Dek, ProviderError> {
        let key = wrapped.key_uri();
        name_of(key)?;
        let wrap = Wrap::from_name(wrapped.wrap_algorithm()).filter(|_| is_version(wrapped.key_version()));
        let Some(wrap) = wrap else {
            let message = "this is no wrap by RSA-OAEP-256, A256GCM or A256KW of a version of Key Vault";
            return Err(failure(Unsupported, key, message));
        };
        let Some(parts) = wrap.split(wrapped.ciphertext()) else {
            return Err(failure(
                Unauthentic,
                key,
                "the wrapped DEK has a length that no wrap of its algorithm has",
            ));
        };
        let (vault, name) = self.at(key).await?;
        let body = body(wrap.algorithm(), |parameters| {
            parameters.value = Some(parts.value.to_vec());
            parameters.iv = parts.iv.map(<[u8]>::to_vec);
            parameters.authentication_tag = parts.tag.map(<[u8]>::to_vec);
            parameters.additional_authenticated_data =
                wrap.takes_context().then(|| context.as_bytes().to_vec());
        });
        let told = self.reach.limits.again(|| async {
            let body: RequestContent<KeyOperationParameters> = RequestContent::from(body.to_vec());
            let version = wrapped.key_version();
            let answer = if wrap.encrypts() {
                vault.client.decrypt(name.key, version, body, None).await
            } else {
                vault.client.unwrap_key(name.key, version, body, None).await
            };
            answer?.into_model()
        });
        let told: KeyOperationResult = match told.await {
            Ok(told) => told,
            Err(failed) => {
                let error = refusal_to_open(wrap.unwraps(), key, &failed);
                return Err(if error.kind() == NotFound {
                    self.explain(wrap.unwraps(), key, &failed).await
                } else {
                    error
                });
            }
        };
        let version = answer::of_key(key, &vault.url, name.key, told.kid.as_deref())?;
        answer::dek(key, wrapped.key_version(), &version, told)
    }
}

/// Why a wrap came to nothing.
enum Refused {
    /// Perhaps for the type of the key.
    Kind(ProviderError),
    Anyhow(ProviderError),
}

impl From<ProviderError> for Refused {
    fn from(error: ProviderError) -> Self {
        Self::Anyhow(error)
    }
}

/// The body of a request, for each attempt the same. It and the fields that it was made
/// of are wiped here; the client keeps a copy until the request is done.
fn body(
    algorithm: EncryptionAlgorithm,
    fill: impl FnOnce(&mut KeyOperationParameters),
) -> Zeroizing<Vec<u8>> {
    let mut parameters = KeyOperationParameters { algorithm: Some(algorithm), ..Default::default() };
    fill(&mut parameters);
    // Texts and bytes alone, which JSON always has a place for.
    let body = serde_json::to_vec(&parameters).unwrap_or_default();
    drop(parameters.value.map(Zeroizing::new));
    Zeroizing::new(body)
}

#[async_trait]
impl KeyProvider for AzureKeyVault {
    fn name(&self) -> &'static str {
        NAME
    }

    fn identity(&self) -> Option<ProviderIdentity> {
        Some(self.identity)
    }

    /// By the key store with `A256GCM` alone.
    fn context_binding(&self, wrapped: &WrappedDek) -> ContextBinding {
        match Wrap::from_name(wrapped.wrap_algorithm()) {
            Some(wrap) if wrap.takes_context() => ContextBinding::Provider,
            _ => ContextBinding::EnvelopeOnly,
        }
    }

    async fn wrap_dek(
        &self,
        key: &KeyUri,
        dek: &Dek,
        context: &FullContext,
    ) -> Result<WrappedDek, ProviderError> {
        let mut known = self.known(key).await?;
        let wrapped = match self.wrap_with(key, dek, context, &known).await {
            Ok(wrapped) => wrapped,
            Err(Refused::Anyhow(error)) => return Err(error),
            Err(Refused::Kind(error)) => {
                self.kinds.forget(key);
                let now = self.known(key).await?;
                if now.wrap == known.wrap {
                    return Err(error);
                }
                known = now;
                self.wrap_with(key, dek, context, &known).await.map_err(|refused| match refused {
                    Refused::Kind(error) | Refused::Anyhow(error) => error,
                })?
            }
        };
        if wrapped.key_version() == known.version {
            return Ok(wrapped);
        }
        // Rotated since, or deleted and made anew: what was known is of another version. This one may not be
        // there at all, so that it would never unwrap, or be one that is not to be wrapped with.
        self.kinds.forget(key);
        let now = self.look(key, Some(wrapped.key_version())).await?;
        if now.wrap == known.wrap && now.version == wrapped.key_version() {
            return Ok(wrapped);
        }
        self.kinds.forget(key);
        Err(failure(Protocol, key, OTHER_TYPE))
    }

    async fn unwrap_dek(&self, wrapped: &WrappedDek, context: &FullContext) -> Result<Dek, ProviderError> {
        self.unwrap(wrapped, context).await
    }
}

pub(crate) const ENCRYPTION_USER: &str = "Key Vault Crypto Service Encryption User";
pub(crate) const HSM_ENCRYPTION_USER: &str = "Managed HSM Crypto Service Encryption User";
const OTHER_TYPE: &str = "the vault wrapped by a version that it says is of another type, or tells another version: do not trust \
                          what stands between";
const WRAP_KEY: &str = "wrapKey";
const GET: Call = Call::new("keys/read", ENCRYPTION_USER, HSM_ENCRYPTION_USER);
