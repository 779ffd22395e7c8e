//! Who asks, and what they may do.
//!
//! A token that is the name of a role may do what that role of Azure's may, one
//! that is `expired` nothing at all, and any other everything.

use super::{
    call::{Call, Service, Vault},
    reply::Reply,
};

/// Refuses to those who send no token, or one that has expired: they are told who
/// hands out tokens, and for what.
pub(super) fn authenticate(call: &Call, vault: &Vault) -> Result<(), Reply> {
    let message = match call.token.as_deref() {
        None | Some("") => "AKV10000: Request is missing a Bearer or PoP token.",
        Some("expired") => "[TokenExpired] Error validating token: 'S2S12086'.",
        Some(_) => return Ok(()),
    };
    let port = call.host.split_once(':').map_or(String::new(), |(_, port)| format!(":{port}"));
    let challenge = format!(
        "Bearer authorization=\"https://login.localhost{port}/{TENANT}\", resource=\"{}\"",
        vault.service.resource()
    );
    Err(Reply::error(401, "Unauthorized", message).header("www-authenticate", challenge))
}

/// Refuses `action` on what `path` names, unless the role of the caller allows it.
pub(super) fn authorize(call: &Call, vault: &Vault, action: &str) -> Result<(), Reply> {
    // https://learn.microsoft.com/azure/role-based-access-control/built-in-roles/security
    let allowed = match call.token.as_deref().unwrap_or_default() {
        "cryptoUser" => USER.contains(&action),
        "serviceEncryptionUser" => SERVICE.contains(&action),
        "reader" => action.ends_with("/read"),
        "nobody" => false,
        // `cryptoOfficer` may do everything with keys, and all is about keys here.
        _ => true,
    };
    if allowed {
        return Ok(());
    }
    let (name, path) = (&vault.name, call.path.iter().take(2).cloned().collect::<Vec<_>>().join("/"));
    let provider = match vault.service {
        Service::KeyVault => "vaults",
        Service::ManagedHsm => "managedHSMs",
    };
    let message = format!(
        "Caller is not authorized to perform action on resource.\r\nIf role assignments, deny assignments or role \
         definitions were changed recently, please observe propagation time.\r\nCaller: \
         appid={APPLICATION};oid={APPLICATION};iss=https://sts.windows.net/{TENANT}/\r\nAction: \
         'Microsoft.KeyVault/{provider}/{action}'\r\nResource: \
         '/subscriptions/{TENANT}/resourcegroups/tests/providers/microsoft.keyvault/{provider}/{name}/{path}'\r\n\
         Assignment: (not found)\r\nDenyAssignmentId: null\r\nDecisionReason: null \r\nVault: \
         {name};location=localhost\r\n"
    );
    Err(Reply::forbidden("ForbiddenByRbac", message))
}

/// As for callers from an address that the vault does not let in.
pub(super) fn keep_out(vault: &Vault) -> Reply {
    let message = format!(
        "Client address is not authorized and caller is not a trusted service.\r\nClient address: 127.0.0.1\r\n\
         Caller: appid={APPLICATION};oid={APPLICATION};iss=https://sts.windows.net/{TENANT}/\r\nVault: \
         {};location=localhost",
        vault.name
    );
    Reply::forbidden("ForbiddenByFirewall", message)
}

/// The tenant of every vault.
pub(super) const TENANT: &str = "00000000-0000-4000-8000-000000000001";
const APPLICATION: &str = "00000000-0000-4000-8000-000000000002";
const USER: [&str; 8] = [
    "keys/read",
    "keys/update/action",
    "keys/backup/action",
    "keys/encrypt/action",
    "keys/decrypt/action",
    "keys/wrap/action",
    "keys/unwrap/action",
    "keys/random/action",
];
const SERVICE: [&str; 3] = ["keys/read", "keys/wrap/action", "keys/unwrap/action"];
