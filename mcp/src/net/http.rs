//! One request: checked, read, and handed to the protocol.

use std::{
    convert::Infallible,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures_util::StreamExt;
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::{
    BodyExt, BodyStream, Full, LengthLimitError, Limited, StreamBody, combinators::BoxBody,
};
use hyper::body::{Body, Incoming};
use metrics::counter;
use rmcp::{
    ServerHandler,
    transport::streamable_http_server::{StreamableHttpService, session::never::NeverSessionManager},
};
use rustls::pki_types::CertificateDer;
use tokio::time::{Instant, sleep_until, timeout, timeout_at};

use super::{
    Client, Refusal, hosts,
    metrics::REQUESTS,
    reports::{At, Peer},
    server::{Loaded, Shared},
};

/// What requests of one connection are answered with.
pub(crate) struct Exchange<S> {
    pub(crate) shared: Arc<Shared>,
    pub(crate) service: StreamableHttpService<S, NeverSessionManager>,
    pub(crate) client: Client,
    pub(crate) chain: Vec<CertificateDer<'static>>,
    pub(crate) verified: Mutex<Verified>,
    /// Whether a request came at all.
    pub(crate) used: AtomicBool,
}

/// When the certificate was found right, and under which files.
#[derive(Clone, Copy)]
pub(crate) struct Verified {
    pub(crate) generation: u64,
    pub(crate) at: Instant,
}

impl<S: ServerHandler> Exchange<S> {
    /// Answers a request.
    pub(crate) async fn answer(&self, request: Request<Incoming>) -> Response<Answer> {
        self.used.store(true, Ordering::Relaxed);
        match self.try_answer(request).await {
            Ok(response) => {
                counter!(REQUESTS, "outcome" => "ok").increment(1);
                response
            }
            Err(refusal) => {
                let peer = Peer { address: self.client.address(), client: Some(&self.client) };
                self.shared.reports.refused(peer, At::Request, refusal).await;
                refused(refusal)
            }
        }
    }

    async fn try_answer(&self, request: Request<Incoming>) -> Result<Response<Answer>, Refusal> {
        let Shared { options, requests, .. } = &*self.shared;
        let loaded = self.shared.loaded();
        self.verify(&loaded)?;
        if !requests.take(self.client.name()) {
            return Err(Refusal::TooManyRequests);
        }
        hosts::check(request.uri(), request.headers(), loaded.hosts(options), &options.origins)?;
        if request.uri().path() != PATH {
            return Ok(message(StatusCode::NOT_FOUND, "there is nothing here but /mcp"));
        }
        let limits = &options.limits;
        let (mut parts, body) = request.into_parts();
        let body = read(body, limits.body, limits.body_time).await?;
        parts.extensions.insert(self.client.caller().clone());
        parts.extensions.insert(self.client.clone());
        let deadline = Instant::now() + limits.call_time;
        let answer = self.service.handle(Request::from_parts(parts, Full::new(body)));
        let answer = timeout_at(deadline, answer).await.map_err(|_| Refusal::CallTimeout)?;
        Ok(answer.map(|body| until(deadline, body)))
    }

    /// The certificate is looked at again when files were read since, and from time to time: it may have expired or been revoked
    /// while the connection was open.
    fn verify(&self, loaded: &Loaded) -> Result<(), Refusal> {
        let mut verified = self.verified.lock().unwrap_or_else(PoisonError::into_inner);
        if verified.generation == loaded.generation && verified.at.elapsed() < VERIFIES_AGAIN_AFTER {
            return Ok(());
        }
        loaded.credentials.verify(&self.chain)?;
        *verified = Verified { generation: loaded.generation, at: Instant::now() };
        Ok(())
    }
}

/// The body of an answer.
pub(crate) type Answer = BoxBody<Bytes, Infallible>;

async fn read(body: Incoming, limit: usize, time: Duration) -> Result<Bytes, Refusal> {
    // What says how long it is need not be read to be known for too long.
    if body.size_hint().lower() > limit as u64 {
        return Err(Refusal::BodyTooLarge);
    }
    match timeout(time, Limited::new(body, limit).collect()).await {
        Err(_) => Err(Refusal::BodyTimeout),
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(Refusal::BodyTooLarge),
        Ok(Err(_)) => Err(Refusal::BadRequest),
    }
}

/// Cuts a stream of events off that takes too long.
fn until(deadline: Instant, body: Answer) -> Answer {
    if body.size_hint().exact().is_some() {
        return body;
    }
    BodyExt::boxed(StreamBody::new(BodyStream::new(body).take_until(sleep_until(deadline))))
}

fn refused(refusal: Refusal) -> Response<Answer> {
    let (status, text) = match refusal {
        Refusal::Host => (StatusCode::FORBIDDEN, "`Host` is not a name of this server"),
        Refusal::Origin => (StatusCode::FORBIDDEN, "web pages of this `Origin` may not call"),
        Refusal::TooManyRequests => (StatusCode::TOO_MANY_REQUESTS, "too many requests"),
        Refusal::BodyTooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "the request is too long"),
        Refusal::BodyTimeout => (StatusCode::REQUEST_TIMEOUT, "the request did not come in time"),
        Refusal::CallTimeout => (StatusCode::GATEWAY_TIMEOUT, "the call took too long"),
        Refusal::BadRequest => (StatusCode::BAD_REQUEST, "the request was cut off"),
        _ => (StatusCode::FORBIDDEN, "the certificate of this client is not accepted any more"),
    };
    let mut response = message(status, text);
    let headers = response.headers_mut();
    if refusal == Refusal::TooManyRequests {
        headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    } else {
        // What is left of the request is not read, and a certificate does not become good again.
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// An error of JSON-RPC about no request, as the protocol has it for refused ones.
fn message(status: StatusCode, text: &'static str) -> Response<Answer> {
    let error = serde_json::json!({ "code": SERVER_ERROR, "message": text });
    let body = serde_json::json!({ "jsonrpc": "2.0", "id": null, "error": error }).to_string();
    let mut response = Response::new(BodyExt::boxed(Full::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// Where the endpoint is.
const PATH: &str = "/mcp";
/// The first of those that JSON-RPC 2.0 (section 5.1) leaves to servers.
const SERVER_ERROR: i32 = -32000;
const VERIFIES_AGAIN_AFTER: Duration = Duration::from_secs(30);
