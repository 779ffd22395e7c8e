//! [`LogObserver`]: the log as an observer of the layers, which cannot refuse.

use std::time::Duration;

use envelope_layers::{Call, Observer, Outcome as Seen, Stage};

use crate::{Entry, Log, Outcome, scope};

/// Records what [`Observe`](envelope_layers::Observe) sees, at one [`Stage`].
///
/// An observer cannot make a call fail and does not wait: entries are handed to the writer, and an error is told by a
/// `tracing` event only. [`Audited`](crate::Audited) is for those who must not act without a record.
#[derive(Debug)]
pub struct LogObserver {
    log: Log,
    stage: Stage,
}

impl LogObserver {
    /// Records what programs ask for: [`Stage::Call`].
    #[must_use]
    pub fn calls(log: Log) -> Self {
        Self { log, stage: Stage::Call }
    }

    /// Records each request that providers are asked to make, and what manages keys: [`Stage::Attempt`].
    #[must_use]
    pub fn attempts(log: Log) -> Self {
        Self { log, stage: Stage::Attempt }
    }
}

impl Observer for LogObserver {
    fn ended(&self, call: &Call<'_>, outcomes: &[Seen<'_>], _took: Duration) {
        if call.stage != self.stage {
            return;
        }
        let entries: Vec<_> = call
            .subjects
            .iter()
            .enumerate()
            .map(|(index, subject)| {
                let seen = outcomes.get(index).copied().unwrap_or(Seen::Dropped);
                let mut entry = Entry::new(call.operation.name(), outcome(&seen));
                entry.provider = Some(call.provider.into());
                entry.key = subject.key.map(|key| key.as_str().into());
                entry.key_version = subject.version.map(Into::into);
                if let Seen::Done { key, version } = seen {
                    entry.key = key.map(|key| key.as_str().into()).or(entry.key);
                    entry.key_version = version.map(Into::into).or(entry.key_version);
                }
                entry.key_version = entry.key_version.filter(|version| !version.is_empty());
                entry.error = matches!(seen, Seen::Failed(_)).then(|| seen.name().into());
                entry.envelope = call.envelope;
                let shown = subject.context().filter_map(|(name, value)| Some((name.into(), value?.into())));
                entry.context = shown.collect();
                entry.detail.insert("call".into(), call.id.to_string());
                if call.attempt > 1 {
                    entry.detail.insert("attempt".into(), call.attempt.to_string());
                }
                scope::fill(&mut entry);
                entry
            })
            .collect();
        // Handed over now. What becomes of it is told by the writer's own errors.
        drop(self.log.append_all(entries));
    }
}

fn outcome(seen: &Seen<'_>) -> Outcome {
    match seen {
        Seen::Done { .. } => Outcome::Ok,
        Seen::NotOffered => Outcome::NotOffered,
        Seen::Failed(_) => Outcome::Failed,
        // A kind that is not known here says nothing certain either.
        _ => Outcome::Dropped,
    }
}
