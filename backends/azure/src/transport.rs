//! The way to Azure: every request of this crate leaves, and every answer comes in,
//! through the client of this file. It applies the limits of
//! [`envelope_sdk::http`]: `https` alone, no redirect, no answer without an end in
//! size or time. And a token goes to the host that it was asked for: a next page that
//! lies elsewhere is not fetched.

use std::{
    borrow::Cow,
    fmt,
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use azure_core::{
    Error, Result,
    error::ErrorKind,
    http::{AsyncRawResponse, Body, HttpClient, Method, Request, headers::Headers},
};
use envelope_sdk::http::{MAX_ANSWER_LEN, check_credential_endpoint};
use reqwest::{
    Certificate, Client,
    dns::{Addrs, Name, Resolve, Resolving},
    redirect::Policy,
};

use crate::{cloud::is_local, credentials::Tokens};

/// How the client is made.
#[derive(Debug, Clone, Default)]
pub(crate) struct Way {
    /// The only roots that are trusted, instead of those of the platform: PEM.
    pub(crate) roots: Option<Vec<u8>>,
    /// The domain of a server of tests: names below `localhost` are this machine, and nobody else is asked.
    pub(crate) local: Option<String>,
    pub(crate) attempt: Duration,
}

impl Way {
    /// For requests that carry keys, to this vault alone.
    pub(crate) fn to_vault(&self, url: &str, tokens: Arc<Tokens>) -> std::result::Result<Guarded, NoClient> {
        Ok(Guarded {
            client: self.client(false)?,
            to: To::Vault(format!("{url}/"), tokens),
            attempt: self.attempt,
            machine: None,
        })
    }

    /// For the source of tokens; `of_machine` is asked without a proxy.
    pub(crate) fn to_tokens(&self, of_machine: bool) -> std::result::Result<Guarded, NoClient> {
        let machine = self.local.as_ref().map(|domain| format!("https://login.{domain}/"));
        Ok(Guarded { client: self.client(of_machine)?, to: To::Tokens, attempt: self.attempt, machine })
    }

    fn client(&self, of_machine: bool) -> std::result::Result<Client, NoClient> {
        let mut builder = Client::builder().redirect(Policy::none()).connect_timeout(self.attempt);
        if let Some(pem) = &self.roots {
            let roots = Certificate::from_pem_bundle(pem).map_err(|_| NoClient)?;
            if roots.is_empty() {
                return Err(NoClient);
            }
            builder = builder.tls_certs_only(roots);
        }
        if self.local.is_some() {
            builder = builder.dns_resolver(OfThisMachine);
        }
        if self.local.is_some() || of_machine {
            builder = builder.no_proxy();
        }
        builder.build().map_err(|_| NoClient)
    }
}

/// There is no client with these certificates.
#[derive(Debug)]
pub(crate) struct NoClient;

/// A client within limits.
#[derive(Debug)]
pub(crate) struct Guarded {
    client: Client,
    to: To,
    attempt: Duration,
    /// Who is asked instead of the identity endpoint of virtual machines: a server of tests gets no token of
    /// the machine that it runs on.
    machine: Option<String>,
}

#[derive(Debug)]
enum To {
    /// With a slash at the end; and whose tokens are shown there.
    Vault(String, Arc<Tokens>),
    Tokens,
}

impl To {
    fn permits(&self, url: &str) -> bool {
        match self {
            // A default port is not shown.
            Self::Vault(start, _) => url.starts_with(start.as_str()),
            Self::Tokens => check_credential_endpoint(url).is_ok(),
        }
    }
}

/// What went wrong on the way. None of it holds a word of a request or an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lost {
    /// The request did not leave this machine.
    NotReached,
    /// Nor that: who answers is not trusted.
    Certificate,
    /// Nor that: a token, or what else stands in a header, has characters that no header has.
    Unwritable,
    TimedOut,
    BrokeOff,
    TooLong,
    /// Another host than the one that was asked, or no `https`.
    Elsewhere,
    Redirect,
}

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotReached => "the server cannot be reached",
            Self::Certificate => "the certificate of the server is not trusted",
            Self::Unwritable => "the request has a header that cannot be",
            Self::TimedOut => "the server did not answer in time",
            Self::BrokeOff => "the connection was lost before the whole answer was there",
            Self::TooLong => "the answer has no end",
            Self::Elsewhere => "the request would go to another host",
            Self::Redirect => "the server answered with a redirect",
        })
    }
}

impl std::error::Error for Lost {}

impl From<Lost> for Error {
    fn from(lost: Lost) -> Self {
        let kind = match lost {
            Lost::NotReached | Lost::Certificate => ErrorKind::Connection,
            Lost::TimedOut | Lost::BrokeOff => ErrorKind::Io,
            Lost::Unwritable | Lost::TooLong | Lost::Elsewhere | Lost::Redirect => ErrorKind::Other,
        };
        Self::new(kind, lost)
    }
}

#[async_trait]
impl HttpClient for Guarded {
    async fn execute_request(&self, request: &Request) -> Result<AsyncRawResponse> {
        if !self.to.permits(request.url().as_str()) {
            return Err(Lost::Elsewhere.into());
        }
        match tokio::time::timeout(self.attempt, self.exchange(request)).await {
            Ok(answer) => Ok(answer?),
            Err(_) => Err(Lost::TimedOut.into()),
        }
    }
}

