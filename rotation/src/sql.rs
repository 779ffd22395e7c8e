//! Envelopes in columns of PostgreSQL.

mod cell;
mod error;
mod password;
mod pool;
mod records;
mod statements;
mod table;
mod tls;
mod url;

use std::{
    env, fmt,
    sync::Arc,
    time::{Duration, UNIX_EPOCH},
};

use async_trait::async_trait;
use envelope_sdk::{Header, Kind, crypto::cobblestone::PREFIX_LEN, format::armor};
use sha2::{Digest, Sha256};
use tokio::{
    sync::{OnceCell, Semaphore, SemaphorePermit},
    task::spawn_blocking,
};
use tokio_postgres::{
    Row,
    types::{ToSql, Type},
};

use crate::{Item, Listing, Reencryption, Source, SourceError, Stored};
use pool::Pool;
use statements::{Content, Layout, PAGE, Statements};
use table::{READS, field};
use url::Address;

pub use error::SqlError;
pub use records::SqlRecords;

/// Envelopes in a column of a table of PostgreSQL.
///
/// The column is of bytes (`bytea`), or of text with armored envelopes. Each cell is an attached envelope, the header of
/// a data key ([`DataKeyStore`](envelope_layers::DataKeyStore)), or a detached header, whose payload may be in another
/// column of the same row. A row whose cell is `NULL`, or empty as [`RecordStore::destroy`](crate::records::RecordStore::destroy)
/// leaves a header, has none. A cell that holds anything else is an error of its item.
///
/// - An item is called by its key, as text; by a JSON array of texts where the key has several columns.
/// - Rows are listed by pages in the order of the key. Those that are added meanwhile may be missed: whoever adds them
///   writes for the new keys already.
/// - Headers are read off the front of their cells. Of an attached envelope in bytes, a rewrap sends the new header
///   alone, and the server puts it before the payload that is there. A text, and what is reencrypted, goes to this
///   process and back; cells of more than 256 MiB are not.
/// - A row is changed by one `UPDATE`, if its header is still the one that was read; payload and detached header change
///   in the same one. No row is locked before that.
/// - A statement ends after 60 seconds unless the URL says otherwise, and waits 5 seconds for a lock. A lost connection is
///   replaced, a few times.
///
/// Names of tables and columns are quoted, and values never are parts of statements. `search_path` is the system's
/// catalog alone. Rows that a policy hides are an error, not passed over. Connect to the server itself or through a pooler
/// that keeps sessions.
pub struct Sql(Arc<Inner>);

struct Inner {
    pool: Pool,
    layout: Layout,
    /// Found when it is first needed.
    statements: OnceCell<Statements>,
    /// Bytes of cells that are in memory at once, in KiB.
    room: Semaphore,
}

impl Sql {
    /// The column that a URL names: `postgres://ROLE@HOST:PORT/DATABASE?table=TABLE&key=COLUMN&column=COLUMN`. Nothing is
    /// connected yet.
    ///
    /// | Parameter | |
    /// |---|---|
    /// | `table` | the table |
    /// | `schema` | its schema; `public` if not said |
    /// | `key` | the column that says which row is meant, with a unique index and never `NULL`; one for each column of a primary key of several |
    /// | `column` | the column of the envelopes, or of the headers |
    /// | `payload` | for detached headers, the column of the payload (`bytea`); needed to reencrypt |
    /// | `modified` | a `timestamptz` that says when the row was last written: what [`Goal::older_than`](crate::Goal::older_than) goes by. It is set to now with each change |
    /// | `connections` | connections at once; 8 if not said |
    /// | `statement_timeout` | seconds that a statement may take; 60 if not said |
    /// | `host`, `port`, `user`, `dbname`, `sslmode`, `sslrootcert`, `connect_timeout`, `application_name` | as libpq has them |
    ///
    /// Names are percent-encoded where they need it. What the URL does not say of the connection, the variables of libpq
    /// do: `PGHOST`, `PGPORT`, `PGUSER`, `PGDATABASE`, `PGSSLMODE`, `PGSSLROOTCERT`, `PGCONNECT_TIMEOUT`, `PGAPPNAME`. The
    /// password is in `PGPASSWORD` or in `PGPASSFILE` (`~/.pgpass`), and never in the URL.
    ///
    /// Off this machine the connection is TLS and the certificate is verified, by `sslrootcert` or the platform's roots,
    /// whatever weaker `sslmode` is asked for.
    ///
    /// # Errors
    ///
    /// [`SqlError`]: the URL is not understood, a file that it names cannot be used.
    pub fn from_url(url: &str) -> Result<Self, SqlError> {
        Self::from_url_and(url, &|variable| env::var(variable).ok())
    }

