//! Answers as they are documented: `azure/documented/*.json`.

use std::{collections::BTreeSet, fs, path::Path, time::Duration};

use super::*;

#[test]
fn answers_are_as_documented() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("azure/documented");
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(files.len() >= 14, "{files:?}");
    for file in files {
        let name = file.file_stem().unwrap().to_str().unwrap();
        let case: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
        for told in ["what", "source", "seen", "said"] {
            assert!(case[told].as_str().is_some_and(|text| !text.is_empty()), "{name} does not tell {told}");
        }
        answers_as(name, &case);
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
    let (call, expected) = (filled(&case["call"], &names), filled(&case["answer"], &names));
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

/// With the names filled in, everywhere.
fn filled(value: &Value, names: &[(&str, &str)]) -> Value {
    match value {
        Value::String(text) => {
            Value::String(names.iter().fold(text.clone(), |text, (name, value)| text.replace(name, value)))
        }
        Value::Array(all) => all.iter().map(|value| filled(value, names)).collect(),
        Value::Object(all) => all.iter().map(|(key, value)| (key.clone(), filled(value, names))).collect(),
        other => other.clone(),
    }
}

/// A request to wrap `secret`.
fn wrap() -> Value {
    json!({ "alg": "RSA-OAEP-256", "value": "c2VjcmV0" })
}
