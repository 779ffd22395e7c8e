//! The fields of a request, read as Google's JSON mapping of protocol buffers has
//! them.

use std::time::{Duration, SystemTime};

use base64ct::{Base64, Encoding as _};
use serde_json::{Map, Value};

use super::{enums::Enum, reply::Refusal, time};

/// The fields of one message. A field that is absent has its default.
#[derive(Clone, Copy)]
pub(super) struct Fields<'a>(Option<&'a Map<String, Value>>);

impl<'a> Fields<'a> {
    pub(super) fn of(value: &'a Value) -> Self {
        Self(value.as_object())
    }

    pub(super) fn get(self, name: &str) -> Option<&'a Value> {
        self.0?.get(name).filter(|value| !value.is_null())
    }

    pub(super) fn message(self, name: &str) -> Self {
        Self(self.get(name).and_then(Value::as_object))
    }

    pub(super) fn text(self, name: &str) -> Result<Option<&'a str>, Refusal> {
        self.get(name)
            .map(|value| value.as_str().ok_or_else(|| wrong(name, "TYPE_STRING", value)))
            .transpose()
    }

    pub(super) fn flag(self, name: &str) -> Result<bool, Refusal> {
        let Some(value) = self.get(name) else { return Ok(false) };
        value.as_bool().ok_or_else(|| wrong(name, "TYPE_BOOL", value))
    }

    /// The length of what it does not fit in is not told.
    pub(super) fn bytes(self, name: &str) -> Result<Vec<u8>, Refusal> {
        let Some(text) = self.text(name)? else { return Ok(Vec::new()) };
        Base64::decode_vec(text).map_err(|_| {
            Refusal::invalid(format!("Invalid value at '{name}' (TYPE_BYTES), Base64 decoding failed"))
        })
    }

    /// A 64-bit number is a string in JSON; numbers are taken too.
    pub(super) fn number(self, name: &str) -> Result<Option<i64>, Refusal> {
        let Some(value) = self.get(name) else { return Ok(None) };
        let number = match value {
            Value::String(text) => text.parse().ok(),
            value => value.as_i64(),
        };
        number.map(Some).ok_or_else(|| wrong(name, "TYPE_INT64", value))
    }

    pub(super) fn named(self, name: &str, kind: &Enum) -> Result<Option<&'static str>, Refusal> {
        let Some(value) = self.get(name) else { return Ok(None) };
        let known = kind.name(value).ok_or_else(|| wrong(name, "TYPE_ENUM", value))?;
        Ok(Some(known).filter(|known| !known.ends_with("_UNSPECIFIED")))
    }

    pub(super) fn duration(self, name: &str) -> Result<Option<Duration>, Refusal> {
        let Some(text) = self.text(name)? else { return Ok(None) };
        time::parse_duration(text)
            .map(Some)
            .ok_or_else(|| wrong(name, "type.googleapis.com/google.protobuf.Duration", text))
    }

    pub(super) fn time(self, name: &str) -> Result<Option<SystemTime>, Refusal> {
        let Some(text) = self.text(name)? else { return Ok(None) };
        time::parse_time(text)
            .map(Some)
            .ok_or_else(|| wrong(name, "type.googleapis.com/google.protobuf.Timestamp", text))
    }
}

pub(super) fn base64(bytes: &[u8]) -> String {
    Base64::encode_string(bytes)
}

fn wrong(name: &str, kind: &str, value: impl std::fmt::Display) -> Refusal {
    Refusal::invalid(format!("Invalid value at '{name}' ({kind}), {value}"))
}
