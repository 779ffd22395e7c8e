//! A server that is sealed and unsealed while it is used.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize},
};

use envelope_sdk::ProviderErrorKind::Unavailable;

use super::*;

/// 1,000 wraps, of which some come while the server is sealed: these are told so, and all others succeed, without the
/// provider being made anew.
#[test]
fn a_server_that_is_sealed_in_the_middle_of_a_thousand_wraps_is_told_and_goes_on() {
    let Some(server) = Server::own(&[]) else { return };
    let key = server.key();
    let vault = Arc::new(server.builder().attempts(1).build());
    let wrapped = wrap(&vault, &key).unwrap();
    let (done, is_sealed, refused) = (AtomicUsize::new(0), AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while done.load(Ordering::SeqCst) < 1000 {
                    match wrap(&vault, &key) {
                        Ok(_) => {
                            done.fetch_add(1, Ordering::SeqCst);
                        }
                        Err(error) => {
                            assert!(is_sealed.load(Ordering::SeqCst), "{error}");
                            assert_eq!((error.kind(), error.is_retryable()), (Unavailable, true), "{error}");
                            refused.fetch_add(1, Ordering::SeqCst);
                        }
                    }
                }
            });
        }
        scope.spawn(|| {
            for threshold in [300, 600] {
                tokens::until(|| done.load(Ordering::SeqCst) >= threshold);
                is_sealed.store(true, Ordering::SeqCst);
                server.does("PUT", "sys/seal", &json!({}));
                let before = refused.load(Ordering::SeqCst);
                tokens::until(|| refused.load(Ordering::SeqCst) > before + 8);
                let error = wrap(&vault, &key).unwrap_err();
                assert!(error.message().contains("the server is sealed: unseal it"), "{error}");
                let error = unwrap(&vault, &wrapped).unwrap_err();
                assert_eq!((error.kind(), error.key()), (Unavailable, Some(&key)), "{error}");
                server.does("PUT", "sys/unseal", &json!({"key": server.told("unseal-key")}));
                // What was under way when it was unsealed may still be told that it is not.
                tokens::until(|| wrap(&vault, &key).is_ok());
            }
        });
    });
    assert!(refused.load(Ordering::SeqCst) > 16);
    unwrap(&vault, &wrapped).unwrap();
}

/// Within the time of one call, too.
#[test]
fn a_call_waits_for_a_server_that_is_unsealed_meanwhile() {
    let Some(server) = Server::own(&[]) else { return };
    let key = server.key();
    let vault = Arc::new(server.builder().attempts(20).build());
    wrap(&vault, &key).unwrap();
    server.does("PUT", "sys/seal", &json!({}));
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| wrap(&vault, &key));
        server.does("PUT", "sys/unseal", &json!({"key": server.told("unseal-key")}));
        waiting.join().unwrap().unwrap();
    });
}

/// A login finds it sealed: the error is that of the server, and not of the credentials.
#[test]
fn a_login_at_a_sealed_server_is_worth_a_retry() {
    let Some(server) = Server::own(&[]) else { return };
    let key = server.key();
    let (role_id, secret_id, _) = credentials::app_role(&server, &json!({}));
    let vault =
        HashiVault::builder().address(&server.url).app_role(role_id, Some(secret_id)).attempts(1).build();
    server.does("PUT", "sys/seal", &json!({}));
    for vault in [&vault, &server.builder().attempts(1).build()] {
        let error = wrap(vault, &key).unwrap_err();
        assert_eq!((error.kind(), error.is_retryable()), (Unavailable, true), "{error}");
        assert!(error.message().contains("the server is sealed"), "{error}");
    }
    server.does("PUT", "sys/unseal", &json!({"key": server.told("unseal-key")}));
    tokens::until(|| wrap(&vault, &key).is_ok());
}
