//! Futures that are dropped at every await leave nothing behind.

use std::{sync::Arc, task::Poll};

use envelope_layers::{Cache, CacheLimits, CacheStore};
use envelope_sdk::KeyProvider;

use super::{
    HOUR,
    support::{Spy, context, dropped_after, key, opens, poll, shared, wrapped},
};

/// More polls than any call here takes.
const MOST: usize = 20;

#[tokio::test(start_paused = true)]
async fn a_call_dropped_after_any_number_of_polls_leaves_nothing_behind() {
    for what in ["unwrap", "unwrap several", "wrap", "generate", "rewrap", "resolve"] {
        let mut ended = false;
        for polls in 0..MOST {
            let spy = shared(Spy::that_yields(3));
            let limits = CacheLimits::new(HOUR, 10).keep_generated(true);
            let cache = Cache::new(Arc::clone(&spy), &CacheStore::new(limits));
            let (context, one) = (context("acme"), key("one"));
            let (first, dek) = wrapped(&cache, "one", &context).await;
            let (second, _) = wrapped(&cache, "two", &context).await;
            let wraps = [(&first, &context), (&second, &context)];
            ended = match what {
                "unwrap" => dropped_after(polls, cache.unwrap_dek(&first, &context)).await.is_some(),
                "unwrap several" => dropped_after(polls, cache.unwrap_deks(&wraps)).await.is_some(),
                "wrap" => dropped_after(polls, cache.wrap_dek(&one, &dek, &context)).await.is_some(),
                "generate" => dropped_after(polls, cache.generate_dek(&one, &context)).await.is_some(),
                "rewrap" => dropped_after(polls, cache.rewrap_dek(&first, &one, &context)).await.is_some(),
                _ => dropped_after(polls, cache.resolve(&one)).await.is_some(),
            };
            let stats = cache.store().stats();
            assert_eq!((spy.under_way(), stats.in_flight), (0, 0), "{what}, {polls} polls");
            let keeps = match what {
                "unwrap" | "generate" if ended => 1,
                "unwrap several" if ended => 2,
                _ => 0,
            };
            assert_eq!(stats.kept, keeps, "{what}, {polls} polls");
            opens(&cache, &first, &context, &dek).await;
        }
        assert!(ended, "{what} takes more than {MOST} polls: nothing was shown for its end");
    }
}

#[tokio::test(start_paused = true)]
async fn one_who_waits_goes_on_wherever_the_one_who_began_was_dropped() {
    let mut ended = false;
    for polls in 1..MOST {
        let spy = shared(Spy::that_yields(5));
        let cache = super::cache(&spy);
        let context = context("acme");
        let (wrapped, dek) = wrapped(&cache, "one", &context).await;
        let mut leader = cache.unwrap_dek(&wrapped, &context);
        ended = (0..polls).any(|_| poll(&mut leader).is_ready());
        let mut waiter = cache.unwrap_dek(&wrapped, &context);
        let waiting = poll(&mut waiter);
        drop(leader);
        let opened = match waiting {
            Poll::Ready(opened) => opened,
            Poll::Pending => waiter.await,
        };
        assert_eq!(opened.unwrap().expose(), dek.expose(), "{polls} polls");
        assert_eq!(spy.unwraps(), [1], "{polls} polls: no call is lost");
        assert_eq!((spy.under_way(), cache.store().stats().in_flight), (0, 0), "{polls} polls");
        if ended {
            break;
        }
    }
    assert!(ended, "more than {MOST} polls: nothing was shown for the end");
}
