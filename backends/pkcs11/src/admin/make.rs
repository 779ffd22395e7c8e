//! Making a version of a key: nobody can use it before it is settled that it is the one.
//!
//! Two programs may make the same version at once, on two machines that share no lock
//! (`turn`). So a key is made under the label of a *claim* first, `NAME#vN-new`, under which nobody
//! looks for a version. Whoever has made a claim looks for other claims: of two programs at
//! least one sees the other, whatever the order. All give way, and destroy their claim,
//! but the one with the lowest `CKA_ID`; that waits until the others are gone. Only then,
//! and if nobody has made the version meanwhile, is the key given its label. From there on
//! others may have wrapped under it, and it is never destroyed here.

use std::{
    thread,
    time::{Duration, Instant},
};

use cryptoki::{
    mechanism::Mechanism,
    object::{Attribute, ObjectHandle},
    session::Session,
    types::Date,
};
use envelope_sdk::{
    ProviderErrorKind,
    crypto::{DefaultEngine, Engine},
};

use super::objects;
use crate::{dates, error::Failure, keys, names, selector::quoted, session::Open};

/// Refuses a version whose label an AES key has, or that somebody is making. Other objects
/// may have any label.
pub(super) fn check_free(session: &Session, name: &[u8], number: u32) -> Result<(), Failure> {
    let label = names::label_of(name, number);
    // In this order: one that is made meanwhile is private.
    let labelled = keys::labelled(session, &label)?;
    if !keys::private_labelled(session, &label)?.is_empty() {
        return Err(made_by_another());
    }
    if let Some(taken) = labelled.first() {
        let message = format!(
            "the token has an AES key already with the label {} and {}, which is not private and so no version of \
             this key: destroy it with the token's own tool, or take another name",
            quoted(&label),
            keys::id_attribute(session, *taken)?
        );
        return Err(invalid(message));
    }
    match keys::private_labelled(session, &names::claim_of(name, number))?.first() {
        Some(claim) => Err(claimed(name, number, &keys::id_attribute(session, *claim)?)),
        None => Ok(()),
    }
}

/// Makes version `number` of the AES-256 key `name` in the token.
pub(super) fn version(open: &Open, name: &[u8], number: u32, not_after: Option<u64>) -> Result<(), Failure> {
    let session = &open.session;
    objects::check_can_generate(open)?;
    let end = objects::check_not_after(not_after)?;
    objects::check_keeps_days(session, end)?;
    check_free(session, name, number)?;
    // Looks as every other program does, and is there before anything is made.
    let looking = open.fresh_session()?;
    let mut id = vec![0; ID_LEN];
    DefaultEngine::fill_random(&mut id).map_err(|error| {
        Failure::new(ProviderErrorKind::Other, format!("no randomness for an id: {error}"))
    })?;
    let claim =
        session.generate_key(&Mechanism::AesKeyGen, &template(names::claim_of(name, number), &id, end))?;
    let settled = check_made(session, claim, number, end).and_then(|()| settle(&looking, name, number, &id));
    if let Err(failure) = settled {
        // Nobody could use it.
        session.destroy_object(claim)?;
        return Err(failure);
    }
    let label = names::label_of(name, number);
    match relabel(session, claim, &label) {
        Relabelled::Yes => {}
        // The claim says all the same who makes the version.
        Relabelled::NeverHere => {
            let made = session.generate_key(&Mechanism::AesKeyGen, &template(label.clone(), &id, end));
            let gone = session.destroy_object(claim);
            let made = made.map_err(|error| unclear(error.into(), name, number))?;
            gone.map_err(|error| unclear(error.into(), name, number))?;
            check_made(session, made, number, end).map_err(|failure| left(&failure, &label))?;
        }
        Relabelled::No(failure) => {
            session.destroy_object(claim)?;
            return Err(failure);
        }
        Relabelled::Unclear(failure) => return Err(unclear(failure, name, number)),
    }
    let only = keys::labelled(&looking, &label).and_then(|labelled| keys::check_only(&looking, &labelled));
    only.map_err(|failure| failure.while_doing(&format!("version {number} was made, and stays there")))
}

