//! Rewrapping in memory.

use std::sync::Arc;

use envelope_rotation::{Control, ItemReport, Job, Source};
use envelope_sdk::{EncryptionContext, Envelope as Core, format::armor};

use crate::{
    aside::Aside,
    data::Data,
    envelope::{Binary, Keys},
    failure::{Failure, Result},
    rotation::{Bytes, Recorder, Wanted, with_failure},
};

/// The keys that shall open the envelope from now on: `to`, which may be none for those of the [`Keys`]; or those it has, with
/// `add` and without `remove`.
pub(crate) type Recipients = (Vec<String>, Vec<String>, Vec<String>);

/// Wraps the DEK of `sealed` anew. What follows the header is copied as it is.
pub(crate) async fn rewrap(
    keys: Arc<Aside<Keys>>,
    sealed: Data,
    recipients: Recipients,
    context: EncryptionContext,
    armored: bool,
) -> Result<Vec<u8>> {
    let sealed = Binary::of(sealed, armored)?;
    let (to, add, remove) = recipients;
    let new = if add.is_empty() && remove.is_empty() {
        replace(&keys, &sealed, to, &context).await?
    } else {
        edit(&keys, sealed, Wanted { to, add, remove, from: may_open(&keys), ..Wanted::default() }, context)
            .await?
    };
    Ok(if armored { armor::encode(&new).into_bytes() } else { new })
}

/// For `to` and nobody else.
async fn replace(
    keys: &Keys,
    sealed: &[u8],
    to: Vec<String>,
    context: &EncryptionContext,
) -> Result<Vec<u8>> {
    let opened = keys.providers.opened()?;
    let own = || keys.sealer.envelope().keyring().encrypting().map(ToString::to_string).collect();
    let to = if to.is_empty() { own() } else { to };
    let keyring = opened.keyring_to_rewrap(&to, &may_open(keys))?;
    Ok(opened.audited(Core::new(keyring)).rewrap(sealed, context).await?)
}

/// For those that it has, with some and without others: which they are, a job finds out, which knows what an alias means.
async fn edit(keys: &Keys, sealed: Binary, wanted: Wanted, context: EncryptionContext) -> Result<Vec<u8>> {
    let opened = keys.providers.opened()?;
    let goal = wanted.goal(opened, None)?.with_context(context);
    let recorder = opened.audit().map(|log| Recorder::new(log.clone(), false));
    let source = Arc::new(Bytes::new(vec![sealed]));
    let mut failed = None;
    let job = Job::new(Arc::clone(&source) as Arc<dyn Source>, goal).concurrency(1);
    let tell = |item: ItemReport| {
        if let Some(recorder) = &recorder {
            recorder.add(&item);
        }
        failed = with_failure(item).1;
    };
    let done = job.run(&Control::new(), tell).await;
    // What cannot be recorded is not given out.
    let recorded = match recorder {
        Some(recorder) => recorder.finished().await,
        None => Ok(()),
    };
    done?;
    recorded?;
    match failed {
        Some(failure) => Err(failure),
        None => source.one().ok_or_else(|| Failure::other("the envelope was not looked at")),
    }
}

fn may_open(keys: &Keys) -> Vec<String> {
    keys.opener.unrecorded().keyring().decrypting().map(ToString::to_string).collect()
}
