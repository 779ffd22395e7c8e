//! Clients of a network, as the audit log has them.

use envelope_audit::{Filter, Outcome, Record, VerifyError, read};
use envelope_policy::Policy;
use rustls::pki_types::{CertificateDer, pem::PemObject};
use serde_json::json;
use sha2::{Digest, Sha256};
use tokio::runtime::Runtime;

use super::{
    super::listen::network,
    client::Client,
    installed::{AGENT, Installed, OUTSIDER, POLICY, STRANGER, Sealed},
};
use crate::report;

fn installed(folder: &tempfile::TempDir) -> Installed {
    let sealed = Sealed { plaintext: "data", withheld: "1" };
    Installed::create(folder.path(), "correct horse battery staple", &sealed, "")
}

/// The records of this operation.
fn recorded(installed: &Installed, operation: &str) -> Vec<Record> {
    let (mut filter, mut records) = (Filter::new(), Vec::new());
    filter.operation = Some(operation.to_owned());
    read(&installed.path("log"), &filter, |record, _| {
        records.push(record.clone());
        Ok::<_, VerifyError>(())
    })
    .unwrap();
    records
}

fn detail<'r>(record: &'r Record, name: &str) -> Option<&'r str> {
    let entry = &record.entry.detail;
    entry.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_str())
}

#[test]
fn each_call_over_mtls_is_recorded_with_its_caller_certificate_and_a_request_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let installed = installed(&folder);
    let network = network(&installed.global(&[]), None).unwrap();
    Runtime::new().unwrap().block_on(async {
        let (mut client, _) = Client::over_mtls(&network, &installed, AGENT).await;
        for _ in 0..3 {
            client.call("explain_error", &json!({ "exit_code": 4 })).await.0.unwrap();
        }
    });
    let certificate = CertificateDer::from_pem_file(installed.path("agent.pem")).unwrap();
    let fingerprint = report::hex(&Sha256::digest(certificate));
    let records = recorded(&installed, "mcp-*");
    let operations: Vec<_> = records.iter().map(|record| &*record.entry.operation).collect();
    assert_eq!(operations, ["mcp-connect", "mcp-explain-error", "mcp-explain-error", "mcp-explain-error"]);
    for record in &records {
        assert_eq!(record.entry.actor.as_deref(), Some("mcp:spiffe://acme.example/agent"));
        assert_eq!(record.entry.outcome, Outcome::Ok);
        assert_eq!(detail(record, "fingerprint"), Some(fingerprint.as_str()));
        assert_eq!(detail(record, "address"), Some("127.0.0.1:4711"));
    }
    let mut requests: Vec<_> = records.iter().map(|record| record.entry.request.clone().unwrap()).collect();
    requests.sort();
    requests.dedup();
    assert_eq!(requests.len(), records.len(), "{requests:?}");
}

#[test]
fn the_rule_that_hides_an_envelope_is_told_to_the_log_and_not_to_the_client() {
    let folder = tempfile::tempdir().unwrap();
    let installed = installed(&folder);
    let hides = "[[rule]]\nname = 'payroll'\neffect = 'deny'\noperation = ['inspect']\nkey = ['local://*/main']\n[[rule]]";
    installed.write("policy.toml", &POLICY.replacen("[[rule]]", hides, 1));
    let network = network(&installed.global(&[]), None).unwrap();
    let path = installed.path("served/a.envelope");
    let error = Runtime::new().unwrap().block_on(async {
        let (mut client, _) = Client::over_mtls(&network, &installed, AGENT).await;
        client.call("inspect_envelope", &json!({ "path": path })).await.0.unwrap_err()
    });
    assert_eq!(error["message"], "the policy does not show this envelope");
    let records = recorded(&installed, "mcp-inspect-envelope");
    let [record] = records.as_slice() else { panic!("{records:?}") };
    assert_eq!((record.entry.outcome, record.entry.rule.as_deref()), (Outcome::Denied, Some("payroll")));
}

#[test]
fn whoever_may_not_connect_is_recorded_with_the_policy_and_the_rule_that_denied_it() {
    let folder = tempfile::tempdir().unwrap();
    let installed = installed(&folder);
    let network = network(&installed.global(&[]), None).unwrap();
    Runtime::new().unwrap().block_on(async {
        for name in [STRANGER, OUTSIDER] {
            Client::over_mtls(&network, &installed, name).await.1.await.unwrap();
        }
    });
    let policy = Policy::parse(POLICY).unwrap().id().to_string();
    let records = recorded(&installed, "mcp-connect");
    let [stranger, outsider] = records.as_slice() else { panic!("{records:?}") };
    for (record, name, rule, why) in [
        (stranger, STRANGER, Some("no-strangers"), "denied by rule `no-strangers` of policy "),
        (outsider, OUTSIDER, None, "no rule of policy "),
    ] {
        assert_eq!(record.entry.actor, Some(format!("mcp:spiffe://acme.example/{name}")));
        assert_eq!((record.entry.outcome, record.entry.rule.as_deref()), (Outcome::Denied, rule));
        assert_eq!(detail(record, "reason"), Some("not-admitted"));
        assert_eq!(detail(record, "policy"), Some(policy.as_str()));
        assert!(detail(record, "why").unwrap().starts_with(why), "{record:?}");
    }
}
