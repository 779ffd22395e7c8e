//! The envelopes of folders and buckets, one after the other, their headers alone.

use std::time::SystemTime;

use base64ct::{Base64UrlUnpadded, Encoding};
use envelope_sdk::Header;
use futures_util::StreamExt;
use serde::{Deserialize, Serialize};

use crate::{
    Failure, FoundEnvelope, Look,
    call::Call,
    header::{self, NoHeader},
    roots::{Found, Position, Walk},
    words,
};

/// An envelope that was come to. Nothing of it is verified.
pub(super) struct Seen {
    pub(super) name: String,
    pub(super) header: Header,
    pub(super) modified: Option<SystemTime>,
    pub(super) is_armored: bool,
}

/// How far a scan came: what a cursor holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Place {
    Files(Position),
    /// Behind all files: the number of a bucket, and the name of the last object in base64, since JSON may take six bytes for one.
    Objects(usize, String),
}

/// What is said to one envelope.
pub(super) enum Said {
    /// Go on.
    On,
    /// There is no room for it: the next page begins with it.
    NoRoom,
}

/// What a scan came to.
#[derive(Debug, Default)]
pub(super) struct Scanned {
    /// Items that were looked at.
    pub(super) examined: u64,
    pub(super) envelopes: u64,
    /// Envelopes that the policy does not show.
    pub(super) hidden: u64,
    /// Items that could not be read, and the first few of them.
    pub(super) failed: u64,
    pub(super) failures: Vec<String>,
    /// Where to go on; `None` at the end.
    pub(super) next: Option<Place>,
}

/// Goes through at most `most` items behind `after`, of what is served below `under`.
pub(super) async fn scan(
    call: &Call,
    under: Option<&str>,
    after: Option<Place>,
    most: u64,
    mut each: impl FnMut(&Seen) -> Said,
) -> Result<Scanned, Failure> {
    call.facade.policy.may(&call.caller, Look::Inspect)?;
    let buckets = call.facade.buckets.urls();
    let (files, objects) = match under {
        None => (true, (0..buckets.len()).collect()),
        Some(under) => match buckets.iter().position(|url| url == under) {
            Some(number) => (false, vec![number]),
            None => (true, Vec::new()),
        },
    };
    let mut scan =
        Scan { call, most, scanned: Scanned::default(), began: after.clone(), last: after.clone() };
    let mut first_object = None;
    match after {
        Some(Place::Objects(bucket, name)) => {
            let name =
                Base64UrlUnpadded::decode_vec(&name).ok().and_then(|name| String::from_utf8(name).ok());
            first_object = Some((bucket, name.unwrap_or_default()));
        }
        after if files => {
            let after = after.and_then(|place| if let Place::Files(at) = place { Some(at) } else { None });
            let walk = call.facade.roots.walk(under, after)?;
            if scan.files(walk, &mut each).await?.is_break() {
                return scan.stopped();
            }
        }
        _ => {}
    }
    for number in objects {
        let behind = match &first_object {
            Some((bucket, _)) if number < *bucket => continue,
            Some((bucket, name)) if number == *bucket => Some(name.as_str()),
            _ => None,
        };
        if scan.objects(number, &buckets[number], behind, &mut each).await?.is_break() {
            return scan.stopped();
        }
    }
    Ok(scan.scanned)
}

struct Scan<'c> {
    call: &'c Call,
    most: u64,
    scanned: Scanned,
    began: Option<Place>,
    last: Option<Place>,
}

type Flow = std::ops::ControlFlow<()>;

