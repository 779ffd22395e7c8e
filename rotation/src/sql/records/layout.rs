//! Which columns of records are meant, and what is asked of them: each statement, written once.

use std::collections::HashMap;

use tokio_postgres::types::{Oid, ToSql, Type};

use super::super::{
    SqlError,
    pool::Pool,
    statements::DEFAULT_SCHEMA,
    table::{Column, Key, READS, Table, field, join},
    url::Parameters,
};
use super::MOVES;

/// Tables and columns, by their names.
#[derive(Debug)]
pub(super) struct Layout {
    schema: String,
    table: String,
    key: Vec<String>,
    columns: Vec<String>,
    /// Columns of bytes that are said not to be sealed.
    unsealed: Vec<String>,
    data_key: String,
    keys_schema: String,
    keys: String,
    keys_id: String,
    keys_header: String,
    keys_made: Option<String>,
    /// A column, and the value that it has in the rows that are meant.
    pub(super) tenant: Option<(String, String)>,
}

impl Layout {
    /// Takes what is said of it.
    pub(super) fn take(parameters: &mut Parameters) -> Result<Self, SqlError> {
        let schema = parameters.one("schema")?.unwrap_or_else(|| DEFAULT_SCHEMA.into());
        let columns = parameters.many("column");
        if columns.is_empty() {
            return Err(SqlError::url("the URL does not say `column=`, a column of records"));
        }
        let tenant = match (parameters.one("tenant-column")?, parameters.one("tenant")?) {
            (Some(column), Some(value)) => Some((column, value)),
            (None, None) => None,
            _ => return Err(SqlError::url("`tenant-column=` and `tenant=` go together")),
        };
        Ok(Self {
            keys_schema: parameters.one("keys-schema")?.unwrap_or_else(|| schema.clone()),
            schema,
            table: parameters.required("table", "the table of the records")?,
            key: parameters.many("key"),
            columns,
            unsealed: parameters.many("unsealed"),
            data_key: parameters.required("data-key-column", "the column of the data key's id")?,
            keys: parameters.required("keys", "the table of the data keys' headers")?,
            keys_id: parameters.one("keys-id")?.unwrap_or_else(|| "id".into()),
            keys_header: parameters.one("keys-header")?.unwrap_or_else(|| "header".into()),
            keys_made: parameters.one("keys-made")?,
            tenant,
        })
    }

    /// The value of the tenant, where statements have a place for it.
    pub(super) fn tenant_value(&self) -> Vec<(&(dyn ToSql + Sync), Type)> {
        self.tenant.iter().map(|(_, value)| (value as &(dyn ToSql + Sync), Type::TEXT)).collect()
    }
}

/// The statements over two tables. Ids of data keys are their hexadecimal digits.
pub(super) struct Statements {
    table: Table,
    keys_table: Table,
    pub(super) key: Key,
    /// The names of the columns of records.
    pub(super) sealed: Vec<String>,
    sealed_columns: Vec<Column>,
    unsealed: Vec<String>,
    data_key: Column,
    keys_id: Column,
    tenant: Option<Column>,
    /// The data keys that rows refer to; of the tenant `$1`, if there is one.
    pub(super) in_use: String,
    /// Rows under the data key `$1`.
    pub(super) count: String,
    /// The same, of the tenant `$2`, if there is one.
    pub(super) count_narrowed: String,
    /// From the data key `$1` to `$2`, of which neither is destroyed: the keys of rows, then for each column old and new records,
    /// as arrays.
    pub(super) swap: String,
    /// The same values: rows that are moved.
    pub(super) is_moved: String,
    /// Id, header and time of the data key `$1`.
    pub(super) header: String,
    pub(super) first_headers: String,
    /// Behind the id `$1`.
    pub(super) next_headers: String,
    pub(super) insert: String,
    pub(super) delete: String,
    /// Nothing in the place of the header of the data key `$1`.
    pub(super) destroy: String,
    /// Whether the server itself keeps headers that rows refer to, and deletes no rows.
    pub(super) is_guarded: String,
}

