//! What no client of Google's sends or asks for, and what both forms of the wire
//! are.

use std::time::Duration;

use super::*;

#[test]
fn enumerations_are_numbers_for_those_who_ask_and_names_for_others() {
    let served = Served::new();
    let numbers = "$alt=json;enum-encoding=int";
    for query in [numbers, "%24alt=json%3Benum-encoding%3Dint"] {
        let key = served.ok("GET", &format!("/v1/{KEY}?{query}"), &Value::Null);
        assert_eq!((&key["purpose"], &key["primary"]["state"]), (&json!(1), &json!(1)), "{query}");
        assert_eq!(key["versionTemplate"], json!({ "algorithm": 1, "protectionLevel": 1 }), "{query}");
    }
    let key = served.ok("GET", &format!("/v1/{KEY}?$alt=json"), &Value::Null);
    assert_eq!((&key["purpose"], &key["primary"]["state"]), (&json!("ENCRYPT_DECRYPT"), &json!("ENABLED")));
    let version = format!("/v1/{KEY}/cryptoKeyVersions/1?updateMask=state&{numbers}");
    let disabled = served.ok("PATCH", &version, &json!({ "state": 2 }));
    assert_eq!(disabled["state"], 2);
    let job = format!("/v1/{RING}/importJobs?importJobId=j&{numbers}");
    let job = served.ok("POST", &job, &json!({ "importMethod": 6, "protectionLevel": 2 }));
    assert_eq!(job["state"], 2, "ACTIVE of import jobs, which is DISABLED of versions");
}

#[test]
fn what_is_no_call_is_refused() {
    let served = Served::new();
    for (method, path, body, code, message) in [
        ("GET", "/v2/x", "", "NOT_FOUND", "Nothing is served at /v2/x."),
        ("POST", "/v1/x:encrypt", "{", "INVALID_ARGUMENT", "Invalid JSON payload received."),
    ] {
        let (status, error) = served.send(method, path, "", body);
        let (code, message) = if served.gcp.is_checked() {
            ("INTERNAL", format!("{method} {path}: the request is not as described: {message}"))
        } else {
            (code, message.to_owned())
        };
        assert_eq!((&error["error"]["code"], &error["error"]["status"]), (&json!(status), &json!(code)));
        assert!(error["error"]["message"].as_str().unwrap().starts_with(&message), "{error}");
    }
    assert_eq!(served.gcp.violations().len(), if served.gcp.is_checked() { 2 } else { 0 });
}

#[test]
fn what_is_no_base64_is_refused_and_not_repeated() {
    let served = Served::new();
    let refused =
        served.refused("POST", &format!("/v1/{KEY}:encrypt"), None, &json!({ "plaintext": "sécret" }));
    let (code, message) = if served.gcp.is_checked() {
        let described = "EncryptRequest.plaintext has not the format byte";
        ("INTERNAL", format!("POST /v1/{KEY}:encrypt: the request is not as described: {described}"))
    } else {
        let message = "Invalid value at 'plaintext' (TYPE_BYTES), Base64 decoding failed";
        ("INVALID_ARGUMENT", message.to_owned())
    };
    assert_eq!(refused, (code.to_owned(), message.clone()));
    assert_eq!(served.gcp.violations(), if served.gcp.is_checked() { vec![message] } else { vec![] });
}

#[test]
fn a_token_that_is_called_as_a_role_may_do_what_the_role_may() {
    let served = Served::new();
    let sealed = served.ok("POST", &format!("/v1/{KEY}:encrypt"), &json!({ "plaintext": "" }));
    let calls = [
        ("encrypt", "POST", format!("/v1/{KEY}:encrypt"), json!({ "plaintext": "" })),
        ("decrypt", "POST", format!("/v1/{KEY}:decrypt"), json!({ "ciphertext": sealed["ciphertext"] })),
        ("get", "GET", format!("/v1/{KEY}"), Value::Null),
        ("list", "GET", format!("/v1/{RING}/cryptoKeys"), Value::Null),
        ("create", "POST", format!("/v1/{KEY}/cryptoKeyVersions"), json!({})),
        (
            "random",
            "POST",
            format!("/v1/{LOCATION}:generateRandomBytes"),
            json!({ "lengthBytes": 8, "protectionLevel": "HSM" }),
        ),
    ];
    let may = |token: &str| -> Vec<&str> {
        let allowed = |(_, method, target, body): &&(_, &str, String, Value)| {
            let (status, answer) = served.ask(method, target, Some(token), body);
            assert!([200, 403].contains(&status), "{token} {target}: {answer}");
            status == 200
        };
        calls.iter().filter(allowed).map(|(name, ..)| *name).collect()
    };
    assert_eq!(may("encrypter"), ["encrypt"]);
    assert_eq!(may("decrypter"), ["decrypt"]);
    assert_eq!(may("encrypterDecrypter"), ["encrypt", "decrypt"]);
    assert_eq!(may("cryptoOperator"), ["encrypt", "decrypt", "random"]);
    assert_eq!(may("viewer"), ["get", "list"]);
    assert_eq!(may("admin"), ["get", "list", "create"]);
    assert_eq!(may("nobody"), [""; 0]);
    assert_eq!(may("ya29.something"), ["encrypt", "decrypt", "get", "list", "create", "random"]);
    let (code, _) = served.refused("GET", &format!("/v1/{KEY}"), Some("expired"), &Value::Null);
    assert_eq!(code, "UNAUTHENTICATED");
    let missing = format!("/v1/{RING}/cryptoKeys/missing");
    let (code, _) = served.refused("GET", &missing, Some("encrypter"), &Value::Null);
    assert_eq!(code, "PERMISSION_DENIED", "who may not know is not told that it does not exist");
}

