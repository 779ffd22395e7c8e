//! [`Server`]: from a listening socket to connections.

use std::{
    fmt, io,
    net::SocketAddr,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use metrics::gauge;
use rmcp::{
    ServerHandler,
    transport::streamable_http_server::{
        StreamableHttpServerConfig, StreamableHttpService, session::never::NeverSessionManager,
    },
};
use tokio::{
    net::{TcpListener, TcpStream},
    time::{sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{Failure, Recorder};

use super::{
    Admission, CredentialsError, ListenOptions, OptionsError,
    credentials::Credentials,
    metrics::{EXPIRES, describe_metrics},
    rate::Requests,
    reports::{Reports, START, STOP},
    slots::Slots,
    watch::Stamp,
};

/// The server over a network. Clones are the same one.
pub struct Server<S> {
    pub(crate) shared: Arc<Shared>,
    pub(crate) service: StreamableHttpService<S, NeverSessionManager>,
}

/// Why the server does not begin.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ListenError {
    /// A setting is not right.
    #[error(transparent)]
    Options(#[from] OptionsError),
    /// A file is not right.
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
    /// It cannot listen there.
    #[error("cannot listen at {address}: {source}")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// Why not.
        source: io::Error,
    },
    /// Its beginning or its end cannot be recorded.
    #[error("the server is not recorded: {0}")]
    NotRecorded(#[from] Failure),
}

/// What all connections have in common.
pub(crate) struct Shared {
    pub(crate) options: ListenOptions,
    pub(crate) reports: Reports,
    pub(crate) requests: Requests,
    pub(crate) admission: Arc<dyn Admission>,
    loaded: RwLock<Arc<Loaded>>,
    /// Of the files at the last attempt to read them. Its lock is held while they are read.
    seen: tokio::sync::Mutex<Seen>,
    pub(crate) slots: Arc<Slots>,
    connections: TaskTracker,
    /// Calls that are under way end first.
    pub(crate) stopping: CancellationToken,
    /// Nothing does.
    pub(crate) aborting: CancellationToken,
}

/// The files as they were when they were last read.
#[derive(Clone, PartialEq, Eq)]
struct Seen {
    stamp: Stamp,
    wrong: Option<String>,
}

/// The files that are in use.
pub(crate) struct Loaded {
    pub(crate) generation: u64,
    pub(crate) credentials: Credentials,
}

impl<S: ServerHandler> Server<S> {
    /// A server whose requests are each answered by a handler that `handler` makes. Reads the files.
    ///
    /// A call that is cut off, by the client or by a limit, is told so by the token in its `RequestContext`: a handler that does not
    /// look at it works on for nobody.
    ///
    /// # Errors
    ///
    /// [`ListenError`]: the setting or the file that is not right.
    pub fn new(
        options: ListenOptions,
        admission: Arc<dyn Admission>,
        recorder: Arc<dyn Recorder>,
        handler: impl Fn() -> S + Send + Sync + 'static,
    ) -> Result<Self, ListenError> {
        options.check()?;
        describe_metrics();
        // Before the files are read: what changes meanwhile is read again.
        let stamp = Stamp::of(&options.files);
        let credentials = Credentials::read(&options.files)?;
        if options.hosts.is_empty() && credentials.hosts.is_empty() {
            let what =
                "the certificate has no DNS name and no address without a star, so that they must be said";
            return Err(OptionsError { setting: "hosts", what: what.into() }.into());
        }
        show_ends(&credentials);
        let aborting = CancellationToken::new();
        let shared = Shared {
            reports: Reports::new(recorder),
            requests: Requests::new(options.limits.requests_per_second, options.limits.burst),
            admission,
            loaded: RwLock::new(Arc::new(Loaded { generation: 0, credentials })),
            seen: Seen { stamp, wrong: None }.into(),
            slots: Slots::new(options.limits.clone()),
            connections: TaskTracker::new(),
            stopping: CancellationToken::new(),
            aborting: aborting.clone(),
            options,
        };
        // `Host` and `Origin` are checked here, where it is recorded.
        let config = StreamableHttpServerConfig::default()
            .with_legacy_session_mode(false)
            .with_json_response(true)
            .disable_allowed_hosts()
            .disable_allowed_origins()
            .with_max_request_body_bytes(shared.options.limits.body)
            .with_cancellation_token(aborting);
        let service = StreamableHttpService::new(move || Ok(handler()), Arc::default(), config);
        Ok(Self { shared: Arc::new(shared), service })
    }

    /// Opens the listening socket.
    ///
    /// # Errors
    ///
    /// [`ListenError::Bind`].
    pub async fn bind(&self) -> Result<TcpListener, ListenError> {
        let address = self.shared.options.address;
        TcpListener::bind(address).await.map_err(|source| ListenError::Bind { address, source })
    }

    /// Serves until `stop` is cancelled; then no connection is accepted any more, and calls that are under way have
    /// [`drain_time`](super::Limits::drain_time) to end. Files that change are read again within two seconds.
    ///
    /// # Errors
    ///
    /// [`ListenError::NotRecorded`], before the first connection.
    pub async fn run(&self, listener: TcpListener, stop: CancellationToken) -> Result<(), ListenError> {
        let Shared { options, reports, connections, stopping, aborting, .. } = &*self.shared;
        let address = listener.local_addr().unwrap_or(options.address);
        reports.server(START, address).await?;
        let watching = tokio::spawn({
            let server = self.clone();
            async move {
                loop {
                    sleep(LOOKS_AGAIN_AFTER).await;
                    server.reload().await;
                }
            }
        });
        loop {
            tokio::select! {
                accepted = listener.accept() => match accepted {
                    Ok((stream, address)) => self.accept(stream, address),
                    Err(error) => {
                        tracing::error!(%error, "no connection can be accepted");
                        // Too many descriptors, most likely: the error would come again at once.
                        sleep(PAUSE).await;
                    }
                },
                () = stop.cancelled() => break,
            }
        }
        drop(listener);
        watching.abort();
        stopping.cancel();
        connections.close();
        if timeout(options.limits.drain_time, connections.wait()).await.is_err() {
            aborting.cancel();
            connections.wait().await;
        }
        Ok(reports.server(STOP, address).await?)
    }

    /// Reads the files again if they have changed since the last time. Where one is not right, those in use stay, and that is
    /// recorded. Connections stay; each client is verified again at its next request, and no TLS session is resumed.
    ///
    /// Returns whether files are in use that were not.
    pub async fn reload(&self) -> bool {
        let mut seen = self.shared.seen.lock().await;
        let (files, known) = (self.shared.options.files.clone(), seen.clone());
        let read = tokio::task::spawn_blocking(move || {
            let stamp = Stamp::of(&files);
            // What is wrong may be a folder, which does not show in the stamp of its files.
            let is_due = stamp != known.stamp || known.wrong.is_some();
            is_due.then(|| (Credentials::read(&files).map_err(|error| error.to_string()), stamp))
        });
        let Ok(Some((credentials, stamp))) = read.await else { return false };
        let has_host = |credentials: &Credentials| {
            !self.shared.options.hosts.is_empty() || !credentials.hosts.is_empty()
        };
        let credentials = credentials.and_then(|credentials| match has_host(&credentials) {
            true => Ok(credentials),
            false => {
                Err("the new certificate has no DNS name and no address, and `hosts` is not said".into())
            }
        });
        let changed = credentials.map(|credentials| {
            show_ends(&credentials);
            let mut loaded = self.shared.loaded.write().unwrap_or_else(PoisonError::into_inner);
            *loaded = Arc::new(Loaded { generation: loaded.generation + 1, credentials });
        });
        let now = Seen { stamp, wrong: changed.as_ref().err().cloned() };
        if *seen != now || changed.is_ok() {
            self.shared.reports.reloaded(changed.as_ref().copied().map_err(String::as_str)).await;
        }
        *seen = now;
        changed.is_ok()
    }

    fn accept(&self, stream: TcpStream, address: SocketAddr) {
        // Answers are small, and waited for.
        let _ = stream.set_nodelay(true);
        let server = self.clone();
        self.shared.connections.spawn(async move { server.serve(stream, address).await });
    }
}

impl<S> Clone for Server<S> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared), service: self.service.clone() }
    }
}

impl<S> fmt::Debug for Server<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("options", &self.shared.options).finish_non_exhaustive()
    }
}

impl Shared {
    /// The files that are in use.
    pub(crate) fn loaded(&self) -> Arc<Loaded> {
        Arc::clone(&self.loaded.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Loaded {
    /// The `Host`s that requests may have.
    pub(crate) fn hosts<'a>(&'a self, options: &'a ListenOptions) -> &'a [String] {
        if options.hosts.is_empty() { &self.credentials.hosts } else { &options.hosts }
    }
}

fn show_ends(credentials: &Credentials) {
    #[expect(clippy::cast_precision_loss, reason = "seconds since 1970 have 33 bits")]
    let show = |what: &'static str, end: i64| gauge!(EXPIRES, "what" => what).set(end as f64);
    show("certificate", credentials.certificate_ends);
    if let Some(end) = credentials.crl_ends {
        show("crl", end);
    }
}

const LOOKS_AGAIN_AFTER: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(100);
