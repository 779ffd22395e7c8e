//! [`AuditedEnvelope`]: the verbs of an [`Envelope`], each with its record.

use envelope_sdk::{
    DataKey, DecryptError, EncryptError, EncryptionContext, Envelope, Header, OpenedHeader, PayloadKind,
    ProviderError, ProviderErrorKind, RewrapError, Started, crypto::cobblestone::PREFIX_LEN,
};

use crate::{
    AppendError, Entry, LazyLog, Outcome, Unwritten, about_envelope, audited::kind_name, recorded_later,
};

/// An [`Envelope`] that records what is done with which envelope: `encrypt`, `decrypt`, `rewrap` and the others, with envelope
/// id, generation, keys and outcome. What cannot be recorded fails, and its result is withheld, unless the log says
/// [`BestEffort`](crate::Unwritable::BestEffort). The calls of its keys are recorded where they are [`Audited`](crate::Audited),
/// those of an envelope that is opened with its id.
///
/// [`start`](Self::start) and [`unlock`](Self::unlock) are recorded as such: what comes of the stream behind them, the program
/// knows, and [`LazyLog::record`] records. Ranges ([`Envelope::decrypt_range`]) are read behind [`unlock`](Self::unlock).
///
/// ```
/// # use envelope_audit::{AuditedEnvelope, Filter, Log, LogOptions, VerifyError, read};
/// # use envelope_sdk::{Envelope, EncryptionContext, Keyring};
/// # use {envelope_testkit::MemoryProvider, std::sync::Arc};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("audit.log");
/// # let key = MemoryProvider::key("main");
/// # let provider = Arc::new(MemoryProvider::new().with_key(&key));
/// # let keys = Envelope::new(Keyring::new().both(provider, key));
/// # let log = Log::create(&path, &keys, LogOptions::new("payroll")).await?;
/// let envelope = AuditedEnvelope::new(keys, log);
/// let context = EncryptionContext::new();
/// let sealed = envelope.encrypt(b"attack at dawn", &context).await?;
/// assert_eq!(envelope.decrypt(&sealed, &context).await?, b"attack at dawn");
/// # drop(envelope);
/// # let mut operations = Vec::new();
/// # read::<VerifyError>(&path, &Filter::new(), |record, _| { operations.push(record.entry.operation.to_string()); Ok(()) })?;
/// # assert_eq!(operations, ["log-begin", "encrypt", "decrypt"]);
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct AuditedEnvelope {
    envelope: Envelope,
    log: Option<LazyLog>,
}

impl AuditedEnvelope {
    /// Records in `log` what is done with `envelope`.
    #[must_use]
    pub fn new(envelope: Envelope, log: impl Into<LazyLog>) -> Self {
        Self { envelope, log: Some(log.into()) }
    }

    /// Records nothing: for a program that has a log or not, as its configuration says.
    #[must_use]
    pub fn without_log(envelope: Envelope) -> Self {
        Self { envelope, log: None }
    }

    /// The envelope, whose verbs are not recorded.
    #[must_use]
    pub fn unrecorded(&self) -> &Envelope {
        &self.envelope
    }

    /// [`Envelope::encrypt`].
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn encrypt(
        &self,
        plaintext: &[u8],
        context: &EncryptionContext,
    ) -> Result<Vec<u8>, EncryptError> {
        let made = self.envelope.encrypt(plaintext, context);
        self.made("encrypt", made, |sealed| Envelope::inspect(sealed).ok()).await
    }

    /// [`Envelope::encrypt_detached`].
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn encrypt_detached(
        &self,
        plaintext: &[u8],
        context: &EncryptionContext,
    ) -> Result<(Vec<u8>, Vec<u8>), EncryptError> {
        let made = self.envelope.encrypt_detached(plaintext, context);
        self.made("encrypt", made, |(header, _)| Envelope::inspect(header).ok()).await
    }

    /// [`Envelope::start`].
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn start(
        &self,
        payload: PayloadKind,
        context: &EncryptionContext,
    ) -> Result<Started, EncryptError> {
        let made = self.envelope.start(payload, context);
        self.made("start", made, |started| Envelope::inspect(&started.header).ok()).await
    }

    /// [`Envelope::create_data_key`].
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn create_data_key(&self, context: &EncryptionContext) -> Result<DataKey, EncryptError> {
        let made = self.envelope.create_data_key(context);
        self.made("create_data_key", made, |key| Some(key.header().clone())).await
    }

