//! The checks, by a document of the same form as Google's, of which every rule is
//! broken once.

use serde_json::json;

use super::*;
use crate::http_server::Request;

#[test]
fn what_is_as_described_passes() {
    for (method, target, body) in [
        ("GET", "/v1/things/a", Value::Null),
        ("GET", "/v1/things/a?alt=json&size=3&full=true&view=FULL&$alt=json;enum-encoding=int", Value::Null),
        ("GET", "/v1/things/a?view=1&size=0&size=-1&alt=", Value::Null),
        ("POST", "/v1/things/a:do", thing()),
        // As clients send it: the name in the body too, numbers for names, null for nothing.
        ("POST", "/v1/things/a/parts/1:do", json!({ "name": "things/a", "kind": 1, "at": null })),
        ("POST", "/v1/things/a:do", Value::Null),
        ("PATCH", "/v1/things/a?mask=count,inner.bytes", thing()),
    ] {
        assert_eq!(checked(method, target, &body), [""; 0], "{method} {target}");
    }
}

#[test]
fn each_deviation_of_a_request_is_told() {
    for (method, target, body, wrong) in [
        ("GET", "/v1/others/a", Value::Null, "there is no method GET v1/others/a"),
        ("PUT", "/v1/things/a", Value::Null, "there is no method PUT v1/things/a"),
        ("GET", "/v1/things/a/b", Value::Null, "there is no method GET v1/things/a/b"),
        ("GET", "/v1/things", Value::Null, "there is no method GET v1/things"),
        ("POST", "/v1/things/a:undo", Value::Null, "there is no method POST v1/things/a:undo"),
        ("GET", "/v1/things/a?colour=red", Value::Null, "things.get has no parameter colour"),
        ("GET", "/v1/things/a?name=b", Value::Null, "things.get has no parameter name"),
        ("GET", "/v1/things/a?size=many", Value::Null, "the parameter size cannot be 'many'"),
        ("GET", "/v1/things/a?full=yes", Value::Null, "the parameter full cannot be 'yes'"),
        ("GET", "/v1/things/a?view=HALF", Value::Null, "the parameter view cannot be 'HALF'"),
        ("GET", "/v1/things/a?$alt=xml", Value::Null, "$alt=xml is not known"),
        ("GET", "/v1/things/a", json!({}), "things.get has no body"),
        ("PATCH", "/v1/things/a?mask=colour", json!({}), "the parameter mask cannot be 'colour'"),
        ("PATCH", "/v1/things/a?mask=count.bytes", json!({}), "the parameter mask cannot be 'count.bytes'"),
        ("POST", "/v1/things/a:do", json!([]), "Thing is no object"),
        ("POST", "/v1/things/a:do", json!({ "name": 1 }), "Thing has no field name"),
    ] {
        assert_eq!(checked(method, target, &body), [wrong]);
    }
}

#[test]
fn each_deviation_of_a_field_is_told() {
    for (field, value, wrong) in [
        ("colour", json!("red"), "Thing has no field colour"),
        ("kind", json!("LARGE"), "Thing.kind is \"LARGE\", and not one of its enumeration"),
        ("count", json!(3), "Thing.count has not the format int64"),
        ("count", json!("three"), "Thing.count has not the format int64"),
        ("small", json!("3"), "Thing.small has not the format int32"),
        ("small", json!(3_000_000_000_u64), "Thing.small has not the format int32"),
        ("at", json!("2026-11-28"), "Thing.at has not the format google-datetime"),
        ("at", json!("2026-11-28T00:00:00+01:00"), "Thing.at has not the format google-datetime"),
        ("after", json!("1h"), "Thing.after has not the format google-duration"),
        ("inner", json!("x"), "Thing.inner is no object"),
        ("inner", json!({ "bytes": "_-==" }), "Thing.inner.bytes has not the format byte"),
        ("inner", json!({ "bytes": "AA" }), "Thing.inner.bytes has not the format byte"),
        ("on", json!("true"), "Thing.on is no \"boolean\""),
        ("texts", json!("x"), "Thing.texts is no \"array\""),
        ("texts", json!(["x", 1]), "Thing.texts[1] is no \"string\""),
        ("labels", json!({ "a": 1 }), "Thing.labels.a is no \"string\""),
        ("labels", json!([]), "Thing.labels is no \"object\""),
        ("strange", json!(""), "Thing.strange: there is no format uint7"),
        ("lost", json!({}), "Thing.lost: there is no schema Nobody"),
    ] {
        let mut thing = thing();
        thing[field] = value.clone();
        assert_eq!(checked("POST", "/v1/things/a:do", &thing), [wrong]);
        let told = replied(200, thing, Enums::Names);
        assert_eq!(told, [wrong], "an answer too");
    }
}

#[test]
fn enumerations_of_answers_are_in_the_form_that_was_asked_for() {
    let wrong = |value: &str| vec![format!("Thing.kind is {value}, and not one of its enumeration")];
    assert_eq!(replied(200, json!({ "kind": "SMALL" }), Enums::Names), [""; 0]);
    assert_eq!(replied(200, json!({ "kind": 1 }), Enums::Names), wrong("1"));
    assert_eq!(replied(200, json!({ "kind": 1 }), Enums::Numbers), [""; 0]);
    assert_eq!(replied(200, json!({ "kind": "SMALL" }), Enums::Numbers), wrong("\"SMALL\""));
    assert_eq!(
        replied(200, json!({ "at": null }), Enums::Names),
        ["Thing.at has not the format google-datetime"]
    );
}

