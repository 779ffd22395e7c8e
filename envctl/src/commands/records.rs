//! `envctl rotate-records`: the records of a table, to a new data key.

use std::sync::Arc;

use envelope_layers::DataKeyId;
use envelope_policy::distinct_keys;
use envelope_rotation::{
    Control, Goal, Key, SqlError, SqlRecords,
    records::{ContextTemplate, RecordEvent, RecordJob, RecordsError},
};
use envelope_sdk::{KeyUri, registry::Purpose};

use super::context;
use crate::{
    cli::{Expected, Global, RotateRecords},
    error::{CliError, ErrorKind, Result},
    progress::Items,
    providers::Providers,
    report,
    runtime::block_on,
};

/// Moves records. A row that fails stays as it is and does not stop the others; the exit code is 4 then.
pub(crate) fn run(global: &Global, args: &RotateRecords) -> Result<()> {
    let template =
        ContextTemplate::parse(&args.context).map_err(|error| CliError::usage(error.to_string()))?;
    let ids = |ids: &[String]| ids.iter().map(|id| data_key_id(id)).collect::<Result<Vec<_>>>();
    let (old, new) = (ids(&args.old)?, args.new.as_deref().map(data_key_id).transpose()?);
    let store = SqlRecords::from_url(&args.table).map_err(|error| of_sql(&error))?;
    let mut job = RecordJob::new(Arc::new(store), goal(global, args)?, template).from(old);
    if let Some(new) = new {
        job = job.to(new);
    }
    if let Some(rows) = args.batch {
        job = job.batch(rows);
    }
    if args.go_on {
        job = job.going_on();
    }
    if args.keep {
        job = job.keeping_old_data_keys();
    }
    let mut progress = Items::new(global);
    let mut failed = 0;
    let report = block_on(job.run(&Control::new(), |event| match event {
        RecordEvent::NewDataKey { id, .. } => progress.aside(|| {
            let value = serde_json::json!({ "new_data_key": id.to_string() });
            let _ = report::status(global.json, &value, &format!("records move to the data key {id}"));
        }),
        RecordEvent::Moved { rows, .. } => (0..rows).for_each(|_| progress.add(0)),
        RecordEvent::Failed(failure) => {
            failed += 1;
            let error = CliError::new(ErrorKind::NotAuthentic, failure.to_string());
            progress.aside(|| error.report(global.json));
        }
        _ => {}
    }));
    drop(progress);
    let report = report.map_err(of_records)?;
    let value = serde_json::to_value(&report).map_err(|error| CliError::other(error.to_string()))?;
    report::print(global.json, &value, &report.to_string())?;
    match (report.failed.max(failed), report.left) {
        (0, 0) => Ok(()),
        (0, left) => Err(CliError::other(format!("{left} rows are left under an old data key"))
            .hint("others still write under it: run this again when they have a new one")),
        (failed, _) => {
            Err(CliError::new(ErrorKind::NotAuthentic, format!("{failed} rows failed and are as they were")))
        }
    }
}

fn goal(global: &Global, args: &RotateRecords) -> Result<Goal> {
    let expected = Expected { context: args.data_key_context.clone(), expect: Vec::new() };
    let expected = context::expected(&expected)?;
    let providers = Providers::new(global)?;
    let opened = providers.opened();
    let to: Vec<_> = opened.keyring_to_encrypt(&args.to)?.encrypting().cloned().collect();
    let registry = opened.registry_to_encrypt(distinct_keys(&to));
    let key = |uri: &KeyUri, purpose| -> Result<Key> {
        let provider = registry.provider(uri, purpose).map_err(CliError::of_call)?;
        Ok(Key::new(provider, uri.clone()))
    };
    let to = to.iter().map(|uri| key(uri, Purpose::Replace)).collect::<Result<_>>()?;
    let from = opened.keyring_to_decrypt(&args.from)?;
    let from = from.decrypting().map(|uri| key(uri, Purpose::Decrypt)).collect::<Result<_>>()?;
    Ok(Goal::only(to).open_with(from).with_context(expected))
}

/// 32 hexadecimal digits, or a UUID.
fn data_key_id(text: &str) -> Result<DataKeyId> {
    let digits = text.replace('-', "");
    let number = u128::from_str_radix(&digits, 16).ok().filter(|_| digits.len() == 32);
    let number =
        number.ok_or_else(|| CliError::usage("the id of a data key is 32 hexadecimal digits, or a UUID"))?;
    Ok(number.to_be_bytes().into())
}

fn of_records(error: RecordsError) -> CliError {
    match error {
        RecordsError::Store(error) => match error.downcast::<SqlError>() {
            Ok(error) => of_sql(&error),
            Err(error) => CliError::new(ErrorKind::InputOutput, error.to_string()),
        },
        RecordsError::Open { id, source } => CliError::from(source).about(format!("data key {id}")),
        RecordsError::Make(error) => error.into(),
        RecordsError::NotVerified(error) => error.into(),
        error @ RecordsError::NothingOpens { .. } => {
            CliError::new(ErrorKind::NotAuthentic, error.to_string())
        }
        error @ RecordsError::Job(_) => CliError::usage(error.to_string())
            .hint("--old ID names a data key that is to go, --new ID one that is there already"),
        error => CliError::other(error.to_string()),
    }
}

fn of_sql(error: &SqlError) -> CliError {
    let kind = match error {
        SqlError::Url(_) | SqlError::Table { .. } => ErrorKind::Usage,
        _ => ErrorKind::InputOutput,
    };
    CliError::new(kind, error.to_string())
}