#[test]
fn keys_of_other_purposes_do_not_encrypt() {
    let served = Served::new();
    let template = json!({ "algorithm": "HMAC_SHA256" });
    let made = served.make_key("m", &json!({ "purpose": "MAC", "versionTemplate": template }));
    assert_eq!(made.get("primary"), None);
    let mac = format!("{RING}/cryptoKeys/m");
    for (call, body) in [
        (":encrypt", json!({ "plaintext": "" })),
        (":decrypt", json!({ "ciphertext": "" })),
        (":updatePrimaryVersion", json!({ "cryptoKeyVersionId": "1" })),
    ] {
        let (code, message) = served.refused("POST", &format!("/v1/{mac}{call}"), None, &body);
        assert_eq!(code, "INVALID_ARGUMENT");
        assert!(message.contains("purpose MAC"), "{message}");
    }
}

#[test]
fn locations_are_listed() {
    let served = Served::new();
    let all = served.ok("GET", "/v1/projects/p/locations", &Value::Null);
    assert!(
        all["locations"].as_array().unwrap().iter().any(|location| location["name"] == LOCATION),
        "{all}"
    );
    let one = served.ok("GET", &format!("/v1/{LOCATION}"), &Value::Null);
    assert_eq!(one["metadata"]["hsmAvailable"], true);
    assert_eq!(served.gcp.violations(), [] as [&str; 0]);
}

#[test]
fn the_next_page_begins_behind_the_last_one_though_more_was_made_meanwhile() {
    let served = Served::new();
    for id in ["b", "d", "f"] {
        served.make_key(id, &json!({}));
    }
    let list = |token: &str| {
        served.ok("GET", &format!("/v1/{RING}/cryptoKeys?pageSize=2&pageToken={token}"), &Value::Null)
    };
    let names = |page: &Value| -> Vec<String> {
        let keys = page["cryptoKeys"].as_array().unwrap();
        keys.iter().map(|key| key["name"].as_str().unwrap().rsplit('/').next().unwrap().to_owned()).collect()
    };
    let first = list("");
    served.make_key("a", &json!({}));
    served.make_key("e", &json!({}));
    let second = list(first["nextPageToken"].as_str().unwrap());
    assert_eq!((names(&first), names(&second)), (vec!["b".into(), "d".into()], vec!["e".into(), "f".into()]));
    assert_eq!(second["totalSize"], 6);
    let (code, _) = served.refused("GET", &format!("/v1/{RING}/cryptoKeys?pageSize=-1"), None, &Value::Null);
    assert_eq!(code, "INVALID_ARGUMENT");
}

#[test]
fn changes_take_effect_when_every_server_knows_of_them() {
    let served = Served::new();
    let minute = Duration::from_secs(60);
    served.gcp.set_propagation(minute);
    let encrypted_by = || {
        let answer = served.ok("POST", &format!("/v1/{KEY}:encrypt"), &json!({ "plaintext": "" }));
        answer["name"].as_str().unwrap().rsplit('/').next().unwrap().to_owned()
    };
    served.ok("POST", &format!("/v1/{KEY}/cryptoKeyVersions"), &json!({}));
    let switch = json!({ "cryptoKeyVersionId": "2" });
    let switched = served.ok("POST", &format!("/v1/{KEY}:updatePrimaryVersion"), &switch);
    assert_eq!(switched["primary"]["name"], format!("{KEY}/cryptoKeyVersions/2"));
    assert_eq!(encrypted_by(), "1", "as if it had not been switched");
    served.gcp.advance(minute);
    assert_eq!(encrypted_by(), "2");
    let version = format!("/v1/{KEY}/cryptoKeyVersions/2?updateMask=state");
    for state in ["DISABLED", "ENABLED", "DISABLED"] {
        assert_eq!(served.ok("PATCH", &version, &json!({ "state": state }))["state"], state);
        assert_eq!(encrypted_by(), "2", "{state}");
    }
    served.gcp.advance(minute);
    let (code, _) = served.refused("POST", &format!("/v1/{KEY}:encrypt"), None, &json!({ "plaintext": "" }));
    assert_eq!(code, "FAILED_PRECONDITION");
    served.ok("PATCH", &version, &json!({ "state": "ENABLED" }));
    assert_eq!(encrypted_by(), "2", "enabling is known at once");
}
