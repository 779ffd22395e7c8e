//! What would change, and why.

use std::{collections::BTreeMap, fmt};

use envelope_sdk::KeyUri;
use serde::Serialize;

use crate::{Usage, report::calls_text};

/// Why an envelope is changed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reason {
    /// A wanted key does not open it.
    MissingRecipient {
        /// The key.
        key: KeyUri,
    },
    /// A key opens it that shall not.
    ExtraRecipient {
        /// The key.
        key: KeyUri,
    },
    /// A wanted key opens it in a version that is not the current one.
    OldVersion {
        /// The key.
        key: KeyUri,
        /// The version in the header.
        has: String,
        /// The current one.
        wants: String,
    },
    /// A key version opens it that others may have, and shall not any more.
    Compromised {
        /// The key.
        key: KeyUri,
        /// The version in the header.
        has: String,
    },
    /// A key version opens it whose cryptoperiod is over, and shall not any more.
    Due {
        /// The key.
        key: KeyUri,
        /// The version in the header.
        has: String,
    },
    /// It was last written before the time that was asked for.
    OlderThan,
    /// Everything gets a new DEK.
    NewDek,
    /// A passphrase opens it, and nothing shows whether that is the wanted one.
    PassphraseUnknown,
}

impl Reason {
    /// Its name in reports: `missing-recipient`, …
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::MissingRecipient { .. } => "missing-recipient",
            Self::ExtraRecipient { .. } => "extra-recipient",
            Self::OldVersion { .. } => "old-version",
            Self::Compromised { .. } => "compromised-key",
            Self::Due { .. } => "due-key",
            Self::OlderThan => "older-than",
            Self::NewDek => "new-dek",
            Self::PassphraseUnknown => "passphrase-unknown",
        }
    }
}

impl Reason {
    /// Whether the header shows it, so that it is gone once it was met. Of the others nothing but a checkpoint tells.
    pub(crate) fn is_shown(&self) -> bool {
        !matches!(self, Self::OlderThan | Self::NewDek | Self::PassphraseUnknown)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MissingRecipient { key } => write!(f, "{key} does not open it"),
            Self::ExtraRecipient { key } => write!(f, "{key} opens it and shall not"),
            Self::OldVersion { key, has, wants } => {
                let (has, wants) = (envelope_sdk::printable::text(has), envelope_sdk::printable::text(wants));
                write!(f, "{key} opens it in version {has}, and the current one is {wants}")
            }
            Self::Compromised { key, has } => {
                write!(
                    f,
                    "{key} opens it in version {}, which is compromised",
                    envelope_sdk::printable::text(has)
                )
            }
            Self::Due { key, has } => {
                write!(
                    f,
                    "{key} opens it in version {}, whose cryptoperiod is over",
                    envelope_sdk::printable::text(has)
                )
            }
            Self::OlderThan => f.write_str("it was last written before the given time"),
            Self::NewDek => f.write_str("it gets a new DEK"),
            Self::PassphraseUnknown => f.write_str("its passphrase may be another one than the wanted"),
        }
    }
}

/// What a job would do: made by [`Job::plan`](crate::Job::plan), from headers alone.
#[derive(Debug, Default, Serialize)]
#[non_exhaustive]
pub struct Plan {
    /// Items that were looked at, those that failed included.
    pub items: u64,
    /// Envelopes that would be changed.
    pub to_change: u64,
    /// Envelopes that are in the target state, or were done by the job that is resumed.
    pub in_target_state: u64,
    /// Items that are no envelopes, or gone by now.
    pub passed_over: u64,
    /// Items that could not be read.
    pub failed: u64,
    /// How many envelopes would be changed for each reason; one may have several.
    pub reasons: BTreeMap<&'static str, u64>,
    /// Calls to each key store that the changes take at most, by the name of its provider: unwrap, and wrap and verify for each
    /// new recipient. Where a key store rewraps by itself it takes one less, and for a wrap that several headers share.
    pub calls: BTreeMap<&'static str, u64>,
    /// How many envelopes each key version opens now.
    pub usage: Usage,
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} items: {} would be changed", self.items, self.to_change)?;
        let rest = [
            (self.in_target_state, "in the target state"),
            (self.passed_over, "no envelopes"),
            (self.failed, "could not be read"),
        ];
        for (count, what) in rest.into_iter().filter(|(count, _)| *count > 0) {
            writeln!(f, "  {count} {what}")?;
        }
        for (reason, count) in &self.reasons {
            writeln!(f, "  because of {reason}: {count}")?;
        }
        let calls = &self.calls;
        let each = if calls.is_empty() { String::new() } else { format!(" ({})", calls_text(calls)) };
        writeln!(f, "calls to key stores, at most: {}{each}", calls.values().sum::<u64>())?;
        write!(f, "{}", self.usage)
    }
}
