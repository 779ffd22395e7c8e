//! Records of another process, or of yesterday.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use envelope_layers::{DataKeyId, DataKeyLimits, DataKeys, DataKeysError};
use envelope_sdk::{DecryptError, EncryptionContext, Envelope, Keyring};
use envelope_testkit::MemoryProvider;
use futures_util::future::join_all;
use tokio::time::advance;

use super::support::{DAY, Table, data_keys, poll, provider, row, tenant};

fn limits() -> DataKeyLimits {
    DataKeyLimits::new(DAY, 100)
}

#[tokio::test(start_paused = true)]
async fn records_of_another_process_open_at_one_call_for_each_data_key() {
    let (provider, table) = (provider(), Arc::new(Table::default()));
    let writer = data_keys(&provider, Arc::clone(&table), DataKeyLimits::new(DAY, 10));
    let mut records = Vec::new();
    for number in 0..30 {
        records.push(writer.seal(&tenant("acme"), b"jane", &row(number)).await.unwrap());
    }
    let (reader, before) = (data_keys(&provider, Arc::clone(&table), limits()), provider.calls());
    for _ in 0..2 {
        for (number, record) in (0..).zip(&records) {
            let opened = reader.open(&tenant("acme"), &record.data_key, &record.bytes, &row(number)).await;
            assert_eq!(opened.unwrap(), b"jane");
        }
    }
    assert_eq!((provider.unwraps(), provider.calls() - before), (3, 3));
    let stats = reader.stats();
    assert_eq!((stats.opened, stats.key_calls, stats.opened_records), (3, 3, 60));
    assert_eq!((table.finds.load(Ordering::SeqCst), stats.held_open), (3, 3));
}