    /// As [`from_url`](Self::from_url), with other variables than those of the process.
    ///
    /// # Errors
    ///
    /// As [`from_url`](Self::from_url).
    pub fn from_url_and(url: &str, environment: &dyn Fn(&str) -> Option<String>) -> Result<Self, SqlError> {
        let mut address = Address::parse(url, environment)?;
        let layout = Layout::take(&mut address.parameters)?;
        let room = Semaphore::new(ROOM as usize);
        Ok(Self(Arc::new(Inner { pool: address.pool()?, layout, statements: OnceCell::new(), room })))
    }

    /// Looks the table up, which is done anyway when it is first needed.
    ///
    /// # Errors
    ///
    /// [`SqlError`]: it is not there or not to be used, or the database is not to be had.
    pub async fn check(&self) -> Result<(), SqlError> {
        self.0.statements().await.map(drop)
    }
}

impl fmt::Debug for Sql {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sql").field("layout", &self.0.layout).finish_non_exhaustive()
    }
}

#[async_trait]
impl Source for Sql {
    fn list(&self) -> Listing {
        let inner = Arc::clone(&self.0);
        let begin = Some(Page { inner, names: Vec::new().into_iter(), last: None, is_end: false });
        Box::pin(futures_util::stream::unfold(begin, |page| async {
            let mut page = page?;
            match page.next().await {
                Ok(Some(item)) => Some((Ok(item), Some(page))),
                Ok(None) => None,
                Err(error) => Some((Err(error.into()), None)),
            }
        }))
    }

    async fn read(&self, item: &Item) -> Result<Stored, SourceError> {
        self.0.read(item).await
    }

    async fn commit(&self, item: &Item, old: &Stored, new: &Header) -> Result<u64, SourceError> {
        let inner = &self.0;
        let statements = inner.statements().await?;
        match statements.content {
            Content::Text => {
                let (text, _room) = inner.whole_text(item).await?;
                let envelope = armor::decode(&text)?;
                let payload = envelope.strip_prefix(old.header.to_bytes().as_slice());
                let payload = payload.ok_or(SourceError::Conflict)?;
                let new_text = armor::encode(&[new.to_bytes().as_slice(), payload].concat());
                inner.replace_text(item, &text, &new_text, new).await
            }
            Content::Bytes => {
                let old_bytes = old.header.to_bytes();
                let old_len = i32::try_from(old_bytes.len()).map_err(SourceError::store)?;
                let values: [Value<'_>; 3] =
                    [(&old_bytes, Type::BYTEA), (&new.to_bytes(), Type::BYTEA), (&old_len, Type::INT4)];
                inner.change(item, &statements.rewrap, &values, new).await
            }
        }
    }

    async fn reencrypt(&self, item: &Item, old: &Stored, keys: Reencryption) -> Result<u64, SourceError> {
        let inner = &self.0;
        let statements = inner.statements().await?;
        match (old.header.kind(), statements.content) {
            (Kind::Attached, Content::Bytes) => {
                let (cell, _room) = inner.whole_bytes(item, &statements.envelope).await?;
                let digest = hash(&cell);
                let (header, new) = sealed_anew(cell, old, keys).await?;
                let values: [Value<'_>; 2] = [(&digest, Type::BYTEA), (&new, Type::BYTEA)];
                inner.change(item, &statements.replace, &values, &header).await
            }
            (Kind::Attached, Content::Text) => {
                let (text, _room) = inner.whole_text(item).await?;
                let (header, new) = sealed_anew(armor::decode(&text)?, old, keys).await?;
                inner.replace_text(item, &text, &armor::encode(&new), &header).await
            }
            _ => {
                let (Some(read), Some(replace)) = (&statements.payload, &statements.replace_both) else {
                    return Err(SourceError::Unsupported(
                        "the payload of a detached header is reencrypted where the URL names its column, payload=…, and \
                         both are bytes",
                    ));
                };
                let payload = inner.whole_bytes(item, read).await.map_err(|error| match error {
                    SourceError::Gone => {
                        SourceError::Unsupported("the column of its payload is NULL: it is kept elsewhere")
                    }
                    error => error,
                });
                let (payload, _room) = payload?;
                // A payload of another header, which somebody put there since, would look damaged.
                if inner.read(item).await?.header != old.header {
                    return Err(SourceError::Conflict);
                }
                let digest = hash(&payload);
                let (header, new) = payload_sealed_anew(payload, keys).await?;
                let values: [Value<'_>; 4] = [
                    (&old.header.to_bytes(), Type::BYTEA),
                    (&header.to_bytes(), Type::BYTEA),
                    (&digest, Type::BYTEA),
                    (&new, Type::BYTEA),
                ];
                inner.change(item, replace, &values, &header).await
            }
        }
    }
}

/// A value of a statement, and its type.
type Value<'v> = (&'v (dyn ToSql + Sync), Type);

impl Inner {
    async fn statements(&self) -> Result<&Statements, SqlError> {
        self.statements.get_or_try_init(|| Statements::of(&self.pool, &self.layout)).await
    }

