//! Lists, page by page.

use base64ct::{Base64, Encoding as _};
use serde_json::{Map, Value, json};

use super::{call::Call, reply::Refusal};

/// The page of `all` that `call` asks for, as the list `name`, with the token for
/// the next one and the number of all. What is listed has a `name` each.
pub(super) fn page(call: &Call, name: &str, all: Vec<Value>) -> Result<Value, Refusal> {
    call.refuse_parameters(&["filter", "orderBy"])?;
    let total = all.len();
    let after = match call.parameter("pageToken").filter(|token| !token.is_empty()) {
        None => 0,
        Some(token) => start(token, &all).ok_or_else(|| Refusal::invalid("Invalid page token."))?,
    };
    let mut rest = all.into_iter().skip(after).peekable();
    let listed: Vec<Value> = rest.by_ref().take(size(call)?).collect();
    let mut answer = Map::new();
    if let (Some(last), Some(_)) = (listed.last(), rest.peek()) {
        answer.insert("nextPageToken".to_owned(), json!(Base64::encode_string(name_of(last).as_bytes())));
    }
    // An empty list is left out, as all that is empty in the JSON of protocol buffers.
    if !listed.is_empty() {
        answer.insert(name.to_owned(), Value::Array(listed));
    }
    if total > 0 {
        answer.insert("totalSize".to_owned(), json!(total));
    }
    Ok(Value::Object(answer))
}

/// Behind the last one of the page before, which may have got later since.
fn start(token: &str, all: &[Value]) -> Option<usize> {
    let last = String::from_utf8(Base64::decode_vec(token).ok()?).ok()?;
    all.iter().position(|listed| name_of(listed) == last).map(|place| place + 1)
}

fn size(call: &Call) -> Result<usize, Refusal> {
    let Some(text) = call.parameter("pageSize") else { return Ok(DEFAULT_SIZE) };
    let size: i32 =
        text.parse().map_err(|_| Refusal::invalid("Invalid value at 'page_size' (TYPE_INT32)"))?;
    match usize::try_from(size) {
        Err(_) => Err(Refusal::invalid("The page size must not be negative.")),
        Ok(0) => Ok(DEFAULT_SIZE),
        Ok(size) => Ok(size.min(MAX_SIZE)),
    }
}

fn name_of(listed: &Value) -> &str {
    listed["name"].as_str().unwrap_or_default()
}

/// The service chooses, says the API. A small one, so that clients page.
const DEFAULT_SIZE: usize = 100;
const MAX_SIZE: usize = 1000;
