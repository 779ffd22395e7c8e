//! The way to the server: every request of this crate leaves, and every answer comes in,
//! through the client of this file. It applies the limits of [`envelope_sdk::http`]:
//! `https`, or `http` on this machine, and no answer without an end in size or time.
//!
//! A standby that does not forward answers 307 and names the active node. That is followed,
//! to `https`, or from `http` on this machine to the same, with the path that was asked for
//! and no other; a few times, and not from the socket of an agent.

use std::{fmt, path::PathBuf, time::Duration};

use bytes::Bytes;
use envelope_sdk::http::{MAX_ANSWER_LEN, check_endpoint, retry_after};
use reqwest::{
    Certificate, Client, Identity, Response, StatusCode, Url,
    header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, LOCATION, RETRY_AFTER},
    redirect::Policy,
};
use tokio::time::timeout;
use zeroize::Zeroizing;

use crate::call::{Call, Method};

/// Where a server or an agent listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Address {
    /// `https://HOST:PORT` or, on this machine, `http://…`; perhaps with a path. Without a
    /// slash at the end.
    Url(String),
    /// A socket of this machine.
    Socket(PathBuf),
}

/// What the client is made of.
#[derive(Clone)]
pub(crate) struct Way {
    pub(crate) address: Address,
    /// The only roots that are trusted, instead of those of the platform: PEM.
    pub(crate) roots: Option<Vec<u8>>,
    /// The certificate of this client and its key: PEM.
    pub(crate) identity: Option<Zeroizing<Vec<u8>>>,
    pub(crate) namespace: Option<HeaderValue>,
    pub(crate) attempt: Duration,
}

/// A client within limits.
pub(crate) struct Transport {
    client: Client,
    /// With a slash at the end.
    base: String,
    is_socket: bool,
    namespace: Option<HeaderValue>,
    attempt: Duration,
}

/// There is no client of these settings.
pub(crate) enum NoClient {
    Address,
    Roots,
    Identity,
}

impl Way {
    pub(crate) fn open(self) -> Result<Transport, NoClient> {
        let mut builder = Client::builder().redirect(Policy::none()).connect_timeout(self.attempt);
        if let Some(pem) = &self.roots {
            let roots = Certificate::from_pem_bundle(pem).map_err(|_| NoClient::Roots)?;
            if roots.is_empty() {
                return Err(NoClient::Roots);
            }
            builder = builder.tls_certs_only(roots);
        }
        if let Some(pem) = &self.identity {
            builder = builder.identity(Identity::from_pem(pem).map_err(|_| NoClient::Identity)?);
        }
        let (base, is_socket) = match &self.address {
            Address::Url(url) => {
                check_endpoint(url).map_err(|_| NoClient::Address)?;
                if !url.starts_with("https:") {
                    // To this machine.
                    builder = builder.no_proxy();
                }
                (url.clone(), false)
            }
            #[cfg(unix)]
            Address::Socket(path) => {
                builder = builder.no_proxy().unix_socket(path.as_path());
                ("http://localhost".to_owned(), true)
            }
            #[cfg(not(unix))]
            Address::Socket(_) => return Err(NoClient::Address),
        };
        let identity = self.identity.is_some();
        let client =
            builder.build().map_err(|_| if identity { NoClient::Identity } else { NoClient::Roots })?;
        let base = format!("{}/v1/", base.trim_end_matches('/'));
        Ok(Transport { client, base, is_socket, namespace: self.namespace, attempt: self.attempt })
    }
}

/// What came.
pub(crate) struct Came {
    pub(crate) status: u16,
    pub(crate) retry_after: Option<Duration>,
    /// The state of the storage that the answer knows of.
    pub(crate) index: Option<HeaderValue>,
    pub(crate) body: Zeroizing<Vec<u8>>,
}

/// What went wrong on the way. None of it holds a word of a request or an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lost {
    /// The request did not leave this machine.
    NotReached,
    /// Nor that: who answers is not trusted.
    Certificate,
    TimedOut,
    BrokeOff,
    TooLong,
    /// No URL of the server.
    Elsewhere,
    Redirect,
}

impl Lost {
    pub(crate) fn may_be_done(self) -> bool {
        !matches!(self, Self::NotReached | Self::Certificate | Self::Elsewhere | Self::Redirect)
    }
}

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotReached => "the server cannot be reached",
            Self::Certificate => "the certificate of the server is not trusted",
            Self::TimedOut => "the server did not answer in time",
            Self::BrokeOff => "the connection was lost before the whole answer was there",
            Self::TooLong => "the answer has no end",
            Self::Elsewhere => "the request would go to another place",
            Self::Redirect => "the server answered with a redirect that is not followed",
        })
    }
}

