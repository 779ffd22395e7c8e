//! Tokens that take their time, that are refused, and that many calls wait for.

use std::{sync::Mutex, time::Instant};

use envelope_sdk::{
    KeyProvider, ProviderError,
    ProviderErrorKind::{AccessDenied, Invalid, Protocol},
};
use envelope_testkit::http_server::Answer;
use futures_util::future::join_all;

use super::*;

#[test]
fn a_call_that_is_no_longer_polled_while_it_waits_for_a_token_holds_up_no_other() {
    let azure = Azure::new();
    let key = azure.key();
    let tokens = Tokens::taking(Duration::from_millis(400), &["a-test"], 3600);
    let vaults = azure.builder().credential(tokens).attempt_timeout(Duration::from_secs(2)).build();
    let (dek, full) = (fresh_dek(), context());
    let mut stalled = Box::pin(vaults.wrap_dek(&key, &dek, &full));
    block_on(async {
        tokio::time::timeout(Duration::from_millis(200), &mut stalled).await.unwrap_err();
        vaults.wrap_dek(&key, &dek, &full).await.unwrap();
        stalled.await.unwrap();
    });
}

#[test]
fn of_many_first_calls_one_asks_for_a_token() {
    let azure = Azure::new();
    let key = azure.key();
    let tokens = Tokens::taking(Duration::from_millis(100), &["a-test"], 3600);
    let vaults = Arc::new(azure.builder().credential(tokens.clone()).build());
    let calls = (0..64).map(|_| {
        let (vaults, key) = (vaults.clone(), key.clone());
        RUNTIME.spawn(async move { vaults.wrap_dek(&key, &fresh_dek(), &context()).await.map(drop) })
    });
    for done in block_on(join_all(calls)) {
        done.unwrap().unwrap();
    }
    assert_eq!(tokens.asked(), 1);
}

/// And of a vault that accepts none it is said after the third one.
#[test]
fn a_token_that_the_vault_no_longer_accepts_is_replaced_within_the_call() {
    let azure = Azure::new();
    let key = azure.key();
    let tokens = Tokens::taking(Duration::ZERO, &["expired", "a-test"], 3600);
    let vaults = azure.builder().vault(VAULT).credential(tokens.clone()).build();
    block_on(vaults.wrap_dek(&key, &fresh_dek(), &context())).unwrap();
    assert_eq!(tokens.asked(), 2);
    let tokens = Tokens::taking(Duration::ZERO, &["expired"], 3600);
    let vaults = azure.builder().vault(VAULT).credential(tokens.clone()).build();
    let check = |error: ProviderError, asked| {
        assert_eq!((error.kind(), error.is_retryable()), (AccessDenied, false), "{error}");
        assert!(error.message().contains("does not accept the token"), "{error}");
        assert!(error.message().contains("status 401"), "{error}");
        assert_eq!(tokens.asked(), asked);
    };
    check(block_on(vaults.wrap_dek(&key, &fresh_dek(), &context())).unwrap_err(), 3);
    check(block_on(vaults.create_key(&NewKey::named(fresh_name()))).unwrap_err(), 6);
}

/// What one call is refused is asked for anew by all.
#[test]
fn a_crowd_goes_on_when_its_token_is_refused() {
    let azure = Azure::new();
    let key = azure.key();
    let tokens = Tokens::taking(Duration::from_millis(50), &["expired", "a-test"], 3600);
    let vaults = Arc::new(azure.builder().credential(tokens.clone()).build());
    let calls = (0..64).map(|_| {
        let (vaults, key) = (vaults.clone(), key.clone());
        RUNTIME.spawn(async move { vaults.wrap_dek(&key, &fresh_dek(), &context()).await.map(drop) })
    });
    for done in block_on(join_all(calls)) {
        done.unwrap().unwrap();
    }
    assert_eq!(tokens.asked(), 2);
}

/// Whoever gives them hangs; they are good for a minute still.
#[test]
fn a_token_that_is_good_is_used_while_another_one_is_asked_for_in_vain() {
    let azure = Azure::new();
    let key = azure.key();
    let tokens = Tokens::taking(Duration::ZERO, &["a-test"], 60);
    let vaults = azure.builder().credential(tokens.clone()).build();
    block_on(vaults.wrap_dek(&key, &fresh_dek(), &context())).unwrap();
    tokens.takes(Duration::from_secs(3600));
    let start = Instant::now();
    for _ in 0..3 {
        block_on(vaults.wrap_dek(&key, &fresh_dek(), &context())).unwrap();
    }
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
}

