//! Who is connected to, and how.

use std::net::TcpListener;

use envelope_rotation::{Sql, SqlError};

use crate::{
    Database, Keys,
    database::{PASSWORD, environment},
    run_well,
};

const COLUMN: &str = "table=t&key=id&column=envelope";

#[tokio::test(flavor = "multi_thread")]
async fn over_tls_the_server_is_verified_by_the_roots_that_are_named() {
    let Some(database) = Database::new("tls").await else { return };
    let keys = Keys::new();
    database.envelopes(&keys, "id int PRIMARY KEY", "i", 3).await;
    let roots = std::env::var("ENVELOPE_TEST_POSTGRES_CA").unwrap();
    // Whatever may be written by others is not believed, so that the file moves to where only its owner writes.
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("ca.crt");
    std::fs::write(&copy, std::fs::read(roots).unwrap()).unwrap();
    let url = |host: &str, more: &str| database.url(&format!("{COLUMN}{more}")).replace("@127.0.0.1:", host);
    let with_roots = format!("&sslmode=verify-full&sslrootcert={}", copy.display());
    for host in ["@127.0.0.1:", "@localhost:"] {
        let source = Sql::from_url_and(&url(host, &with_roots), &environment).unwrap();
        source.check().await.unwrap();
    }
    let source = Sql::from_url_and(&url("@127.0.0.1:", &with_roots), &environment).unwrap();
    run_well(source, keys.a_to_b()).await;
    let ssl = database.count("SELECT count(*) FROM pg_stat_ssl WHERE ssl").await;
    assert!(ssl <= 8, "{ssl}");
    // The platform does not know who signed this, and another name is not in the certificate.
    let unknown = Sql::from_url_and(&url("@127.0.0.1:", "&sslmode=require"), &environment).unwrap();
    let error = unknown.check().await.unwrap_err();
    assert!(matches!(error, SqlError::Unreachable { .. }), "{error}");
    assert!(error.to_string().contains("certificate"), "{error}");
    let other = Sql::from_url_and(&url("@0.0.0.0:", &with_roots), &environment).unwrap();
    let error = other.check().await.unwrap_err();
    assert!(matches!(error, SqlError::Unreachable { .. }), "{error}");
    assert!(error.to_string().contains("certificate"), "{error}");
    let nothing = url("@127.0.0.1:", "&sslmode=require&sslrootcert=/nowhere");
    let error = Sql::from_url_and(&nothing, &environment).unwrap_err();
    assert!(matches!(error, SqlError::Tls(_)), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_written_lasts_although_the_server_would_not_wait_for_it() {
    let Some(database) = Database::new("lasts").await else { return };
    let keys = Keys::new();
    database.envelopes(&keys, "id int PRIMARY KEY", "i", 1).await;
    let role = format!("{}_role", database.schema);
    database
        .run(&format!(
            "CREATE ROLE {role} SUPERUSER LOGIN PASSWORD 'test'; ALTER ROLE {role} SET synchronous_commit = off; \
             ALTER TABLE t ADD setting text; \
             CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS \
             'BEGIN NEW.setting = current_setting(''synchronous_commit''); RETURN NEW; END'; \
             CREATE TRIGGER note BEFORE UPDATE ON t FOR EACH ROW EXECUTE FUNCTION note()"
        ))
        .await;
    let url = database.url(COLUMN).replace("//app@", &format!("//{role}@"));
    run_well(Sql::from_url_and(&url, &environment).unwrap(), keys.a_to_b()).await;
    let setting: String = database.rows("SELECT setting FROM t", &[]).await[0].get(0);
    assert_eq!(setting, "on");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_is_told_and_not_shown() {
    let Some(database) = Database::new("password").await else { return };
    let wrong = |variable: &str| (variable == "PGPASSWORD").then(|| "hunter2".to_owned());
    let source = Sql::from_url_and(&database.url(COLUMN), &wrong).unwrap();
    let error = source.check().await.unwrap_err().to_string();
    assert!(error.contains("password") && !error.contains("hunter2"), "{error}");
    let shown = format!("{source:?}");
    assert!(!shown.contains("hunter2"), "{shown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_file_of_passwords_is_believed_if_nobody_else_reads_it() {
    use std::os::unix::fs::PermissionsExt;
    let Some(database) = Database::new("passfile").await else { return };
    let keys = Keys::new();
    database.envelopes(&keys, "id int PRIMARY KEY", "i", 1).await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pgpass");
    std::fs::write(&path, format!("127.0.0.1:*:postgres:app:{PASSWORD}\n")).unwrap();
    let variables = |variable: &str| (variable == "PGPASSFILE").then(|| path.to_str().unwrap().to_owned());
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    Sql::from_url_and(&database.url(COLUMN), &variables).unwrap().check().await.unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o666)).unwrap();
    let error = Sql::from_url_and(&database.url(COLUMN), &variables).unwrap_err();
    assert!(matches!(error, SqlError::Passwords(_)), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_not_there_is_told_after_a_few_tries() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let url = format!("postgres://me@127.0.0.1:{port}/d?{COLUMN}");
    let error = Sql::from_url_and(&url, &environment).unwrap().check().await.unwrap_err();
    assert!(matches!(error, SqlError::Unreachable { .. }), "{error}");
    assert!(error.to_string().contains(&format!("127.0.0.1:{port}")), "{error}");
}
