//! What no client of Microsoft's sends or asks for, and what tests set.

use std::time::Duration;

use envelope_testkit::http_server;

use super::*;

#[test]
fn what_is_not_as_the_api_is_described_is_a_violation() {
    let served = Served::new();
    let key = path(&served.key).to_owned();
    let wrap = |more: Value| {
        let mut body = json!({ "alg": "RSA-OAEP-256", "value": "c2VjcmV0" });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body
    };
    let mut expected = Vec::new();
    for (method, target, body, wrong) in [
        ("POST", format!("{key}/wrapkey"), wrap(json!({ "extra": 1 })), "body.extra is not described"),
        (
            "POST",
            format!("{key}/wrapkey"),
            wrap(json!({ "value": "c2VjcmV0=" })),
            "body.value is no base64url",
        ),
        (
            "POST",
            format!("{key}/wrapkey"),
            wrap(json!({ "alg": "ROT13" })),
            "body.alg is no JsonWebKeyEncryptionAlgorithm",
        ),
        ("POST", format!("{key}/wrapkey"), Value::Null, "body is no KeyOperationsParameters"),
        ("POST", "/keys/k/rotate".into(), json!({}), "there is a body"),
        (
            "PATCH",
            key.clone(),
            json!({ "attributes": { "created": 1 } }),
            "body.attributes.created is not described",
        ),
        ("PATCH", key.clone(), json!({ "attributes": { "exp": "soon" } }), "body.attributes.exp is no date"),
        ("PATCH", key.clone(), json!({ "tags": { "a": 1 } }), "body.tags is no texts"),
        ("PATCH", key.clone(), json!({ "key_ops": "wrapKey" }), "body.key_ops is no list"),
        ("GET", "/keys?filter=x".into(), Value::Null, "there is no parameter filter"),
        ("GET", "/keys/k".into(), Value::Null, "there is no such operation"),
        ("GET", "/secrets".into(), Value::Null, "there is no such operation"),
    ] {
        let line = format!(
            "{method} {}: the request is not as described: {wrong}",
            target.split('?').next().unwrap()
        );
        let refused = served.refused(method, VAULT, &target, "all", &body);
        assert_eq!(refused, (500, "InternalServerError".to_owned(), line.clone()));
        expected.push(line);
    }
    for (target, wrong) in
        [("/keys", "there is no api-version"), ("/keys?api-version=1.0", "the API version 1.0 is not known")]
    {
        let answer = served.send("GET", VAULT, target, "authorization: Bearer all\r\n", "");
        let line = format!("GET /keys: the request is not as described: {wrong}");
        assert_eq!(answer.body["error"]["message"], line);
        expected.push(line);
    }
    let answer = served.send("POST", VAULT, &format!("{key}/wrapkey"), "authorization: Bearer all\r\n", "{");
    let line = answer.body["error"]["message"].as_str().unwrap().to_owned();
    assert!(line.contains("the request is not as described: the body is no JSON"), "{line}");
    expected.push(line);
    assert_eq!(served.azure.violations(), expected);
}

#[test]
fn sha_1_and_rsa_1_5_are_understood_and_are_violations() {
    let served = Served::new();
    let key = path(&served.key);
    for algorithm in ["RSA-OAEP", "RSA1_5"] {
        let body = json!({ "alg": algorithm, "value": "c2VjcmV0" });
        let wrapped = served.ok("POST", VAULT, &format!("{key}/wrapkey"), &body);
        let body = json!({ "alg": algorithm, "value": wrapped["value"] });
        let opened = served.ok("POST", VAULT, &format!("{key}/unwrapkey"), &body);
        assert_eq!(opened, json!({ "kid": served.key, "value": "c2VjcmV0" }));
    }
    let line = |call: &str, algorithm: &str| format!("POST {key}/{call}: {algorithm} shall not be used");
    let expected = [
        line("wrapkey", "RSA-OAEP"),
        line("unwrapkey", "RSA-OAEP"),
        line("wrapkey", "RSA1_5"),
        line("unwrapkey", "RSA1_5"),
    ];
    assert_eq!(served.azure.violations(), expected);
}

