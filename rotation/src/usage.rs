//! How many envelopes each key version still opens.

use std::{collections::BTreeMap, fmt};

use envelope_sdk::{Header, printable};
use futures_util::StreamExt;
use serde::Serialize;

use crate::{
    Item, Job, Source, SourceError, Stored,
    patience::{self, TRIES},
};

/// How many envelopes each key version opens, as their headers say: nothing of it is authenticated.
///
/// Memory is bounded whatever the headers say: of more than [`MOST`](Self::MOST) key versions, the others are counted together.
/// An item that a source lists twice counts twice.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize)]
pub struct Usage {
    /// By key URI, then by version, which is empty where the key store tells none.
    pub keys: BTreeMap<String, BTreeMap<String, Opens>>,
    /// What key versions open that came after the first [`MOST`](Self::MOST).
    pub others: Opens,
    #[serde(skip)]
    versions: usize,
}

/// What one key version opens.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Opens {
    /// Envelopes that it opens.
    pub envelopes: u64,
    /// Those of them that no other key opens: they are lost with it.
    pub alone: u64,
}

impl Usage {
    /// Key versions that are told apart: far more than an organisation has.
    pub const MOST: usize = 10_000;

    /// Reads the headers of a source, without any key, on a runtime of tokio with time. `failed` is told of what could not be read; what is no
    /// envelope is passed over where it was not named.
    pub async fn of(source: &dyn Source, failed: impl FnMut(Option<&Item>, SourceError)) -> Self {
        Self::each(source, |_, _| {}, failed).await
    }

    /// As [`of`](Self::of), and tells each envelope and its header as it is counted.
    pub async fn each(
        source: &dyn Source,
        mut found: impl FnMut(&Item, &Header),
        mut failed: impl FnMut(Option<&Item>, SourceError),
    ) -> Self {
        let read = source.list().map(|listed| async move {
            let item = listed.map_err(|error| (None, error))?;
            match read(source, &item).await {
                Ok(stored) => Ok(Some((item, stored.header))),
                Err(SourceError::NotAnEnvelope | SourceError::Gone) if !item.must_be_envelope() => Ok(None),
                Err(error) => Err((Some(item), error)),
            }
        });
        let mut usage = Self::default();
        let mut read = Box::pin(read.buffer_unordered(Job::CONCURRENCY));
        while let Some(read) = read.next().await {
            match read {
                Ok(Some((item, header))) => {
                    usage.add(&header);
                    found(&item, &header);
                }
                Ok(None) => {}
                Err((item, error)) => failed(item.as_ref(), error),
            }
        }
        usage
    }

    /// Counts one envelope.
    pub fn add(&mut self, header: &Header) {
        let recipients = header.recipients();
        for recipient in recipients {
            let (key, version) = (recipient.key_uri().as_str(), recipient.key_version());
            let is_known = self.keys.get(key).is_some_and(|versions| versions.contains_key(version));
            let opens = if is_known || self.versions < Self::MOST {
                self.versions += usize::from(!is_known);
                let versions = self.keys.entry(key.to_owned()).or_default();
                versions.entry(version.to_owned()).or_default()
            } else {
                &mut self.others
            };
            opens.envelopes += 1;
            opens.alone += u64::from(recipients.len() == 1);
        }
    }
}

/// Reads an item, also one that another process works on, or replaces, now.
async fn read(source: &dyn Source, item: &Item) -> Result<Stored, SourceError> {
    let mut last = SourceError::Busy;
    for tries in 0..TRIES {
        match source.read(item).await {
            Err(error @ (SourceError::Busy | SourceError::Conflict)) => last = error,
            read => return read,
        }
        patience::wait(tries).await;
    }
    Err(last)
}

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let opens = |Opens { envelopes, alone }: &Opens| format!("opens {envelopes}, {alone} of them alone");
        for (key, versions) in &self.keys {
            for (version, of_version) in versions {
                let version = if version.is_empty() {
                    String::new()
                } else {
                    format!(" version {}", printable::text(version))
                };
                writeln!(f, "{key}{version}: {}", opens(of_version))?;
            }
        }
        if self.others.envelopes > 0 {
            writeln!(f, "other key versions, beyond {}: {}", Self::MOST, opens(&self.others))?;
        }
        Ok(())
    }
}
