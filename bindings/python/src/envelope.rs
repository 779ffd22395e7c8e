//! [`Envelope`]: the verbs, for messages in memory, and what leads to data keys, files and ranges.

use std::{num::NonZeroUsize, path::PathBuf, sync::Arc};

use envelope_audit::AuditedEnvelope;
use envelope_sdk::{
    DecryptError, EncryptionContext, Envelope as Core, FormatError, Header, Kind, OpenedHeader, PayloadKind,
    Started, crypto::cobblestone, format::armor, stream::Parallel,
};
use pyo3::{prelude::*, types::PyBytes};
use tokio::task::spawn_blocking;

use crate::{
    aside::Aside,
    context::{Entries, context},
    data::Data,
    data_key::DataKey,
    failure::{Failure, Result, raised},
    files::{self, Place},
    providers::{Providers, Shared},
    ranged::RangedReader,
    rewrap::{self, Recipients},
    run::wait,
    start::Sealer,
    task::Task,
};

/// Encrypts and decrypts with the keys of a configuration.
#[pyclass(frozen, module = "envelope_sdk._envelope_sdk")]
pub(crate) struct Envelope(Arc<Aside<Keys>>);

/// The keys of an [`Envelope`]. What is done with them is recorded, where the configuration has an audit log.
pub(crate) struct Keys {
    pub(crate) providers: Arc<Aside<Shared>>,
    pub(crate) sealer: Sealer,
    /// Leaves room in headers, so that a rewrap of a file may fit in place.
    pub(crate) file_sealer: Sealer,
    pub(crate) opener: AuditedEnvelope,
}

impl Keys {
    fn new(providers: Arc<Aside<Shared>>, keys: &[String], decrypt_with: Option<&[String]>) -> Result<Self> {
        let opened = providers.opened()?;
        let sealer = Core::new(opened.keyring_to_encrypt(keys)?);
        let opener = match decrypt_with {
            None if keys.is_empty() => opened.keyring()?,
            // Those that encrypt may decrypt, and so may those of the configuration.
            None => {
                let (_, configured) = opened.configured_keys()?;
                opened.keyring_to_decrypt(&both(keys, configured.iter().map(ToString::to_string)))?
            }
            Some(named) => {
                let own = if keys.is_empty() {
                    opened.configured_keys()?.0.iter().map(ToString::to_string).collect()
                } else {
                    keys.to_vec()
                };
                opened.keyring_to_decrypt(&both(&own, named.iter().cloned()))?
            }
        };
        let of =
            |envelope| Sealer::new(opened.audited(envelope), opened.wrap_policy(), opened.audit().cloned());
        Ok(Self {
            sealer: of(sealer.clone()),
            file_sealer: of(sealer.pad_headers_to(FILE_HEADER_PADDING)),
            opener: opened.audited(Core::new(opener)),
            providers,
        })
    }
}

fn both(first: &[String], second: impl Iterator<Item = String>) -> Vec<String> {
    first.iter().cloned().chain(second).collect()
}

#[pymethods]
impl Envelope {
    /// For `keys`, or those of the configuration.
    #[new]
    fn new(
        py: Python<'_>,
        providers: PyRef<'_, Providers>,
        keys: Vec<String>,
        decrypt_with: Option<Vec<String>>,
    ) -> PyResult<Self> {
        let providers = providers.shared();
        // A key store may have to be looked into for a bare name.
        let keys = py.detach(|| Keys::new(providers, &keys, decrypt_with.as_deref()))?;
        Ok(Self(Arc::new(Aside::new(keys))))
    }

    /// The keys that encrypt and those that may decrypt.
    fn keys(&self) -> (Vec<String>, Vec<String>) {
        let encrypting = self.0.sealer.envelope().keyring().encrypting().map(ToString::to_string).collect();
        let decrypting = self.0.opener.unrecorded().keyring().decrypting().map(ToString::to_string).collect();
        (encrypting, decrypting)
    }

