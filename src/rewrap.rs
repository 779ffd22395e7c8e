//! Wrapping the DEK of a header anew, and making sure of it.
//!
//! There are two ways. Through this machine: unwrap, verify the header, wrap,
//! unwrap again and compare. Inside the key store, where it can: it wraps anew,
//! and the DEK that comes out of the new wrap must verify the old header. The
//! second way is a short cut: whatever goes wrong on it, the first one is taken
//! and says what is wrong.

use subtle::ConstantTimeEq;

use crate::{
    DecryptError, Dek, FullContext, Header, Keyring, Kind, OpenedHeader, RewrapError, WrappedDek,
    crypto::cobblestone::PREFIX_LEN, keyring::RewrappedInside, schedule,
};

/// A verified header and the wraps that shall replace its own, each of which
/// gave back the DEK.
pub(crate) struct Rewrapped {
    pub(crate) opened: OpenedHeader,
    pub(crate) recipients: Vec<WrappedDek>,
    pub(crate) generation: u32,
}

/// `payload` is what the payload begins with, where there is one.
pub(crate) async fn rewrap(
    keyring: &Keyring,
    header: Header,
    context: FullContext,
    payload: Option<&[u8; PREFIX_LEN]>,
) -> Result<Rewrapped, RewrapError> {
    let rewrapped = match inside(keyring, &header, &context).await {
        Some(rewrapped) => rewrapped,
        None => through(keyring, header, context).await?,
    };
    check_context(keyring, &rewrapped, payload)?;
    Ok(rewrapped)
}

/// Refuses to bind a withheld value that nothing has verified: a key store that binds no context
/// gives the DEK under any, and a wrap that is bound to a wrong value opens nothing again. Refuses
/// too to take from a data key what verifies its withheld values: it has no commitment for that.
fn check_context(
    keyring: &Keyring,
    Rewrapped { opened, recipients, .. }: &Rewrapped,
    payload: Option<&[u8; PREFIX_LEN]>,
) -> Result<(), RewrapError> {
    if opened.context_is_verified() {
        let header = opened.header();
        if header.kind() == Kind::DataKey && !header.withheld().is_empty() {
            keyring.check_context_is_bound(recipients)?;
        }
        return Ok(());
    }
    if !keyring.bind_context(recipients) {
        return Ok(());
    }
    let payload = payload.ok_or(RewrapError::ContextNotVerified)?;
    opened.payload(payload).map_err(DecryptError::from)?;
    Ok(())
}

async fn inside(keyring: &Keyring, header: &Header, context: &FullContext) -> Option<Rewrapped> {
    let generation = header.generation().checked_add(1)?;
    let RewrappedInside { recipients, mut deks, context_is_bound } =
        keyring.rewrap_inside(header, context).await?;
    // The MAC is right under the DEK of this header and under no other.
    if keyring.refute_own(&recipients, &deks, context, |dek| schedule::fits(dek, header)).is_some() {
        return None;
    }
    let opened = schedule::verify(header.clone(), deks.pop()?, context.clone()).ok()?;
    Some(Rewrapped { opened: opened.with_context_bound(context_is_bound), recipients, generation })
}

async fn through(keyring: &Keyring, header: Header, context: FullContext) -> Result<Rewrapped, RewrapError> {
    let opened = keyring.unlock(header, context).await?;
    // Asked before any key wraps: those calls would be for nothing.
    let generation = opened.header().generation().checked_add(1).ok_or(RewrapError::GenerationsExhausted)?;
    let recipients = keyring.wrap(opened.dek(), opened.context()).await?;
    let unwrapped = keyring.unwrap_own(&recipients, opened.context()).await?;
    let gives_it_back = |new: &Dek| new.ct_eq(opened.dek()).into();
    if let Some(other) = keyring.refute_own(&recipients, &unwrapped, opened.context(), gives_it_back) {
        return Err(RewrapError::WrapNotVerified { key: other.key_uri().clone() });
    }
    Ok(Rewrapped { opened, recipients, generation })
}
