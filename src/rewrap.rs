//! Wrapping the DEK of a header anew, and making sure of it.
//!
//! There are two ways. Through this machine: unwrap, verify the header, wrap,
//! unwrap again and compare. Inside the key store, where it can: it wraps anew,
//! and the DEK that comes out of the new wrap must verify the old header. The
//! second way is a short cut: whatever goes wrong on it, the first one is taken
//! and says what is wrong.

use subtle::ConstantTimeEq;

use crate::{EncryptError, FullContext, Header, Keyring, OpenedHeader, RewrapError, WrappedDek, schedule};

/// A verified header and the wraps that shall replace its own, each of which
/// gave back the DEK.
pub(crate) struct Rewrapped {
    pub(crate) opened: OpenedHeader,
    pub(crate) recipients: Vec<WrappedDek>,
    pub(crate) generation: u32,
}

pub(crate) async fn rewrap(
    keyring: &Keyring,
    header: Header,
    context: FullContext,
) -> Result<Rewrapped, RewrapError> {
    match inside(keyring, &header, &context).await {
        Some(rewrapped) => Ok(rewrapped),
        None => through(keyring, header, context).await,
    }
}

async fn inside(keyring: &Keyring, header: &Header, context: &FullContext) -> Option<Rewrapped> {
    let generation = header.generation().checked_add(1)?;
    let (recipients, mut deks) = keyring.rewrap_inside(header, context).await?;
    // The MAC is right under the DEK of this header and under no other.
    let opened = schedule::verify(header.clone(), deks.pop()?, context.clone()).ok()?;
    deks.iter().all(|dek| dek.ct_eq(opened.dek()).into()).then_some(Rewrapped {
        opened,
        recipients,
        generation,
    })
}

async fn through(keyring: &Keyring, header: Header, context: FullContext) -> Result<Rewrapped, RewrapError> {
    let opened = keyring.unlock(header, context).await?;
    // Asked before any key wraps: those calls would be for nothing.
    let generation = opened.header().generation().checked_add(1).ok_or(RewrapError::GenerationsExhausted)?;
    let recipients = keyring.wrap(opened.dek(), opened.context()).await?;
    let unwrapped = keyring.unwrap_own(&recipients, opened.context()).await?;
    for (new, recipient) in unwrapped.iter().zip(&recipients) {
        if !bool::from(new.ct_eq(opened.dek())) {
            let key = recipient.key_uri().clone();
            return Err(EncryptError::WrapNotVerified { key }.into());
        }
    }
    Ok(Rewrapped { opened, recipients, generation })
}
