//! Clients that are slow, many or greedy, in time that passes only when everybody waits.

use std::{
    io::ErrorKind,
    num::{NonZeroU32, NonZeroUsize},
    time::Duration,
};

use rustls::version::TLS13;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
    time::Instant,
};
use tokio_rustls::client::TlsStream;

use crate::{
    authority::Issued,
    client::{answer, ask, call, config, handshake, head, name_in, post},
    running::{AGENT, Running},
};

impl Running {
    /// A connection in memory, from the address with this number.
    fn open(&self, number: u16) -> DuplexStream {
        let (near, far) = duplex(4096);
        let (server, [high, low]) = (self.server.clone(), number.to_be_bytes());
        tokio::spawn(async move { server.serve(far, ([127, 0, high, low], 1).into()).await });
        near
    }

    /// The same with TLS.
    async fn open_as(&self, certificate: &Issued, number: u16) -> TlsStream<DuplexStream> {
        let config = config(&self.authority, Some(certificate), &TLS13);
        handshake(&config, self.open(number)).await.unwrap()
    }
}

#[tokio::test(start_paused = true)]
async fn a_thousand_slow_or_half_open_clients_do_not_stop_another() {
    let running = Running::new(|_, _| {});
    let begun = Instant::now();
    let mut slow = Vec::new();
    for number in 0..1000 {
        let mut stream = running.open(number);
        match number % 3 {
            0 => {}
            // The first bytes of a record of a handshake.
            1 => stream.write_all(&[22, 3, 1, 1]).await.unwrap(),
            // Half of one.
            _ => stream
                .write_all(&[&[22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3][..], &[0; 200]].concat())
                .await
                .unwrap(),
        }
        slow.push(stream);
    }
    let mut good = running.open_as(&running.agent(), 2000).await;
    assert_eq!(name_in(&ask(&mut good, &call("whoami")).await.unwrap()), AGENT);
    assert_eq!(begun.elapsed(), Duration::ZERO, "nobody was waited for");
    for mut stream in slow {
        // With an error or without: it ends.
        let _ = stream.read_to_end(&mut Vec::new()).await;
    }
    assert_eq!(begun.elapsed().as_secs(), 10, "and all of them were given up");
    let reasons = running.records.reasons();
    assert!(reasons.contains(&"crowded"), "{reasons:?}");
    assert!(reasons.iter().all(|reason| ["crowded", "handshake-timeout"].contains(reason)), "{reasons:?}");
    assert_eq!(name_in(&ask(&mut good, &call("whoami")).await.unwrap()), AGENT);
}

