//! Google's own description of the API, and what is checked by it: the discovery
//! document `cloudkms.v1.json`.
//!
//! It is not a part of this repository. The package `google-api-python-client` of
//! Python has it (`googleapiclient/discovery_cache/documents/`), and
//! `scripts/servers.d/gcp` takes it from there.

mod check;
mod format;
mod method;

use std::{collections::BTreeMap, env, fs, io, path::Path, sync::LazyLock};

use serde_json::Value;

use self::{
    check::{Enums, Schemas},
    method::Method,
};
use super::{call::Call, reply::Reply};

/// The document.
#[derive(Debug)]
pub(super) struct Discovery {
    methods: Vec<Method>,
    /// Parameters of every method.
    parameters: BTreeMap<String, Value>,
    schemas: Schemas,
}

impl Discovery {
    /// The document that the environment names, read once.
    ///
    /// # Panics
    ///
    /// When it cannot be read; when none is named and servers are required.
    #[expect(clippy::panic, reason = "a test whose server is not checked shall not pass")]
    pub(super) fn of_environment() -> Option<&'static Self> {
        static DOCUMENT: LazyLock<Option<Discovery>> = LazyLock::new(|| {
            let Some(path) = env::var_os(VARIABLE).filter(|path| !path.is_empty()) else {
                let required = env::var_os("REQUIRE_SERVERS").is_some_and(|required| required == "1");
                assert!(!required, "REQUIRE_SERVERS=1, and ${VARIABLE} is not set");
                return None;
            };
            match Discovery::read(path.as_ref()) {
                Ok(document) => Some(document),
                Err(error) => panic!("{VARIABLE}={}: {error}", path.display()),
            }
        });
        DOCUMENT.as_ref()
    }

    pub(super) fn read(path: &Path) -> io::Result<Self> {
        let document: Value = serde_json::from_slice(&fs::read(path)?)?;
        Self::parse(&document)
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "this is no discovery document"))
    }

    fn parse(document: &Value) -> Option<Self> {
        let mut methods = Vec::new();
        method::collect(document, &mut methods)?;
        Some(Self {
            methods,
            parameters: map(&document["parameters"])?,
            schemas: Schemas::new(map(&document["schemas"])?),
        })
    }

    /// How many methods it describes.
    #[cfg(test)]
    pub(super) fn method_count(&self) -> usize {
        self.methods.len()
    }

    /// What is wrong with a request; nothing when it is as the document says.
    pub(super) fn check_request(&self, call: &Call) -> Vec<String> {
        let Some(method) = self.method(call) else {
            return vec![format!("there is no method {} {}", call.method, call.full_path())];
        };
        let mut wrong = Vec::new();
        for (name, value) in &call.query {
            let described = method.parameters.get(name).or_else(|| self.parameters.get(name));
            match described {
                _ if name == "$alt" => check_alt(value, &mut wrong),
                Some(described) if described["location"] == "query" => {
                    let schema = method.request.as_deref();
                    self.schemas.check_parameter(name, value, described, schema, &mut wrong);
                }
                _ => wrong.push(format!("{} has no parameter {name}", method.id)),
            }
        }
        match &method.request {
            None if call.body.is_null() => {}
            None => wrong.push(format!("{} has no body", method.id)),
            Some(schema) => {
                // A field that is bound to the path may be in the body too
                // (google/api/http.proto, `body: "*"`).
                let mut body = call.body.clone();
                if let Some(fields) = body.as_object_mut() {
                    fields.retain(|name, value| {
                        let of_path = method.parameters.get(name).is_some_and(|it| it["location"] == "path");
                        !(of_path && value.is_string())
                    });
                }
                if !body.is_null() {
                    self.schemas.check(schema, &body, Enums::Either, &mut wrong);
                }
            }
        }
        wrong
    }

    /// What is wrong with an answer.
    pub(super) fn check_reply(&self, call: &Call, reply: &Reply, enums: Enums) -> Vec<String> {
        let mut wrong = Vec::new();
        if reply.status != 200 {
            check::check_error(reply, &mut wrong);
        } else if let Some(method) = self.method(call) {
            match &method.response {
                Some(schema) => self.schemas.check(schema, &reply.body, enums, &mut wrong),
                None => wrong.push(format!("{} answers nothing", method.id)),
            }
        }
        wrong
    }

    /// The method whose path says most about that of `call`.
    fn method(&self, call: &Call) -> Option<&Method> {
        let path = call.full_path();
        let fitting = self.methods.iter().filter(|method| method.fits(&call.method, &path));
        fitting.max_by_key(|method| method.suffix.len())
    }
}

pub(super) use check::Enums as EnumForm;

fn check_alt(value: &str, wrong: &mut Vec<String>) {
    // https://cloud.google.com/apis/docs/system-parameters
    if !["json", "json;enum-encoding=int"].contains(&value) {
        wrong.push(format!("$alt={value} is not known"));
    }
}

fn map(value: &Value) -> Option<BTreeMap<String, Value>> {
    Some(value.as_object()?.iter().map(|(name, value)| (name.clone(), value.clone())).collect())
}

/// The variable that says where the document is.
const VARIABLE: &str = "ENVELOPE_TEST_GCP_DISCOVERY";

#[cfg(test)]
mod tests;
