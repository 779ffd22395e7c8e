//! What stands between a provider and its server, and makes trouble.

use std::{
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use crate::http_server::{Answer, Request};

/// What goes wrong, with each request that wraps or unwraps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Trouble {
    /// Status 429.
    TooMany,
    /// Status 500.
    InternalError,
    /// Status 503.
    Unavailable,
    /// No byte comes, and the connection stays open.
    TimeOut,
    /// The connection ends before the first byte.
    Reset,
    /// Bytes come one by one, without an end.
    Slow,
    /// The connection ends before the last bytes of the right answer.
    Cut,
    /// One bit of the DEK in the right answer is another one.
    FlippedBit,
    /// The answer is the right one to another request: to unwrap another wrap of the same key.
    WrongDek,
    /// The answer to a wrap names another key.
    WrongKeyId,
    /// The right answer comes twice.
    Duplicate,
    /// The server says so.
    ExpiredCredentials,
}

impl Trouble {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::TooMany,
        Self::InternalError,
        Self::Unavailable,
        Self::TimeOut,
        Self::Reset,
        Self::Slow,
        Self::Cut,
        Self::FlippedBit,
        Self::WrongDek,
        Self::WrongKeyId,
        Self::Duplicate,
        Self::ExpiredCredentials,
    ];
}

/// Alters the answers of a server. Its clones are the same proxy.
#[derive(Clone)]
pub struct Proxy(Arc<Inner>);

struct Inner {
    /// Whether a request wraps or unwraps: no other is altered.
    concerns: Box<dyn Fn(&Request) -> bool + Send + Sync>,
    /// What the server says of credentials that have expired.
    expired: Answer,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    trouble: Option<Trouble>,
    troubled: u32,
    keeps_next: bool,
    kept: Option<Answer>,
    renamed: Option<String>,
}

impl Proxy {
    /// Without trouble at first. `concerns` tells the requests that wrap or unwrap, to which alone something happens;
    /// `expired` is what the server says where credentials have expired.
    #[must_use]
    pub fn new(expired: Answer, concerns: impl Fn(&Request) -> bool + Send + Sync + 'static) -> Self {
        Self(Arc::new(Inner { concerns: Box::new(concerns), expired, state: Mutex::default() }))
    }

    /// What is answered to a request whose right answer `right` would be.
    #[must_use]
    pub fn alter(&self, request: &Request, right: impl FnOnce() -> Answer) -> Answer {
        if !(self.0.concerns)(request) {
            return right();
        }
        let trouble = {
            let mut state = self.state();
            if state.trouble.is_some() {
                state.troubled += 1;
            }
            state.trouble
        };
        let Some(trouble) = trouble else {
            let right = right();
            let mut state = self.state();
            if mem::take(&mut state.keeps_next) {
                state.kept = Some(right.clone());
            }
            return right;
        };
        match trouble {
            Trouble::TooMany => Answer::new(429),
            Trouble::InternalError => Answer::new(500),
            Trouble::Unavailable => Answer::new(503),
            Trouble::TimeOut => Answer::never(),
            Trouble::Reset => Answer::hang_up(),
            Trouble::Slow => right().dripping(Duration::from_millis(20)),
            Trouble::Cut => right().cut_before_end(5),
            Trouble::FlippedBit => right().map_body(flip_a_bit_of_the_dek),
            Trouble::WrongDek => self.state().kept.clone().unwrap_or_else(Answer::hang_up),
            Trouble::WrongKeyId => {
                let name = self.state().renamed.clone();
                right().map_body(|body| {
                    name.map_or(body.to_owned(), |name| body.replace(&name, &another(&name)))
                })
            }
            Trouble::Duplicate => right().twice(),
            Trouble::ExpiredCredentials => self.0.expired.clone(),
        }
    }

    /// Makes this trouble from now on, or none.
    pub fn set(&self, trouble: impl Into<Option<Trouble>>) {
        let mut state = self.state();
        state.trouble = trouble.into();
        state.troubled = 0;
    }

    /// How many requests there was trouble with since the last call of this.
    #[must_use]
    pub fn take_troubled(&self) -> u32 {
        mem::take(&mut self.state().troubled)
    }

    /// Keeps the next answer, for [`Trouble::WrongDek`].
    pub(super) fn keep_next(&self) {
        self.state().keeps_next = true;
    }

    /// Which name is another one in answers of [`Trouble::WrongKeyId`].
    pub(super) fn rename(&self, name: &str) {
        self.state().renamed = Some(name.to_owned());
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Each change of it is one step.
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// In JSON, the DEK is the one text of 32 bytes in base64.
#[expect(clippy::panic, reason = "a test that alters nothing shall stop")]
fn flip_a_bit_of_the_dek(body: &str) -> String {
    let is_base64 =
        |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+/=-_".contains(&byte));
    let is_dek = |text: &&str| matches!(text.len(), 43 | 44) && is_base64(text);
    let Some(dek) = body.split('"').find(is_dek) else { panic!("there is no DEK in the answer") };
    // The alphabet has `A` for 0 and `B` for 1.
    let other = if dek.starts_with('A') { "B" } else { "A" };
    body.replacen(dek, &format!("{other}{}", &dek[1..]), 1)
}

/// A name of the same length.
fn another(name: &str) -> String {
    let (rest, last) = name.split_at(name.len() - 1);
    format!("{rest}{}", if last == "0" { "1" } else { "0" })
}
