//! Keys of vaults and managed HSMs: made, described, changed, rotated, deleted.
//!
//! [`key_admin`] is what every key store has; [`new_key`], [`changes`], [`rotation`], [`policy`],
//! [`deleted`], [`keys`] and [`tags`] are how Azure does it, [`key`] and
//! [`version`] are what it tells, and [`answer`] compares that with what was asked.

mod answer;
mod changes;
mod deleted;
mod key;
mod key_admin;
mod keys;
mod new_key;
mod policy;
mod rotation;
mod tags;
mod version;

use std::time::{SystemTime, UNIX_EPOCH};

use azure_core::time::OffsetDateTime;
use azure_security_keyvault_keys::models::KeyAttributes;
use envelope_sdk::KeyState;

use crate::error::Call;

pub use key::AzureKey;
pub use version::AzureVersion;

/// Seconds since 1970; nothing before.
fn seconds(date: OffsetDateTime) -> Option<u64> {
    u64::try_from(date.unix_timestamp()).ok()
}

/// Such a moment, if Azure has it.
fn moment(seconds: u64) -> Option<OffsetDateTime> {
    OffsetDateTime::from_unix_timestamp(i64::try_from(seconds).ok()?).ok()
}

/// The state of the current version of a key, of what a vault tells of it.
pub(crate) fn current_state(told: Option<&KeyAttributes>) -> KeyState {
    AzureVersion { current: true, ..AzureVersion::of("", told, None) }.standard(now())
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// Of a key that is in another place than was asked.
const OTHER_PLACE: &str =
    "the vault answered for another key than was asked: do not trust what stands between";

const OFFICER: &str = "Key Vault Crypto Officer";
const HSM_USER: &str = "Managed HSM Crypto User";
const HSM_OFFICER: &str = "Managed HSM Crypto Officer";
const READER: &str = "Key Vault Reader";
const HSM_READER: &str = "Managed HSM Crypto Auditor";

const GET: Call = Call::new("keys/read", READER, HSM_READER);
const LIST: Call = Call::new("keys/read (list)", READER, HSM_READER);
const CREATE: Call = Call::new("keys/create/action", OFFICER, HSM_USER);
const UPDATE: Call = Call::new("keys/update/action", OFFICER, HSM_USER);
const ROTATE: Call = Call::new("keys/rotate/action", OFFICER, HSM_USER);
const GET_POLICY: Call = Call::new("keyrotationpolicies/read", OFFICER, HSM_USER);
const SET_POLICY: Call = Call::new("keyrotationpolicies/write", OFFICER, HSM_USER);
const DELETE: Call = Call::new("keys/delete", OFFICER, HSM_USER);
const GET_DELETED: Call = Call::new("deletedkeys/read", OFFICER, HSM_OFFICER);
const RECOVER: Call = Call::new("keys/recover/action", OFFICER, HSM_OFFICER);
const PURGE: Call = Call::new("keys/purge/action", OFFICER, HSM_OFFICER);
