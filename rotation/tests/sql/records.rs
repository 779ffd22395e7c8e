//! Records of a table move to a new data key, whoever reads and writes meanwhile, and wherever it is cut off.

mod cut_off;
mod ended;
mod figures;
mod together;
mod wrong;

use std::{
    collections::{BTreeMap, btree_map::Entry},
    sync::Arc,
};

use envelope_layers::{DataKeyId, DataKeyLimits, DataKeys};
use envelope_rotation::{
    Control, SqlRecords,
    records::{
        ContextTemplate, RecordEvent, RecordJob, RecordReport, RecordStore, RecordsError, Retirement,
        TemplateError,
    },
};
use envelope_sdk::{DataKey, DecryptError, EncryptionContext};

use crate::{Database, Keys, database::environment};

/// A table `people` of records and a table `data_keys` of headers, with one data key for `a`.
struct People {
    database: Database,
    keys: Keys,
    old: DataKeyId,
}

const TABLE: &str = "table=people&key=id&column=email&column=phone&data-key-column=data_key&keys=data_keys";

impl People {
    async fn new(schema: &str, count: i32) -> Option<Self> {
        let database = Database::new(schema).await?;
        database
            .run(
                "CREATE TABLE data_keys (id bytea PRIMARY KEY, header bytea NOT NULL, \
                     made timestamptz NOT NULL DEFAULT now()); \
                 CREATE TABLE people (id int PRIMARY KEY, tenant text NOT NULL DEFAULT 'acme', email bytea, \
                     phone bytea, data_key bytea REFERENCES data_keys (id)); \
                 CREATE INDEX ON people (data_key, id)",
            )
            .await;
        let keys = Keys::new();
        let old = DataKeyId::from([0; 16]);
        let mut people = Self { database, keys, old };
        people.old = people.add("acme", 0..count).await;
        Some(people)
    }

    /// Rows of a tenant under a data key of their own. Every third has no phone.
    async fn add(&self, tenant: &str, ids: std::ops::Range<i32>) -> DataKeyId {
        let data_key = self.keys.envelope("a").create_data_key(&tenant_context(tenant)).await.unwrap();
        let id = DataKeyId::of(data_key.header());
        let header = data_key.header().to_bytes();
        let insert = "INSERT INTO data_keys VALUES ($1, $2, now() - interval '1 hour')";
        self.database.rows(insert, &[&id.as_bytes().as_slice(), &header]).await;
        let ids: Vec<i32> = ids.collect();
        let sealed = |column: &'static str| {
            let of = |id: &i32| {
                (column == "email" || id % 3 != 0).then(|| seal(&data_key, *id, column, &text(*id, column)))
            };
            ids.iter().map(of).collect::<Vec<_>>()
        };
        let insert = "INSERT INTO people (id, tenant, email, phone, data_key) SELECT n.id, $5, n.email, n.phone, $4 \
            FROM unnest($1::int[], $2::bytea[], $3::bytea[]) AS n(id, email, phone)";
        let (email, phone) = (sealed("email"), sealed("phone"));
        self.database.rows(insert, &[&ids, &email, &phone, &id.as_bytes().as_slice(), &tenant]).await;
        id
    }

    fn store_with(&self, more: &str) -> Arc<SqlRecords> {
        let url = self.database.url(&format!("{TABLE}{more}"));
        Arc::new(SqlRecords::from_url_and(&url, &environment).unwrap())
    }

    fn store(&self) -> Arc<SqlRecords> {
        self.store_with("")
    }

    /// From the data key of [`new`](Self::new) to one for `b`.
    fn job(&self) -> RecordJob {
        self.job_over(self.store()).from(vec![self.old])
    }

    fn job_over(&self, store: Arc<SqlRecords>) -> RecordJob {
        RecordJob::new(store, self.keys.a_to_b(), template())
    }

    /// That each row opens, as a reader does it, with the data key that it names; by data key, how many rows there are.
    async fn check(&self, count: usize) -> BTreeMap<DataKeyId, u64> {
        let mut data_keys: BTreeMap<DataKeyId, DataKey> = BTreeMap::new();
        let mut rows_of = BTreeMap::new();
        // In one statement, as a reader that joins: each row with the header that it has at that moment.
        let rows = "SELECT p.id, p.email, p.phone, p.data_key, k.header, p.tenant \
            FROM people p JOIN data_keys k ON k.id = p.data_key";
        let rows = self.database.rows(rows, &[]).await;
        assert_eq!(rows.len(), count);
        for row in rows {
            let (id, header): (i32, Vec<u8>) = (row.get(0), row.get(4));
            let data_key: DataKeyId = <[u8; 16]>::try_from(row.get::<_, &[u8]>(3)).unwrap().into();
            if let Entry::Vacant(entry) = data_keys.entry(data_key) {
                let context = tenant_context(row.get(5));
                entry.insert(self.keys.envelope("ab").open_data_key(&header, &context).await.unwrap());
            }
            for (at, column) in [(1, "email"), (2, "phone")] {
                let record: Option<Vec<u8>> = row.get(at);
                assert_eq!(record.is_some(), column == "email" || id % 3 != 0, "{id} {column}");
                let Some(record) = record else { continue };
                let opened = data_keys[&data_key].open(&record, &row_context(id, column)).unwrap();
                assert_eq!(opened, text(id, column).as_bytes(), "{id} {column}");
            }
            *rows_of.entry(data_key).or_default() += 1;
        }
        rows_of
    }

    async fn headers(&self) -> i64 {
        self.database.count("SELECT count(*) FROM data_keys").await
    }
}

