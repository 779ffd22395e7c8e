//! Futures that are dropped at every await, and others that wait for the same.

use std::{sync::Arc, task::Poll};

use envelope_layers::DataKeyLimits;

use super::support::{DAY, Table, data_keys, dropped_after, poll, provider, row, tenant};

/// More polls than any call here takes.
const MOST: usize = 12;

#[tokio::test(start_paused = true)]
async fn a_call_dropped_after_any_number_of_polls_leaves_no_record_nor_data_key_half_made() {
    let mut ended = [false; 2];
    for polls in 0..MOST {
        let (provider, table) = (provider(), Arc::new(Table::that_yields(3)));
        let limits = DataKeyLimits::new(DAY, 1);
        let service = data_keys(&provider, Arc::clone(&table), limits);
        let (acme, row) = (tenant("acme"), row(1));
        let sealed = dropped_after(polls, service.seal(&acme, b"jane", &row)).await;
        ended[0] = sealed.is_some();
        let stats = service.stats();
        assert_eq!(
            (stats.sealed, stats.current),
            (u64::from(ended[0]), usize::from(ended[0])),
            "{polls} polls"
        );
        assert_eq!(table.headers().len(), usize::from(ended[0]), "{polls} polls");

        let record = service.seal(&acme, b"jane", &row).await.unwrap();
        let reader = data_keys(&provider, Arc::clone(&table), limits);
        let opened = dropped_after(polls, reader.open(&acme, &record.data_key, &record.bytes, &row)).await;
        ended[1] = opened.is_some();
        assert_eq!(reader.stats().held_open, usize::from(ended[1]), "{polls} polls");
        assert_eq!(reader.open(&acme, &record.data_key, &record.bytes, &row).await.unwrap(), b"jane");
    }
    assert_eq!(ended, [true; 2], "more than {MOST} polls: nothing was shown for the end");
}

#[tokio::test(start_paused = true)]
async fn one_who_waits_goes_on_wherever_the_one_who_began_was_dropped() {
    let mut ended = false;
    for polls in 1..MOST {
        let (provider, table) = (provider(), Arc::new(Table::that_yields(4)));
        let service = data_keys(&provider, Arc::clone(&table), DataKeyLimits::new(DAY, 100));
        let (acme, row) = (tenant("acme"), row(1));
        let mut leader = Box::pin(service.seal(&acme, b"jane", &row));
        let led = (0..polls).any(|_| poll(&mut leader).is_ready());
        let mut waiter = Box::pin(service.seal(&acme, b"jane", &row));
        let waiting = poll(&mut waiter);
        drop(leader);
        match waiting {
            Poll::Ready(sealed) => sealed.unwrap(),
            Poll::Pending => waiter.await.unwrap(),
        };
        assert_eq!((provider.wraps(), service.stats().made), (1, 1), "{polls} polls");
        ended = led;
        if led {
            break;
        }
    }
    assert!(ended, "more than {MOST} polls: nothing was shown for the end");
}
