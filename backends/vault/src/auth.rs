//! Who asks: where tokens come from, and how long they live.
//!
//! A token that comes of a login is renewed at two thirds of its life by the call that comes
//! then, or the login is done anew. So is one that was given, as far as it lets itself be
//! renewed. Nothing runs in the background: a program that asks nothing lets its token end.

pub(crate) mod helper;
mod login;
mod session;

use std::{path::PathBuf, sync::Arc};

use envelope_sdk::{
    ProviderError,
    ProviderErrorKind::{AccessDenied, Invalid, Unavailable},
    crowd::{Apart, NotDone},
    secret::{Prompt, Secrets},
};
use reqwest::header::HeaderValue;
use zeroize::Zeroizing;

use crate::{
    failure::failure,
    files,
    reach::{Inner, Opened},
};
pub(crate) use login::{By, Login};
pub(crate) use session::{Session, Standing};

/// Who the caller is, as the settings say it.
#[derive(Clone, Default)]
pub(crate) enum From {
    /// What was given, or the environment says, or the file that `vault login` writes.
    #[default]
    Default,
    Token(Text),
    /// A program that tells a token.
    Helper(PathBuf),
    AppRole {
        role_id: String,
        secret_id: Option<Text>,
    },
    Kubernetes {
        role: String,
        jwt: Option<PathBuf>,
    },
    Jwt {
        role: Option<String>,
        jwt: Text,
    },
    /// The certificate of TLS.
    Certificate {
        role: Option<String>,
    },
    /// An agent adds its own token.
    Agent,
}

/// A secret text.
#[derive(Clone)]
pub(crate) enum Text {
    File(PathBuf),
    Given(Arc<Zeroizing<String>>),
    /// Asked for when it is needed.
    Asked,
}

impl Text {
    pub(crate) fn given(text: impl Into<String>) -> Self {
        Self::Given(Arc::new(Zeroizing::new(text.into())))
    }
}

/// Who may have been given secrets, and whether files are looked at.
#[derive(Clone, Default)]
pub(crate) struct Around {
    pub(crate) secrets: Option<Arc<dyn Secrets>>,
    pub(crate) trusted_files_only: bool,
}

impl Around {
    /// What was given beforehand under this name.
    pub(crate) fn given(&self, name: &str) -> Result<Option<Zeroizing<String>>, ProviderError> {
        let Some(secrets) = &self.secrets else { return Ok(None) };
        secrets.given(name).map_err(|error| failure(error.kind(), None, error.to_string()).with_source(error))
    }

    /// Reads or asks, and may block.
    pub(crate) fn text(
        &self,
        text: &Text,
        name: &str,
        what: &str,
    ) -> Result<Zeroizing<String>, ProviderError> {
        let text = match text {
            Text::Given(text) => Zeroizing::new(text.trim().to_owned()),
            Text::File(path) => files::secret(path, self.trusted_files_only)?,
            Text::Asked => match self.given(name)? {
                Some(given) => given,
                None => {
                    let Some(secrets) = &self.secrets else {
                        return Err(failure(AccessDenied, None, format!("there is no {what}: give it")));
                    };
                    let prompt = format!("Vault: {what}");
                    let asked = secrets.ask(name, &Prompt::once(&prompt));
                    asked
                        .map_err(|error| failure(error.kind(), None, error.to_string()).with_source(error))?
                }
            },
        };
        if text.is_empty() {
            return Err(failure(Invalid, None, format!("the {what} is empty: give it")));
        }
        Ok(text)
    }
}

/// How a session is begun.
pub(crate) enum Entry {
    /// Without a token: the agent adds one.
    Agent,
    /// With a token that is what it is.
    Token(HeaderValue),
    /// With what a file holds, or a program tells, now.
    Told(Told),
    Login(Login),
}

/// Where a token is read, each time that one is needed.
pub(crate) struct Told {
    by: Teller,
    trusted: bool,
    /// A file may be a pipe that somebody has yet to write to.
    reading: Apart<Result<Zeroizing<String>, ProviderError>>,
}

enum Teller {
    File(PathBuf),
    Helper(PathBuf),
}

impl Entry {
    /// Whether another token may come of entering again.
    pub(crate) fn can_be_had_anew(&self) -> bool {
        matches!(self, Self::Told(_) | Self::Login(_))
    }

