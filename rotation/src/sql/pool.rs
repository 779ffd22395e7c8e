//! A few connections to one database, made when they are needed and replaced when they are lost.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::{sleep, timeout},
};
use tokio_postgres::{
    Client, Config, Row,
    config::Host,
    types::{ToSql, Type},
};

use super::{
    SqlError,
    error::{is_away, is_race},
    tls::Connector,
};

/// Values for the `$1`, `$2`, … of a statement, and their types.
pub(super) type Values<'a> = [(&'a (dyn ToSql + Sync), Type)];

pub(super) struct Pool {
    config: Config,
    connector: Connector,
    server: String,
    role: String,
    idle: Mutex<Vec<Client>>,
    slots: Semaphore,
}

/// What a statement gave.
pub(super) struct Answer {
    pub(super) rows: Vec<Row>,
    /// It was sent more than once, because a connection was lost: an earlier one may have been carried out too.
    pub(super) is_repeated: bool,
}

/// A connection in use. It goes back by [`Pool::give_back`] alone: dropped with a statement under way, it is closed.
pub(super) struct Held<'p> {
    client: Client,
    _slot: SemaphorePermit<'p>,
}

impl Pool {
    /// No connection is made yet.
    pub(super) fn new(mut config: Config, connector: Connector, connections: usize) -> Self {
        config.options(SESSION);
        config.connect_timeout(config.get_connect_timeout().copied().unwrap_or(CONNECT));
        config.tcp_user_timeout(STATEMENT);
        if config.get_application_name().is_none() {
            config.application_name("envelope-rotation");
        }
        let host = config.get_hosts().first().map_or_else(String::new, |host| match host {
            Host::Tcp(name) => name.clone(),
            #[cfg(unix)]
            Host::Unix(path) => path.display().to_string(),
        });
        let port = config.get_ports().first().copied().unwrap_or(5432);
        let server = envelope_sdk::printable::text(&format!("{host}:{port}"));
        let role = config.get_user().unwrap_or("of this user").to_owned();
        Self {
            config,
            connector,
            server,
            role,
            idle: Mutex::default(),
            slots: Semaphore::new(connections.clamp(1, MOST_CONNECTIONS)),
        }
    }

    /// Runs one statement, in a transaction of its own. `doing` says which right it needs, for who lacks it.
    ///
    /// A lost connection, and a transaction that gave way to another, are tried again, a few times. So a statement is
    /// one that may be carried out twice.
    pub(super) async fn query(
        &self,
        statement: &str,
        values: &Values<'_>,
        doing: &'static str,
    ) -> Result<Answer, SqlError> {
        let mut is_repeated = false;
        let mut tries = 0;
        loop {
            let error = match self.once(statement, values, &mut is_repeated).await {
                Ok(rows) => return Ok(Answer { rows, is_repeated }),
                Err(error) => error,
            };
            let Some(error) = error else {
                return Err(SqlError::TimedOut { seconds: (STATEMENT + CONNECT).as_secs() });
            };
            let again = is_away(&error) || error.code().is_some_and(is_race);
            tries += 1;
            if !again || tries == TRIES {
                return Err(SqlError::of(&error, &self.server, &self.role, doing));
            }
            sleep(FIRST_WAIT * (1 << tries)).await;
        }
    }

    /// `None` is that time ran out. `was_sent` is set when the statement may have been carried out although this fails.
    async fn once(
        &self,
        statement: &str,
        values: &Values<'_>,
        was_sent: &mut bool,
    ) -> Result<Vec<Row>, Option<tokio_postgres::Error>> {
        let held = self.connection().await?;
        let answer = timeout(STATEMENT + CONNECT, held.client.query_typed(statement, values)).await;
        match answer {
            Ok(Ok(rows)) => {
                self.give_back(held);
                Ok(rows)
            }
            Ok(Err(error)) => {
                if held.client.is_closed() || is_away(&error) {
                    *was_sent = true;
                } else {
                    self.give_back(held);
                }
                Err(Some(error))
            }
            Err(_) => Err(None),
        }
    }

    async fn connection(&self) -> Result<Held<'_>, Option<tokio_postgres::Error>> {
        // It is never closed.
        let slot = self.slots.acquire().await.map_err(|_| None)?;
        loop {
            let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let Some(client) = idle else { break };
            if !client.is_closed() {
                return Ok(Held { client, _slot: slot });
            }
        }
        let connecting = timeout(CONNECT + CONNECT, self.config.connect(self.connector.clone()));
        let (client, connection) = connecting.await.map_err(|_| None)??;
        // It ends with its client.
        tokio::spawn(async move {
            // Whoever waits for an answer is told.
            let _ = connection.await;
        });
        timeout(CONNECT, client.batch_execute(LASTS)).await.map_err(|_| None)??;
        Ok(Held { client, _slot: slot })
    }

    fn give_back(&self, held: Held<'_>) {
        if !held.client.is_closed() {
            self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(held.client);
        }
    }
}

/// Says how keys are written as text, always in the same way; that names mean what the system's catalog says, whatever
/// somebody put into another schema; that rows which a policy hides are an error and not passed over; and that nobody
/// waits for ever.
const SESSION: &str = "-c search_path=pg_catalog -c row_security=off -c datestyle=ISO -c intervalstyle=postgres \
    -c timezone=UTC -c bytea_output=hex -c extra_float_digits=1 -c client_min_messages=error \
    -c standard_conforming_strings=on -c default_transaction_isolation=read\\ committed \
    -c statement_timeout=60s -c lock_timeout=5s -c idle_in_transaction_session_timeout=60s";
/// What was committed lasts: the old key may be destroyed a moment later. Stricter settings stay.
const LASTS: &str = "SELECT set_config('synchronous_commit', 'on', false) \
    WHERE current_setting('synchronous_commit') = 'off'";
/// As `statement_timeout` above.
const STATEMENT: Duration = Duration::from_secs(60);
const CONNECT: Duration = Duration::from_secs(10);
const MOST_CONNECTIONS: usize = 64;
/// How often a statement is begun.
const TRIES: u32 = 6;
/// Doubled before it is waited the first time; in all some 6 seconds.
const FIRST_WAIT: Duration = Duration::from_millis(50);
