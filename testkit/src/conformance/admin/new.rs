//! What a new key may be asked to have.

use envelope_sdk::{
    KeyState, NewKey,
    ProviderErrorKind::{Invalid, Unsupported},
    admin::{Detail, Details},
};

use super::super::{
    Outcome,
    ask::{Step, decide, fails, must_refuse, told, wait},
};
use super::ask::{describe, facts, must_agree, must_be_told_well, must_create, must_describe};
use super::{AdminBackend, END};

/// Makes a key, and another one of the same name: the check and the creation
/// refuse it with the same kind of error, and the first one stays as it is.
#[must_use]
pub fn a_name_that_is_taken_is_refused_by_check_and_creation(backend: &dyn AdminBackend) -> Outcome {
    decide(|| {
        let (admin, new) = (backend.admin(), backend.new_key());
        let created = must_create(backend, &new)?.uri;
        let before = facts(&describe(backend, &created)?);
        let checked = wait(backend, admin.check_new_key(&new))?;
        let made = wait(backend, admin.create_key(&new))?;
        must_agree("a name that is taken", &checked, &made)?;
        for outcome in [checked, made.map(drop)] {
            let error = must_refuse("a name that is taken", outcome, &[Invalid])?;
            must_be_told_well(backend, "a name that is taken", None, &error)?;
        }
        let after = facts(&describe(backend, &created)?);
        if after != before {
            return fails(format!("the key of that name was {before}, and after the refusal {after}"));
        }
        Ok(())
    })
}

/// Asks for a description, a tag, the end of the cryptoperiod and a pre-active
/// key, one after the other. Each is refused by the check and the creation alike,
/// as what the key store cannot, or the key has it: the description is in its
/// details, the end is told of its version, and it is pre-active.
#[must_use]
pub fn what_a_new_key_is_asked_to_have_is_told_of_it_or_refused(backend: &dyn AdminBackend) -> Outcome {
    decide(|| {
        must_create(backend, &backend.new_key())?;
        // Tags may take a permission of their own to be told, and are not demanded.
        for what in ["a description", "a tag", "the end of a cryptoperiod", "a pre-active key"] {
            let new = match what {
                "a description" => backend.new_key().description(WORDS),
                "a tag" => backend.new_key().tag("conformance", WORDS),
                "the end of a cryptoperiod" => backend.new_key().not_after(END),
                _ => backend.new_key().pre_active(),
            };
            let checked = wait(backend, backend.admin().check_new_key(&new))?;
            let made = wait(backend, backend.admin().create_key(&new))?;
            must_agree(what, &checked, &made)?;
            let created = match made {
                Ok(created) => created,
                Err(error) => {
                    must_be_told_well(backend, what, None, &error)?;
                    must_refuse::<()>(what, Err(error), &[Unsupported, Invalid])?;
                    continue;
                }
            };
            let described = must_describe(backend, &created.uri)?;
            let has_it = match what {
                "a description" => holds(&described.details, WORDS),
                "a tag" => true,
                "the end of a cryptoperiod" => described.current().and_then(|it| it.not_after) == Some(END),
                _ => described.state == KeyState::PreActive,
            };
            if !has_it {
                return fails(format!("{what} was asked for and dropped in silence: {described:?}"));
            }
        }
        Ok(())
    })
}

/// Asks for a kind of key, an option and a name that cannot be: the check and the
/// creation refuse each.
#[must_use]
pub fn a_kind_option_or_name_that_no_key_store_has_is_refused(backend: &dyn AdminBackend) -> Outcome {
    decide(|| {
        must_create(backend, &backend.new_key())?;
        must_be_refused(backend, "the algorithm", &backend.new_key().algorithm("conformance-suite"))?;
        must_be_refused(backend, "the option", &backend.new_key().option("conformance-suite", "yes"))?;
        must_be_refused(backend, "an empty name", &NewKey::named(""))?;
        must_be_refused(backend, "a name of two lines", &NewKey::named("two\nlines"))?;
        must_be_refused(backend, "a name of 5000 bytes", &NewKey::named("n".repeat(5000)))
    })
}

fn must_be_refused(backend: &dyn AdminBackend, what: &str, new: &NewKey) -> Step<()> {
    let checked = wait(backend, backend.admin().check_new_key(new))?;
    let made = wait(backend, backend.admin().create_key(new))?;
    for (when, outcome) in [("checked", checked), ("made", made.map(drop))] {
        let what = format!("{what}, {when}");
        let error = must_refuse(&what, outcome, &[Unsupported, Invalid])?;
        must_be_told_well(backend, &what, None, &error)?;
        if error.to_string().contains('\n') || error.to_string().len() > 2000 {
            return fails(format!("{what}: the error shows the name as it is: {}", told(&error)));
        }
    }
    Ok(())
}

/// Whether a text is among the facts, or those of a part.
fn holds(details: &Details, words: &str) -> bool {
    details.iter().any(|(_, detail)| is_or_holds(detail, words))
}

fn is_or_holds(detail: &Detail, words: &str) -> bool {
    match detail {
        Detail::Text(text) => text == words,
        Detail::List(details) => details.iter().any(|detail| is_or_holds(detail, words)),
        Detail::Table(details) => holds(details, words),
        _ => false,
    }
}

const WORDS: &str = "words of the conformance suite";