    /// Whether the server makes another token each time, and keeps it.
    pub(crate) fn logs_in(&self) -> bool {
        matches!(self, Self::Login(_))
    }

    /// A session in place of the one before, which is over, is to be renewed, or was refused if it
    /// is the one that is `stale`.
    pub(crate) async fn enter(
        &self,
        inner: &Inner,
        opened: &Opened,
        before: Option<Arc<Session>>,
        stale: Option<u64>,
    ) -> Result<Session, ProviderError> {
        let kept = before.as_ref().filter(|session| stale != Some(session.number()));
        let mut of_renewal = None;
        if let Some(session) = kept {
            match session.renew(inner, opened).await {
                Ok(renewed) if !(renewed.is_at_its_end() && self.can_be_had_anew()) => return Ok(renewed),
                Ok(renewed) => of_renewal = Some(renewed),
                Err(_) => {}
            }
        }
        let number = before.as_ref().map_or(0, |session| session.number()) + 1;
        let anew = match self {
            Self::Agent => return Ok(Session::without_token(number)),
            Self::Token(token) => match kept {
                // It could not be renewed. What it is still good for the server says.
                Some(session) => return Ok(session.later()),
                None => Session::of_token(token.clone(), number, inner, opened).await,
            },
            Self::Told(told) => match told.read().await {
                Ok(token) => Session::of_token(token, number, inner, opened).await,
                Err(error) => Err(error),
            },
            Self::Login(login) => login.enter(number, inner, opened).await,
        };
        match (anew, of_renewal, kept) {
            (Ok(session), ..) => Ok(session),
            // As long as there is one that serves, trouble of the login is no trouble.
            (Err(_), Some(renewed), _) => Ok(renewed),
            (Err(_), None, Some(session)) if !session.is_over() => Ok(session.later()),
            (Err(error), ..) => Err(error),
        }
    }
}

impl Told {
    pub(crate) fn file(path: PathBuf, around: &Around) -> Self {
        Self::by(Teller::File(path), around)
    }

    pub(crate) fn helper(path: PathBuf, around: &Around) -> Self {
        Self::by(Teller::Helper(path), around)
    }

    fn by(by: Teller, around: &Around) -> Self {
        Self { by, trusted: around.trusted_files_only, reading: Apart::default() }
    }

    async fn read(&self) -> Result<HeaderValue, ProviderError> {
        let trusted = self.trusted;
        let text = match &self.by {
            Teller::File(path) => {
                let path = path.clone();
                done(
                    self.reading.join(move || files::secret(&path, trusted)).await,
                    "the token was not read",
                )?
            }
            Teller::Helper(path) => {
                let looked_at = path.clone();
                let check = move || helper::check(&looked_at, trusted).map(|()| Zeroizing::default());
                done(self.reading.join(check).await, "the token helper was not looked at")?;
                helper::run(path).await?
            }
        };
        token(&text)
    }
}

/// What came of work that blocks, or why nothing did.
pub(crate) fn done<T>(
    work: Result<Result<T, ProviderError>, NotDone>,
    otherwise: &str,
) -> Result<T, ProviderError> {
    work.map_err(|error| {
        let kind = if matches!(error, NotDone::NoThread(_)) { Unavailable } else { Invalid };
        failure(kind, None, otherwise).with_source(error)
    })?
}

/// A token as it is sent. Its bytes are wiped when the last copy of it is dropped.
pub(crate) fn token(text: &str) -> Result<HeaderValue, ProviderError> {
    let fits = (1..=MAX_TOKEN_LEN).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
    let bytes = bytes::Bytes::from_owner(Zeroizing::new(text.as_bytes().to_vec()));
    let value = HeaderValue::from_maybe_shared(bytes).ok().filter(|_| fits);
    let mut value = value.ok_or_else(|| {
        failure(Invalid, None, "the token is none: it has printable characters without blanks")
    })?;
    value.set_sensitive(true);
    Ok(value)
}

/// Batch tokens have some hundred characters, and more with namespaces.
const MAX_TOKEN_LEN: usize = 64 * 1024;
/// The names under which secrets are asked for.
pub(crate) const TOKEN: &str = "vault-token";
pub(crate) const SECRET_ID: &str = "vault-secret-id";
pub(crate) const JWT: &str = "vault-jwt";
pub(crate) const CLIENT_KEY: &str = "vault-client-key";
