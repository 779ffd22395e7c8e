//! [`Tokens`]: the tokens for a vault, asked for outside of the client's locks.
//!
//! Microsoft's client asks for a token under a lock of the vault's. There a call that is no longer
//! polled holds up all others, and of many first calls each throws away what the others
//! were given. So what the client asks here answers at once: with a token that is had, or with
//! [`Wanted`], upon which the call waits for one, holds nothing meanwhile, and is made again.

use std::{
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use async_trait::async_trait;
use azure_core::{
    Error,
    credentials::{AccessToken, TokenCredential, TokenRequestOptions},
    error::ErrorKind,
    time::OffsetDateTime,
};
use envelope_sdk::crowd::Crowd;
use tokio::{
    runtime::Handle,
    task::{JoinError, JoinHandle},
    time::timeout,
};

use crate::call::{may_help, unlogged};

/// The tokens for one vault: only for what they may be for, since the client itself is content
/// with any challenge whose host the vault's ends with, such as `net`.
pub(crate) struct Tokens {
    credential: Arc<dyn TokenCredential>,
    /// What tokens may be for.
    audiences: Vec<String>,
    /// How long it may take to have one.
    limit: Duration,
    had: Mutex<Option<Had>>,
    asking: Crowd<Got>,
    renewing: AtomicBool,
    misled: AtomicBool,
    denied: AtomicBool,
}

struct Had {
    scope: String,
    token: AccessToken,
    since: Instant,
}

/// What came of asking for a token.
#[derive(Clone)]
pub(crate) enum Got {
    Token,
    No(Arc<Error>),
    Late,
    /// The runtime has ended in which it was asked for.
    Gone,
    Panicked,
}

/// Without any of them.
impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tokens")
    }
}

impl Tokens {
    pub(crate) fn new(
        credential: Arc<dyn TokenCredential>,
        audiences: Vec<String>,
        limit: Duration,
    ) -> Arc<Self> {
        Arc::new(Self {
            credential,
            audiences,
            limit,
            had: Mutex::default(),
            asking: Crowd::default(),
            renewing: AtomicBool::new(false),
            misled: AtomicBool::new(false),
            denied: AtomicBool::new(false),
        })
    }

    /// Whether the vault's client was told to show a token for another service, which it does not forget.
    pub(crate) fn are_misled(&self) -> bool {
        self.misled.load(Ordering::SeqCst)
    }

    /// Whether a call got none, since what the caller shows is not accepted.
    pub(crate) fn are_denied(&self) -> bool {
        self.denied.load(Ordering::SeqCst)
    }

    /// Whether they are asked for with these credentials.
    pub(crate) fn are_of(&self, credential: &Arc<dyn TokenCredential>) -> bool {
        Arc::ptr_eq(&self.credential, credential)
    }

    /// The vault does not accept what was shown to it then (`Bearer …`).
    pub(crate) fn refused(&self, shown: &str, then: Instant) {
        let mut had = self.lock();
        // One that was asked for since, upon the refusal of another call, may be the same.
        let is_it = |had: &mut Had| {
            had.since <= then && shown.strip_prefix("Bearer ") == Some(had.token.token.secret())
        };
        drop(had.take_if(is_it));
    }

    fn take(self: &Arc<Self>, scope: &str) -> Option<AccessToken> {
        let (token, since) = {
            let had = self.lock();
            let had = had.as_ref().filter(|had| had.scope == scope)?;
            (had.token.clone(), had.since)
        };
        // One that was just given is used whatever the clock of this machine says.
        let (left, is_new) = (token.expires_on - OffsetDateTime::now_utc(), since.elapsed() < NEW);
        if left.is_positive() && left <= RENEWED_BEFORE && !is_new {
            self.renew(scope);
        }
        (left.is_positive() || is_new).then_some(token)
    }

    /// Has another one while this one is still good: nobody waits for it.
    fn renew(self: &Arc<Self>, scope: &str) {
        if self.renewing.swap(true, Ordering::SeqCst) {
            return;
        }
        let until = Renewing(Arc::clone(self));
        let Ok(runtime) = Handle::try_current() else { return };
        let scope = scope.to_owned();
        runtime.spawn(async move {
            // In vain: the one that is had is used until it ends.
            let _ = until.0.ask(scope, true).await;
        });
    }

    /// Asks for a token, which whoever asks for one then waits for too; unless it is to be `another` one, only if there is
    /// none since.
    async fn ask(self: &Arc<Self>, scope: String, another: bool) -> Got {
        let begin = || {
            let tokens = Arc::clone(self);
            let asked = async move {
                // Whoever was told late that one is wanted.
                if !another && tokens.take(&scope).is_some() {
                    return Got::Token;
                }
                // None of the client's locks may be held by it: it goes on, whoever polls.
                match timeout(tokens.limit, tokens.credential.get_token(&[&scope], None)).await {
                    Ok(Ok(token)) => {
                        *tokens.lock() = Some(Had { scope, token, since: Instant::now() });
                        Got::Token
                    }
                    Ok(Err(error)) => {
                        // As long as there is one that serves, nothing has to be done.
                        if !another && !may_help(&error) {
                            tokens.denied.store(true, Ordering::SeqCst);
                        }
                        Got::No(Arc::new(error))
                    }
                    Err(_) => Got::Late,
                }
            };
            let task = Task(tokio::spawn(unlogged(asked)));
            async move { task.done().await }
        };
        self.asking.join(begin).await.unwrap_or(Got::Panicked)
    }

