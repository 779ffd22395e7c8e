//! `key_usage`.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Tool,
    envelopes::{Said, scan},
    keys::MAX_KEY,
};
use crate::{Failure, Look, answer::Page, call::Call, cursor, words};

pub(super) struct KeyUsage;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Input {
    /// A folder that is served or one below, or the URL of a configured bucket. Everything, unless it is said.
    #[serde(default)]
    under: Option<String>,
    /// `next_cursor` of the answer before. The counts are of this part alone: add them up.
    #[serde(default)]
    cursor: Option<String>,
}

#[derive(Serialize, JsonSchema)]
pub(super) struct Output {
    /// What each key version opens, those first that most is lost with.
    keys: Vec<Used>,
    /// Key versions that did not fit here, together.
    others: Opens,
    examined: u64,
    envelopes: u64,
    hidden_by_policy: u64,
    /// Files that may be envelopes and could not be read, and are not counted.
    unreadable: u64,
    unreadable_examples: Vec<String>,
    /// There may be more: ask again with it, and add up. Null at the end.
    next_cursor: Option<String>,
    unverified: String,
}

#[derive(Serialize, JsonSchema)]
struct Used {
    key: String,
    /// Empty where the key store tells none.
    version: String,
    /// Envelopes that it opens.
    envelopes: u64,
    /// Those of them that nothing else opens: they are lost with it.
    alone: u64,
}

#[derive(Default, Clone, Copy, Serialize, JsonSchema)]
struct Opens {
    envelopes: u64,
    alone: u64,
}

impl Opens {
    fn add(&mut self, other: Self) {
        self.envelopes += other.envelopes;
        self.alone += other.alone;
    }
}

impl Tool for KeyUsage {
    const NAME: &'static str = "key_usage";
    const TITLE: &'static str = "What each key opens";
    const DESCRIPTION: &'static str = "Counts how many encrypted files each key version opens, and how many it opens alone, from headers below the served \
        folders and in the configured buckets. Asked before a key is suspended or destroyed. Nothing of it is verified.";
    const ASKS: Option<Look> = None;
    type Input = Input;
    type Output = Output;

    async fn call(call: Call, input: Input) -> Result<Output, Failure> {
        let after = cursor::read(&call.asked, input.cursor.as_deref())?;
        let (mut counts, mut others) = (BTreeMap::<(String, String), Opens>::new(), Opens::default());
        let scanned = scan(&call, input.under.as_deref(), after, MOST_EXAMINED, |seen| {
            let recipients = seen.header.recipients();
            let one = Opens { envelopes: 1, alone: u64::from(recipients.len() == 1) };
            for of in recipients {
                let key = (of.key_uri().as_str().to_owned(), of.key_version().to_owned());
                // Whoever writes headers can name any number of keys.
                if counts.len() < MOST_VERSIONS || counts.contains_key(&key) {
                    counts.entry(key).or_default().add(one);
                } else {
                    others.add(one);
                }
            }
            Said::On
        });
        let scanned = scanned.await?;
        let mut used: Vec<_> = counts.into_iter().collect();
        used.sort_by_key(|(_, opens)| std::cmp::Reverse((opens.alone, opens.envelopes)));
        let mut page = Page::new(Some(200));
        for ((key, version), opens) in used {
            let (key, version) = (words::shown(&key, MAX_KEY), words::shown(&version, words::MAX_NAME));
            if page.add(Used { key, version, envelopes: opens.envelopes, alone: opens.alone }).is_err() {
                others.add(opens);
            }
        }
        Ok(Output {
            keys: page.items,
            others,
            examined: scanned.examined,
            envelopes: scanned.envelopes,
            hidden_by_policy: scanned.hidden,
            unreadable: scanned.failed,
            unreadable_examples: scanned.failures,
            next_cursor: scanned.next.map(|place| cursor::write(&call.asked, &place)).transpose()?,
            unverified: words::UNVERIFIED.into(),
        })
    }
}

/// Files that one call looks at.
const MOST_EXAMINED: u64 = 100_000;
/// Key versions that are told apart.
const MOST_VERSIONS: usize = 10_000;
