//! `envctl destroy-data-key`: what records of a table are under is ended, and written down.

use std::{
    collections::BTreeSet,
    io::{self, IsTerminal as _, Write as _},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use envelope_audit::{Entry, Outcome};
use envelope_layers::DataKeyId;
use envelope_policy::Operation;
use envelope_rotation::{
    SqlRecords,
    records::{PageLimit, RecordStore},
};
use envelope_sdk::{Header, KeyUri};
use serde_json::{Value, json};

use super::{
    records::{data_key_id, of_store, store},
    signed_report::SignedReport,
};
use crate::{
    cli::{DestroyDataKey, Global},
    error::{CliError, ErrorKind, Result},
    interrupt,
    providers::Providers,
    report::{self, now},
    runtime::block_on,
};

/// A data key that comes to its end.
struct Ending {
    id: DataKeyId,
    rows: u64,
    /// The keys and versions that its header names.
    recipients: Vec<(KeyUri, String)>,
}

/// Overwrites the headers of data keys with nothing. What records are under is refused, unless forced.
pub(crate) fn run(global: &Global, args: &DestroyDataKey) -> Result<()> {
    let ids = args.ids.iter().map(|id| data_key_id(id)).collect::<Result<BTreeSet<_>>>()?;
    let providers = Providers::new(global)?;
    // Whatever the URL narrows: a data key ends for all of its rows.
    let store = store(&args.table)?.of_all_rows();
    let mut ending = Vec::with_capacity(ids.len());
    for id in ids {
        ending.extend(block_on(look(global, &store, id))?);
    }
    for of in &ending {
        may_destroy(&providers, of)?;
    }
    let rows: u64 = ending.iter().map(|of| of.rows).sum();
    if rows > 0 && !args.force {
        return Err(in_use(rows, &count_of(&ending)));
    }
    if args.dry_run.dry_run || ending.is_empty() {
        return done(global, &ending, args.dry_run.dry_run);
    }
    if !args.yes {
        confirm(&ending, rows)?;
    }
    let mut written = SignedReport::begin(&providers, &args.report)?;
    if let Some(written) = &mut written {
        block_on(write_down(written, &store, args, &mut ending))?;
    }
    // A signal does not take the report with it: what is destroyed by then is written down.
    let is_told = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&is_told);
    interrupt::finish_when_told(move || told.store(true, Ordering::Relaxed));
    let (mut destroyed, mut unknown, mut why) = (Vec::with_capacity(ending.len()), None, None);
    for of in ending {
        if is_told.load(Ordering::Relaxed) {
            why = Some(CliError::other(format!("it was told to end before the data key {}", of.id)));
            break;
        }
        let (fate, error) = end(&providers, &store, &of, args.force);
        match fate {
            Fate::Destroyed => destroyed.push(of),
            Fate::Unknown => unknown = Some(of),
            Fate::Kept => {}
        }
        if error.is_some() {
            why = error;
            break;
        }
    }
    // What is destroyed is told and written down, however it ended.
    let written = match written {
        Some(written) if !destroyed.is_empty() || unknown.is_some() => {
            finish(global, written, &destroyed, unknown.as_ref())
        }
        _ => Ok(()),
    };
    let said = if destroyed.is_empty() { Ok(()) } else { done(global, &destroyed, false) };
    match (why, written.and(said)) {
        (Some(why), Err(also)) => Err(why.noted(also.message())),
        (Some(why), Ok(())) => Err(why),
        (None, said) => said,
    }
}

/// What there is of a data key; none of one that was destroyed before.
async fn look(global: &Global, store: &SqlRecords, id: DataKeyId) -> Result<Option<Ending>> {
    let stored = store.data_key(&id).await.map_err(of_store)?;
    let stored = stored.ok_or_else(|| CliError::usage(format!("there is no header of the data key {id}")))?;
    let rows = store.count(&id).await.map_err(of_store)?;
    if stored.header.is_empty() {
        let value = json!({ "data_key": id.to_string(), "destroyed": "before" });
        report::status(global.json, &value, &format!("{id} was destroyed before"))?;
        return Ok(None);
    }
    // What is no header opens nothing, and may go.
    let header = Header::parse_exact(&stored.header).ok();
    let recipients = header.iter().flat_map(Header::recipients);
    let recipients = recipients.map(|of| (of.key_uri().clone(), of.key_version().to_owned())).collect();
    Ok(Some(Ending { id, rows, recipients }))
}