#[tokio::test(start_paused = true)]
async fn a_thousand_half_open_connections_of_one_address_displace_each_other() {
    let running = Running::new(|_, _| {});
    let early = running.open(1);
    let slow: Vec<_> = (0..1000).map(|_| running.open(2)).collect();
    tokio::task::yield_now().await;
    let mut good =
        handshake(&config(&running.authority, Some(&running.agent()), &TLS13), early).await.unwrap();
    assert_eq!(name_in(&ask(&mut good, &call("whoami")).await.unwrap()), AGENT);
    assert_eq!(running.records.refusal().await.reason, Some("crowded"));
    drop(slow);
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_refusals_is_counted_and_not_all_of_it_recorded() {
    let running = Running::new(|_, _| {});
    for _ in 0..1000 {
        let mut stream = running.open(1);
        stream.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
        let _ = stream.read_to_end(&mut Vec::new()).await;
    }
    let recorded = running.records.all().len();
    assert!((20..200).contains(&recorded), "{recorded}");
    // Another address is recorded all the same, with how many were not.
    let mut stream = running.open(2);
    stream.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    let event = running.records.find(|event| event.value("address") == Some("127.0.0.2:1")).await;
    let before: usize = event.value("unrecorded-before").unwrap().parse().unwrap();
    assert!(before > 0 && before + recorded <= 1000, "{before}, {recorded}");
}

#[tokio::test(start_paused = true)]
async fn a_client_has_so_many_connections_and_leaves_the_others_theirs() {
    let running =
        Running::new(|options, _| options.limits.connections_of_client = NonZeroUsize::new(3).unwrap());
    let agent = running.agent();
    let mut open = Vec::new();
    for number in 0..3 {
        let mut stream = running.open_as(&agent, number).await;
        ask(&mut stream, &call("whoami")).await.unwrap();
        open.push(stream);
    }
    let mut fourth = running.open_as(&agent, 4).await;
    assert!(ask(&mut fourth, &call("whoami")).await.is_err());
    let event = running.records.refusal().await;
    assert_eq!((event.client.as_deref(), event.reason), (Some(AGENT), Some("too-many-of-client")));
    running.admitted.0.lock().unwrap().push("urn:other".into());
    let mut other = running.open_as(&running.authority.client("urn:other"), 5).await;
    assert_eq!(name_in(&ask(&mut other, &call("whoami")).await.unwrap()), "urn:other");
    // A place that is given back is one for the next.
    drop(open.pop());
    loop {
        let mut again = running.open_as(&agent, 6).await;
        if ask(&mut again, &call("whoami")).await.is_ok() {
            break;
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_address_has_so_many_connections_and_the_server_too() {
    for (of_address, of_all, reason) in [(2, 9, "too-many-of-address"), (9, 2, "too-many-connections")] {
        let running = Running::new(|options, _| {
            options.limits.connections_of_address = NonZeroUsize::new(of_address).unwrap();
            options.limits.connections = NonZeroUsize::new(of_all).unwrap();
        });
        let mut open = Vec::new();
        for _ in 0..2 {
            let mut stream = running.open_as(&running.agent(), 1).await;
            ask(&mut stream, &call("whoami")).await.unwrap();
            open.push(stream);
        }
        let mut third = running.open_as(&running.agent(), 1).await;
        assert!(ask(&mut third, &call("whoami")).await.is_err());
        assert_eq!(running.records.refusal().await.reason, Some(reason));
    }
}

#[tokio::test]
async fn a_client_that_asks_too_often_is_told_so_and_the_others_are_not() {
    let running = Running::new(|options, _| {
        options.limits.requests_per_second = NonZeroU32::MIN;
        options.limits.burst = NonZeroU32::new(5).unwrap();
    });
    let mut greedy = running.open_as(&running.agent(), 1).await;
    let mut answered = 0;
    let refused = loop {
        let answer = ask(&mut greedy, &call("whoami")).await.unwrap();
        if answer.status != 200 {
            break answer;
        }
        answered += 1;
        assert!(answered < 1000);
    };
    assert!(answered >= 4);
    assert_eq!(refused.status, 429);
    assert!(refused.head.to_ascii_lowercase().contains("retry-after: 1"), "{refused:?}");
    assert_eq!(running.records.refusal().await.reason, Some("too-many-requests"));
    running.admitted.0.lock().unwrap().push("urn:other".into());
    let mut other = running.open_as(&running.authority.client("urn:other"), 1).await;
    assert_eq!(name_in(&ask(&mut other, &call("whoami")).await.unwrap()), "urn:other");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_sends_no_request_is_given_up() {
    let running = Running::new(|_, _| {});
    let begun = Instant::now();
    let mut stream = running.open_as(&running.agent(), 1).await;
    stream.write_all(b"POST /mcp HTTP/1.1\r\nHost: loc").await.unwrap();
    let _ = stream.read_to_end(&mut Vec::new()).await;
    assert_eq!(begun.elapsed().as_secs(), 60);
    assert_eq!(running.records.refusal().await.reason, Some("header-timeout"));
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_was_of_use_and_waits_is_closed_without_a_record() {
    let running = Running::new(|_, _| {});
    let mut stream = running.open_as(&running.agent(), 1).await;
    ask(&mut stream, &call("whoami")).await.unwrap();
    let begun = Instant::now();
    let _ = stream.read_to_end(&mut Vec::new()).await;
    assert_eq!((begun.elapsed().as_secs(), running.records.reasons()), (60, vec![]));
}

#[tokio::test(start_paused = true)]
async fn a_body_that_does_not_come_is_given_up() {
    let running = Running::new(|_, _| {});
    let begun = Instant::now();
    let mut stream = running.open_as(&running.agent(), 1).await;
    stream.write_all(format!("{}{{", head(100, "")).as_bytes()).await.unwrap();
    assert_eq!((answer(&mut stream).await.unwrap().status, begun.elapsed().as_secs()), (408, 30));
    assert_eq!(running.records.refusal().await.reason, Some("body-timeout"));
}

#[tokio::test(start_paused = true)]
async fn a_call_that_takes_too_long_is_ended() {
    let running = Running::new(|_, _| {});
    let begun = Instant::now();
    let mut stream = running.open_as(&running.agent(), 1).await;
    assert_eq!(ask(&mut stream, &call("wait")).await.unwrap().status, 504);
    assert_eq!(begun.elapsed().as_secs(), 300);
    running.handler.dropped.notified().await;
    assert_eq!(running.records.refusal().await.reason, Some("call-timeout"));
}

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_take_its_answers_is_given_up() {
    let running = Running::new(|_, _| {});
    let mut stream = running.open_as(&running.agent(), 1).await;
    let request = post(&call("whoami"), "");
    // Until the answers, which nobody reads, fill what is between.
    let failed = loop {
        if let Err(error) = stream.write_all(request.as_bytes()).await {
            break error;
        }
        if let Err(error) = stream.flush().await {
            break error;
        }
    };
    assert_eq!(failed.kind(), ErrorKind::BrokenPipe);
    assert_eq!(running.records.refusal().await.reason, Some("stalled"));
}

#[tokio::test(start_paused = true)]
async fn a_connection_ends_after_its_time_and_not_within_a_call() {
    let running = Running::new(|options, _| options.limits.connection_time = Duration::from_secs(100));
    let mut stream = running.open_as(&running.agent(), 1).await;
    let begun = Instant::now();
    stream.write_all(post(&call("wait"), "").as_bytes()).await.unwrap();
    stream.flush().await.unwrap();
    running.handler.begun.notified().await;
    tokio::time::sleep(Duration::from_secs(150)).await;
    running.handler.go_on.notify_one();
    assert_eq!(name_in(&answer(&mut stream).await.unwrap()), AGENT);
    let _ = stream.read_to_end(&mut Vec::new()).await;
    assert_eq!(begun.elapsed().as_secs(), 150);
}
