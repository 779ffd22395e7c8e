//! `envctl rotate-records`, over PostgreSQL.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on says so")]
#![allow(clippy::print_stdout, reason = "seed and counts are said")]

use std::{
    collections::BTreeMap,
    env,
    io::{BufRead as _, BufReader},
    os::unix::process::ExitStatusExt,
    process::{Command, Stdio},
    sync::Arc,
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use envelope_local::Keystore;
use envelope_sdk::{EncryptionContext, Envelope, Keyring};
use envelope_testkit::servers;
use rustix::process::{Pid, Signal, kill_process};
use tokio_postgres::{Client, Config, NoTls};

use crate::common::{Ran, Sandbox};

const TABLE: &str = "table=people&key=id&column=email&data-key-column=data_key&keys=data_keys&keys-made=made";

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
             CREATE TABLE data_keys (id uuid PRIMARY KEY, header bytea NOT NULL, made timestamptz NOT NULL DEFAULT now()); \
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

/// Rows under a data key for `local:old`.
struct People {
    database: Database,
    sandbox: Sandbox,
    keystore: Arc<Keystore>,
    old: String,
    rows: i32,
}

impl People {
    fn new(schema: &str, rows: i32) -> Option<Self> {
        let database = Database::new(schema)?;
        let sandbox = Sandbox::new();
        let keystore = Arc::new(sandbox.keystore(&["old", "new"]));
        let mut people = Self { database, sandbox, keystore, old: String::new(), rows };
        let data_key =
            people.database.runtime.block_on(people.envelope("local:old").create_data_key(&tenant()));
        let data_key = data_key.unwrap();
        people.old = hex(data_key.header().envelope_id());
        let header = data_key.header().to_bytes();
        let ids: Vec<i32> = (0..rows).collect();
        let seal = |id: &i32| data_key.seal(id.to_string().as_bytes(), &row(*id)).unwrap();
        let records: Vec<_> = ids.iter().map(seal).collect();
        people.database.runtime.block_on(async {
            let insert = "INSERT INTO data_keys VALUES ($1::text::uuid, $2, now() - interval '1 hour')";
            people.database.client.execute(insert, &[&people.old, &header]).await.unwrap();
            let insert = "INSERT INTO people SELECT id, email, $3::text::uuid FROM unnest($1::int[], $2::bytea[]) AS n(id, email)";
            people.database.client.execute(insert, &[&ids, &records, &people.old]).await.unwrap();
        });
        Some(people)
    }

    fn envelope(&self, key: &str) -> Envelope {
        Envelope::new(Keyring::new().both(self.keystore.clone(), key.parse().unwrap()))
    }

    fn command(&self, more: &[&str]) -> Command {
        let common = ["rotate-records", &self.database.url, "--to", "local:new", "--from", "local:old"];
        let mut command = self.sandbox.envctl(&[&common[..], more].concat());
        command.env("PGPASSWORD", "test");
        command
    }

    /// From the old data key.
    fn run(&self, more: &[&str], code: i32) -> Ran {
        Ran::of(self.command(&[&["--old", &self.old], more].concat()).output().unwrap(), code)
    }

    /// That each row opens with the data key that it names; by data key, how many rows there are.
    fn check(&self, when: &str) -> BTreeMap<String, usize> {
        let (runtime, client) = (&self.database.runtime, &self.database.client);
        let rows = "SELECT p.id, p.email, p.data_key::text, k.header FROM people p JOIN data_keys k ON k.id = p.data_key";
        let rows = runtime.block_on(client.query(rows, &[])).unwrap();
        assert_eq!(rows.len(), usize::try_from(self.rows).unwrap(), "{when}");
        let envelope =
            Envelope::new(["local:old", "local:new"].iter().fold(Keyring::new(), |keyring, key| {
                keyring.both(self.keystore.clone(), key.parse().unwrap())
            }));
        let (mut data_keys, mut counts) = (BTreeMap::new(), BTreeMap::new());
        for found in rows {
            let (id, record, of): (i32, Vec<u8>, String) = (found.get(0), found.get(1), found.get(2));
            let data_key = data_keys.entry(of.clone()).or_insert_with(|| {
                runtime.block_on(envelope.open_data_key(found.get(3), &tenant())).unwrap()
            });
            let opened = data_key.open(&record, &row(id));
            assert_eq!(opened.unwrap(), id.to_string().as_bytes(), "{when}: row {id}");
            *counts.entry(of).or_default() += 1;
        }
        counts
    }

    fn headers(&self) -> i64 {
        let count = self.database.client.query_one("SELECT count(*) FROM data_keys", &[]);
        self.database.runtime.block_on(count).unwrap().get(0)
    }
}

const CONTEXT: [&str; 4] = ["-c", "row={id}", "-c", "column={}"];

fn tenant() -> EncryptionContext {
    EncryptionContext::new().with("tenant", "acme")
}

fn row(id: i32) -> EncryptionContext {
    EncryptionContext::new().with("row", id.to_string()).with("column", "email")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn records_move_to_a_data_key_for_another_key_and_the_old_one_is_retired() {
    let Some(people) = People::new("envctl_records", 50) else { return };
    people.run(&["-c", "row={nothing}"], 2).says("no column nothing");
    people.run(&["-c", "row={id}"], 4).says("is the template");
    let report = people.run(&[&CONTEXT[..], &["--json"]].concat(), 0).json();
    assert_eq!((&report["moved"], &report["left"]), (&50.into(), &0.into()), "{report}");
    assert_eq!(report["emptied"][0]["header"], "retired", "{report}");
    assert_eq!(people.check("moved").len(), 1);
    let header = people.database.bytes("SELECT header FROM data_keys");
    let envelope = people.envelope("local:new");
    people.database.runtime.block_on(envelope.open_data_key(&header, &tenant())).unwrap();
    // Run again, it finds nothing to do.
    assert_eq!(people.run(&[&CONTEXT[..], &["--json"]].concat(), 0).json()["moved"], 0);
}

#[test]
fn a_dry_run_counts_and_estimates_and_writes_nothing() {
    let Some(people) = People::new("envctl_dry", 30) else { return };
    let mine = people.sandbox.write("prices.toml", b"[local]\nusd = 1.5\nquota = 10\n");
    let more = ["--dry-run", "--json", "--report", "plan.json", "--prices", mine.to_str().unwrap()];
    let plan = people.run(&[&CONTEXT[..], &more].concat(), 0).json();
    assert_eq!((&plan["rows"], &plan["new"]), (&30.into(), &1.into()), "{plan}");
    assert_eq!(plan["data_keys"][0]["rows"], 30, "{plan}");
    assert_eq!(plan["calls"]["local"], 3, "{plan}");
    assert_eq!(plan["estimates"][0]["provider"], "local", "{plan}");
    let written: serde_json::Value = serde_json::from_slice(&people.sandbox.read("plan.json")).unwrap();
    assert_eq!((&written["totals"], &written["finished"]), (&plan, &true.into()));
    assert_eq!(people.check("after the plan")[&uuid(&people.old)], 30);
    assert_eq!(people.headers(), 1);
}

#[test]
fn the_report_is_told_and_written_when_an_error_ends_the_job_in_the_middle() {
    let Some(people) = People::new("envctl_middle", 60) else { return };
    people.database.run(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION ''no more''; END'; \
         CREATE TRIGGER refuse BEFORE UPDATE ON people FOR EACH ROW WHEN (old.id = 45) EXECUTE FUNCTION refuse()",
    );
    people
        .database
        .run("UPDATE people SET email = set_byte(email, 30, get_byte(email, 30) # 1) WHERE id = 7");
    let more = ["--json", "--batch", "20", "--report", "report.json"];
    let ran = people.run(&[&CONTEXT[..], &more].concat(), 3);
    ran.says("no more");
    let report = ran.json();
    assert_eq!(
        (&report["moved"], &report["failed"], &report["finished"]),
        (&39.into(), &1.into(), &false.into())
    );
    let written: serde_json::Value = serde_json::from_slice(&people.sandbox.read("report.json")).unwrap();
    assert_eq!((&written["totals"], &written["finished"]), (&report, &false.into()), "{written}");
    assert!(written["error"].as_str().unwrap().contains("no more"), "{written}");
    assert_eq!(written["items"][0]["row"], "7", "{written}");
    // A page it is not.
    people.run(&[&CONTEXT[..], &["--report", "report.html"]].concat(), 2).says("JSON");
}

#[test]
fn a_signal_ends_the_job_after_the_batch_with_its_report_and_a_second_one_at_once() {
    let Some(people) = People::new("envctl_signal", 400) else { return };
    // A batch waits for as long as this lock is held.
    for (number, signal) in [Signal::INT, Signal::TERM, Signal::HUP].into_iter().enumerate() {
        let name = format!("report-{number}.json");
        people.database.run("BEGIN; SELECT FROM people WHERE id = (SELECT max(id) FROM people) FOR UPDATE");
        let more = [&["--go-on", "--old", &people.old][..], &CONTEXT, &["--batch", "5", "--report", &name]];
        let before = people.count(&people.moved());
        let mut child =
            people.command(&more.concat()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        while people.count(&people.moved()) == before {
            assert!(child.try_wait().unwrap().is_none(), "it ended");
            thread::yield_now();
        }
        let _ = kill_process(Pid::from_child(&child), signal);
        if number == 2 {
            // It waits for the row: one more does not.
            let _ = kill_process(Pid::from_child(&child), signal);
        }
        let output = child.wait_with_output().unwrap();
        people.database.run("ROLLBACK");
        assert_eq!(output.status.signal(), Some(signal.as_raw()), "{output:?}");
        people.check(&format!("{signal:?}"));
        if number < 2 {
            let written: serde_json::Value = serde_json::from_slice(&people.sandbox.read(&name)).unwrap();
            assert_eq!(written["finished"], false, "{written}");
            assert_eq!(written["error"], "it was told to end", "{written}");
            assert_eq!(written["totals"]["cancelled"], true, "{written}");
        }
    }
    let report = people.run(&[&["--go-on", "--json"][..], &CONTEXT].concat(), 0).json();
    assert_eq!(report["left"], 0, "{report}");
    assert_eq!(people.check("in the end").len(), 1);
}

/// Outcome and detail `name` of the records of an operation.
fn recorded(sandbox: &Sandbox, operation: &str, name: &str) -> Vec<String> {
    let records = sandbox.run(&["audit", "export", "--operation", operation, "log"], 0).json();
    let said = |record: &serde_json::Value| {
        let details = record["detail"].as_array().unwrap();
        let detail = details.iter().find(|pair| pair[0] == name).map(|pair| pair[1].as_str().unwrap());
        format!("{} {}", record["outcome"].as_str().unwrap(), detail.unwrap_or("-"))
    };
    records.as_array().unwrap().iter().map(said).collect()
}

#[test]
fn a_job_over_records_is_recorded_before_and_after_with_its_data_keys_and_rows() {
    let Some(people) = People::new("envctl_recorded", 12) else { return };
    let sandbox = &people.sandbox;
    sandbox.run(&["audit", "create", "-k", "local:new", "log"], 0);
    let log = ["--audit-log", "log", "--json"];
    let ran = people.run(&[&log[..], &["-c", "row={id"]].concat(), 2);
    assert!(ran.stdout.is_empty() && recorded(sandbox, "rotate_records", "old").is_empty());
    let report = people.run(&[&log[..], &CONTEXT].concat(), 0).json();
    let new = report["new"][0].as_str().unwrap();
    let expected = |begun: &str, ok: &str| [format!("begun {begun}"), format!("ok {ok}")];
    assert_eq!(recorded(sandbox, "rotate_records", "old"), expected(&people.old, &people.old));
    assert_eq!(recorded(sandbox, "rotate_records", "new"), expected("-", new));
    assert_eq!(recorded(sandbox, "rotate_records", "retired"), expected("-", &people.old));
    assert_eq!(recorded(sandbox, "rotate_records", "rows"), expected("-", "12"));
    sandbox.run(&["audit", "verify", "-k", "local:new", "log"], 0);
}

#[test]
fn a_tenants_data_key_is_destroyed_with_a_signed_report_of_its_rows_and_its_records_are_gone() {
    let Some(people) = People::new("envctl_shred", 12) else { return };
    let sandbox = &people.sandbox;
    let created = sandbox.run(&["audit", "create", "-k", "local:new", "log", "--json"], 0).json();
    let public_key = created["public_key"].as_str().unwrap();
    let run = |more: &[&str], code| {
        // Narrowed to one row: all are lost, and counted and written down.
        let url = format!("{}&tenant-column=id&tenant=3", people.database.url);
        let args = [&["destroy-data-key", url.as_str()][..], more].concat();
        let log = sandbox.file("log");
        let output = sandbox.envctl(&args).env("PGPASSWORD", "test").env("ENVCTL_AUDIT", log).output();
        Ran::of(output.unwrap(), code)
    };
    run(&["--id", "00112233445566778899aabbccddeeff", "--yes"], 2).says("no header of the data key");
    run(&["--id", &people.old, "--yes"], 5).says("12 rows are under the data key");
    run(&["--id", &people.old, "--force"], 2).says("--yes");
    run(&["--id", &people.old, "--force", "--dry-run"], 0);
    let rule = "version = 1\n[[rule]]\nname = 'no-end'\neffect = 'deny'\noperation = ['destroy']\n";
    let policy = sandbox.write("policy.toml", rule.as_bytes());
    sandbox.configure(&format!("[policy]\nfile = {policy:?}\n"));
    run(&["--id", &people.old, "--force", "--yes", "--audit-log", "log"], 5).says("no-end");
    assert_eq!(recorded(sandbox, "destroy_data_key", "none"), ["denied -"]);
    sandbox.configure("");
    assert_eq!(people.check("so far nothing was done")[&uuid(&people.old)], 12);
    let report = ["--report", "gone.jsonl", "--reason", "tenant 42 left", "--audit-log", "log"];
    // The other one cannot be destroyed: what was is written down all the same.
    let other = "ffffffff-ffff-ffff-ffff-ffffffffffff";
    people.database.run(&format!(
        "INSERT INTO data_keys VALUES ('{other}', 'no header'); \
         CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION ''not this one''; END'; \
         CREATE TRIGGER refuse BEFORE UPDATE ON data_keys FOR EACH ROW WHEN (old.id = '{other}') EXECUTE FUNCTION refuse()"
    ));
    let both = ["--id", other, "--id", &people.old, "--id", &people.old, "--force", "--yes", "--json"];
    let ran = run(&[&both[..], &report].concat(), 3);
    people.database.run(&format!("DELETE FROM data_keys WHERE id = '{other}'"));
    assert_eq!(ran.json()["data_keys"][0]["rows"], 12);
    let recorded = sandbox.run(&["audit", "export", "--operation", "destroy_data_key", "log"], 0).json();
    let outcomes: Vec<_> = recorded.as_array().unwrap().iter().map(|record| &record["outcome"]).collect();
    assert_eq!(outcomes, ["denied", "begun", "ok", "begun", "failed"]);
    assert_eq!(recorded[1]["envelope"], people.old.as_str());
    ran.says("signed_by").says("backups");
    let text = String::from_utf8(sandbox.read("gone.jsonl")).unwrap();
    let lines: Vec<serde_json::Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(
        (&lines[0]["reason"], &lines[0]["data_keys"][0]),
        (&"tenant 42 left".into(), &people.old.as_str().into())
    );
    let mut rows: Vec<i32> =
        lines[1..13].iter().map(|line| line["row"].as_str().unwrap().parse().unwrap()).collect();
    rows.sort_unstable();
    assert_eq!(rows, (0..12).collect::<Vec<_>>());
    assert_eq!((&lines[13]["end"]["rows"], lines.len()), (&12.into(), 15));
    sandbox.run(&["audit", "verify-report", "gone.jsonl", "--public-key", public_key], 0);
    // Rows and id are there, and nothing that would open them.
    assert_eq!(people.count("SELECT count(*) FROM people"), 12);
    assert_eq!(people.database.bytes("SELECT header FROM data_keys"), b"");
    people.run(&CONTEXT, 5).says("was destroyed");
    run(&["--id", &people.old, "--force", "--yes"], 0).says("destroyed before");
    // Whoever counts or rewraps the headers that are left is not held up by it.
    let (tables, _) = people.database.url.split_once("&table=").unwrap();
    let headers = format!("{tables}&table=data_keys&key=id&column=header");
    let on_headers = |args: &[&str]| {
        Ran::of(sandbox.envctl(args).env("PGPASSWORD", "test").output().unwrap(), 0);
    };
    on_headers(&["keys", "usage", &headers, "--report", "usage.jsonl"]);
    on_headers(&["rotate", &headers, "--to", "local:new", "--from", "local:old"]);
    sandbox.run(&["keys", "deactivate", "old"], 0);
    sandbox.run(&["keys", "destroy", "old", "--usage", "usage.jsonl", "--yes", "--dry-run"], 0);
}

#[test]
fn a_signal_while_data_keys_are_destroyed_takes_no_report_with_it_and_the_next_ones_stay() {
    let Some(people) = People::new("envctl_shred_told", 3) else { return };
    let other = "ffffffff-ffff-ffff-ffff-ffffffffffff";
    people.database.run(&format!("INSERT INTO data_keys VALUES ('{other}', 'no header')"));
    // The first of them is waited for, as long as this session holds it.
    people.database.run(&format!("BEGIN; SELECT 1 FROM data_keys WHERE id = '{}' FOR UPDATE", people.old));
    let url = people.database.url.as_str();
    let destroy = ["destroy-data-key", url, "--id", &people.old, "--id", other, "--force", "--yes"];
    let mut command = people.sandbox.envctl(&[&destroy[..], &["--report", "gone.jsonl"]].concat());
    command.env("PGPASSWORD", "test").stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let waiting =
        "SELECT count(*) FROM pg_locks WHERE NOT granted AND pg_backend_pid() = ANY(pg_blocking_pids(pid))";
    while people.count(waiting) == 0 {
        assert_eq!(child.try_wait().unwrap(), None, "it ended");
        thread::yield_now();
    }
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    let mut said = BufReader::new(child.stderr.take().unwrap()).lines();
    assert!(said.any(|line| line.unwrap().contains("finishing what is under way")));
    people.database.run("COMMIT");
    let said: Vec<_> = said.map(Result::unwrap).collect();
    assert_eq!(child.wait().unwrap().signal(), Some(Signal::TERM.as_raw()), "{said:?}");
    let report = String::from_utf8(people.sandbox.read("gone.jsonl")).unwrap();
    let end: serde_json::Value = serde_json::from_str(report.lines().last().unwrap()).unwrap();
    assert_eq!(end["end"]["data_keys"].as_array().unwrap().len(), 1, "{report}");
    assert_eq!(
        (&end["end"]["data_keys"][0]["data_key"], &end["end"]["rows"]),
        (&people.old.as_str().into(), &3.into())
    );
    assert_eq!(
        people.database.bytes(&format!("SELECT header FROM data_keys WHERE id = '{other}'")),
        b"no header"
    );
}

/// Ended at random moments, again and again: `RECORD_KILLS` says how often, `KILL_LOOP_SEED` how.
#[test]
fn a_job_that_is_killed_at_any_moment_loses_no_record_and_the_next_ends_it() {
    let Some(people) = People::new("envctl_killed", 400) else { return };
    let number = |name: &str| env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    let (kills, seed) = (number("RECORD_KILLS").unwrap_or(6), number("KILL_LOOP_SEED").unwrap_or_else(now));
    println!("RECORD_KILLS={kills} KILL_LOOP_SEED={seed}");
    let mut state = seed;
    let mut random = |limit: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) % limit
    };
    let (mut killed, mut whole_run, mut old) = (0, Duration::ZERO, vec![people.old.clone()]);
    let mut is_ended = false;
    while killed < kills || !is_ended {
        // Two at once may make a new data key each.
        let jobs = if whole_run.is_zero() { 1 } else { 1 + random(2) };
        let begun = Instant::now();
        let named: Vec<_> = old.iter().flat_map(|id| ["--old", id.as_str()]).collect();
        let more = [&["--go-on", "--batch", "10"][..], &named, &CONTEXT].concat();
        let spawn = |_| people.command(&more).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let children: Vec<_> = (0..jobs).map(spawn).collect();
        for child in children {
            if !whole_run.is_zero() {
                thread::sleep(whole_run.mul_f64(random(1000) as f64 / 1000.0 / jobs as f64));
                let _ = kill_process(Pid::from_child(&child), Signal::KILL);
            }
            let output = child.wait_with_output().unwrap();
            let ended_by = output.status.signal();
            assert!(output.status.success() || ended_by == Some(Signal::KILL.as_raw()), "{output:?}");
            killed += u64::from(ended_by.is_some());
        }
        people.check(&format!("seed {seed}, after {killed} kills"));
        // To its end, and from what the rows are under now to another one.
        is_ended = whole_run.is_zero() || killed >= kills || random(3) == 0;
        if is_ended {
            Ran::of(people.command(&more).output().unwrap(), 0);
            let rows = people.check("after a whole run");
            assert!(old.iter().all(|old| !rows.contains_key(&uuid(old))), "{old:?} {rows:?}");
            old = rows.into_keys().collect();
            // What a killed job, or the second of two, made and nobody needed.
            people.database.run(
                "DELETE FROM data_keys k WHERE NOT EXISTS (SELECT FROM people p WHERE p.data_key = k.id)",
            );
            people.database.run("UPDATE data_keys SET made = now() - interval '1 hour'");
        }
        whole_run = if whole_run.is_zero() { begun.elapsed() } else { whole_run };
    }
}

impl People {
    fn moved(&self) -> String {
        format!("SELECT count(*) FROM people WHERE data_key <> '{}'", self.old)
    }

    fn count(&self, query: &str) -> i64 {
        self.database.runtime.block_on(self.database.client.query_one(query, &[])).unwrap().get(0)
    }
}

/// As PostgreSQL writes an id.
fn uuid(hex: &str) -> String {
    let hex = hex.replace('-', "");
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}

fn now() -> u64 {
    u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos()).unwrap_or(1)
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