impl Transport {
    /// One attempt of a call, in bounded time.
    pub(crate) async fn attempt(
        &self,
        call: &Call,
        token: Option<&HeaderValue>,
        index: Option<&HeaderValue>,
    ) -> Result<Came, Lost> {
        timeout(self.attempt, self.exchange(call, token, index)).await.unwrap_or(Err(Lost::TimedOut))
    }

    async fn exchange(
        &self,
        call: &Call,
        token: Option<&HeaderValue>,
        index: Option<&HeaderValue>,
    ) -> Result<Came, Lost> {
        let query = if call.method == Method::List { "?list=true" } else { "" };
        let text = format!("{}{}{query}", self.base, call.path);
        let mut url = Url::parse(&text).map_err(|_| Lost::Elsewhere)?;
        // A path that a reader of URLs changes (`..`) is none that was meant.
        if !url.as_str().ends_with(&format!("/v1/{}{query}", call.path)) {
            return Err(Lost::Elsewhere);
        }
        for _ in 0..=MOST_REDIRECTS {
            check_endpoint(url.as_str()).map_err(|_| Lost::Elsewhere)?;
            let answer = self.send(call, url.clone(), token, index).await?;
            match answer.status() {
                StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT => {
                    if self.is_socket {
                        return Err(Lost::Redirect);
                    }
                    url = next(&url, answer.headers().get(LOCATION)).ok_or(Lost::Redirect)?;
                }
                status if status.is_redirection() => return Err(Lost::Redirect),
                _ => return read(answer).await,
            }
        }
        Err(Lost::Redirect)
    }

    async fn send(
        &self,
        call: &Call,
        url: Url,
        token: Option<&HeaderValue>,
        index: Option<&HeaderValue>,
    ) -> Result<Response, Lost> {
        let method = match call.method {
            Method::Read | Method::List => reqwest::Method::GET,
            Method::Write => reqwest::Method::POST,
            Method::Delete => reqwest::Method::DELETE,
        };
        let mut headers = HeaderMap::new();
        // An agent may ask for it, as a sign that no browser was led to it.
        headers.insert(&REQUEST, HeaderValue::from_static("true"));
        let given = [(&TOKEN, token), (&NAMESPACE, self.namespace.as_ref()), (&INDEX, index)];
        for (name, value) in given.into_iter().filter_map(|(name, value)| Some((name, value?))) {
            headers.insert(name, value.clone());
        }
        let mut request = self.client.request(method, url).headers(headers);
        if let Some(body) = &call.body {
            request = request.header(CONTENT_TYPE, "application/json").body(body.clone());
        }
        request.send().await.map_err(|error| lost(&error))
    }
}

/// Where a redirect leads, if it may be followed: the same path of another node, and never
/// from `https` to `http`.
fn next(from: &Url, location: Option<&HeaderValue>) -> Option<Url> {
    let to = Url::parse(location?.to_str().ok()?).ok()?;
    check_endpoint(to.as_str()).ok()?;
    let is_safe = to.scheme() == "https" || to.scheme() == from.scheme();
    let is_same = to.path() == from.path() && to.query() == from.query() && to.fragment().is_none();
    (is_safe && is_same).then_some(to)
}

async fn read(mut answer: Response) -> Result<Came, Lost> {
    let header = |name: &HeaderName| answer.headers().get(name).cloned();
    let retry_after = header(&RETRY_AFTER).and_then(|value| retry_after(value.to_str().ok()?));
    let status = answer.status().as_u16();
    let index = header(&INDEX).filter(|value| value.len() <= MAX_INDEX_LEN);
    let expected = answer.content_length().and_then(|len| usize::try_from(len).ok()).unwrap_or(0);
    let mut body = Zeroizing::new(Vec::with_capacity(expected.clamp(FIRST_LEN, MAX_ANSWER_LEN)));
    while let Some(chunk) = answer.chunk().await.map_err(|error| lost(&error))? {
        append(&mut body, &chunk)?;
    }
    Ok(Came { status, retry_after, index, body })
}

