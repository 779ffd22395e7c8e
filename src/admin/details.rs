//! [`Details`]: what a key store tells of a key beyond what all of them tell.

/// Named facts, in the order in which they are told.
///
/// Nothing in them is secret. Their words come from a key store, so whoever
/// shows them escapes them first ([`printable`](crate::printable)).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Details(Vec<(String, Detail)>);

/// One fact.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Detail {
    /// Words.
    Text(String),
    /// A count, or a length whose unit the name says.
    Number(u64),
    /// Yes or no.
    Flag(bool),
    /// A moment, in seconds since 1970-01-01T00:00:00Z.
    Time(u64),
    /// Several, in their order.
    List(Vec<Detail>),
    /// Facts about a part.
    Table(Details),
    /// The key store says that there is none.
    Nothing,
}

impl Details {
    /// No facts.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a fact under a name of `a–z 0–9 _`.
    #[must_use]
    pub fn with(mut self, name: impl Into<String>, detail: impl Into<Detail>) -> Self {
        self.0.push((name.into(), detail.into()));
        self
    }

    /// The facts and their names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Detail)> {
        self.0.iter().map(|(name, detail)| (name.as_str(), detail))
    }

    /// The fact of that name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Detail> {
        self.iter().find(|(known, _)| *known == name).map(|(_, detail)| detail)
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl From<&str> for Detail {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Detail {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<bool> for Detail {
    fn from(is: bool) -> Self {
        Self::Flag(is)
    }
}

impl From<u64> for Detail {
    fn from(number: u64) -> Self {
        Self::Number(number)
    }
}

impl From<u32> for Detail {
    fn from(number: u32) -> Self {
        Self::Number(number.into())
    }
}

impl From<Details> for Detail {
    fn from(details: Details) -> Self {
        Self::Table(details)
    }
}

impl<D: Into<Detail>> From<Option<D>> for Detail {
    fn from(detail: Option<D>) -> Self {
        detail.map_or(Self::Nothing, Into::into)
    }
}

impl<D: Into<Detail>> FromIterator<D> for Detail {
    fn from_iter<I: IntoIterator<Item = D>>(details: I) -> Self {
        Self::List(details.into_iter().map(Into::into).collect())
    }
}
