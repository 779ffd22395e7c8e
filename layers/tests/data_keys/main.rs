//! Data keys for services: their limits, and what they cost.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests are tests too")]

mod dropped;
mod invalidation;
mod stored;
mod support;
mod threads;

use std::{collections::HashMap, sync::Arc, time::Duration};

use envelope_layers::{DataKeyLimits, DataKeys, DataKeysError, MemoryDataKeyStore};
use envelope_sdk::{EncryptError, Envelope, Keyring, RECORD_MAX_LEN, RECORD_OVERHEAD};
use envelope_testkit::MemoryProvider;
use tokio::time::advance;

use support::{DAY, Table, data_keys, poll, provider, row, service, tenant};

#[tokio::test(start_paused = true)]
async fn a_hundred_thousand_records_of_a_tenant_within_the_limits_cost_one_call() {
    const RECORDS: u64 = 100_000;
    let provider = provider();
    let data_keys = service(&provider, DataKeyLimits::new(DAY, RECORDS));
    let tenant = tenant("acme");
    for number in 0..RECORDS {
        data_keys.seal(&tenant, b"jane@example.org", &row(number)).await.unwrap();
    }
    let stats = data_keys.stats();
    assert_eq!((stats.sealed, stats.made, stats.key_calls), (RECORDS, 1, 1));
    assert_eq!((provider.wraps(), provider.calls()), (1, 1));
    data_keys.seal(&tenant, b"one more", &row(RECORDS)).await.unwrap();
    assert_eq!((provider.wraps(), data_keys.stats().made), (2, 2));
}

#[tokio::test(start_paused = true)]
async fn a_record_opens_under_its_data_key_its_context_and_its_own_alone() {
    let provider = provider();
    let data_keys = service(&provider, DataKeyLimits::new(DAY, 100));
    let (acme, initech) = (tenant("acme"), tenant("initech"));
    let sealed = data_keys.seal(&acme, b"jane", &row(1)).await.unwrap();
    assert_eq!(sealed.bytes.len(), 4 + RECORD_OVERHEAD);
    let opened = data_keys.open(&acme, &sealed.data_key, &sealed.bytes, &row(1)).await.unwrap();
    assert_eq!(opened, b"jane");

    let other = data_keys.open(&acme, &sealed.data_key, &sealed.bytes, &row(2)).await.unwrap_err();
    assert!(matches!(other, DataKeysError::Open { id, .. } if id == sealed.data_key), "{other}");
    // The data key is held open, and another tenant does not get at it.
    let other = data_keys.open(&initech, &sealed.data_key, &sealed.bytes, &row(1)).await.unwrap_err();
    assert!(matches!(other, DataKeysError::Unlock { id, .. } if id == sealed.data_key), "{other}");
    assert_eq!(provider.calls(), 1, "a context that contradicts the header asks nobody");
    let stats = data_keys.stats();
    assert_eq!((stats.sealed_bytes, stats.opened_records), (4, 1));
}

#[tokio::test(start_paused = true)]
async fn each_context_has_a_data_key_of_its_own_and_so_has_a_value_that_is_withheld() {
    let provider = provider();
    let data_keys = service(&provider, DataKeyLimits::new(DAY, 100));
    let withheld = envelope_sdk::EncryptionContext::new().withhold("tenant", "acme");
    let contexts = [tenant("acme"), tenant("initech"), withheld];
    let mut ids = Vec::new();
    for context in contexts.iter().chain(&contexts) {
        ids.push(data_keys.seal(context, b"", &row(1)).await.unwrap().data_key);
    }
    assert_eq!(ids[..3], ids[3..]);
    ids.sort_unstable();
    ids.dedup();
    assert_eq!((ids.len(), provider.wraps(), data_keys.stats().current), (3, 3, 3));
}

