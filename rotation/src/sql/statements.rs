//! Which columns are meant, and what is asked of them: each statement, written once.

use super::{
    SqlError,
    pool::Pool,
    table::{Column, Key, Table},
    url::Parameters,
};

/// The columns of envelopes, by their names.
#[derive(Debug)]
pub(super) struct Layout {
    schema: String,
    table: String,
    key: Vec<String>,
    column: String,
    payload: Option<String>,
    modified: Option<String>,
}

impl Layout {
    /// Takes what is said of it.
    pub(super) fn take(parameters: &mut Parameters) -> Result<Self, SqlError> {
        Ok(Self {
            schema: parameters.one("schema")?.unwrap_or_else(|| DEFAULT_SCHEMA.into()),
            table: parameters.required("table", "the table of the envelopes")?,
            key: parameters.many("key"),
            column: parameters.required("column", "the column of the envelopes")?,
            payload: parameters.one("payload")?,
            modified: parameters.one("modified")?,
        })
    }
}

/// What the column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Content {
    Bytes,
    /// Armored envelopes.
    Text,
}

/// The statements of one table. The key of the row comes behind the values that each names.
pub(super) struct Statements {
    pub(super) key: Key,
    pub(super) content: Content,
    /// Keys.
    pub(super) first_page: String,
    /// Keys behind that of `$1`, ….
    pub(super) next_page: String,
    /// How long the cell is, its first `$1` bytes or characters, the first bytes of the payload, and when it was written.
    pub(super) read: String,
    /// How long the cell is, and all of it unless it is longer than `$1` bytes.
    pub(super) envelope: String,
    /// The same of the payload.
    pub(super) payload: Option<String>,
    /// `$2` in the place of the header `$1` of `$3` bytes.
    pub(super) rewrap: String,
    /// `$2` in the place of what has the SHA-256 `$1`.
    pub(super) replace: String,
    /// `$2` in the place of the header `$1`, and `$4` in that of the payload that has the SHA-256 `$3`.
    pub(super) replace_both: Option<String>,
}

impl Statements {
    /// Looks the table up, and writes what fits it.
    pub(super) async fn of(pool: &Pool, layout: &Layout) -> Result<Self, SqlError> {
        let table = Table::find(pool, &layout.schema, &layout.table).await?;
        let column = table.writable(&layout.column)?;
        let content = match () {
            () if column.is_bytes() => Content::Bytes,
            () if column.is_text() => Content::Text,
            () => {
                return Err(table.cannot(format!(
                    "its column {} is neither bytea nor text, and holds no envelopes",
                    column.shown()
                )));
            }
        };
        let payload = layout.payload.as_deref().map(|name| table.writable(name)).transpose()?;
        if let Some(payload) = payload.as_ref().filter(|payload| !payload.is_bytes()) {
            return Err(
                table.cannot(format!("its column {} is not bytea, and holds no payload", payload.shown()))
            );
        }
        let modified = layout.modified.as_deref().map(|name| table.writable(name)).transpose()?;
        if let Some(modified) = modified.as_ref().filter(|modified| !modified.is_moment()) {
            return Err(table.cannot(format!("its column {} is not of type timestamptz", modified.shown())));
        }
        let key = table.key(pool, &layout.key).await?;
        Ok(Self::write(&table.quoted, key, content, &column.quoted, payload.as_ref(), modified.as_ref()))
    }

    fn write(
        table: &str,
        key: Key,
        content: Content,
        cell: &str,
        payload: Option<&Column>,
        modified: Option<&Column>,
    ) -> Self {
        let page = |behind: &str| {
            // By the columns, and not by their texts, which have the same names without `t`. Of `NULL` the length is not known.
            format!(
                "SELECT {} FROM {table} AS t WHERE octet_length({cell}) > 0{behind} ORDER BY {} LIMIT {PAGE}",
                key.as_texts("t."),
                key.names("t.")
            )
        };
        let touch = modified.map_or_else(String::new, |column| format!(", {} = now()", column.quoted));
        let prefix = payload.map_or_else(
            || "NULL::bytea".into(),
            |payload| format!("substring({} from 1 for {PREFIX})", payload.quoted),
        );
        let written =
            modified.map_or_else(|| "NULL".into(), |column| format!("extract(epoch from {})", column.quoted));
        let (bytes_of_cell, written_as) = match content {
            Content::Bytes => (cell.to_owned(), "bytea"),
            Content::Text => (format!("convert_to({cell}, 'UTF8')"), "text"),
        };
        let whole = |cell: &str| {
            format!(
                "SELECT octet_length({cell}), CASE WHEN octet_length({cell}) <= $1 THEN {cell} END FROM {table} WHERE {}",
                key.is(2)
            )
        };
        let header = |old: &str, len: &str| format!("substring({cell} from 1 for {len}) = {old}");
        Self {
            content,
            first_page: page(""),
            next_page: page(&format!(" AND {}", key.is_behind(1))),
            read: format!(
                "SELECT octet_length({cell}), substring({cell} from 1 for $1), {prefix}, {written}::float8 \
                 FROM {table} WHERE {}",
                key.is(2)
            ),
            envelope: whole(cell),
            payload: payload.map(|payload| whole(&payload.quoted)).filter(|_| content == Content::Bytes),
            rewrap: format!(
                "UPDATE {table} SET {cell} = $2 || substring({cell} from $3 + 1){touch} WHERE {} AND {} \
                 RETURNING octet_length({cell})::int8",
                key.is(4),
                header("$1", "$3")
            ),
            replace: format!(
                "UPDATE {table} SET {cell} = $2::{written_as}{touch} WHERE {} AND sha256({bytes_of_cell}) = $1 \
                 RETURNING octet_length({cell})::int8",
                key.is(3)
            ),
            replace_both: payload.filter(|_| content == Content::Bytes).map(|payload| {
                let payload = &payload.quoted;
                format!(
                    "UPDATE {table} SET {cell} = $2, {payload} = $4{touch} \
                     WHERE {} AND {cell} = $1 AND sha256({payload}) = $3 \
                     RETURNING octet_length({cell})::int8 + octet_length({payload})",
                    key.is(5)
                )
            }),
            key,
        }
    }
}

pub(super) const DEFAULT_SCHEMA: &str = "public";
/// Keys in memory at once, of one listing.
pub(super) const PAGE: usize = 1000;
const PREFIX: usize = envelope_sdk::crypto::cobblestone::PREFIX_LEN;
