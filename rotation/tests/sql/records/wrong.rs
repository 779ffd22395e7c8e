//! What is wrong is told before anything is written, or of the row that it is.

use envelope_layers::DataKeyId;
use envelope_rotation::{
    Control, SqlRecords,
    records::{ContextTemplate, RecordEvent, RecordJob, RecordStore, RecordsError},
};

use super::{People, TABLE, run, tenant_context, try_run};
use crate::database::environment;

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_template_is_refused_before_any_write() {
    let Some(people) = People::new("template", 20).await else { return };
    for (entries, word) in [
        (&["row={nothing}", "column={}"][..], "no column nothing"),
        (&["row={email}", "column={}"], "no part of their context"),
        (&["row={data_key}", "column={}"], "no part of their context"),
        (&["row={tenant}", "column={}"], "is the template"),
        (&["row={id}", "column=email", "more=x"], "is the template"),
        (&["row={id}"], "is the template"),
    ] {
        let template = ContextTemplate::parse(entries).unwrap();
        let job = RecordJob::new(people.store(), people.keys.a_to_b(), template).from(vec![people.old]);
        let error = try_run(job).await.unwrap_err().to_string();
        assert!(error.contains(word), "{entries:?}: {error}");
        assert_eq!(people.headers().await, 1, "no data key was made");
    }
    assert_eq!(people.check(20).await[&people.old], 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_template_that_is_wrong_for_one_column_moves_no_row_that_has_it() {
    let Some(people) = People::new("one_column", 30).await else { return };
    let template = ContextTemplate::parse(&["row={id}", "column=email"]).unwrap();
    let report =
        run(RecordJob::new(people.store(), people.keys.a_to_b(), template).from(vec![people.old])).await;
    // Those without a phone.
    assert_eq!((report.moved, report.failed, report.left, report.emptied.len()), (10, 20, 20, 0), "{report}");
    assert_eq!(people.check(30).await[&people.old], 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_record_stays_and_is_told_once_and_keeps_its_data_key() {
    let Some(people) = People::new("damaged", 100).await else { return };
    people
        .database
        .run("UPDATE people SET email = set_byte(email, 30, get_byte(email, 30) # 1) WHERE id = 42")
        .await;
    let damaged = "SELECT email FROM people WHERE id = 42";
    let before: Vec<u8> = people.database.rows(damaged, &[]).await[0].get(0);
    let mut failures = Vec::new();
    let control = Control::new();
    let job = people.job().batch(10).run(&control, |event| {
        if let RecordEvent::Failed(failure) = event {
            failures.push(failure.to_string());
        }
    });
    let report = job.await.unwrap();
    assert_eq!((report.moved, report.failed, report.left, report.emptied.len()), (99, 1, 1, 0), "{report}");
    assert_eq!(failures.len(), 1, "{failures:?}");
    assert!(failures[0].starts_with("row 42, column email: "), "{failures:?}");
    let after: Vec<u8> = people.database.rows(damaged, &[]).await[0].get(0);
    assert_eq!(after, before);
    assert_eq!(people.headers().await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_that_may_not_write_is_told_before_a_key_is_made() {
    let Some(people) = People::new("no_right", 5).await else { return };
    let (role, schema) = (format!("{}_reader", people.database.schema), &people.database.schema);
    people
        .database
        .run(&format!(
            "CREATE ROLE {role} LOGIN PASSWORD 'test'; GRANT USAGE ON SCHEMA {schema} TO {role}; \
             GRANT SELECT ON ALL TABLES IN SCHEMA {schema} TO {role}"
        ))
        .await;
    let url = people.database.url(TABLE).replace("//app@", &format!("//{role}@"));
    let job = || {
        let store = SqlRecords::from_url_and(&url, &environment).unwrap();
        try_run(people.job_over(store.into()).from(vec![people.old]))
    };
    let error = job().await.unwrap_err().to_string();
    assert!(error.contains(&role) && error.contains("right to UPDATE"), "{error}");
    people.database.run(&format!("GRANT UPDATE (email, phone, data_key) ON people TO {role}")).await;
    let error = job().await.unwrap_err().to_string();
    assert!(error.contains("right to INSERT"), "{error}");
    assert_eq!((people.keys.0.calls(), people.headers().await), (1, 1), "one call made the old data key");
    people.database.run(&format!("GRANT INSERT, DELETE ON data_keys TO {role}")).await;
    assert_eq!(job().await.unwrap().moved, 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn records_whose_header_is_lost_or_another_are_told() {
    let Some(people) = People::new("no_header", 5).await else { return };
    people.database.run("ALTER TABLE people DROP CONSTRAINT people_data_key_fkey").await;
    let header: Vec<u8> = people.database.rows("DELETE FROM data_keys RETURNING header", &[]).await[0].get(0);
    let error = try_run(people.job()).await.unwrap_err();
    assert!(matches!(error, RecordsError::NoHeader { records: 5, .. }), "{error}");
    let other = DataKeyId::from([7; 16]);
    people
        .database
        .rows("INSERT INTO data_keys VALUES ($1, $2)", &[&other.as_bytes().as_slice(), &header])
        .await;
    let error = try_run(people.job_over(people.store()).from(vec![other])).await.unwrap_err();
    assert!(matches!(error, RecordsError::WrongHeader { .. }), "{error}");
    people.database.run("UPDATE people SET data_key = 'short'").await;
    let job = people.job_over(people.store()).to(other);
    let error = try_run(job).await.unwrap_err().to_string();
    assert!(error.contains("16 bytes"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_column_of_bytes_that_nobody_named_is_refused_before_any_write() {
    let Some(people) = People::new("forgotten", 5).await else { return };
    let job = |url: &str| {
        let store = SqlRecords::from_url_and(&people.database.url(url), &environment).unwrap();
        people.job_over(store.into()).from(vec![people.old])
    };
    let error = try_run(job(&TABLE.replace("&column=phone", ""))).await.unwrap_err().to_string();
    assert!(error.contains("its column phone is of bytes and not named"), "{error}");
    assert_eq!((people.headers().await, people.check(5).await[&people.old]), (1, 5));
    people.database.run("ALTER TABLE people ADD picture bytea").await;
    let error = try_run(job(TABLE)).await.unwrap_err().to_string();
    assert!(error.contains("unsealed=picture"), "{error}");
    assert_eq!(run(job(&format!("{TABLE}&unsealed=picture"))).await.moved, 5);
    people.check(5).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_column_named_twice_and_tables_that_do_not_fit_are_refused() {
    let Some(people) = People::new("unfit_records", 5).await else { return };
    people.database.run("ALTER TABLE people ADD note text").await;
    for (url, word) in [
        (TABLE.replace("column=phone", "column=email"), "named twice"),
        (TABLE.replace("column=phone", "column=note"), "not bytea"),
        (TABLE.replace("data-key-column=data_key", "data-key-column=tenant"), "neither bytea nor uuid"),
        (TABLE.replace("keys=data_keys", "keys=nowhere"), "no such table"),
        (format!("{TABLE}&keys-header=made"), "not bytea"),
        (format!("{TABLE}&keys-made=header"), "timestamptz"),
        (format!("{TABLE}&tenant-column=nothing&tenant=x"), "no column"),
    ] {
        let store = SqlRecords::from_url_and(&people.database.url(&url), &environment).unwrap();
        let error =
            try_run(people.job_over(store.into()).from(vec![people.old])).await.unwrap_err().to_string();
        assert!(error.contains(word), "{url}: {error}");
    }
    assert_eq!(people.headers().await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_data_key_that_was_destroyed_keeps_no_other_from_being_emptied() {
    let Some(people) = People::new("destroyed", 10).await else { return };
    let other = people.add("other", 100..120).await;
    let store = people.store();
    let new = people.keys.envelope("b").create_data_key(&tenant_context("acme")).await.unwrap();
    let new_id = DataKeyId::of(new.header());
    store.insert(&new_id, &new.header().to_bytes()).await.unwrap();
    assert!(store.destroy(&other).await.unwrap());
    let report = run(people.job_over(people.store()).to(new_id)).await;
    assert_eq!((report.moved, report.left, report.finished), (10, 0, true), "{report}");
    // One that somebody names is told.
    let named = people.job_over(people.store()).from(vec![people.old, other]);
    let error = try_run(named).await.unwrap_err();
    assert!(matches!(error, RecordsError::Destroyed { id } if id == other), "{error}");
}