/// Whoever may not destroy each of the keys that open a data key may not destroy that. Where no key is known, the policy is asked
/// all the same.
fn may_destroy(providers: &Providers, of: &Ending) -> Result<()> {
    let keys: Vec<_> = of.recipients.iter().map(|(key, _)| key).collect();
    providers.check(Operation::Destroy, &keys, DESTROY)
}

fn in_use(rows: u64, what: &str) -> CliError {
    CliError::new(ErrorKind::KeyRefused, format!("{rows} rows are under {what}")).hint(
        "`envctl rotate-records` moves them to another data key; --force destroys these all the same, and the rows are lost",
    )
}

/// Each row, before anything is destroyed.
async fn write_down(
    report: &mut SignedReport,
    store: &SqlRecords,
    args: &DestroyDataKey,
    ending: &mut [Ending],
) -> Result<()> {
    let ids: Vec<_> = ending.iter().map(|of| of.id.to_string()).collect();
    report.line(&json!({
        "data_key_destruction": 1,
        "data_keys": ids,
        "reason": args.report.reason,
        "table": args.table,
        "time": report::time(now()),
    }))?;
    for of in ending {
        let (mut after, mut rows) = (None, 0);
        loop {
            let page = store.page(&of.id, &[], after.as_ref(), PAGE).await.map_err(of_store)?;
            let Some(last) = page.last() else { break };
            after = Some(last.key.clone());
            for row in &page {
                report.line(&json!({ "data_key": of.id.to_string(), "row": row.key.0 }))?;
            }
            rows += page.len() as u64;
            // What a service goes on to write behind it is not waited for.
            if PAGE.is_end(&page) {
                break;
            }
        }
        // What was written since they were counted.
        of.rows = of.rows.max(rows);
    }
    report.flush()
}

/// What became of a data key that was to be destroyed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Destroyed,
    Kept,
    /// The answer is lost, and the database does not say what is there now.
    Unknown,
}

/// With a record before and after. The error, if there is one, and what became of the data key: the answer or its record may be
/// lost, and not the change.
fn end(providers: &Providers, store: &SqlRecords, of: &Ending, force: bool) -> (Fate, Option<CliError>) {
    // Somebody may have written since they were counted: a person takes time to answer.
    let rows = if force { Ok(0) } else { block_on(store.count(&of.id)).map_err(of_store) };
    match rows {
        Ok(0) => {}
        Ok(rows) => return (Fate::Kept, Some(in_use(rows, &format!("the data key {}", of.id)))),
        Err(error) => return (Fate::Kept, Some(error)),
    }
    let (mut tried, mut asked) = (false, None);
    let change = || {
        tried = true;
        block_on(destroy(store, of))
    };
    let came_of = |_: &CliError| asked.insert(block_on(fate_of(store, of.id))).outcome();
    let Err(error) = providers.recorder().change_or(&of.entry(), change, came_of) else {
        return (Fate::Destroyed, None);
    };
    let fate = match asked {
        Some(fate) => fate,
        None if tried => block_on(fate_of(store, of.id)),
        None => Fate::Kept,
    };
    let error = match fate {
        Fate::Destroyed if asked.is_some() => {
            error.noted(&format!("the data key {} is destroyed all the same", of.id))
        }
        Fate::Destroyed | Fate::Kept => error,
        Fate::Unknown => error
            .noted(&format!("whether the data key {} is destroyed is not known", of.id))
            .hint("`envctl destroy-data-key --dry-run` tells it once the database answers again"),
    };
    (fate, Some(error))
}

