//! [`HashiVault`]: DEKs wrapped and unwrapped by Transit.

mod answer;
mod batch;
mod manner;
mod text;

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex as Lock},
};

use async_trait::async_trait;
use envelope_sdk::{
    ContextBinding, Dek, FullContext, KeyProvider, KeyUri, ProviderError,
    ProviderErrorKind::{Other, Unauthentic, Unavailable, Unsupported},
    ProviderIdentity, WrappedDek,
    crypto::DefaultEngine,
};

use crate::{
    HashiVaultBuilder,
    call::{Answer, Call, Failed},
    error::{refusal, refusal_to_open},
    failure::{NAME, failure},
    json::Object,
    reach::{Reach, lock},
    scheme::name_of,
};
pub use manner::Binding;
use manner::{Manner, Manners};
use text::Text;

/// Keys of the Transit engine of HashiCorp Vault or OpenBao: those of one server and one namespace, for one caller.
///
/// - DEKs are wrapped by `encrypt` and unwrapped by `decrypt`, inside the server. How a key binds
///   the context is found out once ([`Binding`]); that a wrap is bound so is proven by the call that wraps, and recorded.
/// - A wrap names the version that made it, and is refused where it contradicts itself.
/// - A key that is not there is not made by wrapping under it.
/// - It needs a tokio runtime with time and I/O.
pub struct HashiVault {
    identity: ProviderIdentity,
    reach: Arc<Reach>,
    mount: String,
    manners: Manners,
    /// Keys for which this caller may not ask for data keys.
    without_data_keys: Lock<BTreeSet<KeyUri>>,
}

impl HashiVault {
    /// Settings to change.
    pub fn builder() -> HashiVaultBuilder {
        HashiVaultBuilder::default()
    }

    pub(crate) fn new(settings: HashiVaultBuilder) -> Self {
        let HashiVaultBuilder { plan, limits, mount, binding } = settings;
        Self {
            identity: ProviderIdentity::unique(),
            reach: Arc::new(Reach::new(plan, limits)),
            mount: mount.map_or_else(|| USUAL_MOUNT.to_owned(), |mount| mount.trim_matches('/').to_owned()),
            manners: Manners::new(binding),
            without_data_keys: Lock::default(),
        }
    }

    pub(crate) fn reach(&self) -> &Reach {
        &self.reach
    }

    /// Where keys are made and listed.
    pub(crate) fn mount(&self) -> &str {
        &self.mount
    }

    pub(crate) fn binding(&self) -> Binding {
        self.manners.binding()
    }

    async fn manner(&self, key: &KeyUri) -> Result<Manner, ProviderError> {
        self.manners.of(&self.reach, key).await
    }

    /// Wraps, and has it proven in the same call that it is bound so: the key may be another one than it was, and another
    /// node may answer than was put to the test.
    async fn wrap_by(
        &self,
        manner: Manner,
        key: &KeyUri,
        dek: &Dek,
        context: &FullContext,
    ) -> Result<WrappedDek, Refused> {
        let call = encrypt(key, |body| manner.ask(body, dek, context))?;
        match self.reach.call(&call).await {
            Ok(answer) => manner.wrapped(key, &answer),
            // Servers that do not know by which status one of two is to be refused.
            Err(Failed::Refused(refused)) if refused.status == 400 && refused.errors.is_none() => {
                let answer = Answer { body: refused.body.clone() };
                if manner.is_answer(&answer) {
                    return manner.wrapped(key, &answer);
                }
                Err(refusal(&call, key, &Failed::Refused(refused)).into())
            }
            Err(failed) => {
                let error = refusal(&call, key, &failed);
                Err(if is_of_kind(&failed) { Refused::Manner(error) } else { error.into() })
            }
        }
    }

    /// Runs again what failed because the key is of another kind than it was, or another node answered.
    async fn wrap(
        &self,
        key: &KeyUri,
        dek: &Dek,
        context: &FullContext,
    ) -> Result<WrappedDek, ProviderError> {
        for _ in 0..MOST_TURNS {
            let manner = self.manner(key).await?;
            match self.wrap_by(manner, key, dek, context).await {
                Ok(wrapped) => return Ok(wrapped),
                Err(Refused::Anyhow(error)) => return Err(error),
                Err(Refused::Manner(error)) if self.binding() == Binding::Envelope => {
                    return Err(failure(Unsupported, key, OTHER_KIND).with_source(error));
                }
                Err(Refused::Manner(_)) => self.manners.forget(key),
            }
        }
        Err(failure(Unavailable, key, CHANGES))
    }

