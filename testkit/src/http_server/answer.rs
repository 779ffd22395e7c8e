//! What is answered, right or wrong.

use std::{
    io,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::Duration,
};

use super::Stream;

/// What is sent back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    head: Option<Head>,
    body: Vec<u8>,
    end: End,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Head {
    status: u16,
    headers: Vec<(String, String)>,
    length: Length,
}

/// How the end of a body is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Length {
    Right,
    Said(usize),
    Chunked,
    UntilClosed,
}

/// What follows the head and the body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Whole,
    Twice,
    Cut(usize),
    Silence(usize),
    Endless,
    Drips(Duration),
}

impl Answer {
    /// An answer with this status and an empty body.
    #[must_use]
    pub fn new(status: u16) -> Self {
        let head = Head { status, headers: Vec::new(), length: Length::Right };
        Self { head: Some(head), body: Vec::new(), end: End::Whole }
    }

    /// An answer whose body is of the type `application/json`.
    #[must_use]
    pub fn json(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self::new(status).header("content-type", "application/json").body(body)
    }

    /// These bytes and nothing else; then the connection is closed.
    #[must_use]
    pub fn raw(bytes: impl Into<Vec<u8>>) -> Self {
        Self { head: None, body: bytes.into(), end: End::Whole }
    }

    /// Not a byte: the connection is closed.
    #[must_use]
    pub fn hang_up() -> Self {
        Self::raw([])
    }

    /// Nothing: the connection stays open until the peer goes.
    #[must_use]
    pub fn never() -> Self {
        Self::raw([]).silent_after(0)
    }

    /// Adds a header field. Nothing is checked or escaped: it may be of any
    /// length, and wrong.
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        if let Some(head) = &mut self.head {
            head.headers.push((name.into(), value.into()));
        }
        self
    }

    /// Sets the body.
    #[must_use]
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// Says that the body has `bytes` bytes, whatever it has; then the connection
    /// is closed.
    #[must_use]
    pub fn content_length(self, bytes: usize) -> Self {
        self.length(Length::Said(bytes))
    }

    /// Sends the body in chunks of at most 16 bytes.
    #[must_use]
    pub fn chunked(self) -> Self {
        self.length(Length::Chunked)
    }

    /// Does not say how long the body is, and closes the connection behind it.
    #[must_use]
    pub fn until_closed(self) -> Self {
        self.length(Length::UntilClosed)
    }

    /// Sends it two times; the connection stays open if it would.
    #[must_use]
    pub fn twice(mut self) -> Self {
        self.end = End::Twice;
        self
    }

    /// Leaves out the last `bytes` bytes of head and body; then the connection is closed.
    #[must_use]
    pub fn cut_before_end(self, bytes: usize) -> Self {
        let whole = self.bytes().len();
        self.cut_after(whole.saturating_sub(bytes))
    }

    /// Changes the body, whose bytes that are no UTF-8 are replaced.
    #[must_use]
    pub fn map_body(mut self, change: impl FnOnce(&str) -> String) -> Self {
        self.body = change(&String::from_utf8_lossy(&self.body)).into_bytes();
        self
    }

    /// Sends the first `bytes` bytes of head and body; then the connection is
    /// closed.
    #[must_use]
    pub fn cut_after(mut self, bytes: usize) -> Self {
        self.end = End::Cut(bytes);
        self
    }

    /// Sends the first `bytes` bytes of head and body, and then nothing until the
    /// peer goes.
    #[must_use]
    pub fn silent_after(mut self, bytes: usize) -> Self {
        self.end = End::Silence(bytes);
        self
    }

    /// Sends blanks behind the body, without an end, as fast as the peer takes
    /// them. The length is not said, unless it was set or the body is chunked.
    #[must_use]
    pub fn endless(mut self) -> Self {
        self.end = End::Endless;
        self
    }

    /// Sends a blank behind the body each time `pause` is over, without an end.
    /// The length is as for [`endless`](Self::endless).
    #[must_use]
    pub fn dripping(mut self, pause: Duration) -> Self {
        self.end = End::Drips(pause);
        self
    }

    fn length(mut self, length: Length) -> Self {
        if let Some(head) = &mut self.head {
            head.length = length;
        }
        self
    }

    fn is_chunked(&self) -> bool {
        self.head.as_ref().is_some_and(|head| head.length == Length::Chunked)
    }

    /// Head and body.
    fn bytes(&self) -> Vec<u8> {
        let Some(head) = &self.head else { return self.body.clone() };
        let mut text = format!("HTTP/1.1 {} said\r\n", head.status);
        for (name, value) in &head.headers {
            text += &format!("{name}: {value}\r\n");
        }
        text += &match head.length {
            Length::Right if matches!(self.end, End::Endless | End::Drips(_)) => String::new(),
            Length::Right => format!("content-length: {}\r\n", self.body.len()),
            Length::Said(bytes) => format!("content-length: {bytes}\r\n"),
            Length::Chunked => "transfer-encoding: chunked\r\n".to_owned(),
            Length::UntilClosed => "connection: close\r\n".to_owned(),
        };
        let mut bytes = text.into_bytes();
        bytes.extend(b"\r\n");
        if self.is_chunked() {
            bytes.extend(self.body.chunks(CHUNK_LEN).flat_map(chunk));
            if !matches!(self.end, End::Endless | End::Drips(_)) {
                bytes.extend(chunk(b""));
            }
        } else {
            bytes.extend(&self.body);
        }
        bytes
    }

    /// Sends it. Returns whether the connection may go on.
    pub(super) fn send(&self, to: &mut Box<dyn Stream>, sent: &AtomicUsize) -> io::Result<bool> {
        let mut write = |bytes: &[u8]| {
            to.write_all(bytes)?;
            to.flush()?;
            sent.fetch_add(bytes.len(), Ordering::SeqCst);
            io::Result::Ok(())
        };
        let bytes = self.bytes();
        let piece = |len| if self.is_chunked() { chunk(&vec![b' '; len]) } else { vec![b' '; len] };
        match self.end {
            End::Whole | End::Twice => {
                let times = if self.end == End::Twice { 2 } else { 1 };
                write(&bytes.repeat(times))?;
                let length = self.head.as_ref().map(|head| head.length);
                Ok(matches!(length, Some(Length::Right | Length::Chunked)))
            }
            End::Cut(len) => write(&bytes[..len.min(bytes.len())]).map(|()| false),
            End::Silence(len) => {
                write(&bytes[..len.min(bytes.len())])?;
                // Ends when the peer goes.
                io::copy(to, &mut io::sink()).map(|_| false)
            }
            End::Endless => {
                write(&bytes)?;
                let piece = piece(ENDLESS_PIECE_LEN);
                loop {
                    write(&piece)?;
                }
            }
            End::Drips(pause) => {
                write(&bytes)?;
                loop {
                    write(&piece(1))?;
                    // The drip itself: nothing waits for it.
                    thread::sleep(pause);
                }
            }
        }
    }
}

fn chunk(bytes: &[u8]) -> Vec<u8> {
    [format!("{:x}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat()
}

/// Bytes of a chunk of a body.
const CHUNK_LEN: usize = 16;
/// Bytes that are sent at once without an end.
const ENDLESS_PIECE_LEN: usize = 64 * 1024;
