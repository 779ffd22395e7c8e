//! What tests may ask of the server that no client of Google's asks: under `/test/`.

use std::time::Duration;

use serde_json::json;

use super::{
    GcpServer, State,
    call::Call,
    reply::{Code, Reply},
};

/// `GET /test/violations`: what was not as the discovery document says.
/// `POST /test/advance?seconds=N`: moves the clock.
/// `POST /test/state?version=NAME&state=STATE`: puts a version into a state.
pub(super) fn answer(server: &GcpServer, call: &Call) -> Reply {
    match (call.method.as_str(), call.path.as_str()) {
        ("GET", "violations") => {
            return Reply::ok(json!({
                "checked": server.is_checked(),
                "exchanges": server.exchanges(),
                "violations": server.violations(),
            }));
        }
        ("POST", "advance") => {
            if let Some(seconds) = call.parameter("seconds").and_then(|text| text.parse().ok()) {
                server.advance(Duration::from_secs(seconds));
                return Reply::ok(json!({}));
            }
        }
        ("POST", "state") => {
            let state = call.parameter("state").and_then(State::from_name);
            let version = call.parameter("version").unwrap_or_default();
            if state.is_some_and(|state| server.try_set_state(version, state)) {
                return Reply::ok(json!({}));
            }
        }
        _ => {}
    }
    Reply::error(Code::InvalidArgument, format!("This is not done: {} /test/{}", call.method, call.path))
}