/// What every version of a key is.
fn template(label: Vec<u8>, id: &[u8], end: Option<Date>) -> Vec<Attribute> {
    let mut template = vec![
        Attribute::Token(true),
        Attribute::Private(true),
        Attribute::Sensitive(true),
        Attribute::Extractable(false),
        Attribute::Encrypt(true),
        Attribute::Decrypt(true),
        Attribute::Wrap(false),
        Attribute::Unwrap(false),
        Attribute::Sign(false),
        Attribute::Verify(false),
        Attribute::Derive(false),
        Attribute::ValueLen(32.into()),
        Attribute::Label(label),
        Attribute::Id(id.to_vec()),
    ];
    template.extend(end.map(Attribute::EndDate));
    template
}

/// Refuses a key that is another than it was asked for.
fn check_made(session: &Session, made: ObjectHandle, number: u32, end: Option<Date>) -> Result<(), Failure> {
    let kek = keys::secret(session, made, number.to_string())?;
    if let Some(reason) = kek.attributes.refusal() {
        let message = format!("the token made another key than it was asked for: {reason}");
        return Err(Failure::new(ProviderErrorKind::Unsupported, message));
    }
    let is_kept = end.is_none_or(|end| keys::not_after(session, made) == dates::end_of(&end));
    if is_kept { Ok(()) } else { Err(objects::no_end()) }
}

/// Waits until nobody else claims the version, or gives way.
fn settle(session: &Session, name: &[u8], number: u32, own: &[u8]) -> Result<(), Failure> {
    let begun = Instant::now();
    loop {
        let mut others = Vec::new();
        for handle in keys::private_labelled(session, &names::claim_of(name, number))? {
            match keys::id(session, handle)? {
                Some(id) if id != own => others.push(id),
                _ => {}
            }
        }
        let Some(other) = others.first() else { break };
        if others.iter().any(|other| other.as_slice() < own) || begun.elapsed() > WAIT {
            return Err(claimed(name, number, &names::id_attribute(other)));
        }
        thread::sleep(PAUSE);
    }
    // After the claims: one that has become the version is seen as one or the other.
    if keys::labelled(session, &names::label_of(name, number))?.is_empty() {
        return Ok(());
    }
    Err(made_by_another())
}

/// Whether a key has the label that it was given.
enum Relabelled {
    Yes,
    /// The token lets no label be changed.
    NeverHere,
    No(Failure),
    Unclear(Failure),
}

/// Gives a key its label. What it has then is read back: a token may accept it and do nothing, or
/// do it and report a fault.
fn relabel(session: &Session, key: ObjectHandle, label: &[u8]) -> Relabelled {
    let failed = session.update_attributes(key, &[Attribute::Label(label.to_vec())]).err();
    match (failed, keys::label(session, key)) {
        (_, Ok(Some(now))) if now == label => Relabelled::Yes,
        (None, Ok(Some(_))) => Relabelled::NeverHere,
        (Some(error), _) if objects::is_refused(&error) => Relabelled::NeverHere,
        (Some(error), Ok(Some(_))) => Relabelled::No(error.into()),
        (Some(error), _) => Relabelled::Unclear(error.into()),
        (None, Ok(None)) => {
            Relabelled::No(invalid("somebody destroyed the key while it was made: try again"))
        }
        (None, Err(failure)) => Relabelled::Unclear(failure),
    }
}

fn made_by_another() -> Failure {
    invalid("somebody else made the same version of this key just now: try again")
}

fn claimed(name: &[u8], number: u32, id: &str) -> Failure {
    invalid(format!(
        "another program is making version {number} of this key, or was stopped while it did: try again. If that \
         stays so, deactivate and then destroy the key with the label {} and {id}, which has wrapped nothing",
        quoted(&names::claim_of(name, number))
    ))
}

fn unclear(failure: Failure, name: &[u8], number: u32) -> Failure {
    failure.while_doing(&format!(
        "whether version {number} was made is not known, see the keys of the token with the labels {} and {}",
        quoted(&names::label_of(name, number)),
        quoted(&names::claim_of(name, number))
    ))
}

fn left(failure: &Failure, label: &[u8]) -> Failure {
    let message = format!(
        "{}. It has the label {} and is left there, since others may have wrapped under it: describe the key, and \
         rotate or destroy it",
        failure.message,
        quoted(label)
    );
    Failure::new(failure.kind, message)
}

fn invalid(message: impl Into<String>) -> Failure {
    Failure::new(ProviderErrorKind::Invalid, message)
}

/// Enough that no two keys of a token get the same.
const ID_LEN: usize = 16;

/// How long a claim waits for those that give way, which takes them milliseconds.
const WAIT: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(5);