/// Never grown in place, which would leave a copy behind that is not wiped.
fn append(body: &mut Zeroizing<Vec<u8>>, chunk: &Bytes) -> Result<(), Lost> {
    let len = body.len() + chunk.len();
    if len > MAX_ANSWER_LEN {
        return Err(Lost::TooLong);
    }
    if len > body.capacity() {
        let mut larger = Zeroizing::new(Vec::with_capacity((2 * len).min(MAX_ANSWER_LEN)));
        larger.extend_from_slice(body);
        *body = larger;
    }
    body.extend_from_slice(chunk);
    Ok(())
}

/// What an error says of the way; its words are never kept, since they hold the URL.
fn lost(error: &reqwest::Error) -> Lost {
    if error.is_timeout() && !error.is_connect() {
        return Lost::TimedOut;
    }
    // Its own words hold the URL, in which any may stand.
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        if is_of_certificates(&error.to_string()) {
            return Lost::Certificate;
        }
        source = error.source();
    }
    if error.is_connect() { Lost::NotReached } else { Lost::BrokeOff }
}

/// Whether an error of TLS is about a certificate: that of the server, or that of this client, of which the server says
/// by an alert what it thinks. Such an alert comes late, and is told by its name (`received fatal alert: CertificateExpired`).
fn is_of_certificates(words: &str) -> bool {
    words.contains("certificate")
        || words
            .split_once("received fatal alert: ")
            .is_some_and(|(_, alert)| alert.contains("Certificate") || alert == "UnknownCA")
}

static TOKEN: HeaderName = HeaderName::from_static("x-vault-token");
static NAMESPACE: HeaderName = HeaderName::from_static("x-vault-namespace");
static INDEX: HeaderName = HeaderName::from_static("x-vault-index");
static REQUEST: HeaderName = HeaderName::from_static("x-vault-request");
const MOST_REDIRECTS: usize = 3;
const MAX_INDEX_LEN: usize = 1024;
const FIRST_LEN: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_redirect_leads_to_the_same_path_of_a_node_that_is_as_safe() {
        let of = |from: &str, to: &'static str| {
            next(&Url::parse(from).unwrap(), Some(&HeaderValue::from_static(to))).is_some()
        };
        let https = "https://standby:8200/v1/transit/encrypt/k";
        let http = "http://127.0.0.1:8200/v1/transit/encrypt/k";
        for (from, to) in [
            (https, "https://active:8200/v1/transit/encrypt/k"),
            (http, "https://active:8200/v1/transit/encrypt/k"),
            (http, "http://127.0.0.1:8300/v1/transit/encrypt/k"),
        ] {
            assert!(of(from, to), "{from} {to}");
        }
        for (from, to) in [
            (https, "http://active:8200/v1/transit/encrypt/k"),
            (https, "http://127.0.0.1:8200/v1/transit/encrypt/k"),
            (http, "http://active:8200/v1/transit/encrypt/k"),
            (https, "https://active:8200/v1/transit/encrypt/other"),
            (https, "https://active:8200/v1/transit/encrypt/k?x"),
            (https, "https://active:8200/v1/transit/encrypt/k#x"),
            (https, "https://user@active:8200/v1/transit/encrypt/k"),
            (https, "/v1/transit/encrypt/k"),
            (https, "//active/v1/transit/encrypt/k"),
            (https, ""),
        ] {
            assert!(!of(from, to), "{from} {to}");
        }
    }

    /// As rustls writes them.
    #[test]
    fn what_the_server_says_of_the_certificate_of_this_client_is_no_lost_connection() {
        for words in [
            "invalid peer certificate: UnknownIssuer",
            "received fatal alert: CertificateRequired",
            "received fatal alert: CertificateExpired",
            "received fatal alert: CertificateRevoked",
            "received fatal alert: CertificateUnknown",
            "received fatal alert: BadCertificate",
            "received fatal alert: UnknownCA",
        ] {
            assert!(is_of_certificates(words), "{words}");
        }
        for words in [
            "received fatal alert: InternalError",
            "received fatal alert: HandshakeFailure",
            "peer closed connection without sending TLS close_notify",
            "UnknownCA",
        ] {
            assert!(!is_of_certificates(words), "{words}");
        }
    }

    #[test]
    fn an_answer_has_an_end() {
        let mut body = Zeroizing::new(Vec::with_capacity(4));
        append(&mut body, &Bytes::from(vec![7; MAX_ANSWER_LEN])).unwrap();
        assert_eq!(append(&mut body, &Bytes::from_static(b"x")), Err(Lost::TooLong));
        assert_eq!(body.len(), MAX_ANSWER_LEN);
    }
}