#[test]
fn an_empty_version_is_the_latest_one() {
    let served = Served::new();
    let wrapped = json!({ "alg": "RSA-OAEP-256", "value": "c2VjcmV0" });
    assert_eq!(served.ok("POST", VAULT, "/keys/k//wrapkey", &wrapped)["kid"], served.key);
    let rotated = served.ok("POST", VAULT, "/keys/k/rotate", &Value::Null)["key"]["kid"].clone();
    assert_ne!(rotated, served.key);
    assert_eq!(served.ok("POST", VAULT, "/keys/k//wrapkey", &wrapped)["kid"], rotated);
    assert_eq!(served.ok("GET", VAULT, "/keys/k/", &Value::Null)["key"]["kid"], rotated);
    let changed = served.ok("PATCH", VAULT, "/keys/k/", &json!({ "attributes": { "enabled": false } }));
    assert_eq!((&changed["key"]["kid"], &changed["attributes"]["enabled"]), (&rotated, &json!(false)));
    let old = served.ok("GET", VAULT, path(&served.key), &Value::Null);
    assert_eq!(old["attributes"]["enabled"], true);
    let curve = served.ok("POST", VAULT, "/keys/k/create", &json!({ "kty": "EC" }));
    assert_eq!((&curve["key"]["kty"], &curve["key"]["key_ops"]), (&json!("EC"), &json!(["sign", "verify"])));
    assert_eq!(served.ok("GET", VAULT, path(&served.key), &Value::Null)["key"]["kty"], "RSA");
}

#[test]
fn aes_gcm_has_a_nonce_of_the_service_and_binds_the_additional_data() {
    let served = Served::new();
    let key = path(&served.oct);
    let sealed = served.ok(
        "POST",
        HSM,
        &format!("{key}/encrypt"),
        &json!({ "alg": "A256GCM", "value": "c2VjcmV0", "aad": "YWFk" }),
    );
    assert_eq!(sealed["kid"], served.oct);
    let open = |aad: &str| {
        json!({
            "alg": "A256GCM", "value": sealed["value"], "iv": sealed["iv"], "tag": sealed["tag"], "aad": aad,
        })
    };
    let opened = served.ok("POST", HSM, &format!("{key}/decrypt"), &open("YWFk"));
    assert_eq!(opened, json!({ "kid": served.oct, "value": "c2VjcmV0" }));
    let bad = |message: &str| (400, "BadParameter".to_owned(), message.to_owned());
    let tag = bad("The authentication tag is not valid.");
    assert_eq!(served.refused("POST", HSM, &format!("{key}/decrypt"), "all", &open("YWFl")), tag);
    let mine = json!({ "alg": "A256GCM", "value": "c2VjcmV0", "iv": sealed["iv"] });
    let refused = served.refused("POST", HSM, &format!("{key}/encrypt"), "all", &mine);
    assert_eq!(refused, bad("The service makes the iv and the tag of AES-GCM."));
    let wrapped = json!({ "alg": "A256GCM", "value": "c2VjcmV0" });
    let refused = served.refused("POST", HSM, &format!("{key}/wrapkey"), "all", &wrapped);
    assert_eq!(refused, bad("The algorithm A256GCM is not supported for wrapKey by this key."));
    assert_eq!(served.azure.violations(), [] as [&str; 0]);
}

