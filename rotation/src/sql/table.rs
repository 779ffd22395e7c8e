//! A table as the catalog of its database describes it: whether its rows can be told apart, and how its names are written.

use std::collections::HashMap;

use envelope_sdk::printable;
use tokio_postgres::types::{Oid, Type};

use super::{SqlError, pool::Pool};

/// A table, found in the catalog.
pub(super) struct Table {
    pub(super) oid: Oid,
    /// Schema and name, quoted for statements.
    pub(super) quoted: String,
    /// Schema and name, for errors.
    shown: String,
    columns: HashMap<String, Column>,
}

/// A column of a table.
#[derive(Clone)]
pub(super) struct Column {
    pub(super) name: String,
    /// Its name, quoted for statements.
    pub(super) quoted: String,
    pub(super) number: i16,
    /// Its type, written so that a text can be cast to it.
    type_name: String,
    /// The type that it is at bottom, without domains.
    base: String,
    /// Whether operators for this type are those of the system.
    is_of_the_system: bool,
    is_never_null: bool,
    is_generated: bool,
}

impl Table {
    /// Looks the table up.
    pub(super) async fn find(pool: &Pool, schema: &str, name: &str) -> Result<Self, SqlError> {
        let shown = printable::text(&format!("{schema}.{name}"));
        let cannot = |what: &str| SqlError::Table { table: shown.clone(), what: what.into() };
        let found = pool.query(RELATION, &[(&schema, Type::TEXT), (&name, Type::TEXT)], READS).await?;
        let Some(row) = found.rows.first() else {
            return Err(cannot(
                "there is no such table in this database; schema=… names a schema other than public",
            ));
        };
        let (oid, kind, has_children): (Oid, String, bool) = (field(row, 0)?, field(row, 1)?, field(row, 2)?);
        match kind.as_str() {
            "p" => {}
            "r" if has_children => {
                return Err(cannot(
                    "other tables inherit from it, and a key may be in several: name each of them",
                ));
            }
            "r" => {}
            _ => return Err(cannot("it is no table, but a view or the like: name the table behind it")),
        }
        let rows = pool.query(COLUMNS, &[(&oid, Type::OID)], READS).await?.rows;
        let columns = rows.iter().map(|row| {
            let name: String = field(row, 0)?;
            let column = Column {
                quoted: quoted(&name),
                number: field(row, 1)?,
                is_never_null: field(row, 2)?,
                is_generated: field(row, 3)?,
                type_name: field(row, 4)?,
                base: field(row, 5)?,
                is_of_the_system: field(row, 6)?,
                name: name.clone(),
            };
            Ok((name, column))
        });
        let columns = columns.collect::<Result<_, SqlError>>()?;
        let quoted = format!("{}.{}", quoted(schema), quoted(name));
        Ok(Self { oid, quoted, shown, columns })
    }

    /// A column by its name, as it is written in the catalog.
    pub(super) fn column(&self, name: &str) -> Result<Column, SqlError> {
        let found = self.columns.get(name).cloned();
        found.ok_or_else(|| self.cannot(format!("it has no column {}", printable::text(name))))
    }

    /// Columns of bytes that somebody writes.
    pub(super) fn of_bytes(&self) -> impl Iterator<Item = &Column> {
        self.columns.values().filter(|column| column.is_bytes() && !column.is_generated)
    }

    /// A column that bytes are written to.
    pub(super) fn writable(&self, name: &str) -> Result<Column, SqlError> {
        let column = self.column(name)?;
        if column.is_generated {
            return Err(self.cannot(format!("its column {} is generated from others", column.shown())));
        }
        Ok(column)
    }

    /// Columns that together say which row is meant.
    pub(super) async fn key(&self, pool: &Pool, names: &[String]) -> Result<Key, SqlError> {
        if names.is_empty() {
            return Err(SqlError::url(
                "the URL does not say `key=`, the column that says which row is meant",
            ));
        }
        let columns = names.iter().map(|name| self.column(name)).collect::<Result<Vec<_>, _>>()?;
        for column in &columns {
            if !column.is_of_the_system {
                return Err(self.cannot(format!(
                    "its key column {} is of the type {}, whose order is not the system's own",
                    column.shown(),
                    printable::text(&column.type_name)
                )));
            }
            if !column.is_never_null {
                return Err(self.cannot(format!(
                    "its key column {} may be NULL, and such rows would be passed over: make it NOT NULL",
                    column.shown()
                )));
            }
        }
        let mut numbers: Vec<i16> = columns.iter().map(|column| column.number).collect();
        numbers.sort_unstable();
        let values: [(&(dyn tokio_postgres::types::ToSql + Sync), Type); 2] =
            [(&self.oid, Type::OID), (&numbers, Type::INT2_ARRAY)];
        let is_unique = pool.query(IS_UNIQUE, &values, READS).await?.rows;
        if !is_unique.first().map_or(Ok(false), |row| field(row, 0))? {
            return Err(self.cannot(
                "there is no unique index over just its key columns, so that a key may mean several rows: name those of \
                 its primary key, each by a key=…"
                    .into(),
            ));
        }
        Ok(Key { columns })
    }

    /// That this table cannot be used.
    pub(super) fn cannot(&self, what: String) -> SqlError {
        SqlError::Table { table: self.shown.clone(), what }
    }
}

impl Column {
    pub(super) fn is_bytes(&self) -> bool {
        self.base == "bytea"
    }

    pub(super) fn is_text(&self) -> bool {
        matches!(self.base.as_str(), "text" | "varchar")
    }

    pub(super) fn is_uuid(&self) -> bool {
        self.base == "uuid"
    }

    pub(super) fn is_moment(&self) -> bool {
        self.base == "timestamptz"
    }

