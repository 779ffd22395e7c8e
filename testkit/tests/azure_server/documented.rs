//! Answers as they are documented: `azure/documented/*.json`.

use std::{collections::BTreeSet, time::Duration};

use super::*;

#[test]
fn answers_are_as_documented() {
    let cases = shared::cases("azure/documented");
    assert!(cases.len() >= 14, "{cases:?}");
    for (name, case) in cases {
        answers_as(&name, &case);
    }
}

fn answers_as(name: &str, case: &Value) {
    let served = Served::new();
    let key = path(&served.key);
    let wrapped = served.ok("POST", VAULT, &format!("{key}/wrapkey"), &wrap());
    if case["change"].is_object() {
        served.ok("PATCH", VAULT, key, &case["change"]);
    }
    if case["deleted"] == true {
        served.ok("DELETE", VAULT, "/keys/k", &Value::Null);
    }
    served.azure.set_firewall(case["firewall"] == true);
    if let Some(seconds) = case["throttled"].as_u64() {
        served.azure.throttle(1, Duration::from_secs(seconds));
    }
    let names = [
        ("{KEY}", served.key.as_str()),
        ("{PATH}", key),
        ("{CIPHERTEXT}", wrapped["value"].as_str().unwrap()),
        ("{LOGIN}", &served.service.login()),
        ("{TENANT}", "00000000-0000-4000-8000-000000000001"),
    ];
    let (call, expected) = (shared::filled(&case["call"], &names), shared::filled(&case["answer"], &names));
    let token = call.get("token").map_or(Some("all"), Value::as_str);
    let (method, path) = (call["method"].as_str().unwrap(), call["path"].as_str().unwrap());
    let answer = served.ask(method, VAULT, path, token, &call["body"]);
    assert_eq!(expected["status"], answer.status, "{name}: {answer:?}");
    if answer.status == 200 {
        let fields: BTreeSet<&str> = answer.body.as_object().unwrap().keys().map(String::as_str).collect();
        let known: BTreeSet<&str> =
            expected["fields"].as_array().unwrap().iter().map(|field| field.as_str().unwrap()).collect();
        assert_eq!(fields, known, "{name}");
        for (field, value) in expected["equal"].as_object().into_iter().flatten() {
            assert_eq!(answer.body.pointer(field), Some(value), "{name}: {field}");
        }
    } else {
        let error = &answer.body["error"];
        let inner = error["innererror"].get("code").unwrap_or(&Value::Null);
        assert_eq!((&error["code"], inner), (&expected["code"], &expected["inner"]), "{name}");
        let message = expected["message"].as_str().unwrap();
        assert!(error["message"].as_str().unwrap().starts_with(message), "{name}: {error}");
    }
    if let Some(header) = expected["header"].as_str() {
        assert!(answer.head.lines().any(|line| line == header), "{name}: {}", answer.head);
    }
    assert_eq!(served.azure.violations(), [] as [&str; 0], "{name}");
}

/// A request to wrap `secret`.
fn wrap() -> Value {
    json!({ "alg": "RSA-OAEP-256", "value": "c2VjcmV0" })
}
