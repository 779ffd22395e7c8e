//! [`Actor`]: who wants to do something.

use std::fmt;

use envelope_sdk::printable;

/// Who asks: a program, a person at a shell, a client of the MCP server. Written `KIND:NAME`, such as `cli:alice`.
///
/// A policy believes the program about who its actor is. It keeps those apart whom the program tells apart; it does not
/// hold back the program itself, which could leave the policy out.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Actor {
    kind: ActorKind,
    /// With the kind before it.
    name: Box<str>,
    tenant: Option<Box<str>>,
}

/// What an actor is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ActorKind {
    /// `library`: a program that links the SDK, by the name that it gives itself.
    Library,
    /// `cli`: a user of `envctl`, by the user's name.
    Cli,
    /// `mcp`: a client of the MCP server, by its certificate, or `local` over standard input.
    Mcp,
}

impl ActorKind {
    /// `library`, `cli` or `mcp`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Library => "library",
            Self::Cli => "cli",
            Self::Mcp => "mcp",
        }
    }
}

impl Actor {
    /// Most bytes of a name.
    pub const MAX_NAME: usize = 256;

    /// An actor without a tenant.
    ///
    /// # Errors
    ///
    /// [`ActorError`] when the name is empty, longer than [`MAX_NAME`](Self::MAX_NAME) bytes, or holds what is not to
    /// be printed or stands for others: control and invisible characters, `*`.
    pub fn new(kind: ActorKind, name: &str) -> Result<Self, ActorError> {
        if name.is_empty() || name.len() > Self::MAX_NAME {
            return Err(ActorError("an actor's name has 1 to 256 bytes"));
        }
        if name.contains('*') || printable::text(name) != name {
            return Err(ActorError("an actor's name has neither `*` nor characters that cannot be printed"));
        }
        Ok(Self { kind, name: format!("{}:{name}", kind.name()).into(), tenant: None })
    }

    /// An actor as it is [displayed](fmt::Display): `cli:alice`.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new), and for another kind.
    pub fn parse(text: &str) -> Result<Self, ActorError> {
        let kinds = [ActorKind::Library, ActorKind::Cli, ActorKind::Mcp];
        let (kind, name) = text.split_once(':').unwrap_or_default();
        match kinds.into_iter().find(|known| known.name() == kind) {
            Some(kind) => Self::new(kind, name),
            None => Err(ActorError("an actor is library:NAME, cli:NAME or mcp:NAME")),
        }
    }

    /// Says whose data it works on. It goes before what the policy says of its tenant.
    #[must_use]
    pub fn of_tenant(mut self, tenant: impl Into<Box<str>>) -> Self {
        self.tenant = Some(tenant.into());
        self
    }

    /// What it is.
    #[must_use]
    pub fn kind(&self) -> ActorKind {
        self.kind
    }

    /// `KIND:NAME`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.name
    }

    /// The tenant that the program gave it.
    #[must_use]
    pub fn tenant(&self) -> Option<&str> {
        self.tenant.as_deref()
    }
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

/// A text that names no actor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ActorError(&'static str);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_actor_is_read_as_it_is_shown() {
        let actor = Actor::new(ActorKind::Cli, "alice").unwrap();
        assert_eq!((actor.to_string().as_str(), actor.tenant()), ("cli:alice", None));
        assert_eq!(Actor::parse("cli:alice"), Ok(actor));
        assert_eq!(Actor::parse("mcp:spiffe://a/b").unwrap().kind(), ActorKind::Mcp);
    }

    #[test]
    fn a_name_that_stands_for_others_or_cannot_be_printed_is_refused() {
        for name in ["", "*", "a*", "a\nb", "a\u{202e}b", &"n".repeat(257)] {
            assert!(Actor::new(ActorKind::Mcp, name).is_err(), "{name:?}");
        }
        for text in ["alice", "root:alice", "cli", ":a", "CLI:alice"] {
            assert!(Actor::parse(text).is_err(), "{text:?}");
        }
    }
}
