//! Wrapping and unwrapping with Encrypt and Decrypt.

mod versions;

use async_trait::async_trait;
use bytes::Bytes;
use envelope_sdk::{
    ContextBinding, Dek, FullContext, KeyProvider, KeyUri, ProviderError,
    ProviderErrorKind::{self, Invalid, Other, Protocol, Unauthentic, Unsupported},
    ProviderIdentity, WrappedDek,
    crypto::DefaultEngine,
    key_uri::gcp::CryptoKeyName,
};
use google_cloud_kms_v1::model::ProtectionLevel;
use tokio::time::Instant;
use zeroize::Zeroizing;

use crate::{
    GcpKmsBuilder, Protection,
    call::Within,
    crc32c::crc32c,
    error::{Call, Failed, NAME, failure, refusal, refusal_to_open},
    integrity::{Decrypted, Encrypted, Flaw, random},
    reach::{Reach, Settled},
};
use versions::Versions;

pub(crate) use versions::version_of;

/// Keys of Cloud KMS, as many as are named, in any project and location that the
/// credentials reach.
///
/// - A DEK is wrapped by Encrypt and unwrapped by Decrypt, with the encoded full
///   context as the additional authenticated data.
/// - A checksum of each field is sent with it, and of each answer checked. What was
///   corrupted on the way is attempted again, and never used.
/// - A wrap names the version that made it, which must be one of the key that was
///   asked. Decrypt does not name the version that it used: Google's ciphertext finds
///   it. What is known of it, its protection level, is compared.
/// - It needs a tokio runtime with time and I/O, which lives as long as it does: the
///   tasks that renew tokens are of the runtime of the first call.
pub struct GcpKms {
    identity: ProviderIdentity,
    reach: Reach,
    key_ring: Option<String>,
    protection: Option<Protection>,
    hsm_randomness: bool,
    versions: Versions,
}

impl GcpKms {
    /// Settings to change.
    pub fn builder() -> GcpKmsBuilder {
        GcpKmsBuilder::default()
    }

    pub(crate) fn new(settings: GcpKmsBuilder) -> Self {
        let GcpKmsBuilder { sources, endpoint, limits, key_ring, protection, hsm_randomness } = settings;
        Self {
            identity: ProviderIdentity::unique(),
            reach: Reach::new(sources, endpoint, limits),
            key_ring,
            protection,
            hsm_randomness,
            versions: Versions::default(),
        }
    }

    /// The client, made if there was none.
    pub(crate) async fn settled(&self) -> Result<Settled, ProviderError> {
        self.reach.settled().await
    }

    /// The endpoint, if one is set, safe to show.
    pub(crate) fn shown_endpoint(&self) -> Result<Option<String>, ProviderError> {
        self.reach.shown_endpoint()
    }

    /// The key ring of the settings.
    pub(crate) fn key_ring(&self) -> Option<&str> {
        self.key_ring.as_deref()
    }

    /// The protection level that the settings demand.
    pub(crate) fn protection(&self) -> Option<Protection> {
        self.protection
    }

