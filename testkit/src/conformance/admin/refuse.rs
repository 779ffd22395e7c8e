//! Refusals.

use envelope_sdk::{
    KeyChange, KeyState, KeyUri, ProviderError, ProviderErrorKind,
    ProviderErrorKind::{AccessDenied, NotFound, Unsupported},
    admin::AutoRotation,
};

use super::super::{
    Outcome,
    ask::{Step, decide, must_refuse, not_run, wait},
};
use super::AdminBackend;
use super::ask::{is_unsupported, must_be_told_well, must_create};

/// Does everything to [`AdminBackend::unknown_key`]: it is not found, whatever is
/// asked of it, or what is asked is nothing that the key store has. A cloud may
/// call it [`AccessDenied`](ProviderErrorKind::AccessDenied).
#[must_use]
pub fn an_unknown_key_is_not_found(backend: &dyn AdminBackend) -> Outcome {
    decide(|| {
        let unknown = backend.unknown_key();
        for (what, outcome) in everything(backend, &unknown)? {
            let kinds: &[ProviderErrorKind] = match what {
                "describe_key" => &[NotFound, AccessDenied],
                _ => &[NotFound, AccessDenied, Unsupported],
            };
            let what = format!("{what} of an unknown key");
            let error = must_refuse(&what, outcome, kinds)?;
            must_be_told_well(backend, &what, Some(&unknown), &error)?;
        }
        Ok(())
    })
}

/// Does everything to a new key. What is refused with "this key store cannot …" is
/// [`Unsupported`](ProviderErrorKind::Unsupported), not retryable, and
/// told with the provider and the key.
#[must_use]
pub fn what_a_key_store_cannot_is_unsupported_and_not_worth_a_retry(backend: &dyn AdminBackend) -> Outcome {
    decide(|| {
        let key = must_create(backend, &backend.new_key())?.uri;
        let mut refused = false;
        for (what, outcome) in everything(backend, &key)? {
            let Err(error) = outcome else { continue };
            let cannot = is_unsupported(&error) || error.message().contains("this key store cannot");
            if cannot {
                refused = true;
                must_be_told_well(backend, what, Some(&key), &error)?;
            }
        }
        if refused { Ok(()) } else { not_run("the key store can do everything") }
    })
}

/// Every operation that is about a key, with what came of it. The last ones leave
/// it rotated, suspended, and as destroyed as it can be.
fn everything(
    backend: &dyn AdminBackend,
    key: &KeyUri,
) -> Step<Vec<(&'static str, Result<(), ProviderError>)>> {
    let admin = backend.admin();
    let suspend = KeyChange::State(KeyState::Suspended);
    let alias = backend.new_key().name;
    Ok(vec![
        ("describe_key", wait(backend, admin.describe_key(key))?.map(drop)),
        ("check_rotation", wait(backend, admin.check_rotation(key))?),
        ("check_change", wait(backend, admin.check_change(key, None, suspend))?),
        ("set_not_after", wait(backend, admin.set_not_after(key, None, None))?.map(drop)),
        ("set_rotation", wait(backend, admin.set_rotation(key, AutoRotation::Off))?),
        ("rotation_status", wait(backend, admin.rotation_status(key))?.map(drop)),
        ("set_alias", wait(backend, admin.set_alias(&alias, key))?.map(drop)),
        ("restore_key", wait(backend, admin.restore_key(key))?.map(drop)),
        ("rotate_key", wait(backend, admin.rotate_key(key))?.map(drop)),
        ("change_key", wait(backend, admin.change_key(key, None, suspend))?.map(drop)),
        ("change_key", wait(backend, admin.change_key(key, None, KeyChange::Archive))?.map(drop)),
    ])
}
