//! Keys of KMS: creating, describing, enabling, rotating, deleting.
//!
//! [`types`] holds what is told of a key, [`keys`] and [`rotation`] what KMS can do,
//! [`trait_impl`] the part of it that every backend has.

mod keys;
mod rotation;
mod trait_impl;
mod types;

pub use types::{AwsKey, AwsKeyState, NewKey, PastRotation, RotationKind, RotationStatus};
