//! A stand-in for Google Cloud KMS: its REST API (v1) on loopback, over plain
//! HTTP, with the keys in memory.
//!
//! Google offers no emulator. This one encrypts with AES-256-GCM, knows versions,
//! their states, checksums and pages, and refuses in Google's words. What it takes
//! and gives is checked against Google's own description of the API, the discovery
//! document, where `ENVELOPE_TEST_GCP_DISCOVERY` says that it is: what is not as
//! described is answered with the status 500, written to standard error and kept
//! in [`GcpServer::violations`].
//!
//! ```
//! # use std::{io::{Read, Write}, net::TcpStream};
//! use envelope_testkit::gcp_server::GcpServer;
//!
//! let server = GcpServer::new().serve();
//! let mut peer = TcpStream::connect(server.address()).unwrap();
//! peer.write_all(
//!     b"POST /v1/projects/p/locations/global/keyRings?keyRingId=r HTTP/1.1\r\nconnection: close\r\n\r\n",
//! )
//! .unwrap();
//! let mut answer = String::new();
//! peer.read_to_string(&mut answer).unwrap();
//! assert!(answer.contains(r#""name":"projects/p/locations/global/keyRings/r""#), "{answer}");
//! ```
//!
//! Who sends no token may do everything; a bearer token that is called as one of
//! `encrypter`, `decrypter`, `encrypterDecrypter`, `cryptoOperator`, `viewer`,
//! `admin` and `nobody` may do what the role of that name may; with `expired`
//! nobody is known.

mod call;
mod cipher;
mod control;
mod crc32c;
mod discovery;
mod enums;
mod fields;
mod jobs;
mod keys;
mod page;
mod place;
mod python;
mod reply;
mod rings;
mod roles;
mod route;
mod state;
mod store;
mod time;
mod versions;

