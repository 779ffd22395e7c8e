//! Asking who manages keys, with words for what came back.

use envelope_sdk::{
    KeyChange, KeyDescription, KeyUri, NewKey, ProviderError, ProviderErrorKind, WrappedDek, admin::all_keys,
};

use super::super::ask::{Step, context, fails, fresh_dek, not_run, told, wait};
use super::AdminBackend;

/// Whether a refusal says that the key store has not what was asked for.
pub(super) fn is_unsupported(error: &ProviderError) -> bool {
    error.kind() == ProviderErrorKind::Unsupported
}

/// Demands success. Where the key store has it not, the check is not run.
pub(super) fn must<T>(what: &str, outcome: Result<T, ProviderError>) -> Step<T> {
    match outcome {
        Ok(answer) => Ok(answer),
        Err(error) if is_unsupported(&error) => not_run(error.to_string()),
        Err(error) => fails(format!("{what} failed: {}", told(&error))),
    }
}

/// Makes the next key.
pub(super) fn must_create(backend: &dyn AdminBackend, new: &NewKey) -> Step<KeyDescription> {
    must("creating a key", wait(backend, backend.admin().create_key(new))?)
}

pub(super) fn describe(
    backend: &dyn AdminBackend,
    key: &KeyUri,
) -> Step<Result<KeyDescription, ProviderError>> {
    wait(backend, backend.admin().describe_key(key))
}

pub(super) fn must_describe(backend: &dyn AdminBackend, key: &KeyUri) -> Step<KeyDescription> {
    describe(backend, key)?.or_else(|error| fails(format!("describing {key} failed: {}", told(&error))))
}

/// Every key of the list.
pub(super) fn must_list(backend: &dyn AdminBackend) -> Step<Vec<KeyDescription>> {
    let admin = backend.admin();
    must("listing keys", wait(backend, all_keys(&*admin))?)
}

pub(super) fn change(
    backend: &dyn AdminBackend,
    key: &KeyUri,
    version: Option<&str>,
    change: KeyChange,
) -> Step<Result<KeyDescription, ProviderError>> {
    wait(backend, backend.admin().change_key(key, version, change))
}

/// What must not change by looking: all but the details, which may tell the time.
pub(super) fn facts(described: &Result<KeyDescription, ProviderError>) -> String {
    match described {
        Ok(KeyDescription { uri, state, archived, versions, .. }) => {
            format!("{uri}, {state}, archived: {archived}, {versions:?}")
        }
        Err(error) => format!("{:?}", error.kind()),
    }
}

/// Wraps a DEK and demands that it comes back.
pub(super) fn must_use(backend: &dyn AdminBackend, key: &KeyUri) -> Step<WrappedDek> {
    let (provider, dek, context) = (backend.provider(), fresh_dek(), context());
    let wrapped = wait(backend, provider.wrap_dek(key, &dek, &context))?
        .or_else(|error| fails(format!("wrapping with {key} failed: {}", told(&error))))?;
    match wait(backend, provider.unwrap_dek(&wrapped, &context))? {
        Ok(back) if back.expose() == dek.expose() => Ok(wrapped),
        Ok(_) => fails(format!("{key} gave another DEK")),
        Err(error) => fails(format!("unwrapping with {key} failed: {}", told(&error))),
    }
}

/// Demands that a wrap of a time before still opens.
pub(super) fn must_open(backend: &dyn AdminBackend, wrapped: &WrappedDek) -> Step<()> {
    match wait(backend, backend.provider().unwrap_dek(wrapped, &context()))? {
        Ok(_) => Ok(()),
        Err(error) => {
            fails(format!("what {} wrapped before does not unwrap: {}", wrapped.key_uri(), told(&error)))
        }
    }
}

/// Demands that both succeed, or fail with errors of one kind.
pub(super) fn must_agree<C, D>(
    what: &str,
    checked: &Result<C, ProviderError>,
    done: &Result<D, ProviderError>,
) -> Step<()> {
    match (checked, done) {
        (Ok(_), Ok(_)) => Ok(()),
        (Err(checked), Err(done)) if checked.kind() == done.kind() => Ok(()),
        (Err(checked), Err(done)) => {
            fails(format!("{what}: the check says {}, and then it failed as {}", told(checked), told(done)))
        }
        (Ok(_), Err(done)) => {
            fails(format!("{what}: the check permits it, and then it failed: {}", told(done)))
        }
        (Err(checked), Ok(_)) => {
            fails(format!("{what}: the check refuses it, and then it was done: {}", told(checked)))
        }
    }
}

/// Demands what every refusal tells: the provider, the key it is about, some
/// words, and that another try is not worth it.
pub(super) fn must_be_told_well(
    backend: &dyn AdminBackend,
    what: &str,
    key: Option<&KeyUri>,
    error: &ProviderError,
) -> Step<()> {
    let provider = backend.admin().provider();
    if error.provider() != provider {
        return fails(format!("{what}: the error names the provider {}, not {provider}", error.provider()));
    }
    if key.is_some() && error.key() != key {
        return fails(format!("{what}: the error names {:?}, not {key:?}", error.key()));
    }
    if error.message().trim().is_empty() {
        return fails(format!("{what}: the error says nothing"));
    }
    if error.is_retryable() {
        return fails(format!("{what}: the error is retryable: {}", told(error)));
    }
    let says_so = error.message().contains("this key store cannot");
    if says_so && !is_unsupported(error) {
        return fails(format!("{what}: what a key store cannot is Unsupported, not {}", told(error)));
    }
    Ok(())
}
