//! A record opens when it and its context are exactly what they were.
#![no_main]

use std::sync::LazyLock;

use arbitrary::Arbitrary;
use envelope_fuzz::{
    fixtures::{DATA_KEY, RECORDS, context, envelope, record_context},
    mutate::{Change, apply},
    now,
};
use envelope_sdk::{DataKey, DecryptError, EncryptionContext};
use libfuzzer_sys::fuzz_target;

#[derive(Debug, Arbitrary)]
struct Input<'a> {
    which: bool,
    record: Record<'a>,
    /// Entries put over those of the record's context, and whether to keep these.
    entries: Vec<(&'a str, &'a str)>,
    keep: bool,
}

#[derive(Debug, Arbitrary)]
enum Record<'a> {
    Changed(Vec<Change>),
    Raw(&'a [u8]),
}

static KEY: LazyLock<DataKey> =
    LazyLock::new(|| now(envelope().open_data_key(DATA_KEY, &context())).expect("a fixture"));

fuzz_target!(|input: Input<'_>| {
    let (original, other) = (RECORDS[usize::from(input.which)], RECORDS[usize::from(!input.which)]);
    let record = match input.record {
        Record::Changed(changes) => apply(original, other, &changes),
        Record::Raw(bytes) => bytes.to_vec(),
    };
    let base = if input.keep { record_context() } else { EncryptionContext::new() };
    let context = input.entries.iter().fold(base, |context, (name, value)| context.with(*name, *value));
    let intact = RECORDS.contains(&record.as_slice()) && context == record_context();
    match KEY.open(&record, &context) {
        Ok(plaintext) => {
            assert!(intact);
            assert_eq!(
                KEY.open(&KEY.seal(&plaintext, &context).expect("randomness"), &context).ok(),
                Some(plaintext)
            );
        }
        Err(DecryptError::NotAuthentic) => assert!(!intact),
        Err(error) => panic!("{error}"),
    }
});
