//! The end of the server.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::{
    client::{answer, ask, call, name_in, post},
    running::{AGENT, Running},
};

#[tokio::test]
async fn a_call_that_is_under_way_is_answered_and_nobody_else_gets_in() {
    let mut running = Running::start().await;
    let mut idle = running.connect(&running.agent()).await;
    ask(&mut idle, &call("whoami")).await.unwrap();
    let mut busy = running.connect(&running.agent()).await;
    busy.write_all(post(&call("wait"), "").as_bytes()).await.unwrap();
    running.handler.begun.notified().await;
    running.stop.cancel();
    // The connection that waits is closed at once.
    let _ = idle.read_to_end(&mut Vec::new()).await;
    assert!(TcpStream::connect(running.address).await.is_err());
    running.handler.go_on.notify_one();
    assert_eq!(name_in(&answer(&mut busy).await.unwrap()), AGENT);
    running.task.take().unwrap().await.unwrap().unwrap();
    assert_eq!(running.records.all().last().unwrap().operation, "mcp-stop");
}

#[tokio::test]
async fn a_call_that_does_not_end_is_ended() {
    let mut running =
        Running::start_with(|options, _| options.limits.drain_time = Duration::from_millis(1)).await;
    let mut busy = running.connect(&running.agent()).await;
    busy.write_all(post(&call("wait"), "").as_bytes()).await.unwrap();
    running.handler.begun.notified().await;
    running.stop.cancel();
    running.task.take().unwrap().await.unwrap().unwrap();
    running.handler.dropped.notified().await;
}
