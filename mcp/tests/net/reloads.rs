//! Files that change while the server runs.

use std::{fs, os::unix::fs::PermissionsExt};

use envelope_mcp::Kind;
use metrics_util::{
    MetricKind,
    debugging::{DebugValue, DebuggingRecorder},
};
use rustls::version::TLS13;

use crate::{
    authority::Authority,
    client::{ask, call, config, name_in},
    running::{AGENT, Running},
};

#[tokio::test]
async fn a_new_certificate_is_used_and_connections_stay() {
    let running = Running::start_unwatched(|_, _| {}).await;
    let mut open = running.connect(&running.agent()).await;
    let old = open.get_ref().1.peer_certificates().unwrap()[0].clone();
    ask(&mut open, &call("whoami")).await.unwrap();
    running.write_server(&running.authority.server(&["localhost"]));
    assert!(running.server.reload().await);
    assert_eq!(name_in(&ask(&mut open, &call("whoami")).await.unwrap()), AGENT);
    let new = running.connect(&running.agent()).await;
    assert_ne!(new.get_ref().1.peer_certificates().unwrap()[0], old);
    assert!(!running.server.reload().await, "nothing has changed since");
}

#[tokio::test]
async fn files_that_change_are_read_without_being_asked_to() {
    let running = Running::start().await;
    running.write_server(&running.authority.server(&["localhost"]));
    running.records.find(|event| event.operation == "mcp-reload" && event.failure.is_none()).await;
}

#[tokio::test]
async fn what_is_broken_leaves_the_old_in_use_and_is_recorded() {
    let running = Running::start_unwatched(|_, _| {}).await;
    let of_another = running.authority.server(&["localhost"]);
    let key = running.path("server.key");
    let changes: [(&str, &dyn Fn(), &str); 6] = [
        ("server.pem", &|| running.write("server.pem", "no certificate"), "PEM section"),
        (
            "server.pem",
            &|| running.write("server.pem", &of_another.certificate),
            "it is not the key of the certificate",
        ),
        (
            "server.key",
            &|| fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap(),
            "chmod 600",
        ),
        (
            "server.key",
            &|| {
                running.write(
                    "server.key",
                    "-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n",
                );
            },
            "no private key",
        ),
        ("ca.pem", &|| running.write("ca.pem", ""), "PEM section"),
        ("ca.pem", &|| fs::remove_file(running.path("ca.pem")).unwrap(), "cannot read"),
    ];
    let originals = ["server.pem", "server.key", "ca.pem"]
        .map(|name| (name, fs::read_to_string(running.path(name)).unwrap()));
    for (name, change, why) in changes {
        change();
        assert!(!running.server.reload().await, "{name}");
        let event = running.records.all().pop().unwrap();
        assert_eq!((event.operation, event.failure), ("mcp-reload", Some(Kind::InputOutput)));
        let said = event.value("why").unwrap().to_owned();
        assert!(said.contains(why) && !said.contains("c2VjcmV0"), "{said}");
        assert!(!running.server.reload().await);
        let recorded =
            running.records.all().iter().filter(|event| event.value("why") == Some(&*said)).count();
        assert_eq!(recorded, 1, "it is said once: {said}");
        assert_eq!(running.whoami(&running.agent()).await.unwrap(), AGENT, "{name}");
        for (name, text) in &originals {
            running.write(name, text);
        }
        fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
        assert!(running.server.reload().await, "{name}");
    }
}

