//! Managing keys: [`KeyAdmin`], what it is told and what it tells.
//!
//! Every operation that one of the known key stores has is a method here. What a
//! key store has not, it refuses as
//! [`Unsupported`](ProviderErrorKind::Unsupported): that is what the defaults
//! do, so that a new key store writes only what it can.

mod delegate;
mod describe;
mod details;
mod new_key;

use async_trait::async_trait;

use crate::{KeyChange, KeyState, KeyUri, ProviderError, ProviderErrorKind, lifecycle};

pub use describe::{KeyDescription, KeyPage, KeyVersionDescription, Rotation, RotationStatus};
pub use details::{Detail, Details};
pub use new_key::NewKey;

/// Makes keys, describes them and moves them through their life.
///
/// Not a [`KeyProvider`](crate::KeyProvider): who may look at keys need not be
/// able to use them, and a key store may answer for its keys without being able
/// to open anything.
///
/// The `check_…` methods are for dry runs. They refuse what the operation would
/// refuse, as far as it can be told without doing it, and change nothing.
#[async_trait]
pub trait KeyAdmin: Send + Sync {
    /// The name of the provider whose keys these are, for messages:
    /// [`KeyProvider::name`](crate::KeyProvider::name).
    fn provider(&self) -> &'static str;

    /// Makes a key with one version.
    ///
    /// # Errors
    ///
    /// [`ProviderError`] when the name is taken or not allowed, when the key
    /// store has no place for something that is asked for, or refuses.
    async fn create_key(&self, new: &NewKey) -> Result<KeyDescription, ProviderError> {
        let _ = new;
        Err(cannot(self.provider(), None, "make keys"))
    }

    /// Refuses what [`create_key`](Self::create_key) would refuse.
    ///
    /// # Errors
    ///
    /// As there.
    async fn check_new_key(&self, new: &NewKey) -> Result<(), ProviderError> {
        let _ = new;
        Err(cannot(self.provider(), None, "make keys"))
    }

    /// Describes one key, with its [details](KeyDescription::details).
    ///
    /// # Errors
    ///
    /// [`ProviderError`] when there is no such key or the key store refuses.
    async fn describe_key(&self, key: &KeyUri) -> Result<KeyDescription, ProviderError> {
        Err(cannot(self.provider(), Some(key), "describe keys"))
    }

    /// Describes keys, a page at a time: the first one for `None`, and then the
    /// one that [`KeyPage::next`] names. Each page is sorted by URI as far as
    /// the key store sorts. [`all_keys`] takes every page.
    ///
    /// # Errors
    ///
    /// [`ProviderError`] when the key store refuses, or `page` is not of it.
    async fn list_keys(&self, page: Option<&str>) -> Result<KeyPage, ProviderError> {
        let _ = page;
        Err(cannot(self.provider(), None, "list keys"))
    }

    /// Adds a version, which wraps from now on. The old ones are deactivated:
    /// they still unwrap.
    ///
    /// # Errors
    ///
    /// [`ProviderError`] when there is no such key, it is not active, or the
    /// key store refuses.
    async fn rotate_key(&self, key: &KeyUri) -> Result<KeyDescription, ProviderError> {
        Err(cannot(self.provider(), Some(key), "rotate keys"))
    }

    /// Refuses what [`rotate_key`](Self::rotate_key) would refuse. Where states say
    /// all, [`lifecycle::check_rotation`] has the words.
    ///
    /// # Errors
    ///
    /// As there.
    async fn check_rotation(&self, key: &KeyUri) -> Result<(), ProviderError> {
        Err(cannot(self.provider(), Some(key), "rotate keys"))
    }

    /// Changes the state of a key, or of one `version` of it.
    ///
    /// # Errors
    ///
    /// [`ProviderError`] when there is no such key or version, the change is
    /// not allowed from its state, or the key store refuses.
    async fn change_key(
        &self,
        key: &KeyUri,
        version: Option<&str>,
        change: KeyChange,
    ) -> Result<KeyDescription, ProviderError> {
        let _ = (version, change);
        Err(cannot(self.provider(), Some(key), "change the state of keys"))
    }

    /// Refuses what [`change_key`](Self::change_key) would refuse. Where states say
    /// all, [`check_change`] has the words.
    ///
    /// # Errors
    ///
    /// As there.
    async fn check_change(
        &self,
        key: &KeyUri,
        version: Option<&str>,
        change: KeyChange,
    ) -> Result<(), ProviderError> {
        let _ = (version, change);
        Err(cannot(self.provider(), Some(key), "change the state of keys"))
    }

    /// Ends the cryptoperiod of a version then, in seconds since 1970, or never;
    /// without a version, that of the current one.
    ///
    /// # Errors
    ///
    /// [`ProviderError`] when there is no such key or version, or the key store
    /// keeps no such date.
    async fn set_not_after(
        &self,
        key: &KeyUri,
        version: Option<&str>,
        not_after: Option<u64>,
    ) -> Result<KeyDescription, ProviderError> {
        let _ = (version, not_after);
        Err(cannot(self.provider(), Some(key), "keep the end of a cryptoperiod"))
    }

    /// Refuses what [`set_not_after`](Self::set_not_after) would refuse.
    ///
    /// # Errors
    ///
    /// As there.
    async fn check_set_not_after(
        &self,
        key: &KeyUri,
        version: Option<&str>,
        not_after: Option<u64>,
    ) -> Result<(), ProviderError> {
        let _ = (version, not_after);
        Err(cannot(self.provider(), Some(key), "keep the end of a cryptoperiod"))
    }

