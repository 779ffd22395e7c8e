//! Every row of a table comes to its new keys, whatever its key is, and whatever the column holds.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use envelope_rotation::{Control, Goal, Item, Job, Shard, Source, SourceError};
use envelope_sdk::{EncryptionContext, Header, Kind, format::armor};

use crate::{Database, Keys, run, run_well};

/// A page of the source has 1,000 rows.
const MORE_THAN_A_PAGE: usize = 1_050;

/// Rewraps `count` rows with such a key, twice, and reencrypts them then.
async fn all_rows_move(schema: &str, columns: &str, key: &str, parameters: &str, count: usize) {
    let Some(database) = Database::new(schema).await else { return };
    let keys = Keys::new();
    database.envelopes(&keys, columns, key, count).await;
    let source = || database.source(&format!("table=t&column=envelope&{parameters}"));
    let report = run_well(source(), keys.a_to_b()).await;
    assert_eq!(report.totals.rewrapped, count as u64, "{schema}");
    database.check(&keys, count, "b").await;
    let report = run_well(source(), keys.a_to_b()).await;
    assert_eq!(report.totals.in_target_state, count as u64, "{schema}");
    let report =
        run_well(source(), Goal::only(keys.keys("a")).open_with(keys.keys("b")).reencrypting()).await;
    assert_eq!(report.totals.reencrypted, count as u64, "{schema}");
    database.check(&keys, count, "a").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_with_integer_keys_move() {
    all_rows_move("integers", "id bigint PRIMARY KEY", "i - 1000", "key=id", MORE_THAN_A_PAGE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_with_uuid_keys_move() {
    all_rows_move("uuids", "id uuid PRIMARY KEY", "md5(i::text)::uuid", "key=id", MORE_THAN_A_PAGE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_with_text_keys_move() {
    all_rows_move("texts", "id text PRIMARY KEY", "'row ' || i", "key=id", MORE_THAN_A_PAGE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_with_keys_of_several_columns_move() {
    let columns = "tenant text, id int, UNIQUE (id, tenant), CHECK (true), \
        CONSTRAINT p PRIMARY KEY (tenant, id)";
    let key = "'t,\"' || i % 7, i";
    // The constraints are no columns, and the order of the names is that of the URL.
    all_rows_move("several", columns, key, "key=tenant&key=id", MORE_THAN_A_PAGE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_with_keys_of_other_types_move() {
    for (name, columns, key) in [
        ("moment", "id timestamptz PRIMARY KEY", "timestamptz 'epoch' + i * interval '1.000001 s'"),
        ("number", "id numeric(20, 5) PRIMARY KEY", "(i - 50) / 3.0"),
        ("float", "id double precision PRIMARY KEY", "(i - 50) / 3.0::float8"),
        ("bytes", "id bytea PRIMARY KEY", "sha256(i::text::bytea)"),
        ("fixed", "id character(12) PRIMARY KEY", "'r' || i"),
        ("span", "id interval PRIMARY KEY", "i * interval '1 month 36 hours'"),
        ("address", "id inet PRIMARY KEY", "inet '10.0.0.0/24' + i"),
        ("c_order", "id text COLLATE \"C\" PRIMARY KEY", "'Row ' || i"),
        ("day", "id date PRIMARY KEY", "date '0044-03-15 BC' + i * 100"),
    ] {
        all_rows_move(name, columns, key, "key=id", 60).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_with_keys_of_own_types_of_the_database_move() {
    let Some(database) = Database::new("own_types").await else { return };
    let keys = Keys::new();
    let schema = &database.schema;
    database
        .run(
            "CREATE TYPE mood AS ENUM ('sad', 'it''s \"ok\"', 'glad'); \
             CREATE DOMAIN low AS text CHECK (VALUE = lower(VALUE)); CREATE DOMAIN lower_still AS low",
        )
        .await;
    let columns = "mood mood, low lower_still, PRIMARY KEY (mood, low), CHECK (true)";
    let key = format!("(ENUM_RANGE(NULL::{schema}.mood))[i % 3 + 1], 'x' || i");
    database.envelopes(&keys, columns, &key, 30).await;
    run_well(database.source("table=t&column=envelope&key=mood&key=low"), keys.a_to_b()).await;
    database.check(&keys, 30, "b").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_keys_name_their_rows_and_nothing_else() {
    let Some(database) = Database::new("hostile").await else { return };
    let keys = Keys::new();
    database.run("CREATE TABLE t (id text PRIMARY KEY, envelope bytea, number int)").await;
    let long = "ä".repeat(1_300);
    let hostile = [
        "",
        " ",
        "'",
        "''; DROP TABLE t; --",
        "\"",
        "\\",
        "\\'",
        "$1",
        "%s%00",
        "a\nb",
        "\u{1b}[2J",
        "\u{202e}gnp.exe",
        "[\"a\"]",
        "NULL",
        "null",
        "\u{10ffff}",
        &long,
    ];
    for (number, key) in (0i32..).zip(hostile) {
        let cell = keys.seal("a", &number.to_string()).await;
        database.rows("INSERT INTO t VALUES ($1, $2, $3)", &[&key, &cell, &number]).await;
    }
    let report = run_well(database.source("table=t&column=envelope&key=id"), keys.a_to_b()).await;
    assert_eq!(report.totals.rewrapped, hostile.len() as u64);
    database.check(&keys, hostile.len(), "b").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_names_of_tables_and_columns_are_names() {
    let Some(database) = Database::new("names").await else { return };
    let keys = Keys::new();
    let cell = keys.seal("a", "0").await;
    database
        .run(
            "CREATE TABLE victim (id int); \
             CREATE TABLE \"x\"\"; DROP TABLE victim; --\" (\"i'd \"\"$1\" int PRIMARY KEY, \"a;b &=%\" bytea, number int)",
        )
        .await;
    database.rows("INSERT INTO \"x\"\"; DROP TABLE victim; --\" VALUES (1, $1, 0)", &[&cell]).await;
    let parameters = "table=x%22%3B%20DROP%20TABLE%20victim%3B%20--&key=i'd%20%22$1&column=a%3Bb%20%26%3D%25";
    let report = run_well(database.source(parameters), keys.a_to_b()).await;
    assert_eq!(report.totals.rewrapped, 1);
    assert_eq!(database.count("SELECT count(*) FROM victim").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn large_cells_are_rewrapped_where_they_are_and_reencrypted_whole() {
    let Some(database) = Database::new("large").await else { return };
    let keys = Keys::new();
    database.run("CREATE TABLE t (id int PRIMARY KEY, envelope bytea)").await;
    database.run("ALTER TABLE t ALTER envelope SET STORAGE EXTERNAL").await;
    let text = |id: i32| format!("{id}").repeat(1_000_000);
    for id in 1..=8 {
        // Some headers are longer than what is read first.
        let envelope = keys.envelope("a").pad_headers_to(if id % 2 == 0 { 40_000 } else { 0 });
        let cell = envelope.encrypt(text(id).as_bytes(), &EncryptionContext::new()).await.unwrap();
        database.rows("INSERT INTO t VALUES ($1, $2)", &[&id, &cell]).await;
    }
    let source = || database.source("table=t&key=id&column=envelope&connections=3");
    let payload = "SELECT sha256(right(encode(envelope, 'hex'), 2000000)::bytea) FROM t ORDER BY id";
    let digests =
        |rows: Vec<tokio_postgres::Row>| rows.iter().map(|row| row.get(0)).collect::<Vec<Vec<u8>>>();
    let before = digests(database.rows(payload, &[]).await);
    let report = run_well(source(), keys.a_to_b()).await;
    assert_eq!(report.totals.rewrapped, 8);
    assert_eq!(digests(database.rows(payload, &[]).await), before, "a rewrap leaves payloads");
    let report =
        run_well(source(), Goal::only(keys.keys("c")).open_with(keys.keys("b")).reencrypting()).await;
    assert_eq!(report.totals.reencrypted, 8);
    assert_ne!(digests(database.rows(payload, &[]).await), before);
    for row in database.rows("SELECT id, envelope FROM t", &[]).await {
        assert!(keys.opens("c", row.get(1), &text(row.get(0))).await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn armored_envelopes_in_text_stay_text() {
    let Some(database) = Database::new("armored").await else { return };
    let keys = Keys::new();
    database.run("CREATE TABLE t (id int PRIMARY KEY, envelope text)").await;
    for id in 0i32..20 {
        let padding = if id == 3 { 40_000 } else { 0 };
        let envelope = keys.envelope("a").pad_headers_to(padding);
        let text = id.to_string().repeat(if id == 4 { 100_000 } else { 1 });
        let cell = envelope.encrypt(text.as_bytes(), &EncryptionContext::new()).await.unwrap();
        database.rows("INSERT INTO t VALUES ($1, $2)", &[&id, &armor::encode(&cell)]).await;
    }
    let source = || database.source("table=t&key=id&column=envelope");
    assert_eq!(run_well(source(), keys.a_to_b()).await.totals.rewrapped, 20);
    let goal = Goal::only(keys.keys("c")).open_with(keys.keys("b")).reencrypting();
    assert_eq!(run_well(source(), goal).await.totals.reencrypted, 20);
    for row in database.rows("SELECT id, envelope FROM t", &[]).await {
        let (id, text): (i32, String) = (row.get(0), row.get(1));
        let text = armor::decode(&text).unwrap();
        assert!(keys.opens("c", &text, &id.to_string().repeat(if id == 4 { 100_000 } else { 1 })).await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn detached_headers_change_with_their_payloads_or_without() {
    let Some(database) = Database::new("detached").await else { return };
    let keys = Keys::new();
    database.run("CREATE TABLE t (id int PRIMARY KEY, header bytea, body bytea)").await;
    let context = |id: i32| EncryptionContext::new().with("row", id.to_string()).withhold("x", "y");
    for id in 0i32..20 {
        let envelope = keys.envelope("a");
        let (header, body) = envelope.encrypt_detached(&[7; 5_000], &context(id)).await.unwrap();
        database.rows("INSERT INTO t VALUES ($1, $2, $3)", &[&id, &header, &body]).await;
    }
    let bodies = "SELECT string_agg(sha256(body), '' ORDER BY id) FROM t";
    let before: Vec<u8> = database.rows(bodies, &[]).await[0].get(0);
    let goal = |goal: Goal| goal.with_context(EncryptionContext::new().withhold("x", "y"));
    let source = |payload| database.source(&format!("table=t&key=id&column=header{payload}"));
    let report = run_well(source("&payload=body"), goal(keys.a_to_b())).await;
    assert_eq!(report.totals.rewrapped, 20);
    let after: Vec<u8> = database.rows(bodies, &[]).await[0].get(0);
    assert_eq!(after, before);

    let to_c = || goal(Goal::only(keys.keys("c")).open_with(keys.keys("b")).reencrypting());
    let (report, failed) = run(Job::new(Arc::new(source("")), to_c())).await;
    assert_eq!(report.totals.failed, 20);
    assert!(failed[0].contains("payload="), "{failed:?}");
    assert_eq!(run_well(source("&payload=body"), to_c()).await.totals.reencrypted, 20);
    for row in database.rows("SELECT id, header, body FROM t", &[]).await {
        let envelope = keys.envelope("c");
        let opened = envelope.decrypt_detached(row.get(1), row.get(2), &context(row.get(0))).await.unwrap();
        assert_eq!(opened, [7; 5_000]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_header_whose_payload_is_elsewhere_is_told_at_once_and_stays() {
    let Some(database) = Database::new("no_payload").await else { return };
    let keys = Keys::new();
    database.run("CREATE TABLE t (id int PRIMARY KEY, header bytea, body bytea)").await;
    let sealed = keys.envelope("a").encrypt_detached(b"x", &EncryptionContext::new()).await.unwrap();
    database.rows("INSERT INTO t VALUES (1, $1, NULL)", &[&sealed.0]).await;
    let source = database.source("table=t&key=id&column=header&payload=body");
    let unwraps = keys.0.unwraps();
    let (report, failed) = run(Job::new(Arc::new(source), keys.a_to_b().reencrypting())).await;
    assert_eq!((report.totals.failed, report.totals.conflicts), (1, 0), "{failed:?}");
    assert!(failed[0].contains("NULL"), "{failed:?}");
    let unwraps = keys.0.unwraps() - unwraps;
    assert!(unwraps < 5, "the key store was asked again: {unwraps}");
    let header: Vec<u8> = database.rows("SELECT header FROM t", &[]).await[0].get(0);
    assert_eq!(header, sealed.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_of_data_keys_are_rewrapped_and_their_records_open() {
    let Some(database) = Database::new("headers").await else { return };
    let keys = Keys::new();
    database.run("CREATE TABLE data_keys (id bytea PRIMARY KEY, header bytea NOT NULL)").await;
    let mut records = Vec::new();
    for _ in 0..20 {
        let data_key = keys.envelope("a").create_data_key(&EncryptionContext::new()).await.unwrap();
        let (id, header) = (data_key.header().envelope_id().as_slice(), data_key.header().to_bytes());
        database.rows("INSERT INTO data_keys VALUES ($1, $2)", &[&id, &header]).await;
        records.push((id.to_vec(), data_key.seal(b"x", &EncryptionContext::new()).unwrap()));
    }
    // One that was destroyed is in nobody's way.
    database.run("INSERT INTO data_keys VALUES (sha256('destroyed'), '')").await;
    let report = run_well(database.source("table=data_keys&key=id&column=header"), keys.a_to_b()).await;
    assert_eq!(report.totals.rewrapped, 20);
    for (id, record) in records {
        let header: Vec<u8> =
            database.rows("SELECT header FROM data_keys WHERE id = $1", &[&id]).await[0].get(0);
        assert_eq!(Header::parse_exact(&header).unwrap().kind(), Kind::DataKey);
        let data_key = keys.envelope("b").open_data_key(&header, &EncryptionContext::new()).await.unwrap();
        assert_eq!(data_key.open(&record, &EncryptionContext::new()).unwrap(), b"x");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_written_before_a_moment_changes_once() {
    let Some(database) = Database::new("moments").await else { return };
    let keys = Keys::new();
    database.envelopes(&keys, "id int PRIMARY KEY", "i", 20).await;
    database.run("ALTER TABLE t ADD at timestamptz NOT NULL DEFAULT now() - interval '1 day'").await;
    database.run("UPDATE t SET at = now() + interval '1 day' WHERE id < 5").await;
    let source = || database.source("table=t&key=id&column=envelope&modified=at");
    let goal = || Goal::only(keys.keys("a")).older_than(SystemTime::now() - Duration::from_secs(3600));
    assert_eq!(run_well(source(), goal()).await.totals.rewrapped, 15);
    assert_eq!(run_well(source(), goal()).await.totals.rewrapped, 0);
    database.check(&keys, 20, "a").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn empty_cells_are_passed_over_and_what_is_no_envelope_fails() {
    let Some(database) = Database::new("odd_cells").await else { return };
    let keys = Keys::new();
    database.envelopes(&keys, "id int PRIMARY KEY", "i", 3).await;
    let cell = keys.seal("a", "3").await;
    let cut = &cell[..cell.len() - 100][..60];
    database.run("INSERT INTO t VALUES (10, NULL), (11, ''), (12, 'plaintext')").await;
    database.rows("INSERT INTO t VALUES (13, $1)", &[&cut]).await;
    let job = Job::new(Arc::new(database.source("table=t&key=id&column=envelope")), keys.a_to_b());
    let (report, failed) = run(job).await;
    assert_eq!((report.totals.items, report.totals.rewrapped, report.totals.failed), (5, 3, 2), "{failed:?}");
    // Emptied since it was listed.
    let source = database.source("table=t&key=id&column=envelope");
    for key in ["10", "11"] {
        let read = source.read(&Item::found(key)).await;
        assert!(matches!(read, Err(SourceError::Gone)), "{key}: {read:?}");
    }
    let cells = database.rows("SELECT envelope FROM t WHERE id > 9 ORDER BY id", &[]).await;
    let cells: Vec<Option<Vec<u8>>> = cells.iter().map(|row| row.get(0)).collect();
    assert_eq!(cells, [None, Some(vec![]), Some(b"plaintext".to_vec()), Some(cut.to_vec())]);
}

#[tokio::test(flavor = "multi_thread")]
async fn shards_do_each_row_once_and_a_plan_writes_nothing() {
    let Some(database) = Database::new("shards").await else { return };
    let keys = Keys::new();
    database.envelopes(&keys, "id int PRIMARY KEY", "i", 300).await;
    let source = Arc::new(database.source("table=t&key=id&column=envelope"));
    let plan = Job::new(source.clone(), keys.a_to_b()).plan(&Control::new(), |_| {}).await.unwrap();
    assert_eq!(plan.to_change, 300);
    database.check(&keys, 300, "a").await;
    let mut done = 0;
    for index in 1..=3 {
        let job = Job::new(source.clone(), keys.a_to_b()).shard(Shard::new(index, 3).unwrap());
        done += run(job).await.0.totals.rewrapped;
    }
    assert_eq!(done, 300);
    database.check(&keys, 300, "b").await;
}
