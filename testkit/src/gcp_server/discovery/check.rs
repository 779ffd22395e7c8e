//! Documents against the schemas.

use std::collections::BTreeMap;

use serde_json::Value;

use super::format;
use crate::gcp_server::reply::Reply;

/// How enumerations are to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::gcp_server) enum Enums {
    Names,
    Numbers,
    /// As in requests.
    Either,
}

/// The messages by their names.
#[derive(Debug)]
pub(super) struct Schemas(BTreeMap<String, Value>);

impl Schemas {
    pub(super) fn new(schemas: BTreeMap<String, Value>) -> Self {
        Self(schemas)
    }

    /// Adds to `wrong` what in `value` is not as the message `schema` says.
    pub(super) fn check(&self, schema: &str, value: &Value, enums: Enums, wrong: &mut Vec<String>) {
        self.check_message(schema, schema, value, enums, wrong);
    }

    fn check_message(&self, at: &str, schema: &str, value: &Value, enums: Enums, wrong: &mut Vec<String>) {
        let Some(described) = self.0.get(schema) else {
            return wrong.push(format!("{at}: there is no schema {schema}"));
        };
        let Some(fields) = value.as_object() else {
            return wrong.push(format!("{at} is no object"));
        };
        for (name, value) in fields {
            match described["properties"].get(name) {
                Some(described) => self.check_value(&format!("{at}.{name}"), described, value, enums, wrong),
                None => wrong.push(format!("{at} has no field {name}")),
            }
        }
    }

    fn check_value(&self, at: &str, described: &Value, value: &Value, enums: Enums, wrong: &mut Vec<String>) {
        if value.is_null() && enums == Enums::Either {
            // Null is the default, says the JSON mapping of protocol buffers.
            return;
        }
        if let Some(schema) = described["$ref"].as_str() {
            return self.check_message(at, schema, value, enums, wrong);
        }
        if let Some(names) = described["enum"].as_array() {
            let (named, numbered) = (names.contains(value), value.is_u64());
            let fits = match enums {
                Enums::Names => named,
                Enums::Numbers => numbered,
                Enums::Either => named || numbered,
            };
            if !fits {
                wrong.push(format!("{at} is {value}, and not one of its enumeration"));
            }
            return;
        }
        if let Some(name) = described["format"].as_str() {
            return match format::fits(name, value) {
                Some(true) => {}
                // The value may be a secret of a test.
                Some(false) => wrong.push(format!("{at} has not the format {name}")),
                None => wrong.push(format!("{at}: there is no format {name}")),
            };
        }
        let fits = match described["type"].as_str().unwrap_or_default() {
            "string" => value.is_string(),
            "boolean" => value.is_boolean(),
            "integer" => value.is_i64() || value.is_u64(),
            "any" => true,
            "array" => value.as_array().is_some_and(|values| {
                for (place, value) in values.iter().enumerate() {
                    self.check_value(&format!("{at}[{place}]"), &described["items"], value, enums, wrong);
                }
                true
            }),
            "object" => value.as_object().is_some_and(|values| {
                for (name, value) in values {
                    let described = &described["additionalProperties"];
                    self.check_value(&format!("{at}.{name}"), described, value, enums, wrong);
                }
                true
            }),
            _ => false,
        };
        if !fits {
            wrong.push(format!("{at} is no {}", described["type"]));
        }
    }

    /// Checks a parameter of the query. `schema` is the message whose fields a mask
    /// names.
    pub(super) fn check_parameter(
        &self,
        name: &str,
        value: &str,
        described: &Value,
        schema: Option<&str>,
        wrong: &mut Vec<String>,
    ) {
        let number = value.parse::<i32>();
        let fits =
            match (described["type"].as_str(), described["format"].as_str(), described["enum"].as_array()) {
                (.., Some(names)) => names.iter().any(|known| known == value) || number.is_ok(),
                (_, Some("google-fieldmask"), _) => {
                    value.split(',').all(|path| schema.is_some_and(|schema| self.has_path(schema, path)))
                }
                (Some("integer"), ..) => number.is_ok(),
                (Some("boolean"), ..) => ["true", "false"].contains(&value),
                (kind, ..) => kind == Some("string"),
            };
        if !fits {
            wrong.push(format!("the parameter {name} cannot be '{value}'"));
        }
    }

    fn has_path(&self, schema: &str, path: &str) -> bool {
        let (first, rest) = path.split_once('.').map_or((path, None), |(first, rest)| (first, Some(rest)));
        let field = &self.0.get(schema).map_or(&Value::Null, |schema| &schema["properties"])[first];
        match (field, rest) {
            (Value::Null, _) => false,
            (_, None) => true,
            (field, Some(rest)) => field["$ref"].as_str().is_some_and(|schema| self.has_path(schema, rest)),
        }
    }
}

/// A refusal as <https://cloud.google.com/apis/design/errors> has it: the document
/// describes none.
pub(super) fn check_error(reply: &Reply, wrong: &mut Vec<String>) {
    let error = &reply.body["error"];
    let known = ["code", "message", "status", "details"];
    let strange = error.as_object().into_iter().flatten().find(|(name, _)| !known.contains(&name.as_str()));
    let details = error.get("details").map_or(Some([].as_slice()), |it| it.as_array().map(Vec::as_slice));
    let typed = |detail: &Value| {
        detail["@type"].as_str().is_some_and(|kind| kind.starts_with("type.googleapis.com/google.rpc."))
    };
    let fits = error["code"] == reply.status
        && error["message"].as_str().is_some_and(|message| !message.is_empty())
        && error["status"].is_string()
        && strange.is_none()
        && details.is_some_and(|details| details.iter().all(typed));
    if !fits {
        wrong.push(format!("the refusal is not in Google's form: {}", reply.body));
    }
}
