//! The formats of strings and numbers.

use base64ct::{Base64, Encoding as _};
use serde_json::Value;

use crate::gcp_server::time::{parse_duration, parse_time};

/// Whether `value` has the format of that name. `None` when there is no such
/// format.
pub(super) fn fits(format: &str, value: &Value) -> Option<bool> {
    let text = value.as_str();
    Some(match format {
        // Too large for a number of JSON. A number is taken in requests, says the
        // JSON mapping of protocol buffers, but no client sends one.
        "int64" => text.is_some_and(|text| text.parse::<i64>().is_ok()),
        "int32" => value.as_i64().is_some_and(|number| i32::try_from(number).is_ok()),
        "byte" => text.is_some_and(|text| Base64::decode_vec(text).is_ok()),
        "google-datetime" => text.is_some_and(|text| text.ends_with('Z') && parse_time(text).is_some()),
        "google-duration" => text.is_some_and(|text| parse_duration(text).is_some()),
        _ => return None,
    })
}