    /// Encrypts a message: header and payload in one, as text if it is to be `armored`.
    fn encrypt<'py>(
        &self,
        py: Python<'py>,
        data: Data,
        entries: Entries,
        armored: bool,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let keys = self.keys_here()?;
        let started = wait(py, keys.sealer.start(PayloadKind::Attached, &context(entries)))?;
        if armored {
            let text = py.detach(|| sealed(started, &data).map(|sealed| armor::encode(&sealed)))?;
            return Ok(PyBytes::new(py, text.as_bytes()));
        }
        let len = started.header.len() + cobblestone::sealed_len(data.len());
        PyBytes::new_with(py, len, |out| Ok(py.detach(|| seal_to(started, &data, out))?))
    }

    /// The same without waiting.
    fn begin_encrypt(&self, data: Data, entries: Entries, armored: bool, done: Py<PyAny>) -> PyResult<Task> {
        let keys = self.keys_here()?;
        let work = async move {
            let started = keys.sealer.start(PayloadKind::Attached, &context(entries)).await?;
            computed(move || {
                let sealed = sealed(started, &data)?;
                Ok(if armored { armor::encode(&sealed).into_bytes() } else { sealed })
            })
            .await
        };
        Task::begin::<_, Failure>(work, done)
    }

    /// Encrypts a message: header and payload apart.
    fn encrypt_detached<'py>(
        &self,
        py: Python<'py>,
        data: Data,
        entries: Entries,
    ) -> PyResult<(Bound<'py, PyBytes>, Bound<'py, PyBytes>)> {
        let keys = self.keys_here()?;
        let Started { header, payload } =
            wait(py, keys.sealer.start(PayloadKind::Detached, &context(entries)))?;
        let header = PyBytes::new(py, &header);
        let len = cobblestone::sealed_len(data.len());
        let seal = |out: &mut [u8]| parallel(data.len()).seal_slice(payload, &data, out);
        let payload = PyBytes::new_with(py, len, |out| py.detach(|| seal(out)).map_err(raised))?;
        Ok((header, payload))
    }

    /// Decrypts a message.
    fn decrypt<'py>(
        &self,
        py: Python<'py>,
        sealed: Data,
        entries: Entries,
        armored: bool,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let keys = self.keys_here()?;
        let sealed = py.detach(|| Binary::of(sealed, armored))?;
        let (header, at) = sealed.header(Kind::Attached)?;
        let opened = wait(py, keys.opener.unlock(header, &context(entries)))?;
        opened_bytes(py, &opened, &sealed[at..])
    }

    /// The same without waiting.
    fn begin_decrypt(
        &self,
        sealed: Data,
        entries: Entries,
        armored: bool,
        done: Py<PyAny>,
    ) -> PyResult<Task> {
        let keys = self.keys_here()?;
        let work = async move {
            let sealed = computed(move || Binary::of(sealed, armored)).await?;
            let (header, at) = sealed.header(Kind::Attached)?;
            let opened = keys.opener.unlock(header, &context(entries)).await?;
            computed(move || {
                let mut out = vec![0; opened_len(&sealed[at..])?];
                open_to(&opened, &sealed[at..], &mut out)?;
                Ok(out)
            })
            .await
        };
        Task::begin::<_, Failure>(work, done)
    }

    /// Decrypts what [`encrypt_detached`](Self::encrypt_detached) made.
    fn decrypt_detached<'py>(
        &self,
        py: Python<'py>,
        header: Data,
        payload: Data,
        entries: Entries,
        armored: bool,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let keys = self.keys_here()?;
        let header = Binary::of(header, armored)?;
        let header = Header::parse_exact(&header).map_err(raised)?;
        expect(&header, Kind::Detached)?;
        let opened = wait(py, keys.opener.unlock(header, &context(entries)))?;
        opened_bytes(py, &opened, &payload)
    }

    /// Wraps the DEK of an envelope, detached header or data key anew.
    fn rewrap(
        &self,
        py: Python<'_>,
        sealed: Data,
        recipients: Recipients,
        entries: Entries,
        armored: bool,
    ) -> PyResult<Vec<u8>> {
        let keys = self.keys_here()?;
        wait(py, rewrap::rewrap(keys, sealed, recipients, context(entries), armored))
    }

    /// The same without waiting.
    fn begin_rewrap(
        &self,
        sealed: Data,
        recipients: Recipients,
        entries: Entries,
        armored: bool,
        done: Py<PyAny>,
    ) -> PyResult<Task> {
        let keys = self.keys_here()?;
        Task::begin(rewrap::rewrap(keys, sealed, recipients, context(entries), armored), done)
    }

    /// Makes a data key.
    fn new_data_key(&self, py: Python<'_>, entries: Entries) -> PyResult<DataKey> {
        let keys = self.keys_here()?;
        wait(py, keys.sealer.create_data_key(&context(entries))).map(DataKey::new)
    }

    /// The same without waiting.
    fn begin_new_data_key(&self, entries: Entries, done: Py<PyAny>) -> PyResult<Task> {
        let keys = self.keys_here()?;
        let work = async move { keys.sealer.create_data_key(&context(entries)).await.map(DataKey::new) };
        Task::begin(work, done)
    }

    /// Opens a data key from its header, with one of its records and that one's context, if they are given.
    fn open_data_key(
        &self,
        py: Python<'_>,
        wrapped: Data,
        entries: Entries,
        record: Option<(Data, Entries)>,
        armored: bool,
    ) -> PyResult<DataKey> {
        let keys = self.keys_here()?;
        wait(py, open_data_key(keys, wrapped, context(entries), record, armored))
    }

    /// The same without waiting.
    fn begin_open_data_key(
        &self,
        wrapped: Data,
        entries: Entries,
        record: Option<(Data, Entries)>,
        armored: bool,
        done: Py<PyAny>,
    ) -> PyResult<Task> {
        let keys = self.keys_here()?;
        Task::begin(open_data_key(keys, wrapped, context(entries), record, armored), done)
    }

    /// Encrypts a file. Returns the number of plaintext bytes.
    fn encrypt_file(
        &self,
        py: Python<'_>,
        source: Place,
        target: Place,
        entries: Entries,
        armored: bool,
        overwrite: bool,
    ) -> PyResult<u64> {
        let keys = self.keys_here()?;
        let job = files::Job { keys, context: context(entries), armored, overwrite, decrypts: false };
        job.here(py, source, target, files::Job::encrypt)
    }

    /// The same without waiting, from path to path.
    fn begin_encrypt_file(
        &self,
        source: PathBuf,
        target: PathBuf,
        entries: Entries,
        armored: bool,
        overwrite: bool,
        done: Py<PyAny>,
    ) -> PyResult<Task> {
        let keys = self.keys_here()?;
        let job = files::Job { keys, context: context(entries), armored, overwrite, decrypts: false };
        job.begin(source, target, files::Job::encrypt, done)
    }

    /// Decrypts a file. Returns the number of plaintext bytes.
    fn decrypt_file(
        &self,
        py: Python<'_>,
        source: Place,
        target: Place,
        entries: Entries,
        overwrite: bool,
    ) -> PyResult<u64> {
        let keys = self.keys_here()?;
        let job = files::Job { keys, context: context(entries), armored: false, overwrite, decrypts: true };
        job.here(py, source, target, files::Job::decrypt)
    }

    /// The same without waiting, from path to path.
    fn begin_decrypt_file(
        &self,
        source: PathBuf,
        target: PathBuf,
        entries: Entries,
        overwrite: bool,
        done: Py<PyAny>,
    ) -> PyResult<Task> {
        let keys = self.keys_here()?;
        let job = files::Job { keys, context: context(entries), armored: false, overwrite, decrypts: true };
        job.begin(source, target, files::Job::decrypt, done)
    }

    /// A reader of any part of a file.
    fn open(&self, py: Python<'_>, source: Place, entries: Entries) -> PyResult<RangedReader> {
        let keys = self.keys_here()?;
        Ok(py.detach(|| RangedReader::open(&keys, source, &context(entries)))?)
    }
}

