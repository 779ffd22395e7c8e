//! A stand-in for Azure Key Vault and Managed HSM: their REST API of keys on
//! loopback, over HTTPS, with the keys in memory.
//!
//! Microsoft offers no emulator. This one wraps by RSA-OAEP and AES key wrap,
//! encrypts by AES-GCM, knows versions, attributes, soft deletion, rotation
//! policies and pages, and refuses in Azure's words. What it takes and gives is
//! checked against the API as Microsoft's client describes it (`azure/api.json`):
//! what is not as described is answered with the status 500, written to standard
//! error and kept in [`AzureServer::violations`]. So is the use of RSA-OAEP with
//! SHA-1 and of `RSA1_5`, which work.
//!
//! Every host `NAME.vault.localhost` is a Key Vault, every `NAME.managedhsm.localhost`
//! a Managed HSM, and `login.localhost` hands out tokens. Their certificate is of a
//! CA of the server's own: [`AzureServer::ca_pem`].
//!
//! ```
//! use envelope_testkit::azure_server::AzureServer;
//!
//! let azure = AzureServer::new();
//! let served = azure.serve();
//! assert_eq!(served.vault("v"), format!("https://v.vault.localhost:{}", served.port()));
//! assert!(azure.ca_pem().starts_with("-----BEGIN CERTIFICATE-----"));
//! ```
//!
//! Who sends no token is challenged. A bearer token that is called as one of
//! `cryptoUser`, `serviceEncryptionUser`, `cryptoOfficer`, `reader` and `nobody` may
//! do what the role of that name may; `expired` is refused; any other may do
//! everything.

mod api;
mod call;
mod control;
mod der;
mod keys;
mod login;
mod material;
mod operations;
mod page;
mod policy;
mod python;
mod reply;
mod roles;
mod route;
mod rsa_keys;
mod store;
mod tls;

