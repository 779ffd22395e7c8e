//! The API as Microsoft's client has it, and what is checked by it: `azure/api.json`,
//! which `azure/describe.py` writes.

use std::{collections::BTreeMap, sync::LazyLock};

use base64ct::{Base64UrlUnpadded, Encoding as _};
use serde_json::{Map, Value};

use super::{call::Call, reply::Reply};

/// The description.
pub(super) struct Api {
    document: Value,
}

/// Which way a document goes: some fields are of answers only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Asked,
    Answered,
}

impl Api {
    /// The one that this package holds.
    #[expect(clippy::expect_used, reason = "the file is a part of this package")]
    pub(super) fn get() -> &'static Self {
        static API: LazyLock<Api> = LazyLock::new(|| {
            let text = include_str!("../../azure/api.json");
            Api { document: serde_json::from_str(text).expect("azure/api.json") }
        });
        &API
    }

    /// What is wrong with a request; nothing when it is as described.
    pub(super) fn check_request(&self, call: &Call) -> Vec<String> {
        let Some(operation) = self.operation(call) else {
            return vec!["there is no such operation".to_owned()];
        };
        let mut wrong = Vec::new();
        for (name, value) in &call.query {
            match name.as_str() {
                // Of what a list says about its next page.
                "$skiptoken" if operation["answer"].is_array() => {}
                "api-version" if !contains(&self.document["versions"], value) => {
                    wrong.push(format!("the API version {value} is not known"));
                }
                name if contains(&operation["query"], name) => {}
                name => wrong.push(format!("there is no parameter {name}")),
            }
        }
        if call.parameter("api-version").is_none() {
            wrong.push("there is no api-version".to_owned());
        }
        match operation["request"].as_str() {
            None if call.body.is_null() => {}
            None => wrong.push("there is a body".to_owned()),
            Some(model) => self.check(model, &call.body, Way::Asked, "body", &mut wrong),
        }
        wrong
    }

    /// What is wrong with an answer.
    pub(super) fn check_reply(&self, call: &Call, reply: &Reply) -> Vec<String> {
        let mut wrong = Vec::new();
        if reply.status >= 300 {
            self.check("KeyVaultError", &reply.body, Way::Answered, "body", &mut wrong);
            return wrong;
        }
        match self.operation(call).map_or(&Value::Null, |operation| &operation["answer"]) {
            Value::Null if reply.body.is_null() => {}
            Value::Null => wrong.push("there is a body".to_owned()),
            Value::Array(listed) => {
                let none = Vec::new();
                let items = reply.body["value"].as_array().unwrap_or(&none);
                let model = listed.first().and_then(Value::as_str).unwrap_or_default();
                for item in items {
                    self.check(model, item, Way::Answered, "item", &mut wrong);
                }
                let next = &reply.body["nextLink"];
                let is_list = reply.body.as_object().is_some_and(|fields| fields.len() == 2);
                if !is_list || !reply.body["value"].is_array() || !(next.is_null() || next.is_string()) {
                    wrong.push("it is no list".to_owned());
                }
            }
            model => {
                let model = model.as_str().unwrap_or_default();
                self.check(model, &reply.body, Way::Answered, "body", &mut wrong);
            }
        }
        wrong
    }

    /// The operation whose path says most about that of `call`.
    fn operation(&self, call: &Call) -> Option<&Value> {
        let all = self.document["operations"].as_object()?;
        let fitting = all.values().filter_map(|operation| {
            let path = operation["path"].as_str()?.trim_start_matches('/');
            let parts: Vec<&str> = path.split('/').collect();
            let fits = |(part, asked): (&&str, &String)| match *part {
                "{key-name}" => !asked.is_empty(),
                // An empty one is the latest.
                "{key-version}" => true,
                part => part == asked,
            };
            let all_fit = parts.len() == call.path.len() && parts.iter().zip(&call.path).all(fits);
            let said = parts.iter().filter(|part| !part.starts_with('{')).count();
            (operation["method"] == call.method && all_fit).then_some((said, operation))
        });
        fitting.max_by_key(|(said, _)| *said).map(|(_, operation)| operation)
    }

    /// Checks `value`, which is at `place`, by the type called `kind`.
    fn check(&self, kind: &str, value: &Value, way: Way, place: &str, wrong: &mut Vec<String>) {
        if let Some(model) = self.document["models"].get(kind) {
            let Some(fields) = value.as_object() else {
                wrong.push(format!("{place} is no {kind}"));
                return;
            };
            return self.check_fields(model, fields, way, place, wrong);
        }
        let fits = match kind {
            "base64url" => value.as_str().is_some_and(|text| Base64UrlUnpadded::decode_vec(text).is_ok()),
            "boolean" => value.is_boolean(),
            "date" | "integer" => value.is_u64(),
            "string" => value.is_string(),
            "texts" => value.as_object().is_some_and(|texts| texts.values().all(Value::is_string)),
            of => contains(&self.document["enumerations"][of], value.as_str().unwrap_or_default()),
        };
        if !fits {
            // The value may be a secret.
            wrong.push(format!("{place} is no {kind}"));
        }
    }

    fn check_fields(
        &self,
        model: &Value,
        fields: &Map<String, Value>,
        way: Way,
        place: &str,
        wrong: &mut Vec<String>,
    ) {
        let answered = (way == Way::Answered).then_some(&model["answered"]);
        let known: BTreeMap<&String, &Value> = [Some(&model["fields"]), answered]
            .into_iter()
            .flatten()
            .filter_map(Value::as_object)
            .flatten()
            .collect();
        for (name, value) in fields {
            let place = format!("{place}.{name}");
            match known.get(name) {
                None => wrong.push(format!("{place} is not described")),
                Some(Value::Array(listed)) => {
                    let kind = listed.first().and_then(Value::as_str).unwrap_or_default();
                    match value.as_array() {
                        Some(items) => {
                            items.iter().for_each(|item| self.check(kind, item, way, &place, wrong));
                        }
                        None => wrong.push(format!("{place} is no list")),
                    }
                }
                Some(kind) => self.check(kind.as_str().unwrap_or_default(), value, way, &place, wrong),
            }
        }
    }
}

fn contains(list: &Value, text: &str) -> bool {
    list.as_array().is_some_and(|list| list.iter().any(|known| known == text))
}
