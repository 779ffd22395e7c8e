//! The configuration, without what may be secret: a value is shown where it is known to be none, and nowhere else.

use envelope_sdk::KeyUri;
use serde_json::{Map, Value as Json};
use toml::Value;

use crate::key_stores::registered;

/// As JSON, since what is hidden has no TOML.
pub(super) fn masked(document: &toml::Table) -> Json {
    table(document, &mut Vec::new())
}

fn table<'t>(document: &'t toml::Table, path: &mut Vec<&'t str>) -> Json {
    let mut shown = Map::new();
    for (name, value) in document {
        path.push(name);
        shown.insert(name.clone(), one(value, path));
        path.pop();
    }
    Json::Object(shown)
}

fn one<'t>(value: &'t Value, path: &mut Vec<&'t str>) -> Json {
    match value {
        Value::Table(document) => table(document, path),
        Value::Array(values) => Json::Array(values.iter().map(|value| one(value, path)).collect()),
        Value::Boolean(is) => (*is).into(),
        Value::Integer(number) if is_plain(path) => (*number).into(),
        Value::Float(number) if is_plain(path) => Json::from(*number),
        Value::String(text) if is_key(path) => key(text),
        Value::String(text) if is_plain(path) => text.as_str().into(),
        _ => HIDDEN.into(),
    }
}

/// A passphrase may have been written in the place of a key.
fn key(text: &str) -> Json {
    let is_known = |uri: &KeyUri| {
        let scheme = uri.scheme();
        registered()
            .iter()
            .any(|store| scheme == "passphrase" || scheme.split('-').next() == Some(store.provider))
    };
    match KeyUri::parse(text) {
        Ok(uri) if is_known(&uri) => uri.as_str().into(),
        _ => HIDDEN.into(),
    }
}

fn is_key(path: &[&str]) -> bool {
    matches!(path, ["keys" | "decrypt-keys"] | ["aliases", _] | ["profiles", _, "keys" | "decrypt-keys"])
}

/// Where no secret belongs, and whoever wrote one there would have got an error of it.
fn is_plain(path: &[&str]) -> bool {
    matches!(
        path,
        ["keystore"]
            | ["profiles", _, "keystore"]
            | ["local", "keystore" | "max-passphrase-work"]
            | ["policy" | "audit", "file"]
            | ["keyring", ..]
            | ["layers", ..]
            | ["aws" | "vault", "region" | "address" | "attempts"]
            | ["mcp", "roots" | "buckets" | "key-stores" | "audit-log" | "audit-public-key" | "prices"]
            | ["mcp", "listen" | "networks" | "hosts" | "origins" | "limits", ..]
    )
}

const HIDDEN: &str = "(not shown)";

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that goes wrong shall stop")]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_secret_is_not_shown_wherever_it_stands() {
        let text = r#"
            keys = ["local:main", "canary", "pass:canary"]
            keystore = "/srv/keystore.json"
            [aliases]
            a = "canary"
            [pkcs11]
            pin = "canary"
            pins = [4711]
            [vault]
            token = "canary"
            [profiles.p]
            keys = ["canary"]
            [layers.cache]
            entries = 7
            [unknown]
            deep = { deeper = "canary", number = 4711, is = true }
        "#;
        let shown = masked(&text.parse().unwrap());
        let said = shown.to_string();
        assert!(!said.contains("canary") && !said.contains("4711"), "{said}");
        assert_eq!(shown["keys"][0], "local:main");
        assert_eq!(shown["keystore"], "/srv/keystore.json");
        assert_eq!(shown["layers"]["cache"]["entries"], 7);
        assert_eq!(shown["unknown"]["deep"]["is"], true);
    }
}