    pub(crate) fn resource<'u>(&self, key: &'u KeyUri) -> Result<CryptoKeyName<'u>, ProviderError> {
        CryptoKeyName::of(key).ok_or_else(|| {
            let message =
                "a key of Cloud KMS is named gcpkms://projects/P/locations/L/keyRings/R/cryptoKeys/K, without a version";
            failure(Unsupported, key, message)
        })
    }

    /// The error of a call. Settings without credentials are read anew by the next
    /// one: somebody may log in meanwhile.
    pub(crate) fn refused<'k>(
        &self,
        call: Call,
        key: impl Into<Option<&'k KeyUri>>,
        failed: &Failed,
    ) -> ProviderError {
        self.forget_without_credentials(failed);
        refusal(call, key, failed)
    }

    fn forget_without_credentials(&self, failed: &Failed) {
        if failed.lacks_credentials() {
            self.reach.forget();
        }
    }

    /// Encrypt, attempted again while the way to Google corrupts it.
    async fn encrypt(
        &self,
        key: &KeyUri,
        dek: &Dek,
        context: &FullContext,
        deadline: Instant,
    ) -> Result<WrappedDek, ProviderError> {
        let name = self.resource(key)?;
        let Settled { client, limits } = self.settled().await?;
        let mut flaws = Flaws::new(key, limits.attempts);
        loop {
            let request = client
                .encrypt()
                .set_name(name.text)
                // Wiped by its owner once the client lets go of it.
                .set_plaintext(Bytes::from_owner(Zeroizing::new(dek.expose().to_vec())))
                .set_plaintext_crc32c(crc32c(dek.expose()))
                .set_additional_authenticated_data(Bytes::copy_from_slice(context.as_bytes()))
                .set_additional_authenticated_data_crc32c(crc32c(context.as_bytes()));
            let encrypted = match limits.again(request).send().until(deadline).await {
                Ok(answer) => Encrypted::check(answer),
                Err(failed) if failed.is_corruption() => Err(Flaw::Corrupted(AS_SENT)),
                Err(failed) => return Err(self.refused(ENCRYPT, key, &failed)),
            };
            match encrypted {
                Ok(encrypted) => return self.take_wrap(key, name, encrypted),
                Err(flaw) => flaws.note("Encrypt", flaw)?,
            }
        }
    }

    /// A wrap of the key that was asked, and of no other.
    fn take_wrap(
        &self,
        key: &KeyUri,
        name: CryptoKeyName<'_>,
        encrypted: Encrypted,
    ) -> Result<WrappedDek, ProviderError> {
        let Some(version) = version_of(name.text, &encrypted.version) else {
            return Err(failure(Protocol, key, OTHER_KEY));
        };
        self.demand(key, encrypted.protection)?;
        self.versions.learn(key, version, encrypted.protection);
        if encrypted.ciphertext.len() > WrappedDek::MAX_CIPHERTEXT_LEN {
            let message = format!(
                "Cloud KMS answered with a ciphertext of {} bytes, which is none of a DEK",
                encrypted.ciphertext.len()
            );
            return Err(failure(Protocol, key, message));
        }
        WrappedDek::new(key.clone(), version, ALGORITHM, encrypted.ciphertext.into())
    }

    /// Refuses what was done at another protection level than the settings demand.
    fn demand(&self, key: &KeyUri, used: Option<Protection>) -> Result<(), ProviderError> {
        match self.protection {
            Some(demanded) if used != Some(demanded) => {
                let used = used.map_or("none that is known", Protection::name);
                let message = format!(
                    "the settings demand the protection level {demanded}, and Cloud KMS says that it used {used}: use \
                     another key"
                );
                Err(failure(Invalid, key, message))
            }
            _ => Ok(()),
        }
    }

    /// Decrypt, attempted again while the way to Google corrupts it.
    async fn decrypt(
        &self,
        wrapped: &WrappedDek,
        context: &FullContext,
        deadline: Instant,
    ) -> Result<Dek, ProviderError> {
        let key = wrapped.key_uri();
        let name = self.wrapped_by(wrapped)?;
        let Settled { client, limits } = self.settled().await?;
        let mut flaws = Flaws::new(key, limits.attempts);
        loop {
            let request = client
                .decrypt()
                .set_name(name.text)
                .set_ciphertext(Bytes::copy_from_slice(wrapped.ciphertext()))
                .set_ciphertext_crc32c(crc32c(wrapped.ciphertext()))
                .set_additional_authenticated_data(Bytes::copy_from_slice(context.as_bytes()))
                .set_additional_authenticated_data_crc32c(crc32c(context.as_bytes()));
            let decrypted = match limits.again(request).send().until(deadline).await {
                Ok(answer) => Decrypted::check(answer),
                Err(failed) if failed.is_corruption() => Err(Flaw::Corrupted(AS_SENT)),
                Err(failed) => {
                    self.forget_without_credentials(&failed);
                    return Err(refusal_to_open(DECRYPT, key, &failed));
                }
            };
            match decrypted {
                Ok(decrypted) => return self.take_dek(wrapped, &decrypted),
                Err(flaw) => flaws.note("Decrypt", flaw)?,
            }
        }
    }

    fn take_dek(&self, wrapped: &WrappedDek, decrypted: &Decrypted) -> Result<Dek, ProviderError> {
        let key = wrapped.key_uri();
        self.demand(key, decrypted.protection)?;
        if self.versions.contradict(key, wrapped.key_version(), decrypted.protection) {
            let message = format!(
                "Cloud KMS says that it unwrapped at another protection level than version {} has, which wrapped: do not \
                 trust what stands between",
                wrapped.key_version()
            );
            return Err(failure(Protocol, key, message));
        }
        // Wrong bytes in the wrap of another writer, not an answer that is broken.
        Dek::from_slice(&decrypted.plaintext)
            .map_err(|_| failure(Unauthentic, key, "the plaintext of Decrypt is no DEK, which has 32 bytes"))
    }

    /// The name of the key that wrapped.
    fn wrapped_by<'w>(&self, wrapped: &'w WrappedDek) -> Result<CryptoKeyName<'w>, ProviderError> {
        let name = self.resource(wrapped.key_uri())?;
        if wrapped.wrap_algorithm() == ALGORITHM && versions::is_version(wrapped.key_version()) {
            return Ok(name);
        }
        let message = "this is no wrap of algorithm GCP-KMS by a version, which has a number";
        Err(failure(Unsupported, wrapped.key_uri(), message))
    }

    /// Random bytes of a Cloud HSM in the location of the key.
    async fn hsm_random(
        &self,
        key: &KeyUri,
        deadline: Instant,
    ) -> Result<Zeroizing<[u8; Dek::LEN]>, ProviderError> {
        let name = self.resource(key)?;
        let location = format!("projects/{}/locations/{}", name.project, name.location);
        let Settled { client, limits } = self.settled().await?;
        let mut flaws = Flaws::new(key, limits.attempts);
        loop {
            let request = client
                .generate_random_bytes()
                .set_location(&location)
                .set_length_bytes(i32::try_from(Dek::LEN).unwrap_or_default())
                .set_protection_level(ProtectionLevel::Hsm);
            let answer = limits.again(request).send().until(deadline).await;
            let answer = answer.map_err(|failed| self.refused(RANDOM, key, &failed))?;
            match random::<{ Dek::LEN }>(answer) {
                Ok(random) => return Ok(random),
                Err(flaw) => flaws.note("GenerateRandomBytes", flaw)?,
            }
        }
    }

    async fn deadline(&self) -> Result<Instant, ProviderError> {
        Ok(self.settled().await?.limits.deadline())
    }
}

