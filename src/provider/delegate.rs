//! A provider behind a pointer is the provider.

use std::sync::Arc;

use async_trait::async_trait;

use super::{ContextBinding, Dek, KeyProvider, ProviderError, ProviderIdentity, WrappedDek};
use crate::{FullContext, KeyUri};

macro_rules! delegate {
    ($pointer:ty) => {
        // A method that is not handed on would be the default in place of the provider's own.
        #[deny(clippy::missing_trait_methods)]
        #[async_trait]
        impl<P: KeyProvider + ?Sized> KeyProvider for $pointer {
            fn name(&self) -> &'static str {
                (**self).name()
            }

            fn identity(&self) -> Option<ProviderIdentity> {
                (**self).identity()
            }

            async fn resolve(&self, key: &KeyUri) -> Result<KeyUri, ProviderError> {
                (**self).resolve(key).await
            }

            fn context_binding(&self, wrapped: &WrappedDek) -> ContextBinding {
                (**self).context_binding(wrapped)
            }

            fn is_same_key(&self, configured: &KeyUri, recipient: &KeyUri) -> bool {
                (**self).is_same_key(configured, recipient)
            }

            async fn wrap_dek(
                &self,
                key: &KeyUri,
                dek: &Dek,
                context: &FullContext,
            ) -> Result<WrappedDek, ProviderError> {
                (**self).wrap_dek(key, dek, context).await
            }

            async fn unwrap_dek(
                &self,
                wrapped: &WrappedDek,
                context: &FullContext,
            ) -> Result<Dek, ProviderError> {
                (**self).unwrap_dek(wrapped, context).await
            }

            async fn unwrap_deks(
                &self,
                wraps: &[(&WrappedDek, &FullContext)],
            ) -> Vec<Result<Dek, ProviderError>> {
                (**self).unwrap_deks(wraps).await
            }

            fn refuted(&self, wrapped: &WrappedDek, context: &FullContext) {
                (**self).refuted(wrapped, context);
            }

            fn binding_of_new_wraps(&self, key: &KeyUri) -> Option<ContextBinding> {
                (**self).binding_of_new_wraps(key)
            }

            fn waits_for_a_person(&self, key: &KeyUri) -> bool {
                (**self).waits_for_a_person(key)
            }

            fn generates_deks(&self, key: &KeyUri) -> bool {
                (**self).generates_deks(key)
            }

            async fn generate_dek(
                &self,
                key: &KeyUri,
                context: &FullContext,
            ) -> Result<(Dek, WrappedDek), ProviderError> {
                (**self).generate_dek(key, context).await
            }

            async fn rewrap_dek(
                &self,
                wrapped: &WrappedDek,
                key: &KeyUri,
                context: &FullContext,
            ) -> Result<Option<WrappedDek>, ProviderError> {
                (**self).rewrap_dek(wrapped, key, context).await
            }
        }
    };
}

delegate!(Arc<P>);
delegate!(Box<P>);
