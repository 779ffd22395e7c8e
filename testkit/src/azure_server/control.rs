//! What tests may ask of the server that no client of Azure's asks: under `/test/`.

use std::time::Duration;

use serde_json::json;

use super::{AzureServer, call::Call, reply::Reply};

/// `GET /test/violations`: what was not as the API is described.
/// `POST /test/advance?seconds=N`: moves the clock.
/// `POST /test/throttle?calls=N&seconds=M`: refuses the next calls.
pub(super) fn answer(server: &AzureServer, call: &Call) -> Reply {
    let number = |name: &str| call.parameter(name).and_then(|text| text.parse::<u32>().ok());
    match (call.method.as_str(), call.path.get(1).map(String::as_str)) {
        ("GET", Some("violations")) => {
            return Reply::ok(json!({
                "exchanges": server.exchanges(),
                "violations": server.violations(),
            }));
        }
        ("POST", Some("advance")) => {
            if let Some(seconds) = number("seconds") {
                server.advance(Duration::from_secs(seconds.into()));
                return Reply::ok(json!({}));
            }
        }
        ("POST", Some("throttle")) => {
            if let (Some(calls), Some(seconds)) = (number("calls"), number("seconds")) {
                server.throttle(
                    usize::try_from(calls).unwrap_or(usize::MAX),
                    Duration::from_secs(seconds.into()),
                );
                return Reply::ok(json!({}));
            }
        }
        _ => {}
    }
    Reply::bad(format!("This is not done: {} /{}", call.method, call.path.join("/")))
}
