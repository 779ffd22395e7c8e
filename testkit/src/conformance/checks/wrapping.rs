//! Wrapping, unwrapping and the context.

use envelope_sdk::{
    ContextBinding, DecryptError, Dek, EncryptionContext, Envelope, FullContext, Keyring,
    ProviderErrorKind::{Invalid, Unauthentic, Unsupported},
    WrappedDek,
    context::{MAX_ENCODED_LEN, MAX_ENTRIES},
};

use super::super::{
    Backend, Outcome, Subject,
    ask::{
        Step, context, decide, fails, fresh_dek, full, must_generate, must_give_back, must_refuse,
        must_resolve, must_wrap, told, unwrap, wait, with_bytes, wrap,
    },
};

/// Wraps and unwraps, several DEKs and contexts, the empty context included,
/// each wrap twice, its DEK refuted in between. Each wrap binds the context as the provider says of new ones.
#[must_use]
pub fn a_wrapped_dek_comes_back(backend: &dyn Backend) -> Outcome {
    decide(|| {
        let subject = backend.subject();
        for context in [FullContext::empty(), context()] {
            let (one, other) = (fresh_dek(), fresh_dek());
            let wrapped = [&one, &other, &one].map(|dek| (dek, must_wrap(backend, &subject, dek, &context)));
            for (dek, wrapped) in wrapped {
                let wrapped = wrapped?;
                for _ in 0..2 {
                    must_give_back(backend, &subject, &wrapped, &context, dek)?;
                    // Whoever says so may be wrong: it takes no DEK away.
                    subject.provider.refuted(&wrapped, &context);
                }
                let binding = subject.provider.context_binding(&wrapped);
                if subject.provider.binding_of_new_wraps(&subject.key).is_some_and(|said| said != binding) {
                    return fails("its wraps do not bind the context as it says of new ones");
                }
                if wrapped.ciphertext().windows(16).any(|part| dek.expose().starts_with(part)) {
                    return fails("the wrapped DEK holds the DEK in the clear");
                }
            }
        }
        Ok(())
    })
}

/// Unwraps several wraps in one call: under two contexts, one of them twice, one that was changed in
/// between. Each result stands in the place of its wrap, and the changed one spoils no other.
#[must_use]
pub fn wraps_that_are_unwrapped_together_unwrap_as_each_by_itself(backend: &dyn Backend) -> Outcome {
    decide(|| {
        let subject = backend.subject();
        let (one, other, context, empty) = (fresh_dek(), fresh_dek(), context(), FullContext::empty());
        let first = must_wrap(backend, &subject, &one, &context)?;
        let second = must_wrap(backend, &subject, &other, &empty)?;
        let mut bytes = first.ciphertext().to_vec();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        let changed = with_bytes(&first, bytes)?;
        let wraps = [(&first, &context), (&changed, &context), (&second, &empty), (&first, &context)];
        let deks = wait(backend, subject.provider.unwrap_deks(&wraps))?;
        if deks.len() != wraps.len() {
            return fails(format!("{} wraps gave {} results", wraps.len(), deks.len()));
        }
        for (at, (dek, expected)) in
            deks.into_iter().zip([Some(&one), None, Some(&other), Some(&one)]).enumerate()
        {
            match (dek, expected) {
                (Ok(dek), Some(expected)) if dek.expose() == expected.expose() => {}
                (Ok(_), Some(_)) => return fails(format!("wrap {at} gave another DEK")),
                (Err(error), Some(_)) => return fails(format!("wrap {at} failed: {}", told(&error))),
                (dek, None) => {
                    must_refuse("a changed wrap", dek, &[Unauthentic, Unsupported])?;
                }
            }
        }
        let none = wait(backend, subject.provider.unwrap_deks(&[]))?;
        if none.is_empty() { Ok(()) } else { fails("no wrap gave a result") }
    })
}

