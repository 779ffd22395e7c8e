//! What every layer hands on as it is: who the provider below is, and what it says of keys and wraps.

/// The methods of [`KeyProvider`](envelope_sdk::KeyProvider) that ask no key store, in an `impl` of a layer over `below`; for one
/// that keeps DEKs without that which says that a DEK is wrong.
macro_rules! hand_on {
    () => {
        hand_on!(but refuted);

        fn refuted(&self, wrapped: &WrappedDek, context: &envelope_sdk::FullContext) {
            self.below.refuted(wrapped, context);
        }
    };
    (but refuted) => {
        fn name(&self) -> &'static str {
            self.below.name()
        }

        fn identity(&self) -> Option<envelope_sdk::ProviderIdentity> {
            self.below.identity()
        }

        fn context_binding(&self, wrapped: &WrappedDek) -> envelope_sdk::ContextBinding {
            self.below.context_binding(wrapped)
        }

        fn is_same_key(&self, configured: &KeyUri, recipient: &KeyUri) -> bool {
            self.below.is_same_key(configured, recipient)
        }

        fn binding_of_new_wraps(&self, key: &KeyUri) -> Option<envelope_sdk::ContextBinding> {
            self.below.binding_of_new_wraps(key)
        }

        fn waits_for_a_person(&self, key: &KeyUri) -> bool {
            self.below.waits_for_a_person(key)
        }

        fn generates_deks(&self, key: &KeyUri) -> bool {
            self.below.generates_deks(key)
        }
    };
}
