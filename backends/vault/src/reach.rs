//! The way to the server and the right to ask it: made when it is first asked, and kept.

use std::{
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex as Lock, MutexGuard, PoisonError},
    time::Duration,
};

use envelope_sdk::{
    ProviderError,
    ProviderErrorKind::Unavailable,
    crowd::{Apart, Crowd},
};
use futures_util::FutureExt;
use reqwest::header::HeaderValue;
use tokio::{
    runtime::Handle,
    time::{Instant, sleep, timeout_at},
};

use crate::{
    auth::{Entry, Session, Standing, done},
    call::{Answer, Call, Failed, Limits, Pauses, Refused, unlogged},
    failure::failure,
    index::Index,
    plan::Plan,
    transport::{Came, Lost, Transport},
};

/// One server, and the caller that it knows.
pub(crate) struct Reach {
    inner: Arc<Inner>,
    /// Settings and files are read once by a crowd of calls, however many of them are given up. A file may be a pipe that
    /// somebody has yet to write to, and a person may be asked.
    opening: Apart<Result<(), ProviderError>>,
    /// Logging in, and renewing.
    entering: Crowd<Result<(), ProviderError>>,
}

pub(crate) struct Inner {
    pub(crate) limits: Limits,
    plan: Plan,
    opened: Lock<Option<Arc<Opened>>>,
    session: Lock<Option<Arc<Session>>>,
    /// When a login was of no use, since its token was refused as the one before: what tells a token that is none from one
    /// that lacks a policy is not always to be had.
    of_no_use: Lock<Option<Instant>>,
    /// What the storage is known to hold: a performance standby that is behind says so.
    index: Lock<Option<Index>>,
}

pub(crate) struct Opened {
    pub(crate) transport: Transport,
    pub(crate) entry: Entry,
}

impl Reach {
    pub(crate) fn new(plan: Plan, limits: Limits) -> Self {
        let inner = Inner {
            limits,
            plan,
            opened: Lock::default(),
            session: Lock::default(),
            of_no_use: Lock::default(),
            index: Lock::default(),
        };
        Self { inner: Arc::new(inner), opening: Apart::default(), entering: Crowd::default() }
    }

    pub(crate) fn plan(&self) -> &Plan {
        &self.inner.plan
    }

    /// Makes a call, with its retries, within the time of a call.
    pub(crate) async fn call(&self, call: &Call) -> Result<Answer, Failed> {
        if Handle::try_current().is_err() {
            return Err(Failed::NoRuntime);
        }
        // It panics in a runtime without time or I/O, and where the one has ended in which it was made.
        let made = AssertUnwindSafe(async { self.made(call, self.inner.limits.deadline()).await });
        unlogged(made.catch_unwind()).await.unwrap_or(Err(Failed::NoRuntime))
    }

    async fn made(&self, call: &Call, mut deadline: Instant) -> Result<Answer, Failed> {
        let mut stale = None;
        loop {
            let waited = Instant::now();
            let asks = self.enter(stale, deadline).await?;
            if asks {
                // Whoever was asked took as long as it took.
                deadline += waited.elapsed();
            }
            // It was thrown away upon another call's trouble with a certificate.
            let Some(opened) = self.inner.opened() else { continue };
            let Some(session) = lock(&self.inner.session).clone() else { return Err(Failed::TimedOut(1)) };
            let mut failed = match self.inner.attempts(&opened, call, session.token(), deadline).await {
                Ok(answer) => return Ok(answer),
                Err(failed) => failed,
            };
            let Failed::Refused(refused) = &mut failed else { return Err(failed) };
            if refused.status != 403 || session.token().is_none() {
                return Err(failed);
            }
            refused.standing = self.inner.standing(&opened, &session, deadline).await;
            if refused.standing == Standing::Alive || !opened.entry.can_be_had_anew() {
                return Err(failed);
            }
            if stale.is_some() {
                // The token was not the reason, or no other one is to be had.
                *lock(&self.inner.of_no_use) = opened.entry.logs_in().then(Instant::now);
                return Err(failed);
            }
            if lock(&self.inner.of_no_use).is_some_and(|login| login.elapsed() < REST) {
                return Err(failed);
            }
            stale = Some(session.number());
        }
    }

    /// Sees to it that there is a session, another one than that which is `stale`. Whether
    /// a person was perhaps asked.
    async fn enter(&self, stale: Option<u64>, deadline: Instant) -> Result<bool, Failed> {
        if self.inner.opened().is_none() {
            let inner = Arc::clone(&self.inner);
            let opened = self.wait(self.opening.join(move || inner.open()), deadline).await?;
            done(opened, "the settings were not read").map_err(Failed::NotMade)?;
        }
        for _ in 0..MOST_TURNS {
            if lock(&self.inner.session).as_ref().is_some_and(|session| session.serves(stale)) {
                return Ok(self.inner.plan.asks());
            }
            let entering = self.entering.join(|| {
                let inner = Arc::clone(&self.inner);
                async move { inner.enter(stale).await }
            });
            let entered = self.wait(entering, deadline).await?;
            entered.map_err(|_| Failed::NoRuntime)?.map_err(Failed::NotMade)?;
        }
        let message = "the login is being renewed by others: try again";
        Err(Failed::NotMade(failure(Unavailable, None, message)))
    }