impl Statements {
    pub(super) async fn of(pool: &Pool, layout: &Layout) -> Result<Self, SqlError> {
        let table = Table::find(pool, &layout.schema, &layout.table).await?;
        let keys_table = Table::find(pool, &layout.keys_schema, &layout.keys).await?;
        let key = table.key(pool, &layout.key).await?;
        let sealed_columns = layout.columns.iter().map(|name| bytes(&table, name, "holds no records"));
        let sealed_columns = sealed_columns.collect::<Result<Vec<_>, _>>()?;
        let data_key = id(&table, &layout.data_key)?;
        let tenant = layout.tenant.as_ref().map(|(name, _)| table.column(name)).transpose()?;
        // One header for an id.
        keys_table.key(pool, std::slice::from_ref(&layout.keys_id)).await?;
        let keys_id = id(&keys_table, &layout.keys_id)?;
        let header = bytes(&keys_table, &layout.keys_header, "holds no headers")?;
        let made = layout.keys_made.as_deref().map(|name| keys_table.writable(name)).transpose()?;
        if let Some(made) = made.as_ref().filter(|made| !made.is_moment()) {
            return Err(keys_table.cannot(format!("its column {} is not of type timestamptz", made.shown())));
        }

        let (records, keys) = (&table.quoted, &keys_table.quoted);
        let of = |place: &str| id_from(&data_key, place);
        let headers = |which: &str| {
            let made = made.as_ref().map_or_else(
                || "NULL::int8".into(),
                |made| format!("(extract(epoch from {}) * 1000000)::int8", made.quoted),
            );
            format!("SELECT {}, {}, {made} FROM {keys} {which}", id_to(&keys_id), header.quoted)
        };
        let ordered = format!("ORDER BY {} LIMIT {HEADERS}", keys_id.quoted);
        let behind = format!("WHERE {} > {} {ordered}", keys_id.quoted, id_from(&keys_id, "$1"));
        let is_tenant = |place: usize| is_tenant(tenant.as_ref(), place);
        let rows = rows_of_batch(&key, sealed_columns.len());
        let set = join(
            sealed_columns.iter().enumerate().map(|(at, column)| format!("{} = n.w{at}", column.quoted)),
            ", ",
        );
        let has = |which: &str| {
            let has = |(at, column): (usize, &Column)| {
                format!("t.{} IS NOT DISTINCT FROM n.{which}{at}", column.quoted)
            };
            join(sealed_columns.iter().enumerate().map(has), " AND ")
        };
        let (made_name, made_value) =
            made.as_ref().map_or_else(Default::default, |made| (format!(", {}", made.quoted), ", now()"));
        let dk = &data_key.quoted;
        Ok(Self {
            in_use: format!(
                "SELECT DISTINCT {} FROM {records} WHERE {dk} IS NOT NULL{}",
                id_to(&data_key),
                is_tenant(1)
            ),
            count: format!("SELECT count(*) FROM {records} WHERE {dk} = {}", of("$1")),
            count_narrowed: format!(
                "SELECT count(*) FROM {records} WHERE {dk} = {}{}",
                of("$1"),
                is_tenant(2)
            ),
            swap: format!(
                "UPDATE {records} AS t SET {dk} = {}, {set} FROM {rows} \
                 WHERE {} AND t.{dk} = {} AND {} \
                 AND NOT EXISTS (SELECT FROM {keys} k WHERE k.{} = {} AND k.{} = ''::bytea) \
                 AND EXISTS (SELECT FROM {keys} k WHERE k.{} = {} AND k.{} <> ''::bytea) RETURNING {}",
                of("$2"),
                key.is_that_of_n(),
                of("$1"),
                has("o"),
                keys_id.quoted,
                id_from(&keys_id, "$1"),
                header.quoted,
                keys_id.quoted,
                id_from(&keys_id, "$2"),
                header.quoted,
                key.as_texts("t.")
            ),
            // `$1` is named, so that the values are the same.
            is_moved: format!(
                "SELECT {} FROM {records} AS t, {rows} WHERE {} AND t.{dk} = {} AND t.{dk} <> {} AND {}",
                key.as_texts("t."),
                key.is_that_of_n(),
                of("$2"),
                of("$1"),
                has("w")
            ),
            header: headers(&format!("WHERE {} = {}", keys_id.quoted, id_from(&keys_id, "$1"))),
            first_headers: headers(&ordered),
            next_headers: headers(&behind),
            insert: format!(
                "INSERT INTO {keys} ({}, {}{made_name}) VALUES ({}, $2{made_value}) ON CONFLICT DO NOTHING",
                keys_id.quoted,
                header.quoted,
                id_from(&keys_id, "$1")
            ),
            delete: format!("DELETE FROM {keys} WHERE {} = {}", keys_id.quoted, id_from(&keys_id, "$1")),
            destroy: format!(
                "UPDATE {keys} SET {} = ''::bytea WHERE {} = {} RETURNING 1",
                header.quoted,
                keys_id.quoted,
                id_from(&keys_id, "$1")
            ),
            is_guarded: IS_GUARDED.into(),
            sealed: layout.columns.clone(),
            unsealed: layout.unsealed.clone(),
            table,
            keys_table,
            key,
            sealed_columns,
            data_key,
            keys_id,
            tenant,
        })
    }

