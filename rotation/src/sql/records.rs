//! Records in a table of PostgreSQL, and the headers of their data keys in another: [`SqlRecords`].

mod layout;

use std::{
    env, fmt,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use async_trait::async_trait;
use envelope_layers::{DataKeyId, DataKeyStore, StoreError};
use envelope_sdk::printable;
use tokio::sync::OnceCell;
use tokio_postgres::types::{FromSql, ToSql, Type};

use super::{
    SqlError,
    pool::Pool,
    table::{READS, field},
    url::Address,
};
use crate::records::{PageLimit, RecordKey, RecordStore, Retired, Row, StoredDataKey, Swap};
use layout::{Layout, Statements};

/// Records in columns of a table of PostgreSQL, beside the id of their data key; and the headers of the data keys in another
/// table of the same database, as [`DataKeyStore`] has it.
///
/// The connection, the names and the time limits are those of [`Sql`](crate::Sql). What looks at a whole table where the index
/// is missing, such as a count, may take an hour, or as long as the URL says if that is longer.
///
/// A header is retired only where the column of ids refers to the table of headers by a foreign key, and no foreign key of
/// any table to it would delete or change rows (`ON DELETE CASCADE`, `SET NULL`): then the server refuses whoever still
/// writes a record under it. An index over the column of ids, best together with the key, makes pages and counts fast.
pub struct SqlRecords {
    pool: Pool,
    layout: Layout,
    statements: OnceCell<Statements>,
}

impl SqlRecords {
    /// The tables that a URL names:
    /// `postgres://ROLE@HOST/DATABASE?table=TABLE&key=COLUMN&column=COLUMN&data-key-column=COLUMN&keys=TABLE`.
    ///
    /// | Parameter | |
    /// |---|---|
    /// | `table`, `schema`, `key`, `connections`, `statement_timeout` and those of the connection | as for [`Sql::from_url`](crate::Sql::from_url) |
    /// | `column` | a column of records (`bytea`). **All** columns of a row that are sealed under its data key must be named, one by one |
    /// | `unsealed` | a column of bytes that is not sealed under it; one for each. A table with others is refused |
    /// | `data-key-column` | the column of the data key's id: `bytea` of 16 bytes, or `uuid` |
    /// | `keys`, `keys-schema` | the table of headers; of the same schema if not said |
    /// | `keys-id`, `keys-header` | its columns; `id` and `header` if not said |
    /// | `keys-made` | its column of type `timestamptz` that says when a header was made, if it has one |
    /// | `tenant-column`, `tenant` | only rows with this value, as text, in this column |
    ///
    /// # Errors
    ///
    /// [`SqlError`]: the URL is not understood.
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
        Ok(Self { pool: address.pool()?, layout, statements: OnceCell::new() })
    }

    /// The same tables without the tenant that the URL narrows them to: for what concerns all rows of a data key.
    #[must_use]
    pub fn of_all_rows(mut self) -> Self {
        self.layout.tenant = None;
        self.statements = OnceCell::new();
        self
    }

    async fn statements(&self) -> Result<&Statements, SqlError> {
        self.statements.get_or_try_init(|| Statements::of(&self.pool, &self.layout)).await
    }

    async fn rows_of(
        &self,
        swaps: &[Swap],
        statement: &str,
        ids: &[&str],
    ) -> Result<(Vec<RecordKey>, bool), StoreError> {
        let key = &self.statements().await?.key;
        let mut keys: Vec<Vec<String>> = vec![Vec::with_capacity(swaps.len()); key.len()];
        for swap in swaps {
            let texts = key.texts(swap.key.0.as_bytes()).ok_or("a key of another table")?;
            for (texts, text) in keys.iter_mut().zip(texts) {
                texts.push(text);
            }
        }
        let columns = swaps.first().map_or(0, |swap| swap.new.len());
        let records = |pick: fn(&Swap) -> &Vec<Option<Vec<u8>>>, at: usize| -> Vec<Option<&[u8]>> {
            swaps.iter().map(|swap| pick(swap).get(at).and_then(Option::as_deref)).collect()
        };
        let old: Vec<_> = (0..columns).map(|at| records(|swap| &swap.old, at)).collect();
        let new: Vec<_> = (0..columns).map(|at| records(|swap| &swap.new, at)).collect();
        let mut values: Vec<(&(dyn ToSql + Sync), Type)> = Vec::new();
        values.extend(ids.iter().map(|id| (id as &(dyn ToSql + Sync), Type::TEXT)));
        values.extend(keys.iter().map(|texts| (texts as &(dyn ToSql + Sync), Type::TEXT_ARRAY)));
        for records in old.iter().zip(&new) {
            values.push((records.0, Type::BYTEA_ARRAY));
            values.push((records.1, Type::BYTEA_ARRAY));
        }
        let answer = self.pool.query(statement, &values, MOVES).await?;
        let names = answer.rows.iter().map(|row| Ok(RecordKey(key.name(&texts(row, 0, key.len())?))));
        Ok((names.collect::<Result<_, SqlError>>()?, answer.is_repeated))
    }
}

