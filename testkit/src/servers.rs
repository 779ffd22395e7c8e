//! Real servers under the tests.
//!
//! `scripts/with-servers` starts them and says in the environment where they
//! are. A test asks [`address`] and returns when there is none: it is then
//! reported as skipped, by name, or fails where servers are required.

use std::{
    env,
    io::{self, Read as _, Write as _},
    mem,
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
};

/// The value of `ENVELOPE_TEST_NAME`, such as the address of a server or the
/// path of a module.
///
/// Without it, writes `skipped: TEST: no NAME` to standard error, past the
/// capture of the test harness, and returns `None`: the test returns then.
///
/// # Panics
///
/// When there is none and `REQUIRE_SERVERS=1`, so that the test fails.
#[must_use]
#[expect(clippy::panic, reason = "the test shall fail")]
pub fn address(name: &str) -> Option<String> {
    let variable = format!("ENVELOPE_TEST_{name}");
    if let Some(address) = env::var(&variable).ok().filter(|address| !address.is_empty()) {
        return Some(address);
    }
    if env::var_os("REQUIRE_SERVERS").is_some_and(|required| required == "1") {
        panic!("REQUIRE_SERVERS=1, and ${variable} is not set: run this under scripts/with-servers");
    }
    let test = thread::current().name().unwrap_or("a test").to_owned();
    let line = format!("skipped: {test}: ${variable} is not set; scripts/with-servers sets it\n");
    // Where standard error is closed, nobody reads it.
    let _ = io::stderr().write_all(line.as_bytes());
    None
}

/// Stands before a server, passes everything on and keeps what was sent to it:
/// for tests that say which calls are made. It ends with the process.
pub struct Recorder {
    address: SocketAddr,
    sent: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Recorder {
    /// Listens on a port of the loopback interface for `server`, an address such
    /// as `127.0.0.1:4566` that speaks TCP.
    ///
    /// # Errors
    ///
    /// [`io::Error`] when no port is free.
    pub fn before(server: impl Into<String>) -> io::Result<Self> {
        let (server, listener) = (server.into(), TcpListener::bind("127.0.0.1:0")?);
        let recorder = Self { address: listener.local_addr()?, sent: Arc::default() };
        let sent = recorder.sent.clone();
        thread::spawn(move || {
            for connection in listener.incoming() {
                // Whoever asked sees the connection closed, and says so.
                let Ok(connection) = connection else { continue };
                let _ = record(&connection, &server, &sent);
            }
        });
        Ok(recorder)
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What was sent since the last call of this, one entry for each connection
    /// so far.
    pub fn take(&self) -> Vec<Vec<u8>> {
        lock(&self.sent).iter_mut().map(mem::take).collect()
    }

    /// As [`take`](Self::take), of requests of HTTP/1.1 the values of the header
    /// field `name`, in the order of the alphabet.
    #[must_use]
    pub fn take_header(&self, name: &str) -> Vec<String> {
        let value = |line: &[u8]| {
            let line = String::from_utf8_lossy(line).into_owned();
            let (field, value) = line.split_once(':')?;
            field.eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
        };
        let of_connection = |bytes: &Vec<u8>| bytes.split(|byte| *byte == b'\n').filter_map(value).collect();
        let mut values: Vec<String> = self.take().iter().flat_map::<Vec<_>, _>(of_connection).collect();
        values.sort();
        values
    }
}

fn record(client: &TcpStream, server: &str, sent: &Arc<Mutex<Vec<Vec<u8>>>>) -> io::Result<()> {
    let server = TcpStream::connect(server)?;
    let (from_client, to_server) = (client.try_clone()?, server.try_clone()?);
    let (from_server, to_client) = (server, client.try_clone()?);
    let number = {
        let mut all = lock(sent);
        all.push(Vec::new());
        all.len() - 1
    };
    let sent = sent.clone();
    thread::spawn(move || pass_on(from_client, to_server, |bytes| lock(&sent)[number].extend(bytes)));
    thread::spawn(move || pass_on(from_server, to_client, |_| {}));
    Ok(())
}

fn pass_on(mut from: TcpStream, mut to: TcpStream, seen: impl Fn(&[u8])) {
    let mut buffer = [0; 16 * 1024];
    while let Ok(len @ 1..) = from.read(&mut buffer) {
        seen(&buffer[..len]);
        if to.write_all(&buffer[..len]).is_err() {
            break;
        }
    }
    // Whoever closed it, the other side shall know.
    let _ = to.shutdown(Shutdown::Both);
}

fn lock(sent: &Mutex<Vec<Vec<u8>>>) -> MutexGuard<'_, Vec<Vec<u8>>> {
    // Each change of it is one step.
    sent.lock().unwrap_or_else(PoisonError::into_inner)
}
