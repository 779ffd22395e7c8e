//! What ends a data key before its time.

use std::sync::Arc;

use envelope_layers::{DataKeyLimits, DataKeysError, KeyStateListener};
use envelope_sdk::{KeyState, KeyUri};
use envelope_testkit::MemoryProvider;

use super::support::{DAY, Table, data_keys, poll, provider, row, service, tenant};

#[tokio::test(start_paused = true)]
async fn invalidating_a_key_ends_its_data_keys_wherever_they_are_in_use() {
    let provider = provider();
    let data_keys = service(&provider, DataKeyLimits::new(DAY, 100));
    let current = data_keys.current(&tenant("acme")).await.unwrap();
    let record = current.seal(b"jane", &row(1)).unwrap();
    data_keys.invalidate(&MemoryProvider::key("two"));
    data_keys.invalidate(&KeyUri::parse("local:a-short-name").unwrap());
    current.seal(b"jane", &row(1)).unwrap();
    data_keys.invalidate(&MemoryProvider::key("one"));
    let ended = current.seal(b"jane", &row(1)).unwrap_err();
    assert!(matches!(ended, DataKeysError::Spent(id) if id == *current.id()), "{ended}");
    assert_eq!((data_keys.stats().current, data_keys.stats().held_open), (0, 0));
    data_keys.open(&tenant("acme"), &record.data_key, &record.bytes, &row(1)).await.unwrap();
    assert_eq!(provider.unwraps(), 1, "the key store was asked again");
    assert_ne!(data_keys.seal(&tenant("acme"), b"", &row(1)).await.unwrap().data_key, *current.id());
}

#[tokio::test(start_paused = true)]
async fn a_data_key_that_was_being_made_then_seals_nothing() {
    let (provider, table) = (provider(), Arc::new(Table::default()));
    let data_keys = data_keys(&provider, Arc::clone(&table), DataKeyLimits::new(DAY, 100));
    let (tenant, row) = (tenant("acme"), row(1));
    for ends in ["invalidate", "deactivated"] {
        data_keys.clear();
        table.close();
        let mut waiting = Box::pin(data_keys.current(&tenant));
        let mut sealing = Box::pin(data_keys.seal(&tenant, b"jane", &row));
        assert!(poll(&mut waiting).is_pending() && poll(&mut sealing).is_pending());
        match ends {
            "invalidate" => data_keys.invalidate(&MemoryProvider::key("one")),
            _ => data_keys.report(&MemoryProvider::key("one"), KeyState::Deactivated),
        }
        table.open();
        let made = waiting.await.unwrap();
        assert!(matches!(made.seal(b"jane", &row), Err(DataKeysError::Spent(_))), "{ends}");
        assert_ne!(sealing.await.unwrap().data_key, *made.id(), "{ends}");
    }
}

#[tokio::test(start_paused = true)]
async fn reports_of_states_end_sealing_and_where_the_state_demands_it_opening() {
    for state in KeyState::ALL {
        let provider = provider();
        let data_keys = service(&provider, DataKeyLimits::new(DAY, 100));
        let current = data_keys.current(&tenant("acme")).await.unwrap();
        let record = current.seal(b"jane", &row(1)).unwrap();
        data_keys.report(&MemoryProvider::key("one"), state);
        assert_eq!(current.seal(b"", &row(2)).is_ok(), state == KeyState::Active, "{state}");
        data_keys.open(&tenant("acme"), &record.data_key, &record.bytes, &row(1)).await.unwrap();
        let opens = matches!(state, KeyState::Active | KeyState::Deactivated);
        assert_eq!(provider.unwraps(), usize::from(!opens), "{state}");
    }
}

/// Also those that made room for others: whoever holds one is not asked before it seals.
#[tokio::test(start_paused = true)]
async fn a_data_key_that_made_room_for_others_is_ended_too() {
    for state in [KeyState::Deactivated, KeyState::Suspended, KeyState::Compromised, KeyState::Destroyed] {
        for opened in [1, 100] {
            let provider = provider();
            let limits = DataKeyLimits::new(DAY, 100).contexts(1).opened(opened, DAY);
            let data_keys = service(&provider, limits);
            let acme = data_keys.current(&tenant("acme")).await.unwrap();
            data_keys.current(&tenant("initech")).await.unwrap();
            acme.seal(b"jane", &row(1)).unwrap();
            data_keys.report(&MemoryProvider::key("one"), state);
            let ended = acme.seal(b"jane", &row(1)).unwrap_err();
            assert!(matches!(ended, DataKeysError::Spent(_)), "{state}, {opened} held open: {ended}");
        }
    }
}

/// One record was too long for what was left of it, and smaller ones are not.
#[tokio::test(start_paused = true)]
async fn a_data_key_that_another_took_the_place_of_is_ended_too() {
    let provider = provider();
    let data_keys = service(&provider, DataKeyLimits::new(DAY, 100).bytes(10));
    let first = data_keys.current(&tenant("acme")).await.unwrap();
    first.seal(b"12345", &row(1)).unwrap();
    let second = data_keys.seal(&tenant("acme"), b"123456789", &row(2)).await.unwrap();
    assert_ne!(second.data_key, *first.id());
    first.seal(b"1", &row(3)).unwrap();
    data_keys.report(&MemoryProvider::key("one"), KeyState::Deactivated);
    assert!(matches!(first.seal(b"1", &row(3)), Err(DataKeysError::Spent(_))));
}