/// Wraps three DEKs, one of them under another context, and has two more made where the provider
/// makes them. No two of the wraps are encrypted with one keystream, which a nonce used twice gives:
/// their XOR would be that of the DEKs, so that one known DEK tells all the others.
#[must_use]
pub fn no_two_wraps_share_a_keystream(backend: &dyn Backend) -> Outcome {
    decide(|| {
        let subject = backend.subject();
        let mut wraps: Vec<(Dek, WrappedDek)> = Vec::new();
        for context in [context(), context(), FullContext::empty()] {
            let dek = fresh_dek();
            let wrapped = must_wrap(backend, &subject, &dek, &context)?;
            wraps.push((dek, wrapped));
        }
        if subject.provider.generates_deks(&subject.key) {
            for _ in 0..2 {
                wraps.push(must_generate(backend, &subject, &context())?);
            }
        }
        for (at, (dek, wrapped)) in wraps.iter().enumerate() {
            for (other, other_wrapped) in &wraps[..at] {
                if have_one_keystream((dek, wrapped), (other, other_wrapped)) {
                    return fails("two wraps differ as their DEKs do: one nonce was used for both");
                }
            }
        }
        Ok(())
    })
}

/// Looked for at every place of one and every place of the other, which may have another length.
fn have_one_keystream(one: (&Dek, &WrappedDek), other: (&Dek, &WrappedDek)) -> bool {
    let xor = |a: &[u8], b: &[u8]| a.iter().zip(b).map(|(a, b)| a ^ b).collect::<Vec<u8>>();
    let difference = xor(one.0.expose(), other.0.expose());
    let places =
        |wrapped: &WrappedDek| wrapped.ciphertext().windows(Dek::LEN).map(<[u8]>::to_vec).collect::<Vec<_>>();
    let others = places(other.1);
    places(one.1).iter().any(|place| others.iter().any(|other| xor(place, other) == difference))
}

/// The wrap names the key itself and no alias of it; the provider takes it for
/// the configured key, or for what that means, and for no other.
#[must_use]
pub fn a_wrap_names_the_key_it_was_asked_for(backend: &dyn Backend) -> Outcome {
    decide(|| {
        let (subject, other) = (backend.subject(), backend.other_subject());
        let wrapped = must_wrap(backend, &subject, &fresh_dek(), &context())?;
        must_name_the_configured_key(backend, &subject, &wrapped)?;
        let (configured, named) = (&subject.key, wrapped.key_uri());
        let meant = must_resolve(backend, &subject.provider, named)?;
        if meant != *named {
            return fails(format!("the wrap names {named}, which is an alias of {meant}"));
        }
        // The same URI with another secret is the same key to `is_same_key`.
        let others = [Some(other.key), backend.unknown_key()];
        for other in others.iter().flatten().filter(|other| *other != configured) {
            let means = wait(backend, subject.provider.resolve(other))?.unwrap_or_else(|_| other.clone());
            for other in [other, &means] {
                if subject.provider.is_same_key(other, named) {
                    return fails(format!("is_same_key says that {other} may open what {named} wrapped"));
                }
            }
        }
        Ok(())
    })
}

/// A keyring refuses a wrap that does not, and so the DEK in it.
pub(super) fn must_name_the_configured_key(
    backend: &dyn Backend,
    subject: &Subject,
    wrapped: &WrappedDek,
) -> Step<()> {
    let (provider, configured, named) = (&subject.provider, &subject.key, wrapped.key_uri());
    let meant = must_resolve(backend, provider, configured)?;
    if meant == *configured && configured != named {
        return fails(format!("asked for {configured}, the wrap names {named}"));
    }
    if configured.scheme() != named.scheme() {
        return fails(format!("{configured} and {named} have different schemes"));
    }
    if !provider.is_same_key(configured, named) && !provider.is_same_key(&meant, named) {
        return fails(format!("is_same_key says that {named} is not the configured {configured}"));
    }
    Ok(())
}

