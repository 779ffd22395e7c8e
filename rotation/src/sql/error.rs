//! What failed with the database, in words that show no row's contents.

use envelope_files::trust::TrustError;
use envelope_sdk::printable;
use tokio_postgres::{Error, error::SqlState};

/// Why a table cannot be used, or a statement failed.
///
/// Of a server's error its code and first line are shown, and nothing of what it adds to them: there it quotes rows.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SqlError {
    /// The URL, or a variable of the environment that completes it, says something that is not understood.
    #[error("{0}")]
    Url(String),
    /// The file of passwords is not to be believed.
    #[error(transparent)]
    Passwords(#[from] TrustError),
    /// The roots to verify the server by cannot be used.
    #[error("cannot verify the server: {0}")]
    Tls(String),
    /// The table is not there, or is not one whose rows can be told apart and replaced safely.
    #[error("cannot use the table {table}: {what}")]
    Table {
        /// Schema and name.
        table: String,
        /// What is wrong with it, and what to do.
        what: String,
    },
    /// The database could not be reached, or the connection was lost, as often as was tried.
    #[error("cannot reach the database {server}: {what}")]
    Unreachable {
        /// Host and port.
        server: String,
        /// What the last try came to.
        what: String,
    },
    /// The role has no right to do this.
    #[error("the database does not permit this to the role {role}: {message}; {doing}")]
    NotPermitted {
        /// Who asked.
        role: String,
        /// What the server said.
        message: String,
        /// Which right is needed.
        doing: &'static str,
    },
    /// The row is locked by a transaction that does not end.
    #[error("another transaction holds the row")]
    Locked,
    /// Another transaction changed the row at the same moment.
    #[error("another transaction changed the row")]
    Changed,
    /// The server refused a statement.
    #[error("the database says: {message} ({code})")]
    Server {
        /// Its SQLSTATE.
        code: String,
        /// Its first line.
        message: String,
    },
    /// A statement took too long, or somebody cancelled it at the database.
    #[error(
        "the database did not answer within {seconds} seconds, or the statement was cancelled there: statement_timeout=SECONDS \
         in the URL gives it longer"
    )]
    TimedOut {
        /// How long was waited.
        seconds: u64,
    },
}

impl SqlError {
    /// That of a URL.
    pub(crate) fn url(what: impl Into<String>) -> Self {
        Self::Url(what.into())
    }

    /// What a server said that was asked as `role`, in order to do what `doing` says.
    pub(crate) fn of(error: &Error, server: &str, role: &str, doing: &'static str) -> Self {
        let Some(said) = error.as_db_error() else {
            return Self::Unreachable { server: server.into(), what: cause(error) };
        };
        let message = printable::cut(said.message(), MESSAGE);
        let code = said.code();
        if *code == SqlState::INSUFFICIENT_PRIVILEGE || *code == SqlState::READ_ONLY_SQL_TRANSACTION {
            return Self::NotPermitted { role: printable::text(role), message, doing };
        }
        if *code == SqlState::LOCK_NOT_AVAILABLE {
            return Self::Locked;
        }
        if is_race(code) {
            return Self::Changed;
        }
        Self::Server { code: printable::cut(code.code(), 5), message }
    }
}

/// Whether nothing was done because another transaction was in the way: once more, and it may succeed.
pub(super) fn is_race(code: &SqlState) -> bool {
    *code == SqlState::T_R_SERIALIZATION_FAILURE || *code == SqlState::T_R_DEADLOCK_DETECTED
}

/// Whether the server is gone, or going, or not yet there: another connection may find it.
pub(super) fn is_away(error: &Error) -> bool {
    match error.code() {
        Some(code) => {
            [
                SqlState::ADMIN_SHUTDOWN,
                SqlState::CRASH_SHUTDOWN,
                SqlState::CANNOT_CONNECT_NOW,
                SqlState::TOO_MANY_CONNECTIONS,
            ]
            .contains(code)
                || code.code().starts_with("08")
        }
        // What is no answer of the server is the connection, or how it was made; of the latter, words do not change.
        None => error.is_closed() || io_below(error),
    }
}

fn io_below(error: &Error) -> bool {
    let mut below = std::error::Error::source(error);
    while let Some(error) = below {
        if let Some(io) = error.downcast_ref::<std::io::Error>() {
            // A certificate that does not verify comes as this, and no other try verifies it.
            return io.kind() != std::io::ErrorKind::InvalidData;
        }
        below = error.source();
    }
    false
}

/// The error and what it comes from, in one line.
fn cause(error: &Error) -> String {
    let mut text = error.to_string();
    let mut below = std::error::Error::source(error);
    while let Some(error) = below {
        let more = error.to_string();
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        below = error.source();
    }
    printable::cut(&text, MESSAGE)
}

/// Characters of a server's message that are shown.
const MESSAGE: usize = 300;
