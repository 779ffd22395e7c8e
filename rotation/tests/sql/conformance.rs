//! The suite of sources over tables.

use std::sync::Arc;

use async_trait::async_trait;
use envelope_rotation::{
    Item, Source, Sql,
    testing::{Place, check},
};
use envelope_sdk::{PayloadKind, format::armor};

use crate::{Database, Keys};

/// What the column holds.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Column {
    Attached,
    Armored,
    /// Detached headers, with the payloads in a column beside them.
    Detached,
}

/// A table of envelopes.
struct InTable {
    database: Database,
    source: Arc<Sql>,
    column: Column,
}

impl InTable {
    async fn new(schema: &str, column: Column) -> Option<Self> {
        let database = Database::new(schema).await?;
        let (of_type, more) = match column {
            Column::Attached => ("bytea", ""),
            Column::Armored => ("text", ""),
            Column::Detached => ("bytea", "&payload=payload"),
        };
        database.run(&format!("CREATE TABLE t (id text PRIMARY KEY, cell {of_type}, payload bytea)")).await;
        let source = Arc::new(database.source(&format!("table=t&key=id&column=cell{more}")));
        Some(Self { database, source, column })
    }

    async fn conforms(self) {
        let keys = Keys::new();
        let [old, new] = ["a", "b"].map(|letter| keys.keys(letter).pop().unwrap());
        check(&self, old, new).await.unwrap();
    }

    async fn insert(&self, name: &str, cell: &[u8], payload: &[u8]) {
        let insert = "INSERT INTO t VALUES ($1, $2, $3) \
            ON CONFLICT (id) DO UPDATE SET cell = excluded.cell, payload = excluded.payload";
        if self.column == Column::Armored {
            let text = String::from_utf8(cell.to_vec()).unwrap();
            self.database.rows(insert, &[&name, &text, &payload]).await;
        } else {
            self.database.rows(insert, &[&name, &cell, &payload]).await;
        }
    }
}

#[async_trait]
impl Place for InTable {
    fn source(&self) -> Arc<dyn Source> {
        self.source.clone()
    }
    fn item(&self, name: &str) -> Item {
        Item::found(name)
    }
    fn payload(&self) -> PayloadKind {
        if self.column == Column::Detached { PayloadKind::Detached } else { PayloadKind::Attached }
    }
    async fn put(&self, name: &str, header: &[u8], payload: &[u8]) {
        let whole = [header, payload].concat();
        match self.column {
            Column::Attached => self.insert(name, &whole, b"").await,
            Column::Armored => self.insert(name, armor::encode(&whole).as_bytes(), b"").await,
            Column::Detached => self.insert(name, header, payload).await,
        }
    }
    async fn put_other(&self, name: &str) {
        self.insert(name, b"something else", b"").await;
    }
    async fn remove(&self, name: &str) {
        self.database.rows("DELETE FROM t WHERE id = $1", &[&name]).await;
    }
    async fn bytes(&self, name: &str) -> Option<(Vec<u8>, Vec<u8>)> {
        let rows = self.database.rows("SELECT cell, payload FROM t WHERE id = $1", &[&name]).await;
        let row = rows.first()?;
        let cell = match self.column {
            Column::Armored => armor::decode(row.get(0)).unwrap(),
            _ => row.get(0),
        };
        Some((cell, row.get(1)))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn columns_of_envelopes_conform() {
    let Some(table) = InTable::new("conforms_attached", Column::Attached).await else { return };
    table.conforms().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn columns_of_armored_envelopes_conform() {
    let Some(table) = InTable::new("conforms_armored", Column::Armored).await else { return };
    table.conforms().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn columns_of_headers_and_payloads_conform() {
    let Some(table) = InTable::new("conforms_detached", Column::Detached).await else { return };
    table.conforms().await;
}
