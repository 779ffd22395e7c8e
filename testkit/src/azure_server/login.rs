//! Who hands out tokens, in place of Microsoft Entra.
//!
//! The token is the name of who asks: so a test logs in as a role by its name.

use std::time::SystemTime;

use serde_json::{Value, json};

use super::{call::Call, reply::Reply, roles::TENANT, store::unix};

/// Answers `/TENANT/oauth2/v2.0/token`, what clients ask before that, and the
/// metadata service of virtual machines.
pub(super) fn answer(call: &Call) -> Option<Reply> {
    let path: Vec<&str> = call.path.iter().map(String::as_str).collect();
    let base = call.base();
    Some(match (call.method.as_str(), path.as_slice()) {
        ("POST", [_, "oauth2", "v2.0", "token"]) => token(call),
        ("GET", [tenant, "v2.0", ".well-known", "openid-configuration"]) => Reply::ok(json!({
            "issuer": format!("{base}/{TENANT}/v2.0"),
            "authorization_endpoint": format!("{base}/{tenant}/oauth2/v2.0/authorize"),
            "token_endpoint": format!("{base}/{tenant}/oauth2/v2.0/token"),
        })),
        ("GET", ["metadata", "identity", "oauth2", "token"]) => managed(call),
        _ => return None,
    })
}

/// <https://learn.microsoft.com/entra/identity-platform/v2-oauth2-client-creds-grant-flow>
fn token(call: &Call) -> Reply {
    let given = |name: &str| call.body[name].as_str().unwrap_or_default();
    if given("grant_type") != "client_credentials" {
        return refusal(
            400,
            "unsupported_grant_type",
            "AADSTS70003: The app requested an unsupported grant type.",
            70003,
        );
    }
    let is_asserted = given("client_assertion_type")
        == "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
        && given("client_assertion").split('.').count() == 3;
    if !is_asserted && given("client_secret") != SECRET {
        return refusal(401, "invalid_client", "AADSTS7000215: Invalid client secret provided.", 7_000_215);
    }
    let is_scope = |scope: &str| {
        scope.split(' ').any(|scope| {
            ["https://vault.localhost/.default", "https://managedhsm.localhost/.default"].contains(&scope)
        })
    };
    if !is_scope(given("scope")) {
        let message = "AADSTS500011: The resource principal named was not found in the tenant.";
        return refusal(400, "invalid_resource", message, 500_011);
    }
    Reply::ok(json!({
        "token_type": "Bearer",
        "expires_in": LIFETIME,
        "ext_expires_in": LIFETIME,
        "access_token": given("client_id"),
    }))
}

/// <https://learn.microsoft.com/entra/identity/managed-identities-azure-resources/how-to-use-vm-token>
fn managed(call: &Call) -> Reply {
    // Python's client and Rust's name resources differently; Microsoft's page has the latter.
    let names = ["client_id", "object_id", "mi_res_id", "msi_res_id"];
    let who = names.iter().find_map(|name| call.parameter(name));
    if who == Some("unknown") {
        return refusal(400, "invalid_request", "Identity not found", 0);
    }
    Reply::ok(json!({
        "access_token": who.unwrap_or("managedIdentity"),
        "expires_in": LIFETIME.to_string(),
        "expires_on": (unix(SystemTime::now()) + u64::from(LIFETIME)).to_string(),
        "resource": call.parameter("resource").unwrap_or_default(),
        "token_type": "Bearer",
    }))
}

fn refusal(status: u16, code: &str, message: &str, number: u32) -> Reply {
    let body: Value = json!({ "error": code, "error_description": message, "error_codes": [number] });
    Reply { status, headers: Vec::new(), body }
}

/// Of every client.
const SECRET: &str = "secret";
/// Seconds.
const LIFETIME: u32 = 3599;
