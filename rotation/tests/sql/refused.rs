//! Tables that cannot be rotated safely are refused with a reason, before anything is written.

use std::sync::Arc;

use envelope_rotation::{Job, Sql};

use crate::{Database, Keys, database::environment, run};

/// Why a table is refused.
async fn why(database: &Database, parameters: &str) -> String {
    database.source(parameters).check().await.unwrap_err().to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_whose_rows_cannot_be_told_apart_are_refused() {
    let Some(database) = Database::new("unfit").await else { return };
    database
        .run(
            "CREATE TABLE plain (id int NOT NULL, e bytea); \
             CREATE TABLE nullable (id int UNIQUE, e bytea); \
             CREATE TABLE part (id int NOT NULL, e bytea); CREATE UNIQUE INDEX ON part (id) WHERE id > 0; \
             CREATE TABLE expression (id int NOT NULL, e bytea); CREATE UNIQUE INDEX ON expression ((id % 2)); \
             CREATE TABLE two (a int, b int, e bytea, n int, PRIMARY KEY (a, b)); \
             CREATE VIEW view AS SELECT * FROM two; \
             CREATE TABLE parent (id int PRIMARY KEY, e bytea); CREATE TABLE child () INHERITS (parent); \
             CREATE TYPE pair AS (a int, b int); CREATE TABLE odd (id pair PRIMARY KEY, e bytea); \
             CREATE TABLE made (id int PRIMARY KEY, e bytea GENERATED ALWAYS AS (int4send(id)) STORED); \
             CREATE COLLATION no_case (provider = icu, locale = 'und-u-ks-level2', deterministic = false); \
             CREATE TABLE cased (id text COLLATE no_case NOT NULL, e bytea); CREATE UNIQUE INDEX ON cased (id COLLATE \"C\"); \
             CREATE TABLE uncased (n int, id text COLLATE no_case, e bytea, PRIMARY KEY (id, n))",
        )
        .await;
    for (parameters, word) in [
        ("table=nowhere&key=id&column=e", "no such table"),
        ("table=plain&key=id&column=e", "no unique index"),
        ("table=part&key=id&column=e", "no unique index"),
        ("table=expression&key=id&column=e", "no unique index"),
        ("table=cased&key=id&column=e", "no unique index"),
        ("table=two&key=a&column=e", "no unique index"),
        ("table=two&key=a&key=b&key=n&column=e", "may be NULL"),
        ("table=two&column=e", "key="),
        ("table=nullable&key=id&column=e", "may be NULL"),
        ("table=view&key=a&key=b&column=e", "a view"),
        ("table=parent&key=id&column=e", "inherit"),
        ("table=odd&key=id&column=e", "not the system's own"),
        ("table=made&key=id&column=e", "generated"),
        ("table=two&key=a&key=b&column=n", "neither bytea nor text"),
        ("table=two&key=a&key=b&column=nothing", "no column nothing"),
        ("table=two&key=a&key=b&column=e&payload=n", "not bytea"),
        ("table=two&key=a&key=b&column=e&modified=n", "timestamptz"),
        ("table=two&key=a&key=b&key=%22&column=e", "no column \""),
    ] {
        let why = why(&database, parameters).await;
        assert!(why.contains(word), "{parameters}: {why}");
    }
    database.source("table=two&key=b&key=a&column=e").check().await.unwrap();
    database.source("table=uncased&key=n&key=id&column=e").check().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn partitions_are_one_table() {
    let Some(database) = Database::new("partitions").await else { return };
    let keys = Keys::new();
    database
        .run(
            "CREATE TABLE t (id int PRIMARY KEY, envelope bytea, number int) PARTITION BY RANGE (id); \
             CREATE TABLE t1 PARTITION OF t FOR VALUES FROM (0) TO (5); \
             CREATE TABLE t2 PARTITION OF t FOR VALUES FROM (5) TO (50)",
        )
        .await;
    for number in 0i32..10 {
        let cell = keys.seal("a", &number.to_string()).await;
        database.rows("INSERT INTO t VALUES ($1, $2, $1)", &[&number, &cell]).await;
    }
    crate::run_well(database.source("table=t&key=id&column=envelope"), keys.a_to_b()).await;
    database.check(&keys, 10, "b").await;
}

/// A role of this schema that may log in, and its URL.
async fn role(database: &Database, name: &str, rights: &str) -> String {
    let (role, schema) = (format!("{}_{name}", database.schema), &database.schema);
    database
        .run(&format!(
            "CREATE ROLE {role} LOGIN PASSWORD 'test'; GRANT USAGE ON SCHEMA {schema} TO {role}; \
             GRANT {rights} ON ALL TABLES IN SCHEMA {schema} TO {role}"
        ))
        .await;
    database.url("table=t&key=id&column=envelope").replace("//app@", &format!("//{role}@"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_that_may_only_read_is_told_which_right_it_needs() {
    let Some(database) = Database::new("reader").await else { return };
    let keys = Keys::new();
    database.envelopes(&keys, "id int PRIMARY KEY", "i", 3).await;
    let url = role(&database, "reader", "SELECT").await;
    let source = Sql::from_url_and(&url, &environment).unwrap();
    let (report, failed) = run(Job::new(Arc::new(source), keys.a_to_b())).await;
    assert_eq!(report.totals.failed, 3);
    assert!(failed[0].contains("reader_") && failed[0].contains("right to UPDATE"), "{failed:?}");
    database.check(&keys, 3, "a").await;

    let url = role(&database, "nobody", "REFERENCES").await;
    let source = Sql::from_url_and(&url, &environment).unwrap();
    let (report, failed) = run(Job::new(Arc::new(source), keys.a_to_b())).await;
    assert_eq!((report.totals.items, report.totals.failed), (1, 1));
    assert!(failed[0].contains("right to SELECT"), "{failed:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_takes_no_changes_says_so() {
    let Some(database) = Database::new("standby").await else { return };
    let keys = Keys::new();
    database.envelopes(&keys, "id int PRIMARY KEY", "i", 1).await;
    let url = role(&database, "late", "SELECT, UPDATE").await;
    database
        .run(&format!("ALTER ROLE {}_late SET default_transaction_read_only = on", database.schema))
        .await;
    let source = Sql::from_url_and(&url, &environment).unwrap();
    let (_, failed) = run(Job::new(Arc::new(source), keys.a_to_b())).await;
    assert!(failed[0].contains("standby"), "{failed:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_a_policy_hides_are_an_error_and_not_left_out() {
    let Some(database) = Database::new("policy").await else { return };
    let keys = Keys::new();
    database.envelopes(&keys, "id int PRIMARY KEY", "i", 4).await;
    let url = role(&database, "tenant", "SELECT, UPDATE").await;
    database.run("CREATE POLICY own ON t USING (id < 2); ALTER TABLE t ENABLE ROW LEVEL SECURITY").await;
    let source = Sql::from_url_and(&url, &environment).unwrap();
    let (report, failed) = run(Job::new(Arc::new(source), keys.a_to_b())).await;
    assert_eq!(report.totals.rewrapped, 0);
    assert!(failed[0].contains("row-level security"), "{failed:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_of_the_server_shows_no_row() {
    let Some(database) = Database::new("details").await else { return };
    let keys = Keys::new();
    database.envelopes(&keys, "id int PRIMARY KEY", "i", 1).await;
    database.run("ALTER TABLE t ADD secret text DEFAULT 'hunter2'").await;
    database.run("ALTER TABLE t ADD CONSTRAINT none CHECK (octet_length(envelope) < 10) NOT VALID").await;
    let source = Arc::new(database.source("table=t&key=id&column=envelope"));
    let (report, failed) = run(Job::new(source, keys.a_to_b())).await;
    assert_eq!(report.totals.failed, 1);
    assert!(failed[0].contains("23514") && !failed[0].contains("hunter2"), "{failed:?}");
    database.check(&keys, 1, "a").await;
}
