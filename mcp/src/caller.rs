//! [`Caller`]: who asks.

use std::{fmt, sync::Arc};

use envelope_sdk::printable;

/// Who asks, as policy and audit log know it: `mcp:NAME`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Caller(Arc<str>);

impl Caller {
    /// Most bytes of a name.
    pub const MAX_NAME: usize = 256;

    /// Whoever started the server and speaks to it over standard input: `mcp:local`.
    #[must_use]
    pub fn local() -> Self {
        Self("mcp:local".into())
    }

    /// A client by the name that its certificate proves.
    ///
    /// # Errors
    ///
    /// [`CallerError`] when the name is empty, longer than [`MAX_NAME`](Self::MAX_NAME) bytes, or holds `*` or characters
    /// that cannot be printed; `local` is nobody's name over a network.
    pub fn named(name: &str) -> Result<Self, CallerError> {
        let fits = !name.is_empty() && name.len() <= Self::MAX_NAME && name != "local";
        if fits && !name.contains('*') && printable::text(name) == name {
            Ok(Self(format!("mcp:{name}").into()))
        } else {
            Err(CallerError)
        }
    }

    /// `mcp:NAME`.
    #[must_use]
    pub fn actor(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A name that no client has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a client's name has 1 to 256 bytes, no `*`, nothing that cannot be printed, and is not `local`")]
pub struct CallerError;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_stands_for_others_or_for_the_local_user_is_refused() {
        for name in ["", "*", "a*", "local", "a\nb", "a\u{202e}", &"n".repeat(257)] {
            assert_eq!(Caller::named(name), Err(CallerError), "{name:?}");
        }
        assert_eq!(
            Caller::named("spiffe://a/b").map(|caller| caller.to_string()),
            Ok("mcp:spiffe://a/b".into())
        );
    }
}