    async fn data_key(
        &self,
        manner: Manner,
        key: &KeyUri,
        context: &FullContext,
    ) -> Result<DataKey, ProviderError> {
        let name = name_of(key)?;
        let mut body = Object::new();
        body.number("bits", 256);
        manner.bind(&mut body, context);
        let call = Call::write(format!("{}/datakey/plaintext/{}", name.mount, name.key))
            .body(body.end())
            .repeatable();
        let (dek, wrapped) = match self.reach.call(&call).await {
            Ok(answer) => answer::data_key(key, manner, &answer)?,
            // Who may encrypt need not be one who may ask for data keys.
            Err(failed) if failed.status() == Some(403) => return Ok(DataKey::Refused),
            Err(failed) if is_of_kind(&failed) => return Ok(DataKey::OfOtherKind),
            Err(failed) => return Err(refusal(&call, key, &failed)),
        };
        // Such a call has no place for a proof. If the key is derived now, it was so before, or is another one, under which
        // that wrap opens nowhere.
        let is_proven = manner != Manner::Derived || manner::is_derived(&self.reach, key).await?;
        Ok(if is_proven { DataKey::Made(dek, wrapped) } else { DataKey::OfOtherKind })
    }
}

/// What came of asking for a data key.
enum DataKey {
    Made(Dek, WrappedDek),
    Refused,
    OfOtherKind,
}

/// Whether a key is of another kind than it was.
fn is_of_kind(failed: &Failed) -> bool {
    failed.says(manner::NO_CONTEXT) || failed.says("non-AEAD cipher suite")
}

/// Why a wrap came to nothing.
enum Refused {
    /// Perhaps for the kind of the key.
    Manner(ProviderError),
    Anyhow(ProviderError),
}

impl From<ProviderError> for Refused {
    fn from(error: ProviderError) -> Self {
        Self::Anyhow(error)
    }
}

/// A call that encrypts under a key that is there. Vault would make one that is not, if the caller
/// may create keys: it is asked for one of a type that there is not.
fn encrypt(key: &KeyUri, fill: impl FnOnce(&mut Object)) -> Result<Call, ProviderError> {
    let name = name_of(key)?;
    let mut body = Object::new();
    fill(&mut body);
    body.text("type", NO_TYPE);
    Ok(Call::write(format!("{}/encrypt/{}", name.mount, name.key)).body(body.end()).repeatable())
}

/// What a wrap is, if it is one that Transit can have made, before anybody is asked.
fn look_at(wrapped: &WrappedDek) -> Result<(Manner, &str), ProviderError> {
    let key = wrapped.key_uri();
    name_of(key)?;
    let version = text::version(wrapped.key_version());
    let Some((manner, version)) = Manner::from_name(wrapped.wrap_algorithm()).zip(version) else {
        let message = "this is no wrap by VAULT-TRANSIT-AD, VAULT-TRANSIT-DERIVED or VAULT-TRANSIT of a version of Transit";
        return Err(failure(Unsupported, key, message));
    };
    let text = std::str::from_utf8(wrapped.ciphertext()).ok().and_then(Text::read);
    match text {
        Some(text) if text.version == version => Ok((manner, text.whole)),
        Some(_) => Err(failure(
            Unauthentic,
            key,
            "the wrapped DEK names another version than the one that is recorded",
        )),
        None => {
            Err(failure(Unauthentic, key, "the wrapped DEK is no text vault:vN:… of a length that one has"))
        }
    }
}

