//! Finding keys on a token, and refusing those that are unfit for a use.

use cryptoki::{
    error::{Error, RvError},
    object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle},
    session::Session,
};
use envelope_sdk::{KeyUse, ProviderErrorKind, lifecycle};

use crate::{
    attributes::KeyAttributes,
    dates,
    error::Failure,
    names::{self, KeyName},
    weakness::{Accepted, Weakness},
};

/// A key found on the token. Handles are good for the session that found them.
#[derive(Clone)]
pub(crate) struct Kek {
    /// The secret key, or the private key of a pair.
    pub(crate) handle: ObjectHandle,
    /// The public key of a pair.
    pub(crate) public: Option<ObjectHandle>,
    pub(crate) attributes: KeyAttributes,
}

impl Kek {
    /// Refuses a key that is unsafe, or whose state does not permit the use.
    pub(crate) fn permit(&self, usage: KeyUse, accepted: Accepted) -> Result<(), Failure> {
        if let Some(reason) = self.attributes.refusal_unless(|weakness| accepted.has(weakness)) {
            return Err(refused(reason));
        }
        if usage == KeyUse::Wrap && self.is_foreign_version() {
            return Err(refused(FOREIGN_VERSION));
        }
        let what = match self.attributes.version.as_str() {
            "" => "the key".to_owned(),
            version => format!("version {version} of the key"),
        };
        lifecycle::check_use(&what, self.attributes.state(), usage)
            .map_err(|message| Failure::new(ProviderErrorKind::State, message))
    }

    /// Rotations make keys in the token. A later version that was brought there
    /// may be known to whoever brought it, and would wrap from then on.
    fn is_foreign_version(&self) -> bool {
        let key = &self.attributes;
        !key.local && names::decimal(&key.version).is_some_and(|version| version > 1)
    }
}

/// Which version of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Which {
    /// The latest, which wraps.
    Current,
    /// The one that a header names.
    Number(u32),
}

/// Finds exactly one key.
pub(crate) fn find(
    session: &Session,
    name: &KeyName,
    which: Which,
    accepted: Accepted,
) -> Result<Kek, Failure> {
    match (name, which) {
        (KeyName::Versions(label), Which::Current) => match versions(session, label, accepted)?.pop() {
            Some(current) => Ok(current),
            None => find_pair(session, name),
        },
        (KeyName::Versions(label), Which::Number(number)) => {
            let wanted = [Attribute::Label(names::label_of(label, number))];
            let found = match number {
                1 => usable_keys(session, &wanted, accepted)?,
                _ => secret_keys(session, &wanted)?,
            };
            match only(session, &found)? {
                Some(handle) => secret(session, handle, number.to_string()),
                None if number == 1 => find_pair(session, name),
                None => Err(not_found(session, name, Some(number))),
            }
        }
        (KeyName::Object { id, label }, _) => {
            let mut wanted = vec![Attribute::Id(id.clone())];
            wanted.extend(label.clone().map(Attribute::Label));
            match only(session, &usable_keys(session, &wanted, accepted)?)? {
                Some(handle) => secret(session, handle, String::new()),
                None => find_pair(session, name),
            }
        }
    }
}

/// Every version of an AES key, oldest first.
pub(crate) fn versions(session: &Session, name: &[u8], accepted: Accepted) -> Result<Vec<Kek>, Failure> {
    let mut found: Vec<(u32, ObjectHandle)> = Vec::new();
    if accepted.has(Weakness::NotPrivate) {
        // The first version alone: by a later one anybody could choose the key that wraps from then on.
        let first = public_keys(session, &[Attribute::Label(name.to_vec())])?;
        found.extend(first.into_iter().map(|handle| (1, handle)));
    }
    for (label, handle) in labelled_secret_keys(session)? {
        match names::version_of(&label) {
            (of, number) if of == name => found.push((number, handle)),
            _ => {}
        }
    }
    found.sort_by_key(|(number, _)| *number);
    for same in found.chunk_by(|one, other| one.0 == other.0) {
        check_only(session, &same.iter().map(|(_, handle)| *handle).collect::<Vec<_>>())?;
    }
    found.into_iter().map(|(number, handle)| secret(session, handle, number.to_string())).collect()
}

/// The versions of a key, oldest first: at least one. Those that have none are one.
pub(crate) fn all_versions(
    session: &Session,
    name: &KeyName,
    accepted: Accepted,
) -> Result<Vec<Kek>, Failure> {
    if let KeyName::Versions(label) = name {
        let versions = versions(session, label, accepted)?;
        if !versions.is_empty() {
            return Ok(versions);
        }
    }
    Ok(vec![find(session, name, Which::Current, accepted)?])
}