use std::{
    fs,
    io::{self, Write as _},
    net::SocketAddr,
    path::Path,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

pub use python::{PythonClient, Wrapped};
pub use reply::Reply;

use self::{
    api::Api,
    call::{Call, Vault},
    store::Store,
    tls::Tls,
};
use crate::{
    clock::Clock,
    http_server::{Answer, HttpServer, Request},
};

/// The server. Its clones are the same server.
#[derive(Clone)]
pub struct AzureServer(Arc<Shared>);

struct Shared {
    store: Mutex<Store>,
    clock: Clock,
    tls: Tls,
    exchanges: AtomicUsize,
    violations: Mutex<Vec<String>>,
}

impl AzureServer {
    /// A server without any keys, which listens nowhere yet, and its CA.
    ///
    /// # Panics
    ///
    /// When the system has no randomness.
    #[must_use]
    pub fn new() -> Self {
        Self(Arc::new(Shared {
            store: Mutex::default(),
            clock: Clock::default(),
            tls: Tls::new(),
            exchanges: AtomicUsize::new(0),
            violations: Mutex::default(),
        }))
    }

    /// The certificate that clients are to trust.
    #[must_use]
    pub fn ca_pem(&self) -> &str {
        &self.0.tls.ca_pem
    }

    /// Writes [`ca_pem`](Self::ca_pem) to a file.
    ///
    /// # Errors
    ///
    /// [`io::Error`] when it cannot be written.
    pub fn write_ca(&self, file: impl AsRef<Path>) -> io::Result<()> {
        fs::write(file, self.ca_pem())
    }

    /// Listens on a free port of loopback, until the process ends.
    #[must_use]
    pub fn serve(&self) -> AzureService {
        self.serve_with(|_, reply| reply.into())
    }

    /// As [`serve`](Self::serve); `alter` sees each answer before it is sent and
    /// may send another one.
    #[must_use]
    pub fn serve_with(
        &self,
        alter: impl Fn(&Request, Reply) -> Answer + Send + Sync + 'static,
    ) -> AzureService {
        let server = self.clone();
        let answer = move |request: &Request| alter(request, server.reply(request));
        AzureService { http: HttpServer::over(self.0.tls.opener(), answer) }
    }

    /// The answer to a request, which may have come from anywhere.
    #[must_use]
    pub fn reply(&self, request: &Request) -> Reply {
        let call = match Call::read(request) {
            Ok(call) => call,
            Err(wrong) => return self.violated(request, "the request", &[wrong]),
        };
        match &call.vault {
            Some(vault) => {
                self.0.exchanges.fetch_add(1, Ordering::SeqCst);
                self.checked(request, &call, vault)
            }
            None if call.path.first().is_some_and(|first| first == "test") => control::answer(self, &call),
            None => login::answer(&call).unwrap_or_else(|| {
                Reply::error(404, "NotFound", format!("Nothing is served at {}.", call.host))
            }),
        }
    }

    /// What was not as the API is described, and what algorithms were used that
    /// shall not be, so far.
    #[must_use]
    pub fn violations(&self) -> Vec<String> {
        lock(&self.0.violations).clone()
    }

    /// How many calls of vaults there were, those with a challenge as their answer
    /// included.
    #[must_use]
    pub fn exchanges(&self) -> usize {
        self.0.exchanges.load(Ordering::SeqCst)
    }

    /// Moves the clock of the server ahead: what is deleted until then is purged
    /// when its time is over, keys expire and are rotated.
    pub fn advance(&self, by: Duration) {
        self.0.clock.advance(by);
    }

    /// Refuses the next `calls` that come with a token as too many.
    pub fn throttle(&self, calls: usize, retry_after: Duration) {
        lock(&self.0.store).throttled = (calls, retry_after);
    }

    /// Whether the network rules of every vault keep callers out.
    pub fn set_firewall(&self, is_on: bool) {
        lock(&self.0.store).firewall = is_on;
    }

    /// Whether deleted keys cannot be purged before their time is over.
    pub fn set_purge_protection(&self, is_on: bool) {
        lock(&self.0.store).purge_protection = is_on;
    }

    /// How long it takes from now on until a key that is deleted is among the
    /// deleted ones. At once by default.
    pub fn set_deletion_time(&self, takes: Duration) {
        lock(&self.0.store).deletion = takes;
    }

    fn checked(&self, request: &Request, call: &Call, vault: &Vault) -> Reply {
        // The first request of a client has no body: it expects the challenge only.
        if let Err(refusal) = roles::authenticate(call, vault) {
            return refusal;
        }
        let wrong = Api::get().check_request(call);
        if !wrong.is_empty() {
            return self.violated(request, "the request", &wrong);
        }
        if let Some(algorithm) = call.body["alg"].as_str().filter(|name| operations::is_weak(name)) {
            self.note(request, &format!("{algorithm} shall not be used"));
        }
        let reply = self.answer(call, vault);
        let wrong = Api::get().check_reply(call, &reply);
        if wrong.is_empty() { reply } else { self.violated(request, "the answer", &wrong) }
    }

    fn violated(&self, request: &Request, what: &str, wrong: &[String]) -> Reply {
        let line = self.note(request, &format!("{what} is not as described: {}", wrong.join("; ")));
        Reply::error(500, "InternalServerError", line)
    }

    fn answer(&self, call: &Call, vault: &Vault) -> Reply {
        let now = self.0.clock.now();
        let mut store = lock(&self.0.store);
        if store.throttled.0 > 0 {
            store.throttled.0 -= 1;
            return Reply::throttled(store.throttled.1);
        }
        if store.firewall {
            return roles::keep_out(vault);
        }
        store.settle(now);
        route::answer(&mut store, call, vault, now).map_or_else(|refusal| refusal, Reply::ok)
    }

    fn note(&self, request: &Request, wrong: &str) -> String {
        let line = format!("{} {}: {wrong}", request.method, request.path());
        // Where standard error is closed, what the test reads says it.
        let _ = io::stderr().write_all(format!("azure_server: {line}\n").as_bytes());
        lock(&self.0.violations).push(line.clone());
        line
    }
}

impl Default for AzureServer {
    fn default() -> Self {
        Self::new()
    }
}

/// Where an [`AzureServer`] listens.
pub struct AzureService {
    http: HttpServer,
}

impl AzureService {
    /// Its address, which is what every host name of it stands for.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.http.address()
    }

    /// The port of its address.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.http.address().port()
    }

    /// The address of the Key Vault `name`.
    #[must_use]
    pub fn vault(&self, name: &str) -> String {
        format!("https://{name}.vault.localhost:{}", self.port())
    }

    /// The address of the Managed HSM `name`.
    #[must_use]
    pub fn managed_hsm(&self, name: &str) -> String {
        format!("https://{name}.managedhsm.localhost:{}", self.port())
    }

    /// The address of who hands out tokens.
    #[must_use]
    pub fn login(&self) -> String {
        format!("https://login.localhost:{}", self.port())
    }

    /// What was asked and sent.
    #[must_use]
    pub fn http(&self) -> &HttpServer {
        &self.http
    }
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    // A request that panicked has changed nothing, or all that it was to.
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}
