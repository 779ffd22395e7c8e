//! What is for good: trimming versions, and deleting keys behind a guard of Transit's own.

use envelope_sdk::{
    KeyDescription, KeyUri, ProviderError,
    ProviderErrorKind::{self, Invalid, NotFound, State},
};
use serde::Serialize;

use super::{
    TRIM,
    changes::{Config, check_not_deleted},
    key::TransitKey,
    path,
};
use crate::{
    HashiVault,
    call::Call,
    error::{refusal, unsure},
    failure::failure,
    scheme::name_of,
};

/// A trimming that may be done.
#[derive(Debug, PartialEq, Eq)]
enum Trimming {
    /// That was done already.
    Done,
    /// What must be set first.
    Of(Option<Config>),
}

#[derive(Serialize)]
struct Border {
    min_available_version: u32,
}

impl HashiVault {
    /// Trims the versions below this one, **for good**: what they wrapped opens no more. Each of them must be held back, as
    /// [`change_key`](envelope_sdk::KeyAdmin::change_key) to [`Destroyed`](envelope_sdk::KeyState::Destroyed) does. What
    /// failed may be called again.
    ///
    /// # Errors
    ///
    /// [`Invalid`](envelope_sdk::ProviderErrorKind::Invalid) for 0,
    /// [`NotFound`](envelope_sdk::ProviderErrorKind::NotFound) where the key has no such version,
    /// [`State`](envelope_sdk::ProviderErrorKind::State) where an older one still opens; what the server says (`update` on
    /// `MOUNT/keys/KEY/config` and `MOUNT/keys/KEY/trim`, `read` on `MOUNT/keys/KEY`).
    pub async fn trim_below(&self, key: &KeyUri, version: u32) -> Result<KeyDescription, ProviderError> {
        let (told, trimming) = self.plan_trimming(key, version).await?;
        let config = match trimming {
            Trimming::Done => return Ok(told.describe()),
            Trimming::Of(config) => config,
        };
        if let Some(config) = config {
            self.set(key, &config).await?;
        }
        let border = Border { min_available_version: version };
        let call = Call::write(path(name_of(key)?, TRIM)).json(&border).repeatable();
        self.reach().call(&call).await.map_err(|failed| refusal(&call, key, &failed))?;
        Ok(self.describe_changed(key, |now| now.min_available_version >= version).await?.describe())
    }

    /// Refuses what [`trim_below`](Self::trim_below) would refuse.
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn check_trim_below(&self, key: &KeyUri, version: u32) -> Result<(), ProviderError> {
        self.plan_trimming(key, version).await.map(drop)
    }

    async fn plan_trimming(
        &self,
        key: &KeyUri,
        version: u32,
    ) -> Result<(TransitKey, Trimming), ProviderError> {
        let told = self.describe_ours(key).await?;
        check_not_deleted(&told)?;
        match trimming(&told, version) {
            Ok(trimming) => Ok((told, trimming)),
            Err((kind, message)) => Err(failure(kind, key, message)),
        }
    }

    /// Allows the deletion of a key, or forbids it again (`deletion_allowed`). It is used meanwhile as before. Making it
    /// [`Destroyed`](envelope_sdk::KeyState::Destroyed) deletes it then, **for good**: so that takes two calls, and nobody
    /// does it by one.
    ///
    /// # Errors
    ///
    /// [`Unsupported`](envelope_sdk::ProviderErrorKind::Unsupported) for a key that wraps no DEKs; what the server says
    /// (`update` on `MOUNT/keys/KEY/config`, `read` on `MOUNT/keys/KEY`).
    pub async fn allow_deletion(&self, key: &KeyUri, allowed: bool) -> Result<KeyDescription, ProviderError> {
        self.describe_ours(key).await?;
        let config = Config { deletion_allowed: Some(allowed), ..Config::default() };
        Ok(self.set(key, &config).await?.describe())
    }

    pub(super) async fn delete(&self, key: &KeyUri) -> Result<(), ProviderError> {
        let call = Call::delete(path(name_of(key)?, ""));
        let Err(failed) = self.reach().call(&call).await else { return Ok(()) };
        let refused = refusal(&call, key, &failed);
        if !failed.may_be_done() {
            return Err(refused);
        }
        // The answer may have been lost.
        match self.describe(key).await {
            Ok(_) => Err(refused),
            Err(error) if error.kind() == NotFound => Ok(()),
            Err(_) => Err(unsure(&refused, "describe the key")),
        }
    }
}

fn trimming(key: &TransitKey, version: u32) -> Result<Trimming, (ProviderErrorKind, String)> {
    let border = key.min_decryption_version;
    if version == 0 {
        return Err((Invalid, "the first version of a key is 1".to_owned()));
    }
    if key.state_of(version).is_none() {
        return Err((NotFound, format!("the key has no version {version}")));
    }
    if version <= key.first_available() {
        return Ok(Trimming::Done);
    }
    if version > border {
        return Err((
            State,
            format!("version {border} still opens what it wrapped: destroy it first, which holds it back"),
        ));
    }
    // Transit trims nothing before this is set.
    let too_low = key.min_encryption_version < border;
    Ok(Trimming::Of(too_low.then(|| Config { min_encryption_version: Some(border), ..Config::default() })))
}

#[cfg(test)]
mod tests {
    use super::{super::key::of_numbers, *};

    #[test]
    fn only_versions_that_are_held_back_are_trimmed_and_the_border_of_encryption_is_set_before() {
        // 1 is gone, 2 and 3 are held back, 4 and 5 open, 6 wraps.
        let key = of_numbers(6, 4, 4, 2).unwrap();
        let of = |key: &TransitKey, version| trimming(key, version).map_err(|(kind, _)| kind);
        assert_eq!(of(&key, 0), Err(Invalid));
        assert_eq!([of(&key, 1), of(&key, 2)], [Ok(Trimming::Done), Ok(Trimming::Done)]);
        assert_eq!([of(&key, 3), of(&key, 4)], [Ok(Trimming::Of(None)), Ok(Trimming::Of(None))]);
        assert_eq!([of(&key, 5), of(&key, 6), of(&key, 7)], [Err(State), Err(State), Err(NotFound)]);
        let config = Config { min_encryption_version: Some(3), ..Config::default() };
        assert_eq!(of(&of_numbers(3, 0, 3, 0).unwrap(), 2), Ok(Trimming::Of(Some(config))));
    }
}
