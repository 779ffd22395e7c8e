//! Keys of KMS: made, described, changed, rotated, deleted.
//!
//! [`key_admin`] is what every key store has; [`new_key`], [`changes`],
//! [`rotation`], [`aliases`] and [`keys`] are how KMS does it, and [`key`] is what
//! it tells of a key.

mod aliases;
mod changes;
mod key;
mod key_admin;
mod keys;
mod new_key;
mod rotation;

use aws_config::retry::RetryConfig;
use aws_sdk_kms::config::{Builder, Config};
use envelope_sdk::{KeyUri, ProviderError, ProviderErrorKind, http::MAX_PAGES};

use crate::error::failure;

pub use key::{AwsKey, AwsKeyState};

/// For a call that does something each time that it is done: it is attempted
/// once, since the answer that is lost may be that it was done.
fn once() -> Builder {
    Config::builder().retry_config(RetryConfig::disabled())
}

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
