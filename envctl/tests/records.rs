//! `envctl rotate-records`, over PostgreSQL.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on says so")]

use std::sync::Arc;

use envelope_sdk::{EncryptionContext, Envelope, Keyring};
use envelope_testkit::servers;
use tokio_postgres::{Client, Config, NoTls};

use crate::common::{Ran, Sandbox};

const TABLE: &str = "table=people&key=id&column=email&data-key-column=data_key&keys=data_keys";

struct Database {
    runtime: tokio::runtime::Runtime,
    client: Client,
    url: String,
}

impl Database {
    fn new(schema: &str) -> Option<Self> {
        let address = servers::address("POSTGRES")?;
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let client = runtime.block_on(async {
            let mut config: Config = address.parse().unwrap();
            let (client, connection) = config.password("test").connect(NoTls).await.unwrap();
            tokio::spawn(connection);
            client
        });
        let schema = format!("{schema}_{}", std::process::id());
        let database = Self { runtime, client, url: format!("{address}?schema={schema}&{TABLE}") };
        database.run(&format!(
            "CREATE SCHEMA {schema}; SET search_path = {schema}; \
             CREATE TABLE data_keys (id uuid PRIMARY KEY, header bytea NOT NULL); \
             CREATE TABLE people (id int PRIMARY KEY, email bytea, data_key uuid REFERENCES data_keys)"
        ));
        Some(database)
    }

    fn run(&self, statements: &str) {
        self.runtime.block_on(self.client.batch_execute(statements)).unwrap();
    }

    fn bytes(&self, query: &str) -> Vec<u8> {
        self.runtime.block_on(self.client.query_one(query, &[])).unwrap().get(0)
    }
}

fn run(sandbox: &Sandbox, args: &[&str], code: i32) -> Ran {
    Ran::of(sandbox.envctl(args).env("PGPASSWORD", "test").output().unwrap(), code)
}

#[test]
fn records_move_to_a_data_key_for_another_key_and_the_old_one_is_retired() {
    let Some(database) = Database::new("envctl_records") else { return };
    let sandbox = Sandbox::new();
    let keystore = Arc::new(sandbox.keystore(&["old", "new"]));
    let envelope = |key: &str| Envelope::new(Keyring::new().both(keystore.clone(), key.parse().unwrap()));
    let context = EncryptionContext::new().with("tenant", "acme");
    let row = |id: i32| EncryptionContext::new().with("row", id.to_string()).with("column", "email");
    let data_key = database.runtime.block_on(envelope("local:old").create_data_key(&context)).unwrap();
    let old: String = data_key.header().envelope_id().iter().map(|byte| format!("{byte:02x}")).collect();
    let header = data_key.header().to_bytes();
    database.runtime.block_on(async {
        let insert = "INSERT INTO data_keys VALUES ($1::text::uuid, $2)";
        database.client.execute(insert, &[&old, &header]).await.unwrap();
        for id in 0..50 {
            let record = data_key.seal(id.to_string().as_bytes(), &row(id)).unwrap();
            let insert = "INSERT INTO people VALUES ($1, $2, $3::text::uuid)";
            database.client.execute(insert, &[&id, &record, &old]).await.unwrap();
        }
    });
    let common = ["rotate-records", &database.url, "--to", "local:new", "--from", "local:old", "--old", &old];
    let with = |more: &[&str], code| run(&sandbox, &[&common[..], more].concat(), code);
    with(&["-c", "row={nothing}"], 2).says("no column nothing");
    with(&["-c", "row={id}"], 4).says("is the template");
    let report = with(&["-c", "row={id}", "-c", "column={}", "--json"], 0).json();
    assert_eq!((&report["moved"], &report["left"]), (&50.into(), &0.into()), "{report}");
    assert_eq!(report["emptied"][0]["header"], "retired", "{report}");
    let header = database.bytes("SELECT header FROM data_keys");
    let data_key = database.runtime.block_on(envelope("local:new").open_data_key(&header, &context)).unwrap();
    let record = database.bytes("SELECT email FROM people WHERE id = 7");
    assert_eq!(data_key.open(&record, &row(7)).unwrap(), b"7");
    // Run again, it finds nothing to do.
    assert_eq!(with(&["-c", "row={id}", "-c", "column={}", "--json"], 0).json()["moved"], 0);
}

#[test]
fn what_does_not_fit_is_a_usage_error_and_shows_no_password() {
    let sandbox = Sandbox::new();
    sandbox.keystore(&["new"]);
    let id = "00112233445566778899aabbccddeeff";
    for (url, old, word) in [
        ("postgres://u:hunter2@127.0.0.1/d?table=t", id, "PGPASSWORD"),
        ("postgres://u@127.0.0.1/d?table=t", id, "column="),
        ("postgres://u@127.0.0.1/d?table=t", "0011", "32 hexadecimal digits"),
        ("/a/file", id, "URL"),
    ] {
        let ran = run(&sandbox, &["rotate-records", url, "--to", "local:new", "--old", old], 2);
        ran.says(word);
        assert!(!ran.text().contains("hunter2") && !ran.stderr.contains("hunter2"));
    }
}
