//! What was asked.

use std::io::{self, BufRead, Read as _, Write};

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

/// The next request, or `None` at the end of the connection.
pub(super) fn read(reader: &mut impl BufRead, writer: &mut impl Write) -> io::Result<Option<Request>> {
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
        writer.write_all(b"HTTP/1.1 100 go on\r\n\r\n")?;
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