impl Envelope {
    /// The keys, in the process that they were opened in.
    fn keys_here(&self) -> PyResult<Arc<Aside<Keys>>> {
        self.0.providers.opened().map_err(raised)?;
        Ok(Arc::clone(&self.0))
    }
}

async fn open_data_key(
    keys: Arc<Aside<Keys>>,
    wrapped: Data,
    context: EncryptionContext,
    record: Option<(Data, Entries)>,
    armored: bool,
) -> Result<DataKey> {
    let wrapped = Binary::of(wrapped, armored)?;
    let opened = match record {
        None => keys.opener.open_data_key(&wrapped, &context).await,
        Some((record, entries)) => {
            let own = crate::context::context(entries);
            keys.opener.open_data_key_of(&record, &own, &wrapped, &context).await
        }
    };
    Ok(DataKey::new(opened?))
}

/// The bytes of an envelope, without their armor.
pub(crate) enum Binary {
    AsGiven(Data),
    Decoded(Vec<u8>),
}

impl Binary {
    /// `data` itself, or what it is the text form of.
    pub(crate) fn of(data: Data, armored: bool) -> Result<Self> {
        if !armored {
            return Ok(Self::AsGiven(data));
        }
        // What is no text is no text form.
        let text = std::str::from_utf8(&data).map_err(|_| FormatError::NotAnEnvelope)?;
        Ok(Self::Decoded(armor::decode(text)?))
    }

