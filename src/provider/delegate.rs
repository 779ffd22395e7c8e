//! A provider behind a pointer is the provider.

use std::{pin::Pin, sync::Arc};

use super::{ContextBinding, Dek, KeyProvider, ProviderError, ProviderIdentity, WrappedDek};
use crate::{FullContext, KeyUri};

macro_rules! delegate {
    ($pointer:ty) => {
        // A method that is not handed on would be the default in place of the provider's own.
        //
        // Written as `async_trait` writes it, without a future around the one that the provider returns: behind a stack of
        // layers, that would be an allocation for each.
        #[deny(clippy::missing_trait_methods)]
        impl<P: KeyProvider + ?Sized> KeyProvider for $pointer {
            fn name(&self) -> &'static str {
                (**self).name()
            }

            fn identity(&self) -> Option<ProviderIdentity> {
                (**self).identity()
            }

            fn resolve<'s, 'k, 'f>(&'s self, key: &'k KeyUri) -> Answer<'f, Result<KeyUri, ProviderError>>
            where
                's: 'f,
                'k: 'f,
                Self: 'f,
            {
                (**self).resolve(key)
            }

            fn context_binding(&self, wrapped: &WrappedDek) -> ContextBinding {
                (**self).context_binding(wrapped)
            }

            fn is_same_key(&self, configured: &KeyUri, recipient: &KeyUri) -> bool {
                (**self).is_same_key(configured, recipient)
            }

            fn wrap_dek<'s, 'k, 'd, 'c, 'f>(
                &'s self,
                key: &'k KeyUri,
                dek: &'d Dek,
                context: &'c FullContext,
            ) -> Answer<'f, Result<WrappedDek, ProviderError>>
            where
                's: 'f,
                'k: 'f,
                'd: 'f,
                'c: 'f,
                Self: 'f,
            {
                (**self).wrap_dek(key, dek, context)
            }

            fn unwrap_dek<'s, 'w, 'c, 'f>(
                &'s self,
                wrapped: &'w WrappedDek,
                context: &'c FullContext,
            ) -> Answer<'f, Result<Dek, ProviderError>>
            where
                's: 'f,
                'w: 'f,
                'c: 'f,
                Self: 'f,
            {
                (**self).unwrap_dek(wrapped, context)
            }

            fn unwrap_deks<'s, 'a, 'w, 'c, 'f>(
                &'s self,
                wraps: &'a [(&'w WrappedDek, &'c FullContext)],
            ) -> Answer<'f, Vec<Result<Dek, ProviderError>>>
            where
                's: 'f,
                'a: 'f,
                'w: 'f,
                'c: 'f,
                Self: 'f,
            {
                (**self).unwrap_deks(wraps)
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

            fn generate_dek<'s, 'k, 'c, 'f>(
                &'s self,
                key: &'k KeyUri,
                context: &'c FullContext,
            ) -> Answer<'f, Result<(Dek, WrappedDek), ProviderError>>
            where
                's: 'f,
                'k: 'f,
                'c: 'f,
                Self: 'f,
            {
                (**self).generate_dek(key, context)
            }

            fn rewrap_dek<'s, 'w, 'k, 'c, 'f>(
                &'s self,
                wrapped: &'w WrappedDek,
                key: &'k KeyUri,
                context: &'c FullContext,
            ) -> Answer<'f, Result<Option<WrappedDek>, ProviderError>>
            where
                's: 'f,
                'w: 'f,
                'k: 'f,
                'c: 'f,
                Self: 'f,
            {
                (**self).rewrap_dek(wrapped, key, context)
            }
        }
    };
}

/// What a method of the provider returns.
type Answer<'f, T> = Pin<Box<dyn Future<Output = T> + Send + 'f>>;

delegate!(Arc<P>);
delegate!(Box<P>);