#[async_trait]
impl KeyProvider for HashiVault {
    fn name(&self) -> &'static str {
        NAME
    }

    fn identity(&self) -> Option<ProviderIdentity> {
        Some(self.identity)
    }

    /// By the key store with associated data, and with derived keys.
    fn context_binding(&self, wrapped: &WrappedDek) -> ContextBinding {
        match Manner::from_name(wrapped.wrap_algorithm()) {
            Some(Manner::AssociatedData | Manner::Derived) => ContextBinding::Provider,
            Some(Manner::Plain) | None => ContextBinding::EnvelopeOnly,
        }
    }

    async fn wrap_dek(
        &self,
        key: &KeyUri,
        dek: &Dek,
        context: &FullContext,
    ) -> Result<WrappedDek, ProviderError> {
        self.wrap(key, dek, context).await
    }

    async fn unwrap_dek(&self, wrapped: &WrappedDek, context: &FullContext) -> Result<Dek, ProviderError> {
        let (manner, text) = look_at(wrapped)?;
        let (key, name) = (wrapped.key_uri(), name_of(wrapped.key_uri())?);
        let mut body = Object::new();
        body.text("ciphertext", text);
        manner.bind(&mut body, context);
        let call = Call::write(format!("{}/decrypt/{}", name.mount, name.key)).body(body.end()).repeatable();
        match self.reach.call(&call).await {
            Ok(answer) => answer::opened(key, &answer),
            Err(failed) => Err(refusal_to_open(&call, key, &failed)),
        }
    }

    /// In batches, of up to 256 for each key.
    async fn unwrap_deks(&self, wraps: &[(&WrappedDek, &FullContext)]) -> Vec<Result<Dek, ProviderError>> {
        batch::unwrap(&self.reach, wraps).await
    }

    /// Where the key takes no associated data, which data keys have no place for, and as long as the
    /// caller is not known as one who may not ask for them.
    fn generates_deks(&self, key: &KeyUri) -> bool {
        self.manners.known(key) != Some(Manner::AssociatedData)
            && !lock(&self.without_data_keys).contains(key)
    }

    async fn generate_dek(
        &self,
        key: &KeyUri,
        context: &FullContext,
    ) -> Result<(Dek, WrappedDek), ProviderError> {
        let manner = self.manner(key).await?;
        let is_permitted = !lock(&self.without_data_keys).contains(key);
        let mut is_refused = false;
        if manner != Manner::AssociatedData && is_permitted {
            match self.data_key(manner, key, context).await? {
                DataKey::Made(dek, wrapped) => return Ok((dek, wrapped)),
                DataKey::Refused => is_refused = true,
                DataKey::OfOtherKind => self.manners.forget(key),
            }
        }
        let dek = Dek::generate::<DefaultEngine>().map_err(|error| {
            failure(Other, key, "the operating system gave no randomness").with_source(error)
        })?;
        let wrapped = self.wrap(key, &dek, context).await?;
        if is_refused {
            // The token is good for wraps, so it was not for want of one.
            lock(&self.without_data_keys).insert(key.clone());
        }
        Ok((dek, wrapped))
    }

    /// Under the same key, where it takes no associated data: the server has no place for that in a
    /// rewrap.
    async fn rewrap_dek(
        &self,
        wrapped: &WrappedDek,
        key: &KeyUri,
        context: &FullContext,
    ) -> Result<Option<WrappedDek>, ProviderError> {
        let (manner, text) = look_at(wrapped)?;
        if wrapped.key_uri() != key || manner == Manner::AssociatedData {
            return Ok(None);
        }
        // A new wrap may bind more than the one of before.
        if self.manner(key).await? != manner {
            return Ok(None);
        }
        let name = name_of(key)?;
        let mut body = Object::new();
        body.text("ciphertext", text);
        manner.bind(&mut body, context);
        let call = Call::write(format!("{}/rewrap/{}", name.mount, name.key)).body(body.end()).repeatable();
        match self.reach.call(&call).await {
            Ok(answer) => answer::wrapped(key, manner, &answer).map(Some),
            // Who may decrypt and encrypt need not be one who may rewrap.
            Err(Failed::Refused(refused)) if refused.status == 403 => Ok(None),
            Err(failed) => Err(refusal_to_open(&call, key, &failed)),
        }
    }
}

const USUAL_MOUNT: &str = "transit";
/// As it stands in the error of a server that was asked to make a key.
const NO_TYPE: &str = "none-since-the-key-must-exist";
/// Of finding out how a key binds, and wrapping so.
const MOST_TURNS: usize = 3;
const CHANGES: &str = "the context was not bound as it was found that this key binds it, time and again: nodes of several versions \
                       answer, or somebody makes the key anew";
const OTHER_KIND: &str = "the key is of a kind that the setting `context-binding` does not fit: see whether it is derived, and its type";
