//! The key stores and keys of one run: the configuration, with the global options
//! over it. Passphrases are asked for, and key stores opened, only when a key is really used,
//! and once per run.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use envelope_policy::{Guard, Operation};
use envelope_providers::Builder;
use envelope_rotation::KeyStores;
use envelope_sdk::{KeyUri, Registry, secret::Secrets};

use crate::{
    cli::Global,
    error::{CliError, ErrorKind, Result},
    passphrase::Passphrases,
    recorder::{Recorder, request_id},
    runtime::block_on,
    trace::Trace,
    user,
};

/// The key stores and keys of one run.
pub(crate) struct Providers {
    opened: envelope_providers::Providers,
    passphrases: Arc<Passphrases>,
    recorder: Recorder,
}

impl Providers {
    /// Reads the configuration, and the secrets that the call names.
    pub(crate) fn new(global: &Global) -> Result<Self> {
        // Of many files each has a thread, and that may wait for a disk. A job has one for all of its calls.
        Self::of(global, builder(global)?.record_on_callers_threads())
    }

    /// The same, for what is done with the audit log `log`. If it is the one of this call, its keys are used without a record: it
    /// may not be there, and to look at it must not add to it.
    pub(crate) fn beside_log(global: &Global, log: &Path) -> Result<Self> {
        let opened = builder(global)?.build()?;
        let own = opened.audit().is_some_and(|own| is_same(own.path(), log));
        let builder = builder(global)?;
        Self::of(global, if own { builder.without_audit() } else { builder })
    }

    /// The same for a job, which has `key_stores` over the key stores, and below the policy: that is asked for each item.
    pub(crate) fn for_job(global: &Global, key_stores: &KeyStores) -> Result<Self> {
        let key_stores = key_stores.clone();
        Self::of(global, builder(global)?.outermost(move |below| key_stores.over(&below)))
    }

    fn of(global: &Global, builder: Builder) -> Result<Self> {
        let passphrases = Arc::new(Passphrases::of(global));
        let opened = builder.secrets(Arc::clone(&passphrases) as Arc<dyn Secrets>).build()?;
        // What is dropped waits for its threads, and one of them for a person or a token: a call that has
        // failed says so first (`main`).
        KEPT.lock().unwrap_or_else(PoisonError::into_inner).push(opened.registry().clone());
        // After the configuration, in which there may be something wrong: a pipe may keep one waiting.
        passphrases.read_given(global)?;
        let recorder = Recorder::new(opened.audit());
        Ok(Self { opened, passphrases, recorder })
    }

    /// Asks the policy, if there is one, for what uses no key store, with these keys or with no particular one. What it denies is
    /// recorded by the word that what is done is recorded by.
    pub(crate) fn check(
        &self,
        operation: Operation,
        keys: &[&KeyUri],
        recorded_as: &'static str,
    ) -> Result<()> {
        Ok(block_on(self.opened.check_as(operation, keys, recorded_as))?)
    }

    /// The configuration's keys and key stores.
    pub(crate) fn opened(&self) -> &envelope_providers::Providers {
        &self.opened
    }

    /// What records what is done.
    pub(crate) fn recorder(&self) -> &Recorder {
        &self.recorder
    }

    pub(crate) fn passphrases(&self) -> &Passphrases {
        &self.passphrases
    }

    /// The same for key stores of their own.
    pub(crate) fn secrets(&self) -> Arc<dyn Secrets> {
        Arc::clone(&self.passphrases) as Arc<dyn Secrets>
    }

    /// Where the keystore is, or would be.
    pub(crate) fn keystore(&self) -> Result<PathBuf> {
        self.opened.keystore().map(Into::into).or_else(envelope_local::default_keystore).ok_or_else(|| {
            CliError::usage("neither $XDG_DATA_HOME nor $HOME is set, so there is no default keystore")
                .hint("name one with --keystore FILE")
        })
    }
}

/// Asks the policy whether the header of an envelope for these keys may be read. No secret is read.
pub(crate) fn check_inspect(global: &Global, keys: &[&KeyUri]) -> Result<()> {
    let opened = builder(global)?.secrets(Arc::new(Passphrases::of(global))).build()?;
    check(opened.guard(), Operation::Inspect, keys)
}

fn check(guard: Option<&Guard>, operation: Operation, keys: &[&KeyUri]) -> Result<()> {
    let Some(guard) = guard else { return Ok(()) };
    let request = || guard.request(operation);
    let requests = keys.iter().map(|key| request().key(key));
    let none = keys.is_empty().then(request);
    requests.chain(none).try_for_each(|request| {
        guard.check(&request).map_err(|denied| CliError::new(ErrorKind::KeyRefused, denied.to_string()))
    })
}

/// The configuration, with the options of the call over it.
pub(crate) fn builder(global: &Global) -> Result<Builder> {
    let builder = envelope_providers::Providers::builder().actor(user::actor()?);
    // Standard output is for what is encrypted and decrypted.
    let builder = builder.request(request_id()?).keep_standard_output();
    let builder = match &global.audit_log {
        Some(path) => builder.audit_file(path),
        None => builder,
    };
    let mut builder = match &global.config {
        Some(path) => builder.file(path),
        None => builder.user_file(),
    };
    if let Some(name) = &global.profile {
        builder = builder.profile(name);
    }
    if let Some(path) = &global.keystore {
        builder = builder.set("local", "keystore", path);
    }
    if let Some(work) = global.max_passphrase_work {
        builder = builder.set("local", "max-passphrase-work", work.to_string());
    }
    for setting in &global.key_stores.settings {
        if let Some(value) = &setting.value {
            builder = builder.set(setting.provider, setting.name, value);
        }
    }
    if global.trace {
        builder = builder.observe(Trace::begin(global.json));
    }
    Ok(builder)
}

/// Whether two names mean one log, which need not be there.
fn is_same(one: &Path, other: &Path) -> bool {
    let real = |path: &Path| {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        Some(fs::canonicalize(folder).ok()?.join(path.file_name()?))
    };
    one == other || real(one).is_some_and(|one| real(other) == Some(one))
}

/// To the end of the process.
static KEPT: Mutex<Vec<Registry>> = Mutex::new(Vec::new());