/// Every private AES key of the token, with its label.
pub(crate) fn labelled_secret_keys(session: &Session) -> Result<Vec<(Vec<u8>, ObjectHandle)>, Failure> {
    let mut labelled = Vec::new();
    for handle in secret_keys(session, &[])? {
        labelled.extend(label(session, handle)?.map(|label| (label, handle)));
    }
    Ok(labelled)
}

/// AES keys of the token with this label, private or not.
pub(crate) fn labelled(session: &Session, label: &[u8]) -> Result<Vec<ObjectHandle>, Failure> {
    search(session, ObjectClass::SECRET_KEY, KeyType::AES, None, &[Attribute::Label(label.to_vec())])
}

/// Those of them that are private.
pub(crate) fn private_labelled(session: &Session, label: &[u8]) -> Result<Vec<ObjectHandle>, Failure> {
    secret_keys(session, &[Attribute::Label(label.to_vec())])
}

/// The label of an object, or `None` when somebody destroyed it since it was found.
pub(crate) fn label(session: &Session, handle: ObjectHandle) -> Result<Option<Vec<u8>>, Failure> {
    one(session, handle, AttributeType::Label)
}

/// The id of an object, as [`label`].
pub(crate) fn id(session: &Session, handle: ObjectHandle) -> Result<Option<Vec<u8>>, Failure> {
    one(session, handle, AttributeType::Id)
}

/// The id of an object in words: `id=%01`.
pub(crate) fn id_attribute(session: &Session, handle: ObjectHandle) -> Result<String, Failure> {
    let id = id(session, handle)?.filter(|id| !id.is_empty());
    Ok(id.map_or_else(|| "no id".to_owned(), |id| names::id_attribute(&id)))
}

