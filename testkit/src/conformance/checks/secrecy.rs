//! No secret in what a provider says.

use std::{error::Error, fmt::Write as _};

use envelope_sdk::FullContext;

use super::super::{
    Backend, Outcome,
    ask::{
        Step, context, decide, fails, fresh_dek, must_generate, must_give_back, must_wrap, rewrap, unwrap,
        with_bytes,
    },
};
use super::refusals::refusals;
use crate::{listener::Listening, secrets::Canary};

/// Wraps, unwraps, generates, rewraps and provokes every refusal while everything is heard that the
/// process logs through `log` and `tracing`, at level TRACE. Neither there nor
/// in an error, its `Debug` and its causes does a DEK occur: raw, in
/// hexadecimal, in base64 or as a list of numbers.
///
/// Not run where another logger or subscriber was installed before.
#[must_use]
pub fn no_dek_is_in_errors_or_logs(backend: &dyn Backend) -> Outcome {
    decide(|| {
        let listening = Listening::start().map_err(Outcome::NotRun)?;
        let subject = backend.subject();
        let (dek, context) = (fresh_dek(), context());
        let canary = Canary::new("the DEK", dek.expose());
        let wrapped = must_wrap(backend, &subject, &dek, &context)?;
        must_give_back(backend, &subject, &wrapped, &context, &dek)?;
        let (generated, of_generated) = must_generate(backend, &subject, &context)?;
        let generated = Canary::new("the generated DEK", generated.expose());

        let mut errors: Vec<_> =
            refusals(backend, &subject, &dek)?.into_iter().map(|(what, _, error)| (what, error)).collect();
        let mut changed = wrapped.ciphertext().to_vec();
        changed.rotate_left(1);
        let refused = unwrap(backend, &subject, &with_bytes(&wrapped, changed)?, &context)?;
        errors.extend(refused.err().map(|error| ("a mixed-up wrap", error)));
        let empty = FullContext::empty();
        let refused = unwrap(backend, &subject, &wrapped, &empty)?;
        errors.extend(refused.err().map(|error| ("another context", error)));
        // Once where it may succeed, once where it must not.
        for (wrapped, context) in [(&wrapped, &context), (&of_generated, &empty)] {
            let refused = rewrap(backend, &subject, wrapped, context)?;
            errors.extend(refused.err().map(|error| ("a rewrap", error)));
        }
        for (what, error) in &errors {
            for canary in [&canary, &generated] {
                must_not_hold(canary, &format!("the error of {what}"), everything_of(error).as_bytes())?;
            }
        }
        let heard = listening.heard();
        must_not_hold(&canary, "the logs", &heard)?;
        must_not_hold(&generated, "the logs", &heard)
    })
}

fn must_not_hold(canary: &Canary, place: &str, bytes: &[u8]) -> Step<()> {
    match canary.find(bytes) {
        Some(found) => fails(format!("{found} is in {place}")),
        None => Ok(()),
    }
}

/// An error in every form, with its causes.
fn everything_of(error: &dyn Error) -> String {
    let mut text = String::new();
    let mut next = Some(error);
    while let Some(error) = next {
        let _ = write!(text, "{error} {error:?} {error:#?} ");
        next = error.source();
    }
    text
}
