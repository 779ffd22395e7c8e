//! A schema of its own for each test.

use std::sync::atomic::{AtomicUsize, Ordering};

use envelope_rotation::Sql;
use envelope_testkit::servers;
use tokio_postgres::{Client, Config, NoTls, types::ToSql};

/// What the superuser of the test server is asked for.
pub(crate) const PASSWORD: &str = "test";

pub(crate) struct Database {
    pub(crate) client: Client,
    pub(crate) address: String,
    pub(crate) schema: String,
}

impl Database {
    /// An empty schema, or `None` where there is no server: the test is skipped then.
    pub(crate) async fn new(schema: &str) -> Option<Self> {
        let address = servers::address("POSTGRES")?;
        static SCHEMAS: AtomicUsize = AtomicUsize::new(0);
        let schema = format!("{schema}_{}_{}", std::process::id(), SCHEMAS.fetch_add(1, Ordering::Relaxed));
        let client = connect(&address).await;
        client.batch_execute(&format!("CREATE SCHEMA {schema}; SET search_path = {schema}")).await.unwrap();
        Some(Self { client, address, schema })
    }

    pub(crate) async fn run(&self, statements: &str) {
        self.client.batch_execute(statements).await.unwrap();
    }

    pub(crate) async fn rows(&self, query: &str, values: &[&(dyn ToSql + Sync)]) -> Vec<tokio_postgres::Row> {
        self.client.query(query, values).await.unwrap()
    }

    /// The first field of the one row.
    pub(crate) async fn count(&self, query: &str) -> i64 {
        self.client.query_one(query, &[]).await.unwrap().get(0)
    }

    /// A URL with these parameters, percent-encoded already.
    pub(crate) fn url(&self, parameters: &str) -> String {
        format!("{}?schema={}&{parameters}", self.address, self.schema)
    }

    pub(crate) fn source(&self, parameters: &str) -> Sql {
        Sql::from_url_and(&self.url(parameters), &environment).unwrap()
    }

    /// A table `t` of envelopes for `a`: keys that `key` makes of the number `i`, from 0 on, each holding its number.
    pub(crate) async fn envelopes(&self, keys: &crate::Keys, columns: &str, key: &str, count: usize) {
        self.run(&format!("CREATE TABLE t ({columns}, envelope bytea, number int)")).await;
        let mut cells = Vec::with_capacity(count);
        for number in 0..count {
            cells.push(keys.seal("a", &number.to_string()).await);
        }
        let numbers: Vec<i32> = (0..i32::try_from(count).unwrap()).collect();
        let insert =
            format!("INSERT INTO t SELECT {key}, cell, i FROM unnest($1::bytea[], $2::int[]) AS n(cell, i)");
        self.client.execute(&insert, &[&cells, &numbers]).await.unwrap();
    }

    /// That each row of [`envelopes`](Self::envelopes) opens with one of these keys, and with no other.
    pub(crate) async fn check(&self, keys: &crate::Keys, count: usize, letters: &str) {
        let rows = self.rows("SELECT envelope, number FROM t", &[]).await;
        assert_eq!(rows.len(), count);
        for row in rows {
            let (cell, number): (Vec<u8>, i32) = (row.get(0), row.get(1));
            for letter in ["a", "b"] {
                let opens = keys.opens(letter, &cell, &number.to_string()).await;
                assert_eq!(opens, letters.contains(letter), "{number} {letter}");
            }
        }
    }
}

pub(crate) async fn connect(address: &str) -> Client {
    let mut config: Config = address.parse().unwrap();
    let (client, connection) = config.password(PASSWORD).connect(NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

/// The variables of a process that knows the password.
pub(crate) fn environment(variable: &str) -> Option<String> {
    (variable == "PGPASSWORD").then(|| PASSWORD.to_owned())
}
