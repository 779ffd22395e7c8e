//! One connection: from its first byte to its last.

use std::{
    error::Error,
    io,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use metrics::{counter, gauge, histogram};
use rmcp::ServerHandler;
use rustls::{HandshakeKind, pki_types::CertificateDer};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt},
    time::{Instant, sleep, timeout},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use super::{
    Client, Refusal, Server,
    http::{Exchange, Verified},
    metrics::{HANDSHAKE, OPEN, RESUMED},
    reports::{At, Peer, Refused},
    server::Loaded,
    slots::{Connection, Handshake},
    stall::Stalling,
};

impl<S: ServerHandler> Server<S> {
    /// Serves one connection to its end, whatever it runs over.
    pub async fn serve<I>(&self, stream: I, address: SocketAddr)
    where
        I: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        tokio::select! {
            () = self.shared.aborting.cancelled() => {}
            () = self.connection(stream, address) => {}
        }
    }

    async fn connection<I>(&self, stream: I, address: SocketAddr)
    where
        I: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let shared = &self.shared;
        let refuse = |refusal: Refusal| async move {
            shared.reports.refused(Peer { address, client: None }, At::Connection, refusal).await;
        };
        if !shared.options.is_of_network(address.ip()) {
            return refuse(Refusal::Network).await;
        }
        let handshake = shared.slots.begin(address.ip());
        let loaded = shared.loaded();
        let begun = Instant::now();
        let acceptor = TlsAcceptor::from(Arc::clone(&loaded.credentials.tls));
        let stream = Stalling::new(stream, shared.options.limits.stall_time);
        let accepted = tokio::select! {
            () = handshake.displaced() => Err(Refusal::Crowded),
            () = shared.stopping.cancelled() => return,
            accepted = timeout(shared.options.limits.handshake_time, acceptor.accept(stream)) => match accepted {
                Ok(accepted) => accepted.map_err(|error| Refusal::of_handshake(&error)),
                Err(_) => Err(Refusal::HandshakeTimeout),
            },
        };
        let mut stream = match accepted {
            Ok(stream) => stream,
            Err(refusal) => return refuse(refusal).await,
        };
        let chain: Vec<CertificateDer<'static>> = stream
            .get_ref()
            .1
            .peer_certificates()
            .unwrap_or_default()
            .iter()
            .map(|one| one.clone().into_owned())
            .collect();
        let resumed = stream.get_ref().1.handshake_kind() == Some(HandshakeKind::Resumed);
        match self.identify(&chain, resumed, &loaded, address) {
            Err(refused) => {
                shared.reports.refused(Peer { address, client: None }, At::Connection, refused).await;
            }
            Ok(client) => {
                histogram!(HANDSHAKE).record(begun.elapsed().as_secs_f64());
                if resumed {
                    counter!(RESUMED).increment(1);
                }
                match self.admit(&client, resumed, handshake).await {
                    Ok(connection) => {
                        return self.requests(stream, client, chain, loaded.generation, connection).await;
                    }
                    Err(refused) => {
                        let peer = Peer { address, client: Some(&client) };
                        shared.reports.refused(peer, At::Connection, refused).await;
                    }
                }
            }
        }
        // Says to the client that this is the end, and not the network.
        let _ = timeout(FAREWELL, stream.shutdown()).await;
    }

    /// Who it is.
    fn identify(
        &self,
        chain: &[CertificateDer<'_>],
        resumed: bool,
        loaded: &Loaded,
        address: SocketAddr,
    ) -> Result<Client, Refused> {
        if resumed {
            // rustls verifies a certificate in the first handshake of a session only.
            loaded.credentials.verify(chain)?;
        }
        let first = chain.first().ok_or(Refusal::NoCertificate)?;
        Client::of_certificate(first, address)
            .map_err(|error| Refused::from(Refusal::NoName).since(error.to_string()))
    }

    /// Whether it may connect now.
    async fn admit(
        &self,
        client: &Client,
        resumed: bool,
        handshake: Handshake,
    ) -> Result<Connection, Refused> {
        let shared = &self.shared;
        shared.admission.admit(client).map_err(|why| {
            let denial = why.denial.as_deref().cloned().unwrap_or_default();
            Refused { denial: Some(denial), ..Refused::from(Refusal::NotAdmitted).since(why.message) }
        })?;
        if !shared.requests.take(client.name()) {
            return Err(Refusal::TooManyRequests.into());
        }
        let connection = handshake.connect(client.name())?;
        let recorded = shared.reports.connected(client, resumed).await;
        recorded.map_err(|error| Refused::from(Refusal::NotRecorded).since(error.message))?;
        Ok(connection)
    }

    /// Answers the requests of a connection.
    async fn requests<I>(
        &self,
        stream: TlsStream<I>,
        client: Client,
        chain: Vec<CertificateDer<'static>>,
        generation: u64,
        _connection: Connection,
    ) where
        I: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        gauge!(OPEN).increment(1.0);
        let _open = OnDrop(|| gauge!(OPEN).decrement(1.0));
        let limits = &self.shared.options.limits;
        let exchange = Arc::new(Exchange {
            shared: Arc::clone(&self.shared),
            service: self.service.clone(),
            client,
            chain,
            verified: Mutex::new(Verified { generation, at: Instant::now() }),
            used: AtomicBool::new(false),
        });
        let service = service_fn(|request| {
            let exchange = Arc::clone(&exchange);
            async move { Ok::<_, std::convert::Infallible>(exchange.answer(request).await) }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(limits.idle_time)
            .max_header_size(limits.header)
            .max_buf_size(limits.header)
            .half_close(false)
            .serve_connection(TokioIo::new(stream), service);
        tokio::pin!(connection);
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = async {
                tokio::select! {
                    () = self.shared.stopping.cancelled() => {}
                    () = sleep(limits.connection_time) => {}
                }
            } => {
                connection.as_mut().graceful_shutdown();
                // A client that takes its answer byte by byte does not hold it for ever.
                match timeout(limits.call_time, connection).await {
                    Ok(ended) => ended,
                    Err(_) => return,
                }
            }
        };
        let Err(error) = ended else { return };
        let refusal = match () {
            () if error.is_timeout() => Refusal::HeaderTimeout,
            () if error.is_parse() => Refusal::BadRequest,
            () if is_stalled(&error) => Refusal::Stalled,
            // The client went away.
            () => return,
        };
        // A connection that was of use ends by waiting for the next request.
        let was_used = exchange.used.load(Ordering::Relaxed);
        if refusal != Refusal::HeaderTimeout || !was_used {
            let peer = Peer { address: exchange.client.address(), client: Some(&exchange.client) };
            self.shared.reports.refused(peer, At::Request, refusal).await;
        }
    }
}

fn is_stalled(error: &hyper::Error) -> bool {
    let mut source = Error::source(error);
    while let Some(error) = source {
        if error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::TimedOut) {
            return true;
        }
        source = error.source();
    }
    false
}

struct OnDrop<F: FnMut()>(F);

impl<F: FnMut()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

/// In which the end of a connection is said.
const FAREWELL: Duration = Duration::from_millis(100);
