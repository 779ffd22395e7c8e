//! Wrapping new DEKs: with every key, or with as many as the configuration asks for while a key store is away.

use envelope_audit::{AuditedEnvelope, Entry, LazyLog, Outcome};
use envelope_sdk::{
    DataKey, EncryptError, EncryptionContext, Envelope as Core, Header, MissingKey, PayloadKind, Started,
    WrapPolicy,
};
use pyo3::{ffi::c_str, prelude::*};

use crate::{
    failure::{Failure, Result},
    kind::Kind,
};

/// What makes new envelopes.
pub(crate) struct Sealer {
    envelope: AuditedEnvelope,
    policy: WrapPolicy,
    log: Option<LazyLog>,
}

impl Sealer {
    pub(crate) fn new(envelope: AuditedEnvelope, policy: WrapPolicy, log: Option<LazyLog>) -> Self {
        Self { envelope, policy, log }
    }

    /// The keys.
    pub(crate) fn envelope(&self) -> &Core {
        self.envelope.unrecorded()
    }

    /// A new envelope, whose payload is not encrypted yet. Keys that are missing are warned of.
    pub(crate) async fn start(&self, payload: PayloadKind, context: &EncryptionContext) -> Result<Started> {
        if self.policy == WrapPolicy::All {
            return Ok(self.envelope.start(payload, context).await?);
        }
        let made = self.envelope().reporting(self.policy).start(payload, context).await;
        let parts = made.map(envelope_sdk::Reported::into_parts);
        let header = parts.as_ref().ok().and_then(|(started, _)| Core::inspect(&started.header).ok());
        self.reported("start", header.as_ref(), parts).await
    }

    /// A new data key, likewise.
    pub(crate) async fn create_data_key(&self, context: &EncryptionContext) -> Result<DataKey> {
        if self.policy == WrapPolicy::All {
            return Ok(self.envelope.create_data_key(context).await?);
        }
        let made = self.envelope().reporting(self.policy).create_data_key(context).await;
        let parts = made.map(envelope_sdk::Reported::into_parts);
        let header = parts.as_ref().ok().map(|(key, _)| key.header().clone());
        self.reported("create_data_key", header.as_ref(), parts).await
    }

    /// Records it, as [`AuditedEnvelope`] does, and warns.
    async fn reported<T>(
        &self,
        operation: &'static str,
        header: Option<&Header>,
        made: std::result::Result<(T, Vec<MissingKey>), EncryptError>,
    ) -> Result<T> {
        let mut entry = match header {
            Some(header) => Entry::about(operation, header),
            None => Entry::new(operation, Outcome::Failed),
        };
        match &made {
            Ok(_) => entry.outcome = Outcome::Ok,
            Err(_) => entry.error = Some("other".into()),
        }
        let recorded = match &self.log {
            Some(log) => log.record(entry).await,
            None => Ok(()),
        };
        // Its own error says more.
        let (made, missing) = made?;
        recorded
            .map_err(|error| Failure::new(Kind::InputOutput, format!("it cannot be recorded: {error}")))?;
        missing.iter().try_for_each(warn)?;
        Ok(made)
    }
}

/// A warning, which a program may make an error.
fn warn(missing: &MissingKey) -> Result<()> {
    let text = format!(
        "the envelope does not open with {} yet, which did not wrap: {}; a rewrap adds it once its key store is back",
        missing.key, missing.error
    );
    // What is no text of C is no name of a key either.
    let text = std::ffi::CString::new(text).unwrap_or_else(|_| c_str!("a key did not wrap").into());
    Python::attach(|py| {
        let class = py.import("envelope_sdk.errors")?.getattr("MissingKeyWarning")?;
        Ok(PyErr::warn(py, &class, &text, 1)?)
    })
}