#[tokio::test]
async fn a_client_that_was_revoked_is_refused_at_its_next_request_and_when_it_resumes() {
    let running = Running::start_unwatched(|options, authority| {
        let crl = options.files.ca.with_file_name("crl.pem");
        fs::write(&crl, authority.crl(&[], 2090)).unwrap();
        options.files.crl = Some(crl);
    });
    let running = running.await;
    let config = config(&running.authority, Some(&running.agent()), &TLS13);
    let mut open = running.connect_as(&config).await.unwrap();
    ask(&mut open, &call("whoami")).await.unwrap();
    running.write("crl.pem", &running.authority.crl(&[2], 2090));
    assert!(running.server.reload().await);
    let answer = ask(&mut open, &call("whoami")).await.unwrap();
    assert_eq!(answer.status, 403);
    let event = running.records.refusal().await;
    assert_eq!((event.operation, event.reason), ("mcp-request", Some("revoked")));
    // Its session is not resumed: it belongs to the old files.
    let again = match running.connect_as(&config).await {
        Ok(mut stream) => ask(&mut stream, &call("whoami")).await,
        Err(error) => Err(error),
    };
    assert!(again.is_err());
    running.records.find(|event| (event.operation, event.reason) == ("mcp-connect", Some("revoked"))).await;
}

#[tokio::test]
async fn a_new_authority_takes_the_place_of_the_old_one() {
    let running = Running::start_unwatched(|_, _| {}).await;
    let mut open = running.connect(&running.agent()).await;
    ask(&mut open, &call("whoami")).await.unwrap();
    let authority = Authority::new("a new authority");
    running.write("ca.pem", &authority.pem());
    assert!(running.server.reload().await);
    assert_eq!(ask(&mut open, &call("whoami")).await.unwrap().status, 403);
    assert_eq!(running.records.refusal().await.reason, Some("unknown-issuer"));
    assert_eq!(running.whoami(&authority.client(AGENT)).await.unwrap(), AGENT);
}

#[tokio::test]
async fn what_happens_is_counted_under_the_names_of_the_documentation() {
    let recorder = DebuggingRecorder::new();
    let counted = recorder.snapshotter();
    let _here = metrics::set_default_local_recorder(&recorder);
    let running = Running::start_unwatched(|_, _| {}).await;
    running.whoami(&running.agent()).await.unwrap();
    assert!(running.whoami(&Authority::new("another").client(AGENT)).await.is_err());
    running.records.refusal().await;
    running.write_server(&running.authority.server(&["localhost"]));
    running.server.reload().await;
    let metrics = counted.snapshot().into_vec();
    let value = |name: &str, label: Option<(&str, &str)>| {
        metrics.iter().find_map(|(key, _, _, value)| {
            let is_labelled = label.is_none_or(|(name, value)| {
                key.key().labels().any(|label| (label.key(), label.value()) == (name, value))
            });
            (key.key().name() == name && is_labelled).then_some((key.kind(), value))
        })
    };
    let count = |name, outcome| match value(name, Some(("outcome", outcome))) {
        Some((MetricKind::Counter, DebugValue::Counter(count))) => *count,
        other => panic!("{name}, {outcome}: {other:?}"),
    };
    assert_eq!(count("envelope_mcp_connections_total", "ok"), 1);
    assert_eq!(count("envelope_mcp_connections_total", "unknown-issuer"), 1);
    assert_eq!(count("envelope_mcp_requests_total", "ok"), 1);
    assert_eq!(count("envelope_mcp_reloads_total", "ok"), 1);
    assert!(matches!(
        value("envelope_mcp_expires_seconds", Some(("what", "certificate"))),
        Some((MetricKind::Gauge, DebugValue::Gauge(end))) if end.0 > 1e9
    ));
    assert!(value("envelope_mcp_handshake_duration_seconds", None).is_some());
    let documented: Vec<_> = envelope_mcp::net::METRICS.iter().map(|metric| metric.0).collect();
    for (key, ..) in &metrics {
        assert!(documented.contains(&key.key().name()), "{key:?}");
    }
}

#[tokio::test]
async fn a_folder_that_is_trusted_again_needs_no_new_file() {
    let running = Running::start_unwatched(|_, _| {}).await;
    running.write_server(&running.authority.server(&["localhost"]));
    let folder = running.path(".");
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o777)).unwrap();
    assert!(!running.server.reload().await);
    let event = running.records.find(|event| event.operation == "mcp-reload").await;
    assert!(event.value("why").unwrap().contains("chmod go-w"), "{event:?}");
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o700)).unwrap();
    assert!(running.server.reload().await);
}
