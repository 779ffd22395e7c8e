//! What stands between: a proxy whose answers a test changes or loses.

use std::sync::atomic::{AtomicUsize, Ordering};

use envelope_testkit::http_server::{Answer, HttpServer, Request};

use super::*;

/// What a server answered: status and JSON.
pub(crate) struct Passed(pub(crate) u16, pub(crate) Value);

impl From<Passed> for Answer {
    fn from(Passed(status, body): Passed) -> Self {
        if body.is_null() { Self::new(status) } else { Self::json(status, body.to_string()) }
    }
}

/// Stands before the server, and answers what `answer` makes of its answers.
pub(crate) fn passing(
    server: &Server,
    answer: impl Fn(&Request, Passed) -> Answer + Send + Sync + 'static,
) -> HttpServer {
    let url = server.url.clone();
    HttpServer::answering(move |request| {
        let path = request.target.trim_start_matches("/v1/");
        answer(request, ask(&url, &request.method, path, &request.text()))
    })
}

/// Passes everything on, and the first answers to this not back.
pub(crate) fn losing(server: &Server, method: &'static str, end: &str, how_many: usize) -> HttpServer {
    let (end, lost) = (end.to_owned(), AtomicUsize::new(0));
    passing(server, move |request, answer| {
        let is_it = request.method == method && request.target.ends_with(&end);
        if is_it && lost.fetch_add(1, Ordering::SeqCst) < how_many {
            Answer::hang_up()
        } else {
            answer.into()
        }
    })
}

pub(crate) fn ask(url: &str, method: &str, path: &str, body: &str) -> Passed {
    let url = format!("{url}/v1/{path}");
    block_on(async {
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let request = client.request(method.parse().unwrap(), url).header("x-vault-token", "root");
        let answer = request.body(body.to_owned()).send().await.unwrap();
        let (status, text) = (answer.status().as_u16(), answer.text().await.unwrap());
        Passed(status, serde_json::from_str(&text).unwrap_or_default())
    })
}
