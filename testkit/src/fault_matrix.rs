//! What may go wrong between a provider and its server, each in turn: [`run`].
//!
//! A test puts a [`Proxy`] before a real server, or into a stand-in for one, and describes both as a [`Rig`]. Each
//! [`Trouble`] is then put on the way of calls that wrap and unwrap, and what must hold is asserted:
//!
//! - the server sees a bounded number of requests, and the error [tells](ProviderError::attempts) how many they were;
//! - through a layer that retries there are no more of them;
//! - the error has the kind of what went wrong;
//! - no wrong DEK opens an envelope;
//! - when the trouble is over the same provider gives the right DEK, and nothing of before.
//!
//! That is for key stores behind HTTP: AWS, Google, Azure and Vault. A PKCS#11 token has no statuses and no connection; its
//! troubles (return values, a token that is slow, removed or wrong) are in `backends/pkcs11/tests/pkcs11/matrix.rs`, with
//! the same demands. The local keystore and passphrases ask nobody; what may happen to their file is in the tests of theirs.

mod proxy;

use std::{pin::Pin, sync::Arc, thread};

use envelope_sdk::{
    Dek, EncryptionContext, Envelope, FullContext, KeyProvider, KeyUri, Keyring, ProviderError,
    ProviderErrorKind::{self, AccessDenied, Protocol, Throttled, Unauthentic, Unavailable},
    WrappedDek,
};

pub use proxy::{Proxy, Trouble};

/// A provider, and the proxy between it and its server.
pub struct Rig {
    /// The provider, whose own client attempts a call [`attempts`](Self::attempts) times.
    pub provider: Arc<dyn KeyProvider>,
    /// The same provider below a layer that retries, for as many attempts in all.
    pub retrying: Arc<dyn KeyProvider>,
    /// An active key.
    pub key: KeyUri,
    /// What stands between.
    pub proxy: Proxy,
    /// The most attempts of a call.
    pub attempts: u32,
    /// The text by which the server names the key in the answer to a wrap. `None` for a server that does not, so that no
    /// client could tell that another key answered.
    pub key_in_answers: Option<String>,
}

/// What runs a future to its end; a provider that needs tokio blocks on a runtime.
pub type BlockOn = dyn Fn(Pin<Box<dyn Future<Output = ()> + '_>>) + Sync;

/// Asserts what must hold for each [`Trouble`], all at the same time, each with a rig of its own.
///
/// # Panics
///
/// When anything does not hold.
pub fn run(rig: impl Fn() -> Rig + Sync, block_on: &BlockOn) {
    thread::scope(|scope| {
        for trouble in Trouble::ALL {
            let rig = &rig;
            scope.spawn(move || {
                let rig = rig();
                block_on(Box::pin(cell(&rig, trouble)));
            });
        }
    });
}

#[expect(clippy::expect_used, clippy::panic, reason = "a test shall stop")]
async fn cell(rig: &Rig, trouble: Trouble) {
    let context = EncryptionContext::new().with("tenant", "42");
    let full = context.full().expect("a context that can be");
    let case = Case { rig, trouble, context: &full };
    let (dek, wrapped) = case.wrap_well().await;
    let (other, other_wrapped) = case.wrap_well().await;
    rig.proxy.keep_next();
    case.opens_well(&other_wrapped, &other).await;
    let envelope = Envelope::new(Keyring::new().both(rig.provider.clone(), rig.key.clone()));
    let sealed = envelope.encrypt(MESSAGE, &context).await.expect("a server without trouble");

    rig.proxy.set(trouble);
    match trouble {
        Trouble::TooMany => case.fails(&wrapped, Throttled).await,
        Trouble::InternalError
        | Trouble::Unavailable
        | Trouble::TimeOut
        | Trouble::Reset
        | Trouble::Slow
        | Trouble::Cut => case.fails(&wrapped, Unavailable).await,
        Trouble::ExpiredCredentials => case.fails(&wrapped, AccessDenied).await,
        Trouble::FlippedBit | Trouble::WrongDek => {
            // A provider whose answers have a checksum sees it; for the others there is the envelope.
            match rig.provider.unwrap_dek(&wrapped, &full).await {
                Ok(opened) => assert_ne!(opened.expose(), dek.expose(), "{trouble:?}: nothing was changed"),
                Err(error) => assert!(matches!(error.kind(), Protocol | Unauthentic), "{trouble:?}: {error}"),
            }
            case.is_bounded();
            let opened = envelope.decrypt(&sealed, &context).await;
            assert!(opened.is_err(), "{trouble:?}: an envelope opened with a wrong DEK");
            case.is_bounded();
        }
        Trouble::WrongKeyId => match &rig.key_in_answers {
            Some(name) => {
                rig.proxy.rename(name);
                let error = case.wrap(&*rig.provider).await.expect_err("a wrap by another key");
                assert_eq!((error.kind(), error.is_retryable()), (Protocol, false), "{trouble:?}: {error}");
                case.is_bounded();
            }
            // Nothing names the key: the wrap opens with the right one, or not at all.
            None => drop(case.wrap_well().await),
        },
        Trouble::Duplicate => {
            // The second answer is to no request, and above all not to the next one.
            for _ in 0..3 {
                case.opens_well(&wrapped, &dek).await;
                case.opens_well(&other_wrapped, &other).await;
            }
        }
    }
    rig.proxy.set(None);
    for provider in [&rig.provider, &rig.retrying] {
        let opened = provider.unwrap_dek(&wrapped, &full).await;
        let opened = opened.unwrap_or_else(|error| panic!("after {trouble:?}: {error}"));
        assert_eq!(opened.expose(), dek.expose(), "after {trouble:?}");
    }
    let opened = envelope.decrypt(&sealed, &context).await;
    assert_eq!(opened.expect("the trouble is over"), MESSAGE, "after {trouble:?}");
}

struct Case<'r> {
    rig: &'r Rig,
    trouble: Trouble,
    context: &'r FullContext,
}

