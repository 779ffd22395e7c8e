//! Who gets in, and who does not.

use rcgen::{DnType, ExtendedKeyUsagePurpose, SanType, date_time_ymd};
use rustls::version::{TLS12, TLS13};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::{
    authority::{Authority, Issued},
    client::{ask, call, config, name_in},
    running::{AGENT, Running},
};

/// With this certificate nothing is answered, and the reason that is recorded is this.
async fn is_refused(running: &Running, certificate: Option<&Issued>, reason: &str) {
    let config = config(&running.authority, certificate, &TLS13);
    let answered = match running.connect_as(&config).await {
        Ok(mut stream) => ask(&mut stream, &call("whoami")).await,
        Err(error) => Err(error),
    };
    assert!(answered.is_err(), "{reason}: {answered:?}");
    let event = running.records.refusal().await;
    assert_eq!((event.operation, event.reason), ("mcp-connect", Some(reason)));
    assert!(event.value("address").unwrap().starts_with("127.0.0.1:"), "{event:?}");
}

#[tokio::test]
async fn a_client_is_known_to_tools_and_records_by_its_certificate() {
    let running = Running::start().await;
    let agent = running.agent();
    assert_eq!(running.whoami(&agent).await.unwrap(), AGENT);
    let event = running.records.find(|event| event.operation == "mcp-connect").await;
    assert_eq!((event.client.as_deref(), event.reason), (Some(AGENT), None));
    let fingerprint = event.value("fingerprint").unwrap();
    assert_eq!((fingerprint.len(), event.value("resumed")), (64, Some("false")));
}

#[tokio::test]
async fn without_a_certificate_nobody_gets_in() {
    is_refused(&Running::start().await, None, "no-certificate").await;
}

#[tokio::test]
async fn a_certificate_of_another_authority_is_refused() {
    let other = Authority::new("authority of a test").client(AGENT);
    is_refused(&Running::start().await, Some(&other), "unknown-issuer").await;
}

#[tokio::test]
async fn an_expired_certificate_is_refused() {
    let running = Running::start().await;
    let expired = running.authority.client_with(3, |params| {
        params.subject_alt_names = vec![SanType::URI(AGENT.try_into().unwrap())];
        (params.not_before, params.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(2021, 1, 1));
    });
    is_refused(&running, Some(&expired), "expired").await;
}

#[tokio::test]
async fn a_certificate_that_is_not_valid_yet_is_refused() {
    let running = Running::start().await;
    let early = running.authority.client_with(3, |params| {
        params.subject_alt_names = vec![SanType::URI(AGENT.try_into().unwrap())];
        params.not_before = date_time_ymd(2090, 1, 1);
    });
    is_refused(&running, Some(&early), "not-yet-valid").await;
}

#[tokio::test]
async fn a_certificate_of_servers_is_refused() {
    let running = Running::start().await;
    let server = running.authority.client_with(3, |params| {
        params.subject_alt_names = vec![SanType::URI(AGENT.try_into().unwrap())];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    });
    is_refused(&running, Some(&server), "wrong-purpose").await;
}

#[tokio::test]
async fn a_revoked_certificate_is_refused_and_one_beside_it_is_not() {
    let running = with_crl(|authority| authority.crl(&[7], 2090)).await;
    let revoked = running.authority.client_with(7, |params| {
        params.subject_alt_names = vec![SanType::URI(AGENT.try_into().unwrap())];
    });
    is_refused(&running, Some(&revoked), "revoked").await;
    assert_eq!(running.whoami(&running.agent()).await.unwrap(), AGENT);
}

#[tokio::test]
async fn with_a_revocation_list_of_another_authority_everybody_is_refused() {
    let running = with_crl(|_| Authority::new("another").crl(&[], 2090)).await;
    is_refused(&running, Some(&running.agent()), "revocation-unknown").await;
}

#[tokio::test]
async fn with_a_stale_revocation_list_everybody_is_refused() {
    let running = with_crl(|authority| authority.crl(&[], 2021)).await;
    is_refused(&running, Some(&running.agent()), "stale-crl").await;
}

#[tokio::test]
async fn a_stale_revocation_list_counts_where_the_settings_say_so() {
    let running = Running::start_with(|options, authority| {
        let crl = options.files.ca.with_file_name("crl.pem");
        std::fs::write(&crl, authority.crl(&[7], 2021)).unwrap();
        (options.files.crl, options.files.accept_stale_crl) = (Some(crl), true);
    });
    let running = running.await;
    assert_eq!(running.whoami(&running.agent()).await.unwrap(), AGENT);
    let revoked = running.authority.client_with(7, |params| {
        params.subject_alt_names = vec![SanType::URI(AGENT.try_into().unwrap())];
    });
    is_refused(&running, Some(&revoked), "revoked").await;
}

async fn with_crl(make: impl FnOnce(&Authority) -> String) -> Running {
    Running::start_with(|options, authority| {
        let crl = options.files.ca.with_file_name("crl.pem");
        std::fs::write(&crl, make(authority)).unwrap();
        options.files.crl = Some(crl);
    })
    .await
}