    /// The row of an item, by a statement that `values` complete; the key comes behind them.
    async fn row(
        &self,
        item: &Item,
        statement: &str,
        values: &[Value<'_>],
        doing: &'static str,
    ) -> Result<(Option<Row>, bool), SourceError> {
        let key = &self.statements().await?.key;
        // No key of a row here is written so.
        let Some(texts) = key.texts(item.name()) else { return Ok((None, false)) };
        let mut values = values.to_vec();
        values.extend(texts.iter().map(|text| (text as &(dyn ToSql + Sync), Type::TEXT)));
        let mut answer = self.pool.query(statement, &values, doing).await?;
        Ok((answer.rows.pop(), answer.is_repeated))
    }

    async fn read(&self, item: &Item) -> Result<Stored, SourceError> {
        let statements = self.statements().await?;
        let mut wanted = cell::FIRST;
        loop {
            let limit = i32::try_from(wanted).map_err(SourceError::store)?;
            let (row, _) = self.row(item, &statements.read, &[(&limit, Type::INT4)], READS).await?;
            let row = row.ok_or(SourceError::Gone)?;
            // A cell that was emptied holds no envelope any more, nor does one whose data key was destroyed.
            let len: Option<i32> = field(&row, 0)?;
            let len = len.filter(|len| *len > 0).ok_or(SourceError::Gone)?;
            let len = usize::try_from(len).map_err(SourceError::store)?;
            let front = match statements.content {
                Content::Bytes => cell::read_bytes(field(&row, 1)?, len)?,
                Content::Text => {
                    let text: &str = field(&row, 1)?;
                    cell::read_text(text, text.len() == len || wanted >= cell::LONGEST)?
                }
            };
            let Some((header, mut payload)) = front else {
                wanted = cell::LONGEST;
                continue;
            };
            if header.kind() == Kind::Detached {
                let prefix: Option<&[u8]> = field(&row, 2)?;
                payload = prefix.and_then(|prefix| <[u8; PREFIX_LEN]>::try_from(prefix).ok());
            }
            let seconds: Option<f64> = field(&row, 3)?;
            let modified = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
            let modified = modified.and_then(|since| UNIX_EPOCH.checked_add(since));
            let is_armored = statements.content == Content::Text;
            return Ok(Stored { header, payload, is_armored, modified, tag: None });
        }
    }

    /// A whole cell of bytes, and the room that it takes.
    async fn whole_bytes(
        &self,
        item: &Item,
        statement: &str,
    ) -> Result<(Vec<u8>, SemaphorePermit<'_>), SourceError> {
        let room = self.room_for(item, statement).await?;
        let (row, _) = self.row(item, statement, &[(&MAX_CELL, Type::INT4)], READS).await?;
        let cell: Option<Vec<u8>> = field(&row.ok_or(SourceError::Conflict)?, 1)?;
        Ok((cell.ok_or(SourceError::Conflict)?, room))
    }

    async fn whole_text(&self, item: &Item) -> Result<(String, SemaphorePermit<'_>), SourceError> {
        let statement = &self.statements().await?.envelope;
        let room = self.room_for(item, statement).await?;
        let (row, _) = self.row(item, statement, &[(&MAX_CELL, Type::INT4)], READS).await?;
        let cell: Option<String> = field(&row.ok_or(SourceError::Conflict)?, 1)?;
        Ok((cell.ok_or(SourceError::Conflict)?, room))
    }

    /// Waits until there is room for a cell, so that many large ones are one after the other in memory. One that is `NULL` is
    /// [gone](SourceError::Gone).
    async fn room_for(&self, item: &Item, statement: &str) -> Result<SemaphorePermit<'_>, SourceError> {
        let (row, _) = self.row(item, statement, &[(&0, Type::INT4)], READS).await?;
        let len: Option<i32> = field(&row.ok_or(SourceError::Conflict)?, 0)?;
        let len = len.ok_or(SourceError::Gone)?;
        if len > MAX_CELL {
            return Err(SourceError::Unsupported(
                "it is larger than 256 MiB, too large to go through memory",
            ));
        }
        let kib = u32::try_from(len / 1024).map_err(SourceError::store)?.clamp(1, ROOM);
        self.room.acquire_many(kib).await.map_err(SourceError::store)
    }