    /// Rows under the data key `$1`, at most `$2` and about `$3` bytes of them; then the tenant, then the key that they are
    /// behind.
    pub(super) fn page(&self, columns: &[String], is_behind: bool) -> Result<String, SqlError> {
        let values = columns.iter().map(|name| self.table.column(name)).collect::<Result<Vec<_>, _>>()?;
        let first_key = 4 + usize::from(self.tenant.is_some());
        let behind =
            if is_behind { format!(" AND {}", self.key.is_behind(first_key)) } else { String::new() };
        let sealed = &self.sealed_columns;
        // By the keys, and not by their texts, which have the same names without `p` and `q`.
        let order = |of: &str| join((0..self.key.len()).map(|at| format!("{of}.k{at}")), ", ");
        let mut inner: Vec<String> = self.key.columns().map(|column| column.quoted.clone()).collect();
        inner.extend(values.iter().map(|column| format!("{}::text", column.quoted)));
        inner.extend(sealed.iter().map(|column| column.quoted.clone()));
        let names = [('k', self.key.len()), ('v', values.len()), ('c', sealed.len())];
        let aliases =
            names.iter().flat_map(|(letter, count)| (0..*count).map(move |at| format!("{letter}{at}")));
        let inner =
            join(inner.into_iter().zip(aliases).map(|(what, alias)| format!("{what} AS {alias}")), ", ");
        let size = join((0..sealed.len()).map(|at| format!("coalesce(octet_length(c{at}), 0)::int8")), " + ");
        let mut outer: Vec<String> = (0..self.key.len()).map(|at| format!("k{at}::text")).collect();
        outer.extend((0..values.len()).map(|at| format!("v{at}")));
        outer.extend((0..sealed.len()).map(|at| format!("c{at}")));
        Ok(format!(
            "SELECT {} FROM (SELECT p.*, sum({size}) OVER (ORDER BY {} \
                 ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS size_before FROM (\
                     SELECT {inner} FROM {} AS t WHERE {} = {}{}{behind} ORDER BY {} LIMIT $2) p) q \
             WHERE coalesce(size_before, 0) < $3 ORDER BY {}",
            outer.join(", "),
            order("p"),
            self.table.quoted,
            self.data_key.quoted,
            id_from(&self.data_key, "$1"),
            is_tenant(self.tenant.as_ref(), 4),
            self.key.names("t."),
            order("q")
        ))
    }

    /// What [`is_guarded`](Self::is_guarded) asks for.
    pub(super) fn guard_values(&self) -> [(&(dyn ToSql + Sync), Type); 4] {
        [
            (&self.table.oid, Type::OID),
            (&self.keys_table.oid, Type::OID),
            (&self.data_key.number, Type::INT2),
            (&self.keys_id.number, Type::INT2),
        ]
    }

