//! The methods that the document describes, by their paths.

use std::collections::BTreeMap;

use serde_json::Value;

/// A method: `HTTP_METHOD v1/{+VARIABLE}SUFFIX`.
#[derive(Debug)]
pub(super) struct Method {
    pub(super) id: String,
    pub(super) parameters: BTreeMap<String, Value>,
    /// The schema of the body.
    pub(super) request: Option<String>,
    pub(super) response: Option<String>,
    /// What follows the variable: `/COLLECTION`, `:VERB` or both.
    pub(super) suffix: String,
    http_method: String,
    /// What the variable looks like, part by part.
    pattern: Vec<Part>,
}

#[derive(Debug, PartialEq, Eq)]
enum Part {
    Literal(String),
    /// One part of any name.
    Any,
    /// All parts that are left, at least one.
    Rest,
}

/// Adds the methods of `described` and of the resources in it. `None` when
/// something is described in a way that this does not understand.
pub(super) fn collect(described: &Value, methods: &mut Vec<Method>) -> Option<()> {
    for method in described["methods"].as_object().into_iter().flat_map(serde_json::Map::values) {
        methods.push(Method::parse(method)?);
    }
    for resource in described["resources"].as_object().into_iter().flat_map(serde_json::Map::values) {
        collect(resource, methods)?;
    }
    Some(())
}

impl Method {
    fn parse(described: &Value) -> Option<Self> {
        let parameters = super::map(&described["parameters"])?;
        let (variable, suffix) = described["path"].as_str()?.strip_prefix("v1/{+")?.split_once('}')?;
        let pattern = parameters.get(variable)?["pattern"].as_str()?;
        let pattern = pattern.strip_prefix('^')?.strip_suffix('$')?;
        let schema = |name: &str| described[name]["$ref"].as_str().map(str::to_owned);
        Some(Self {
            id: described["id"].as_str()?.to_owned(),
            request: schema("request"),
            response: schema("response"),
            suffix: suffix.to_owned(),
            http_method: described["httpMethod"].as_str()?.to_owned(),
            pattern: parts(pattern)?,
            parameters,
        })
    }

    /// Whether `path`, which begins with `v1/`, is one of this method.
    pub(super) fn fits(&self, http_method: &str, path: &str) -> bool {
        let name = path.strip_prefix("v1/").and_then(|path| path.strip_suffix(&self.suffix));
        self.http_method == http_method && name.is_some_and(|name| self.fits_name(name))
    }

    fn fits_name(&self, name: &str) -> bool {
        let mut given = name.split('/');
        for part in &self.pattern {
            match (part, given.next()) {
                (_, None | Some("")) => return false,
                (Part::Literal(literal), Some(given)) if literal != given => return false,
                (Part::Rest, Some(_)) => return true,
                _ => {}
            }
        }
        given.next().is_none()
    }
}

fn parts(pattern: &str) -> Option<Vec<Part>> {
    // The slash within `[^/]+` separates nothing.
    let parts = pattern.replace("[^/]+", "*");
    let part = |part: &str| match part {
        "*" => Some(Part::Any),
        ".*" => Some(Part::Rest),
        literal if literal.bytes().all(|byte| byte.is_ascii_alphabetic()) => {
            Some(Part::Literal(literal.to_owned()))
        }
        _ => None,
    };
    parts.split('/').map(part).collect()
}
