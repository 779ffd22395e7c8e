//! What every [`Source`] must do, as a suite that runs against any of them (feature `testing`).
//!
//! A test describes where its source keeps envelopes as a [`Place`], and calls [`check`]. Each check has a name that says what must
//! hold; the error says which did not. It needs a runtime of tokio with time.

use std::{future::poll_fn, pin::pin, sync::Arc, task::Poll, time::Duration};

use async_trait::async_trait;
use envelope_sdk::{
    EncryptionContext, Envelope, Header, Keyring, Kind, PayloadKind, crypto::cobblestone::PREFIX_LEN,
};
use futures_util::StreamExt;

use crate::{Control, Goal, Item, Job, Key, Outcome, Reencryption, Source, SourceError, Stored};

/// A place of envelopes, seen from outside: as whoever else writes to it.
#[async_trait]
pub trait Place: Send + Sync {
    /// A new source of what is there now.
    fn source(&self) -> Arc<dyn Source>;

    /// The name by which the source lists the envelope `name`, a word of letters.
    fn item(&self, name: &str) -> Item {
        Item::named(name)
    }

    /// Attached or detached envelopes: those that the place is tried with.
    fn payload(&self) -> PayloadKind {
        PayloadKind::Attached
    }

    /// Whether the source reencrypts these. One that does not refuses as [`Unsupported`](SourceError::Unsupported) and
    /// changes nothing.
    fn reencrypts(&self) -> bool {
        true
    }

    /// Puts header and payload there, in the place of what has that name.
    async fn put(&self, name: &str, header: &[u8], payload: &[u8]);

    /// Puts there what is no envelope.
    async fn put_other(&self, name: &str);

    /// Takes it away.
    async fn remove(&self, name: &str);

    /// Header and payload that are there; both in the first, where they are one.
    async fn bytes(&self, name: &str) -> Option<(Vec<u8>, Vec<u8>)>;

    /// What is there besides envelopes and what [`put_other`](Self::put_other) put, by name: left-overs. What the source cannot
    /// see may be left out.
    async fn left_over(&self) -> Vec<String> {
        Vec::new()
    }
}

/// Runs all checks, in a place that is empty. `old` and `new` are keys that wrap and unwrap.
///
/// # Errors
///
/// The first check that does not hold, and what was there instead.
pub async fn check(place: &dyn Place, old: Key, new: Key) -> Result<(), Failure> {
    let suite = Suite { place, old, new };
    let checks: [(&'static str, futures_util::future::BoxFuture<'_, Checked>); 9] = [
        ("each item is listed once, and read by the name that is listed", Box::pin(suite.lists_and_reads())),
        (
            "what is absent is gone, and what is something else is no envelope",
            Box::pin(suite.tells_what_is_none()),
        ),
        ("a commit replaces the header and no byte of the payload", Box::pin(suite.commits())),
        (
            "a commit over a header that was changed is a conflict and changes nothing",
            Box::pin(suite.conflicts()),
        ),
        ("a commit of what was taken away brings nothing back", Box::pin(suite.brings_nothing_back())),
        ("of two commits at once, one holds", Box::pin(suite.one_of_two())),
        (
            "a reencryption replaces header and payload, and not what was changed",
            Box::pin(suite.reencrypts()),
        ),
        ("a commit that is dropped leaves the old envelope or the new one", Box::pin(suite.drops(false))),
        (
            "a reencryption that is dropped leaves the old envelope or the new one",
            Box::pin(suite.drops(true)),
        ),
    ];
    for (name, check) in checks {
        check.await.map_err(|why| Failure { name, why })?;
    }
    Ok(())
}

/// A check that does not hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{name}: {why}")]
pub struct Failure {
    /// What must hold.
    pub name: &'static str,
    /// What was there instead.
    pub why: String,
}

type Checked = Result<(), String>;

struct Suite<'p> {
    place: &'p dyn Place,
    old: Key,
    new: Key,
}