/// Unwraps under contexts that differ in one value, one name, one entry more or
/// less, or case. With
/// [`ContextBinding::Provider`] each must be refused as
/// [`Unauthentic`](envelope_sdk::ProviderErrorKind::Unauthentic); with
/// [`ContextBinding::EnvelopeOnly`] each must succeed, since the provider
/// declares that it looks at none.
#[must_use]
pub fn the_context_is_bound_as_declared(backend: &dyn Backend) -> Outcome {
    decide(|| {
        let subject = backend.subject();
        let dek = fresh_dek();
        let right = full(&EncryptionContext::new().with("purpose", "backup").with("tenant", "42"));
        let wrapped = must_wrap(backend, &subject, &dek, &right)?;
        for (what, wrong) in wrong_contexts() {
            must_be_bound_as_declared(backend, &subject, &wrapped, &dek, what, &wrong)?;
        }
        must_give_back(backend, &subject, &wrapped, &right, &dek)
    })
}

/// As [`the_context_is_bound_as_declared`], with contexts whose names and values
/// give the same text when they are put together without their borders:
/// `tenant=42`, `tenant4=2` and `t=enant42`.
#[must_use]
pub fn contexts_that_read_alike_without_borders_are_told_apart(backend: &dyn Backend) -> Outcome {
    decide(|| {
        let subject = backend.subject();
        let (dek, new) = (fresh_dek(), EncryptionContext::new);
        let wrapped = must_wrap(backend, &subject, &dek, &full(&new().with("tenant", "42")))?;
        for (name, value) in [("tenant4", "2"), ("t", "enant42")] {
            let (what, wrong) = (format!("{name}={value} for tenant=42"), full(&new().with(name, value)));
            must_be_bound_as_declared(backend, &subject, &wrapped, &dek, &what, &wrong)?;
        }
        Ok(())
    })
}

/// As [`the_context_is_bound_as_declared`], with contexts that differ only behind a thousand bytes, in the last
/// of many entries, or in how one and the same letter is written. Those that the provider does not wrap under are
/// left out.
#[must_use]
pub fn contexts_that_differ_late_or_in_a_letter_alone_are_told_apart(backend: &dyn Backend) -> Outcome {
    decide(|| {
        let subject = backend.subject();
        let new = EncryptionContext::new;
        let long = |end: &str| full(&new().with("name", format!("{}{end}", "v".repeat(1000))));
        let many = |last: &str| {
            let all =
                (1..MAX_ENTRIES).fold(new(), |context, at| context.with(format!("name{at}"), at.to_string()));
            full(&all.with("z", last))
        };
        let letter = |value: &str| full(&new().with("name", value));
        let pairs = [
            ("another end of a long value", long("a"), long("b")),
            ("another value of the last of many entries", many("a"), many("b")),
            ("a letter that is written otherwise", letter("\u{e9}"), letter("e\u{301}")),
        ];
        for (what, right, wrong) in pairs {
            let dek = fresh_dek();
            match wrap(backend, &subject, &dek, &right)? {
                Ok(wrapped) => must_be_bound_as_declared(backend, &subject, &wrapped, &dek, what, &wrong)?,
                Err(error) => drop(must_refuse::<()>(what, Err(error), &[Invalid, Unsupported])?),
            }
        }
        Ok(())
    })
}

pub(super) fn must_be_bound_as_declared(
    backend: &dyn Backend,
    subject: &Subject,
    wrapped: &WrappedDek,
    dek: &Dek,
    what: &str,
    wrong: &FullContext,
) -> Step<()> {
    let outcome = unwrap(backend, subject, wrapped, wrong)?;
    if binding(subject, wrapped) == ContextBinding::Provider {
        return must_refuse(&format!("declared to be bound, {what}"), outcome, &[Unauthentic]).map(drop);
    }
    match outcome {
        Ok(back) if back.expose() == dek.expose() => Ok(()),
        Ok(_) => fails(format!("{what}: unwrapping gave another DEK")),
        Err(error) => fails(format!(
            "declared to be bound by the envelope only, and yet {what} is refused: {}",
            told(&error)
        )),
    }
}

pub(super) fn binding(subject: &Subject, wrapped: &WrappedDek) -> ContextBinding {
    subject.provider.context_binding(wrapped)
}