impl fmt::Debug for SqlRecords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqlRecords").field("layout", &self.layout).finish_non_exhaustive()
    }
}

#[async_trait]
impl RecordStore for SqlRecords {
    async fn check(&self, columns: &[String]) -> Result<(), StoreError> {
        Ok(self.statements().await?.check(&self.pool, columns).await?)
    }

    async fn in_use(&self) -> Result<Vec<DataKeyId>, StoreError> {
        let statements = self.statements().await?;
        let rows = self.pool.scan(&statements.in_use, &self.layout.tenant_value(), READS).await?.rows;
        rows.iter().map(|row| id_of(field(row, 0)?)).collect()
    }

    async fn page(
        &self,
        of: &DataKeyId,
        columns: &[String],
        after: Option<&RecordKey>,
        limit: PageLimit,
    ) -> Result<Vec<Row>, StoreError> {
        let statements = self.statements().await?;
        let key = &statements.key;
        let statement = statements.page(columns, after.is_some())?;
        let after =
            after.map(|after| key.texts(after.0.as_bytes()).ok_or("a key of another table")).transpose()?;
        let after = after.unwrap_or_default();
        let (of, rows) = (of.to_string(), i64::from(limit.rows));
        let bytes = i64::try_from(limit.bytes).unwrap_or(i64::MAX);
        let mut values: Vec<(&(dyn ToSql + Sync), Type)> =
            vec![(&of, Type::TEXT), (&rows, Type::INT8), (&bytes, Type::INT8)];
        values.extend(self.layout.tenant_value());
        values.extend(after.iter().map(|text| (text as &(dyn ToSql + Sync), Type::TEXT)));
        // Without an index over the column of ids, and few rows left under it, this looks at the whole table.
        let answer = self.pool.scan(&statement, &values, READS).await?;
        let row = |row: &tokio_postgres::Row| {
            let key_name = RecordKey(key.name(&texts(row, 0, key.len())?));
            let values = texts(row, key.len(), columns.len())?;
            let records = statements
                .sealed
                .iter()
                .enumerate()
                .map(|(at, column)| Ok((column.clone(), field(row, key.len() + columns.len() + at)?)));
            Ok(Row { key: key_name, columns: values, records: records.collect::<Result<_, SqlError>>()? })
        };
        Ok(answer.rows.iter().map(row).collect::<Result<_, SqlError>>()?)
    }

    async fn swap(
        &self,
        from: &DataKeyId,
        to: &DataKeyId,
        rows: &[Swap],
    ) -> Result<Vec<RecordKey>, StoreError> {
        let statements = self.statements().await?;
        let (from, to) = (from.to_string(), to.to_string());
        let (mut moved, is_repeated) = match self.rows_of(rows, &statements.swap, &[&from, &to]).await {
            // Somebody holds one of the rows, and nothing was done: the job comes back to them.
            Err(error) if is_of_another(&error) => return Ok(Vec::new()),
            done => done?,
        };
        if is_repeated {
            // The answer to an earlier try may have been lost with its connection.
            let (there, _) = self.rows_of(rows, &statements.is_moved, &[&from, &to]).await?;
            moved = there;
        }
        Ok(moved)
    }

    async fn count(&self, of: &DataKeyId) -> Result<u64, StoreError> {
        let statements = self.statements().await?;
        let rows = self.pool.scan(&statements.count, &[(&of.to_string(), Type::TEXT)], READS).await?.rows;
        let count: i64 = field(rows.first().ok_or("no answer")?, 0)?;
        Ok(u64::try_from(count)?)
    }

    async fn count_narrowed(&self, of: &DataKeyId) -> Result<u64, StoreError> {
        let statements = self.statements().await?;
        let of = of.to_string();
        let mut values: Vec<(&(dyn ToSql + Sync), Type)> = vec![(&of, Type::TEXT)];
        values.extend(self.layout.tenant_value());
        let rows = self.pool.scan(&statements.count_narrowed, &values, READS).await?.rows;
        let count: i64 = field(rows.first().ok_or("no answer")?, 0)?;
        Ok(u64::try_from(count)?)
    }

    async fn data_key(&self, id: &DataKeyId) -> Result<Option<StoredDataKey>, StoreError> {
        let statements = self.statements().await?;
        let rows = self.pool.query(&statements.header, &[(&id.to_string(), Type::TEXT)], READS).await?.rows;
        rows.first().map(stored).transpose()
    }

