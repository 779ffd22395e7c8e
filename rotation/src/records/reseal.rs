//! From records under an old data key to records under a new one, and making sure of each. No plaintext outlives its record.

use envelope_sdk::{DataKey, printable};
use zeroize::Zeroizing;

use super::{ContextTemplate, RecordFailure, Row, Swap, WhyNot};

/// What a page of rows comes to.
pub(super) struct Resealed {
    pub(super) swaps: Vec<Swap>,
    pub(super) failures: Vec<RecordFailure>,
}

/// Seals the records of `rows` under `new`. A row fails as a whole: its records have one data key.
pub(super) fn reseal(
    old: &DataKey,
    new: &DataKey,
    template: &ContextTemplate,
    columns: &[String],
    rows: Vec<Row>,
) -> Resealed {
    let mut resealed = Resealed { swaps: Vec::with_capacity(rows.len()), failures: Vec::new() };
    for row in rows {
        match reseal_row(old, new, template, columns, &row) {
            Ok(records) => {
                let old = row.records.into_iter().map(|(_, record)| record).collect();
                resealed.swaps.push(Swap { key: row.key, old, new: records });
            }
            Err(failure) => resealed.failures.push(*failure),
        }
    }
    resealed
}

/// The failure of the first row with a record, if no row that has one opens.
pub(super) fn first_failure_of_all(
    old: &DataKey,
    template: &ContextTemplate,
    columns: &[String],
    rows: &[Row],
) -> Option<RecordFailure> {
    let mut first = None;
    for row in rows {
        for (column, record) in &row.records {
            let Some(record) = record else { continue };
            match open(old, template, columns, row, column, record) {
                Ok(_) => return None,
                Err(why) => {
                    first.get_or_insert_with(|| failure(row, column, why));
                }
            }
        }
    }
    first
}

fn reseal_row(
    old: &DataKey,
    new: &DataKey,
    template: &ContextTemplate,
    columns: &[String],
    row: &Row,
) -> Result<Vec<Option<Vec<u8>>>, Box<RecordFailure>> {
    let anew = |(column, record): &(String, Option<Vec<u8>>)| {
        let Some(record) = record else { return Ok(None) };
        let anew = || {
            let plaintext = open(old, template, columns, row, column, record)?;
            let context = template.fill(column, |name| value(row, columns, name))?;
            let sealed = new.seal(&plaintext, &context)?;
            let again = new.open(&sealed, &context).map(Zeroizing::new);
            match again {
                Ok(again) if *again == *plaintext => Ok(Some(sealed)),
                _ => Err(WhyNot::NotVerified),
            }
        };
        anew().map_err(|why| Box::new(failure(row, column, why)))
    };
    row.records.iter().map(anew).collect()
}

fn open(
    old: &DataKey,
    template: &ContextTemplate,
    columns: &[String],
    row: &Row,
    column: &str,
    record: &[u8],
) -> Result<Zeroizing<Vec<u8>>, WhyNot> {
    let context = template.fill(column, |name| value(row, columns, name))?;
    Ok(Zeroizing::new(old.open(record, &context)?))
}

fn value(row: &Row, columns: &[String], name: &str) -> Option<String> {
    let at = columns.iter().position(|column| column == name)?;
    row.columns.get(at).cloned().flatten()
}

fn failure(row: &Row, column: &str, why: WhyNot) -> RecordFailure {
    RecordFailure { key: row.key.clone(), column: printable::text(column), why }
}