    /// Lets a key rotate by itself, or stops that.
    ///
    /// # Errors
    ///
    /// [`ProviderError`] when there is no such key, the key store has no such
    /// period, or refuses.
    async fn set_rotation(&self, key: &KeyUri, rotation: AutoRotation) -> Result<(), ProviderError> {
        let _ = rotation;
        Err(cannot(self.provider(), Some(key), BY_ITSELF))
    }

    /// Refuses what [`set_rotation`](Self::set_rotation) would refuse.
    ///
    /// # Errors
    ///
    /// As there.
    async fn check_set_rotation(&self, key: &KeyUri, rotation: AutoRotation) -> Result<(), ProviderError> {
        let _ = rotation;
        Err(cannot(self.provider(), Some(key), BY_ITSELF))
    }

    /// How a key rotates by itself, and the rotations that were done.
    ///
    /// # Errors
    ///
    /// [`ProviderError`] when there is no such key or the key store refuses.
    async fn rotation_status(&self, key: &KeyUri) -> Result<RotationStatus, ProviderError> {
        Err(cannot(self.provider(), Some(key), "tell past rotations: describe the key to see its versions"))
    }

    /// Makes an alias of a key, or turns an alias to it, and returns the key URI
    /// that names the alias.
    ///
    /// # Errors
    ///
    /// [`ProviderError`] when the name is not allowed or the key store refuses.
    async fn set_alias(&self, alias: &str, key: &KeyUri) -> Result<KeyUri, ProviderError> {
        let _ = alias;
        Err(cannot(self.provider(), Some(key), ALIASES))
    }

    /// Refuses what [`set_alias`](Self::set_alias) would refuse.
    ///
    /// # Errors
    ///
    /// As there.
    async fn check_set_alias(&self, alias: &str, key: &KeyUri) -> Result<(), ProviderError> {
        let _ = alias;
        Err(cannot(self.provider(), Some(key), ALIASES))
    }

    /// Cancels the deletion of a key that waits for it.
    ///
    /// # Errors
    ///
    /// [`ProviderError`] when there is no such key or the key store refuses.
    async fn restore_key(&self, key: &KeyUri) -> Result<KeyDescription, ProviderError> {
        Err(cannot(self.provider(), Some(key), RESTORE))
    }

    /// Refuses what [`restore_key`](Self::restore_key) would refuse.
    ///
    /// # Errors
    ///
    /// As there.
    async fn check_restore_key(&self, key: &KeyUri) -> Result<(), ProviderError> {
        Err(cannot(self.provider(), Some(key), RESTORE))
    }
}

/// How a key rotates by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum AutoRotation {
    /// Never.
    Off,
    /// As often as the key store has it by default.
    Default,
    /// Every so many days.
    Days(u32),
}

/// The error of what a key store has not: "this key store cannot …".
#[must_use]
pub fn cannot(provider: &'static str, key: Option<&KeyUri>, what: &str) -> ProviderError {
    let message = format!("this key store cannot {what}");
    let error = ProviderError::without_key(ProviderErrorKind::Unsupported, provider, message);
    match key {
        Some(key) => error.about(key),
        None => error,
    }
}

/// Every key, page by page.
///
/// # Errors
///
/// What [`KeyAdmin::list_keys`] says;
/// [`Protocol`](ProviderErrorKind::Protocol) after
/// [`MAX_PAGES`](crate::http::MAX_PAGES) pages, a list without an end.
pub async fn all_keys(admin: &dyn KeyAdmin) -> Result<Vec<KeyDescription>, ProviderError> {
    let (mut keys, mut page) = (Vec::new(), None);
    for _ in 0..crate::http::MAX_PAGES {
        let next = admin.list_keys(page.as_deref()).await?;
        keys.extend(next.keys);
        match next.next {
            None => return Ok(keys),
            // It would come round for ever.
            same if same == page => break,
            next => page = next,
        }
    }
    let message =
        format!("the list of keys repeats itself, or has more than {} pages", crate::http::MAX_PAGES);
    Err(ProviderError::without_key(ProviderErrorKind::Protocol, admin.provider(), message))
}

/// Refuses a change of a described key, or of one version of it, that the states
/// of NIST SP 800-57 do not permit: what is wrong, and in which words.
///
/// # Errors
///
/// [`NotFound`](ProviderErrorKind::NotFound) for a version that is not there,
/// [`Invalid`](ProviderErrorKind::Invalid) for a change that is not permitted.
pub fn check_change(
    key: &KeyDescription,
    version: Option<&str>,
    change: KeyChange,
) -> Result<(), (ProviderErrorKind, String)> {
    let invalid = |message| (ProviderErrorKind::Invalid, message);
    let (what, state) = match version {
        None => ("the key".to_owned(), key.state),
        Some(version) => {
            let known = key.versions.iter().find(|known| known.version == version);
            let known = known.ok_or_else(|| {
                (ProviderErrorKind::NotFound, format!("the key has no version {version:?}"))
            })?;
            (format!("version {version}"), known.state)
        }
    };
    match change {
        KeyChange::State(next) => lifecycle::check_transition(&what, state, next).map_err(invalid),
        KeyChange::Archive if version.is_some() => {
            Err(invalid("a key is archived as a whole, not one version".to_owned()))
        }
        KeyChange::Archive if !matches!(key.state, KeyState::Deactivated | KeyState::Compromised) => Err(
            invalid(format!("the key is {}: only a deactivated or compromised key is archived", key.state)),
        ),
        KeyChange::Archive => Ok(()),
    }
}

const BY_ITSELF: &str = "rotate keys by itself: rotate the key when it is due";
const ALIASES: &str = "keep aliases: write them into the configuration";
const RESTORE: &str = "bring keys back: it destroys them at once and for good";
