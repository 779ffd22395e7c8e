//! Limits under 64 threads.

use std::{
    collections::HashMap,
    sync::{Barrier, Mutex},
    thread,
};

use envelope_layers::DataKeyLimits;
use futures_executor::block_on;

use super::support::{DAY, provider, row, service, tenant};

const THREADS: u64 = 64;
const EACH: u64 = 100;

#[test]
fn no_data_key_seals_more_than_its_limits_under_sixty_four_threads() {
    for limits in [DataKeyLimits::new(DAY, 37), DataKeyLimits::new(DAY, u64::MAX).bytes(370)] {
        let provider = provider();
        let service = service(&provider, limits);
        let sealed: Mutex<HashMap<_, u64>> = Mutex::default();
        let start = Barrier::new(usize::try_from(THREADS).unwrap());
        thread::scope(|scope| {
            for thread in 0..THREADS {
                let (service, sealed, start) = (&service, &sealed, &start);
                scope.spawn(move || {
                    start.wait();
                    for number in 0..EACH {
                        let row = row(thread * EACH + number);
                        let record = block_on(service.seal(&tenant("acme"), &[0; 10], &row)).unwrap();
                        *sealed.lock().unwrap().entry(record.data_key).or_default() += 1;
                    }
                });
            }
        });
        let sealed = sealed.into_inner().unwrap();
        assert!(sealed.values().all(|records| *records <= 37), "{sealed:?}");
        assert_eq!(sealed.values().sum::<u64>(), THREADS * EACH);
        let made = service.stats().made;
        assert_eq!(made, (THREADS * EACH).div_ceil(37), "each is used up before the next is made");
        assert_eq!((sealed.len() as u64, provider.wraps() as u64), (made, made));
    }
}
