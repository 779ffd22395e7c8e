//! The state of the storage that an answer of Vault Enterprise speaks of (`X-Vault-Index`).
//! It is sent on, so that a performance standby that is behind says so (status 412) and does
//! not answer from what it has.
//! <https://developer.hashicorp.com/vault/docs/enterprise/consistency>.

use base64ct::{Base64, Encoding};
use reqwest::header::HeaderValue;

/// One such state.
pub(crate) struct Index {
    header: HeaderValue,
    cluster: String,
    /// Of what is local to the cluster, and of what is replicated.
    reached: (u64, u64),
}

impl Index {
    /// `None` for what is no such state: it is not sent on.
    pub(crate) fn read(header: HeaderValue) -> Option<Self> {
        let text = Base64::decode_vec(header.to_str().ok()?).ok()?;
        let text = String::from_utf8(text).ok()?;
        let mut parts = text.split(':');
        let (version, cluster) = (parts.next()?, parts.next()?);
        let reached = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        let is_whole = parts.next().is_some_and(|mac| !mac.is_empty()) && parts.next().is_none();
        (version == "v1" && is_whole).then(|| Self { header, cluster: cluster.to_owned(), reached })
    }

    pub(crate) fn header(&self) -> HeaderValue {
        self.header.clone()
    }

    /// Of two answers that cross, the one that knows less is not taken. Of another cluster, what came last is.
    pub(crate) fn is_newer_than(&self, other: &Self) -> bool {
        self.cluster != other.cluster
            || self.reached.0 >= other.reached.0 && self.reached.1 >= other.reached.1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index(text: &str) -> Option<Index> {
        Index::read(HeaderValue::from_str(&Base64::encode_string(text.as_bytes())).unwrap())
    }

    #[test]
    fn of_two_states_the_one_that_reached_further_is_kept() {
        let [old, new] = ["v1:one:7:3:mac", "v1:one:8:3:mac"].map(|text| index(text).unwrap());
        assert!(new.is_newer_than(&old) && !old.is_newer_than(&new));
        let other = index("v1:two:1:1:mac").unwrap();
        assert!(other.is_newer_than(&new) && new.is_newer_than(&other));
    }

    #[test]
    fn what_is_no_state_is_not_sent_on() {
        for text in
            ["", "v1:one:7:3", "v2:one:7:3:mac", "v1:one:x:3:mac", "v1:one:7:3:mac:more", "v1:one:7:3:"]
        {
            assert!(index(text).is_none(), "{text}");
        }
        assert!(Index::read(HeaderValue::from_static("%%%")).is_none());
    }
}