    /// Its name, safe to print.
    pub(super) fn shown(&self) -> String {
        printable::text(&self.name)
    }

    /// The text `value` (an expression) as this type.
    pub(super) fn cast(&self, value: &str) -> String {
        format!("{value}::text::{}", self.type_name)
    }
}

/// The columns that say which row is meant.
#[derive(Clone)]
pub(super) struct Key {
    columns: Vec<Column>,
}

impl Key {
    pub(super) fn len(&self) -> usize {
        self.columns.len()
    }

    pub(super) fn columns(&self) -> impl Iterator<Item = &Column> {
        self.columns.iter()
    }

    /// `a::text, b::text`, each after `prefix`.
    pub(super) fn as_texts(&self, prefix: &str) -> String {
        join(self.columns.iter().map(|column| format!("{prefix}{}::text", column.quoted)), ", ")
    }

    /// `a, b`, each after `prefix`.
    pub(super) fn names(&self, prefix: &str) -> String {
        join(self.columns.iter().map(|column| format!("{prefix}{}", column.quoted)), ", ")
    }

    /// That the row is that of `$first`, …
    pub(super) fn is(&self, first: usize) -> String {
        let is = |(at, column): (usize, &Column)| {
            format!("{} = {}", column.quoted, column.cast(&format!("${}", first + at)))
        };
        join(self.columns.iter().enumerate().map(is), " AND ")
    }

    /// That the row of `t` comes behind that of `$first`, …
    pub(super) fn is_behind(&self, first: usize) -> String {
        let cast = |(at, column): (usize, &Column)| column.cast(&format!("${}", first + at));
        format!("({}) > ({})", self.names("t."), join(self.columns.iter().enumerate().map(cast), ", "))
    }

    /// That the row of `t` is that of the texts `k0`, … of `n`.
    pub(super) fn is_that_of_n(&self) -> String {
        let is = |(at, column): (usize, &Column)| {
            format!("t.{} = {}", column.quoted, column.cast(&format!("n.k{at}")))
        };
        join(self.columns.iter().enumerate().map(is), " AND ")
    }

    /// One name for these texts: the text itself of one column, a JSON array of several.
    pub(super) fn name(&self, texts: &[String]) -> String {
        match texts {
            [text] => text.clone(),
            texts => serde_json::json!(texts).to_string(),
        }
    }

    /// The texts of a name, if it can be one of a row here.
    pub(super) fn texts(&self, name: &[u8]) -> Option<Vec<String>> {
        let name = std::str::from_utf8(name).ok().filter(|name| !name.contains('\0'))?;
        if self.columns.len() == 1 {
            return Some(vec![name.into()]);
        }
        let texts: Vec<String> = serde_json::from_str(name).ok()?;
        (texts.len() == self.columns.len() && texts.iter().all(|text| !text.contains('\0'))).then_some(texts)
    }
}

/// A name in a statement. The catalog has no name with a NUL, and URLs have none.
pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

pub(super) fn join(parts: impl Iterator<Item = String>, by: &str) -> String {
    parts.collect::<Vec<_>>().join(by)
}

/// A field of an answer, of the type that was asked for.
pub(super) fn field<'r, T: tokio_postgres::types::FromSql<'r>>(
    row: &'r tokio_postgres::Row,
    at: usize,
) -> Result<T, SqlError> {
    row.try_get(at).map_err(|_| SqlError::Server {
        code: "22000".into(),
        message: "the answer is of another type than was asked for".into(),
    })
}

/// The right that looking at a table takes.
pub(super) const READS: &str = "it takes the right to SELECT from the table";

const RELATION: &str = "SELECT c.oid, c.relkind::text, EXISTS (SELECT FROM pg_inherits i WHERE i.inhparent = c.oid) \
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
    WHERE n.nspname::text = $1 AND c.relname::text = $2";
const COLUMNS: &str = "WITH RECURSIVE types AS ( \
        SELECT a.attnum, t.oid, t.typtype, t.typbasetype, t.typname, t.typnamespace \
        FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid \
        WHERE a.attrelid = $1 AND a.attnum > 0 AND NOT a.attisdropped \
        UNION ALL \
        SELECT d.attnum, t.oid, t.typtype, t.typbasetype, t.typname, t.typnamespace \
        FROM types d JOIN pg_type t ON t.oid = d.typbasetype WHERE d.typtype = 'd') \
    SELECT a.attname::text, a.attnum, a.attnotnull, a.attgenerated <> '', format_type(a.atttypid, a.atttypmod), \
        b.typname::text, b.typtype = 'e' OR b.typnamespace = 'pg_catalog'::regnamespace \
    FROM pg_attribute a JOIN types b ON b.attnum = a.attnum AND b.typtype <> 'd' WHERE a.attrelid = $1";
/// Where a column takes different texts for equal, its index must take the same ones for equal: else one key is that of several rows,
/// and the rows behind the first of them are not behind its key.
const IS_UNIQUE: &str = "SELECT EXISTS (SELECT FROM pg_index i \
    WHERE i.indrelid = $1 AND i.indisunique AND i.indisvalid AND i.indpred IS NULL AND i.indexprs IS NULL \
    AND i.indnkeyatts = cardinality($2) AND (SELECT array_agg(k ORDER BY k) \
        FROM unnest((i.indkey::int2[])[0:i.indnkeyatts - 1]) k) = $2 \
    AND NOT EXISTS (SELECT FROM unnest((i.indkey::int2[])[0:i.indnkeyatts - 1], i.indcollation::oid[]) k (number, compared) \
        JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.number \
        JOIN pg_collation c ON c.oid = a.attcollation \
        WHERE NOT c.collisdeterministic AND a.attcollation <> k.compared))";
