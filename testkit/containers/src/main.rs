//! LocalStack in a container, for as long as this process and its parent live:
//!
//! ```text
//! localstack-container IMAGE FILE
//! ```
//!
//! Once it answers, its address `http://127.0.0.1:PORT` is in FILE, which
//! appears as a whole or not at all. SIGTERM, SIGINT, SIGHUP and the end of the
//! parent remove the container. What stays has the label
//! `envelope-sdk=localstack`: the container of a process that SIGKILL ended, and
//! one that the daemon created and could not start.
//!
//! ```text
//! docker rm -f -v $(docker ps -aq --filter label=envelope-sdk=localstack)
//! ```

#![forbid(unsafe_code)]

use std::{
    collections::HashMap, env, error::Error, fs, future::Future, net::Ipv4Addr, os::unix::process::parent_id,
    path::PathBuf, process::ExitCode, time::Duration,
};

use testcontainers::{
    ContainerAsync, GenericImage, ImageExt,
    bollard::models::{HostConfig, PortBinding},
    core::{Healthcheck, IntoContainerPort},
    runners::AsyncRunner,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    signal::unix::{SignalKind, signal},
    time::{sleep, timeout},
};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Where LocalStack listens inside the container.
const PORT: u16 = 4566;
/// Less than scripts/servers waits, so that the reason is told here.
const UNTIL_HEALTHY: Duration = Duration::from_secs(50);
/// A container that is being created is removed only when the daemon has said which it is.
const UNTIL_CREATED: Duration = Duration::from_secs(5);

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("localstack-container: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<()> {
    let mut arguments = env::args_os().skip(1);
    let (Some(image), Some(file), None) = (arguments.next(), arguments.next(), arguments.next()) else {
        return Err("usage: localstack-container IMAGE FILE".into());
    };
    let image = image.into_string().map_err(|_| "the name of the image is not UTF-8")?;
    let ended = ended()?;
    tokio::pin!(ended);

    let starting = start(&image);
    tokio::pin!(starting);
    let container = tokio::select! {
        container = &mut starting => container?,
        () = &mut ended => match timeout(UNTIL_CREATED, starting).await {
            Ok(container) => return Ok(container?.rm().await?),
            // The image was still on its way: there is no container.
            Err(_) => return Ok(()),
        },
    };
    let outcome = tokio::select! {
        outcome = serve(&container, file.into()) => outcome,
        () = &mut ended => Ok(()),
    };
    if outcome.is_err() {
        let words = container.stderr_to_vec().await.unwrap_or_default();
        eprint!("{}", String::from_utf8_lossy(&words));
    }
    // At once: what LocalStack would still write down goes with the container.
    let removed = container.rm().await;
    outcome?;
    Ok(removed?)
}

/// Ends when a signal or the end of the parent says that this shall end. From
/// the call on, signals end nothing else.
fn ended() -> Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hangup = signal(SignalKind::hangup())?;
    let parent = parent_id();
    Ok(async move {
        let orphaned = async {
            while parent_id() == parent {
                sleep(Duration::from_millis(500)).await;
            }
        };
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            _ = hangup.recv() => {}
            () = orphaned => {}
        }
    })
}

/// Creates the container, and fetches the image if it is not there.
///
/// Not the LocalStack of `testcontainers-modules`: it waits for a line of the
/// log and 3 seconds more, and publishes all 52 ports to all interfaces.
async fn start(image: &str) -> Result<ContainerAsync<GenericImage>> {
    let (name, tag) = image.rsplit_once(':').ok_or_else(|| format!("no tag in the image's name: {image}"))?;
    let container = GenericImage::new(name, tag)
        .with_env_var("SERVICES", "kms,s3,sts")
        .with_env_var("DISABLE_EVENTS", "1")
        .with_env_var("SKIP_SSL_CERT_DOWNLOAD", "1")
        .with_env_var("DNS_ADDRESS", "0")
        .with_env_var("GATEWAY_LISTEN", format!("0.0.0.0:{PORT}"))
        .with_label("envelope-sdk", "localstack")
        // The image's own starts Python every 10 seconds, and nobody looks at it.
        .with_health_check(Healthcheck::none())
        .with_host_config_modifier(publish_on_loopback)
        .start()
        .await?;
    Ok(container)
}

/// A random port of the loopback interface for LocalStack's, none for the
/// others that the image exposes.
fn publish_on_loopback(host: &mut HostConfig) {
    let binding =
        PortBinding { host_ip: Some(Ipv4Addr::LOCALHOST.to_string()), host_port: Some(String::new()) };
    host.publish_all_ports = Some(false);
    host.port_bindings = Some(HashMap::from([(PORT.tcp().to_string(), Some(vec![binding]))]));
}

/// Writes the address when LocalStack answers. Ends only when the container does.
async fn serve(container: &ContainerAsync<GenericImage>, file: PathBuf) -> Result<()> {
    let host = container.get_host().await?.to_string();
    if host != "localhost" {
        return Err(format!("ports of containers are at {host}, not on this machine").into());
    }
    let port = match container.get_host_port_ipv4(PORT).await {
        Ok(port) => port,
        // It has no ports any more.
        Err(_) if !container.is_running().await? => return Err("the container ended".into()),
        Err(error) => return Err(error.into()),
    };
    timeout(UNTIL_HEALTHY, healthy(container, port)).await.map_err(|_| "LocalStack does not answer")??;

    let unfinished = file.with_extension("unfinished");
    fs::write(&unfinished, format!("http://{}:{port}\n", Ipv4Addr::LOCALHOST))?;
    fs::rename(&unfinished, &file)?;
    while container.is_running().await? {
        sleep(Duration::from_secs(1)).await;
    }
    Err("the container ended".into())
}

async fn healthy(container: &ContainerAsync<GenericImage>, port: u16) -> Result<()> {
    while !knows_kms(port).await {
        if !container.is_running().await? {
            return Err("the container ended".into());
        }
        sleep(Duration::from_millis(200)).await;
    }
    Ok(())
}

/// Whether LocalStack answers and names KMS among its services.
async fn knows_kms(port: u16) -> bool {
    let answer = async {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
        stream.write_all(b"GET /_localstack/health HTTP/1.0\r\nHost: localhost\r\n\r\n").await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        Ok::<_, std::io::Error>(answer)
    };
    matches!(timeout(Duration::from_secs(2), answer).await, Ok(Ok(answer)) if answer.contains("\"kms\""))
}