impl Suite<'_> {
    async fn lists_and_reads(&self) -> Checked {
        let names = ["one", "two", "three"];
        for name in names {
            self.put(name, &self.old).await?;
        }
        let source = self.place.source();
        let mut listed = Vec::new();
        let mut listing = source.list();
        while let Some(item) = listing.next().await {
            listed.push(item.map_err(said("list"))?);
        }
        for name in names {
            let item = self.place.item(name);
            let times = listed.iter().filter(|other| other.name() == item.name()).count();
            demand(times == 1, || format!("{item} is listed {times} times"))?;
            let stored = source.read(&item).await.map_err(said("read"))?;
            let (header, payload) = self.bytes(name).await?;
            demand(stored.header == header, || "another header is read than is there".into())?;
            let prefix = payload.first_chunk::<PREFIX_LEN>().copied();
            demand(stored.payload.is_none() || stored.payload == prefix, || {
                "the beginning of the payload is another one".into()
            })?;
        }
        self.empty(&names).await
    }

    async fn tells_what_is_none(&self) -> Checked {
        self.place.put_other("other").await;
        let source = self.place.source();
        let absent = source.read(&self.place.item("absent")).await;
        demand(matches!(absent, Err(SourceError::Gone)), || format!("absent: {absent:?}"))?;
        let other = source.read(&self.place.item("other")).await;
        let is_none = matches!(other, Err(SourceError::NotAnEnvelope | SourceError::Format(_)));
        demand(is_none, || format!("other: {other:?}"))?;
        self.empty(&["other"]).await
    }

    async fn commits(&self) -> Checked {
        self.put("x", &self.old).await?;
        let (source, item) = (self.place.source(), self.place.item("x"));
        let stored = source.read(&item).await.map_err(said("read"))?;
        let (_, payload) = self.bytes("x").await?;
        let new = self.rewrapped(&stored, &self.new).await?;
        let written = source.commit(&item, &stored, &new).await.map_err(said("commit"))?;
        demand(written >= new.len() as u64, || format!("{written} bytes were written of {}", new.len()))?;
        let (header, after) = self.bytes("x").await?;
        demand(header == new, || "another header is there than was committed".into())?;
        demand(after == payload, || "the payload was changed".into())?;
        let again = self.place.source().read(&item).await.map_err(said("read again"))?;
        demand(again.header == new, || "another header is read than was committed".into())?;
        self.opens("x", &self.new).await?;
        self.nothing_left().await?;
        self.empty(&["x"]).await
    }

    async fn conflicts(&self) -> Checked {
        self.put("x", &self.old).await?;
        let (source, item) = (self.place.source(), self.place.item("x"));
        let stored = source.read(&item).await.map_err(said("read"))?;
        let new = self.rewrapped(&stored, &self.new).await?;
        // Another process rewraps it for its own key, as long or longer.
        let other = self.rewrapped(&stored, &self.old).await?;
        let (_, payload) = self.bytes("x").await?;
        self.place.put("x", &other.to_bytes(), &payload).await;
        let before = self.place.bytes("x").await;
        let said = source.commit(&item, &stored, &new).await;
        demand(matches!(said, Err(SourceError::Conflict)), || format!("{said:?}"))?;
        demand(self.place.bytes("x").await == before, || "it was changed".into())?;
        let keys = self.reencryption(&stored).await?;
        let said = source.reencrypt(&item, &stored, keys).await;
        let is_refused = self.is_conflict(&said);
        demand(is_refused, || format!("reencrypt: {said:?}"))?;
        demand(self.place.bytes("x").await == before, || "it was changed by reencrypt".into())?;
        // Somebody encrypts something else into its place: the header is of the same generation and as long.
        self.put("x", &self.old).await?;
        let before = self.place.bytes("x").await;
        let said = source.commit(&item, &stored, &new).await;
        demand(matches!(said, Err(SourceError::Conflict)), || format!("over another envelope: {said:?}"))?;
        demand(self.place.bytes("x").await == before, || "another envelope was changed".into())?;
        let keys = self.reencryption(&stored).await?;
        let said = source.reencrypt(&item, &stored, keys).await;
        let is_refused = self.is_conflict(&said);
        demand(is_refused, || format!("reencrypt over another envelope: {said:?}"))?;
        demand(self.place.bytes("x").await == before, || "another envelope was changed by reencrypt".into())?;
        self.nothing_left().await?;
        self.empty(&["x"]).await
    }

    async fn brings_nothing_back(&self) -> Checked {
        self.put("x", &self.old).await?;
        let (source, item) = (self.place.source(), self.place.item("x"));
        let stored = source.read(&item).await.map_err(said("read"))?;
        let new = self.rewrapped(&stored, &self.new).await?;
        let keys = self.reencryption(&stored).await?;
        self.place.remove("x").await;
        let said = source.commit(&item, &stored, &new).await;
        demand(matches!(said, Err(SourceError::Conflict | SourceError::Gone)), || format!("{said:?}"))?;
        let said = source.reencrypt(&item, &stored, keys).await;
        let is_refused = self.is_conflict(&said) || matches!(said, Err(SourceError::Gone));
        demand(is_refused, || format!("reencrypt: {said:?}"))?;
        demand(self.place.bytes("x").await.is_none(), || "it is there again".into())?;
        self.nothing_left().await
    }

    async fn one_of_two(&self) -> Checked {
        for _ in 0..ROUNDS {
            self.put("x", &self.old).await?;
            let (source, item) = (self.place.source(), self.place.item("x"));
            let stored = source.read(&item).await.map_err(said("read"))?;
            let [one, other] =
                [self.rewrapped(&stored, &self.new).await?, self.rewrapped(&stored, &self.new).await?];
            let (first, second) =
                tokio::join!(source.commit(&item, &stored, &one), source.commit(&item, &stored, &other));
            let (held, lost) = match (&first, &second) {
                (Ok(_), Err(error)) => (&one, error),
                (Err(error), Ok(_)) => (&other, error),
                _ => return Err(format!("{first:?} and {second:?}")),
            };
            demand(matches!(lost, SourceError::Conflict | SourceError::Busy), || format!("{lost:?}"))?;
            let (header, _) = self.bytes("x").await?;
            demand(header == *held, || "the one that failed is there".into())?;
        }
        self.nothing_left().await?;
        self.empty(&["x"]).await
    }

    async fn reencrypts(&self) -> Checked {
        self.put("x", &self.old).await?;
        let (source, item) = (self.place.source(), self.place.item("x"));
        let stored = source.read(&item).await.map_err(said("read"))?;
        let keys = self.reencryption(&stored).await?;
        if !self.place.reencrypts() {
            let said = source.reencrypt(&item, &stored, keys).await;
            demand(matches!(said, Err(SourceError::Unsupported(_))), || format!("{said:?}"))?;
            self.opens("x", &self.old).await?;
            self.nothing_left().await?;
            return self.empty(&["x"]).await;
        }
        let new = keys.header().clone();
        source.reencrypt(&item, &stored, keys).await.map_err(said("reencrypt"))?;
        let (header, _) = self.bytes("x").await?;
        demand(header == new, || "another header is there than was made".into())?;
        self.opens("x", &self.new).await?;
        // What was read before is of the past.
        let keys = self.reencryption(&stored).await?;
        let said = source.reencrypt(&item, &stored, keys).await;
        demand(matches!(said, Err(SourceError::Conflict)), || format!("{said:?}"))?;
        self.opens("x", &self.new).await?;
        self.nothing_left().await?;
        self.empty(&["x"]).await
    }

    /// Whether a reencryption of what was changed is refused as it should be.
    fn is_conflict(&self, said: &Result<u64, SourceError>) -> bool {
        match said {
            Err(SourceError::Conflict) => true,
            Err(SourceError::Unsupported(_)) => !self.place.reencrypts(),
            _ => false,
        }
    }

    /// Drops the future after so many polls, each time; a job brings it to its end then.
    async fn drops(&self, reencrypts: bool) -> Checked {
        if reencrypts && !self.place.reencrypts() {
            return Ok(());
        }
        for polls in 0..POLLS {
            self.put("x", &self.old).await?;
            let (source, item) = (self.place.source(), self.place.item("x"));
            let stored = source.read(&item).await.map_err(said("read"))?;
            let done = {
                let new = self.rewrapped(&stored, &self.new).await?;
                let keys = self.reencryption(&stored).await?;
                let writing = if reencrypts {
                    source.reencrypt(&item, &stored, keys)
                } else {
                    source.commit(&item, &stored, &new)
                };
                is_done_after(polls, writing).await
            };
            let goal = Goal::only(vec![self.new.clone()]).open_with(vec![self.old.clone()]);
            let mut failed = Vec::new();
            let control = Control::new();
            let job = Job::new(self.place.source(), goal).run(&control, |item| {
                if let Outcome::Failed(error) = item.outcome {
                    failed.push(error.to_string());
                }
            });
            job.await.map_err(|error| error.to_string())?;
            demand(failed.is_empty(), || format!("after {polls} polls the next job fails: {failed:?}"))?;
            self.opens("x", &self.new).await.map_err(|why| format!("after {polls} polls: {why}"))?;
            self.nothing_left().await.map_err(|why| format!("after {polls} polls: {why}"))?;
            if done {
                break;
            }
        }
        self.empty(&["x"]).await
    }

    async fn put(&self, name: &str, key: &Key) -> Checked {
        let envelope = envelope(key).pad_headers_to(4096);
        let context = EncryptionContext::new();
        let sealed = match self.place.payload() {
            PayloadKind::Attached => envelope.encrypt(PLAINTEXT, &context).await.map(|sealed| {
                let len = Header::parse(&sealed).map(|(_, len)| len).unwrap_or_default();
                (sealed[..len].to_vec(), sealed[len..].to_vec())
            }),
            PayloadKind::Detached => envelope.encrypt_detached(PLAINTEXT, &context).await,
        };
        let (header, payload) = sealed.map_err(|error| format!("the old key does not wrap: {error}"))?;
        self.place.put(name, &header, &payload).await;
        Ok(())
    }

    async fn bytes(&self, name: &str) -> Result<(Header, Vec<u8>), String> {
        let (bytes, payload) = self.place.bytes(name).await.ok_or_else(|| format!("{name} is not there"))?;
        let (header, len) = Header::parse(&bytes).map_err(said("the header"))?;
        let payload = if payload.is_empty() { bytes[len..].to_vec() } else { payload };
        Ok((header, payload))
    }

    async fn opens(&self, name: &str, key: &Key) -> Checked {
        let (header, payload) = self.bytes(name).await?;
        let (envelope, context) = (envelope(key), EncryptionContext::new());
        let opened = match header.kind() {
            Kind::Attached => envelope.decrypt(&[header.to_bytes(), payload].concat(), &context).await,
            _ => envelope.decrypt_detached(&header.to_bytes(), &payload, &context).await,
        };
        let opened = opened.map_err(|error| format!("{name} does not open with {}: {error}", key.uri()))?;
        demand(opened == PLAINTEXT, || format!("{name} holds something else"))
    }

    async fn rewrapped(&self, stored: &Stored, key: &Key) -> Result<Header, String> {
        let keyring = Keyring::new().decrypt(Arc::clone(&self.old.provider), self.old.uri.clone());
        let keyring = keyring.encrypt(Arc::clone(&key.provider), key.uri.clone());
        let (envelope, context) = (Envelope::new(keyring), EncryptionContext::new());
        envelope.rewrap_header(stored.header.clone(), &context).await.map_err(said("rewrap"))
    }

    async fn reencryption(&self, stored: &Stored) -> Result<Reencryption, String> {
        let context = EncryptionContext::new();
        let old =
            envelope(&self.old).unlock(stored.header.clone(), &context).await.map_err(said("unlock"))?;
        let new = envelope(&self.new).pad_headers_to(4096);
        let started = new.start(self.place.payload(), &context).await.map_err(said("wrap"))?;
        let header = Header::parse_exact(&started.header).map_err(said("the new header"))?;
        let new = new.unlock(header, &context).await.map_err(said("unlock the new header"))?;
        Ok(Reencryption { old, sealer: started.payload, new })
    }

    async fn nothing_left(&self) -> Checked {
        let mut left = self.place.left_over().await;
        for _ in 0..WAITS {
            if left.is_empty() {
                break;
            }
            // What was dropped may be on a thread still, which sees to its own.
            tokio::time::sleep(Duration::from_millis(1)).await;
            left = self.place.left_over().await;
        }
        demand(left.is_empty(), || format!("left over: {left:?}"))
    }

    async fn empty(&self, names: &[&str]) -> Checked {
        for name in names {
            self.place.remove(name).await;
        }
        Ok(())
    }
}

/// Polls a future so often at most, each time that it wakes whoever waits, and drops it. Whether it came to its end.
async fn is_done_after(polls: usize, future: impl Future) -> bool {
    let mut future = pin!(future);
    let mut left = polls;
    poll_fn(|context| {
        if left == 0 {
            return Poll::Ready(false);
        }
        left -= 1;
        match future.as_mut().poll(context) {
            Poll::Ready(_) => Poll::Ready(true),
            Poll::Pending if left == 0 => Poll::Ready(false),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

fn envelope(key: &Key) -> Envelope {
    Envelope::new(Keyring::new().both(Arc::clone(&key.provider), key.uri.clone()))
}

fn demand(holds: bool, why: impl FnOnce() -> String) -> Checked {
    if holds { Ok(()) } else { Err(why()) }
}

fn said<E: std::fmt::Display>(what: &'static str) -> impl Fn(E) -> String {
    move |error| format!("{what}: {error}")
}

const PLAINTEXT: &[u8] = b"what the envelopes of the suite hold";
/// Two at once, so often.
const ROUNDS: usize = 20;
/// How often what is left over is looked at.
const WAITS: usize = 2000;
/// More than a write of any source takes.
const POLLS: usize = 400;
