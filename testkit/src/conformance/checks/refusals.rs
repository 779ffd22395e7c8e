//! What must not unwrap, and how it is refused.

use envelope_sdk::{
    ContextBinding, Dek, FullContext, KeyUri, ProviderError,
    ProviderErrorKind::{AccessDenied, Invalid, NotFound, Unauthentic, Unsupported},
};

use super::super::{
    Backend, Outcome, Subject,
    ask::{
        Step, context, decide, fails, fresh_dek, generate, must_give_back, must_not_rewrap, must_refuse,
        must_wrap, not_run, relabelled, rewrap, told, unwrap, with_bytes, wrap,
    },
};

/// Hands the wrap of one key to another, under the other's name. Where the
/// other is the same key URI with another secret, the wrap is handed over as it
/// is.
#[must_use]
pub fn a_wrap_does_not_unwrap_under_another_key(backend: &dyn Backend) -> Outcome {
    decide(|| {
        let (subject, other) = (backend.subject(), backend.other_subject());
        let (dek, context) = (fresh_dek(), context());
        let wrapped = must_wrap(backend, &subject, &dek, &context)?;
        let of_other = must_wrap(backend, &other, &fresh_dek(), &context)?;
        let moved = relabelled(&wrapped, of_other.key_uri())?;
        let outcome = unwrap(backend, &other, &moved, &context)?;
        // A version of the one key may be unknown to the other.
        must_refuse("unwrapping under another key", outcome, &[Unauthentic, NotFound])?;
        must_give_back(backend, &subject, &wrapped, &context, &dek)
    })
}

/// Flips a bit in each byte, in at most 64 bytes spread over a longer wrap.
#[must_use]
pub fn a_changed_wrap_does_not_unwrap(backend: &dyn Backend) -> Outcome {
    decide(|| {
        let subject = backend.subject();
        let (dek, context) = (fresh_dek(), context());
        let wrapped = must_wrap(backend, &subject, &dek, &context)?;
        let bytes = wrapped.ciphertext();
        for at in spread(bytes.len()) {
            let mut changed = bytes.to_vec();
            changed[at] ^= 1 << (at % 8);
            let outcome = unwrap(backend, &subject, &with_bytes(&wrapped, changed)?, &context)?;
            // Parameters in the wrap may become ones that the provider refuses.
            must_refuse(
                &format!("byte {at} of {} changed", bytes.len()),
                outcome,
                &[Unauthentic, Unsupported],
            )?;
        }
        must_give_back(backend, &subject, &wrapped, &context, &dek)
    })
}

/// Cuts the wrap at several lengths and appends to it.
#[must_use]
pub fn a_shortened_or_lengthened_wrap_does_not_unwrap(backend: &dyn Backend) -> Outcome {
    decide(|| {
        let subject = backend.subject();
        let (dek, context) = (fresh_dek(), context());
        let wrapped = must_wrap(backend, &subject, &dek, &context)?;
        let len = wrapped.ciphertext().len();
        let mut lengths = vec![1, 12, 28, len / 2, len.saturating_sub(16), len - 1, len + 1, len + 16, 4096];
        lengths.retain(|other| (1..=4096).contains(other) && *other != len);
        for other in lengths {
            let mut bytes = wrapped.ciphertext().to_vec();
            bytes.resize(other, 0);
            let outcome = unwrap(backend, &subject, &with_bytes(&wrapped, bytes)?, &context)?;
            must_refuse(&format!("{other} of {len} bytes"), outcome, &[Unauthentic, Unsupported])?;
        }
        must_give_back(backend, &subject, &wrapped, &context, &dek)
    })
}

/// Wraps for a key of a scheme that no provider has, unwraps a wrap that names
/// one, and asks `is_same_key`.
#[must_use]
pub fn keys_of_other_schemes_are_refused(backend: &dyn Backend) -> Outcome {
    decide(|| {
        let subject = backend.subject();
        let foreign = foreign_key()?;
        let (dek, context) = (fresh_dek(), context());
        let wrapped = must_wrap(backend, &subject, &dek, &context)?;
        let at = Subject::new(subject.provider.clone(), foreign.clone());
        let kinds = [Unsupported, NotFound, Invalid];
        must_refuse("wrapping for another scheme", wrap(backend, &at, &dek, &context)?, &kinds)?;
        must_refuse("generating for another scheme", generate(backend, &at, &context)?, &kinds)?;
        let outcome = rewrap(backend, &at, &wrapped, &context)?;
        must_not_rewrap("rewrapping for another scheme", outcome, &kinds)?;
        let moved = relabelled(&wrapped, &foreign)?;
        let outcome = rewrap(backend, &subject, &moved, &context)?;
        must_not_rewrap("rewrapping from another scheme", outcome, &kinds)?;
        must_refuse("unwrapping for another scheme", unwrap(backend, &subject, &moved, &context)?, &kinds)?;
        if subject.provider.is_same_key(&subject.key, &foreign) {
            return fails(format!("is_same_key says that {foreign} is {}", subject.key));
        }
        Ok(())
    })
}

