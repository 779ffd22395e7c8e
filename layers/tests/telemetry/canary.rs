//! No secret and no value of a context in anything that is told, at the level TRACE.

use std::sync::Arc;

use envelope_layers::{Metrics, Stack};
use envelope_testkit::secrets::{self, Canary};
use metrics_util::debugging::DebuggingRecorder;

use super::support::{Recorder, VALUE, ask_all, heard, listen, memory};

#[test]
fn no_dek_and_no_value_of_a_context_is_told() {
    secrets::demand_that_every_form_is_found();
    listen();
    let recorder = Arc::new(Recorder::default());
    let metrics = DebuggingRecorder::new();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let deks = {
        let metrics_of = Metrics::new().label_keys(true);
        let stack = Stack::new().observe(recorder.clone()).observe(Arc::new(metrics_of));
        metrics::with_local_recorder(&metrics, || runtime.block_on(ask_all(&*stack.over(memory()))))
    };
    let counted = format!("{:?}", metrics.snapshotter().snapshot().into_vec());
    for (place, control) in [(&counted, "envelope_kms_calls_total"), (&heard(), "envelope.kms")] {
        assert!(place.contains(control), "{control} was not heard");
    }
    let mut canaries = vec![Canary::new("value of the context", VALUE.as_bytes())];
    canaries.extend(deks.iter().map(|dek| Canary::new("DEK", dek.expose())));
    assert!(canaries.len() >= 4);
    for (place, told) in
        [("spans", heard()), ("metrics", counted), ("observers", recorder.lines().join("\n"))]
    {
        assert!(told.contains("memory:one"), "{place}: the key is told");
        secrets::demand_none(&canaries, place, told.as_bytes());
    }
}