#[expect(clippy::expect_used, clippy::panic, reason = "a test shall stop")]
impl Case<'_> {
    async fn wrap_well(&self) -> (Dek, WrappedDek) {
        let (rig, trouble) = (self.rig, self.trouble);
        let dek = Dek::generate::<envelope_sdk::crypto::DefaultEngine>().expect("randomness");
        let wrapped = rig.provider.wrap_dek(&rig.key, &dek, self.context).await;
        (dek, wrapped.unwrap_or_else(|error| panic!("{trouble:?}: {error}")))
    }

    async fn opens_well(&self, wrapped: &WrappedDek, dek: &Dek) {
        let opened = self.rig.provider.unwrap_dek(wrapped, self.context).await;
        let opened = opened.unwrap_or_else(|error| panic!("{:?}: {error}", self.trouble));
        assert_eq!(opened.expose(), dek.expose(), "{:?}: the DEK of another wrap", self.trouble);
    }

    async fn wrap(&self, provider: &dyn KeyProvider) -> Result<(), ProviderError> {
        let dek = Dek::generate::<envelope_sdk::crypto::DefaultEngine>().expect("randomness");
        provider.wrap_dek(&self.rig.key, &dek, self.context).await.map(drop)
    }

    /// What wraps and unwraps fails so, also through a layer that retries.
    async fn fails(&self, wrapped: &WrappedDek, kind: ProviderErrorKind) {
        let (rig, trouble) = (self.rig, self.trouble);
        for (what, provider) in [("itself", &rig.provider), ("retrying", &rig.retrying)] {
            for unwraps in [true, false] {
                let error = if unwraps {
                    provider.unwrap_dek(wrapped, self.context).await.map(drop)
                } else {
                    self.wrap(&**provider).await
                };
                let error = error.expect_err("trouble");
                let seen = self.is_bounded();
                let may_pass = matches!(kind, Throttled | Unavailable);
                let told = (error.kind(), error.is_retryable(), error.key());
                assert_eq!(told, (kind, may_pass, Some(&rig.key)), "{trouble:?}, {what}: {error}");
                if may_pass {
                    assert_eq!(error.attempts(), seen, "{trouble:?}, {what}: {error}");
                }
            }
        }
    }

    /// How many requests the server saw.
    fn is_bounded(&self) -> u32 {
        let seen = self.rig.proxy.take_troubled();
        assert!((1..=self.rig.attempts).contains(&seen), "{:?}: {seen} requests", self.trouble);
        seen
    }
}

const MESSAGE: &[u8] = b"attack at dawn";
