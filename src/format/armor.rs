//! The text form: RFC 7468 PEM with the label `ENVELOPE`.
//!
//! Lines of 64 base64 characters, the last one shorter. Written with `\n`; read
//! with `\n` or `\r\n`. Everything else is refused: text before the first line
//! or after the last, other line lengths, padding that is not zero. One message
//! has one text (but for the line ends).
//!
//! [`ArmorWriter`] and [`ArmorReader`] work on streams of any length in
//! constant memory; [`encode`] and [`decode`] on bytes in memory.

use std::{
    error::Error,
    io::{self, BufRead, Read, Write},
    mem,
};

use base64ct::{Base64, Encoding};

use super::FormatError;
use crate::whole_io::{failed_before, retry, write_all};

/// The first line, without its line end.
pub const BEGIN: &str = "-----BEGIN ENVELOPE-----";
/// The last line, without its line end.
pub const END: &str = "-----END ENVELOPE-----";

/// True when `bytes` begin as armor does. Nothing binary begins so: the magic
/// of an envelope differs in its first byte.
#[must_use]
pub fn is_armored(bytes: &[u8]) -> bool {
    bytes.starts_with(BEGIN.as_bytes())
}

/// The text form of `bytes`.
#[must_use]
pub fn encode(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(BEGIN.len() + END.len() + bytes.len() * 3 / 2 + 4);
    text.push_str(BEGIN);
    text.push('\n');
    for line in bytes.chunks(LINE_BYTES) {
        text.push_str(&Base64::encode_string(line));
        text.push('\n');
    }
    text.push_str(END);
    text.push('\n');
    text
}

/// The bytes of a text form.
///
/// # Errors
///
/// [`FormatError::Armor`] when `text` is anything but one armored message.
pub fn decode(text: &str) -> Result<Vec<u8>, FormatError> {
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    ArmorReader::new(text.as_bytes()).read_to_end(&mut bytes).map_err(|error| {
        let inner = error.into_inner().and_then(|inner| inner.downcast::<FormatError>().ok());
        inner.map_or(FormatError::Armor("unreadable"), |error| *error)
    })?;
    Ok(bytes)
}

/// Writes the text form of what is written to it.
/// [`finish`](Self::finish) must be called at the end.
///
/// What failed once keeps failing: the writer below may have taken part of a
/// line, which nothing can put right.
pub struct ArmorWriter<W: Write> {
    inner: W,
    line: Vec<u8>,
    failed: bool,
}

impl<W: Write> ArmorWriter<W> {
    /// Writes the first line to `inner`.
    ///
    /// # Errors
    ///
    /// Those of `inner`.
    pub fn new(mut inner: W) -> io::Result<Self> {
        write_all(&mut inner, BEGIN.as_bytes())?;
        write_all(&mut inner, b"\n")?;
        Ok(Self { inner, line: Vec::with_capacity(LINE_BYTES), failed: false })
    }

    /// Writes the rest and the last line, and returns the writer below.
    ///
    /// # Errors
    ///
    /// Those of the writer below, also when it failed before.
    pub fn finish(mut self) -> io::Result<W> {
        self.below(|inner, line| {
            if !line.is_empty() {
                write_line(inner, line)?;
            }
            write_all(inner, END.as_bytes())?;
            write_all(inner, b"\n")?;
            inner.flush()
        })?;
        Ok(self.inner)
    }

    /// Calls the writer below, unless it failed before.
    fn below(&mut self, call: impl FnOnce(&mut W, &[u8]) -> io::Result<()>) -> io::Result<()> {
        if self.failed {
            return Err(failed_before());
        }
        // Until it comes back: it may panic.
        self.failed = true;
        call(&mut self.inner, &self.line)?;
        self.failed = false;
        Ok(())
    }
}

impl<W: Write> Write for ArmorWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.failed {
            return Err(failed_before());
        }
        let room = LINE_BYTES - self.line.len();
        let taken = bytes.len().min(room);
        self.line.extend_from_slice(&bytes[..taken]);
        if self.line.len() == LINE_BYTES {
            self.below(|inner, line| write_line(inner, line))?;
            self.line.clear();
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.below(|inner, _| inner.flush())
    }
}

fn write_line<W: Write>(inner: &mut W, bytes: &[u8]) -> io::Result<()> {
    let mut line = [0; LINE_CHARS + 1];
    let len = Base64::encode(bytes, &mut line).map_err(io::Error::other)?.len();
    line[len] = b'\n';
    write_all(inner, &line[..=len])
}

/// Reads the bytes of a text form, strictly. What is wrong with the text is an
/// error of kind [`InvalidData`](io::ErrorKind::InvalidData) that holds a
/// [`FormatError`]; errors of the reader below are passed on.
///
/// What failed once keeps failing, so that no line is ever skipped.
pub struct ArmorReader<R: BufRead> {
    inner: R,
    decoded: [u8; LINE_BYTES],
    position: usize,
    filled: usize,
    /// Bytes that the reader below holds and gives without waiting.
    held: usize,
    state: State,
    /// Of the reader below, where bytes had to be given first.
    error: Option<io::Error>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Begin,
    Body {
        last_was_short: bool,
    },
    End,
    /// The text is not what it must be.
    Damaged,
    /// The reader below failed.
    Failed,
}

impl<R: BufRead> ArmorReader<R> {
    /// Reads from `inner`, to its end.
    pub fn new(inner: R) -> Self {
        Self {
            inner,
            decoded: [0; LINE_BYTES],
            position: 0,
            filled: 0,
            held: 0,
            state: State::Begin,
            error: None,
        }
    }

