//! [`hand_on!`](crate::hand_on): what a provider that stands before another one says in its name.

/// In an `impl` of [`KeyProvider`](crate::KeyProvider) that stands before another one, all methods that ask no key store: they
/// are handed on to the field that is named. What uses keys stays to be written.
///
/// These methods have defaults, and to forget one would be to say something else than the provider below does: that it
/// binds contexts in another way, that nobody need type a PIN. So an `impl` with this macro has
/// `#[deny(clippy::missing_trait_methods)]` before it: a method that a later version of the trait brings is then an error
/// until it is handed on here, or written.
///
/// `but refuted` leaves out [`refuted`](crate::KeyProvider::refuted), for what keeps DEKs and has to forget one that was
/// wrong.
///
/// ```
/// use std::sync::atomic::{AtomicU64, Ordering};
///
/// use async_trait::async_trait;
/// use envelope_sdk::{Dek, FullContext, KeyProvider, KeyUri, ProviderError, WrappedDek};
///
/// /// Counts what is unwrapped.
/// struct Counted<P> {
///     below: P,
///     unwraps: AtomicU64,
/// }
///
/// #[deny(clippy::missing_trait_methods)]
/// #[async_trait]
/// impl<P: KeyProvider> KeyProvider for Counted<P> {
///     envelope_sdk::hand_on!(below);
///
///     async fn resolve(&self, key: &KeyUri) -> Result<KeyUri, ProviderError> {
///         self.below.resolve(key).await
///     }
///
///     async fn wrap_dek(&self, key: &KeyUri, dek: &Dek, context: &FullContext) -> Result<WrappedDek, ProviderError> {
///         self.below.wrap_dek(key, dek, context).await
///     }
///
///     async fn unwrap_dek(&self, wrapped: &WrappedDek, context: &FullContext) -> Result<Dek, ProviderError> {
///         self.unwraps.fetch_add(1, Ordering::Relaxed);
///         self.below.unwrap_dek(wrapped, context).await
///     }
///
///     async fn unwrap_deks(&self, wraps: &[(&WrappedDek, &FullContext)]) -> Vec<Result<Dek, ProviderError>> {
///         self.unwraps.fetch_add(wraps.len() as u64, Ordering::Relaxed);
///         self.below.unwrap_deks(wraps).await
///     }
///
///     async fn generate_dek(&self, key: &KeyUri, context: &FullContext) -> Result<(Dek, WrappedDek), ProviderError> {
///         self.below.generate_dek(key, context).await
///     }
///
///     async fn rewrap_dek(
///         &self,
///         wrapped: &WrappedDek,
///         key: &KeyUri,
///         context: &FullContext,
///     ) -> Result<Option<WrappedDek>, ProviderError> {
///         self.below.rewrap_dek(wrapped, key, context).await
///     }
/// }
/// ```
#[macro_export]
macro_rules! hand_on {
    ($below:ident) => {
        $crate::hand_on!($below but refuted);

        fn refuted(&self, wrapped: &$crate::WrappedDek, context: &$crate::FullContext) {
            $crate::KeyProvider::refuted(&self.$below, wrapped, context);
        }
    };
    ($below:ident but refuted) => {
        fn name(&self) -> &'static str {
            $crate::KeyProvider::name(&self.$below)
        }

        fn identity(&self) -> ::core::option::Option<$crate::ProviderIdentity> {
            $crate::KeyProvider::identity(&self.$below)
        }

        fn context_binding(&self, wrapped: &$crate::WrappedDek) -> $crate::ContextBinding {
            $crate::KeyProvider::context_binding(&self.$below, wrapped)
        }

        fn is_same_key(&self, configured: &$crate::KeyUri, recipient: &$crate::KeyUri) -> bool {
            $crate::KeyProvider::is_same_key(&self.$below, configured, recipient)
        }

        fn binding_of_new_wraps(
            &self,
            key: &$crate::KeyUri,
        ) -> ::core::option::Option<$crate::ContextBinding> {
            $crate::KeyProvider::binding_of_new_wraps(&self.$below, key)
        }

        fn waits_for_a_person(&self, key: &$crate::KeyUri) -> bool {
            $crate::KeyProvider::waits_for_a_person(&self.$below, key)
        }

        fn generates_deks(&self, key: &$crate::KeyUri) -> bool {
            $crate::KeyProvider::generates_deks(&self.$below, key)
        }
    };
}
