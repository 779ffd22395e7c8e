//! The server against sockets.

use std::{
    io::{Read as _, Write as _},
    time::Duration,
};

use super::*;

/// What comes back for a request, up to the end of the connection.
fn ask(server: &HttpServer, request: &str) -> Vec<u8> {
    let mut peer = TcpStream::connect(server.address()).unwrap();
    peer.write_all(request.as_bytes()).unwrap();
    peer.shutdown(Shutdown::Write).unwrap();
    let mut answer = Vec::new();
    peer.read_to_end(&mut answer).unwrap();
    answer
}

#[test]
fn a_request_is_kept_with_its_method_path_headers_and_body() {
    let server = HttpServer::answering(|_| Answer::new(204));
    ask(&server, "POST /a/b?c=d HTTP/1.1\r\nX-Name:  value \r\nContent-Length: 5\r\n\r\nhello");
    let chunks = "4\r\nwiki\r\n5;x=y\r\npedia\r\n0\r\n\r\n";
    ask(&server, &format!("PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}"));
    let requests = server.take();
    let [post, put] = requests.as_slice() else { panic!("{requests:?}") };
    assert_eq!((post.method.as_str(), post.path(), post.number), ("POST", "/a/b", 0));
    assert_eq!((post.target.as_str(), post.header("x-name")), ("/a/b?c=d", Some("value")));
    assert_eq!((post.text().as_str(), put.text().as_str()), ("hello", "wikipedia"));
    assert_eq!((server.count(), server.requests()), (2, vec![]));
}

#[test]
fn answers_go_out_in_their_turn_on_one_connection_and_on_several() {
    let server = HttpServer::in_turn([Answer::new(201), Answer::new(202), Answer::new(203)]);
    let one = "GET / HTTP/1.1\r\n\r\n";
    let both = String::from_utf8(ask(&server, &one.repeat(2))).unwrap();
    assert!(both.starts_with("HTTP/1.1 201 ") && both.contains("HTTP/1.1 202 "), "{both}");
    for _ in 0..2 {
        assert!(ask(&server, one).starts_with(b"HTTP/1.1 203 "), "the last one again");
    }
    assert_eq!(ask(&HttpServer::in_turn([]), one), b"");
}

#[test]
fn faults_are_what_they_are_called() {
    let body = "0123456789abcdefXYZ";
    let said = |headers: &str, body: &str| format!("HTTP/1.1 200 said\r\n{headers}\r\n{body}");
    let whole = said("content-length: 19\r\n", body);
    for (answer, expected) in [
        (Answer::new(200).body(body), whole.clone()),
        (Answer::new(200).body(body).cut_after(20), whole[..20].to_owned()),
        (Answer::new(200).body(body).cut_after(9999), whole.clone()),
        (Answer::new(200).body(body).content_length(3), said("content-length: 3\r\n", body)),
        (Answer::new(200).body(body).until_closed(), said("connection: close\r\n", body)),
        (
            Answer::new(200).body(body).chunked(),
            said("transfer-encoding: chunked\r\n", "10\r\n0123456789abcdef\r\n3\r\nXYZ\r\n0\r\n\r\n"),
        ),
        (Answer::new(200).header("location", "/x"), said("location: /x\r\ncontent-length: 0\r\n", "")),
        (Answer::raw("garbage"), "garbage".to_owned()),
        (Answer::hang_up(), String::new()),
        // They end because the peer says that it sends no more.
        (Answer::never(), String::new()),
        (Answer::new(200).body(body).silent_after(20), whole[..20].to_owned()),
    ] {
        let server = HttpServer::in_turn([answer.clone()]);
        let came = ask(&server, "GET / HTTP/1.1\r\n\r\n");
        assert_eq!(String::from_utf8_lossy(&came), expected, "{answer:?}");
        assert_eq!(server.sent(), expected.len(), "{answer:?}");
    }
}

#[test]
fn answers_without_an_end_go_on_until_the_peer_goes() {
    for answer in [Answer::new(200).endless(), Answer::new(200).chunked().endless()] {
        let server = HttpServer::in_turn([answer]);
        let mut peer = TcpStream::connect(server.address()).unwrap();
        peer.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
        let mut some = vec![0; 1024 * 1024];
        peer.read_exact(&mut some).unwrap();
    }
    let server = HttpServer::in_turn([Answer::new(200).dripping(Duration::from_millis(1))]);
    let mut peer = TcpStream::connect(server.address()).unwrap();
    peer.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    let mut some = [0; 40];
    peer.read_exact(&mut some).unwrap();
    assert!(some.starts_with(b"HTTP/1.1 200 said\r\n\r\n  "), "{some:?}");
}

#[test]
fn nobody_listens_at_a_closed_address() {
    TcpStream::connect(closed_address()).unwrap_err();
}