    async fn replace_text(
        &self,
        item: &Item,
        old: &str,
        new: &str,
        header: &Header,
    ) -> Result<u64, SourceError> {
        let digest = hash(old.as_bytes());
        let values: [Value<'_>; 2] = [(&digest, Type::BYTEA), (&new, Type::TEXT)];
        self.change(item, &self.statements().await?.replace, &values, header).await
    }

    /// Runs an `UPDATE` that tells how long the cell is now, or changes nothing because it is another by now.
    async fn change(
        &self,
        item: &Item,
        statement: &str,
        values: &[Value<'_>],
        new: &Header,
    ) -> Result<u64, SourceError> {
        let (row, is_repeated) = self.row(item, statement, values, WRITES).await?;
        if let Some(row) = row {
            let len: i64 = field(&row, 0)?;
            return Ok(u64::try_from(len).unwrap_or_default());
        }
        // The answer to the first try may have been lost with its connection.
        if is_repeated && self.read(item).await.is_ok_and(|stored| stored.header == *new) {
            return Ok(new.len() as u64);
        }
        Err(SourceError::Conflict)
    }
}

/// A page of names on its way.
struct Page {
    inner: Arc<Inner>,
    names: std::vec::IntoIter<Vec<String>>,
    /// The key of the last row of the page, unless it was the last one.
    last: Option<Vec<String>>,
    /// Whether nothing was behind it when it was read. Rows that others add there one by one would be pages without an end.
    is_end: bool,
}

impl Page {
    async fn next(&mut self) -> Result<Option<Item>, SqlError> {
        let statements = self.inner.statements().await?;
        let item = |texts: &[String]| Item::found(statements.key.name(texts));
        if let Some(texts) = self.names.next() {
            // Whoever is listed last says where to go on.
            if self.names.len() == 0 {
                self.last = Some(texts.clone());
            }
            return Ok(Some(item(&texts)));
        }
        if self.is_end {
            return Ok(None);
        }
        let (statement, values) = match &self.last {
            None => (&statements.first_page, Vec::new()),
            Some(last) => (
                &statements.next_page,
                last.iter().map(|text| (text as &(dyn ToSql + Sync), Type::TEXT)).collect(),
            ),
        };
        // Where few rows have an envelope, this looks at many others.
        let rows = self.inner.pool.scan(statement, &values, READS).await?.rows;
        let texts = rows.iter().map(|row| (0..row.len()).map(|at| field(row, at)).collect());
        self.names = texts.collect::<Result<Vec<Vec<String>>, _>>()?.into_iter();
        self.is_end = rows.len() < PAGE;
        let Some(texts) = self.names.next() else { return Ok(None) };
        if self.names.len() == 0 {
            self.last = Some(texts.clone());
        }
        Ok(Some(item(&texts)))
    }
}

impl From<SqlError> for SourceError {
    fn from(error: SqlError) -> Self {
        match error {
            SqlError::Locked => Self::Busy,
            SqlError::Changed => Self::Conflict,
            error => Self::store(error),
        }
    }
}

/// An attached envelope under a new DEK, off the threads that wait.
async fn sealed_anew(
    envelope: Vec<u8>,
    old: &Stored,
    keys: Reencryption,
) -> Result<(Header, Vec<u8>), SourceError> {
    if !envelope.starts_with(&old.header.to_bytes()) {
        return Err(SourceError::Conflict);
    }
    let payload_at = old.header.len() as u64;
    let sealing = spawn_blocking(move || {
        let mut new = keys.header().to_bytes();
        let new_at = new.len() as u64;
        let header = keys.seal(&envelope, payload_at, &mut new)?.check(&new, new_at)?;
        Ok((header, new))
    });
    sealing.await.map_err(SourceError::store)?
}

/// A detached payload under a new DEK.
async fn payload_sealed_anew(payload: Vec<u8>, keys: Reencryption) -> Result<(Header, Vec<u8>), SourceError> {
    let sealing = spawn_blocking(move || {
        let mut new = Vec::with_capacity(payload.len());
        let header = keys.seal(&payload, 0, &mut new)?.check(&new, 0)?;
        Ok((header, new))
    });
    sealing.await.map_err(SourceError::store)?
}

fn hash(bytes: &[u8]) -> Vec<u8> {
    Sha256::digest(bytes).to_vec()
}

/// The right that changing a row takes.
const WRITES: &str =
    "it takes the right to UPDATE the columns of envelope and payload, on a server that is no standby";
/// Bytes of the largest cell that goes through memory: 256 MiB.
const MAX_CELL: i32 = 256 * 1024 * 1024;
/// KiB of cells in memory at once. Old and new are there together, and text beside its bytes.
const ROOM: u32 = 64 * 1024;
