#![doc = include_str!("../README.md")]

#[cfg(not(any(feature = "aws-lc", feature = "rustcrypto")))]
compile_error!("enable one of the features `aws-lc` (default) and `rustcrypto`");

pub mod admin;
pub mod context;
pub mod crowd;
pub mod crypto;
mod data_key;
mod envelope;
mod error;
pub mod format;
pub mod http;
pub mod key_uri;
mod keyring;
pub mod lifecycle;
pub mod pattern;
pub mod printable;
pub mod provider;
pub mod registry;
mod rewrap;
mod schedule;
pub mod secret;
#[cfg(feature = "serde")]
pub mod serde_as;
pub mod stream;
mod timer;
mod whole_io;
mod wire;
mod wrap_binding;

pub use admin::{KeyAdmin, KeyDescription, KeyVersionDescription, NewKey};
pub use context::{ContextError, EncryptionContext, FullContext};
pub use data_key::{DataKey, RECORD_MAX_LEN, RECORD_OVERHEAD};
pub use envelope::{Envelope, PayloadKind, Reported, Reporting, Started};
pub use error::{DecryptError, EncryptError, RewrapError};
pub use format::{FormatError, Header, Kind};
pub use key_uri::{KeyUri, KeyUriError};
pub use keyring::{AskedKey, Hedging, Keyring, KeyringEvent, KeyringListener, MissingKey, Order, WrapPolicy};
pub use lifecycle::{KeyChange, KeyState, KeyUse};
pub use provider::{
    ContextBinding, Dek, KeyProvider, ProviderError, ProviderErrorKind, ProviderIdentity, WrappedDek,
};
pub use registry::Registry;
pub use schedule::OpenedHeader;
pub use timer::Timer;
#[cfg(feature = "tokio")]
pub use timer::TokioTimer;
pub use wrap_binding::wrap_binding;