#[tokio::test]
async fn a_name_that_nobody_knows_is_refused() {
    let running = Running::start().await;
    is_refused(&running, Some(&running.authority.client("spiffe://acme.example/other")), "not-admitted")
        .await;
    let event = running.records.refusal().await;
    assert_eq!(event.client.as_deref(), Some("spiffe://acme.example/other"));
    assert_eq!(event.value("why"), Some("no rule allows it anything"));
    let denial = event.denial.unwrap();
    assert_eq!(denial.policy.as_deref(), Some("0123456789abcdef"));
    assert_eq!(denial.rule.as_deref(), Some("no-strangers"));
}

#[tokio::test]
async fn a_certificate_whose_name_stands_for_others_or_cannot_be_shown_is_refused() {
    let long = format!("urn:{}", "n".repeat(256));
    let uri = |uri: &str| vec![SanType::URI(uri.try_into().unwrap())];
    let dns = |name: &str| vec![SanType::DnsName(name.try_into().unwrap())];
    let email = |name: &str| vec![SanType::Rfc822Name(name.try_into().unwrap())];
    for names in [
        uri("spiffe://acme.example/*"),
        uri("no-scheme"),
        uri("cn:alice"),
        uri(&long),
        dns("*.acme.example"),
        dns("local"),
        dns("LOCAL"),
        dns("unidentified"),
        email("no-address"),
        vec![],
    ] {
        let running = Running::start().await;
        let told = format!("{names:?}");
        let issued = running.authority.client_with(3, |params| params.subject_alt_names = names);
        is_refused(&running, Some(&issued), "no-name").await;
        assert!(running.records.refusal().await.value("why").is_some(), "{told}");
    }
    for name in ["line\nbreak", "\u{202e}elpa", "a*b"] {
        let running = Running::start().await;
        let issued = running
            .authority
            .client_with(3, |params| params.distinguished_name.push(DnType::CommonName, name));
        is_refused(&running, Some(&issued), "no-name").await;
    }
}

#[tokio::test]
async fn each_kind_of_name_is_told_from_the_others() {
    let running = Running::start().await;
    for (names, common, expected) in [
        (vec![SanType::DnsName("Agent.Acme.example".try_into().unwrap())], "x", "agent.acme.example"),
        (vec![SanType::Rfc822Name("alice@acme.example".try_into().unwrap())], "x", "alice@acme.example"),
        (vec![SanType::IpAddress([10, 0, 0, 1].into())], "alice", "cn:alice"),
        (vec![], "local", "cn:local"),
        (
            vec![
                SanType::DnsName("agent.acme.example".try_into().unwrap()),
                SanType::URI("urn:agent:1".try_into().unwrap()),
                SanType::URI("urn:agent:2".try_into().unwrap()),
            ],
            "x",
            "urn:agent:1",
        ),
    ] {
        running.admitted.0.lock().unwrap().push(expected.into());
        let issued = running.authority.client_with(3, |params| {
            params.subject_alt_names = names;
            params.distinguished_name.push(DnType::CommonName, common);
        });
        assert_eq!(running.whoami(&issued).await.unwrap(), expected);
    }
}

#[tokio::test]
async fn tls_1_2_is_refused() {
    let running = Running::start().await;
    let config = config(&running.authority, Some(&running.agent()), &TLS12);
    assert!(running.connect_as(&config).await.is_err());
    assert_eq!(running.records.refusal().await.reason, Some("tls-version"));
}

#[tokio::test]
async fn plain_http_is_closed_without_an_answer_of_http() {
    let running = Running::start().await;
    let mut stream = TcpStream::connect(running.address).await.unwrap();
    stream.write_all(b"POST /mcp HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    // At most an alert of TLS (RFC 8446 section 6).
    assert!(answer.is_empty() || answer[0] == 21 && answer.len() == 7, "{answer:?}");
    assert_eq!(running.records.refusal().await.reason, Some("not-tls"));
}

#[tokio::test]
async fn an_address_of_another_network_is_refused_before_a_byte_of_it_is_read() {
    let running =
        Running::start_with(|options, _| options.networks = vec!["192.0.2.0/24".parse().unwrap()]).await;
    is_refused(&running, Some(&running.agent()), "network").await;
}

#[tokio::test]
async fn who_cannot_be_recorded_is_not_served() {
    let running = Running::start().await;
    running.records.is_full.store(true, std::sync::atomic::Ordering::Relaxed);
    assert!(running.whoami(&running.agent()).await.is_err());
    running.records.is_full.store(false, std::sync::atomic::Ordering::Relaxed);
    assert_eq!(running.whoami(&running.agent()).await.unwrap(), AGENT);
    // Of the one that was refused meanwhile there is no record, which the next refusal says.
    is_refused(&running, None, "no-certificate").await;
    assert_eq!(running.records.refusal().await.value("unrecorded-before"), Some("1"));
}

#[tokio::test]
async fn a_session_is_resumed_by_whoever_is_still_admitted() {
    let running = Running::start().await;
    let config = config(&running.authority, Some(&running.agent()), &TLS13);
    for resumed in ["false", "true"] {
        let mut stream = running.connect_as(&config).await.unwrap();
        assert_eq!(name_in(&ask(&mut stream, &call("whoami")).await.unwrap()), AGENT);
        running.records.find(|event| event.value("resumed") == Some(resumed)).await;
    }
    running.admitted.0.lock().unwrap().clear();
    let mut stream = running.connect_as(&config).await.unwrap();
    assert!(ask(&mut stream, &call("whoami")).await.is_err());
    assert_eq!(running.records.refusal().await.reason, Some("not-admitted"));
}
