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
    error::SqlState,
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
    idle: Mutex<Vec<Session>>,
    slots: Semaphore,
    limits: Limits,
}

/// How long statements may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// One that goes by an index, or changes rows.
    pub(super) statement: Duration,
    /// One that may look at a whole table.
    pub(super) scan: Duration,
}

impl Limits {
    /// Of statements; scans of huge tables may take an hour at least.
    pub(super) fn of(statement: Duration) -> Self {
        Self { statement, scan: SCAN.max(statement) }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self::of(STATEMENT)
    }
}

/// A connection, and how long its server lets a statement run.
struct Session {
    client: Client,
    limit: Duration,
}

/// What a statement gave.
pub(super) struct Answer {
    pub(super) rows: Vec<Row>,
    /// It was sent more than once, because a connection was lost: an earlier one may have been carried out too.
    pub(super) is_repeated: bool,
}

/// A connection in use. It goes back by [`Pool::give_back`] alone: dropped with a statement under way, it is closed.
pub(super) struct Held<'p> {
    session: Session,
    _slot: SemaphorePermit<'p>,
}

impl Pool {
    /// No connection is made yet.
    pub(super) fn new(mut config: Config, connector: Connector, connections: usize, limits: Limits) -> Self {
        config.options(format!("{SESSION} -c statement_timeout={}", limits.statement.as_millis()));
        config.connect_timeout(config.get_connect_timeout().copied().unwrap_or(CONNECT));
        config.tcp_user_timeout(STATEMENT);
        // A server that is gone while a long scan is waited for.
        config.keepalives_idle(STATEMENT);
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
            limits,
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
        self.within(self.limits.statement, statement, values, doing).await
    }

    /// The same for a statement that may look at a whole table, and take its time.
    pub(super) async fn scan(
        &self,
        statement: &str,
        values: &Values<'_>,
        doing: &'static str,
    ) -> Result<Answer, SqlError> {
        self.within(self.limits.scan, statement, values, doing).await
    }

    async fn within(
        &self,
        limit: Duration,
        statement: &str,
        values: &Values<'_>,
        doing: &'static str,
    ) -> Result<Answer, SqlError> {
        let mut is_repeated = false;
        let mut tries = 0;
        loop {
            let error = match self.once(limit, statement, values, &mut is_repeated).await {
                Ok(rows) => return Ok(Answer { rows, is_repeated }),
                Err(error) => error,
            };
            let Some(error) = error else {
                return Err(SqlError::TimedOut { seconds: limit.as_secs() });
            };
            // The server keeps to the limit as well.
            if error.code() == Some(&SqlState::QUERY_CANCELED) {
                return Err(SqlError::TimedOut { seconds: limit.as_secs() });
            }
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
        limit: Duration,
        statement: &str,
        values: &Values<'_>,
        was_sent: &mut bool,
    ) -> Result<Vec<Row>, Option<tokio_postgres::Error>> {
        let mut held = self.connection().await?;
        let Session { client, limit: set } = &mut held.session;
        if *set != limit {
            let set_limit = format!("SET statement_timeout = {}", limit.as_millis());
            timeout(CONNECT, client.batch_execute(&set_limit)).await.map_err(|_| None)??;
            *set = limit;
        }
        let answer = timeout(limit + CONNECT, client.query_typed(statement, values)).await;
        match answer {
            Ok(Ok(rows)) => {
                self.give_back(held);
                Ok(rows)
            }
            Ok(Err(error)) => {
                if held.session.client.is_closed() || is_away(&error) {
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
            let Some(session) = idle else { break };
            if !session.client.is_closed() {
                return Ok(Held { session, _slot: slot });
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
        Ok(Held { session: Session { client, limit: self.limits.statement }, _slot: slot })
    }

    fn give_back(&self, held: Held<'_>) {
        if !held.session.client.is_closed() {
            self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(held.session);
        }
    }
}

/// Says how keys are written as text, always in the same way; that names mean what the system's catalog says, whatever
/// somebody put into another schema; that rows which a policy hides are an error and not passed over; and that nobody
/// waits for ever.
const SESSION: &str = "-c search_path=pg_catalog -c row_security=off -c datestyle=ISO -c intervalstyle=postgres \
    -c timezone=UTC -c bytea_output=hex -c extra_float_digits=1 -c client_min_messages=error \
    -c standard_conforming_strings=on -c default_transaction_isolation=read\\ committed \
    -c lock_timeout=5s -c idle_in_transaction_session_timeout=60s";
/// What was committed lasts: the old key may be destroyed a moment later. Stricter settings stay.
const LASTS: &str = "SELECT set_config('synchronous_commit', 'on', false) \
    WHERE current_setting('synchronous_commit') = 'off'";
/// Unless the URL says how long a statement may take.
const STATEMENT: Duration = Duration::from_secs(60);
/// A scan: without the right index, counting a billion rows takes minutes.
const SCAN: Duration = Duration::from_secs(3600);
const CONNECT: Duration = Duration::from_secs(10);
const MOST_CONNECTIONS: usize = 64;
/// How often a statement is begun.
const TRIES: u32 = 6;
/// Doubled before it is waited the first time; in all some 6 seconds.
const FIRST_WAIT: Duration = Duration::from_millis(50);