#[test]
fn refusals_are_in_googles_form() {
    let good = json!({ "code": 404, "message": "m", "status": "NOT_FOUND" });
    assert_eq!(replied(404, json!({ "error": good }), Enums::Names), [""; 0]);
    for (field, value) in [
        ("code", json!(400)),
        ("message", json!("")),
        ("status", json!(5)),
        ("reason", json!("x")),
        ("details", json!({})),
        ("details", json!([{ "reason": "x" }])),
    ] {
        let mut error = good.clone();
        error[field] = value;
        let told = replied(404, json!({ "error": error }), Enums::Names);
        assert!(
            matches!(told.as_slice(), [one] if one.starts_with("the refusal is not in Google's form")),
            "{field}"
        );
    }
}

#[test]
fn what_is_no_discovery_document_is_refused() {
    for (field, value) in [
        ("schemas", json!(null)),
        ("parameters", json!([])),
        ("methods", json!({ "get": {} })),
        (
            "methods",
            json!({ "get": { "id": "x", "httpMethod": "GET", "path": "v2/{+name}", "parameters": {} } }),
        ),
    ] {
        let mut document = document();
        document[field] = value;
        assert!(Discovery::parse(&document).is_none(), "{field}");
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("document.json");
    fs::write(&file, "{}").unwrap();
    assert_eq!(Discovery::read(&file).unwrap_err().to_string(), "this is no discovery document");
    assert_eq!(Discovery::read(&folder.path().join("none")).unwrap_err().kind(), io::ErrorKind::NotFound);
}

#[test]
fn google_describes_what_the_server_does() {
    let Some(file) = crate::servers::address("GCP_DISCOVERY") else { return };
    let google = Discovery::read(file.as_ref()).unwrap();
    assert!(google.method_count() > 50, "{}", google.method_count());
    let ring = "projects/p/locations/l/keyRings/r";
    let encrypt = format!("/v1/{ring}/cryptoKeys/k:encrypt");
    let check = |body| google.check_request(&call("POST", &encrypt, &body));
    assert_eq!(check(json!({ "plaintext": "AA==", "plaintextCrc32c": "1" })), [""; 0]);
    assert_eq!(
        check(json!({ "plaintextCrc32c": 1 })),
        ["EncryptRequest.plaintextCrc32c has not the format int64"]
    );
    assert_eq!(check(json!({ "aad": "" })), ["EncryptRequest has no field aad"]);
    let version = format!("/v1/{ring}/cryptoKeys/k/cryptoKeyVersions/1:encrypt");
    assert_eq!(google.check_request(&call("POST", &version, &json!({}))), [""; 0], "as the pattern allows");
}

fn checked(method: &str, target: &str, body: &Value) -> Vec<String> {
    Discovery::parse(&document()).unwrap().check_request(&call(method, target, body))
}

fn replied(status: u16, body: Value, enums: Enums) -> Vec<String> {
    let call = call("GET", "/v1/things/a", &Value::Null);
    Discovery::parse(&document()).unwrap().check_reply(&call, &Reply { status, body }, enums)
}

fn call(method: &str, target: &str, body: &Value) -> Call {
    let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
    let (method, target) = (method.to_owned(), target.to_owned());
    Call::read(&Request { number: 0, method, target, headers: Vec::new(), body }).unwrap()
}

fn thing() -> Value {
    json!({
        "kind": "SMALL",
        "count": "-3",
        "small": 3,
        "at": "2026-11-28T00:00:00.5Z",
        "after": "1.5s",
        "inner": { "bytes": "AA==" },
        "on": true,
        "texts": ["x"],
        "labels": { "a": "b" },
        "anything": { "a": [1] },
    })
}

fn document() -> Value {
    let name = json!({ "location": "path", "pattern": "^things/[^/]+$", "type": "string" });
    let any = json!({ "location": "path", "pattern": "^things/.*$", "type": "string" });
    let query = |kind: Value| {
        let mut kind = kind;
        kind["location"] = json!("query");
        kind
    };
    json!({
        "parameters": { "alt": query(json!({ "type": "string" })) },
        "resources": { "things": { "methods": {
            "get": {
                "id": "things.get", "httpMethod": "GET", "path": "v1/{+name}",
                "parameters": {
                    "name": name,
                    "size": query(json!({ "type": "integer", "format": "int32" })),
                    "full": query(json!({ "type": "boolean" })),
                    "view": query(json!({ "type": "string", "enum": ["BRIEF", "FULL"] })),
                },
                "response": { "$ref": "Thing" },
            },
            "do": {
                "id": "things.do", "httpMethod": "POST", "path": "v1/{+name}:do",
                "parameters": { "name": any },
                "request": { "$ref": "Thing" }, "response": { "$ref": "Thing" },
            },
            "patch": {
                "id": "things.patch", "httpMethod": "PATCH", "path": "v1/{+name}",
                "parameters": {
                    "name": name,
                    "mask": query(json!({ "type": "string", "format": "google-fieldmask" })),
                },
                "request": { "$ref": "Thing" }, "response": { "$ref": "Thing" },
            },
        } } },
        "schemas": {
            "Thing": { "properties": {
                "kind": { "type": "string", "enum": ["KIND_UNSPECIFIED", "SMALL"] },
                "count": { "type": "string", "format": "int64" },
                "small": { "type": "integer", "format": "int32" },
                "at": { "type": "string", "format": "google-datetime" },
                "after": { "type": "string", "format": "google-duration" },
                "inner": { "$ref": "Inner" },
                "on": { "type": "boolean" },
                "texts": { "type": "array", "items": { "type": "string" } },
                "labels": { "type": "object", "additionalProperties": { "type": "string" } },
                "anything": { "type": "object", "additionalProperties": { "type": "any" } },
                "strange": { "type": "string", "format": "uint7" },
                "lost": { "$ref": "Nobody" },
            } },
            "Inner": { "properties": { "bytes": { "type": "string", "format": "byte" } } },
        },
    })
}
