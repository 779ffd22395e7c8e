//! The audit log, read and verified without its secret.

use std::path::PathBuf;

use envelope_audit::{Filter, KeyFile, Outcome, Record, Verifier, VerifyError, read};
use envelope_mcp::{AuditFilter, AuditMetadata, AuditRecord, AuditVerified, Failure};

use super::failure;
use crate::{error::CliError, report};

pub(super) struct Log {
    path: PathBuf,
    /// From the configuration, which does not lie beside the log.
    public_key: Option<[u8; 32]>,
}

/// Ends the reading: somebody has enough, or something is wrong.
enum Stop {
    Enough,
    Wrong(VerifyError),
}

impl From<VerifyError> for Stop {
    fn from(error: VerifyError) -> Self {
        Self::Wrong(error)
    }
}

impl Log {
    pub(super) fn new(path: PathBuf, public_key: Option<[u8; 32]>) -> Self {
        Self { path, public_key }
    }
}

impl AuditMetadata for Log {
    fn search(&self, filter: &AuditFilter, each: &mut dyn FnMut(AuditRecord) -> bool) -> Result<(), Failure> {
        let wanted = wanted(filter)?;
        // Owner and mode of the log are looked at before it is read.
        KeyFile::of(&self.path).map_err(|error| failure(&error.into()))?;
        let listed = read(
            &self.path,
            &wanted,
            |record, _| if each(told(record)) { Ok(()) } else { Err(Stop::Enough) },
        );
        match listed {
            Ok(()) | Err(Stop::Enough) => Ok(()),
            Err(Stop::Wrong(error)) => Err(failure(&error.into())),
        }
    }

    fn verify(&self) -> Result<AuditVerified, Failure> {
        let file = KeyFile::of(&self.path).map_err(|error| failure(&error.into()))?;
        let key = self.public_key.unwrap_or(*file.public_key());
        let found = Verifier::with_public_key(&file, key).verify(&self.path);
        let found = found.map_err(|error| failure(&CliError::from(error)))?;
        Ok(AuditVerified {
            records: found.records,
            first: found.first,
            last: found.last,
            signed_to: found.signed,
            public_key_is_pinned: self.public_key.is_some(),
            remains: found.remains,
            clock_set_back: found.clock_set_back,
        })
    }
}

fn wanted(asked: &AuditFilter) -> Result<Filter, Failure> {
    let mut filter = Filter::new();
    (filter.key, filter.actor, filter.operation) =
        (asked.key.clone(), asked.actor.clone(), asked.operation.clone());
    (filter.since, filter.until, filter.request) = (asked.since, asked.until, asked.request.clone());
    filter.outcome = match &asked.outcome {
        None => None,
        Some(name) => Some(Outcome::named(name).ok_or_else(|| {
            let known: Vec<_> = Outcome::ALL.iter().map(|outcome| outcome.name()).collect();
            Failure::usage(format!("an outcome is one of {}", known.join(", ")))
        })?),
    };
    filter.envelope = match &asked.envelope {
        None => None,
        Some(text) => {
            Some(report::unhex(text).ok_or_else(|| Failure::usage("`envelope` is 32 hexadecimal digits"))?)
        }
    };
    Ok(filter)
}

fn told(record: &Record) -> AuditRecord {
    let entry = &record.entry;
    let pairs = entry.context.iter().chain(&entry.detail);
    AuditRecord {
        seq: record.seq,
        time: record.time_text(),
        actor: entry.actor.clone(),
        operation: entry.operation.clone().into_owned(),
        outcome: entry.outcome.name().into(),
        key: entry.key.clone(),
        key_version: entry.key_version.clone(),
        envelope: entry.envelope.map(|id| report::hex(&id)),
        error: entry.error.as_ref().map(ToString::to_string),
        rule: entry.rule.clone(),
        request: entry.request.clone(),
        details: pairs.map(|(name, value)| format!("{name}={value}")).collect(),
    }
}
