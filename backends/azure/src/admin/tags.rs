//! Tags: what callers write, and where the end of a cryptoperiod is kept.
//!
//! Azure's own `exp` stops a key at midnight, and with it whoever depends on it; and it
//! cannot be taken away again. So what [`KeyAdmin::set_not_after`] sets, which is told
//! and refuses nothing, is a tag. It names its version, since a rotation may copy tags.
//!
//! [`KeyAdmin::set_not_after`]: envelope_sdk::KeyAdmin::set_not_after

use std::collections::BTreeMap;

use envelope_sdk::{
    KeyDescription, KeyUri, ProviderError,
    ProviderErrorKind::{Invalid, NotFound, State},
};

use super::changes::{Patch, RECOVER_FIRST};
use crate::{AzureKeyVault, failure::failure};

impl AzureKeyVault {
    /// Replaces the tags of the current version. What is kept for the end of its
    /// cryptoperiod stays, and so does its description unless there is a new tag of that
    /// name.
    ///
    /// # Errors
    ///
    /// [`Invalid`](envelope_sdk::ProviderErrorKind::Invalid) for more than 15 tags, those that stay among
    /// them, for longer ones than Azure takes, and for the name that is kept for the end of
    /// the cryptoperiod; what Azure says (`keys/update/action`).
    pub async fn set_tags(
        &self,
        key: &KeyUri,
        new: &BTreeMap<String, String>,
    ) -> Result<KeyDescription, ProviderError> {
        let told = self.describe_ours(key).await?;
        if told.deleted.is_some() {
            return Err(failure(State, key, RECOVER_FIRST));
        }
        let current = told.current().ok_or_else(|| failure(NotFound, key, "the key has no version"))?;
        if new.contains_key(NOT_AFTER) {
            return Err(failure(Invalid, key, KEPT));
        }
        let mut tags = new.clone();
        for name in [NOT_AFTER, DESCRIPTION] {
            if let Some(kept) = current.tags.get(name) {
                tags.entry(name.to_owned()).or_insert_with(|| kept.clone());
            }
        }
        check(&tags).map_err(|error| error.about(key))?;
        self.patch(key, &current.version, &Patch::of_tags(tags)).await?;
        self.describe_changed(key).await
    }
}

/// The end of the cryptoperiod of that version, as its tags say it.
pub(super) fn not_after(tags: &BTreeMap<String, String>, version: &str) -> Option<u64> {
    let (seconds, of) = tags.get(NOT_AFTER)?.split_once(' ')?;
    (of == version).then(|| seconds.parse().ok())?
}

/// The same tags with that end, or without one.
pub(super) fn with_not_after(
    tags: &BTreeMap<String, String>,
    version: &str,
    end: Option<u64>,
) -> BTreeMap<String, String> {
    let mut tags = tags.clone();
    match end {
        Some(end) => tags.insert(NOT_AFTER.to_owned(), format!("{end} {version}")),
        None => tags.remove(NOT_AFTER),
    };
    tags
}

/// What people wrote, without what is kept for them.
pub(super) fn shown(tags: &BTreeMap<String, String>) -> impl Iterator<Item = (&String, &String)> {
    tags.iter().filter(|(name, _)| *name != NOT_AFTER && *name != DESCRIPTION)
}

/// The limits of tags (<https://learn.microsoft.com/azure/key-vault/keys/about-keys-details#key-tags>).
pub(super) fn check(tags: &BTreeMap<String, String>) -> Result<(), ProviderError> {
    let refuse = |message: &str| Err(failure(Invalid, None, message));
    if tags.len() > MOST {
        return refuse(
            "a key has at most 15 tags, its description and the end of its cryptoperiod among them",
        );
    }
    let fits = |text: &String| text.chars().count() <= MAX_LEN && !text.chars().any(char::is_control);
    if !tags.iter().all(|(name, value)| !name.is_empty() && fits(name) && fits(value)) {
        return refuse(
            "the name of a tag has 1 to 256 characters and its value at most 256, without line ends",
        );
    }
    Ok(())
}

pub(super) const DESCRIPTION: &str = "description";
pub(super) const NOT_AFTER: &str = "envelope-not-after";
pub(super) const KEPT: &str = "a tag of this name is kept for the end of the cryptoperiod";
const MOST: usize = 15;
const MAX_LEN: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_cryptoperiod_is_that_of_its_version_alone() {
        let mut tags = BTreeMap::from([("team".to_owned(), "shop".to_owned())]);
        tags = with_not_after(&tags, "v1", Some(7));
        assert_eq!((not_after(&tags, "v1"), not_after(&tags, "v2")), (Some(7), None));
        assert_eq!(shown(&tags).count(), 1);
        tags = with_not_after(&tags, "v1", None);
        assert_eq!((not_after(&tags, "v1"), tags.len()), (None, 1));
    }

    #[test]
    fn tags_have_their_limits() {
        let of = |name: String, value: String| check(&BTreeMap::from([(name, value)])).is_ok();
        assert!(of("a b/ä".into(), "x".repeat(256)));
        assert!(!of(String::new(), String::new()) && !of("n".repeat(257), String::new()));
        assert!(!of("a".into(), "b\nc".into()));
        let many: BTreeMap<_, _> = (0..16).map(|at| (at.to_string(), String::new())).collect();
        let error = check(&many).unwrap_err();
        assert!(error.kind() == Invalid && error.message().contains("at most 15 tags"), "{error}");
    }
}
