//! Answers as they are documented: `gcp/documented/*.json`.

use std::collections::BTreeSet;

use envelope_testkit::gcp_server::State;

use super::*;

#[test]
fn answers_are_as_documented() {
    let cases = shared::cases("gcp/documented");
    assert!(cases.len() >= 15, "{cases:?}");
    for (name, case) in cases {
        answers_as(&name, &case);
    }
}

fn answers_as(name: &str, case: &Value) {
    let served = Served::new();
    served.make_key("other", &json!({}));
    let sealed = served.ok("POST", &format!("/v1/{KEY}:encrypt"), &json!({ "plaintext": SECRET }));
    let opened =
        served.ok("POST", &format!("/v1/{KEY}:decrypt"), &json!({ "ciphertext": sealed["ciphertext"] }));
    let version = format!("{KEY}/cryptoKeyVersions/1");
    if let Some(state) = case["state"].as_str() {
        served.gcp.set_state(&version, State::from_name(state).unwrap());
    }
    let names = [
        ("{KEY}", KEY),
        ("{VERSION}", &version),
        ("{OTHER_KEY}", &format!("{RING}/cryptoKeys/other")),
        ("{RING}", RING),
        ("{RING_ID}", "r"),
        ("{LOCATION}", LOCATION),
        ("{CIPHERTEXT}", sealed["ciphertext"].as_str().unwrap()),
        ("{CRC32C}", opened["plaintextCrc32c"].as_str().unwrap()),
    ];
    let call = shared::filled(&case["call"], &names);
    let expected = shared::filled(&case["answer"], &names);
    let (method, path) = (call["method"].as_str().unwrap(), call["path"].as_str().unwrap());
    let (status, answer) = served.ask(method, path, call["token"].as_str(), &call["body"]);
    assert_eq!(expected["status"], status, "{name}: {answer}");
    if status == 200 {
        let fields: BTreeSet<&str> = answer.as_object().unwrap().keys().map(String::as_str).collect();
        let known: BTreeSet<&str> =
            expected["fields"].as_array().unwrap().iter().map(|field| field.as_str().unwrap()).collect();
        assert_eq!(fields, known, "{name}");
        for (field, value) in expected["equal"].as_object().into_iter().flatten() {
            assert_eq!(&answer[field], value, "{name}: {field}");
        }
    } else {
        let error = &answer["error"];
        assert_eq!(error["code"], status, "{name}");
        assert_eq!(
            (&error["status"], &error["message"]),
            (&expected["code"], &expected["message"]),
            "{name}"
        );
        if let Some(details) = expected.get("details") {
            assert_eq!(&error["details"], details, "{name}");
        }
    }
    assert_eq!(served.gcp.violations(), [] as [&str; 0], "{name}");
}

/// `secret`
const SECRET: &str = "c2VjcmV0";