/// One with a line end, from a file perhaps. Nothing was sent, and nothing is in doubt.
#[test]
fn a_token_that_no_header_can_hold_is_no_lost_connection_and_leaves_nothing_in_doubt() {
    let azure = Azure::new();
    let key = azure.key();
    for name in ["a-test-4711\n", "a-test-4711\u{7f}"] {
        let vaults = azure.builder().vault(VAULT).credential(Token::of(name)).build();
        for error in [
            block_on(vaults.wrap_dek(&key, &fresh_dek(), &context())).map(drop).unwrap_err(),
            block_on(vaults.rotate_key(&key)).map(drop).unwrap_err(),
            block_on(vaults.create_key(&NewKey::named(fresh_name()))).map(drop).unwrap_err(),
        ] {
            assert_eq!((error.kind(), error.is_retryable()), (Invalid, false), "{error}");
            assert!(error.message().contains("characters that no header has"), "{error}");
            assert!(!format!("{error} {error:?}").contains("4711"), "{error}");
            assert!(!error.message().contains("not known whether"), "{error}");
        }
    }
}

/// Clocks differ: whether a token has expired is what the vault says.
#[test]
fn a_new_token_is_shown_though_the_clock_of_this_machine_takes_it_for_expired() {
    let azure = Azure::new();
    let key = azure.key();
    let tokens = Tokens::taking(Duration::ZERO, &["a-test"], -3600);
    let vaults = azure.builder().credential(tokens.clone()).build();
    for _ in 0..2 {
        block_on(vaults.wrap_dek(&key, &fresh_dek(), &context())).unwrap();
    }
    assert_eq!(tokens.asked(), 1);
}

/// The client keeps what the challenge said. Its host is one that the vault's ends with.
#[test]
fn a_vault_that_asked_for_a_token_for_another_service_once_is_asked_again() {
    let azure = Azure::new();
    let key = azure.key();
    let left = AtomicUsize::new(1);
    let service = azure.server.serve_with(move |request, reply| {
        let is_first = request.header("authorization").is_none()
            && left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok();
        if !is_first {
            return reply.into();
        }
        let challenge = r#"Bearer authorization="https://login.localhost/t", resource="https://localhost:1""#;
        Answer::json(401, "{}").header("www-authenticate", challenge)
    });
    let vaults = at(&service, &azure.folder).build();
    let error = block_on(vaults.wrap_dek(&key, &fresh_dek(), &context())).unwrap_err();
    assert_eq!((error.kind(), error.is_retryable()), (Protocol, false), "{error}");
    assert!(error.message().contains("another service"), "{error}");
    block_on(vaults.wrap_dek(&key, &fresh_dek(), &context())).unwrap();
}

/// One after the other, and the last one for ever.
#[derive(Debug)]
struct Tokens {
    takes: Mutex<Duration>,
    names: &'static [&'static str],
    /// In seconds from now.
    expire: i64,
    asked: AtomicUsize,
}

impl Tokens {
    fn taking(time: Duration, names: &'static [&'static str], expire: i64) -> Arc<Self> {
        Arc::new(Self { takes: Mutex::new(time), names, expire, asked: AtomicUsize::new(0) })
    }

    fn takes(&self, time: Duration) {
        *self.takes.lock().unwrap() = time;
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

#[async_trait]
impl TokenCredential for Tokens {
    async fn get_token(
        &self,
        _: &[&str],
        _: Option<TokenRequestOptions<'_>>,
    ) -> azure_core::Result<AccessToken> {
        let asked = self.asked.fetch_add(1, Ordering::SeqCst);
        let takes = *self.takes.lock().unwrap();
        tokio::time::sleep(takes).await;
        let name = self.names[asked.min(self.names.len() - 1)];
        let expires = OffsetDateTime::now_utc() + azure_core::time::Duration::seconds(self.expire);
        Ok(AccessToken::new(name.to_owned(), expires))
    }
}
