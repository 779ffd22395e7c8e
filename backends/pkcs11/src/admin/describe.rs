//! What is told of a key.

use cryptoki::session::Session;
use envelope_sdk::{
    KeyDescription, KeyState, KeyUri, KeyUse, KeyVersionDescription,
    admin::{Detail, Details},
};

use crate::{
    attributes::KeyAttributes,
    error::Failure,
    keys::{self, Kek},
    names::KeyName,
    weakness::{Accepted, Weakness},
};

/// Describes a key as the token has it now.
pub(super) fn key(
    session: &Session,
    name: &KeyName,
    accepted: Accepted,
    uri: KeyUri,
) -> Result<KeyDescription, Failure> {
    Ok(versions(session, &keys::all_versions(session, name, accepted)?, accepted, uri))
}

/// Describes a key of these versions.
pub(super) fn versions(session: &Session, keks: &[Kek], accepted: Accepted, uri: KeyUri) -> KeyDescription {
    let mut described = description(keks, uri);
    for (version, kek) in described.versions.iter_mut().zip(keks) {
        version.not_after = keys::not_after(session, kek.handle);
    }
    let objects: Detail = keks.iter().map(|kek| object(&kek.attributes, accepted)).collect();
    described.details(Details::new().with("objects", objects))
}

/// The states alone. A key is in the state of its last version, but that a key of which only
/// that is suspended still opens what the others wrapped: it is deactivated. An older
/// version never wraps, whatever its attributes permit.
pub(super) fn description(keks: &[Kek], uri: KeyUri) -> KeyDescription {
    let states = states(keks);
    let versions = keks
        .iter()
        .zip(&states)
        .map(|(kek, state)| KeyVersionDescription::new(kek.attributes.version.clone(), *state, None));
    let opens = states.iter().any(|state| state.permits(KeyUse::Unwrap));
    let state = match states.last() {
        Some(KeyState::Suspended) if opens => KeyState::Deactivated,
        Some(state) => *state,
        None => KeyState::Destroyed,
    };
    KeyDescription::new(uri, state, false, versions.collect())
}

/// A key that is gone.
pub(super) fn destroyed(keks: &[Kek], uri: KeyUri) -> KeyDescription {
    let version =
        |kek: &Kek| KeyVersionDescription::new(kek.attributes.version.clone(), KeyState::Destroyed, None);
    KeyDescription::new(uri, KeyState::Destroyed, false, keks.iter().map(version).collect())
}

pub(super) fn states(keks: &[Kek]) -> Vec<KeyState> {
    let state = |(at, kek): (usize, &Kek)| match kek.attributes.state() {
        KeyState::Active if at + 1 < keks.len() => KeyState::Deactivated,
        state => state,
    };
    keks.iter().enumerate().map(state).collect()
}

/// The attributes of one version, and why it would be refused.
fn object(version: &KeyAttributes, accepted: Accepted) -> Details {
    let kind = if version.rsa { "RSA" } else { "AES" };
    let attributes = [
        (version.private, "private"),
        (version.sensitive, "sensitive"),
        (version.extractable, "extractable"),
        (version.local, "local"),
        (version.encrypt, "encrypt"),
        (version.decrypt, "decrypt"),
        (version.wrap, "wrap"),
        (version.unwrap, "unwrap"),
    ];
    let attributes: Vec<_> = attributes.iter().filter(|(is, _)| *is).map(|(_, name)| *name).collect();
    let mut told = Details::new()
        .with("key", format!("{kind}-{}", version.bits))
        .with("attributes", attributes.join(" "));
    if !version.version.is_empty() {
        told = told.with("version", version.version.clone());
    }
    let tolerated: Vec<_> =
        version.weaknesses().filter(|weakness| accepted.has(*weakness)).map(Weakness::name).collect();
    if !tolerated.is_empty() {
        told = told.with("accepted", format!("accepted: {}", tolerated.join(" ")));
    }
    match version.refusal_unless(|weakness| accepted.has(weakness)) {
        Some(reason) => told.with("refused", reason),
        None => told,
    }
}