#[async_trait]
impl KeyProvider for GcpKms {
    fn name(&self) -> &'static str {
        NAME
    }

    fn identity(&self) -> Option<ProviderIdentity> {
        Some(self.identity)
    }

    fn context_binding(&self, _wrapped: &WrappedDek) -> ContextBinding {
        ContextBinding::Provider
    }

    async fn wrap_dek(
        &self,
        key: &KeyUri,
        dek: &Dek,
        context: &FullContext,
    ) -> Result<WrappedDek, ProviderError> {
        self.encrypt(key, dek, context, self.deadline().await.map_err(|error| error.about(key))?).await
    }

    async fn unwrap_dek(&self, wrapped: &WrappedDek, context: &FullContext) -> Result<Dek, ProviderError> {
        let deadline = self.deadline().await.map_err(|error| error.about(wrapped.key_uri()))?;
        self.decrypt(wrapped, context, deadline).await
    }

    fn binding_of_new_wraps(&self, _key: &KeyUri) -> Option<ContextBinding> {
        Some(ContextBinding::Provider)
    }

    /// Where the settings ask for [random bytes of a Cloud
    /// HSM](crate::GcpKmsBuilder::hsm_randomness).
    fn generates_deks(&self, _key: &KeyUri) -> bool {
        self.hsm_randomness
    }

    /// The DEK is of this machine's generator; where the settings say so, mixed with
    /// random bytes of a Cloud HSM. If these cannot be had there is no DEK.
    async fn generate_dek(
        &self,
        key: &KeyUri,
        context: &FullContext,
    ) -> Result<(Dek, WrappedDek), ProviderError> {
        let own = Dek::generate::<DefaultEngine>().map_err(|error| {
            failure(Other, key, "the operating system gave no randomness").with_source(error)
        })?;
        let deadline = self.deadline().await.map_err(|error| error.about(key))?;
        let dek =
            if self.hsm_randomness { mixed(&own, &*self.hsm_random(key, deadline).await?) } else { own };
        let wrapped = self.encrypt(key, &dek, context, deadline).await?;
        Ok((dek, wrapped))
    }
}

/// The exclusive or: as random as the better of the two, as long as neither depends
/// on the other.
fn mixed(own: &Dek, other: &[u8; Dek::LEN]) -> Dek {
    let mixed = Dek::fill_with(|dek| {
        for ((byte, own), other) in dek.iter_mut().zip(own.expose()).zip(other) {
            *byte = own ^ other;
        }
        Ok::<(), std::convert::Infallible>(())
    });
    match mixed {
        Ok(dek) => dek,
        Err(never) => match never {},
    }
}

/// Counts the answers that were not fit to be used.
struct Flaws<'k> {
    key: &'k KeyUri,
    left: u32,
}

impl<'k> Flaws<'k> {
    fn new(key: &'k KeyUri, attempts: u32) -> Self {
        Self { key, left: attempts }
    }

    /// An error, unless another attempt may help.
    fn note(&mut self, call: &str, flaw: Flaw) -> Result<(), ProviderError> {
        let refuse = |kind: ProviderErrorKind, message: String| Err(failure(kind, self.key, message));
        match flaw {
            Flaw::Empty(what) => refuse(
                Protocol,
                format!("Cloud KMS answered {call} without {what}: do not trust what stands between"),
            ),
            Flaw::Corrupted(what) if self.left <= 1 => refuse(
                Protocol,
                format!(
                    "Cloud KMS did not confirm {what}, at any attempt of {call}: something on the way changes what is \
                     sent"
                ),
            ),
            Flaw::Corrupted(_) => {
                self.left -= 1;
                Ok(())
            }
        }
    }
}

const ALGORITHM: &str = "GCP-KMS";
const AS_SENT: &str = "that the request came as it was sent";
const OTHER_KEY: &str =
    "Cloud KMS did not answer for a version of the key that was asked: do not trust what stands between";
const ENCRYPT: Call =
    Call::new("cloudkms.cryptoKeyVersions.useToEncrypt", "roles/cloudkms.cryptoKeyEncrypter");
const DECRYPT: Call =
    Call::new("cloudkms.cryptoKeyVersions.useToDecrypt", "roles/cloudkms.cryptoKeyDecrypter");
const RANDOM: Call = Call::new("cloudkms.locations.generateRandomBytes", "roles/cloudkms.cryptoOperator");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mixed_dek_depends_on_both() {
        let own = Dek::from_slice(&[0b1100; 32]).unwrap();
        assert_eq!(mixed(&own, &[0b1010; 32]).expose(), &[0b0110; 32]);
    }
}