#[tokio::test(start_paused = true)]
async fn the_age_of_a_data_key_begins_before_its_key_store_is_asked() {
    let (provider, table) = (provider(), Arc::new(Table::default()));
    let age = Duration::from_secs(60);
    let data_keys = data_keys(&provider, Arc::clone(&table), DataKeyLimits::new(age, 100));
    let tenant = tenant("acme");
    table.close();
    let mut making = Box::pin(data_keys.current(&tenant));
    assert!(poll(&mut making).is_pending());
    advance(Duration::from_secs(59)).await;
    table.open();
    let current = making.await.unwrap();
    current.seal(b"", &row(1)).unwrap();
    advance(Duration::from_secs(1)).await;
    let spent = current.seal(b"", &row(2)).unwrap_err();
    assert!(matches!(spent, DataKeysError::Spent(id) if id == *current.id()), "{spent}");

    // One that is too old when it is there is told to be late, and no other is made for ever.
    table.close();
    let mut sealing = Box::pin(async { data_keys.seal(&tenant, b"", &row(3)).await });
    assert!(poll(&mut sealing).is_pending());
    advance(age).await;
    table.open();
    let late = sealing.await.unwrap_err();
    let DataKeysError::Late { took, age: of, .. } = late else { panic!("{late}") };
    assert_eq!((took, of, provider.wraps()), (age, age, 2));
    data_keys.seal(&tenant, b"", &row(4)).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_data_key_seals_as_many_records_as_is_allowed() {
    for limit in [0, 1, 2, 7] {
        let data_keys = service(&provider(), DataKeyLimits::new(DAY, limit));
        let mut sealed: HashMap<_, u64> = HashMap::new();
        for number in 0..20 {
            *sealed
                .entry(data_keys.seal(&tenant("acme"), b"", &row(number)).await.unwrap().data_key)
                .or_default() += 1;
        }
        assert!(sealed.values().all(|records| *records <= limit.max(1)), "{sealed:?}");
        assert_eq!(data_keys.stats().made, 20_u64.div_ceil(limit.max(1)));
    }
}

#[tokio::test(start_paused = true)]
async fn a_data_key_seals_as_many_bytes_as_is_allowed_and_a_longer_record_is_refused() {
    let data_keys = service(&provider(), DataKeyLimits::new(DAY, 100).bytes(10));
    let mut made = Vec::new();
    for len in [4, 6, 1, 9, 10, 0] {
        data_keys.seal(&tenant("acme"), &vec![0; len], &row(1)).await.unwrap();
        made.push(data_keys.stats().made);
    }
    // One that is full of bytes still has a record of none left.
    assert_eq!(made, [1, 1, 2, 2, 3, 3]);
    let refused = data_keys.seal(&tenant("acme"), &[0; 11], &row(1)).await.unwrap_err();
    assert!(matches!(refused, DataKeysError::OverLimit { bytes: 11, limit: 10 }), "{refused}");
    assert_eq!(data_keys.stats().made, 3);
}

/// Whoever seals many records under the current one and is told that it is spent asks for it again.
#[tokio::test(start_paused = true)]
async fn after_one_that_a_record_did_not_fit_into_the_current_data_key_is_another() {
    let data_keys = service(&provider(), DataKeyLimits::new(DAY, 100).bytes(10));
    let first = data_keys.current(&tenant("acme")).await.unwrap();
    first.seal(&[0; 6], &row(1)).unwrap();
    let spent = first.seal(&[0; 6], &row(2)).unwrap_err();
    assert!(matches!(spent, DataKeysError::Spent(id) if id == *first.id()), "{spent}");
    let second = data_keys.current(&tenant("acme")).await.unwrap();
    assert_ne!(second.id(), first.id());
    second.seal(&[0; 6], &row(2)).unwrap();
    // What is smaller still goes under the first, which somebody may hold.
    first.seal(&[0; 4], &row(3)).unwrap();
    assert_eq!(data_keys.stats().made, 2);
}

#[tokio::test(start_paused = true)]
async fn a_record_that_is_too_large_for_the_format_is_refused_before_it_is_counted() {
    let data_keys = service(&provider(), DataKeyLimits::new(DAY, 1));
    let refused = data_keys.seal(&tenant("acme"), &vec![0; RECORD_MAX_LEN + 1], &row(1)).await.unwrap_err();
    assert!(matches!(refused, DataKeysError::Seal(error) if matches!(*error, EncryptError::RecordTooLarge)));
    assert_eq!(data_keys.stats().made, 0);
}

#[tokio::test(start_paused = true)]
async fn a_data_key_seals_until_its_age_is_reached_and_no_longer() {
    let data_keys = service(&provider(), DataKeyLimits::new(DAY, 100));
    let first = data_keys.current(&tenant("acme")).await.unwrap();
    advance(DAY - Duration::from_nanos(1)).await;
    assert_eq!(data_keys.seal(&tenant("acme"), b"", &row(1)).await.unwrap().data_key, *first.id());
    first.seal(b"", &row(2)).unwrap();
    advance(Duration::from_nanos(1)).await;
    let spent = first.seal(b"", &row(3)).unwrap_err();
    assert!(matches!(spent, DataKeysError::Spent(id) if id == *first.id()), "{spent}");
    let second = data_keys.seal(&tenant("acme"), b"", &row(4)).await.unwrap().data_key;
    assert_ne!(second, *first.id());
}

#[tokio::test(start_paused = true)]
async fn the_context_that_sealed_least_recently_makes_room() {
    let data_keys = service(&provider(), DataKeyLimits::new(DAY, 100).contexts(2));
    let seal = async |name| data_keys.seal(&tenant(name), b"", &row(1)).await.unwrap().data_key;
    let (a, b) = (seal("a").await, seal("b").await);
    assert_eq!(seal("a").await, a);
    seal("c").await;
    assert_eq!(seal("a").await, a);
    assert_ne!(seal("b").await, b);
    assert_eq!(data_keys.stats().current, 2);
}

#[tokio::test(start_paused = true)]
async fn the_header_is_in_the_store_before_anything_is_sealed_under_it() {
    let provider = provider();
    let table = Arc::new(Table::default());
    let data_keys = data_keys(&provider, Arc::clone(&table), DataKeyLimits::new(DAY, 100));
    table.fail(true);
    let refused = data_keys.seal(&tenant("acme"), b"", &row(1)).await.unwrap_err();
    assert!(matches!(refused, DataKeysError::Store { .. }), "{refused}");
    assert!(refused.to_string().contains("the table is locked"), "{refused}");
    assert_eq!((data_keys.stats().sealed, data_keys.stats().current), (0, 0));
    table.fail(false);
    let current = data_keys.current(&tenant("acme")).await.unwrap();
    assert_eq!(table.headers(), [current.header().to_bytes()]);
}

#[tokio::test(start_paused = true)]
async fn a_failure_to_make_a_data_key_is_told_and_not_kept() {
    let key = MemoryProvider::key("not-there");
    let keyring = Keyring::new().encrypt(provider(), key);
    let data_keys =
        DataKeys::new(Envelope::new(keyring), MemoryDataKeyStore::new(), DataKeyLimits::new(DAY, 1));
    for calls in 1..3 {
        let refused = data_keys.seal(&tenant("acme"), b"", &row(1)).await.unwrap_err();
        assert!(
            matches!(&refused, DataKeysError::Make(error) if matches!(**error, EncryptError::Provider(_)))
        );
        assert_eq!((data_keys.stats().key_calls, data_keys.stats().made), (calls, 0));
    }
    let withheld = envelope_sdk::EncryptionContext::new().withhold("tenant", "acme");
    let unbound =
        Arc::new(MemoryProvider::new().without_context_binding().with_key(&MemoryProvider::key("one")));
    let data_keys = service(&unbound, DataKeyLimits::new(DAY, 1));
    let refused = data_keys.seal(&withheld, b"", &row(1)).await.unwrap_err();
    let unbound = |error: &EncryptError| matches!(error, EncryptError::ContextNotBound { .. });
    assert!(matches!(&refused, DataKeysError::Make(error) if unbound(error)), "{refused}");
}

#[tokio::test(start_paused = true)]
async fn neither_keys_nor_contexts_are_in_what_is_printed() {
    let data_keys = service(&provider(), DataKeyLimits::new(DAY, 1));
    let current = data_keys.current(&tenant("a-tenant")).await.unwrap();
    let printed = format!("{data_keys:?} {current:?}");
    assert!(!printed.contains("a-tenant") && printed.contains(&current.id().to_string()), "{printed}");
}