/// Wraps and unwraps with [`Backend::unknown_key`]. A cloud may call it
/// [`AccessDenied`](envelope_sdk::ProviderErrorKind::AccessDenied), so as not to
/// tell which keys there are.
#[must_use]
pub fn an_unknown_key_is_not_found(backend: &dyn Backend) -> Outcome {
    decide(|| {
        let Some(unknown) = backend.unknown_key() else {
            return not_run("the backend names no unknown key");
        };
        let subject = backend.subject();
        let context = context();
        let wrapped = must_wrap(backend, &subject, &fresh_dek(), &context)?;
        let at = Subject::new(subject.provider.clone(), unknown.clone());
        let kinds = [NotFound, AccessDenied];
        must_refuse("wrapping", wrap(backend, &at, &fresh_dek(), &context)?, &kinds)?;
        must_refuse("generating", generate(backend, &at, &context)?, &kinds)?;
        let moved = relabelled(&wrapped, &unknown)?;
        must_refuse("unwrapping", unwrap(backend, &subject, &moved, &context)?, &kinds)?;
        Ok(())
    })
}

/// Collects refusals of every sort. Each names the provider and the key that was
/// asked for, says something, and is not retryable: the same call fails again.
#[must_use]
pub fn refusals_name_provider_and_key_and_are_not_worth_a_retry(backend: &dyn Backend) -> Outcome {
    decide(|| {
        let subject = backend.subject();
        for (what, key, error) in refusals(backend, &subject, &fresh_dek())? {
            let name = subject.provider.name();
            if error.provider() != name {
                return fails(format!(
                    "{what}: the error names the provider {}, not {name}",
                    error.provider()
                ));
            }
            if error.key() != Some(&key) {
                return fails(format!("{what}: the error names {:?}, not the key {key}", error.key()));
            }
            if error.message().trim().is_empty() {
                return fails(format!("{what}: the error says nothing"));
            }
            if error.is_retryable() {
                return fails(format!("{what}: the error is retryable: {}", told(&error)));
            }
        }
        Ok(())
    })
}

/// One refusal of each sort that the backend has, all about `dek`: what was
/// tried, for which key, and the error.
pub(super) fn refusals(
    backend: &dyn Backend,
    subject: &Subject,
    dek: &Dek,
) -> Step<Vec<(&'static str, KeyUri, ProviderError)>> {
    let context = context();
    let wrapped = must_wrap(backend, subject, dek, &context)?;
    let own = wrapped.key_uri().clone();
    let mut refusals = Vec::new();
    let mut note = |what, key: &KeyUri, error: Option<ProviderError>| {
        refusals.extend(error.map(|error| (what, key.clone(), error)));
    };
    if subject.provider.context_binding(&wrapped) == ContextBinding::Provider {
        let refusal = unwrap(backend, subject, &wrapped, &FullContext::empty())?;
        note("another context", &own, refusal.err());
    }
    let mut changed = wrapped.ciphertext().to_vec();
    if let Some(last) = changed.last_mut() {
        *last ^= 1;
    }
    let refusal = unwrap(backend, subject, &with_bytes(&wrapped, changed)?, &context)?;
    note("a changed wrap", &own, refusal.err());
    for unknown in [Some(foreign_key()?), backend.unknown_key()].into_iter().flatten() {
        let at = Subject::new(subject.provider.clone(), unknown.clone());
        note("wrapping with an unknown key", &unknown, wrap(backend, &at, dek, &context)?.err());
        note("generating with an unknown key", &unknown, generate(backend, &at, &context)?.err());
        let moved = relabelled(&wrapped, &unknown)?;
        note("unwrapping with an unknown key", &unknown, unwrap(backend, subject, &moved, &context)?.err());
    }
    Ok(refusals)
}

fn foreign_key() -> Step<KeyUri> {
    KeyUri::parse("conformance-suite:foreign").or_else(|error| fails(error.to_string()))
}

/// Positions from the first byte to the last.
fn spread(len: usize) -> Vec<usize> {
    const MOST: usize = 64;
    if len <= MOST { (0..len).collect() } else { (0..MOST).map(|at| at * (len - 1) / (MOST - 1)).collect() }
}