impl Guarded {
    fn url<'u>(&self, url: &'u str) -> Cow<'u, str> {
        match (&self.machine, url.strip_prefix(OF_MACHINES)) {
            (Some(machine), Some(rest)) => format!("{machine}{rest}").into(),
            _ => url.into(),
        }
    }

    async fn exchange(&self, request: &Request) -> std::result::Result<AsyncRawResponse, Lost> {
        let method = method(request.method()).ok_or(Lost::NotReached)?;
        let mut sent = self.client.request(method, &*self.url(request.url().as_str()));
        for (name, value) in request.headers().iter() {
            sent = sent.header(name.as_str(), value.as_str());
        }
        if let Body::Bytes(bytes) = request.body() {
            sent = sent.body(bytes.clone());
        }
        let sent_at = Instant::now();
        let mut answer = sent.send().await.map_err(|error| lost(&error))?;
        let status = answer.status().as_u16();
        if (300..400).contains(&status) {
            return Err(Lost::Redirect);
        }
        if let (401, To::Vault(_, tokens)) = (status, &self.to)
            && let Some((_, shown)) =
                request.headers().iter().find(|(name, _)| name.as_str() == "authorization")
        {
            tokens.refused(shown.as_str(), sent_at);
        }
        let mut headers = Headers::new();
        for (name, value) in answer.headers() {
            if let Ok(value) = value.to_str() {
                headers.insert(name.as_str().to_owned(), value.to_owned());
            }
        }
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(|error| lost(&error))? {
            if body.len() + chunk.len() > MAX_ANSWER_LEN {
                return Err(Lost::TooLong);
            }
            body.extend_from_slice(&chunk);
        }
        Ok(AsyncRawResponse::from_bytes(status.into(), headers, body))
    }
}

/// `None` for one that a later version of the client has.
fn method(method: Method) -> Option<reqwest::Method> {
    Some(match method {
        Method::Delete => reqwest::Method::DELETE,
        Method::Get => reqwest::Method::GET,
        Method::Head => reqwest::Method::HEAD,
        Method::Patch => reqwest::Method::PATCH,
        Method::Post => reqwest::Method::POST,
        Method::Put => reqwest::Method::PUT,
        _ => return None,
    })
}

/// What an error says of the way; its words are never kept, since they hold the URL.
fn lost(error: &reqwest::Error) -> Lost {
    if error.is_builder() {
        return Lost::Unwritable;
    }
    if error.is_timeout() && !error.is_connect() {
        return Lost::TimedOut;
    }
    if !error.is_connect() {
        return Lost::BrokeOff;
    }
    let mut source: Option<&dyn std::error::Error> = Some(error);
    while let Some(error) = source {
        if error.to_string().contains("certificate") {
            return Lost::Certificate;
        }
        source = error.source();
    }
    Lost::NotReached
}

/// RFC 6761: names below `localhost` are this machine. Not every resolver knows it.
struct OfThisMachine;

impl Resolve for OfThisMachine {
    fn resolve(&self, name: Name) -> Resolving {
        let known = is_local(name.as_str());
        Box::pin(async move {
            if !known {
                return Err("only names below localhost are asked here".into());
            }
            let here: Addrs = Box::new(std::iter::once(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))));
            Ok(here)
        })
    }
}

/// Where virtual machines ask for their identity; Microsoft's client has it so, and lets nobody change it.
const OF_MACHINES: &str = "http://169.254.169.254/";

#[cfg(test)]
mod tests {
    use azure_core::credentials::{AccessToken, TokenCredential, TokenRequestOptions};

    use super::*;

    #[derive(Debug)]
    struct NoToken;

    #[async_trait]
    impl TokenCredential for NoToken {
        async fn get_token(&self, _: &[&str], _: Option<TokenRequestOptions<'_>>) -> Result<AccessToken> {
            Err(Error::with_message(ErrorKind::Credential, "none"))
        }
    }

    fn no_tokens() -> Arc<Tokens> {
        Tokens::new(Arc::new(NoToken), Vec::new(), Duration::ZERO)
    }

    #[test]
    fn a_server_of_tests_stands_in_for_the_identity_endpoint_of_machines_and_for_nothing_else() {
        let asked = |local: Option<&str>, url: &str| {
            let way = Way { local: local.map(str::to_owned), ..Way::default() };
            way.to_tokens(true).unwrap().url(url).into_owned()
        };
        let (machine, other) = ("http://169.254.169.254/metadata/x", "https://login.localhost:1/t");
        assert_eq!(asked(None, machine), machine);
        assert_eq!(asked(Some("localhost:1"), machine), "https://login.localhost:1/metadata/x");
        assert_eq!(asked(Some("localhost:1"), other), other);
    }

    #[test]
    fn a_token_goes_to_the_vault_that_was_asked_alone() {
        let to = To::Vault("https://a.vault.azure.net/".to_owned(), no_tokens());
        assert!(to.permits("https://a.vault.azure.net/keys?api-version=1"));
        for other in [
            "https://b.vault.azure.net/keys",
            "http://a.vault.azure.net/keys",
            "https://a.vault.azure.net.example/keys",
            "https://a.vault.azure.net:8443/keys",
            "https://x@a.vault.azure.net/keys",
        ] {
            assert!(!to.permits(other), "{other}");
        }
    }

    #[test]
    fn tokens_are_asked_for_by_https_or_of_the_machine_itself() {
        assert!(To::Tokens.permits("https://login.microsoftonline.com/t/oauth2/v2.0/token"));
        assert!(To::Tokens.permits("http://169.254.169.254/metadata/identity/oauth2/token"));
        assert!(!To::Tokens.permits("http://login.microsoftonline.com/t"));
    }
}