    async fn data_keys(&self, after: Option<&DataKeyId>) -> Result<Vec<StoredDataKey>, StoreError> {
        let statements = self.statements().await?;
        let rows = match after.map(ToString::to_string) {
            None => self.pool.query(&statements.first_headers, &[], READS).await?.rows,
            Some(id) => self.pool.query(&statements.next_headers, &[(&id, Type::TEXT)], READS).await?.rows,
        };
        rows.iter().map(stored).collect()
    }

    async fn insert(&self, id: &DataKeyId, header: &[u8]) -> Result<(), StoreError> {
        let statements = self.statements().await?;
        let values: [(&(dyn ToSql + Sync), Type); 2] =
            [(&id.to_string(), Type::TEXT), (&header, Type::BYTEA)];
        self.pool.query(&statements.insert, &values, INSERTS).await?;
        match self.data_key(id).await? {
            Some(stored) if stored.header == header => Ok(()),
            _ => Err("the header of a new data key is not there after it was written".into()),
        }
    }

    async fn retire(&self, id: &DataKeyId) -> Result<Retired, StoreError> {
        let statements = self.statements().await?;
        let rows = self.pool.query(&statements.is_guarded, &statements.guard_values(), READS).await?.rows;
        if !rows.first().map_or(Ok(false), |row| field(row, 0))? {
            return Ok(Retired::Unguarded);
        }
        match self.pool.query(&statements.delete, &[(&id.to_string(), Type::TEXT)], DELETES).await {
            Ok(_) => Ok(Retired::Removed),
            // A transaction that is not over wrote a record under it.
            Err(SqlError::Locked | SqlError::Changed) => Ok(Retired::InUse),
            Err(SqlError::Server { code, .. }) if REFERS.contains(&code.as_str()) => Ok(Retired::InUse),
            Err(error) => Err(error.into()),
        }
    }

    async fn destroy(&self, id: &DataKeyId) -> Result<bool, StoreError> {
        let statements = self.statements().await?;
        let values: [(&(dyn ToSql + Sync), Type); 1] = [(&id.to_string(), Type::TEXT)];
        let rows = self.pool.query(&statements.destroy, &values, DESTROYS).await?.rows;
        // A trigger or a rule may keep what is there.
        match self.data_key(id).await? {
            Some(stored) if !stored.header.is_empty() => {
                Err("the header of the data key is there after it was overwritten".into())
            }
            _ => Ok(!rows.is_empty()),
        }
    }
}

#[async_trait]
impl DataKeyStore for SqlRecords {
    async fn put(&self, id: &DataKeyId, header: &[u8]) -> Result<(), StoreError> {
        self.insert(id, header).await
    }

    async fn find(&self, id: &DataKeyId) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.data_key(id).await?.map(|stored| stored.header))
    }
}

/// `count` fields of text from `first` on.
fn texts<'r, T: FromSql<'r>>(
    row: &'r tokio_postgres::Row,
    first: usize,
    count: usize,
) -> Result<Vec<T>, SqlError> {
    (first..first + count).map(|at| field(row, at)).collect()
}

/// Whether another transaction was in the way.
fn is_of_another(error: &StoreError) -> bool {
    matches!(error.downcast_ref::<SqlError>(), Some(SqlError::Locked | SqlError::Changed))
}

fn stored(row: &tokio_postgres::Row) -> Result<StoredDataKey, StoreError> {
    let made: Option<i64> = field(row, 2)?;
    Ok(StoredDataKey { id: id_of(field(row, 0)?)?, header: field(row, 1)?, made: made.and_then(moment) })
}

/// A moment in microseconds since 1970.
fn moment(micros: i64) -> Option<SystemTime> {
    UNIX_EPOCH.checked_add(Duration::from_micros(u64::try_from(micros).ok()?))
}

/// An id, from its hexadecimal digits.
fn id_of(digits: &str) -> Result<DataKeyId, StoreError> {
    let wrong = || format!("{} is no id of a data key, which has 16 bytes", printable::cut(digits, 40));
    let number = u128::from_str_radix(digits, 16).map_err(|_| wrong())?;
    if digits.len() != 32 {
        return Err(wrong().into());
    }
    Ok(DataKeyId::from(number.to_be_bytes()))
}

/// The rights that moving takes.
pub(super) const MOVES: &str = "it takes the right to UPDATE the columns of records and of the data key's id, on a server that is no standby";
const INSERTS: &str = "it takes the right to INSERT into the table of headers";
const DESTROYS: &str = "it takes the right to UPDATE the column of headers";
const DELETES: &str = "it takes the right to DELETE from the table of headers, unless old data keys are kept";
/// `foreign_key_violation` and `restrict_violation`.
const REFERS: [&str; 2] = ["23503", "23001"];
