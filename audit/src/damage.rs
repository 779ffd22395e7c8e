//! What is wrong with a log, and where first.

use std::path::PathBuf;

use envelope_sdk::printable;

use crate::record::NotARecord;

/// The first thing that is wrong with a log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}, line {line}: {fault}", printable::path(file))]
#[non_exhaustive]
pub struct Damage {
    /// The file it is in.
    pub file: PathBuf,
    /// The line, from 1: the first bad one, or the one that is missing.
    pub line: u64,
    /// What it is.
    pub fault: Fault,
}

/// What is wrong with a line, or with a file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// Not the one spelling of a record.
    #[error("{0}")]
    NotARecord(#[from] NotARecord),
    /// Records before it were removed.
    #[error("records {expected} to {} are gone", found - 1)]
    Gap {
        /// The `seq` that comes next.
        expected: u64,
        /// The `seq` that is there.
        found: u64,
    },
    /// It stands there twice, or was moved.
    #[error("record {found} stands where record {expected} belongs")]
    Repeated {
        /// The `seq` that comes next.
        expected: u64,
        /// The `seq` that is there.
        found: u64,
    },
    /// It does not follow from the record before.
    #[error("record {seq} does not follow from the one before it: one of them was changed")]
    Chain {
        /// The record.
        seq: u64,
    },
    /// Its MAC is wrong.
    #[error("record {seq} was changed: its MAC is wrong")]
    Mac {
        /// The record.
        seq: u64,
    },
    /// Its time and what it says of the clock do not agree.
    #[error("record {seq} does not say what its time says of the clock")]
    Clock {
        /// The record.
        seq: u64,
    },
    /// A record of the log itself that does not belong here, or that is missing here.
    #[error("record {seq} does not belong at this place of its segment")]
    Segment {
        /// The record.
        seq: u64,
    },
    /// The signature of a checkpoint or of a prune record is wrong.
    #[error("the signature of record {seq} is wrong")]
    Signature {
        /// The record.
        seq: u64,
    },
    /// The tail is gone.
    #[error("records {from} to {to} are gone: the log was cut")]
    Cut {
        /// The first record that is missing.
        from: u64,
        /// The last record, as the head says.
        to: u64,
    },
    /// The head cannot be believed, or does not fit.
    #[error("the head of the log: {0}")]
    Head(&'static str),
    /// The file is not there.
    #[error("the file is gone")]
    Missing,
    /// Nothing says that the log begins here.
    #[error("the log begins with record {first}, and no record says that those before it were pruned")]
    Beginning {
        /// The first record.
        first: u64,
    },
    /// The log is not the one that was there when this checkpoint was made.
    #[error(
        "the log is not the one of the checkpoint at record {seq}: it was cut, or an older copy took its place"
    )]
    Anchor {
        /// Its position.
        seq: u64,
    },
}

impl Fault {
    /// The class, as `docs/spec/audit-v1.md` names it.
    #[must_use]
    pub fn class(&self) -> &'static str {
        match self {
            Self::NotARecord(_) => "not a record",
            Self::Gap { .. } => "gap",
            Self::Repeated { .. } => "repeated",
            Self::Chain { .. } => "chain",
            Self::Mac { .. } => "mac",
            Self::Clock { .. } => "clock",
            Self::Segment { .. } => "segment",
            Self::Signature { .. } => "signature",
            Self::Cut { .. } => "cut",
            Self::Head(_) => "head",
            Self::Missing => "missing",
            Self::Beginning { .. } => "beginning",
            Self::Anchor { .. } => "anchor",
        }
    }
}