/// What the database says now.
async fn fate_of(store: &dyn RecordStore, id: DataKeyId) -> Fate {
    match store.data_key(&id).await {
        Ok(Some(stored)) if !stored.header.is_empty() => Fate::Kept,
        Ok(Some(_)) => Fate::Destroyed,
        // Not by this: a job that moved all of its rows meanwhile retired it, and they open as before.
        Ok(None) => match store.count(&id).await {
            Ok(0) => Fate::Kept,
            Ok(_) => Fate::Destroyed,
            Err(_) => Fate::Unknown,
        },
        Err(_) => Fate::Unknown,
    }
}

impl Fate {
    fn outcome(self) -> Outcome {
        match self {
            Self::Destroyed => Outcome::Ok,
            Self::Kept => Outcome::Failed,
            Self::Unknown => Outcome::Dropped,
        }
    }
}

async fn destroy(store: &SqlRecords, of: &Ending) -> Result<()> {
    match store.destroy(&of.id).await {
        Ok(true) => Ok(()),
        Ok(false) => Err(CliError::other(format!("the header of the data key {} is gone", of.id))),
        Err(error) => Err(of_store(error).about(format!("data key {}", of.id))),
    }
}

fn finish(
    global: &Global,
    mut report: SignedReport,
    destroyed: &[Ending],
    unknown: Option<&Ending>,
) -> Result<()> {
    let rows: u64 = destroyed.iter().map(|of| of.rows).sum();
    let data_keys: Vec<_> = destroyed.iter().map(Ending::json).collect();
    let mut end = json!({ "data_keys": data_keys, "rows": rows });
    let mut value = json!({ "unreadable": rows });
    let mut text = format!("says which {rows} rows are unreadable now");
    if let Some(unknown) = unknown {
        end["unknown"] = unknown.json();
        value["unknown"] = json!(unknown.rows);
        text.push_str(&format!(", and of {} more that are if {} is destroyed", unknown.rows, unknown.id));
    }
    let ended = report.line(&json!({ "end": end }));
    ended
        .and_then(|()| report.finish(global, value, &text))
        .map_err(|error| error.hint("the data keys are destroyed; the report of it is lost"))
}

fn done(global: &Global, ending: &[Ending], is_dry: bool) -> Result<()> {
    let would = if is_dry { "would be destroyed" } else { "destroyed" };
    let lines = ending.iter().map(|of| format!("{}: {would}; {} rows are under it\n", of.id, of.rows));
    let value =
        json!({ "data_keys": ending.iter().map(Ending::json).collect::<Vec<_>>(), "dry_run": is_dry });
    report::print(global.json, &value, &lines.collect::<String>())?;
    if ending.is_empty() || is_dry {
        return Ok(());
    }
    // Said each time: it is what makes the difference for a tenant.
    report::status(global.json, &json!({ "warning": COPIES }), &format!("warning: {COPIES}"))
}

impl Ending {
    /// For the audit log.
    fn entry(&self) -> Entry {
        let mut entry = Entry::new(DESTROY, Outcome::Begun);
        entry.envelope = Some(*self.id.as_bytes());
        if let [(key, version)] = self.recipients.as_slice() {
            entry.key = Some(key.to_string());
            entry.key_version = (!version.is_empty()).then(|| version.clone());
        }
        entry.with_detail("rows", self.rows.to_string())
    }

    fn json(&self) -> Value {
        let keys = self.recipients.iter();
        let keys: Vec<_> =
            keys.map(|(key, version)| json!({ "key": key.as_str(), "version": version })).collect();
        json!({ "data_key": self.id.to_string(), "keys": keys, "rows": self.rows })
    }
}

fn count_of(ending: &[Ending]) -> String {
    match ending {
        [one] => format!("the data key {}", one.id),
        several => format!("{} data keys", several.len()),
    }
}

