//! A request taken apart: path, verb, query, body, and who asks.

use serde_json::Value;

use super::{
    fields::Fields,
    reply::{Code, Refusal},
};
use crate::http_server::Request;

/// One call of the API.
pub(super) struct Call {
    pub(super) method: String,
    /// Whether it is of the tests' own calls, under `/test/`.
    pub(super) is_control: bool,
    /// The path without `/v1/` and without the verb.
    pub(super) path: String,
    /// What follows the colon of `PATH:VERB`; empty without one.
    pub(super) verb: String,
    pub(super) query: Vec<(String, String)>,
    pub(super) body: Value,
    /// The bearer token.
    pub(super) token: Option<String>,
}

impl Call {
    pub(super) fn read(request: &Request) -> Result<Self, Refusal> {
        let path = request.decoded_path().ok_or_else(|| Refusal::invalid("The path is no UTF-8."))?;
        let control = path.strip_prefix("/test/");
        let path = control.or(path.strip_prefix("/v1/")).ok_or_else(|| not_served(request))?;
        let (path, verb) = path.split_once(':').unwrap_or((path, ""));
        let body = match request.body.as_slice() {
            [] => Value::Null,
            body => serde_json::from_slice(body)
                .map_err(|error| Refusal::invalid(format!("Invalid JSON payload received. {error}")))?,
        };
        Ok(Self {
            method: request.method.clone(),
            is_control: control.is_some(),
            path: path.to_owned(),
            verb: verb.to_owned(),
            query: request.query().ok_or_else(|| Refusal::invalid("The query is no UTF-8."))?,
            body,
            token: request.token().map(str::to_owned),
        })
    }

    /// The path with version and verb, as the discovery document writes it.
    pub(super) fn full_path(&self) -> String {
        match self.verb.as_str() {
            "" => format!("v1/{}", self.path),
            verb => format!("v1/{}:{verb}", self.path),
        }
    }

    /// A parameter of the query.
    pub(super) fn parameter(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub(super) fn fields(&self) -> Fields<'_> {
        Fields::of(&self.body)
    }

    /// Whether enumerations are to be answered as numbers.
    pub(super) fn wants_numbers(&self) -> bool {
        self.parameter("$alt").is_some_and(|value| value.split(';').any(|part| part == "enum-encoding=int"))
    }

    /// What this server does not do is refused rather than passed over.
    pub(super) fn refuse_parameters(&self, names: &[&str]) -> Result<(), Refusal> {
        match names.iter().find(|name| self.parameter(name).is_some_and(|value| !value.is_empty())) {
            None => Ok(()),
            Some(name) => Err(Refusal::new(
                Code::Unimplemented,
                format!("This server does not know the parameter {name}."),
            )),
        }
    }
}

fn not_served(request: &Request) -> Refusal {
    Refusal::new(Code::NotFound, format!("Nothing is served at {}.", request.path()))
}