    /// [`Envelope::decrypt`].
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn decrypt(
        &self,
        envelope: &[u8],
        context: &EncryptionContext,
    ) -> Result<Vec<u8>, DecryptError> {
        let header = Envelope::inspect(envelope)?;
        self.opened("decrypt", &header, self.envelope.decrypt(envelope, context)).await
    }

    /// [`Envelope::decrypt_detached`].
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn decrypt_detached(
        &self,
        header: &[u8],
        payload: &[u8],
        context: &EncryptionContext,
    ) -> Result<Vec<u8>, DecryptError> {
        let of = Envelope::inspect(header)?;
        self.opened("decrypt", &of, self.envelope.decrypt_detached(header, payload, context)).await
    }

    /// [`Envelope::unlock`].
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn unlock(
        &self,
        header: Header,
        context: &EncryptionContext,
    ) -> Result<OpenedHeader, DecryptError> {
        let of = header.clone();
        self.opened("unlock", &of, self.envelope.unlock(header, context)).await
    }

    /// [`Envelope::open_data_key`].
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn open_data_key(
        &self,
        header: &[u8],
        context: &EncryptionContext,
    ) -> Result<DataKey, DecryptError> {
        let of = Envelope::inspect(header)?;
        self.opened("open_data_key", &of, self.envelope.open_data_key(header, context)).await
    }

    /// [`Envelope::open_data_key_of`].
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn open_data_key_of(
        &self,
        record: &[u8],
        record_context: &EncryptionContext,
        header: &[u8],
        context: &EncryptionContext,
    ) -> Result<DataKey, DecryptError> {
        let of = Envelope::inspect(header)?;
        let open = self.envelope.open_data_key_of(record, record_context, header, context);
        self.opened("open_data_key", &of, open).await
    }

    /// [`Envelope::rewrap`].
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn rewrap(&self, envelope: &[u8], context: &EncryptionContext) -> Result<Vec<u8>, RewrapError> {
        let header = Envelope::inspect(envelope).map_err(DecryptError::from)?;
        let made = self.envelope.rewrap(envelope, context);
        self.changed("rewrap", &header, made, |new| Envelope::inspect(new).ok()).await
    }

    /// [`Envelope::rewrap_header`].
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn rewrap_header(
        &self,
        header: Header,
        context: &EncryptionContext,
    ) -> Result<Header, RewrapError> {
        let old = header.clone();
        self.changed("rewrap", &old, self.envelope.rewrap_header(header, context), |new| Some(new.clone()))
            .await
    }

    /// [`Envelope::rewrap_header_of`].
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn rewrap_header_of(
        &self,
        payload: &[u8; PREFIX_LEN],
        header: Header,
        context: &EncryptionContext,
    ) -> Result<Header, RewrapError> {
        let old = header.clone();
        let made = self.envelope.rewrap_header_of(payload, header, context);
        self.changed("rewrap", &old, made, |new| Some(new.clone())).await
    }

    /// [`Envelope::reencrypt`]. The record has the id of the new envelope, and `from` is that of the old one.
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn reencrypt(
        &self,
        envelope: &[u8],
        context: &EncryptionContext,
    ) -> Result<Vec<u8>, RewrapError> {
        let header = Envelope::inspect(envelope).map_err(DecryptError::from)?;
        let made = self.envelope.reencrypt(envelope, context);
        self.changed("reencrypt", &header, made, |new| Envelope::inspect(new).ok()).await
    }

    async fn made<T>(
        &self,
        operation: &'static str,
        make: impl Future<Output = Result<T, EncryptError>>,
        header: impl FnOnce(&T) -> Option<Header>,
    ) -> Result<T, EncryptError> {
        let (made, calls) = recorded_later(make).await;
        let entry = match &made {
            Ok(new) => done(entry(operation, header(new).as_ref())),
            Err(error) => failed(entry(operation, None), of_encrypt(error)),
        };
        match self.record(entry, calls).await {
            Ok(()) => made,
            // Its own error says more.
            Err(unrecorded) => made.and(Err(withheld(unrecorded).into())),
        }
    }