fn confirm(ending: &[Ending], rows: u64) -> Result<()> {
    if !io::stdin().is_terminal() {
        return Err(CliError::usage("destroying a data key needs --yes where there is no terminal to ask"));
    }
    let mut stderr = anstream::stderr().lock();
    let asked = write!(
        stderr,
        "{rows} rows under {} will be lost for good. Type the number of rows to go on: ",
        count_of(ending)
    );
    let cannot = |error: io::Error| CliError::other(format!("cannot ask: {error}"));
    asked.and_then(|()| stderr.flush()).map_err(cannot)?;
    let mut answer = String::new();
    io::stdin().read_line(&mut answer).map_err(cannot)?;
    if answer.trim() == rows.to_string() {
        Ok(())
    } else {
        Err(CliError::usage("not confirmed: nothing was done"))
    }
}

const COPIES: &str = "copies of a header in backups, replicas and the database's own log open until they have expired, or until \
                      the keys that wrap it are destroyed";
/// As records of it are called.
const DESTROY: &str = "destroy_data_key";
/// Keys of rows at once; the records come with them.
const PAGE: PageLimit = PageLimit { rows: 500, bytes: 8 * 1024 * 1024 };

#[cfg(test)]
mod tests {
    use async_trait::async_trait;
    use envelope_layers::StoreError;
    use envelope_rotation::records::{RecordKey, Retired, Row, StoredDataKey, Swap};

    use super::*;

    /// A database that says this of a header, and of its rows.
    struct Says(std::result::Result<Option<&'static [u8]>, &'static str>, u64);

    #[async_trait]
    impl RecordStore for Says {
        async fn data_key(&self, id: &DataKeyId) -> std::result::Result<Option<StoredDataKey>, StoreError> {
            let stored = |header: &[u8]| StoredDataKey { id: *id, header: header.to_vec(), made: None };
            Ok(self.0?.map(stored))
        }

        async fn check(&self, _: &[String]) -> std::result::Result<(), StoreError> {
            unreachable!()
        }

        async fn in_use(&self) -> std::result::Result<Vec<DataKeyId>, StoreError> {
            unreachable!()
        }

        async fn page(
            &self,
            _: &DataKeyId,
            _: &[String],
            _: Option<&RecordKey>,
            _: PageLimit,
        ) -> std::result::Result<Vec<Row>, StoreError> {
            unreachable!()
        }

        async fn swap(
            &self,
            _: &DataKeyId,
            _: &DataKeyId,
            _: &[Swap],
        ) -> std::result::Result<Vec<RecordKey>, StoreError> {
            unreachable!()
        }

        async fn count(&self, _: &DataKeyId) -> std::result::Result<u64, StoreError> {
            Ok(self.1)
        }

        async fn data_keys(
            &self,
            _: Option<&DataKeyId>,
        ) -> std::result::Result<Vec<StoredDataKey>, StoreError> {
            unreachable!()
        }

        async fn insert(&self, _: &DataKeyId, _: &[u8]) -> std::result::Result<(), StoreError> {
            unreachable!()
        }

        async fn retire(&self, _: &DataKeyId) -> std::result::Result<Retired, StoreError> {
            unreachable!()
        }
    }

    #[test]
    fn what_nobody_can_say_of_a_data_key_is_neither_destroyed_nor_kept() {
        let fate = |says, rows| futures_executor::block_on(fate_of(&Says(says, rows), [7; 16].into()));
        assert_eq!(fate(Ok(Some(b"header")), 3), Fate::Kept);
        assert_eq!(fate(Ok(Some(b"")), 3), Fate::Destroyed);
        assert_eq!(fate(Ok(None), 3), Fate::Destroyed);
        assert_eq!(fate(Ok(None), 0), Fate::Kept, "its rows were moved");
        assert_eq!(fate(Err("the connection was lost"), 3), Fate::Unknown);
        let outcomes = [Fate::Destroyed, Fate::Kept, Fate::Unknown].map(Fate::outcome);
        assert_eq!(outcomes, [Outcome::Ok, Outcome::Failed, Outcome::Dropped]);
    }
}
