//! What hears, and what is asked.

use std::{
    cell::RefCell,
    fmt::{Debug, Write as _},
    sync::{Arc, Mutex, Once},
    time::Duration,
};

use envelope_layers::{Call, Observer, Outcome};
use envelope_sdk::{
    Dek, EncryptionContext, FullContext, KeyProvider, KeyUri, WrappedDek, crypto::DefaultEngine,
};
use envelope_testkit::MemoryProvider;

pub(crate) const VALUE: &str = "value-of-the-context-4711";

/// Writes down what an observer is told.
#[derive(Default)]
pub(crate) struct Recorder(Mutex<Vec<String>>);

impl Recorder {
    pub(crate) fn lines(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

impl Observer for Recorder {
    fn started(&self, call: &Call<'_>) {
        self.0.lock().unwrap().push(format!("start {}", told(call)));
    }

    fn ended(&self, call: &Call<'_>, outcomes: &[Outcome<'_>], took: Duration) {
        let outcomes: Vec<_> = outcomes
            .iter()
            .map(|outcome| match outcome {
                Outcome::Done { key: Some(key), version: Some(version) } => format!("{key}@{version}"),
                Outcome::Done { key: Some(key), .. } => key.to_string(),
                other => other.name().to_owned(),
            })
            .collect();
        let line = format!("end {} {} {took:?}", told(call), outcomes.join(" "));
        self.0.lock().unwrap().push(line);
    }
}

fn told(call: &Call<'_>) -> String {
    let mut line = format!("{:?} {}", call.stage, call.operation.name());
    if call.attempt > 1 {
        write!(line, " #{}", call.attempt).unwrap();
    }
    for subject in call.subjects {
        write!(line, " {}", subject.key.map_or("-", KeyUri::as_str)).unwrap();
        for (name, value) in subject.context() {
            write!(line, " {name}={}", value.unwrap_or("?")).unwrap();
        }
    }
    line
}

/// From now on all that this thread traces is heard, at every level. One subscriber for all tests: `tracing` keeps
/// the answer whether anybody listens for all threads together.
pub(crate) fn listen() {
    static LISTENING: Once = Once::new();
    LISTENING.call_once(|| tracing::subscriber::set_global_default(Listener).unwrap());
    HEARD.take();
}

/// What was traced.
pub(crate) fn heard() -> String {
    HEARD.with_borrow(String::clone)
}

fn hear(text: &str) {
    HEARD.with_borrow_mut(|heard| heard.push_str(text));
}

thread_local! {
    static HEARD: RefCell<String> = RefCell::default();
}

struct Listener;

impl tracing::Subscriber for Listener {
    fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, span: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        hear(&format!("span {}\n", span.metadata().name()));
        span.record(&mut Fields);
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::span::Id, values: &tracing::span::Record<'_>) {
        values.record(&mut Fields);
    }

    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        event.record(&mut Fields);
    }

    fn enter(&self, _: &tracing::span::Id) {}

    fn exit(&self, _: &tracing::span::Id) {}
}

struct Fields;

impl tracing::field::Visit for Fields {
    fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn Debug) {
        hear(&format!("{field}={value:?}\n"));
    }
}

pub(crate) fn key() -> KeyUri {
    MemoryProvider::key("one")
}

pub(crate) fn memory() -> Arc<MemoryProvider> {
    Arc::new(MemoryProvider::new().that_rewraps().that_generates_deks().with_key(&key()))
}

pub(crate) fn context() -> FullContext {
    EncryptionContext::new().with("tenant", "42").withhold("patient", VALUE).full().unwrap()
}

pub(crate) fn dek() -> Dek {
    Dek::generate::<DefaultEngine>().unwrap()
}

/// Asks for everything once; returns the DEKs that came out.
pub(crate) async fn ask_all(provider: &dyn KeyProvider) -> Vec<Dek> {
    let (key, context, dek) = (key(), context(), dek());
    provider.resolve(&key).await.unwrap();
    let wrapped: WrappedDek = provider.wrap_dek(&key, &dek, &context).await.unwrap();
    let mut deks = vec![dek, provider.unwrap_dek(&wrapped, &context).await.unwrap()];
    let many = provider.unwrap_deks(&[(&wrapped, &context), (&wrapped, &FullContext::empty())]).await;
    deks.extend(many.into_iter().filter_map(Result::ok));
    let (generated, _) = provider.generate_dek(&key, &context).await.unwrap();
    deks.push(generated);
    provider.rewrap_dek(&wrapped, &key, &context).await.unwrap().unwrap();
    deks
}
