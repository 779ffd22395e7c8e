//! What stands in a span.

use envelope_layers::{Observe, Stack, about_envelope};
use envelope_sdk::{KeyProvider, ProviderErrorKind};
use envelope_testkit::{Fault, FaultProvider};

use super::support::{context, dek, heard, key, listen, memory};

#[tokio::test]
async fn a_span_names_operation_provider_key_version_and_attempt() {
    listen();
    let provider = Stack::new().spans().show_value("tenant").over(memory());
    let wrapped = provider.wrap_dek(&key(), &dek(), &context()).await.unwrap();
    about_envelope([0xab; 16], provider.unwrap_dek(&wrapped, &context())).await.unwrap();
    let heard = heard();
    let calls: Vec<_> = heard.split("span ").filter(|span| span.contains("\"unwrap_dek memory\"")).collect();
    let [call, attempt] = calls.as_slice() else { panic!("{heard}") };
    assert!(call.starts_with("envelope.call\n") && attempt.starts_with("envelope.kms\n"), "{heard}");
    for span in [call, attempt] {
        for field in [
            "envelope.operation=\"unwrap_dek\"",
            "envelope.provider=\"memory\"",
            "envelope.key.uri=\"memory:one\"",
            "envelope.key.version=\"1\"",
            "envelope.wraps=1",
            "envelope.id=\"abababababababababababababababab\"",
            "envelope.context=\"patient,tenant=42\"",
        ] {
            assert!(span.contains(field), "{field}: {span}");
        }
        assert!(!span.contains("error.type") && !span.contains("otel.status_code"), "{span}");
    }
    let id =
        |span: &str| span.lines().find_map(|line| line.strip_prefix("envelope.call.id=").map(str::to_owned));
    assert!(id(call).is_some() && id(call) == id(attempt), "the attempt is one of the call: {heard}");
    assert!(call.contains("otel.kind=\"internal\"") && attempt.contains("otel.kind=\"client\""));
    assert!(attempt.contains("envelope.attempt=1"));
}

#[tokio::test]
async fn a_span_of_what_failed_has_the_kind_of_the_error() {
    listen();
    let faults = FaultProvider::new(memory());
    faults.fault_wraps(Fault::Fail(ProviderErrorKind::AccessDenied));
    let observe = Observe::attempts(faults);
    let error = observe.wrap_dek(&key(), &dek(), &context()).await.unwrap_err();
    assert_eq!(error.kind(), ProviderErrorKind::AccessDenied);
    let heard = heard();
    assert!(heard.contains("error.type=\"access_denied\""), "{heard}");
    assert!(heard.contains("otel.status_code=\"ERROR\""), "{heard}");
}

#[tokio::test]
async fn the_innermost_envelope_is_named_wherever_its_future_was_made() {
    listen();
    let provider = Stack::new().spans().over(memory());
    let wrapped = provider.wrap_dek(&key(), &dek(), &context()).await.unwrap();
    let context = context();
    // Made out here, where nothing is around it, and run in there.
    let inner = about_envelope([0xcd; 16], provider.unwrap_dek(&wrapped, &context));
    about_envelope([0xef; 16], async { inner.await.unwrap() }).await;
    let made_inside =
        async { about_envelope([0x12; 16], provider.unwrap_dek(&wrapped, &context)).await.unwrap() };
    about_envelope([0x34; 16], made_inside).await;
    let heard = heard();
    for (id, is_there) in [("cd", true), ("ef", false), ("12", true), ("34", false)] {
        assert_eq!(heard.contains(&id.repeat(16)), is_there, "{id}: {heard}");
    }
}
