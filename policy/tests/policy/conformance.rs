//! The suite of key providers passes over a guard that allows all.

use std::sync::Arc;

use envelope_policy::Guarded;
use envelope_sdk::KeyUri;
use envelope_testkit::{
    MemoryProvider,
    conformance::{self, Backend, Subject},
};

use super::guard;

struct Memory(Arc<Guarded<MemoryProvider>>);

impl Backend for Memory {
    fn subject(&self) -> Subject {
        Subject::new(self.0.clone(), MemoryProvider::key("one"))
    }

    fn other_subject(&self) -> Subject {
        Subject::new(self.0.clone(), MemoryProvider::key("two"))
    }

    fn unknown_key(&self) -> Option<KeyUri> {
        Some(MemoryProvider::key("three"))
    }
}

#[test]
fn a_guarded_provider_conforms() {
    let [one, two] = ["one", "two"].map(MemoryProvider::key);
    let below = MemoryProvider::new().with_key(&one).with_key(&two).that_generates_deks().that_rewraps();
    let guard = guard("library:test", "[[rule]]\nname = 'all'\neffect = 'allow'\nlimit = '1000000/s'");
    conformance::run(&Memory(Arc::new(Guarded::new(below, guard)))).assert_conforms();
}
