//! Every key of a token, under the URI that names it.

use std::collections::BTreeMap;

use envelope_sdk::{KeyDescription, KeyUri, ProviderErrorKind};

use super::describe;
use crate::{
    error::Failure,
    keys::{self, Kek},
    names::{self, KeyName},
    provider::Named,
    selector::TokenSelector,
    session::Open,
    weakness::{AllAccepted, Weakness},
};

/// The URI of a key of this token: as the configuration names the token, or by
/// what the token says when the configuration says nothing.
pub(super) fn uri(configured: &TokenSelector, open: &Open, name: &KeyName) -> Result<KeyUri, Failure> {
    let said = |text: &str| Some(text.as_bytes().to_vec()).filter(|text| !text.is_empty());
    let selector = if configured.token.is_some() || configured.serial.is_some() {
        configured.clone()
    } else {
        let (token, serial) = (said(open.token.label()), said(open.token.serial_number()));
        let serial = serial.filter(|_| token.is_none());
        TokenSelector { token, serial, ..configured.clone() }
    };
    let (object, id) = match name {
        KeyName::Versions(label) => (Some(label.clone()), None),
        KeyName::Object { id, label } => (label.clone(), Some(id.clone())),
    };
    names::uri_of(&selector, object, id).map_err(|error| {
        let message = format!("the names on the token do not make a key URI: {error}");
        Failure::new(ProviderErrorKind::Protocol, message)
    })
}

/// Lists AES keys with their versions, and RSA key pairs, also those that are
/// unfit to wrap. A key that only its id tells from others is named by that. Keys that are
/// not private are listed where that is accepted, under the URI of which it is accepted.
pub(super) fn list(
    open: &Open,
    configured: &TokenSelector,
    accepted: &AllAccepted,
) -> Result<Vec<KeyDescription>, Failure> {
    let session = &open.session;
    let describe = |keks: &[Kek], uri: KeyUri| describe::versions(session, keks, accepted.of(&uri), uri);
    let (mut names, mut listed): (BTreeMap<Vec<u8>, Labelled>, Vec<_>) = Default::default();
    for (label, handle) in keys::labelled_secret_keys(session)? {
        let (name, number) = names::version_of(&label);
        let kek = keys::secret(session, handle, number.to_string())?;
        names.entry(name.to_vec()).or_default().versions.push((number, kek));
    }
    for handle in keys::private_keys(session, &[])? {
        let kek = keys::pair(session, handle, "1".into())?;
        names.entry(kek.attributes.label.clone()).or_default().versions.push((1, kek));
    }
    let mut seen = Vec::new();
    for key in accepted.keys(Weakness::NotPrivate) {
        let Some(named) = Named::of(key, accepted).ok().filter(|named| named.is_of(open)) else { continue };
        for handle in keys::public_named(session, &named.key)? {
            if seen.contains(&handle) {
                continue;
            }
            seen.push(handle);
            match &named.key {
                KeyName::Versions(name) => {
                    let labelled = names.entry(name.clone()).or_default();
                    labelled.versions.push((1, keys::secret(session, handle, "1".into())?));
                    labelled.uri = Some(key.clone());
                }
                KeyName::Object { .. } => {
                    listed.push(describe(&[keys::secret(session, handle, String::new())?], key.clone()));
                }
            }
        }
    }
    for (name, Labelled { uri: of_accepted, mut versions }) in names {
        versions.sort_by_key(|(number, _)| *number);
        let repeated = versions.windows(2).any(|pair| pair[0].0 == pair[1].0);
        let name_is_plain = names::version_of(&name).1 == 1 && !names::is_claim(&name);
        let keks = versions.into_iter().map(|(_, kek)| kek);
        if !name.is_empty() && !repeated && name_is_plain {
            let uri = match of_accepted {
                Some(uri) => uri,
                None => uri(configured, open, &KeyName::Versions(name))?,
            };
            listed.push(describe(&keks.collect::<Vec<_>>(), uri));
            continue;
        }
        for mut kek in keks.filter(|kek| !kek.attributes.id.is_empty()) {
            kek.attributes.version.clear();
            let label = Some(kek.attributes.label.clone()).filter(|label| !label.is_empty());
            let name = KeyName::Object { id: kek.attributes.id.clone(), label };
            let uri = uri(configured, open, &name)?;
            listed.push(describe(&[kek], uri));
        }
    }
    listed.sort_by(|one, other| one.uri.cmp(&other.uri));
    Ok(listed)
}

/// The keys of one name.
#[derive(Default)]
struct Labelled {
    /// That of which a weakness of the first one is accepted.
    uri: Option<KeyUri>,
    versions: Vec<(u32, Kek)>,
}
