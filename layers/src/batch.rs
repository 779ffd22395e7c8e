//! A batch that is asked for wrap by wrap.

use envelope_sdk::{
    Dek, FullContext, KeyProvider, ProviderError, ProviderErrorKind, WrappedDek, http::find_cause,
};

use crate::TimedOut;

/// Asks for one wrap after the other, until a [`Deadline`](crate::Deadline) cuts one off. The others are told so and not
/// asked for: where the key store is dead, a batch costs one time-out and not one for each wrap.
pub(crate) async fn one_by_one<P: KeyProvider>(
    provider: &P,
    wraps: &[(&WrappedDek, &FullContext)],
) -> Vec<Result<Dek, ProviderError>> {
    let mut told = Vec::with_capacity(wraps.len());
    let mut cut_off: Option<TimedOut> = None;
    for (wrapped, context) in wraps {
        told.push(match cut_off {
            None => provider.unwrap_dek(wrapped, context).await,
            Some(late) => {
                let (kind, key) = (ProviderErrorKind::Unavailable, wrapped.key_uri());
                let message = format!("it was not asked for, since of another wrap of the batch {late}");
                Err(ProviderError::new(kind, provider.name(), key, message).with_source(late))
            }
        });
        let last = told.last().and_then(|last| last.as_ref().err());
        cut_off = cut_off.or_else(|| last.and_then(|error| find_cause::<TimedOut>(error)).copied());
    }
    told
}
