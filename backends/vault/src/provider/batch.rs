//! Many unwraps in few calls.

use std::collections::BTreeMap;

use envelope_sdk::{Dek, FullContext, KeyUri, ProviderError, WrappedDek};
use serde::Deserialize;

use super::{answer, look_at, manner::Manner};
use crate::{
    call::{Answer, Call, Failed},
    error::{Opens, of_item, refusal_to_open, unreadable},
    json::Object,
    reach::Reach,
    scheme::name_of,
};

/// One of the wraps, by its place among all.
struct Item<'w> {
    place: usize,
    text: &'w str,
    context: &'w FullContext,
}

#[derive(Deserialize)]
struct Results<'a> {
    #[serde(borrow)]
    batch_results: Vec<One<'a>>,
}

#[derive(Deserialize)]
struct One<'a> {
    plaintext: Option<&'a str>,
    error: Option<String>,
}

/// One result for each, in their order.
pub(super) async fn unwrap(
    reach: &Reach,
    wraps: &[(&WrappedDek, &FullContext)],
) -> Vec<Result<Dek, ProviderError>> {
    let mut results: Vec<_> = wraps.iter().map(|(wrapped, _)| Err(unreadable(wrapped.key_uri()))).collect();
    // Those of one batch are of one key, and either all or none have a context of derivation.
    let mut groups: BTreeMap<(&KeyUri, &str), (Manner, Vec<Item<'_>>)> = BTreeMap::new();
    for (place, (wrapped, context)) in wraps.iter().enumerate() {
        match look_at(wrapped) {
            Ok((manner, text)) => {
                let group = groups.entry((wrapped.key_uri(), manner.name()));
                group.or_insert_with(|| (manner, Vec::new())).1.push(Item { place, text, context });
            }
            Err(error) => results[place] = Err(error),
        }
    }
    for ((key, _), (manner, items)) in groups {
        for batch in batches(&items) {
            let opened = open(reach, key, manner, batch).await;
            for (item, result) in batch.iter().zip(opened) {
                results[item.place] = result;
            }
        }
    }
    results
}

/// Neither too many nor too long.
fn batches<'i, 'w>(mut items: &'i [Item<'w>]) -> impl Iterator<Item = &'i [Item<'w>]> {
    std::iter::from_fn(move || {
        let mut bytes = 0;
        let fits = |item: &&Item<'_>| {
            bytes += item.context.as_bytes().len() + item.text.len();
            bytes <= MOST_BYTES
        };
        let count = items.iter().take(MOST_ITEMS).take_while(fits).count().max(1);
        let (batch, rest) = items.split_at_checked(count)?;
        items = rest;
        Some(batch)
    })
}

async fn open(
    reach: &Reach,
    key: &KeyUri,
    manner: Manner,
    batch: &[Item<'_>],
) -> Vec<Result<Dek, ProviderError>> {
    let for_all = |error: ProviderError| batch.iter().map(|_| Err(error.clone())).collect();
    let name = match name_of(key) {
        Ok(name) => name,
        Err(error) => return for_all(error),
    };
    let mut body = Object::new();
    let items = batch.iter().map(|item| {
        let mut object = Object::new();
        object.text("ciphertext", item.text);
        manner.bind(&mut object, item.context);
        object
    });
    body.list("batch_input", items);
    let call = Call::write(format!("{}/decrypt/{}", name.mount, name.key)).body(body.end()).repeatable();
    match reach.call(&call).await {
        Ok(answer) => read(key, &answer, batch.len(), Opens::Yes).unwrap_or_else(|| for_all(unreadable(key))),
        // If one of them does not open, the status says so, and the others stand beside it.
        Err(Failed::Refused(refused)) if refused.errors.is_none() => {
            let failed = Failed::Refused(refused);
            let Failed::Refused(refused) = &failed else { return for_all(unreadable(key)) };
            let answer = Answer { body: refused.body.clone() };
            let opens = if refused.status >= 500 { Opens::InTrouble } else { Opens::Yes };
            let told = |error: ProviderError| {
                error.with_attempts(refused.attempts).with_retry_after(refused.retry_after)
            };
            let Some(opened) = read(key, &answer, batch.len(), opens) else {
                return for_all(refusal_to_open(&call, key, &failed));
            };
            opened.into_iter().map(|dek| dek.map_err(told)).collect()
        }
        Err(failed) => for_all(refusal_to_open(&call, key, &failed)),
    }
}

/// `None` where there is not one result for each.
fn read(
    key: &KeyUri,
    answer: &Answer,
    count: usize,
    opens: Opens,
) -> Option<Vec<Result<Dek, ProviderError>>> {
    let Results { batch_results } = answer.data::<Results<'_>>()?;
    let open = |one: &One<'_>| match one.error.as_deref() {
        Some(error) if !error.is_empty() => Err(of_item(key, error, opens)),
        _ => answer::opened_text(key, one.plaintext.unwrap_or_default()),
    };
    (batch_results.len() == count).then(|| batch_results.iter().map(open).collect())
}

const MOST_ITEMS: usize = 256;
/// Before base64; Vault takes 32 MiB unless it is told otherwise.
const MOST_BYTES: usize = 512 * 1024;

#[cfg(test)]
mod tests {
    use envelope_sdk::EncryptionContext;

    use super::*;

    #[test]
    fn batches_are_neither_too_many_nor_too_long_and_leave_nothing_out() {
        let short = EncryptionContext::new().full().unwrap();
        let items = |count: usize| {
            (0..count).map(|place| Item { place, text: "x", context: &short }).collect::<Vec<_>>()
        };
        for (count, lens) in [
            (0, vec![]),
            (1, vec![1]),
            (256, vec![256]),
            (257, vec![256, 1]),
            (1000, vec![256, 256, 256, 232]),
        ] {
            let items = items(count);
            let places: Vec<_> = batches(&items).flatten().map(|item| item.place).collect();
            assert_eq!(places, (0..count).collect::<Vec<_>>());
            assert_eq!(batches(&items).map(<[_]>::len).collect::<Vec<_>>(), lens);
        }
        let long = "x".repeat(MOST_BYTES / 2 + 1);
        let items: Vec<_> = (0..3).map(|place| Item { place, text: &long, context: &short }).collect();
        assert_eq!(batches(&items).map(<[_]>::len).collect::<Vec<_>>(), [1, 1, 1]);
    }
}