fn wrong_contexts() -> [(&'static str, FullContext); 6] {
    let new = EncryptionContext::new;
    [
        ("another value", full(&new().with("purpose", "backup").with("tenant", "43"))),
        ("another name", full(&new().with("purpose", "backup").with("tenancy", "42"))),
        ("one entry less", full(&new().with("purpose", "backup"))),
        ("one entry more", full(&new().with("more", "").with("purpose", "backup").with("tenant", "42"))),
        ("no entry", FullContext::empty()),
        ("another case", full(&new().with("purpose", "Backup").with("tenant", "42"))),
    ]
}

/// Wraps under contexts with empty values, text that is not ASCII, control
/// characters, 64 entries, one long value, and the longest context of all. Each comes back, or is
/// refused as [`Invalid`](envelope_sdk::ProviderErrorKind::Invalid) or
/// [`Unsupported`](envelope_sdk::ProviderErrorKind::Unsupported), and not on
/// unwrapping only.
#[must_use]
pub fn contexts_of_every_shape_wrap_or_are_refused_as_invalid(backend: &dyn Backend) -> Outcome {
    decide(|| {
        let subject = backend.subject();
        for (what, context) in unusual_contexts() {
            let dek = fresh_dek();
            match wrap(backend, &subject, &dek, &context)? {
                Ok(wrapped) => must_give_back(backend, &subject, &wrapped, &context, &dek)
                    .map_err(|outcome| about(what, outcome))?,
                Err(error) => drop(must_refuse::<()>(what, Err(error), &[Invalid, Unsupported])?),
            }
        }
        Ok(())
    })
}

fn unusual_contexts() -> [(&'static str, FullContext); 6] {
    let new = EncryptionContext::new;
    let many = (0..MAX_ENTRIES).fold(new(), |context, at| context.with(format!("name{at}"), at.to_string()));
    // Two bytes of count, and twice two of lengths.
    let longest = MAX_ENCODED_LEN - 2 - 4 - "name".len();
    [
        ("an empty value", full(&new().with("name", ""))),
        ("text that is not ASCII", full(&new().with("Ключ", "größer als 山 🗝"))),
        ("control characters", full(&new().with("na\tme", "line\r\nline\u{0}"))),
        ("64 entries", full(&many)),
        ("a value of 1000 bytes", full(&new().with("name", "v".repeat(1000)))),
        ("the longest context", full(&new().with("name", "v".repeat(longest)))),
    ]
}

/// The same through [`Envelope`], which binds the context whatever the provider
/// does: a wrong entry, a missing withheld value and the right context.
#[must_use]
pub fn an_envelope_opens_under_its_own_context_alone(backend: &dyn Backend) -> Outcome {
    decide(|| {
        let subject = backend.subject();
        let envelope = envelope(&subject);
        let right = EncryptionContext::new().with("tenant", "42").withhold("patient", "7");
        let plaintext = b"attack at dawn";
        let sealed = wait(backend, envelope.encrypt(plaintext, &right))?
            .or_else(|error| fails(format!("an envelope was not made: {error}")))?;
        let wrong = [
            ("another stored value", right.clone().with("tenant", "43")),
            ("another withheld value", right.clone().withhold("patient", "8")),
            ("a withheld value missing", EncryptionContext::new()),
        ];
        for (what, wrong) in wrong {
            match wait(backend, envelope.decrypt(&sealed, &wrong))? {
                Err(DecryptError::NotAuthentic) => {}
                Err(error) => return fails(format!("{what}: not the error NotAuthentic but: {error}")),
                Ok(_) => return fails(format!("{what}: the envelope opened")),
            }
        }
        match wait(backend, envelope.decrypt(&sealed, &right))? {
            Ok(opened) if opened == plaintext => Ok(()),
            Ok(_) => fails("another plaintext came back"),
            Err(error) => fails(format!("the envelope did not open: {error}")),
        }
    })
}

pub(super) fn envelope(subject: &Subject) -> Envelope {
    Envelope::new(Keyring::new().both(subject.provider.clone(), subject.key.clone()))
}

fn about(what: &str, outcome: Outcome) -> Outcome {
    match outcome {
        Outcome::Fails(seen) => Outcome::Fails(format!("{what}: {seen}")),
        outcome => outcome,
    }
}
