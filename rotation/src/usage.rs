//! How many envelopes each key version still opens.

use std::{collections::BTreeMap, fmt};

use envelope_sdk::{Header, printable};
use futures_util::StreamExt;
use serde::Serialize;

use crate::{Item, Job, Source, SourceError};

/// How many envelopes each key version opens, as their headers say: nothing of it is authenticated.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize)]
pub struct Usage {
    /// By key URI, then by version, which is empty where the key store tells none.
    pub keys: BTreeMap<String, BTreeMap<String, Opens>>,
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
    /// Reads the headers of a source, without any key. `failed` is told of what could not be read; what is no
    /// envelope is passed over where it was not named.
    pub async fn of(source: &dyn Source, mut failed: impl FnMut(Option<&Item>, SourceError)) -> Self {
        let read = source.list().map(|listed| async move {
            let item = listed.map_err(|error| (None, error))?;
            match source.read(&item).await {
                Ok(stored) => Ok(Some(stored.header)),
                Err(SourceError::NotAnEnvelope | SourceError::Gone) if !item.must_be_envelope() => Ok(None),
                Err(error) => Err((Some(item), error)),
            }
        });
        let mut usage = Self::default();
        let mut read = Box::pin(read.buffer_unordered(Job::CONCURRENCY));
        while let Some(read) = read.next().await {
            match read {
                Ok(header) => header.iter().for_each(|header| usage.add(header)),
                Err((item, error)) => failed(item.as_ref(), error),
            }
        }
        usage
    }

    /// Counts one envelope.
    pub fn add(&mut self, header: &Header) {
        let recipients = header.recipients();
        for recipient in recipients {
            let versions = self.keys.entry(recipient.key_uri().as_str().to_owned()).or_default();
            let opens = versions.entry(recipient.key_version().to_owned()).or_default();
            opens.envelopes += 1;
            opens.alone += u64::from(recipients.len() == 1);
        }
    }
}

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (key, versions) in &self.keys {
            for (version, opens) in versions {
                let version = if version.is_empty() {
                    String::new()
                } else {
                    format!(" version {}", printable::text(version))
                };
                let Opens { envelopes, alone } = opens;
                writeln!(f, "{key}{version}: opens {envelopes}, {alone} of them alone")?;
            }
        }
        Ok(())
    }
}