#[test]
fn deletions_take_their_time_and_purges_wait_when_a_test_says_so() {
    let served = Served::new();
    let minute = Duration::from_secs(60);
    served.azure.set_deletion_time(minute);
    served.ok("DELETE", VAULT, "/keys/k", &Value::Null);
    let create = || served.refused("POST", VAULT, "/keys/k/create", "all", &json!({ "kty": "RSA" }));
    let found = || served.ask("GET", VAULT, "/deletedkeys/k", Some("all"), &Value::Null).status;
    assert_eq!((create().0, create().1, found()), (409, "Conflict/ObjectIsBeingDeleted".to_owned(), 404));
    served.azure.advance(minute);
    assert_eq!(
        (create().0, create().1, found()),
        (409, "Conflict/ObjectIsDeletedButRecoverable".to_owned(), 200)
    );
    served.azure.set_purge_protection(true);
    let (status, code, _) = served.refused("DELETE", VAULT, "/deletedkeys/k", "all", &Value::Null);
    assert_eq!((status, code.as_str()), (403, "Forbidden"));
    let deleted = served.ok("GET", VAULT, "/deletedkeys/k", &Value::Null);
    assert_eq!(deleted["attributes"]["recoveryLevel"], "Recoverable");
    served.azure.advance(Duration::from_secs(90 * 24 * 60 * 60));
    assert_eq!(found(), 404, "what is deleted is purged in the end");
    served.ok("POST", VAULT, "/keys/k/create", &json!({ "kty": "RSA" }));
}

#[test]
fn network_rules_keep_everybody_out_until_they_do_not() {
    let served = Served::new();
    served.azure.set_firewall(true);
    let (status, code, _) = served.refused("GET", HSM, "/keys/o/", "all", &Value::Null);
    assert_eq!((status, code.as_str()), (403, "Forbidden/ForbiddenByFirewall"));
    served.azure.set_firewall(false);
    served.ok("GET", HSM, "/keys/o/", &Value::Null);
}

#[test]
fn an_answer_can_be_altered() {
    let azure = AzureServer::new();
    let service = azure.serve_with(|request, reply| match request.header("authorization") {
        Some(_) => http_server::Answer::json(503, "{}").header("retry-after", "1"),
        None => reply.into(),
    });
    let served = Served { azure, service, key: String::new(), oct: String::new() };
    assert_eq!(served.ask("GET", VAULT, "/keys", None, &Value::Null).status, 401);
    let altered = served.ask("GET", VAULT, "/keys", Some("all"), &Value::Null);
    assert_eq!((altered.status, altered.body), (503, json!({})));
    assert_eq!((served.azure.exchanges(), served.service.http().count()), (2, 2));
}

#[test]
fn tokens_are_handed_out_to_who_knows_the_secret_or_shows_an_assertion() {
    let served = Served::new();
    let port = served.service.port();
    let ask = |form: &str| {
        let fields = "content-type: application/x-www-form-urlencoded\r\n";
        served.send("POST", "login.localhost", "/some-tenant/oauth2/v2.0/token", fields, form)
    };
    let scope = "scope=https%3A%2F%2Fvault.localhost%2F.default&grant_type=client_credentials";
    let assertion = "client_assertion_type=urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer";
    for proof in ["client_secret=secret", &format!("{assertion}&client_assertion=a.b.c")] {
        let token = ask(&format!("{scope}&client_id=reader&{proof}"));
        let expected = json!({
            "token_type": "Bearer", "expires_in": 3599, "ext_expires_in": 3599, "access_token": "reader",
        });
        assert_eq!((token.status, token.body), (200, expected));
    }
    for (form, status, code) in [
        (format!("{scope}&client_id=reader&client_secret=wrong"), 401, "invalid_client"),
        (format!("{scope}&client_id=reader&{assertion}&client_assertion=x"), 401, "invalid_client"),
        ("grant_type=client_credentials&client_secret=secret&scope=x".to_owned(), 400, "invalid_resource"),
        ("grant_type=password".to_owned(), 400, "unsupported_grant_type"),
    ] {
        let refused = ask(&form);
        assert_eq!((refused.status, &refused.body["error"]), (status, &json!(code)));
    }
    let path = "/metadata/identity/oauth2/token?resource=https://vault.localhost&client_id=reader";
    let managed = served.send("GET", "localhost", path, "metadata: true\r\n", "");
    assert_eq!((managed.status, &managed.body["access_token"]), (200, &json!("reader")));
    let nothing = served.send("GET", "login.localhost", "/nothing", "", "");
    let message = format!("Nothing is served at login.localhost:{port}.");
    assert_eq!(nothing.body, json!({ "error": { "code": "NotFound", "message": message } }));
    assert_eq!(served.azure.violations(), [] as [&str; 0]);
}
