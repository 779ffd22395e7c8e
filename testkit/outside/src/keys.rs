//! What the key store holds: keys, their versions, aliases.

use std::{
    collections::BTreeMap,
    time::{SystemTime, UNIX_EPOCH},
};

use envelope_sdk::{
    KeyDescription, KeyState, KeyUri, KeyUse, KeyVersionDescription,
    ProviderErrorKind::{self, Invalid, NotFound, Other, State, Unsupported},
    admin::{Detail, Details},
    crypto::{DefaultEngine, Key256, xaes::XaesKey},
    key_uri::is_key_name,
    lifecycle,
};

/// What is wrong, and in which words. The provider says for which key.
pub(crate) type Refusal = (ProviderErrorKind, String);

#[derive(Default)]
pub(crate) struct Keys {
    pub(crate) keys: BTreeMap<String, Key>,
    /// Names of keys by names of aliases.
    pub(crate) aliases: BTreeMap<String, String>,
}

pub(crate) struct Key {
    pub(crate) state: KeyState,
    pub(crate) archived: bool,
    pub(crate) description: Option<String>,
    pub(crate) tags: BTreeMap<String, String>,
    /// Oldest first, and never none.
    pub(crate) versions: Vec<Version>,
}

pub(crate) struct Version {
    pub(crate) number: u32,
    pub(crate) state: KeyState,
    pub(crate) created: Option<u64>,
    pub(crate) not_after: Option<u64>,
    /// `None` when it was destroyed. It is wiped when it is dropped.
    pub(crate) material: Option<XaesKey<DefaultEngine>>,
}

impl Keys {
    /// The name of the key that a key URI means.
    pub(crate) fn name_of<'k>(&'k self, key: &'k KeyUri) -> Result<&'k str, Refusal> {
        if key.scheme() != SCHEME {
            return Err((Unsupported, "is no key of the scheme example:".to_owned()));
        }
        let Some(alias) = key.rest().strip_prefix(ALIAS) else { return Ok(key.rest()) };
        let named = self.aliases.get(alias);
        Ok(named.ok_or((NotFound, "there is no such alias: set it, or name the key".to_owned()))?)
    }

    /// A key, for a key URI, with its name.
    pub(crate) fn find(&self, key: &KeyUri) -> Result<(&str, &Key), Refusal> {
        let name = self.name_of(key)?;
        self.keys.get_key_value(name).map(|(name, key)| (name.as_str(), key)).ok_or_else(no_such_key)
    }

    pub(crate) fn find_mut(&mut self, key: &KeyUri) -> Result<&mut Key, Refusal> {
        let name = self.name_of(key)?.to_owned();
        self.keys.get_mut(&name).ok_or_else(no_such_key)
    }
}

impl Key {
    pub(crate) fn describe(&self, name: &str) -> Result<KeyDescription, Refusal> {
        let versions = self.versions.iter().map(Version::describe).collect();
        let tags = self.tags.iter().fold(Details::new(), |tags, (name, tag)| tags.with(name, tag.as_str()));
        let details =
            Details::new().with("description", Detail::from(self.description.clone())).with("tags", tags);
        Ok(KeyDescription::new(uri(name)?, self.state, self.archived, versions).details(details))
    }

    /// The version that wraps.
    pub(crate) fn current(&self) -> Result<&Version, Refusal> {
        let version = self.versions.last().ok_or((Other, "the key has no version".to_owned()))?;
        self.check_use(version, KeyUse::Wrap)?;
        Ok(version)
    }

    /// The version that unwraps what names it.
    pub(crate) fn version(&self, name: &str) -> Result<&Version, Refusal> {
        let version = self.versions.iter().find(|version| version.name() == name);
        let version = version.ok_or((NotFound, "the key has no version of that name".to_owned()))?;
        self.check_use(version, KeyUse::Unwrap)?;
        Ok(version)
    }

    /// Both the key and its version must permit it.
    fn check_use(&self, version: &Version, usage: KeyUse) -> Result<(), Refusal> {
        lifecycle::check_use("the key", self.state, usage)
            .and_then(|()| lifecycle::check_use(&format!("version {}", version.number), version.state, usage))
            .map_err(|message| (State, message))
    }

    /// Adds a version, which wraps from now on.
    pub(crate) fn rotate(&mut self) -> Result<(), Refusal> {
        let number = self.versions.last().map_or(1, |version| version.number + 1);
        let new = Version::generate(number, KeyState::Active)?;
        for old in self.versions.iter_mut().filter(|old| old.state == KeyState::Active) {
            old.state = KeyState::Deactivated;
        }
        self.versions.push(new);
        Ok(())
    }
}

impl Version {
    pub(crate) fn generate(number: u32, state: KeyState) -> Result<Self, Refusal> {
        let random = Key256::generate::<DefaultEngine>()
            .map_err(|_| (Other, "the operating system gave no randomness".to_owned()))?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map(|since| since.as_secs()).ok();
        Ok(Self { number, state, created: now, not_after: None, material: Some(XaesKey::new(&random)) })
    }

    pub(crate) fn name(&self) -> String {
        self.number.to_string()
    }

    pub(crate) fn material(&self) -> Result<&XaesKey<DefaultEngine>, Refusal> {
        self.material.as_ref().ok_or((State, "the key material is gone".to_owned()))
    }

    fn describe(&self) -> KeyVersionDescription {
        KeyVersionDescription::new(self.name(), self.state, self.created).not_after(self.not_after)
    }
}

/// The URI of a key.
pub(crate) fn uri(name: &str) -> Result<KeyUri, Refusal> {
    KeyUri::parse(&format!("{SCHEME}:{name}")).map_err(|error| (Other, error.to_string()))
}

/// The URI of an alias.
pub(crate) fn alias_uri(name: &str) -> Result<KeyUri, Refusal> {
    uri(&format!("{ALIAS}{name}"))
}

pub(crate) fn check_name(name: &str) -> Result<(), Refusal> {
    if is_key_name(name) {
        return Ok(());
    }
    // Not repeated: it may be long, hold control characters, or be a passphrase.
    let message = "a name has 1 to 64 characters of A–Z a–z 0–9 - _ . and begins with a letter or digit";
    Err((Invalid, message.to_owned()))
}

fn no_such_key() -> Refusal {
    (NotFound, "there is no such key: create it, or correct its name".to_owned())
}

pub(crate) const SCHEME: &str = "example";
const ALIAS: &str = "alias/";
