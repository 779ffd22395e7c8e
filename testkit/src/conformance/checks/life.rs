//! Rotation, states, and a server that is away.

use envelope_sdk::{
    ProviderErrorKind::{self, NotFound, State, Unavailable},
    WrappedDek,
};

use super::super::{
    Applied, Backend, Change, Outcome, Subject,
    ask::{
        Step, context, decide, fails, fresh_dek, generate, must_apply, must_give_back, must_not_rewrap,
        must_refuse, must_wrap, not_run, relabelled, rewrap, told, unwrap, wait, wrap,
    },
};
use super::wrapping::envelope;

/// Wraps, rotates, unwraps; wraps anew; rotates once more; and rewraps an
/// envelope of the time before.
#[must_use]
pub fn what_was_wrapped_before_a_rotation_unwraps_after_it(backend: &dyn Backend) -> Outcome {
    decide(|| {
        let subject = backend.subject();
        let (context, entries) = (context(), envelope_sdk::EncryptionContext::new().with("tenant", "42"));
        let dek = fresh_dek();
        let envelope = envelope(&subject);
        let sealed = wait(backend, envelope.encrypt(b"attack at dawn", &entries))?
            .or_else(|error| fails(format!("an envelope was not made: {error}")))?;
        let mut wraps: Vec<WrappedDek> = vec![must_wrap(backend, &subject, &dek, &context)?];
        for _ in 0..2 {
            must_apply(backend, &subject, Change::Rotate)?;
            let new = must_wrap(backend, &subject, &dek, &context)?;
            let older = wraps.last().map_or("", WrappedDek::key_version);
            if !older.is_empty() && older == new.key_version() {
                return fails(format!("after a rotation the version is still {older}"));
            }
            wraps.push(new);
            for wrapped in &wraps {
                must_give_back(backend, &subject, wrapped, &context, &dek)?;
            }
        }
        let rewrapped = wait(backend, envelope.rewrap(&sealed, &entries))?
            .or_else(|error| fails(format!("an older envelope was not rewrapped: {error}")))?;
        match wait(backend, envelope.decrypt(&rewrapped, &entries))? {
            Ok(opened) if opened == b"attack at dawn" => Ok(()),
            Ok(_) => fails("a rewrapped envelope gave another plaintext"),
            Err(error) => fails(format!("a rewrapped envelope did not open: {error}")),
        }
    })
}

/// Suspends the key, tries both, activates it, tries both.
#[must_use]
pub fn a_suspended_key_neither_wraps_nor_unwraps_until_it_is_active_again(backend: &dyn Backend) -> Outcome {
    decide(|| {
        let subject = backend.subject();
        let (dek, context) = (fresh_dek(), context());
        let wrapped = must_wrap(backend, &subject, &dek, &context)?;
        must_apply(backend, &subject, Change::Suspend)?;
        must_not_wrap(backend, &subject, &wrapped, &[State])?;
        must_not_unwrap(backend, &subject, &wrapped, &[State])?;
        must_apply(backend, &subject, Change::Activate)?;
        must_give_back(backend, &subject, &wrapped, &context, &dek)?;
        must_wrap(backend, &subject, &dek, &context).map(drop)
    })
}

/// Deactivates the key and tries both.
#[must_use]
pub fn a_deactivated_key_unwraps_and_does_not_wrap(backend: &dyn Backend) -> Outcome {
    unwraps_only_after(backend, Change::Deactivate)
}

/// Declares the key compromised and tries both.
#[must_use]
pub fn a_compromised_key_unwraps_and_does_not_wrap(backend: &dyn Backend) -> Outcome {
    unwraps_only_after(backend, Change::Compromise)
}

/// Deactivates the key, or suspends it where it cannot be deactivated, destroys
/// it and tries both.
#[must_use]
pub fn a_destroyed_key_neither_wraps_nor_unwraps(backend: &dyn Backend) -> Outcome {
    decide(|| {
        let subject = backend.subject();
        let wrapped = must_wrap(backend, &subject, &fresh_dek(), &context())?;
        let first = backend.apply(&subject, Change::Deactivate);
        match first {
            Applied::Done => {}
            Applied::NotPossible(_) => must_apply(backend, &subject, Change::Suspend)?,
            Applied::Failed(reason) => return fails(format!("deactivating failed: {reason}")),
        }
        must_apply(backend, &subject, Change::Destroy)?;
        must_not_wrap(backend, &subject, &wrapped, &[State, NotFound])?;
        must_not_unwrap(backend, &subject, &wrapped, &[State, NotFound])
    })
}

/// Wraps and unwraps with [`Backend::unreachable`].
#[must_use]
pub fn a_key_without_its_server_is_unavailable_and_worth_a_retry(backend: &dyn Backend) -> Outcome {
    decide(|| {
        let Some(away) = backend.unreachable() else {
            return not_run("the backend names no key whose server is away");
        };
        let there = backend.subject();
        let wrapped = must_wrap(backend, &there, &fresh_dek(), &context())?;
        // As if it were of the key that is away: a wrap of another key may be refused without asking anybody.
        let wrapped = relabelled(&wrapped, &away.key)?;
        let refusals = [
            ("wrapping", wrap(backend, &away, &fresh_dek(), &context())?.map(drop)),
            ("generating", generate(backend, &away, &context())?.map(drop)),
            ("unwrapping", unwrap(backend, &away, &wrapped, &context())?.map(drop)),
        ];
        for (what, outcome) in refusals {
            let error = must_refuse(what, outcome, &[Unavailable])?;
            if !error.is_retryable() {
                return fails(format!("{what}: the error is not retryable: {}", told(&error)));
            }
        }
        Ok(())
    })
}

fn unwraps_only_after(backend: &dyn Backend, change: Change) -> Outcome {
    decide(|| {
        let subject = backend.subject();
        let (dek, context) = (fresh_dek(), context());
        let wrapped = must_wrap(backend, &subject, &dek, &context)?;
        must_apply(backend, &subject, change)?;
        must_not_wrap(backend, &subject, &wrapped, &[State])?;
        must_give_back(backend, &subject, &wrapped, &context, &dek)
    })
}

/// Neither a DEK of this machine, nor one of the key store, nor the one that
/// `wrapped` holds.
fn must_not_wrap(
    backend: &dyn Backend,
    subject: &Subject,
    wrapped: &WrappedDek,
    kinds: &[ProviderErrorKind],
) -> Step<()> {
    must_refuse("wrapping", wrap(backend, subject, &fresh_dek(), &context())?, kinds)?;
    must_refuse("generating", generate(backend, subject, &context())?, kinds)?;
    must_not_rewrap("rewrapping", rewrap(backend, subject, wrapped, &context())?, kinds)
}

fn must_not_unwrap(
    backend: &dyn Backend,
    subject: &Subject,
    wrapped: &WrappedDek,
    kinds: &[ProviderErrorKind],
) -> Step<()> {
    must_refuse("unwrapping", unwrap(backend, subject, wrapped, &context())?, kinds).map(drop)
}