fn template() -> ContextTemplate {
    "row={id},column={}".parse().unwrap()
}

fn tenant_context(tenant: &str) -> EncryptionContext {
    EncryptionContext::new().with("tenant", tenant)
}

fn row_context(id: i32, column: &str) -> EncryptionContext {
    EncryptionContext::new().with("row", id.to_string()).with("column", column)
}

fn text(id: i32, column: &str) -> String {
    format!("the {column} of {id}")
}

fn seal(data_key: &DataKey, id: i32, column: &str, text: &str) -> Vec<u8> {
    data_key.seal(text.as_bytes(), &row_context(id, column)).unwrap()
}

async fn run(job: RecordJob) -> RecordReport {
    try_run(job).await.unwrap()
}

async fn try_run(job: RecordJob) -> Result<RecordReport, RecordsError> {
    job.run(&Control::new(), |_| {}).await
}

#[tokio::test(flavor = "multi_thread")]
async fn all_records_move_and_the_old_data_key_is_retired() {
    let Some(people) = People::new("moved", 2_000).await else { return };
    let report = run(people.job()).await;
    assert_eq!((report.moved, report.failed, report.left, report.conflicts), (2_000, 0, 0, 0), "{report}");
    assert_eq!(report.emptied, [(people.old, Retirement::Retired)]);
    assert_eq!(people.check(2_000).await, BTreeMap::from([(report.new[0], 2_000)]));
    assert_eq!(people.headers().await, 1);
    // The new data key is for `b` alone.
    let header: Vec<u8> = people.database.rows("SELECT header FROM data_keys", &[]).await[0].get(0);
    let by_old = people.keys.envelope("a").open_data_key(&header, &tenant_context("acme")).await;
    assert!(matches!(by_old, Err(DecryptError::NoConfiguredKey { .. })));
    // Once more: there is nothing to do.
    let again = run(people.job()).await;
    assert_eq!((again.moved, again.new.len(), again.emptied.len()), (0, 0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn ids_may_be_uuids_and_keys_several_columns() {
    let Some(database) = Database::new("uuid_ids").await else { return };
    let keys = Keys::new();
    database
        .run(
            "CREATE TABLE headers (dk uuid PRIMARY KEY, bytes bytea NOT NULL); \
             CREATE TABLE rows (\"t,{}\" text, id uuid, secret bytea, dk uuid REFERENCES headers, \
                PRIMARY KEY (\"t,{}\", id))",
        )
        .await;
    let data_key = keys.envelope("a").create_data_key(&EncryptionContext::new()).await.unwrap();
    let old = DataKeyId::of(data_key.header());
    let header = data_key.header().to_bytes();
    database.rows("INSERT INTO headers VALUES ($1::text::uuid, $2)", &[&old.to_string(), &header]).await;
    let context = |tenant: &str, id: &str| EncryptionContext::new().with("at", format!("{tenant}/{id}"));
    for number in 0i32..700 {
        let (tenant, id) = (format!("t\"{}", number % 3), format!("00000000-0000-0000-0000-{number:012}"));
        let record = data_key.seal(number.to_string().as_bytes(), &context(&tenant, &id)).unwrap();
        let insert = "INSERT INTO rows VALUES ($1, $2::text::uuid, $3, $4::text::uuid)";
        database.rows(insert, &[&tenant, &id, &record, &old.to_string()]).await;
    }
    let parameters = "table=rows&key=t,%7B%7D&key=id&column=secret&data-key-column=dk&keys=headers&keys-id=dk&keys-header=bytes";
    let store = SqlRecords::from_url_and(&database.url(parameters), &environment).unwrap();
    // A brace in the name of a column cannot be written in a template.
    let error = ContextTemplate::parse(&["at={t,{}}/{id}"]).unwrap_err();
    assert!(matches!(error, TemplateError::Entry { .. }), "{error}");
    database.run("ALTER TABLE rows ADD tenant text GENERATED ALWAYS AS (\"t,{}\") STORED").await;
    let template = ContextTemplate::parse(&["at={tenant}/{id}"]).unwrap();
    let report = run(RecordJob::new(Arc::new(store), keys.a_to_b(), template).from(vec![old])).await;
    assert_eq!((report.moved, report.failed, report.emptied[0].1), (700, 0, Retirement::Retired), "{report}");
    let header: Vec<u8> = database.rows("SELECT bytes FROM headers", &[]).await[0].get(0);
    let data_key = keys.envelope("b").open_data_key(&header, &EncryptionContext::new()).await.unwrap();
    for row in database.rows("SELECT tenant, id::text, secret FROM rows", &[]).await {
        data_key.open(row.get(2), &context(row.get(0), row.get(1))).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_tenant_gets_a_data_key_of_its_own_context() {
    let Some(people) = People::new("tenants", 30).await else { return };
    let other = people.add("other", 100..150).await;
    let third = people.add("acme", 200..210).await;
    let report = run(people.job_over(people.store()).from(vec![people.old, other, third])).await;
    assert_eq!((report.moved, report.new.len(), report.emptied.len()), (90, 2, 3), "{report}");
    assert_eq!(
        people.check(90).await.into_values().collect::<std::collections::BTreeSet<_>>(),
        [40, 50].into()
    );
    assert_eq!(people.headers().await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_tenant_moves_to_a_data_key_that_is_there() {
    let Some(people) = People::new("one_tenant", 30).await else { return };
    people.add("other", 100..150).await;
    let store = people.store();
    let new = people.keys.envelope("b").create_data_key(&tenant_context("acme")).await.unwrap();
    let new_id = DataKeyId::of(new.header());
    store.insert(&new_id, &new.header().to_bytes()).await.unwrap();
    let job = || people.job_over(people.store_with("&tenant-column=tenant&tenant=acme")).to(new_id);
    let report = run(job()).await;
    assert_eq!((report.moved, report.new.as_slice()), (30, [new_id].as_slice()), "{report}");
    assert_eq!(people.check(80).await[&new_id], 30);
    assert_eq!(run(job()).await.moved, 0);
    // Without the new one nobody knows which is old; and it is no old one.
    let unknown = people.job_over(people.store_with("&tenant-column=tenant&tenant=acme"));
    assert!(matches!(try_run(unknown).await, Err(RecordsError::Job(_))));
    assert!(matches!(try_run(people.job().to(people.old)).await, Err(RecordsError::Job(_))));
    // It is of another context than the rows of the other tenant.
    let all = people.job_over(people.store()).to(new_id);
    let error = try_run(all).await.unwrap_err().to_string();
    assert!(error.contains("another context"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_tenant_moves_from_under_a_data_key_that_others_share_and_nothing_is_left() {
    let Some(people) = People::new("shared", 30).await else { return };
    people.database.run("UPDATE people SET tenant = 'other' WHERE id >= 10").await;
    let store = people.store();
    let new = people.keys.envelope("b").create_data_key(&tenant_context("acme")).await.unwrap();
    let new_id = DataKeyId::of(new.header());
    store.insert(&new_id, &new.header().to_bytes()).await.unwrap();
    let job = || people.job_over(people.store_with("&tenant-column=tenant&tenant=acme")).to(new_id);
    let plan = job().plan(&Control::new()).await.unwrap();
    assert_eq!((plan.rows, plan.data_keys.len()), (10, 1), "{plan}");
    for moved in [10, 0] {
        let report = run(job()).await;
        assert_eq!((report.moved, report.left, report.emptied.len()), (moved, 0, 0), "{report}");
    }
    let under = format!("SELECT count(*) FROM people WHERE data_key = decode('{}', 'hex')", people.old);
    assert_eq!((people.database.count(&under).await, people.headers().await), (20, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn large_records_are_moved_a_few_at_a_time() {
    let Some(people) = People::new("large_records", 1).await else { return };
    let header: Vec<u8> = people.database.rows("SELECT header FROM data_keys", &[]).await[0].get(0);
    let old = people.keys.envelope("a").open_data_key(&header, &tenant_context("acme")).await.unwrap();
    for id in 1..=6 {
        let record = old.seal(&vec![7; 5_000_000], &row_context(id, "email")).unwrap();
        let insert = "INSERT INTO people (id, email, data_key) VALUES ($1, $2, $3)";
        people.database.rows(insert, &[&id, &record, &people.old.as_bytes().as_slice()]).await;
    }
    let mut batches = Vec::new();
    let control = Control::new();
    let job = people.job().run(&control, |event| {
        if let RecordEvent::Moved { rows, .. } = event {
            batches.push(rows);
        }
    });
    assert_eq!(job.await.unwrap().moved, 7);
    assert!(batches.len() >= 3 && batches.iter().all(|rows| *rows <= 3), "{batches:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_opens_its_records_before_and_after() {
    let Some(people) = People::new("service", 1).await else { return };
    let limits = DataKeyLimits::new(std::time::Duration::from_secs(3600), 1_000);
    let service = || DataKeys::new(people.keys.envelope("ab"), people.store(), limits);
    let writer = service();
    let (context, row) = (tenant_context("acme"), row_context(7, "email"));
    let sealed = writer.seal(&context, b"jane", &row).await.unwrap();
    let id = sealed.data_key.as_bytes().as_slice();
    let insert = "INSERT INTO people (id, email, data_key) VALUES (7, $1, $2)";
    people.database.rows(insert, &[&sealed.bytes, &id]).await;
    let report = run(people.job_over(people.store()).from(vec![sealed.data_key])).await;
    assert_eq!((report.moved, report.emptied[0].1), (1, Retirement::Retired));
    let row_now = &people.database.rows("SELECT email, data_key FROM people WHERE id = 7", &[]).await[0];
    let data_key: DataKeyId = <[u8; 16]>::try_from(row_now.get::<_, &[u8]>(1)).unwrap().into();
    let bytes: Vec<u8> = row_now.get(0);
    for reader in [writer, service()] {
        assert_eq!(reader.open(&context, &data_key, &bytes, &row).await.unwrap(), b"jane");
    }
}
