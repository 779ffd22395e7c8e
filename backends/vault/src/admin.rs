//! Managing keys.

use envelope_sdk::KeyAdmin;

use crate::{HashiVault, failure::NAME};

impl KeyAdmin for HashiVault {
    fn provider(&self) -> &'static str {
        NAME
    }
}