    async fn opened<T>(
        &self,
        operation: &'static str,
        header: &Header,
        open: impl Future<Output = Result<T, DecryptError>>,
    ) -> Result<T, DecryptError> {
        let open = about_envelope(*header.envelope_id(), header.generation(), open);
        let (opened, calls) = recorded_later(open).await;
        let entry = entry(operation, Some(header));
        let entry = match &opened {
            Ok(_) => done(entry),
            Err(error) => failed(entry, of_decrypt(error)),
        };
        match self.record(entry, calls).await {
            Ok(()) => opened,
            Err(unrecorded) => opened.and(Err(DecryptError::Keys { attempts: vec![withheld(unrecorded)] })),
        }
    }

    async fn changed<T>(
        &self,
        operation: &'static str,
        old: &Header,
        change: impl Future<Output = Result<T, RewrapError>>,
        new: impl FnOnce(&T) -> Option<Header>,
    ) -> Result<T, RewrapError> {
        let change = about_envelope(*old.envelope_id(), old.generation(), change);
        let (changed, calls) = recorded_later(change).await;
        let entry = match &changed {
            Ok(made) => {
                let new = new(made);
                let is_new = new.as_ref().is_some_and(|new| new.envelope_id() != old.envelope_id());
                let entry = done(entry(operation, new.as_ref()));
                if is_new { entry.with_detail("from", crate::text::hex(old.envelope_id())) } else { entry }
            }
            Err(error) => failed(entry(operation, Some(old)), of_rewrap(error)),
        };
        match self.record(entry, calls).await {
            Ok(()) => changed,
            Err(unrecorded) => changed.and(Err(EncryptError::from(withheld(unrecorded)).into())),
        }
    }

    /// Records it behind the `calls` that it was made of, and waits once for all of them.
    async fn record(&self, entry: Entry, calls: Unwritten) -> Result<(), AppendError> {
        if let Some(log) = &self.log {
            log.record(entry).await?;
        }
        calls.wait().await
    }
}

impl Entry {
    /// An entry about the envelope of this header, that has [`Failed`](Outcome::Failed) so far: with id, generation, context
    /// (of which the log keeps what its configuration lists), `recipients` as a detail, and key and version where there is one.
    #[must_use]
    pub fn about(operation: &'static str, header: &Header) -> Self {
        entry(operation, Some(header))
    }
}

fn entry(operation: &'static str, header: Option<&Header>) -> Entry {
    let mut entry = Entry::new(operation, Outcome::Failed);
    let Some(header) = header else { return entry };
    entry.envelope = Some(*header.envelope_id());
    entry.generation = Some(header.generation());
    entry.context = header.stored_context().clone();
    if let [recipient] = header.recipients() {
        entry.key = Some(recipient.key_uri().to_string());
        let version = recipient.key_version();
        entry.key_version = (!version.is_empty()).then(|| version.to_owned());
    }
    entry
        .with_detail("kind", header.kind().name())
        .with_detail("recipients", header.recipients().len().to_string())
}

fn done(mut entry: Entry) -> Entry {
    entry.outcome = Outcome::Ok;
    entry
}

fn failed(mut entry: Entry, error: &'static str) -> Entry {
    entry.error = Some(error.into());
    entry
}

/// What the caller gets in place of what was done and not recorded.
fn withheld(error: AppendError) -> ProviderError {
    let message = format!("it was not recorded, so its result is withheld: {error}");
    ProviderError::without_key(ProviderErrorKind::Other, "audit", message).with_source(error)
}

fn of_encrypt(error: &EncryptError) -> &'static str {
    match error {
        EncryptError::Provider(error) => kind_name(error.kind()),
        EncryptError::NotCompletable(missing) => kind_name(missing.error.kind()),
        EncryptError::Random(_) => "other",
        _ => "invalid",
    }
}

fn of_decrypt(error: &DecryptError) -> &'static str {
    match error {
        DecryptError::NotAuthentic | DecryptError::ContextNotVerified => "unauthentic",
        DecryptError::NoConfiguredKey { .. } => "no_key",
        DecryptError::Keys { attempts } => attempts.first().map_or("other", |error| kind_name(error.kind())),
        DecryptError::Format(_) | DecryptError::WrongKind { .. } => "invalid",
        _ => "other",
    }
}

fn of_rewrap(error: &RewrapError) -> &'static str {
    match error {
        RewrapError::Decrypt(error) => of_decrypt(error),
        RewrapError::Encrypt(error) => of_encrypt(error),
        RewrapError::WrapNotVerified { .. } => "unauthentic",
        _ => "invalid",
    }
}
