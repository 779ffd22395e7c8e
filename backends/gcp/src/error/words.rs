//! Our own words for what Google says, and the few of Google's that are known.

use envelope_sdk::ProviderErrorKind::{self, AccessDenied, Other, Throttled};

/// Whether Google's words contain these, in whatever case.
pub(super) fn has(message: &str, words: &str) -> bool {
    message.to_ascii_lowercase().contains(words)
}

/// What a `FAILED_PRECONDITION` means: Google names the state of the version
/// ("… is not enabled, current state is: DISABLED.").
pub(super) fn of_state(message: &str) -> &'static str {
    let said = message.rsplit_once("state").map_or("", |(_, said)| said);
    let mut names = said.split(|character: char| !(character.is_ascii_uppercase() || character == '_'));
    let known = names.find_map(|name| STATES.iter().find(|(state, _)| *state == name));
    match known {
        Some((_, what)) => what,
        None if has(message, "primary") => NO_PRIMARY,
        None => OTHER_STATE,
    }
}

/// What is known of a reason in a `google.rpc.ErrorInfo`
/// (<https://cloud.google.com/apis/design/errors#error_info>).
pub(super) fn known_reason(reason: &str) -> Option<&'static (&'static str, ProviderErrorKind, &'static str)> {
    REASONS.iter().find(|(known, ..)| *known == reason)
}

/// Each state in which a version does nothing
/// (<https://cloud.google.com/kms/docs/key-states>), and what to do.
const STATES: &[(&str, &str)] = &[
    ("DISABLED", "the version of the key is disabled: enable it, or use another key"),
    (
        "DESTROY_SCHEDULED",
        "the version of the key is scheduled for destruction: restore and enable it before that day, or use another key",
    ),
    ("DESTROYED", "the version of the key is destroyed: what it wrapped opens no more"),
    ("PENDING_GENERATION", "the version of the key is being generated: try again later"),
    ("PENDING_IMPORT", "the version of the key waits for its key material to be imported"),
    ("IMPORT_FAILED", "the key material of the version was not imported: see why, and import it again"),
    ("GENERATION_FAILED", "the key material of the version was not generated: rotate the key"),
    (
        "PENDING_EXTERNAL_DESTRUCTION",
        "the version of the key is destroyed, and its external key manager is about to do so too",
    ),
    (
        "EXTERNAL_DESTRUCTION_FAILED",
        "the version of the key is destroyed, and its external key manager did not confirm it",
    ),
];

/// Each reason that is shown, what it means, and what to do.
const REASONS: &[(&str, ProviderErrorKind, &str)] = &[
    (
        "SERVICE_DISABLED",
        AccessDenied,
        "the Cloud KMS API is not enabled in the project that the request is counted for: enable cloudkms.googleapis.com, \
         or set another quota project",
    ),
    (
        "BILLING_DISABLED",
        AccessDenied,
        "the project has no billing account, without which Cloud KMS does nothing",
    ),
    (
        "SECURITY_POLICY_VIOLATED",
        AccessDenied,
        "a perimeter of VPC Service Controls keeps the caller out: ask for an ingress or egress rule for \
         cloudkms.googleapis.com",
    ),
    ("ORG_RESTRICTION_VIOLATION", AccessDenied, "the policy of the organization keeps the caller out"),
    (
        "USER_PROJECT_DENIED",
        AccessDenied,
        "the caller may not have requests counted for the quota project: grant roles/serviceusage.serviceUsageConsumer \
         there, or set another one",
    ),
    ("CONSUMER_INVALID", AccessDenied, "the quota project is none, or not active: set another one"),
    ("CONSUMER_SUSPENDED", AccessDenied, "the project that the request is counted for is suspended"),
    ("ACCESS_TOKEN_EXPIRED", AccessDenied, "the credentials have expired: log in again"),
    (
        "ACCESS_TOKEN_TYPE_UNSUPPORTED",
        AccessDenied,
        "Google does not take credentials of this kind for Cloud KMS",
    ),
    (
        "ACCESS_TOKEN_SCOPE_INSUFFICIENT",
        AccessDenied,
        "the credentials are not for Cloud KMS: they need the scope https://www.googleapis.com/auth/cloudkms or \
         cloud-platform (of a virtual machine: its access scopes)",
    ),
    ("CREDENTIALS_MISSING", AccessDenied, "the request had no credentials: set some"),
    ("ACCOUNT_STATE_INVALID", AccessDenied, "the service account of the credentials is disabled or deleted"),
    ("RATE_LIMIT_EXCEEDED", Throttled, FEWER),
    ("RESOURCE_QUOTA_EXCEEDED", Other, "a quota of the project is used up: ask Google for more, or use less"),
];

pub(super) const NO_PRIMARY: &str =
    "the key has no primary version, under which it would wrap: rotate it, or make a version the primary one";
pub(super) const OTHER_STATE: &str =
    "the state of the key, or of its external key manager, does not permit it";
pub(super) const INVALID: &str = "Cloud KMS takes the request for one that cannot be: see the limits of names, labels, periods, \
                                  and of the context (64 KiB for keys in software, 8 KiB for those of a Cloud HSM)";
pub(super) const TAKEN: &str =
    "there is something of that name already, or was: Cloud KMS never frees the name of a key";
pub(super) const NOT_FOUND: &str =
    "there is no such key, version or key ring in this project and location: correct the name";
pub(super) const UNAUTHENTICATED: &str =
    "Google does not accept the credentials: they have expired or were revoked";
pub(super) const FEWER: &str = "Cloud KMS wants fewer requests: the quota of the project is used up for now";
pub(super) const NO_CREDENTIALS: &str = "there are no credentials that Google accepts: run `gcloud auth application-default \
                                         login`, set GOOGLE_APPLICATION_CREDENTIALS, or see the file of credentials, the pool \
                                         of workload identity and the service account that is impersonated";
pub(super) const NO_CREDENTIALS_NOW: &str = "the source of the credentials (metadata server, token service) cannot be reached or \
                                             is in trouble";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_state_is_read_from_googles_words_and_the_name_of_a_key_is_not_taken_for_one() {
        for (state, what) in STATES {
            let said = format!(
                "projects/p/locations/l/keyRings/r/cryptoKeys/DISABLED/cryptoKeyVersions/1 is not enabled, current state \
                 is: {state}."
            );
            assert_eq!(of_state(&said), *what, "{state}");
        }
        assert_eq!(of_state("cryptoKeys/DISABLED is odd"), OTHER_STATE);
        assert_eq!(of_state("CryptoKey has no primary version"), NO_PRIMARY);
        assert_eq!(of_state("current state is: SOMETHING_OF_TOMORROW."), OTHER_STATE);
    }
}
