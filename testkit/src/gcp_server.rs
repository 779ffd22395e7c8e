//! A stand-in for Google Cloud KMS: its REST API (v1) on loopback, over plain
//! HTTP, with the keys in memory.
//!
//! Google offers no emulator. This one encrypts with AES-256-GCM, knows versions,
//! their states, checksums and pages, and refuses in Google's words. What it takes
//! and gives can be checked against Google's own description of the API.
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
//! `encrypter`, `decrypter`, `encrypterDecrypter`, `viewer`, `admin` and `nobody`
//! may do what the role of that name may; with `expired` nobody is known.

mod call;
mod cipher;
mod crc32c;
mod enums;
mod fields;
mod jobs;
mod keys;
mod page;
mod place;
mod reply;
mod rings;
mod roles;
mod route;
mod state;
mod store;
mod time;
mod versions;

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

pub use reply::{Code, Reply};
pub use state::State;

use self::{call::Call, reply::Refusal, store::Store, time::Clock};
use crate::http_server::{Answer, HttpServer, Request};

/// The server. Its clones are the same server.
#[derive(Clone, Default)]
pub struct GcpServer(Arc<Shared>);

#[derive(Default)]
struct Shared {
    store: Mutex<Store>,
    clock: Clock,
}

impl GcpServer {
    /// A server without any keys, which listens nowhere yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
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
            Ok(call) => call,
            Err(refusal) => return refusal.into(),
        };
        match self.answer(&call) {
            Ok(reply) => reply,
            Err(refusal) => refusal.into(),
        }
    }

    /// Moves the clock of the server ahead: versions that are to be destroyed
    /// until then are destroyed, keys are rotated, import jobs expire.
    pub fn advance(&self, by: Duration) {
        self.0.clock.advance(by);
    }

    /// Puts a version into a state, also one that a call cannot bring about.
    ///
    /// # Panics
    ///
    /// When there is no version of that name.
    #[expect(clippy::expect_used, reason = "a test that names another version shall stop")]
    pub fn set_state(&self, version: &str, state: State) {
        self.store().version(version).expect("a version").state = state;
    }

    fn answer(&self, call: &Call) -> Result<Reply, Refusal> {
        let now = self.0.clock.now();
        let mut store = self.store();
        store.settle(now)?;
        let mut body = route::answer(&mut store, call, now)?;
        if call.wants_numbers() {
            enums::to_numbers(&mut body);
        }
        Ok(Reply::ok(body))
    }

    fn store(&self) -> MutexGuard<'_, Store> {
        // A request that panicked has changed nothing, or all that it was to.
        self.0.store.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

