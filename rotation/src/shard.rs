//! A part of the items, for workers that share nothing but the store.

use std::{fmt, str::FromStr};

use sha2::{Digest, Sha256};

/// One of N parts of all items, chosen by a stable hash of the name: the first 8 bytes of its SHA-256, as a
/// big-endian number, modulo N.
///
/// Workers that list the same source with `1/N` to `N/N` do each item once. The hash is of the name as it is listed:
/// give each worker the same paths, spelled the same.
///
/// ```
/// # use envelope_rotation::{Item, Shard};
/// let shards: Vec<Shard> = (1..=4).map(|index| format!("{index}/4").parse().unwrap()).collect();
/// let item = Item::found("tenants/42.envelope");
/// assert_eq!(shards.iter().filter(|shard| shard.has(&item)).count(), 1);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shard {
    index: u64,
    count: u64,
}

impl Shard {
    /// Everything: `1/1`.
    pub const ALL: Self = Self { index: 1, count: 1 };

    /// Part `index` of `count`, from 1 on. `None` for an index outside of that.
    #[must_use]
    pub fn new(index: u64, count: u64) -> Option<Self> {
        (1..=count).contains(&index).then_some(Self { index, count })
    }

    /// Whether an item is of this part.
    #[must_use]
    pub fn has(&self, item: &crate::Item) -> bool {
        self.count == 1 || hash(item.name()) % self.count == self.index - 1
    }
}

impl FromStr for Shard {
    type Err = NotAShard;

    fn from_str(text: &str) -> Result<Self, NotAShard> {
        let (index, count) = text.split_once('/').ok_or(NotAShard)?;
        let number = |text: &str| text.parse().map_err(|_| NotAShard);
        Self::new(number(index)?, number(count)?).ok_or(NotAShard)
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.index, self.count)
    }
}

/// A text that names no [`Shard`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a shard is I/N, such as 1/4, with I from 1 to N")]
pub struct NotAShard;

/// The first 8 bytes of SHA-256, big-endian.
pub(crate) fn hash(name: &[u8]) -> u64 {
    let digest = Sha256::digest(name);
    u64::from_be_bytes(std::array::from_fn(|at| digest[at]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Item;

    #[test]
    fn each_item_is_of_one_shard_and_shards_are_of_like_size() {
        let shards: Vec<_> = (1..=7).map(|index| Shard::new(index, 7).unwrap()).collect();
        let mut counts = [0; 7];
        for number in 0..7_000 {
            let item = Item::found(format!("item-{number}"));
            let own: Vec<_> = (0..7).filter(|at| shards[*at].has(&item)).collect();
            assert_eq!(own.len(), 1, "{item}");
            counts[own[0]] += 1;
        }
        assert!(counts.iter().all(|count| (850..1_150).contains(count)), "{counts:?}");
    }

    #[test]
    fn the_hash_is_that_of_the_documentation_for_ever() {
        // FIPS 180-4, the messages "" and "abc".
        assert_eq!(hash(b""), 0xe3b0_c442_98fc_1c14);
        assert_eq!(hash(b"abc"), 0xba78_16bf_8f01_cfea);
    }

    #[test]
    fn what_is_no_shard_is_refused() {
        for text in ["", "1", "0/4", "5/4", "1/0", "-1/4", "1/4/4", "a/b"] {
            assert_eq!(text.parse::<Shard>(), Err(NotAShard), "{text:?}");
        }
        assert_eq!("4/4".parse::<Shard>().unwrap().to_string(), "4/4");
    }
}
