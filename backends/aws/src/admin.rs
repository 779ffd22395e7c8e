//! Keys of KMS: creating, describing, enabling, rotating, deleting.
//!
//! [`types`] holds what is told of a key, [`keys`] and [`rotation`] what KMS can do,
//! [`trait_impl`] the part of it that every backend has.

mod keys;
mod rotation;
mod trait_impl;
mod types;

use envelope_sdk::{KeyUri, ProviderError, ProviderErrorKind, http::MAX_PAGES};

use crate::error::failure;

pub use types::{AwsKey, AwsKeyState, NewKey, PastRotation, RotationKind, RotationStatus};

/// Counts the pages of a list about `key`, and refuses a list without an end.
#[derive(Default)]
struct Pages(usize);

impl Pages {
    fn turn(&mut self, key: &KeyUri) -> Result<(), ProviderError> {
        self.0 += 1;
        if self.0 <= MAX_PAGES {
            return Ok(());
        }
        let message = format!("the list of AWS KMS has more than {MAX_PAGES} pages");
        Err(failure(ProviderErrorKind::Protocol, key, message))
    }
}
