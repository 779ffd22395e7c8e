//! What is handed to other programs and to people.

use envelope_audit::{Entry, Filter, Outcome, VerifyError, read, write_csv, write_json};

use crate::common::{Place, entry, options};

#[test]
fn what_all_that_is_set_fits_is_found() {
    let place = mixed();
    let count = |change: &dyn Fn(&mut Filter)| {
        let (mut filter, mut count) = (Filter::new(), 0);
        change(&mut filter);
        read::<VerifyError>(&place.path(), &filter, |_, _| {
            count += 1;
            Ok(())
        })
        .unwrap();
        count
    };
    assert_eq!(count(&|_| ()), 4);
    assert_eq!(count(&|filter| filter.key = Some("memory:*".into())), 2);
    assert_eq!(count(&|filter| filter.key = Some("memory:key-2".into())), 1);
    assert_eq!(count(&|filter| filter.outcome = Some(Outcome::Denied)), 1);
    assert_eq!(count(&|filter| filter.actor = Some("=cmd*".into())), 1);
    assert_eq!(count(&|filter| filter.request = Some("1".into())), 1);
    assert_eq!(count(&|filter| filter.since = Some(3000)), 2);
    assert_eq!(count(&|filter| (filter.since, filter.until) = (Some(2000), Some(3000))), 1);
    assert_eq!(count(&|filter| filter.operation = Some("log-*".into())), 1);
}

#[test]
fn json_is_one_array_of_the_records() {
    let place = mixed();
    let mut out = Vec::new();
    assert_eq!(write_json(&place.path(), &Filter::new(), &mut out).unwrap(), 4);
    let array: Vec<serde_json::Value> = serde_json::from_slice(&out).unwrap();
    assert_eq!(array.len(), 4);
    assert_eq!(array[3]["outcome"], "denied");
    let mut filter = Filter::new();
    filter.key = Some("none".into());
    let mut out = Vec::new();
    assert_eq!(write_json(&place.path(), &filter, &mut out).unwrap(), 0);
    assert_eq!(out, b"[]\n");
}

#[test]
fn csv_has_a_row_for_each_record_and_no_formula() {
    let place = mixed();
    let mut out = Vec::new();
    assert_eq!(write_csv(&place.path(), &Filter::new(), &mut out).unwrap(), 4);
    let text = String::from_utf8(out).unwrap();
    let rows: Vec<_> = text.split("\r\n").collect();
    assert_eq!(rows.len(), 6);
    assert!(rows[0].starts_with("seq,time,actor,operation,outcome,"));
    assert!(
        rows[2].starts_with("2,1970-01-01T00:00:02.000Z,test,unwrap_dek,ok,,,memory:key-1,"),
        "{}",
        rows[2]
    );
    assert!(rows[4].contains(",\"'=cmd('x'),\"\"y\"\"\","), "{}", rows[4]);
}

fn mixed() -> Place {
    let place = Place::new();
    let now = std::sync::atomic::AtomicU64::new(0);
    let clock = move || now.fetch_add(500, std::sync::atomic::Ordering::Relaxed);
    let log = place.create(options().clock(move || (clock() / 500 + 2) / 2 * 1000));
    log.append_blocking(entry(1)).unwrap();
    log.append_blocking(entry(2)).unwrap();
    let mut denied = Entry::new("decrypt", Outcome::Denied);
    denied.actor = Some("=cmd('x'),\"y\"".into());
    log.append_blocking(denied).unwrap();
    place
}