    async fn wait<T>(&self, work: impl Future<Output = T>, deadline: Instant) -> Result<T, Failed> {
        // A person may be asked, and thinks.
        if self.inner.plan.asks() {
            return Ok(work.await);
        }
        timeout_at(deadline, work).await.map_err(|_| Failed::TimedOut(1))
    }
}

impl Inner {
    fn opened(&self) -> Option<Arc<Opened>> {
        lock(&self.opened).clone()
    }

    /// Reads settings, files and the environment, once. What was read stays, also if nobody waits any more.
    fn open(&self) -> Result<(), ProviderError> {
        if self.opened().is_none() {
            let opened = self.plan.open(&self.limits)?;
            *lock(&self.opened) = Some(Arc::new(opened));
        }
        Ok(())
    }

    /// Has the next call read certificates anew, which are none that are accepted, or that accept: they have an end, and
    /// are replaced in their files.
    pub(crate) fn read_certificates_anew(&self, opened: &Opened) {
        if self.plan.has_certificates_in_files() {
            drop(lock(&self.opened).take_if(|now| std::ptr::eq(&**now, opened)));
        }
    }

    async fn enter(&self, stale: Option<u64>) -> Result<(), ProviderError> {
        let Some(opened) = self.opened() else { return Ok(()) };
        let before = lock(&self.session).clone();
        if before.as_ref().is_some_and(|session| session.serves(stale)) {
            return Ok(());
        }
        let session = opened.entry.enter(self, &opened, before, stale).await?;
        *lock(&self.session) = Some(Arc::new(session));
        Ok(())
    }

    /// A call of a login, or one about the token itself.
    pub(crate) async fn ask(
        &self,
        opened: &Opened,
        call: &Call,
        token: Option<&HeaderValue>,
    ) -> Result<Answer, Failed> {
        self.attempts(opened, call, token, self.limits.deadline()).await
    }

    /// Whether the token that was refused is one at all.
    async fn standing(&self, opened: &Opened, session: &Session, deadline: Instant) -> Standing {
        let asked = self.attempts(opened, &Session::look_up(), session.token(), deadline).await;
        match asked {
            Ok(_) => Standing::Alive,
            Err(failed) if failed.status() == Some(403) => Standing::Dead,
            Err(_) => Standing::Unknown,
        }
    }

    async fn attempts(
        &self,
        opened: &Opened,
        call: &Call,
        token: Option<&HeaderValue>,
        deadline: Instant,
    ) -> Result<Answer, Failed> {
        let mut pauses = Pauses::new();
        let most = if call.is_repeatable { self.limits.attempts } else { 1 };
        let mut attempts = 0;
        loop {
            attempts += 1;
            let index = lock(&self.index).as_ref().map(Index::header);
            let attempt = opened.transport.attempt(call, token, index.as_ref());
            let failed = match timeout_at(deadline, attempt).await {
                Err(_) => return Err(Failed::TimedOut(attempts)),
                Ok(Err(lost)) => {
                    if lost == Lost::Certificate {
                        self.read_certificates_anew(opened);
                    }
                    Failed::Lost(lost, attempts)
                }
                Ok(Ok(came)) => match self.took(came, attempts) {
                    Ok(answer) => return Ok(answer),
                    Err(refused) => Failed::Refused(refused),
                },
            };
            if attempts >= most {
                return Err(failed);
            }
            let Some(pause) = pauses.after(&failed, deadline) else { return Err(failed) };
            sleep(pause).await;
        }
    }

    fn took(&self, mut came: Came, attempts: u32) -> Result<Answer, Refused> {
        if let Some(index) = came.index.take().and_then(Index::read) {
            let mut known = lock(&self.index);
            if known.as_ref().is_none_or(|known| index.is_newer_than(known)) {
                *known = Some(index);
            }
        }
        match came.status {
            200..=299 => Ok(Answer { body: came.body }),
            _ => Err(Refused::new(came, attempts)),
        }
    }
}

pub(crate) fn lock<T>(what: &Lock<T>) -> MutexGuard<'_, T> {
    // Each change of it is one step.
    what.lock().unwrap_or_else(PoisonError::into_inner)
}

/// After a login that was of no use: each leaves a token behind.
const REST: Duration = Duration::from_secs(10);
/// Of a crowd that was entering for another reason than ours.
const MOST_TURNS: usize = 4;
