//! One item: read, decide, wrap, commit; again when somebody else was faster.

use std::sync::Arc;

use envelope_layers::about_envelope;
use envelope_sdk::{EncryptionContext, Header, Kind, PayloadKind};
use futures_util::FutureExt;

use crate::{
    Checkpoint, Item, ItemError, ItemReport, Outcome, Reason, Reencryption, Source, SourceError, Stored,
    Unlock,
    patience::{self, TRIES},
    source::mac_of,
    target::Target,
};

/// What does one item after the other.
pub(crate) struct Worker {
    pub(crate) source: Arc<dyn Source>,
    pub(crate) target: Arc<Target>,
    pub(crate) checkpoint: Option<Checkpoint>,
    pub(crate) dry: bool,
}

impl Worker {
    pub(crate) async fn work(&self, item: Item) -> ItemReport {
        let mut report = ItemReport::of(item);
        report.outcome = match self.until_settled(&mut report).await {
            Ok(outcome) => outcome,
            Err(error) if is_passed_over(&report.item, &error) => Outcome::PassedOver,
            Err(error) => Outcome::Failed(error),
        };
        report
    }

    async fn until_settled(&self, report: &mut ItemReport) -> Result<Outcome, ItemError> {
        let (mut repaired, mut was_busy) = (false, false);
        for tries in 0..TRIES {
            // Whoever works on it may do so for long: key stores are not asked again for nothing.
            let free = if was_busy { self.source.check_free(&report.item).await } else { Ok(()) };
            let done = match free {
                Ok(()) => self.once(report).await,
                Err(error) => Err(error.into()),
            };
            let error = match done {
                Ok(outcome) => return Ok(outcome),
                Err(error) => error,
            };
            was_busy = matches!(error, ItemError::Source(SourceError::Busy));
            let error = if !repaired && !self.dry && may_be_cut_off(&error) {
                match self.source.repair(&report.item, self.unlock(&report.item)).await {
                    Ok(done) => {
                        repaired = true;
                        // Whoever had it under way may be done since.
                        if done || matches!(error, ItemError::Source(SourceError::CutOff)) {
                            continue;
                        }
                        error
                    }
                    Err(error) => error.into(),
                }
            } else {
                error
            };
            match error {
                ItemError::Source(SourceError::Conflict | SourceError::Busy) => {
                    report.conflicts += 1;
                    patience::wait(tries).await;
                }
                error => return Err(error),
            }
        }
        Err(ItemError::Contended { tries: TRIES })
    }

    async fn once(&self, report: &mut ItemReport) -> Result<Outcome, ItemError> {
        let stored = self.source.read(&report.item).await?;
        report.generation = Some(stored.header.generation());
        let reasons = self.target.reasons(&stored.header, stored.modified);
        let is_noted = self
            .checkpoint
            .as_ref()
            .is_some_and(|checkpoint| checkpoint.is_done(&report.item, &stored.mac()));
        // What the header shows counts for more than a line: a key may have a new version since.
        let is_done = is_noted
            && !reasons.iter().any(Reason::is_shown)
            && self.has_wanted_passphrase(&reasons, &stored.header).await?;
        let outcome = if is_done {
            report.reasons = Vec::new();
            Some(Outcome::DoneBefore)
        } else {
            report.reasons = reasons;
            report.reasons.is_empty().then_some(Outcome::InTargetState)
        };
        let done = match outcome {
            Some(outcome) if self.dry => Ok(outcome),
            Some(outcome) => {
                let tidied = self.source.tidy(&report.item, &stored).await;
                tidied.map(|()| outcome).map_err(ItemError::from)
            }
            None if self.dry => {
                report.planned = self.target.planned(&report.item, &stored.header);
                Ok(Outcome::WouldChange)
            }
            // Key stores do not hear of envelopes; what observes and records their calls does by this.
            None if self.target.reencrypts() => {
                about_envelope(*stored.header.envelope_id(), self.reencrypt(report, &stored)).await
            }
            None => about_envelope(*stored.header.envelope_id(), self.rewrap(report, &stored)).await,
        };
        report.header = Some(stored.header);
        done
    }