use std::{
    io::{self, Write as _},
    path::Path,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

pub use python::PythonClient;
pub use reply::{Code, Reply};
pub use state::State;

use self::{
    call::Call,
    discovery::{Discovery, EnumForm},
    reply::Refusal,
    store::Store,
};
use crate::{
    clock::Clock,
    http_server::{Answer, HttpServer, Request},
};

/// The server. Its clones are the same server.
#[derive(Clone)]
pub struct GcpServer(Arc<Shared>);

struct Shared {
    store: Mutex<Store>,
    clock: Clock,
    discovery: Option<Source>,
    exchanges: AtomicUsize,
    violations: Mutex<Vec<String>>,
}

/// The document that is checked by.
enum Source {
    Environment(&'static Discovery),
    File(Box<Discovery>),
}

impl GcpServer {
    /// A server without any keys, which listens nowhere yet. It checks what passes
    /// when `ENVELOPE_TEST_GCP_DISCOVERY` is set.
    ///
    /// # Panics
    ///
    /// When the document cannot be read, or is required and not named.
    #[must_use]
    pub fn new() -> Self {
        Self::checked_by(Discovery::of_environment().map(Source::Environment))
    }

    /// As [`new`](Self::new), with the discovery document in `file`.
    ///
    /// # Errors
    ///
    /// [`io::Error`] when it cannot be read or is no such document.
    pub fn with_discovery(file: impl AsRef<Path>) -> io::Result<Self> {
        let document = Box::new(Discovery::read(file.as_ref())?);
        Ok(Self::checked_by(Some(Source::File(document))))
    }

    fn checked_by(discovery: Option<Source>) -> Self {
        Self(Arc::new(Shared {
            store: Mutex::default(),
            clock: Clock::default(),
            discovery,
            exchanges: AtomicUsize::new(0),
            violations: Mutex::default(),
        }))
    }

    /// Listens on a free port of loopback, until the process ends.
    #[must_use]
    pub fn serve(&self) -> HttpServer {
        self.serve_with(|_, reply| reply.into())
    }

    /// As [`serve`](Self::serve); `alter` sees each answer before it is sent and
    /// may send another one.
    #[must_use]
    pub fn serve_with(
        &self,
        alter: impl Fn(&Request, Reply) -> Answer + Send + Sync + 'static,
    ) -> HttpServer {
        let server = self.clone();
        HttpServer::answering(move |request| alter(request, server.reply(request)))
    }

    /// The answer to a request, which may have come from anywhere.
    #[must_use]
    pub fn reply(&self, request: &Request) -> Reply {
        let call = match Call::read(request) {
            Ok(call) if call.is_control => return control::answer(self, &call),
            Ok(call) => call,
            Err(refusal) if self.is_checked() => {
                return self.violated(request, "the request", &[refusal.message().to_owned()]);
            }
            Err(refusal) => return refusal.into(),
        };
        self.0.exchanges.fetch_add(1, Ordering::SeqCst);
        let Some(discovery) = self.0.discovery.as_ref().map(Source::document) else {
            return in_form(self.answer(&call), &call);
        };
        let wrong = discovery.check_request(&call);
        if !wrong.is_empty() {
            return self.violated(request, "the request", &wrong);
        }
        let reply = self.answer(&call);
        let mut wrong = discovery.check_reply(&call, &reply, EnumForm::Names);
        let reply = in_form(reply, &call);
        if call.wants_numbers() {
            wrong.extend(discovery.check_reply(&call, &reply, EnumForm::Numbers));
        }
        if wrong.is_empty() { reply } else { self.violated(request, "the answer", &wrong) }
    }

    /// What was not as the discovery document says, so far.
    #[must_use]
    pub fn violations(&self) -> Vec<String> {
        lock(&self.0.violations).clone()
    }

    /// Whether there is a discovery document to check by.
    #[must_use]
    pub fn is_checked(&self) -> bool {
        self.0.discovery.is_some()
    }

    /// How many calls of the API there were.
    #[must_use]
    pub fn exchanges(&self) -> usize {
        self.0.exchanges.load(Ordering::SeqCst)
    }

    /// Moves the clock of the server ahead: versions that are to be destroyed
    /// until then are destroyed, keys are rotated, import jobs expire.
    pub fn advance(&self, by: Duration) {
        self.0.clock.advance(by);
    }

    /// From now on a change of the primary version, or out of the state
    /// `ENABLED`, takes effect in `encrypt` and `decrypt` so much later: one minute,
    /// in rare cases hours, says
    /// <https://cloud.google.com/kms/docs/consistency>. At once by default.
    pub fn set_propagation(&self, takes: Duration) {
        lock(&self.0.store).propagation = takes;
    }

    /// Puts a version into a state, also one that a call cannot bring about.
    ///
    /// # Panics
    ///
    /// When there is no version of that name.
    pub fn set_state(&self, version: &str, state: State) {
        assert!(self.try_set_state(version, state), "there is no version {version}");
    }

    fn try_set_state(&self, version: &str, state: State) -> bool {
        lock(&self.0.store)
            .version(version)
            .map(|version| (version.state, version.used_until) = (state, None))
            .is_ok()
    }

    fn answer(&self, call: &Call) -> Reply {
        let now = self.0.clock.now();
        let mut store = lock(&self.0.store);
        let answer = store.settle(now).and_then(|()| route::answer(&mut store, call, now));
        answer.map_or_else(Refusal::into, Reply::ok)
    }

    fn violated(&self, request: &Request, what: &str, wrong: &[String]) -> Reply {
        let wrong = wrong.join("; ");
        let line = format!("{} {}: {what} is not as described: {wrong}", request.method, request.path());
        // Where standard error is closed, the status says it.
        let _ = io::stderr().write_all(format!("gcp_server: {line}\n").as_bytes());
        lock(&self.0.violations).push(line.clone());
        Reply::error(Code::Internal, line)
    }
}

impl Default for GcpServer {
    fn default() -> Self {
        Self::new()
    }
}

impl Source {
    fn document(&self) -> &Discovery {
        match self {
            Self::Environment(document) => document,
            Self::File(document) => document,
        }
    }
}

/// With the enumerations as `call` asks for them.
fn in_form(mut reply: Reply, call: &Call) -> Reply {
    if call.wants_numbers() && reply.status == 200 {
        enums::to_numbers(&mut reply.body);
    }
    reply
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    // A request that panicked has changed nothing, or all that it was to.
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}