    /// Whether a context can be made of these columns, and this role may do what a move takes.
    pub(super) async fn check(&self, pool: &Pool, columns: &[String]) -> Result<(), SqlError> {
        for name in columns {
            let column = self.table.column(name)?;
            let changes = self.sealed.contains(name) || column.number == self.data_key.number;
            if changes {
                return Err(self.table.cannot(format!(
                    "its column {} changes when records move, and can be no part of their context",
                    column.shown()
                )));
            }
        }
        let mut written: HashMap<i16, &Column> = HashMap::new();
        for column in self.sealed_columns.iter().chain([&self.data_key]) {
            if written.insert(column.number, column).is_some() {
                return Err(self.table.cannot(format!("its column {} is named twice", column.shown())));
            }
        }
        // One that is forgotten would never open again once the old header is gone.
        let is_unnamed = |column: &&Column| {
            let is_known = columns.iter().chain(&self.unsealed).any(|name| *name == column.name);
            let is_key = self.key.columns().any(|key| key.number == column.number);
            !is_known && !is_key && !written.contains_key(&column.number)
        };
        if let Some(column) = self.table.of_bytes().filter(is_unnamed).min_by_key(|column| column.number) {
            let name = column.shown();
            return Err(self.table.cannot(format!(
                "its column {name} is of bytes and not named: column={name} if it is sealed under the row's data key, since \
                 nothing would open it any more, or unsealed={name} if it is not"
            )));
        }
        let numbers: Vec<i16> = written.into_keys().collect();
        let oids: (Oid, Oid) = (self.table.oid, self.keys_table.oid);
        let values: [(&(dyn ToSql + Sync), Type); 3] =
            [(&oids.0, Type::OID), (&numbers, Type::INT2_ARRAY), (&oids.1, Type::OID)];
        let rows = pool.query(MAY_MOVE, &values, READS).await?.rows;
        let Some(row) = rows.first() else { return Ok(()) };
        let (may_update, may_insert, role): (bool, bool, String) =
            (field(row, 0)?, field(row, 1)?, field(row, 2)?);
        if may_update && may_insert {
            return Ok(());
        }
        Err(SqlError::NotPermitted {
            role: envelope_sdk::printable::text(&role),
            message: "a right is missing, or the server takes no changes".into(),
            doing: if may_update { super::INSERTS } else { MOVES },
        })
    }
}

/// The arrays behind the two ids as rows: their keys, old records and new ones.
fn rows_of_batch(key: &Key, columns: usize) -> String {
    let mut arrays: Vec<String> = (0..key.len()).map(|at| format!("${}::text[]", 3 + at)).collect();
    let mut names: Vec<String> = (0..key.len()).map(|at| format!("k{at}")).collect();
    for at in 0..columns {
        let place = 3 + key.len() + 2 * at;
        arrays.extend([format!("${place}::bytea[]"), format!("${}::bytea[]", place + 1)]);
        names.extend([format!("o{at}"), format!("w{at}")]);
    }
    format!("unnest({}) AS n({})", arrays.join(", "), names.join(", "))
}

fn is_tenant(column: Option<&Column>, place: usize) -> String {
    column.map_or_else(String::new, |column| format!(" AND {}::text = ${place}", column.quoted))
}

fn bytes(table: &Table, name: &str, otherwise: &str) -> Result<Column, SqlError> {
    let column = table.writable(name)?;
    if column.is_bytes() {
        Ok(column)
    } else {
        Err(table.cannot(format!("its column {} is not bytea, and {otherwise}", column.shown())))
    }
}

fn id(table: &Table, name: &str) -> Result<Column, SqlError> {
    let column = table.writable(name)?;
    if column.is_bytes() || column.is_uuid() {
        Ok(column)
    } else {
        Err(table.cannot(format!(
            "its column {} is neither bytea nor uuid, and has no ids of data keys",
            column.shown()
        )))
    }
}

/// Hexadecimal digits as an id.
fn id_from(column: &Column, place: &str) -> String {
    if column.is_uuid() { format!("{place}::text::uuid") } else { format!("decode({place}::text, 'hex')") }
}

/// An id as hexadecimal digits.
fn id_to(column: &Column) -> String {
    let name = &column.quoted;
    if column.is_uuid() {
        format!("replace({name}::text, '-', '')")
    } else {
        format!("encode({name}, 'hex')")
    }
}

const IS_GUARDED: &str = "SELECT EXISTS (SELECT FROM pg_constraint WHERE contype = 'f' AND convalidated \
        AND conrelid = $1 AND confrelid = $2 AND conkey = ARRAY[$3] AND confkey = ARRAY[$4]) \
    AND NOT EXISTS (SELECT FROM pg_constraint WHERE contype = 'f' AND confrelid = $2 AND confdeltype NOT IN ('a', 'r'))";
const MAY_MOVE: &str = "SELECT bool_and(has_column_privilege($1, number, 'UPDATE')) \
        AND current_setting('transaction_read_only') = 'off', \
    has_any_column_privilege($3, 'INSERT'), current_user::text FROM unnest($2) number";
/// Headers of a page.
const HEADERS: usize = 1000;
