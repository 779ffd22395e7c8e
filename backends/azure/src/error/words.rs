//! Our own words for what Azure says, and the codes of Azure's that are known.

use envelope_sdk::ProviderErrorKind::{self, AccessDenied, Invalid, NotFound, State, Throttled};

/// What is known of a code of `error.code` or `error.innererror.code`
/// (<https://learn.microsoft.com/azure/key-vault/general/rest-error-codes>,
/// <https://learn.microsoft.com/azure/key-vault/general/common-error-codes>).
pub(super) fn known_code(code: &str) -> Option<&'static (&'static str, ProviderErrorKind, &'static str)> {
    CODES.iter().find(|(known, ..)| *known == code)
}

/// What a refusal without such a code is about, as far as its words say it: one that
/// is of a state of the key, and not of the caller.
pub(super) fn of_state(message: &str) -> Option<&'static str> {
    let message = message.to_ascii_lowercase();
    if message.contains("disabled key") || message.contains("key is disabled") {
        Some(DISABLED)
    } else if message.contains("expired key") || message.contains("key is expired") {
        Some(EXPIRED)
    } else if message.contains("not yet valid") {
        Some(NOT_YET)
    } else if message.contains("not permitted on this key") {
        Some(FORBIDDEN)
    } else {
        None
    }
}

/// Each code that is shown, what it means, and what to do.
const CODES: &[(&str, ProviderErrorKind, &str)] = &[
    ("KeyDisabled", State, DISABLED),
    ("KeyExpired", State, EXPIRED),
    ("KeyNotYetValid", State, NOT_YET),
    ("ObjectIsDeletedButRecoverable", State, DELETED),
    (
        "ObjectIsBeingDeleted",
        State,
        "the key is being deleted: try again when that is done, and recover it then if it is needed",
    ),
    ("ObjectIsBeingRecovered", State, "the key is being recovered: try again later"),
    ("ForbiddenByRbac", AccessDenied, ""),
    (
        "ForbiddenByPolicy",
        AccessDenied,
        "no access policy of the vault permits it to the caller: add one, or let the vault use roles",
    ),
    (
        "ForbiddenByFirewall",
        AccessDenied,
        "the network rules of the vault keep this machine out: add its address or network to them",
    ),
    (
        "ForbiddenByConnection",
        AccessDenied,
        "the vault is reached by its private endpoint alone: see that this machine resolves its name to that",
    ),
    ("KeyNotFound", NotFound, NOT_FOUND),
    ("KeyVersionNotFound", NotFound, NOT_FOUND),
    ("VaultNotFound", NotFound, "there is no such vault: correct its name"),
    ("BadParameter", Invalid, INVALID),
    ("KeyOperationForbidden", State, FORBIDDEN),
    ("KeyOperationNotAllowed", State, FORBIDDEN),
    ("Throttled", Throttled, FEWER),
];

pub(crate) const FORBIDDEN: &str =
    "the key does not permit the operation (key_ops): permit it, or use another key";
const DISABLED: &str = "the key, or the version of it, is disabled: enable it, or use another key";
const EXPIRED: &str =
    "the version of the key has expired, and wraps nothing more: rotate the key, or use another one";
const NOT_YET: &str = "the version of the key is not valid yet: activate it, or use another key";
pub(crate) const DELETED: &str =
    "the key is deleted, and can be recovered until it is purged: recover it, or take another one";
/// Of a key whose life is that of something else.
pub(crate) const MANAGED: &str = "something else of the vault, such as a certificate, manages this key, which lives and ends with \
                                  it: it is neither wrapped with nor changed here; take a key that stands alone";
/// Of a key that the settings do not let wrap.
pub(crate) const NO_RSA: &str = "RSA is not post-quantum safe, and the settings permit no new wraps that are not \
                                 (post-quantum-safe-only): take a key oct-HSM of a managed HSM, or of another key store. What RSA \
                                 wrapped before is still unwrapped";
pub(super) const INVALID: &str = "Azure takes the request for one that cannot be: see the kind of the key, its name, and the \
                                  limits of tags, dates and periods";
pub(super) const NOT_FOUND: &str = "there is no such key, or no such version of it, in this vault: correct the name; what was purged is gone";
pub(super) const UNAUTHENTICATED: &str = "the vault does not accept the token: it has expired, or is of another tenant than the \
                                          vault's (see tenant-id)";
pub(super) const FEWER: &str =
    "the vault wants fewer requests: it was asked more often than its limits of transactions permit";
pub(super) const NO_CREDENTIALS: &str = "there are no credentials that Microsoft Entra accepts: run `az login`, or see the \
                                         tenant, the client, its secret or certificate, or the identity of this machine";
pub(super) const NO_CREDENTIALS_NOW: &str = "the source of the credentials (Microsoft Entra, or the identity endpoint of this machine) cannot be reached, or is in trouble";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_is_read_from_words_that_are_about_one() {
        for (said, what) in [
            ("Operation wrapKey is not allowed on a disabled key.", Some(DISABLED)),
            ("Operation encrypt is not allowed on an expired key.", Some(EXPIRED)),
            ("Operation encrypt is not allowed on a key that is not yet valid.", Some(NOT_YET)),
            ("Operation encrypt is not permitted on this key.", Some(FORBIDDEN)),
            ("Caller is not authorized to perform action on resource.", None),
        ] {
            assert_eq!(of_state(said), what, "{said}");
        }
    }

    #[test]
    fn a_code_that_is_not_in_the_list_is_not_known() {
        assert!(known_code("KeyDisabled").is_some() && known_code("AKV10032").is_none());
    }
}
