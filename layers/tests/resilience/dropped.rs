//! Futures that are dropped at every await leave nothing behind.

use std::{sync::Arc, time::Duration};

use envelope_layers::{Breaker, BreakerState, Concurrency, Deadline, Limit, Retry, RetryBudget};
use envelope_sdk::{KeyProvider, ProviderErrorKind::Unavailable};
use tokio::time::advance;

use super::support::{Script, Step, ask, context, dropped_after, fail, key, wrapped};

/// More polls than any call here takes.
const MOST: usize = 200;

/// Does `what`, for so many polls. Whether it ended.
async fn for_polls(polls: usize, what: &str, provider: &impl KeyProvider, script: &Arc<Script>) -> bool {
    let (one, context) = (key("one"), context());
    let first = wrapped(script, "one").await;
    let dek = envelope_sdk::Dek::from_slice(&[7; 32]).unwrap();
    let wraps = [(&first, &context), (&first, &context)];
    match what {
        "unwrap" => dropped_after(polls, provider.unwrap_dek(&first, &context)).await.is_some(),
        "unwrap several" => dropped_after(polls, provider.unwrap_deks(&wraps)).await.is_some(),
        "wrap" => dropped_after(polls, provider.wrap_dek(&one, &dek, &context)).await.is_some(),
        "generate" => dropped_after(polls, provider.generate_dek(&one, &context)).await.is_some(),
        "rewrap" => dropped_after(polls, provider.rewrap_dek(&first, &one, &context)).await.is_some(),
        _ => dropped_after(polls, provider.resolve(&one)).await.is_some(),
    }
}

const ALL: [&str; 6] = ["unwrap", "unwrap several", "wrap", "generate", "rewrap", "resolve"];

#[tokio::test(start_paused = true)]
async fn a_dropped_retry_leaves_no_call_and_gives_back_what_it_did_not_use() {
    for what in ALL {
        let mut ended = false;
        for polls in 0..MOST {
            let script = Script::that_yields(2, [fail(Unavailable), fail(Unavailable)]);
            let budget = RetryBudget::new(0, 4);
            let retry = Retry::new(script.clone(), &budget);
            ended = for_polls(polls, what, &retry, &script).await;
            assert_eq!(script.under_way(), 0, "{what}, {polls} polls");
            // Whatever is asked for behind the first call is a retry, and no other was taken.
            let made = script.calls().iter().skip(1).sum::<usize>() as u64;
            assert_eq!(budget.retries(), made, "{what}, {polls} polls");
            let left = Retry::new(Script::new(vec![fail(Unavailable); 4]), &budget).attempts(10);
            assert_eq!(ask(&left).await.is_ok(), made == 0, "{what}, {polls} polls");
            assert_eq!(budget.retries(), 4, "{what}, {polls} polls");
            if ended {
                break;
            }
        }
        assert!(ended, "{what} takes more than {MOST} polls: nothing was shown for its end");
    }
}

#[tokio::test(start_paused = true)]
async fn a_dropped_call_gives_its_place_and_its_permit_back() {
    for what in ALL {
        let mut ended = false;
        for polls in 0..MOST {
            let script = Script::that_yields(3, []);
            let limit = Limit::new(script.clone())
                .requests_per_second(5)
                .requests_per_second_of_a_key(2)
                .concurrency(Concurrency::fixed(1));
            // So that it has to wait.
            ask(&limit).await.unwrap();
            ended = for_polls(polls, what, &limit, &script).await;
            let left = (script.under_way(), limit.in_flight(), limit.queued());
            assert_eq!(left, (0, Some(0), 0), "{what}, {polls} polls");
            ask(&limit).await.unwrap();
            if ended {
                break;
            }
        }
        assert!(ended, "{what} takes more than {MOST} polls: nothing was shown for its end");
    }
}

#[tokio::test(start_paused = true)]
async fn a_dropped_probe_leaves_its_place_to_the_next_call() {
    for what in ALL {
        let mut ended = false;
        for polls in 0..MOST {
            let script = Script::that_yields(3, [fail(Unavailable)]);
            let breaker = Breaker::new(script.clone()).failures(1);
            ask(&breaker).await.unwrap_err();
            advance(Duration::from_secs(10)).await;
            ended = for_polls(polls, what, &breaker, &script).await;
            assert_eq!(script.under_way(), 0);
            // As long as it had waited, at most.
            advance(Duration::from_secs(5)).await;
            // What a key means that is no alias is no answer of the key store.
            let is_answered = ended && what != "resolve";
            let state = if is_answered { BreakerState::Closed } else { BreakerState::HalfOpen };
            assert_eq!(breaker.state(&key("one")), state, "{what}, {polls} polls");
            ask(&breaker).await.unwrap();
            if ended {
                break;
            }
        }
        assert!(ended, "{what} takes more than {MOST} polls: nothing was shown for its end");
    }
}

#[tokio::test(start_paused = true)]
async fn a_dropped_call_is_no_failure() {
    let script = Script::new([]);
    script.always(Step::Hang);
    let breaker = Breaker::new(script.clone()).failures(1);
    for _ in 0..10 {
        assert!(dropped_after(3, ask(&breaker)).await.is_none());
    }
    assert_eq!((breaker.state(&key("one")), script.under_way()), (BreakerState::Closed, 0));
}

/// In the order that the layers are made for.
#[tokio::test(start_paused = true)]
async fn all_layers_together_leave_nothing_behind() {
    for what in ALL {
        let mut ended = false;
        for polls in 0..MOST {
            let script = Script::that_yields(2, [fail(Unavailable)]);
            let limit = Arc::new(
                Limit::new(Deadline::new(script.clone()))
                    .requests_per_second(100)
                    .concurrency(Concurrency::fixed(1)),
            );
            let budget = RetryBudget::default();
            let stack = Retry::new(Breaker::new(limit.clone()), &budget);
            ended = for_polls(polls, what, &stack, &script).await;
            let left = (script.under_way(), limit.in_flight(), limit.queued());
            assert_eq!(left, (0, Some(0), 0), "{what}, {polls} polls");
            ask(&stack).await.unwrap();
            if ended {
                break;
            }
        }
        assert!(ended, "{what} takes more than {MOST} polls: nothing was shown for its end");
    }
}
