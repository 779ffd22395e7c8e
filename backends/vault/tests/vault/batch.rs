//! Many unwraps in few calls.

use envelope_sdk::ProviderErrorKind::{AccessDenied, NotFound, State, Unauthentic, Unsupported};
use envelope_testkit::servers::Recorder;

use super::*;

#[test]
fn a_thousand_unwraps_take_at_most_ten_calls() {
    let Some(server) = Server::shared() else { return };
    let vault = server.vault();
    for key in [server.key(), server.derived_key()] {
        let wraps = wraps(&vault, &key, 1000);
        let recorder = Recorder::before(server.url.strip_prefix("http://").unwrap()).unwrap();
        let recorded = at(&format!("http://{}", recorder.address())).build();
        let asked: Vec<_> = wraps.iter().map(|(wrapped, context, _)| (wrapped, context)).collect();
        let opened = block_on(recorded.unwrap_deks(&asked));
        for (result, (.., dek)) in opened.iter().zip(&wraps) {
            assert_eq!(result.as_ref().unwrap().expose(), dek.expose());
        }
        let calls = recorder.take_header("x-vault-request").len();
        assert!((1..=10).contains(&calls), "{calls}");
    }
}

/// Of several keys and manners, and some that do not open, in any order.
#[test]
fn each_of_a_batch_has_its_own_result_in_its_place() {
    let Some(server) = Server::shared() else { return };
    let vault = server.vault();
    let plain = server.builder().context_binding(envelope_vault::Binding::Envelope).build();
    let (one, two) = (server.key(), server.derived_key());
    let path = |key: &KeyUri| format!("transit/keys/{}", server::name(key));
    let old = wrap(&vault, &one).unwrap();
    server.does("POST", &format!("{}/rotate", path(&one)), &json!({}));
    server.does("POST", &format!("{}/config", path(&one)), &json!({"min_decryption_version": 2}));
    let [a, b, c] = [wrap(&vault, &one), wrap(&vault, &two), wrap(&plain, &one)].map(Result::unwrap);
    let changed = |wrapped: &WrappedDek, key: &KeyUri, version: &str, algorithm: &str, text: &str| {
        let _ = wrapped;
        WrappedDek::new(key.clone(), version, algorithm, text.as_bytes().to_vec()).unwrap()
    };
    let text = String::from_utf8(a.ciphertext().to_vec()).unwrap();
    let turned = flip(&text);
    let wraps = [
        (a.clone(), context(), None),
        (b.clone(), context(), None),
        (a.clone(), other_context(), Some(Unauthentic)),
        (b.clone(), other_context(), Some(Unauthentic)),
        (c.clone(), other_context(), None),
        (old, context(), Some(State)),
        (changed(&a, &one, "2", "VAULT-TRANSIT-AD", &turned), context(), Some(Unauthentic)),
        (changed(&a, &one, "1", "VAULT-TRANSIT-AD", &text), context(), Some(Unauthentic)),
        (
            changed(&a, &one, "9", "VAULT-TRANSIT-AD", &text.replace(":v2:", ":v9:")),
            context(),
            Some(NotFound),
        ),
        (changed(&a, &one, "2", "AWS-KMS", &text), context(), Some(Unsupported)),
        (changed(&a, &key("nobody-made-it"), "2", "VAULT-TRANSIT-AD", &text), context(), Some(NotFound)),
        (a, context(), None),
    ];
    let asked: Vec<_> = wraps.iter().map(|(wrapped, context, _)| (wrapped, context)).collect();
    let opened = block_on(vault.unwrap_deks(&asked));
    assert_eq!(opened.len(), wraps.len());
    for (place, (result, (wrapped, context, expected))) in opened.iter().zip(&wraps).enumerate() {
        let alone = block_on(vault.unwrap_dek(wrapped, context));
        assert_eq!(result.as_ref().err().map(ProviderError::kind), *expected, "{place}");
        assert_eq!(alone.as_ref().err().map(ProviderError::kind), *expected, "{place}");
        match (result, alone) {
            (Ok(one), Ok(two)) => assert_eq!(one.expose(), two.expose()),
            (Err(one), Err(two)) => {
                assert_eq!((one.key(), one.is_retryable()), (two.key(), two.is_retryable()), "{place}");
            }
            _ => panic!("{place}"),
        }
    }
}

#[test]
fn what_is_refused_as_a_whole_is_told_of_each() {
    let Some(server) = Server::shared() else { return };
    let (vault, key) = (server.vault(), server.key());
    let wraps = wraps(&vault, &key, 3);
    let nobody = server.builder().token("nobody").build();
    let asked: Vec<_> = wraps.iter().map(|(wrapped, context, _)| (wrapped, context)).collect();
    let opened = block_on(nobody.unwrap_deks(&asked));
    assert_eq!(opened.len(), 3);
    for error in opened.into_iter().map(Result::unwrap_err) {
        assert_eq!((error.kind(), error.key()), (AccessDenied, Some(&key)), "{error}");
    }
    assert!(block_on(vault.unwrap_deks(&[])).is_empty());
}

fn wraps(vault: &HashiVault, key: &KeyUri, count: usize) -> Vec<(WrappedDek, FullContext, Dek)> {
    block_on(async {
        let wraps = (0..count).map(|number| async move {
            let context = EncryptionContext::new().with("record", number.to_string()).full().unwrap();
            let dek = fresh_dek();
            (vault.wrap_dek(key, &dek, &context).await.unwrap(), context, dek)
        });
        futures_util::future::join_all(wraps).await
    })
}

/// Another character in the middle of the base64.
fn flip(text: &str) -> String {
    let at = text.len() / 2;
    let other = if &text[at..=at] == "A" { "B" } else { "A" };
    format!("{}{other}{}", &text[..at], &text[at + 1..])
}
