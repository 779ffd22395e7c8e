//! The suite of key providers passes over each layer and over all of them.

use std::sync::Arc;

use envelope_layers::{Breaker, Concurrency, Deadline, Limit, Retry, RetryBudget};
use envelope_sdk::{KeyProvider, KeyUri};
use envelope_testkit::{
    MemoryProvider,
    conformance::{self, Backend, Subject, Task},
};

struct Layered(Arc<dyn KeyProvider>, tokio::runtime::Runtime);

impl Backend for Layered {
    fn subject(&self) -> Subject {
        Subject::new(self.0.clone(), MemoryProvider::key("one"))
    }

    fn other_subject(&self) -> Subject {
        Subject::new(self.0.clone(), MemoryProvider::key("two"))
    }

    fn unknown_key(&self) -> Option<KeyUri> {
        Some(MemoryProvider::key("three"))
    }

    fn block_on(&self, future: Task<'_>) {
        self.1.block_on(future);
    }
}

fn conforms(layered: impl KeyProvider + 'static) {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_time().build().unwrap();
    conformance::run(&Layered(Arc::new(layered), runtime)).assert_conforms();
}

fn memory() -> MemoryProvider {
    let [one, two] = ["one", "two"].map(MemoryProvider::key);
    MemoryProvider::new().with_key(&one).with_key(&two).that_generates_deks().that_rewraps()
}

#[test]
fn retry_conforms() {
    conforms(Retry::new(memory(), &RetryBudget::default()));
}

#[test]
fn a_limit_conforms() {
    let limit = || {
        Limit::new(memory())
            .requests_per_second(1_000_000)
            .requests_per_second_of_a_key(1_000_000)
            .concurrency(Concurrency::default())
    };
    conforms(limit());
    conforms(limit().whole_batches());
}

#[test]
fn a_breaker_conforms() {
    conforms(Breaker::new(memory()));
    conforms(Breaker::new(memory()).by(KeyUri::as_str));
}

#[test]
fn a_deadline_conforms() {
    conforms(Deadline::new(memory()));
}

#[test]
fn all_of_them_conform() {
    let limit = Limit::new(Deadline::new(memory())).requests_per_second(1_000_000);
    conforms(Retry::new(Breaker::new(limit), &RetryBudget::default()));
}
