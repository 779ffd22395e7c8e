//! What was asked.

use std::io::{self, BufRead, BufReader, Read as _, Write as _};

use super::Stream;

/// A request as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Request {
    /// How many came before it.
    pub number: usize,
    /// `GET`, `POST`, …
    pub method: String,
    /// Path and query; of `CONNECT`, the host and port.
    pub target: String,
    /// The header fields in their order, their names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body, out of its chunks if it came in such.
    pub body: Vec<u8>,
}

impl Request {
    /// The target without its query.
    #[must_use]
    pub fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    /// The path with `%41` undone; `None` when it is no UTF-8 then.
    #[must_use]
    pub fn decoded_path(&self) -> Option<String> {
        decoded(self.path())
    }

    /// The pairs of the query; `None` when they are no UTF-8.
    #[must_use]
    pub fn query(&self) -> Option<Vec<(String, String)>> {
        pairs(self.target.split_once('?').map_or("", |(_, query)| query))
    }

    /// The bearer token, or what else there is in place of one.
    #[must_use]
    pub fn token(&self) -> Option<&str> {
        self.header("authorization").map(|value| value.split_once(' ').map_or("", |(_, token)| token))
    }

    /// The first value of the header field `name`, in lower case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The body as text; bytes that are no UTF-8 are replaced.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// The pairs of a query, or of a form, with `%41` undone; `None` when they are no
/// UTF-8 then.
#[must_use]
pub fn pairs(text: &str) -> Option<Vec<(String, String)>> {
    let pair = |text: &str| {
        let (name, value) = text.split_once('=').unwrap_or((text, ""));
        Some((decoded(name)?, decoded(&value.replace('+', " "))?))
    };
    text.split('&').filter(|pair| !pair.is_empty()).map(pair).collect()
}

/// The next request, or `None` at the end of the connection.
pub(super) fn read(reader: &mut BufReader<Box<dyn Stream>>) -> io::Result<Option<Request>> {
    let first = read_line(reader)?;
    let mut words = first.split(' ').map(str::to_owned);
    let (Some(method), Some(target)) = (words.next(), words.next()) else { return Ok(None) };
    let mut request = Request { number: 0, method, target, headers: Vec::new(), body: Vec::new() };
    loop {
        let line = read_line(reader)?;
        let Some((name, value)) = line.split_once(':') else { break };
        request.headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    if request.header("expect").is_some() {
        reader.get_mut().write_all(b"HTTP/1.1 100 go on\r\n\r\n")?;
        reader.get_mut().flush()?;
    }
    let wrong = || io::Error::new(io::ErrorKind::InvalidData, "a length that is no number");
    if request.header("transfer-encoding").is_some_and(|coding| coding.eq_ignore_ascii_case("chunked")) {
        loop {
            let line = read_line(reader)?;
            let digits = line.split(';').next().unwrap_or_default().trim();
            let len = usize::from_str_radix(digits, 16).map_err(|_| wrong())?;
            read_more(reader, len, &mut request.body)?;
            read_line(reader)?;
            if len == 0 {
                break;
            }
        }
    } else if let Some(len) = request.header("content-length") {
        let len = len.parse().map_err(|_| wrong())?;
        read_more(reader, len, &mut request.body)?;
    }
    Ok(Some(request))
}

/// A line without its end; empty at the end of the connection.
fn read_line(reader: &mut impl BufRead) -> io::Result<String> {
    let mut line = Vec::new();
    reader.read_until(b'\n', &mut line)?;
    Ok(String::from_utf8_lossy(&line).trim_end_matches(['\r', '\n']).to_owned())
}

fn read_more(reader: &mut impl BufRead, len: usize, body: &mut Vec<u8>) -> io::Result<()> {
    let before = body.len();
    reader.take(len as u64).read_to_end(body)?;
    if body.len() - before == len { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

/// Undoes `%41`. A percent sign that stands for itself stays.
fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        let hex =
            (*first == b'%').then(|| after.get(..2).and_then(|hex| std::str::from_utf8(hex).ok())).flatten();
        match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8(bytes).ok()
}
