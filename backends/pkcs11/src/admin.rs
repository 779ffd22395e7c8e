//! Creating keys on a token and moving them through their life, as far as
//! attributes can tell of it.

mod changes;
mod describe;
mod listing;
mod make;
mod objects;

use async_trait::async_trait;
use envelope_sdk::{
    KeyAdmin, KeyChange, KeyDescription, KeyState, KeyUri, NewKey, ProviderError, ProviderErrorKind,
    admin::KeyPage, key_uri::is_key_name, printable,
};

use crate::{
    attributes::KeyAttributes,
    error::{Failure, NAME},
    keys,
    names::KeyName,
    provider::{Named, Pkcs11Provider},
    session::Open,
    weakness::Accepted,
};

/// Keys of a token.
///
/// - Made are AES-256 keys, sensitive and not extractable, that encrypt and
///   decrypt and nothing else, with a random `CKA_ID`. Version 1 has the key's
///   name as its label, version N the label `NAME#vN`. The last one wraps. There
///   is no place for a description, tags and options, and no other algorithm.
/// - A state is what the attributes permit: suspended is neither to encrypt nor
///   to decrypt, deactivated is only to decrypt. Some tokens do not let these
///   be changed; then the change is [`ProviderErrorKind::Unsupported`], and
///   rotation still works.
/// - No attribute tells pre-active, compromised or archived: these are
///   [`ProviderErrorKind::Unsupported`].
/// - A cryptoperiod ends with a day (`CKA_END_DATE`), at its last second in UTC.
///   What is set becomes the last day that ends by then, so never later. A token
///   that does not tell the day again is refused as
///   [`ProviderErrorKind::Unsupported`].
/// - Activating a suspended key makes all its older versions deactivated.
/// - A destroyed key is gone, and so is its name: a new key may have it.
/// - Keys named by `id=` and RSA key pairs have no versions and are not
///   rotated; they may be destroyed once they are deactivated.
/// - The details of a key are its `objects`, a table for each version: `key`,
///   such as `AES-256`, `attributes` that are true, `version`, and which
///   weaknesses are `accepted` or why it is `refused`.
///
/// A dry run asks the token. What only an attempt shows, such as a token that
/// lets no attribute be changed, it does not tell.
#[async_trait]
impl KeyAdmin for Pkcs11Provider {
    fn provider(&self) -> &'static str {
        NAME
    }

    async fn create_key(&self, new: &NewKey) -> Result<KeyDescription, ProviderError> {
        let about = self.key_uri(&new.name).ok();
        let label = checked_words(new).map_err(|failure| failure.about(about.as_ref()))?;
        let (selector, not_after) = (self.shared.token.clone(), new.not_after);
        let create = move |open: &Open| {
            check_new(open, &label, not_after)?;
            make::version(open, &label, 1, not_after)?;
            let name = KeyName::Versions(label);
            let uri = listing::uri(&selector, open, &name)?;
            describe::key(&open.session, &name, Accepted::default(), uri)
        };
        self.with_writing_session(about.as_ref(), create).await
    }

    async fn check_new_key(&self, new: &NewKey) -> Result<(), ProviderError> {
        let about = self.key_uri(&new.name).ok();
        let label = checked_words(new).map_err(|failure| failure.about(about.as_ref()))?;
        let not_after = new.not_after;
        let check = move |open: &mut Open| {
            open.check_alive()?;
            check_new(open, &label, not_after)
        };
        self.with_session(about.as_ref(), check).await
    }

    async fn describe_key(&self, key: &KeyUri) -> Result<KeyDescription, ProviderError> {
        let uri = key.clone();
        self.look(key, move |open, named| {
            describe::key(&open.session, &named.key, named.accepted, uri.clone())
        })
        .await
    }

    async fn list_keys(&self, page: Option<&str>) -> Result<KeyPage, ProviderError> {
        if page.is_some() {
            let message = "the keys of a token are one page: begin anew";
            return Err(ProviderError::without_key(ProviderErrorKind::Invalid, NAME, message));
        }
        let (selector, accepted) = (self.shared.token.clone(), self.shared.accepted.clone());
        let list = move |open: &mut Open| {
            open.check_alive()?;
            listing::list(open, &selector, &accepted)
        };
        Ok(KeyPage::new(self.with_session(None, list).await?, None))
    }

    async fn rotate_key(&self, key: &KeyUri) -> Result<KeyDescription, ProviderError> {
        let uri = key.clone();
        self.act(key, move |open, named| {
            changes::rotate(open, &named.key, named.accepted)?;
            describe::key(&open.session, &named.key, named.accepted, uri)
        })
        .await
    }

    async fn check_rotation(&self, key: &KeyUri) -> Result<(), ProviderError> {
        self.look(key, |open, named| {
            let keks = keys::all_versions(&open.session, &named.key, named.accepted)?;
            changes::next_version(open, &named.key, &keks).map(drop)
        })
        .await
    }

    async fn change_key(
        &self,
        key: &KeyUri,
        version: Option<&str>,
        change: KeyChange,
    ) -> Result<KeyDescription, ProviderError> {
        let (uri, version) = (key.clone(), version.map(str::to_owned));
        self.act(key, move |open, named| {
            let session = &open.session;
            let keks = keys::all_versions(session, &named.key, named.accepted)?;
            let steps = changes::steps(&uri, &keks, version.as_deref(), change)?;
            changes::take(session, &steps)?;
            let all_are_gone = change == KeyChange::State(KeyState::Destroyed) && steps.len() == keks.len();
            if all_are_gone {
                return Ok(describe::destroyed(&keks, uri));
            }
            describe::key(session, &named.key, named.accepted, uri)
        })
        .await
    }

    async fn check_change(
        &self,
        key: &KeyUri,
        version: Option<&str>,
        change: KeyChange,
    ) -> Result<(), ProviderError> {
        let (uri, version) = (key.clone(), version.map(str::to_owned));
        self.look(key, move |open, named| {
            let keks = keys::all_versions(&open.session, &named.key, named.accepted)?;
            changes::steps(&uri, &keks, version.as_deref(), change).map(drop)
        })
        .await
    }

    async fn set_not_after(
        &self,
        key: &KeyUri,
        version: Option<&str>,
        not_after: Option<u64>,
    ) -> Result<KeyDescription, ProviderError> {
        let (uri, version) = (key.clone(), version.map(str::to_owned));
        self.act(key, move |open, named| {
            let session = &open.session;
            let keks = keys::all_versions(session, &named.key, named.accepted)?;
            let kek = changes::one_version(&keks, version.as_deref())?;
            objects::set_not_after(session, kek, not_after)?;
            describe::key(session, &named.key, named.accepted, uri)
        })
        .await
    }

    async fn check_set_not_after(
        &self,
        key: &KeyUri,
        version: Option<&str>,
        not_after: Option<u64>,
    ) -> Result<(), ProviderError> {
        let version = version.map(str::to_owned);
        self.look(key, move |open, named| {
            let keks = keys::all_versions(&open.session, &named.key, named.accepted)?;
            let kek = changes::one_version(&keks, version.as_deref())?;
            objects::new_end(&open.session, kek, not_after).map(drop)
        })
        .await
    }
}

