//! Who asks, and what they may do.
//!
//! A request without a token may do everything, since anonymous clients are what
//! the tests mostly are. A token that is the name of a role may do what that role
//! of Google's may, and one that is `expired` nothing at all.

use serde_json::json;

use super::reply::{Code, Refusal};

/// Refuses `permission` on `resource`, which `method` needs, to the owner of
/// `token`.
pub(super) fn check(
    token: Option<&str>,
    method: &str,
    permission: &str,
    resource: &str,
) -> Result<(), Refusal> {
    let allowed = match token.unwrap_or_default() {
        "expired" => return Err(unauthenticated(method)),
        "nobody" => false,
        // https://cloud.google.com/iam/docs/roles-permissions/cloudkms
        "encrypter" => LOCATIONS.contains(&permission) || permission == ENCRYPT,
        "decrypter" => LOCATIONS.contains(&permission) || permission == DECRYPT,
        "encrypterDecrypter" => LOCATIONS.contains(&permission) || [ENCRYPT, DECRYPT].contains(&permission),
        "cryptoOperator" => {
            LOCATIONS.contains(&permission) || [ENCRYPT, DECRYPT, RANDOM].contains(&permission)
        }
        "viewer" => permission.ends_with(".get") || permission.ends_with(".list"),
        "admin" => ![ENCRYPT, DECRYPT, RANDOM].contains(&permission),
        _ => true,
    };
    if allowed {
        return Ok(());
    }
    // Whether it exists is not told to those who may not know.
    let message = format!("Permission '{permission}' denied on resource '{resource}' (or it may not exist).");
    Err(Refusal::new(Code::PermissionDenied, message).detail(
        "ErrorInfo",
        json!({
            "reason": "IAM_PERMISSION_DENIED",
            "domain": "cloudkms.googleapis.com",
            "metadata": { "permission": permission, "resource": resource },
        }),
    ))
}

fn unauthenticated(method: &str) -> Refusal {
    let message = "Request had invalid authentication credentials. Expected OAuth 2 access token, login cookie \
                   or other valid authentication credential. See \
                   https://developers.google.com/identity/sign-in/web/devconsole-project.";
    Refusal::new(Code::Unauthenticated, message).detail(
        "ErrorInfo",
        json!({
            "reason": "ACCESS_TOKEN_EXPIRED",
            "domain": "googleapis.com",
            "metadata": {
                "service": "cloudkms.googleapis.com",
                "method": format!("google.cloud.kms.v1.KeyManagementService.{method}"),
            },
        }),
    )
}

const ENCRYPT: &str = "cloudkms.cryptoKeyVersions.useToEncrypt";
const DECRYPT: &str = "cloudkms.cryptoKeyVersions.useToDecrypt";
const RANDOM: &str = "cloudkms.locations.generateRandomBytes";
const LOCATIONS: [&str; 2] = ["cloudkms.locations.get", "cloudkms.locations.list"];
