//! Deleting keys: for good, and behind a guard of Transit's own.

use envelope_sdk::{KeyDescription, KeyUri, ProviderError, ProviderErrorKind::NotFound};

use super::{changes::Config, path};
use crate::{
    HashiVault,
    call::Call,
    error::{refusal, unsure},
    scheme::name_of,
};

impl HashiVault {
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