#[tokio::test(start_paused = true)]
async fn what_was_just_sealed_opens_without_a_call() {
    let (provider, table) = (provider(), Arc::new(Table::default()));
    let service = data_keys(&provider, Arc::clone(&table), DataKeyLimits::new(DAY, 1));
    for number in 0..3 {
        let record = service.seal(&tenant("acme"), b"jane", &row(number)).await.unwrap();
        service.open(&tenant("acme"), &record.data_key, &record.bytes, &row(number)).await.unwrap();
    }
    assert_eq!((provider.unwraps(), table.finds.load(Ordering::SeqCst)), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_data_key_is_held_open_for_so_long_and_no_longer() {
    let age = Duration::from_secs(60);
    let (provider, table) = (provider(), Arc::new(Table::default()));
    let writer = data_keys(&provider, Arc::clone(&table), limits());
    let record = writer.seal(&tenant("acme"), b"jane", &row(1)).await.unwrap();
    let reader = data_keys(&provider, Arc::clone(&table), limits().opened(10, age));
    let open = async || reader.open(&tenant("acme"), &record.data_key, &record.bytes, &row(1)).await.unwrap();
    open().await;
    advance(age - Duration::from_nanos(1)).await;
    open().await;
    assert_eq!(provider.unwraps(), 1);
    advance(Duration::from_nanos(1)).await;
    open().await;
    assert_eq!(provider.unwraps(), 2);
    advance(age).await;
    assert_eq!((reader.purge_expired(), reader.stats().held_open), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn the_data_key_that_opened_least_recently_makes_room() {
    let (provider, table) = (provider(), Arc::new(Table::default()));
    let writer = data_keys(&provider, Arc::clone(&table), DataKeyLimits::new(DAY, 1));
    let mut records = Vec::new();
    for _ in 0..3 {
        records.push(writer.seal(&tenant("acme"), b"jane", &row(1)).await.unwrap());
    }
    let reader = data_keys(&provider, Arc::clone(&table), limits().opened(2, DAY));
    for at in [0, 1, 0, 2, 0] {
        let (id, bytes) = (&records[at].data_key, &records[at].bytes);
        reader.open(&tenant("acme"), id, bytes, &row(1)).await.unwrap();
    }
    assert_eq!((provider.unwraps(), reader.stats().held_open), (3, 2));
    reader.open(&tenant("acme"), &records[1].data_key, &records[1].bytes, &row(1)).await.unwrap();
    assert_eq!(provider.unwraps(), 4);
}

#[tokio::test(start_paused = true)]
async fn all_who_open_records_of_one_data_key_at_one_time_cost_one_call() {
    let (provider, table) = (provider(), Arc::new(Table::default()));
    let writer = data_keys(&provider, Arc::clone(&table), limits());
    let record = writer.seal(&tenant("acme"), b"jane", &row(1)).await.unwrap();
    let reader = data_keys(&provider, Arc::clone(&table), limits());
    table.close();
    let tenant = tenant("acme");
    let row = row(1);
    let mut waiting: Vec<_> =
        (0..64).map(|_| Box::pin(reader.open(&tenant, &record.data_key, &record.bytes, &row))).collect();
    assert!(waiting.iter_mut().all(|waiting| poll(waiting).is_pending()));
    table.open();
    assert!(join_all(waiting).await.into_iter().all(|opened| opened.unwrap() == b"jane"));
    assert_eq!((provider.unwraps(), table.finds.load(Ordering::SeqCst)), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_data_key_that_is_not_there_not_itself_or_not_a_header_is_told_apart() {
    let (provider, table) = (provider(), Arc::new(Table::default()));
    let service = data_keys(&provider, Arc::clone(&table), DataKeyLimits::new(DAY, 1));
    let one = service.seal(&tenant("acme"), b"jane", &row(1)).await.unwrap();
    let two = service.seal(&tenant("acme"), b"jane", &row(1)).await.unwrap();
    service.clear();
    let open =
        async |id: &DataKeyId| service.open(&tenant("acme"), id, &one.bytes, &row(1)).await.unwrap_err();

    let nobody = DataKeyId::from([7; 16]);
    let error = open(&nobody).await;
    assert!(matches!(error, DataKeysError::Unknown(id) if id == nobody), "{error}");
    assert_eq!(nobody.to_string(), "07".repeat(16));

    let of_two = table.headers()[1].clone();
    table.write(one.data_key, &of_two);
    let error = open(&one.data_key).await;
    let (id, other) = (one.data_key, two.data_key);
    assert!(matches!(error, DataKeysError::WrongHeader { asked, found } if asked == id && found == other));

    table.write(one.data_key, b"not a header");
    let error = open(&one.data_key).await;
    let malformed = |error: &DecryptError| matches!(error, DecryptError::Format(_));
    assert!(matches!(&error, DataKeysError::Unlock { source, .. } if malformed(source)), "{error}");

    table.fail(true);
    let error = open(&one.data_key).await;
    assert!(matches!(error, DataKeysError::Store { id, .. } if id == one.data_key), "{error}");
    assert_eq!((provider.unwraps(), service.stats().held_open), (0, 0), "and none of it asked a key store");
}

#[tokio::test(start_paused = true)]
async fn records_open_after_the_header_of_their_data_key_was_rewrapped_in_place() {
    let [one, two] = ["one", "two"].map(MemoryProvider::key);
    let provider = Arc::new(MemoryProvider::new().with_key(&one).with_key(&two));
    let table = Arc::new(Table::default());
    let writer = data_keys(&provider, Arc::clone(&table), limits());
    let record = writer.seal(&tenant("acme"), b"jane", &row(1)).await.unwrap();
    let moving = Keyring::new().encrypt(provider.clone(), two.clone()).decrypt(provider.clone(), one);
    let empty = EncryptionContext::new();
    let rewrapped = Envelope::new(moving).rewrap(&table.headers()[0], &empty).await.unwrap();
    table.write(record.data_key, &rewrapped);
    let keyring = Keyring::new().decrypt(provider.clone(), two);
    let reader = DataKeys::new(Envelope::new(keyring), table, limits());
    let opened = reader.open(&tenant("acme"), &record.data_key, &record.bytes, &row(1)).await;
    assert_eq!(opened.unwrap(), b"jane");
}
