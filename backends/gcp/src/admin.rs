//! Keys of Cloud KMS: made, described, changed, rotated, destroyed.
//!
//! [`key_admin`] is what every key store has; [`new_key`], [`rings`], [`changes`],
//! [`rotation`], [`keys`] and [`imports`] are how KMS does it, and [`key`] and
//! [`version`] are what it tells.

mod changes;
mod imports;
mod key;
mod key_admin;
mod keys;
mod new_key;
mod rings;
mod rotation;
mod version;

use std::collections::HashSet;

use envelope_sdk::{KeyUri, ProviderError, ProviderErrorKind, http::MAX_PAGES};

use crate::error::{Call, failure};

pub use imports::GcpImportJob;
pub use key::GcpKey;
pub use version::{GcpVersion, GcpVersionState};

/// Counts the pages of a list, and refuses one without an end.
#[derive(Default)]
struct Pages {
    known: HashSet<String>,
}

impl Pages {
    /// What names the next page, if there is one.
    fn turn<'k>(
        &mut self,
        next: String,
        key: impl Into<Option<&'k KeyUri>>,
    ) -> Result<Option<String>, ProviderError> {
        if next.is_empty() {
            return Ok(None);
        }
        if self.known.len() >= MAX_PAGES || !self.known.insert(next.clone()) {
            let message = format!("the list of Cloud KMS repeats itself, or has more than {MAX_PAGES} pages");
            return Err(failure(ProviderErrorKind::Protocol, key, message));
        }
        Ok(Some(next))
    }

    /// Refuses a page of more than was asked for.
    fn check_count<'k>(count: usize, key: impl Into<Option<&'k KeyUri>>) -> Result<(), ProviderError> {
        if count <= PAGE as usize {
            return Ok(());
        }
        let message =
            "Cloud KMS answered with more on a page than was asked for: do not trust what stands between";
        Err(failure(ProviderErrorKind::Protocol, key, message))
    }
}

/// Most on a page, which may have 1000.
const PAGE: i32 = 100;

/// Of a key that is in another place than was asked.
const OTHER_PLACE: &str =
    "Cloud KMS answered for another key or key ring than was asked: do not trust what stands between";

const VIEWER: &str = "roles/cloudkms.viewer";
const ADMIN: &str = "roles/cloudkms.admin";
const LIST: Call = Call::new("cloudkms.cryptoKeys.list", VIEWER);
const GET: Call = Call::new("cloudkms.cryptoKeys.get", VIEWER);
const LIST_VERSIONS: Call = Call::new("cloudkms.cryptoKeyVersions.list", VIEWER);
const GET_VERSION: Call = Call::new("cloudkms.cryptoKeyVersions.get", VIEWER);
const GET_IMPORT: Call = Call::new("cloudkms.importJobs.get", VIEWER);
const LIST_IMPORTS: Call = Call::new("cloudkms.importJobs.list", VIEWER);
const GET_RING: Call = Call::new("cloudkms.keyRings.get", VIEWER);
const LIST_RINGS: Call = Call::new("cloudkms.keyRings.list", VIEWER);
const CREATE_RING: Call = Call::new("cloudkms.keyRings.create", ADMIN);
const CREATE: Call = Call::new("cloudkms.cryptoKeys.create", ADMIN);
const UPDATE: Call = Call::new("cloudkms.cryptoKeys.update", ADMIN);
const CREATE_VERSION: Call = Call::new("cloudkms.cryptoKeyVersions.create", ADMIN);
const UPDATE_VERSION: Call = Call::new("cloudkms.cryptoKeyVersions.update", ADMIN);
const DESTROY_VERSION: Call = Call::new("cloudkms.cryptoKeyVersions.destroy", ADMIN);
const RESTORE_VERSION: Call = Call::new("cloudkms.cryptoKeyVersions.restore", ADMIN);
