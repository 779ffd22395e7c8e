//! What a key store may do by itself: make the DEK, and wrap one anew.

use std::sync::Arc;

use envelope_sdk::{
    ContextBinding, Dek, FullContext,
    ProviderErrorKind::{AccessDenied, NotFound, Unauthentic, Unsupported},
    WrappedDek,
};

use super::super::{
    Backend, Outcome, Subject,
    ask::{
        Step, context, decide, fails, fresh_dek, must_generate, must_give_back, must_not_rewrap, must_wrap,
        not_run, rewrap, told, with_bytes,
    },
};
use super::wrapping::{binding, must_be_bound_as_declared, must_name_the_configured_key};

/// Generates four DEKs under two contexts: no two are the same, each comes back
/// from its wrap, which names the key, holds no DEK in the clear and binds the
/// context as declared.
#[must_use]
pub fn a_generated_dek_is_fresh_and_comes_back(backend: &dyn Backend) -> Outcome {
    decide(|| {
        let subject = backend.subject();
        let mut seen: Vec<Dek> = Vec::new();
        for context in [FullContext::empty(), context(), FullContext::empty(), context()] {
            let (dek, wrapped) = must_generate(backend, &subject, &context)?;
            must_name_the_configured_key(backend, &subject, &wrapped)?;
            must_give_back(backend, &subject, &wrapped, &context, &dek)?;
            if wrapped.ciphertext().windows(16).any(|part| dek.expose().starts_with(part)) {
                return fails("the wrapped DEK holds the DEK in the clear");
            }
            if dek.expose() == &[0; Dek::LEN] || seen.iter().any(|old| old.expose() == dek.expose()) {
                return fails("the DEK was generated before, or is all zeros");
            }
            seen.push(dek);
        }
        let (dek, wrapped) = must_generate(backend, &subject, &context())?;
        must_be_bound_as_declared(backend, &subject, &wrapped, &dek, "no entry", &FullContext::empty())
    })
}

/// Rewraps inside the provider, to the same key and to another of it. The new
/// wrap names the new key and gives back the same DEK, as the old one does still.
/// A wrap that was changed, and the right one under another context where the
/// provider binds it, is refused.
///
/// Not run where the provider leaves rewrapping to the caller.
#[must_use]
pub fn a_rewrapped_dek_is_the_same_under_the_same_context_alone(backend: &dyn Backend) -> Outcome {
    decide(|| {
        let (subject, other) = (backend.subject(), backend.other_subject());
        let (dek, context) = (fresh_dek(), context());
        let wrapped = must_wrap(backend, &subject, &dek, &context)?;
        let of_one_provider = Arc::ptr_eq(&other.provider, &subject.provider);
        for target in [Some(&subject), of_one_provider.then_some(&other)].into_iter().flatten() {
            match rewrap(backend, target, &wrapped, &context)? {
                Ok(Some(new)) => must_be_the_new_one(backend, target, (&wrapped, &new), &dek, &context)?,
                // From key to key it may depend on where they lie.
                Ok(None) if target.key != subject.key => {}
                Ok(None) => return not_run("the provider leaves rewrapping to the caller"),
                Err(error) => return fails(format!("rewrapping failed: {}", told(&error))),
            }
        }
        must_give_back(backend, &subject, &wrapped, &context, &dek)?;

        let mut changed = wrapped.ciphertext().to_vec();
        if let Some(last) = changed.last_mut() {
            *last ^= 1;
        }
        let outcome = rewrap(backend, &subject, &with_bytes(&wrapped, changed)?, &context)?;
        must_not_rewrap("a changed wrap", outcome, &[Unauthentic, Unsupported])?;
        if binding(&subject, &wrapped) == ContextBinding::Provider {
            let outcome = rewrap(backend, &subject, &wrapped, &FullContext::empty())?;
            must_not_rewrap("another context", outcome, &[Unauthentic])?;
        }
        let Some(unknown) = backend.unknown_key() else { return Ok(()) };
        let at = Subject::new(subject.provider.clone(), unknown);
        let outcome = rewrap(backend, &at, &wrapped, &context)?;
        must_not_rewrap("to an unknown key", outcome, &[NotFound, AccessDenied])
    })
}

fn must_be_the_new_one(
    backend: &dyn Backend,
    target: &Subject,
    (old, new): (&WrappedDek, &WrappedDek),
    dek: &Dek,
    context: &FullContext,
) -> Step<()> {
    must_name_the_configured_key(backend, target, new)?;
    if old.ciphertext() == new.ciphertext() {
        return fails("the new wrap is the old one");
    }
    must_give_back(backend, target, new, context, dek)?;
    must_be_bound_as_declared(backend, target, new, dek, "no entry", &FullContext::empty())
}
