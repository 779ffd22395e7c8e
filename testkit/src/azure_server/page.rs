//! Lists, page by page.

use serde_json::{Value, json};

use super::{
    call::{Call, base64url, wrong},
    reply::Reply,
};

/// The page of `all` that `call` asks for, with the address of the next one. What
/// is listed has a `kid` each.
pub(super) fn page(call: &Call, all: Vec<Value>) -> Result<Value, Reply> {
    let size = match call.parameter("maxresults") {
        None => MAX_SIZE,
        Some(text) => {
            let size = text.parse().ok().filter(|size| (1..=MAX_SIZE).contains(size));
            size.ok_or_else(|| wrong("maxresults"))?
        }
    };
    // Behind the last one of the page before, which may have got later since.
    let after = match call.parameter("$skiptoken") {
        None => 0,
        Some(token) => {
            let last = all.iter().position(|item| token_of(item) == token);
            last.ok_or_else(|| wrong("$skiptoken"))? + 1
        }
    };
    let mut rest = all.into_iter().skip(after).peekable();
    let listed: Vec<Value> = rest.by_ref().take(size).collect();
    let next = match (listed.last(), rest.peek()) {
        (Some(last), Some(_)) => json!(format!(
            "{}/{}?api-version={}&$skiptoken={}&maxresults={size}",
            call.base(),
            call.path.join("/"),
            call.parameter("api-version").unwrap_or_default(),
            token_of(last)
        )),
        // It is there, and null.
        _ => Value::Null,
    };
    Ok(json!({ "value": listed, "nextLink": next }))
}

/// Nothing of it says what it means.
fn token_of(item: &Value) -> String {
    base64url(item["kid"].as_str().unwrap_or_default().as_bytes())
}

const MAX_SIZE: usize = 25;
