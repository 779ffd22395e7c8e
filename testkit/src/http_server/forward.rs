//! A request that is passed on to a real server.

use std::{
    io::{self, BufRead as _, BufReader, Read, Write as _},
    net::TcpStream,
};

use super::{Answer, Request};

/// What the server at `address`, such as `127.0.0.1:4566`, answers to a request: over plain HTTP, on a connection of its
/// own. A server that cannot be asked is an answer of status 502 with the reason, which a test that expects another sees.
#[must_use]
pub fn forward(address: &str, request: &Request) -> Answer {
    ask(address, request).unwrap_or_else(|error| Answer::new(502).body(error.to_string()))
}

fn ask(address: &str, request: &Request) -> io::Result<Answer> {
    let mut server = TcpStream::connect(address)?;
    let mut head = format!("{} {} HTTP/1.1\r\n", request.method, request.target);
    for (name, value) in &request.headers {
        if !OF_THE_CONNECTION.contains(&name.as_str()) {
            head += &format!("{name}: {value}\r\n");
        }
    }
    head += &format!("content-length: {}\r\nconnection: close\r\n\r\n", request.body.len());
    server.write_all(&[head.as_bytes(), &request.body].concat())?;
    read(&mut BufReader::new(server))
}

fn read(server: &mut BufReader<TcpStream>) -> io::Result<Answer> {
    let wrong = || io::Error::new(io::ErrorKind::InvalidData, "the server answered no HTTP");
    let first = read_line(server)?;
    let status = first.split(' ').nth(1).and_then(|status| status.parse().ok()).ok_or_else(wrong)?;
    let (mut answer, mut is_chunked) = (Answer::new(status), false);
    loop {
        let line = read_line(server)?;
        let Some((name, value)) = line.split_once(':') else { break };
        let (name, value) = (name.to_ascii_lowercase(), value.trim());
        if OF_THE_CONNECTION.contains(&name.as_str()) {
            is_chunked |= name == "transfer-encoding";
        } else {
            answer = answer.header(name, value);
        }
    }
    let mut body = Vec::new();
    if is_chunked {
        loop {
            let line = read_line(server)?;
            let len = u64::from_str_radix(line.trim(), 16).map_err(|_| wrong())?;
            if len == 0 {
                break;
            }
            server.take(len).read_to_end(&mut body)?;
            read_line(server)?;
        }
    } else {
        server.read_to_end(&mut body)?;
    }
    Ok(answer.body(body))
}

fn read_line(server: &mut BufReader<TcpStream>) -> io::Result<String> {
    let mut line = String::new();
    server.read_line(&mut line)?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

/// Set anew on each connection.
const OF_THE_CONNECTION: [&str; 5] =
    ["connection", "content-length", "expect", "keep-alive", "transfer-encoding"];
