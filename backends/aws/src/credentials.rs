//! What stands around every source of credentials: [`Checked`].

use std::{
    error::Error,
    fmt,
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use aws_credential_types::{
    Credentials,
    provider::{self, ProvideCredentials, SharedCredentialsProvider, error::CredentialsError, future},
};
use futures_util::FutureExt;

/// The same source, of whose credentials those are refused with which the SDK
/// would panic, whose own panics are errors, and whose errors tell what was
/// `heard` of the services that it asked.
pub(crate) fn checked(source: SharedCredentialsProvider, heard: Heard) -> SharedCredentialsProvider {
    SharedCredentialsProvider::new(Checked { source, heard })
}

#[derive(Debug)]
struct Checked {
    source: SharedCredentialsProvider,
    heard: Heard,
}

impl Checked {
    async fn provide(&self) -> provider::Result {
        self.heard.forget();
        let provided = AssertUnwindSafe(async { self.source.provide_credentials().await });
        match provided.catch_unwind().await {
            Err(_) => Err(CredentialsError::invalid_configuration(Unusable::Panicked)),
            Ok(Ok(credentials)) if !fit_into_headers(&credentials) => {
                Err(CredentialsError::invalid_configuration(Unusable::NoHeader))
            }
            Ok(Err(error @ (CredentialsError::ProviderError(_) | CredentialsError::Unhandled(_)))) => {
                Err(match self.heard.last() {
                    Some(last) => CredentialsError::provider_error(Failed { last, source: error }),
                    None => error,
                })
            }
            Ok(provided) => provided,
        }
    }
}

#[deny(clippy::missing_trait_methods)]
impl ProvideCredentials for Checked {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(self.provide())
    }

    fn fallback_on_interrupt(&self) -> Option<Credentials> {
        self.source.fallback_on_interrupt().filter(fit_into_headers)
    }
}

/// Whether a request can be signed with them: both stand in headers.
fn fit_into_headers(credentials: &Credentials) -> bool {
    let fits = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic());
    fits(credentials.access_key_id()) && credentials.session_token().is_none_or(fits)
}

/// Credentials, or settings of their source, that cannot be. It shows none of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unusable {
    NoHeader,
    Panicked,
}

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoHeader => {
                "the access key id or the session token holds a line break, a blank or another character that no \
                 credentials have: correct it where it is set (AWS_ACCESS_KEY_ID, AWS_SESSION_TOKEN, the profile, or \
                 what its credential_process prints)"
            }
            Self::Panicked => {
                "the AWS SDK failed over the settings of their source: see the AWS_ variables of the environment and \
                 the profile for values that cannot be, such as a line break"
            }
        })
    }
}

impl Error for Unusable {}

/// A source failed after it asked a service.
#[derive(Debug)]
pub(crate) struct Failed {
    /// What was heard last.
    pub(crate) last: Last,
    source: CredentialsError,
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the source of the credentials failed")
    }
}

impl Error for Failed {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.source)
    }
}

/// What the services that are asked for credentials answered last. Errors of the
/// SDK tell it in types of many crates, or not at all.
#[derive(Debug, Clone, Default)]
pub(crate) struct Heard(Arc<Mutex<Option<Last>>>);

/// What was heard of the last request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Last {
    /// No answer.
    Nothing,
    /// An answer with this status.
    Status(u16),
}

impl Heard {
    /// A request leaves, or its answer is there.
    pub(crate) fn hear(&self, last: Last) {
        *self.lock() = Some(last);
    }

    fn forget(&self) {
        *self.lock() = None;
    }

    fn last(&self) -> Option<Last> {
        *self.lock()
    }

    fn lock(&self) -> MutexGuard<'_, Option<Last>> {
        // Each change of it is one step.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_in_headers_holds_visible_ascii_alone() {
        let fit = |id: &str, token: Option<&str>| {
            fit_into_headers(&Credentials::new(id, "any\nsecret", token.map(str::to_owned), None, "tests"))
        };
        assert!(fit("AKIA", None) && fit("AKIA", Some("a+/=")));
        for bad in ["a\nb", "a\r", " a", "a\0", "ä", "a\u{7f}"] {
            assert!(!fit(bad, None) && !fit("AKIA", Some(bad)), "{bad:?}");
        }
    }
}
