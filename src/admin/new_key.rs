//! [`NewKey`]: a key to make.

use std::collections::BTreeMap;

use crate::KeyState;

/// A key to make. What a key store has no place for it refuses; it leaves out
/// nothing in silence.
///
/// ```
/// use envelope_sdk::admin::NewKey;
///
/// let new = NewKey::named("orders").description("orders of the shop").tag("team", "shop");
/// # let _ = new;
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct NewKey {
    /// Its name. Each key store says which names it takes; where keys have ids
    /// only, it is that of an alias.
    pub name: String,
    /// What it is for, for people.
    pub description: Option<String>,
    /// Tags or labels.
    pub tags: BTreeMap<String, String>,
    /// The kind of key, in the key store's own word. `None`: what it recommends
    /// for wrapping DEKs.
    pub algorithm: Option<String>,
    /// [`Active`](KeyState::Active), or [`PreActive`](KeyState::PreActive).
    pub state: KeyState,
    /// When the cryptoperiod of its first version ends
    /// ([`KeyVersionDescription::not_after`](super::KeyVersionDescription::not_after)).
    pub not_after: Option<u64>,
    /// What this key store alone knows, by its own names, such as `multi-region`.
    pub options: BTreeMap<String, String>,
}

impl NewKey {
    /// An active key of the recommended kind with this name, and nothing else.
    #[must_use]
    pub fn named(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            description: None,
            tags: BTreeMap::new(),
            algorithm: None,
            state: KeyState::Active,
            not_after: None,
            options: BTreeMap::new(),
        }
    }

    /// Says what it is for.
    #[must_use]
    pub fn description(mut self, text: impl Into<String>) -> Self {
        self.description = Some(text.into());
        self
    }

    /// Adds a tag.
    #[must_use]
    pub fn tag(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.tags.insert(name.into(), value.into());
        self
    }

    /// Asks for this kind of key.
    #[must_use]
    pub fn algorithm(mut self, name: impl Into<String>) -> Self {
        self.algorithm = Some(name.into());
        self
    }

    /// Makes it pre-active: [`change_key`](super::KeyAdmin::change_key) puts it
    /// into use.
    #[must_use]
    pub fn pre_active(mut self) -> Self {
        self.state = KeyState::PreActive;
        self
    }

    /// Ends the cryptoperiod of its first version then, in seconds since 1970.
    #[must_use]
    pub fn not_after(mut self, end: u64) -> Self {
        self.not_after = Some(end);
        self
    }

    /// Adds what this key store alone knows.
    #[must_use]
    pub fn option(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.options.insert(name.into(), value.into());
        self
    }
}
