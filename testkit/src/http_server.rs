//! A server of HTTP/1.1 whose answers a test writes down: for what a real server
//! does not do on demand, above all for faults.
//!
//! It listens on loopback, speaks no TLS by itself, keeps every request, and waits
//! for nothing but its peers.
//!
//! ```
//! # use std::{io::{Read, Write}, net::TcpStream};
//! use envelope_testkit::http_server::{Answer, HttpServer};
//!
//! let server = HttpServer::answering(|request| match request.path() {
//!     "/keys" => Answer::json(200, "[]"),
//!     _ => Answer::new(404),
//! });
//! let mut peer = TcpStream::connect(server.address()).unwrap();
//! peer.write_all(b"GET /keys?page=2 HTTP/1.1\r\nconnection: close\r\n\r\n").unwrap();
//! let mut answer = String::new();
//! peer.read_to_string(&mut answer).unwrap();
//! assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("[]"));
//! assert_eq!(server.requests()[0].target, "/keys?page=2");
//! ```

mod answer;
mod forward;
mod request;

use std::{
    collections::VecDeque,
    io::{self, BufReader, Read, Write},
    mem,
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

pub use answer::Answer;
pub use forward::forward;
pub use request::{Request, pairs};

/// The server. It ends with the process.
pub struct HttpServer {
    address: SocketAddr,
    seen: Arc<Seen>,
}

impl HttpServer {
    /// Gives each request the answer that `answer` chooses. Each connection has a
    /// thread of its own, so `answer` may be called twice at a time.
    ///
    /// # Panics
    ///
    /// When no port of loopback is free.
    #[must_use]
    pub fn answering(answer: impl Fn(&Request) -> Answer + Send + Sync + 'static) -> Self {
        Self::over(|connection| Ok(Box::new(connection)), answer)
    }

    /// As [`answering`](Self::answering), over what `open` makes of a connection,
    /// such as TLS.
    #[expect(clippy::expect_used, reason = "a test without a port shall stop")]
    pub(crate) fn over(
        open: impl Fn(TcpStream) -> io::Result<Box<dyn Stream>> + Send + Sync + 'static,
        answer: impl Fn(&Request) -> Answer + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let server =
            Self { address: listener.local_addr().expect("a port that was bound"), seen: Arc::default() };
        let (seen, open, answer) = (Arc::clone(&server.seen), Arc::new(open), Arc::new(answer));
        thread::spawn(move || {
            for connection in listener.incoming() {
                // Whoever asked sees the connection closed, and says so.
                let Ok(connection) = connection else { continue };
                let (seen, open, answer) = (Arc::clone(&seen), Arc::clone(&open), Arc::clone(&answer));
                // What fails here is that the peer went away, which is up to the peer.
                thread::spawn(move || {
                    drop(open(connection).and_then(|stream| serve(stream, &*answer, &seen)));
                });
            }
        });
        server
    }

    /// Gives the requests these answers, in their order over all connections; the
    /// last one to all further requests too. Without any it hangs up.
    ///
    /// # Panics
    ///
    /// As [`answering`](Self::answering).
    #[must_use]
    pub fn in_turn(answers: impl IntoIterator<Item = Answer>) -> Self {
        let left: Mutex<VecDeque<Answer>> = Mutex::new(answers.into_iter().collect());
        Self::answering(move |_| {
            let mut left = lock(&left);
            let next = if left.len() > 1 { left.pop_front() } else { left.front().cloned() };
            next.unwrap_or_else(Answer::hang_up)
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `http://ADDRESS:PORT`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The requests so far, in the order in which their last byte came.
    #[must_use]
    pub fn requests(&self) -> Vec<Request> {
        lock(&self.seen.requests).clone()
    }

    /// As [`requests`](Self::requests), and forgets them.
    #[must_use]
    pub fn take(&self) -> Vec<Request> {
        mem::take(&mut lock(&self.seen.requests))
    }

    /// How many requests came, whether they were taken or not.
    #[must_use]
    pub fn count(&self) -> usize {
        self.seen.count.load(Ordering::SeqCst)
    }

    /// How many bytes of answers the peers, or the buffers on the way to them, took.
    #[must_use]
    pub fn sent(&self) -> usize {
        self.seen.sent.load(Ordering::SeqCst)
    }
}

/// An address of loopback where nobody listens.
///
/// # Panics
///
/// When no port of loopback is free.
#[must_use]
#[expect(clippy::expect_used, reason = "a test without a port shall stop")]
pub fn closed_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port")
}

#[derive(Default)]
struct Seen {
    requests: Mutex<Vec<Request>>,
    count: AtomicUsize,
    sent: AtomicUsize,
}

/// What requests come and answers go by.
pub(crate) trait Stream: Read + Write {
    /// Says that there will be no more, both ways.
    fn close(&mut self) -> io::Result<()>;
}

impl Stream for TcpStream {
    fn close(&mut self) -> io::Result<()> {
        self.shutdown(Shutdown::Both)
    }
}

/// Answers the requests of one connection.
fn serve(stream: Box<dyn Stream>, answer: &dyn Fn(&Request) -> Answer, seen: &Seen) -> io::Result<()> {
    let mut stream = BufReader::new(stream);
    while let Some(mut request) = request::read(&mut stream)? {
        {
            let mut requests = lock(&seen.requests);
            request.number = seen.count.fetch_add(1, Ordering::SeqCst);
            requests.push(request.clone());
        }
        let closes = request.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
        if !answer(&request).send(stream.get_mut(), &seen.sent)? || closes {
            break;
        }
    }
    stream.get_mut().close()
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    // Each change of it is one step.
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