    fn lock(&self) -> MutexGuard<'_, Option<Had>> {
        // Each change of it is one step.
        self.had.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ends when nobody waits for it any more: a tool that hangs ends with the call.
struct Task(JoinHandle<Got>);

impl Task {
    async fn done(mut self) -> Got {
        (&mut self.0).await.unwrap_or_else(
            |error: JoinError| {
                if error.is_panic() { Got::Panicked } else { Got::Gone }
            },
        )
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

struct Renewing(Arc<Tokens>);

impl Drop for Renewing {
    fn drop(&mut self) {
        self.0.renewing.store(false, Ordering::SeqCst);
    }
}

/// As the client asks for them.
pub(crate) struct ForVault(pub(crate) Arc<Tokens>);

impl fmt::Debug for ForVault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ForVault")
    }
}

#[async_trait]
impl TokenCredential for ForVault {
    async fn get_token(
        &self,
        scopes: &[&str],
        _: Option<TokenRequestOptions<'_>>,
    ) -> azure_core::Result<AccessToken> {
        match scopes {
            [scope] if self.0.audiences.iter().any(|known| known == scope) => {
                let wanted = || Wanted { tokens: Arc::clone(&self.0), scope: (*scope).to_owned() };
                self.0.take(scope).ok_or_else(|| Error::new(ErrorKind::Credential, wanted()))
            }
            _ => {
                self.0.misled.store(true, Ordering::SeqCst);
                Err(Error::new(ErrorKind::Other, WrongAudience))
            }
        }
    }
}

/// A token is to be had first, and then the call is to be made again.
#[derive(Clone)]
pub(crate) struct Wanted {
    tokens: Arc<Tokens>,
    scope: String,
}

impl Wanted {
    pub(crate) async fn ask(self) -> Got {
        self.tokens.ask(self.scope, false).await
    }
}

impl fmt::Debug for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Wanted")
    }
}

impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("there is no token yet")
    }
}

impl std::error::Error for Wanted {}

/// There is no token, and why, for all who waited.
pub(crate) fn no_token(why: Arc<Error>) -> Error {
    // Credentials from elsewhere may call it something else.
    Error::new(ErrorKind::Credential, Why(why))
}

struct Why(Arc<Error>);

/// Of the words of an error nothing is shown.
impl fmt::Debug for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Why")
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no token")
    }
}

impl std::error::Error for Why {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&*self.0)
    }
}

/// The token that a challenge asks for is one for another service.
#[derive(Debug)]
pub(crate) struct WrongAudience;

impl fmt::Display for WrongAudience {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the challenge asks for a token for another service")
    }
}

impl std::error::Error for WrongAudience {}

/// As Microsoft's client has it.
const RENEWED_BEFORE: azure_core::time::Duration = azure_core::time::Duration::minutes(5);
/// A token that is so new is not asked for again.
const NEW: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    const SCOPE: &str = "https://vault.azure.net/.default";

    #[derive(Debug, Default)]
    struct Numbered(AtomicUsize);

    #[async_trait]
    impl TokenCredential for Numbered {
        async fn get_token(
            &self,
            _: &[&str],
            _: Option<TokenRequestOptions<'_>>,
        ) -> azure_core::Result<AccessToken> {
            let number = self.0.fetch_add(1, Ordering::SeqCst);
            let expires = OffsetDateTime::now_utc() + RENEWED_BEFORE - Duration::from_secs(1);
            Ok(AccessToken::new(number.to_string(), expires))
        }
    }

    #[test]
    fn a_token_that_ends_soon_is_used_until_another_one_is_there_and_a_refused_one_is_not() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let numbered = Arc::new(Numbered::default());
            let tokens = Tokens::new(numbered.clone(), vec![SCOPE.to_owned()], Duration::from_secs(10));
            let vault = ForVault(tokens.clone());
            let shown = async || vault.get_token(&[SCOPE], None).await.map(|it| it.token.secret().to_owned());
            assert!(shown().await.is_err_and(|error| error.kind() == &ErrorKind::Credential));
            assert!(matches!(tokens.ask(SCOPE.to_owned(), false).await, Got::Token));
            assert_eq!(shown().await.unwrap(), "0");
            // Who was told before that one is wanted, and asks for it now.
            assert!(matches!(tokens.ask(SCOPE.to_owned(), false).await, Got::Token));
            assert_eq!(numbered.0.load(Ordering::SeqCst), 1);
            let old = Instant::now().checked_sub(NEW).unwrap();
            tokens.lock().as_mut().unwrap().since = old;
            // Nobody waits for the other one.
            assert_eq!((shown().await.unwrap().as_str(), numbered.0.load(Ordering::SeqCst)), ("0", 1));
            while tokens.renewing.load(Ordering::SeqCst) {
                tokio::task::yield_now().await;
            }
            assert_eq!(shown().await.unwrap(), "1");
            assert_eq!(numbered.0.load(Ordering::SeqCst), 2);
            tokens.refused("Bearer 0", Instant::now());
            assert_eq!(shown().await.unwrap(), "1");
            tokens.refused("Bearer 1", old);
            assert_eq!(shown().await.unwrap(), "1");
            tokens.refused("Bearer 1", Instant::now());
            shown().await.unwrap_err();
            assert!(!tokens.are_misled());
            let wrong = vault.get_token(&["https://net/.default"], None).await.unwrap_err();
            assert!(tokens.are_misled() && wrong.kind() == &ErrorKind::Other);
        });
    }
}