    /// The header at the front, and where the payload begins.
    fn header(&self, kind: Kind) -> Result<(Header, usize)> {
        let (header, at) = Header::parse(self)?;
        expect(&header, kind)?;
        Ok((header, at))
    }
}

impl std::ops::Deref for Binary {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::AsGiven(data) => data,
            Self::Decoded(bytes) => bytes,
        }
    }
}

fn expect(header: &Header, expected: Kind) -> Result<()> {
    let name = |kind| match kind {
        Kind::Attached => "an envelope with its payload",
        Kind::Detached => "a detached header",
        Kind::DataKey => "a data key",
        _ => "an envelope of an unknown kind",
    };
    if header.kind() == expected {
        return Ok(());
    }
    Err(DecryptError::WrongKind { expected: name(expected), actual: name(header.kind()) }.into())
}

/// What takes long, off the threads that wait.
async fn computed<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    match spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => Err(Failure::other(error)),
    }
}

fn sealed(started: Started, data: &[u8]) -> Result<Vec<u8>> {
    let mut sealed = vec![0; started.header.len() + cobblestone::sealed_len(data.len())];
    seal_to(started, data, &mut sealed)?;
    Ok(sealed)
}

fn seal_to(started: Started, data: &[u8], out: &mut [u8]) -> Result<()> {
    let (header, payload) = out.split_at_mut(started.header.len());
    header.copy_from_slice(&started.header);
    Ok(parallel(data.len()).seal_slice(started.payload, data, payload)?)
}

fn opened_bytes<'py>(
    py: Python<'py>,
    opened: &OpenedHeader,
    payload: &[u8],
) -> PyResult<Bound<'py, PyBytes>> {
    let len = opened_len(payload)?;
    PyBytes::new_with(py, len, |out| Ok(py.detach(|| open_to(opened, payload, out))?))
}

fn opened_len(payload: &[u8]) -> Result<usize> {
    let len = cobblestone::opened_len(payload.len() as u64).and_then(|len| usize::try_from(len).ok());
    len.ok_or_else(|| DecryptError::NotAuthentic.into())
}

fn open_to(opened: &OpenedHeader, payload: &[u8], out: &mut [u8]) -> Result<()> {
    Ok(parallel(out.len()).open_slice(opened, payload, out)?)
}

/// As many threads as `bytes` are worth.
fn parallel(bytes: usize) -> Parallel<'static> {
    if bytes < WORTH_THREADS { Parallel::new().threads(NonZeroUsize::MIN) } else { Parallel::new() }
}

/// Below, starting threads costs more than they save.
const WORTH_THREADS: usize = 1 << 20;
/// Headers of files have room up to a multiple of as many bytes, as envctl gives it.
const FILE_HEADER_PADDING: usize = 4096;