impl Pkcs11Provider {
    /// What the token tells of each version of a key, oldest first.
    ///
    /// # Errors
    ///
    /// [`ProviderError`] when there is no such key or the token refuses.
    pub async fn attributes(&self, key: &KeyUri) -> Result<Vec<KeyAttributes>, ProviderError> {
        self.look(key, |open, named| {
            let keks = keys::all_versions(&open.session, &named.key, named.accepted)?;
            Ok(keks.into_iter().map(|kek| kek.attributes).collect())
        })
        .await
    }

    /// Looks at a key of this token, logged in.
    async fn look<T: Send + 'static>(
        &self,
        key: &KeyUri,
        mut look: impl FnMut(&Open, &Named) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, ProviderError> {
        let named = Named::of(key, &self.shared.accepted)?;
        let job = move |open: &mut Open| {
            open.check_alive()?;
            named.check_token(open)?;
            look(open, &named)
        };
        self.with_session(Some(key), job).await
    }

    /// Changes something of a key of this token.
    async fn act<T: Send + 'static>(
        &self,
        key: &KeyUri,
        act: impl FnOnce(&Open, &Named) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, ProviderError> {
        let named = Named::of(key, &self.shared.accepted)?;
        let job = move |open: &Open| {
            named.check_token(open)?;
            act(open, &named)
        };
        self.with_writing_session(Some(key), job).await
    }
}

/// Refuses what a token has no place for. Returns the label of the key to make.
fn checked_words(new: &NewKey) -> Result<Vec<u8>, Failure> {
    let unsupported = |message: String| Err(Failure::new(ProviderErrorKind::Unsupported, message));
    if !is_key_name(&new.name) {
        let message =
            "a key name has 1 to 64 characters of A–Z a–z 0–9 - _ . and begins with a letter or digit";
        return Err(Failure::new(ProviderErrorKind::Invalid, message));
    }
    if new.description.is_some() || !new.tags.is_empty() {
        return unsupported("keys of a token have no description and no tags".into());
    }
    if new.state != KeyState::Active {
        return unsupported(format!(
            "a token has no {} keys: create the key when it is to be used",
            new.state
        ));
    }
    if new.algorithm.as_ref().is_some_and(|algorithm| algorithm != ALGORITHM) {
        return unsupported(format!("only {ALGORITHM} keys are made on a token"));
    }
    if let Some(option) = new.options.keys().next() {
        return unsupported(format!("keys of a token have no option {}", printable::text(option)));
    }
    objects::check_not_after(new.not_after)?;
    Ok(new.name.as_bytes().to_vec())
}

/// Refuses a key that cannot be made, or whose name is taken.
fn check_new(open: &Open, label: &[u8], not_after: Option<u64>) -> Result<(), Failure> {
    let session = &open.session;
    objects::check_can_generate(open)?;
    if !keys::versions(session, label, Accepted::default())?.is_empty() || keys::has_pair(session, label)? {
        let message = "there is a key of this name already: rotate it, or take another name";
        return Err(Failure::new(ProviderErrorKind::Invalid, message));
    }
    make::check_free(session, label, 1)?;
    objects::check_keeps_days(session, objects::check_not_after(not_after)?)
}

/// The kind of the keys that are made.
const ALGORITHM: &str = "AES-256";