fn one(session: &Session, handle: ObjectHandle, which: AttributeType) -> Result<Option<Vec<u8>>, Failure> {
    match session.get_attributes(handle, &[which]) {
        Ok(attributes) => {
            let value = attributes.into_iter().find_map(|attribute| match attribute {
                Attribute::Label(value) | Attribute::Id(value) => Some(value),
                _ => None,
            });
            Ok(Some(value.unwrap_or_default()))
        }
        Err(Error::Pkcs11(RvError::ObjectHandleInvalid, _)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Private AES keys of the token with these attributes. Keys that are not
/// private are left out: whoever reaches the token can make those without a PIN.
fn secret_keys(session: &Session, wanted: &[Attribute]) -> Result<Vec<ObjectHandle>, Failure> {
    search(session, ObjectClass::SECRET_KEY, KeyType::AES, Some(true), wanted)
}

/// As [`secret_keys`], and those that are not private if that is accepted.
fn usable_keys(
    session: &Session,
    wanted: &[Attribute],
    accepted: Accepted,
) -> Result<Vec<ObjectHandle>, Failure> {
    let mut keys = secret_keys(session, wanted)?;
    if accepted.has(Weakness::NotPrivate) {
        keys.extend(public_keys(session, wanted)?);
    }
    Ok(keys)
}

/// The AES keys that are not private and that a name means where that is accepted.
pub(crate) fn public_named(session: &Session, name: &KeyName) -> Result<Vec<ObjectHandle>, Failure> {
    let wanted = match name {
        KeyName::Versions(label) => vec![Attribute::Label(label.clone())],
        KeyName::Object { id, label } => {
            let label = label.clone().map(Attribute::Label);
            [Attribute::Id(id.clone())].into_iter().chain(label).collect()
        }
    };
    public_keys(session, &wanted)
}

/// AES keys of the token that are not private.
fn public_keys(session: &Session, wanted: &[Attribute]) -> Result<Vec<ObjectHandle>, Failure> {
    search(session, ObjectClass::SECRET_KEY, KeyType::AES, Some(false), wanted)
}

/// Private RSA keys of the token with these attributes.
pub(crate) fn private_keys(session: &Session, wanted: &[Attribute]) -> Result<Vec<ObjectHandle>, Failure> {
    search(session, ObjectClass::PRIVATE_KEY, KeyType::RSA, Some(true), wanted)
}

/// Whether there is an RSA key pair with this label.
pub(crate) fn has_pair(session: &Session, label: &[u8]) -> Result<bool, Failure> {
    Ok(!private_keys(session, &[Attribute::Label(label.to_vec())])?.is_empty())
}

fn search(
    session: &Session,
    class: ObjectClass,
    key_type: KeyType,
    private: Option<bool>,
    wanted: &[Attribute],
) -> Result<Vec<ObjectHandle>, Failure> {
    let mut template = vec![Attribute::Class(class), Attribute::KeyType(key_type), Attribute::Token(true)];
    template.extend(private.map(Attribute::Private));
    template.extend_from_slice(wanted);
    Ok(session.find_objects(&template)?)
}

fn find_pair(session: &Session, name: &KeyName) -> Result<Kek, Failure> {
    let (wanted, version) = match name {
        KeyName::Versions(label) => (vec![Attribute::Label(label.clone())], "1"),
        KeyName::Object { id, label } => {
            let mut wanted = vec![Attribute::Id(id.clone())];
            wanted.extend(label.clone().map(Attribute::Label));
            (wanted, "")
        }
    };
    match only(session, &private_keys(session, &wanted)?)? {
        Some(handle) => pair(session, handle, version.into()),
        None => Err(not_found(session, name, None)),
    }
}

fn only(session: &Session, handles: &[ObjectHandle]) -> Result<Option<ObjectHandle>, Failure> {
    check_only(session, handles)?;
    Ok(handles.first().copied())
}

/// Refuses a name that several keys have, and says by what else they are named.
pub(crate) fn check_only(session: &Session, handles: &[ObjectHandle]) -> Result<(), Failure> {
    if handles.len() < 2 {
        return Ok(());
    }
    let ids: Result<Vec<_>, _> =
        handles.iter().take(IDS_SHOWN).map(|handle| id_attribute(session, *handle)).collect();
    let more = if handles.len() > IDS_SHOWN { " and more" } else { "" };
    let message = format!(
        "several keys of the token have this name, with {}{more}: name one by its id= as well; give the others \
         another label with the token's own tool, or destroy those under which nothing was wrapped",
        ids?.join(", ")
    );
    Err(Failure::new(ProviderErrorKind::Invalid, message))
}

const IDS_SHOWN: usize = 4;

fn refused(reason: &str) -> Failure {
    let tolerable = Weakness::ALL.into_iter().find(|weakness| weakness.reason() == reason);
    let or = tolerable.map(|weakness| format!(", or accept {weakness} for this key in the configuration"));
    let message = format!("the key is refused: {reason}. {MAKE_ONE}{}", or.unwrap_or_default());
    Failure::new(ProviderErrorKind::AccessDenied, message)
}

const FOREIGN_VERSION: &str = "its latest version was not made in the token, as those of a rotation are";
const MAKE_ONE: &str = "Make one by `envctl keys create` (`create_key`), or, for a token that turns on no use that was not \
                        asked for, by `pkcs11-tool --keygen --key-type AES:32 --private --sensitive --usage-decrypt`";

/// A key that is there but not private is told apart from one that is missing.
fn not_found(session: &Session, name: &KeyName, number: Option<u32>) -> Failure {
    let wanted = match name {
        KeyName::Versions(label) => Attribute::Label(names::label_of(label, number.unwrap_or(1))),
        KeyName::Object { id, .. } => Attribute::Id(id.clone()),
    };
    if public_keys(session, &[wanted]).is_ok_and(|keys| !keys.is_empty()) {
        return refused(Weakness::NotPrivate.reason());
    }
    let message = match number {
        Some(number) if number > 1 => format!("the token has no version {number} of this key"),
        _ => "the token has no such key: its names are exact, and are those of `list_keys`".into(),
    };
    Failure::new(ProviderErrorKind::NotFound, message)
}

/// An AES key with its attributes.
pub(crate) fn secret(session: &Session, handle: ObjectHandle, version: String) -> Result<Kek, Failure> {
    let mut attributes = KeyAttributes { version, extractable: true, wrap: true, ..KeyAttributes::default() };
    read(session, handle, &SECRET_KEY, &mut attributes)?;
    Ok(Kek { handle, public: None, attributes })
}

/// An RSA key pair with its attributes.
pub(crate) fn pair(session: &Session, handle: ObjectHandle, version: String) -> Result<Kek, Failure> {
    let mut attributes = KeyAttributes { version, rsa: true, extractable: true, ..KeyAttributes::default() };
    let public = match read(session, handle, &PRIVATE_KEY, &mut attributes)? {
        Some(modulus) => public_of(session, handle, modulus)?,
        None => None,
    };
    attributes.encrypt = public.is_some();
    Ok(Kek { handle, public, attributes })
}

/// The public key of a private one, by both its numbers. By its label alone, anybody could put another in its
/// place, and by its modulus alone one with the exponent 1: what that encrypts is as good as in the clear.
fn public_of(
    session: &Session,
    private: ObjectHandle,
    modulus: Vec<u8>,
) -> Result<Option<ObjectHandle>, Failure> {
    let own = exponent(session, private)?.unwrap_or_else(|| F4.to_vec());
    let wanted = [Attribute::Modulus(modulus), Attribute::Encrypt(true)];
    for public in search(session, ObjectClass::PUBLIC_KEY, KeyType::RSA, None, &wanted)? {
        if exponent(session, public)?.is_some_and(|exponent| exponent == own) {
            return Ok(Some(public));
        }
    }
    Ok(None)
}

/// The public exponent of an RSA key, without zeros before it, or `None` when the token does not tell it.
fn exponent(session: &Session, handle: ObjectHandle) -> Result<Option<Vec<u8>>, Failure> {
    let told = match session.get_attributes(handle, &[AttributeType::PublicExponent]) {
        Ok(told) => told,
        Err(Error::Pkcs11(RvError::ObjectHandleInvalid, _)) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let exponent: Option<Vec<u8>> = told.into_iter().find_map(|attribute| match attribute {
        Attribute::PublicExponent(bytes) => Some(bytes.into_iter().skip_while(|byte| *byte == 0).collect()),
        _ => None,
    });
    Ok(exponent.filter(|exponent| !exponent.is_empty()))
}

/// 65537, which a pair is taken to have whose private key does not tell.
const F4: [u8; 3] = [1, 0, 1];

/// When a key's cryptoperiod ends (`CKA_END_DATE`), in seconds since 1970, if the
/// token says so. Asked for alone: an odd date must not make a key unusable.
pub(crate) fn not_after(session: &Session, handle: ObjectHandle) -> Option<u64> {
    let told = session.get_attributes(handle, &[AttributeType::EndDate]).ok()?;
    told.into_iter().find_map(|attribute| match attribute {
        Attribute::EndDate(date) => dates::end_of(&date),
        _ => None,
    })
}

/// Reads what the token tells; returns the modulus of an RSA key.
fn read(
    session: &Session,
    handle: ObjectHandle,
    types: &[AttributeType],
    into: &mut KeyAttributes,
) -> Result<Option<Vec<u8>>, Failure> {
    let mut modulus = None;
    for attribute in session.get_attributes(handle, types)? {
        match attribute {
            Attribute::Label(label) => into.label = label,
            Attribute::Id(id) => into.id = id,
            Attribute::Private(is) => into.private = is,
            Attribute::Sensitive(is) => into.sensitive = is,
            Attribute::Extractable(is) => into.extractable = is,
            Attribute::Local(is) => into.local = is,
            Attribute::AlwaysSensitive(is) => into.always_sensitive = is,
            Attribute::NeverExtractable(is) => into.never_extractable = is,
            Attribute::Encrypt(is) => into.encrypt = is,
            Attribute::Decrypt(is) => into.decrypt = is,
            Attribute::Wrap(is) => into.wrap = is,
            Attribute::Unwrap(is) => into.unwrap = is,
            Attribute::ValueLen(bytes) => into.bits = usize::from(bytes) * 8,
            Attribute::Modulus(bytes) => {
                into.bits = bytes.len() * 8;
                modulus = Some(bytes);
            }
            _ => {}
        }
    }
    Ok(modulus)
}

const SECRET_KEY: [AttributeType; 13] = [
    AttributeType::Label,
    AttributeType::Id,
    AttributeType::Private,
    AttributeType::Sensitive,
    AttributeType::Extractable,
    AttributeType::Local,
    AttributeType::AlwaysSensitive,
    AttributeType::NeverExtractable,
    AttributeType::Encrypt,
    AttributeType::Decrypt,
    AttributeType::Wrap,
    AttributeType::Unwrap,
    AttributeType::ValueLen,
];

const PRIVATE_KEY: [AttributeType; 11] = [
    AttributeType::Label,
    AttributeType::Id,
    AttributeType::Private,
    AttributeType::Sensitive,
    AttributeType::Extractable,
    AttributeType::Local,
    AttributeType::AlwaysSensitive,
    AttributeType::NeverExtractable,
    AttributeType::Decrypt,
    AttributeType::Unwrap,
    AttributeType::Modulus,
];