    /// Whether a wanted passphrase, if there is one, is that of the job before, which may have been mistyped. A job hashes it once
    /// for all that one job wrapped.
    async fn has_wanted_passphrase(&self, reasons: &[Reason], header: &Header) -> Result<bool, ItemError> {
        if self.dry || !reasons.contains(&Reason::PassphraseUnknown) {
            return Ok(true);
        }
        let opened = self.target.unlock_by_passphrase(header);
        match about_envelope(*header.envelope_id(), opened).await {
            Ok(_) => Ok(true),
            Err(envelope_sdk::DecryptError::NotAuthentic) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    async fn rewrap(&self, report: &mut ItemReport, stored: &Stored) -> Result<Outcome, ItemError> {
        let old = &stored.header;
        let padding = if is_padded(stored) { HEADER_PADDING } else { 0 };
        let envelope = self.target.wrapping(&report.item, old)?.pad_headers_to(padding);
        let context = self.target.context();
        // Each new wrap is unwrapped and compared in there.
        let new = match &stored.payload {
            Some(payload) => envelope.rewrap_header_of(payload, old.clone(), context).await?,
            None => envelope.rewrap_header(old.clone(), context).await?,
        };
        self.note(&report.item, &new)?;
        report.bytes += self.source.commit(&report.item, stored, &new).await?;
        report.generation = Some(new.generation());
        Ok(Outcome::Rewrapped)
    }

    async fn reencrypt(&self, report: &mut ItemReport, stored: &Stored) -> Result<Outcome, ItemError> {
        let header = &stored.header;
        let payload = match header.kind() {
            Kind::Attached => PayloadKind::Attached,
            Kind::Detached => PayloadKind::Detached,
            _ => {
                return Err(
                    SourceError::Unsupported("the records of a data key cannot be reencrypted here").into()
                );
            }
        };
        let old = self.target.unlock(&report.item, header.clone()).await?;
        let padding = if is_padded(stored) { HEADER_PADDING } else { 0 };
        let envelope = self.target.wrapping(&report.item, header)?.pad_headers_to(padding);
        let started = envelope.start(payload, &same_context(header, self.target.context())).await?;
        let new = Header::parse_exact(&started.header).map_err(SourceError::from)?;
        let new = self.target.unlock_with_each(header, &new).await?;
        self.note(&report.item, new.header())?;
        let keys = Reencryption { old, sealer: started.payload, new };
        report.bytes += self.source.reencrypt(&report.item, stored, keys).await?;
        report.generation = Some(0);
        Ok(Outcome::Reencrypted)
    }

    fn note(&self, item: &Item, new: &Header) -> Result<(), ItemError> {
        let noted = self.checkpoint.as_ref().map(|checkpoint| checkpoint.note(item, &mac_of(new)));
        noted.unwrap_or(Ok(())).map_err(ItemError::Checkpoint)
    }

    fn unlock(&self, item: &Item) -> Unlock {
        let (target, item) = (Arc::clone(&self.target), item.clone());
        Arc::new(move |header| {
            let (target, item) = (Arc::clone(&target), item.clone());
            async move { target.unlock(&item, header).await }.boxed()
        })
    }
}

fn is_passed_over(item: &Item, error: &ItemError) -> bool {
    !item.must_be_envelope()
        && matches!(error, ItemError::Source(SourceError::NotAnEnvelope | SourceError::Gone))
}

/// Whether half a header may be the reason.
fn may_be_cut_off(error: &ItemError) -> bool {
    use envelope_sdk::{DecryptError, RewrapError};
    matches!(
        error,
        ItemError::Source(SourceError::CutOff | SourceError::Format(_) | SourceError::Open(_))
            | ItemError::Rewrap(RewrapError::Decrypt(
                DecryptError::NotAuthentic | DecryptError::NoConfiguredKey { .. }
            ))
    )
}

/// A header that a rewrap may write in place.
fn is_padded(stored: &Stored) -> bool {
    stored.header.kind() == Kind::Attached && !stored.is_armored
}

/// The context of an envelope, as the new one shall hold it. Unlocking has shown that `supplied` fits.
pub(crate) fn same_context(header: &Header, supplied: &EncryptionContext) -> EncryptionContext {
    let stored = header.stored_context().iter();
    let context = stored.fold(EncryptionContext::new(), |context, (name, value)| context.with(name, value));
    header.withheld().iter().fold(context, |context, name| match supplied.get(name) {
        Some(value) => context.withhold(name, value),
        None => context,
    })
}

/// As `envctl` pads the headers of files.
const HEADER_PADDING: usize = 4096;
