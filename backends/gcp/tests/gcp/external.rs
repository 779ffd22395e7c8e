//! Keys of external key managers, and imported key material.

use envelope_gcp::Protection;
use envelope_sdk::{
    KeyAdmin, KeyProvider,
    KeyState::Active,
    ProviderErrorKind::{Invalid, Unsupported},
    admin::{AutoRotation, Detail, Details},
};
use serde_json::Value;

use super::*;

#[test]
fn a_key_of_an_external_key_manager_wraps_and_opens() {
    let gcp = Gcp::new();
    for (level, options) in [
        (Protection::External, &[("external-key-uri", "https://ekm.example/keys/1")][..]),
        (
            Protection::ExternalVpc,
            &[
                ("ekm-connection", "projects/tests/locations/europe-west3/ekmConnections/c"),
                ("ekm-key-path", "v0/keys/1"),
            ],
        ),
    ] {
        let new = NewKey::named(fresh_name()).option("protection", level.name());
        let new = options.iter().fold(new, |new, (name, value)| new.option(*name, *value));
        block_on(gcp.kms.check_new_key(&new)).unwrap();
        let made = block_on(gcp.kms.create_key(&new)).unwrap();
        assert_eq!(made.state, Active);
        let told = block_on(gcp.kms.describe(&made.uri)).unwrap();
        assert_eq!(told.protection, Some(level));
        let version = told.primary().unwrap();
        assert_eq!(version.algorithm, "EXTERNAL_SYMMETRIC_ENCRYPTION");
        assert_eq!(version.external_key.as_deref(), options.last().map(|(_, value)| *value));
        let demanding = at(&gcp.http.url()).protection(level).build();
        let dek = fresh_dek();
        let wrapped = block_on(demanding.wrap_dek(&made.uri, &dek, &context())).unwrap();
        assert_eq!(block_on(demanding.unwrap_dek(&wrapped, &context())).unwrap().expose(), dek.expose());
        let error = block_on(gcp.kms.set_rotation(&made.uri, AutoRotation::Default)).unwrap_err();
        assert_eq!((error.kind(), error.key()), (Unsupported, Some(&made.uri)), "{level}");
    }
    // KMS cannot know which key of the manager the next version is.
    let new = NewKey::named(fresh_name())
        .option("protection", "external")
        .option("external-key-uri", "https://ekm.example/keys/2");
    let made = block_on(gcp.kms.create_key(&new)).unwrap();
    for error in [
        block_on(gcp.kms.check_rotation(&made.uri)).unwrap_err(),
        block_on(gcp.kms.rotate_key(&made.uri)).unwrap_err(),
    ] {
        assert_eq!(error.kind(), Unsupported);
        assert!(error.message().contains("--external-key-uri"), "{error}");
    }
    let new = NewKey::named(fresh_name()).option("protection", "external");
    assert_eq!(block_on(gcp.kms.check_new_key(&new)).unwrap_err().kind(), Invalid);
}

/// Import jobs are shown, and not made: the stand-in is asked by another hand.
#[test]
fn the_import_job_of_a_version_is_shown_with_its_state() {
    let gcp = Gcp::new();
    let key = gcp.key();
    let target = format!("/v1/{RING}/importJobs?importJobId=j");
    let body = r#"{"importMethod":"RSA_OAEP_3072_SHA256_AES_256","protectionLevel":"HSM"}"#;
    post(&gcp, &target, body);
    let job = format!("{RING}/importJobs/j");
    let jobs = block_on(gcp.kms.import_jobs(RING)).unwrap();
    assert_eq!(jobs.len(), 1);
    assert_eq!((jobs[0].name.as_str(), jobs[0].state.as_str()), (job.as_str(), "ACTIVE"));
    assert!(jobs[0].active && jobs[0].protection == Some(Protection::Hsm) && jobs[0].expires.is_some());
    let named = job.clone();
    let http = gcp.server.serve_with(move |_, mut reply| {
        if let Some(versions) = reply.body.get_mut("cryptoKeyVersions") {
            versions[0]["importJob"] = Value::from(named.clone());
        }
        reply.into()
    });
    let kms = at(&http.url()).build();
    for state in ["ACTIVE", "EXPIRED"] {
        let described = block_on(kms.describe_key(&key)).unwrap();
        let Some(Detail::List(jobs)) = described.details.get("import_jobs") else { panic!("{described:?}") };
        let Detail::Table(told) = &jobs[0] else { panic!("{jobs:?}") };
        let expected = Details::new()
            .with("name", job.as_str())
            .with("state", state)
            .with("method", "RSA_OAEP_3072_SHA256_AES_256")
            .with("protection", "hsm");
        for (name, detail) in expected.iter() {
            assert_eq!(told.get(name), Some(detail), "{name}");
        }
        gcp.server.advance(Duration::from_secs(4 * 24 * 60 * 60));
    }
}

fn post(gcp: &Gcp, target: &str, body: &str) {
    use std::io::{Read as _, Write as _};
    let mut peer = std::net::TcpStream::connect(gcp.http.address()).unwrap();
    let len = body.len();
    write!(
        peer,
        "POST {target} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: application/json\r\n\
         content-length: {len}\r\n\r\n{body}"
    )
    .unwrap();
    let mut answer = String::new();
    peer.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
}
