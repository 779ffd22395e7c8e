//! [`Anew`]: a credential of Microsoft's that keeps no token.

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use azure_core::{
    Result,
    credentials::{AccessToken, TokenCredential, TokenRequestOptions},
    http::ClientMethodOptions,
};
use azure_identity::ClientAssertion;

/// Makes Microsoft's credential anew for each token. It keeps the one that it had until that ends by the clock of this
/// machine, and gives it out again, also after a vault did not accept it. Tokens are kept by
/// [`Tokens`](super::Tokens).
pub(super) struct Anew<F>(F);

impl<F> Anew<F>
where
    F: Fn() -> Result<Arc<dyn TokenCredential>> + Send + Sync + 'static,
{
    /// Made once here, so that settings that cannot be are told before anybody is asked.
    pub(super) fn credential(make: F) -> Result<Arc<dyn TokenCredential>> {
        drop(make()?);
        Ok(Arc::new(Self(make)))
    }
}

/// Without what it is made of.
impl<F> fmt::Debug for Anew<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Anew")
    }
}

#[async_trait]
impl<F> TokenCredential for Anew<F>
where
    F: Fn() -> Result<Arc<dyn TokenCredential>> + Send + Sync + 'static,
{
    async fn get_token(
        &self,
        scopes: &[&str],
        options: Option<TokenRequestOptions<'_>>,
    ) -> Result<AccessToken> {
        let credential = (self.0)()?;
        credential.get_token(scopes, options).await
    }
}

/// What all of them say of themselves.
#[derive(Debug)]
pub(super) struct Shared<A>(Arc<A>);

impl<A> Shared<A> {
    pub(super) fn new(assertion: A) -> Self {
        Self(Arc::new(assertion))
    }
}

impl<A> Clone for Shared<A> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

#[async_trait]
impl<A: ClientAssertion> ClientAssertion for Shared<A> {
    async fn secret(&self, options: Option<ClientMethodOptions<'_>>) -> Result<String> {
        self.0.secret(options).await
    }
}