    /// Decodes the next line into `decoded`, or reaches the end.
    fn advance(&mut self) -> io::Result<()> {
        match self.state {
            State::Failed => return Err(self.error.take().unwrap_or_else(failed_before)),
            State::Damaged => return refuse("was already found damaged"),
            State::Begin | State::Body { .. } | State::End => {}
        }
        // Until the line is read: the reader below may panic in the middle of it.
        let state = mem::replace(&mut self.state, State::Failed);
        let next = self.line_after(state);
        self.state = match &next {
            Ok(state) => *state,
            Err(error) if error.get_ref().is_some_and(<dyn Error + Send + Sync>::is::<FormatError>) => {
                State::Damaged
            }
            Err(_) => State::Failed,
        };
        next.map(drop)
    }

    fn line_after(&mut self, state: State) -> io::Result<State> {
        let mut buffer = [0; MAX_LINE];
        if state == State::Begin {
            let line = read_line(&mut self.inner, &mut buffer, &mut self.held)?;
            if line != Some(BEGIN.as_bytes()) {
                return refuse("does not begin with -----BEGIN ENVELOPE-----");
            }
        }
        let last_was_short = state == State::Body { last_was_short: true };
        let Some(line) = read_line(&mut self.inner, &mut buffer, &mut self.held)? else {
            return refuse("does not end with -----END ENVELOPE-----");
        };
        if line == END.as_bytes() {
            return if is_at_end(&mut self.inner)? {
                Ok(State::End)
            } else {
                refuse("is followed by more text")
            };
        }
        if last_was_short || line.is_empty() || line.len() > LINE_CHARS {
            return refuse("has a line that is not 64 characters long");
        }
        let Ok(decoded) = Base64::decode(line, &mut self.decoded) else {
            return refuse("has a line that is not canonical base64");
        };
        self.filled = decoded.len();
        self.position = 0;
        Ok(State::Body { last_was_short: self.filled < LINE_BYTES })
    }
}

impl<R: BufRead> Read for ArmorReader<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if out.is_empty() {
            return Ok(0);
        }
        while self.position == self.filled && self.state != State::End {
            self.advance()?;
        }
        let available = &self.decoded[self.position..self.filled];
        let taken = available.len().min(out.len());
        out[..taken].copy_from_slice(&available[..taken]);
        self.position += taken;
        Ok(taken + self.take_whole_lines(&mut out[taken..]))
    }
}

impl<R: BufRead> ArmorReader<R> {
    /// Decodes into `out` the lines that the reader below holds already, as long
    /// as they are 64 characters of base64. Everything else is for
    /// [`advance`](Self::advance), which knows what it means.
    fn take_whole_lines(&mut self, mut out: &mut [u8]) -> usize {
        let mut taken = 0;
        let whole = State::Body { last_was_short: false };
        if self.position < self.filled || self.state != whole || self.held <= LINE_CHARS {
            return taken;
        }
        self.state = State::Failed;
        let text = match self.inner.fill_buf() {
            Ok(text) => text,
            Err(error) => {
                if error.kind() == io::ErrorKind::Interrupted {
                    self.state = whole;
                } else {
                    self.error = Some(error);
                }
                return taken;
            }
        };
        let mut lines = text.chunks_exact(LINE_CHARS + 1);
        while let (Some((line, rest)), Some(text)) = (out.split_at_mut_checked(LINE_BYTES), lines.next()) {
            let Some((b'\n', text)) = text.split_last() else { break };
            if !matches!(Base64::decode(text, line), Ok(decoded) if decoded.len() == LINE_BYTES) {
                break;
            }
            taken += LINE_BYTES;
            out = rest;
        }
        let used = taken / LINE_BYTES * (LINE_CHARS + 1);
        self.held = text.len() - used;
        self.inner.consume(used);
        self.state = whole;
        taken
    }
}

/// One line without its end, or `None` at the end of the input. A line longer
/// than any of armor is refused before it is copied. `held` is how many bytes
/// `inner` holds behind it.
fn read_line<'b>(
    inner: &mut impl BufRead,
    buffer: &'b mut [u8; MAX_LINE],
    held: &mut usize,
) -> io::Result<Option<&'b [u8]>> {
    let mut len = 0;
    loop {
        let available = match inner.fill_buf() {
            // Half a line may be held here, so this is not the caller's to try again.
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            other => other?,
        };
        if available.is_empty() {
            return if len == 0 { Ok(None) } else { refuse("has a line without an end") };
        }
        let newline = available.iter().position(|byte| *byte == b'\n');
        let taken = newline.map_or(available.len(), |position| position + 1);
        if len + taken > MAX_LINE {
            return refuse("has a line that is not 64 characters long");
        }
        buffer[len..len + taken].copy_from_slice(&available[..taken]);
        *held = available.len() - taken;
        inner.consume(taken);
        len += taken;
        if newline.is_some() {
            let line = &buffer[..len - 1];
            return Ok(Some(line.strip_suffix(b"\r").unwrap_or(line)));
        }
    }
}

fn is_at_end(inner: &mut impl BufRead) -> io::Result<bool> {
    retry(|| inner.fill_buf().map(<[u8]>::is_empty))
}

fn refuse<T>(reason: &'static str) -> io::Result<T> {
    Err(io::Error::new(io::ErrorKind::InvalidData, FormatError::Armor(reason)))
}

const LINE_CHARS: usize = 64;
const LINE_BYTES: usize = 48;
/// Characters of the longest line with `\r\n`.
const MAX_LINE: usize = LINE_CHARS + 2;

#[cfg(test)]
mod tests;
