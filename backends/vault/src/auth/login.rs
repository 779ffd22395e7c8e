//! [`Login`]: a token for a role, a certificate or a JWT.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex as Lock},
};

use envelope_sdk::{
    ProviderError,
    ProviderErrorKind::{AccessDenied, Protocol},
    crowd::Apart,
};
use serde::{Deserialize, de::IgnoredAny};
use zeroize::Zeroizing;

use super::{Around, JWT, SECRET_ID, Session, Text, done, session::Lease, token};
use crate::{
    call::Call,
    error::refusal_to_enter,
    failure::failure,
    files,
    json::Object,
    reach::{Inner, Opened, lock},
};

/// A method of authentication.
pub(crate) struct Login {
    shown: Arc<Shown>,
    /// Files are read, which may be pipes, and a person may be asked.
    reading: Apart<Result<Zeroizing<Vec<u8>>, ProviderError>>,
}

/// What is shown at a login.
struct Shown {
    /// Where the method is mounted below `auth/`.
    mount: String,
    by: By,
    around: Around,
    /// What a person was asked for, until it is refused: a login anew asks nobody twice.
    asked: Lock<Option<Zeroizing<String>>>,
}

/// By which method.
pub(crate) enum By {
    AppRole {
        role_id: String,
        secret_id: Option<Text>,
    },
    /// A role, and the token of a service account, which is renewed in its file.
    Kubernetes {
        role: String,
        jwt: PathBuf,
    },
    Jwt {
        role: Option<String>,
        jwt: Text,
    },
    /// The certificate that the client of TLS has.
    Certificate {
        role: Option<String>,
    },
}

#[derive(Deserialize)]
struct LoggedIn<'a> {
    #[serde(borrow)]
    auth: Auth<'a>,
}

#[derive(Deserialize)]
struct Auth<'a> {
    client_token: &'a str,
    lease_duration: u64,
    #[serde(default)]
    renewable: bool,
    mfa_requirement: Option<IgnoredAny>,
}

impl Login {
    pub(crate) fn new(mount: String, by: By, around: Around) -> Self {
        let shown = Shown { mount, by, around, asked: Lock::default() };
        Self { shown: Arc::new(shown), reading: Apart::default() }
    }

    pub(super) async fn enter(
        &self,
        number: u64,
        inner: &Inner,
        opened: &Opened,
    ) -> Result<Session, ProviderError> {
        let shown = Arc::clone(&self.shown);
        // Anew each time.
        let body = done(self.reading.join(move || shown.body()).await, "the credentials were not read")?;
        let call = Call::write(format!("auth/{}/login", self.shown.mount)).body(body).repeatable();
        let answer = match inner.ask(opened, &call, None).await {
            Ok(answer) => answer,
            Err(failed) => {
                let error = refusal_to_enter(&call, self.shown.what(), &failed);
                if error.kind() == AccessDenied {
                    *lock(&self.shown.asked) = None;
                    if matches!(self.shown.by, By::Certificate { .. }) {
                        inner.read_certificates_anew(opened);
                    }
                }
                return Err(error);
            }
        };
        let Some(LoggedIn { auth }) = answer.read() else {
            let message = "the answer to the login holds no token: do not trust what stands between";
            return Err(failure(Protocol, None, message));
        };
        if auth.mfa_requirement.is_some() && auth.client_token.is_empty() {
            let message =
                "the login wants a second factor, which a program has not: log in by another method or role";
            return Err(failure(AccessDenied, None, message));
        }
        let lease = Lease { lease_duration: auth.lease_duration, renewable: auth.renewable };
        Ok(Session::of_lease(token(auth.client_token)?, number, &lease))
    }
}

impl Shown {
    fn body(&self) -> Result<Zeroizing<Vec<u8>>, ProviderError> {
        let mut body = Object::new();
        match &self.by {
            By::AppRole { role_id, secret_id } => {
                body.text("role_id", role_id);
                if let Some(secret_id) = secret_id {
                    body.text("secret_id", &self.text(secret_id, SECRET_ID, "secret id of the AppRole")?);
                }
            }
            By::Kubernetes { role, jwt } => {
                body.text("role", role);
                body.text("jwt", &files::token(jwt, self.around.trusted_files_only)?);
            }
            By::Jwt { role, jwt } => {
                if let Some(role) = role {
                    body.text("role", role);
                }
                body.text("jwt", &self.text(jwt, JWT, "JWT that logs in")?);
            }
            By::Certificate { role } => {
                if let Some(role) = role {
                    body.text("name", role);
                }
            }
        }
        Ok(body.end())
    }

    fn text(&self, text: &Text, name: &str, what: &str) -> Result<Zeroizing<String>, ProviderError> {
        if !matches!(text, Text::Asked) {
            return self.around.text(text, name, what);
        }
        if let Some(asked) = lock(&self.asked).clone() {
            return Ok(asked);
        }
        let told = self.around.text(text, name, what)?;
        *lock(&self.asked) = Some(told.clone());
        Ok(told)
    }

    /// What a refusal is about.
    fn what(&self) -> &'static str {
        match self.by {
            By::AppRole { .. } => "the role id or the secret id of the AppRole",
            By::Kubernetes { .. } => "the token of the service account, or the role",
            By::Jwt { .. } => "the JWT, or the role",
            By::Certificate { .. } => "the certificate of this client, or the role",
        }
    }
}