impl Scan<'_> {
    async fn files(&mut self, walk: Walk, each: &mut impl FnMut(&Seen) -> Said) -> Result<Flow, Failure> {
        let mut walk = walk;
        loop {
            let (rest, batch) = self
                .call
                .blocking(move || {
                    let batch: Vec<_> = walk.by_ref().take(BATCH).map(read).collect();
                    (walk, batch)
                })
                .await?;
            walk = rest;
            let is_last = batch.len() < BATCH;
            for (position, looked) in batch {
                if self.add(position.map(Place::Files), looked, each).is_break() {
                    return Ok(Flow::Break(()));
                }
            }
            self.call.progress(self.scanned.examined).await;
            if is_last {
                return Ok(Flow::Continue(()));
            }
        }
    }

    /// Objects come in the order of their names: what is not behind `behind` was on a page before.
    async fn objects(
        &mut self,
        number: usize,
        url: &str,
        behind: Option<&str>,
        each: &mut impl FnMut(&Seen) -> Said,
    ) -> Result<Flow, Failure> {
        let mut objects = match self.call.facade.buckets.objects(url, behind) {
            Ok(objects) => objects,
            Err(failure) => return Ok(self.add(None, Looked::Failed(failure), each)),
        };
        while let Some(object) = objects.next().await {
            let (place, looked) = match object {
                // Of a store that cannot begin behind a name.
                Ok(object) if behind.is_some_and(|behind| object.name.as_str() <= behind) => continue,
                Ok(object) => {
                    let name = words::shown(&object.name, words::MAX_STRING);
                    let looked = match object.envelope {
                        Ok(Some(FoundEnvelope { header, is_armored, modified })) => {
                            Looked::Envelope(Box::new(Seen { name, header, modified, is_armored }))
                        }
                        Ok(None) => Looked::Other,
                        Err(failure) => Looked::Failed(failure),
                    };
                    let name = Base64UrlUnpadded::encode_string(object.name.as_bytes());
                    (Some(Place::Objects(number, name)), looked)
                }
                Err(failure) => (None, Looked::Failed(failure)),
            };
            if self.add(place, looked, each).is_break() {
                return Ok(Flow::Break(()));
            }
            if self.scanned.examined.is_multiple_of(BATCH as u64) {
                self.call.progress(self.scanned.examined).await;
            }
        }
        Ok(Flow::Continue(()))
    }

    fn add(&mut self, place: Option<Place>, looked: Looked, each: &mut impl FnMut(&Seen) -> Said) -> Flow {
        if self.scanned.examined >= self.most {
            return Flow::Break(());
        }
        match looked {
            Looked::Other => {}
            Looked::Failed(failure) => {
                self.scanned.failed += 1;
                if self.scanned.failures.len() < FAILURES {
                    self.scanned.failures.push(words::shown(&failure.message, words::MAX_NAME));
                }
            }
            Looked::Envelope(seen) => {
                let policy = &self.call.facade.policy;
                let is_shown = |of: &envelope_sdk::WrappedDek| policy.shows(&self.call.caller, of.key_uri());
                if !seen.header.recipients().iter().all(is_shown) {
                    self.scanned.hidden += 1;
                } else if let Said::NoRoom = each(&seen) {
                    return Flow::Break(());
                } else {
                    self.scanned.envelopes += 1;
                }
            }
        }
        self.scanned.examined += 1;
        if place.is_some() {
            self.last = place;
        }
        Flow::Continue(())
    }

    /// A page that ends where it began would come for ever, and one without a place would look like the last.
    fn stopped(self) -> Result<Scanned, Failure> {
        if self.last == self.began {
            let first = self.scanned.failures.first().map_or("", String::as_str);
            let what = format!("none of {} items could be read: {first}", self.scanned.examined);
            return Err(Failure::new(crate::Kind::InputOutput, what)
                .hint("ask for other folders and buckets one by one, with `under`"));
        }
        Ok(Scanned { next: self.last, ..self.scanned })
    }
}

enum Looked {
    Envelope(Box<Seen>),
    /// No envelope.
    Other,
    Failed(Failure),
}

fn read(found: Found) -> (Option<Position>, Looked) {
    let (path, file, position) = match found {
        Found::Failed { failure, position } => return (Some(position), Looked::Failed(failure)),
        Found::File { path, file, position } => (path, file, position),
    };
    let name = words::path(&path);
    let looked = match header::read(&file) {
        Ok(read) => {
            let modified = file.metadata().ok().and_then(|metadata| metadata.modified().ok());
            Looked::Envelope(Box::new(Seen {
                name,
                header: read.header,
                modified,
                is_armored: read.is_armored,
            }))
        }
        Err(NoHeader::NotAnEnvelope) => Looked::Other,
        Err(NoHeader::Failed(failure)) => {
            Looked::Failed(Failure { message: format!("{name}: {}", failure.message), ..failure })
        }
    };
    (Some(position), looked)
}

/// Files that are read before anybody is told.
const BATCH: usize = 64;
/// Failures that are told in words.
const FAILURES: usize = 5;
