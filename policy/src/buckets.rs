//! How often: a token bucket for each actor and key.

use std::{borrow::Cow, fmt, num::NonZeroU32, time::Duration};

use envelope_sdk::KeyUri;

use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};

/// The limit of a rule.
pub(crate) struct Buckets {
    limiter: DefaultKeyedRateLimiter<(Box<str>, Box<str>)>,
}

impl Buckets {
    /// `10/s`, `100/m`, `1000/h` or `5000/d`; and how many at once, as many as that number unless said.
    pub(crate) fn new(rate: &str, burst: Option<u32>) -> Result<Self, String> {
        let quota = quota(rate).ok_or("a limit is written `10/s`, `100/m`, `1000/h` or `5000/d`")?;
        let quota = match burst {
            None => quota,
            Some(burst) => quota.allow_burst(NonZeroU32::new(burst).ok_or("`burst` is at least 1")?),
        };
        Ok(Self { limiter: RateLimiter::keyed(quota) })
    }

    /// Takes a token of this actor's and key's bucket, if there is one. What is about no key has one of its own.
    pub(crate) fn take(&self, actor: &str, key: Option<&KeyUri>) -> bool {
        if self.limiter.len() > MANY {
            // Full buckets are as good as none.
            self.limiter.retain_recent();
            // Whoever names so many keys in so short a time waits, and nobody else does: until they are less, all keys of an
            // actor have one bucket besides their own.
            let left = self.limiter.len();
            if left > 2 * MANY || left > MANY && self.limiter.check_key(&(actor.into(), ALL.into())).is_err()
            {
                return false;
            }
        }
        let key = key.map_or(Cow::Borrowed(""), one_spelling);
        self.limiter.check_key(&(actor.into(), key.into())).is_ok()
    }
}

/// The name of a bucket. Azure takes capitals in a key's name for small ones, and answers with those that it was made with.
fn one_spelling(key: &KeyUri) -> Cow<'_, str> {
    match key.scheme() {
        "azurekeyvault" => key.as_str().to_ascii_lowercase().into(),
        _ => key.as_str().into(),
    }
}

fn quota(rate: &str) -> Option<Quota> {
    let (count, unit) = rate.split_once('/')?;
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 60 * 60,
        "d" => 24 * 60 * 60,
        _ => return None,
    };
    let count = count.parse::<NonZeroU32>().ok()?;
    let each = Duration::from_secs(seconds) / count.get();
    Some(Quota::with_period(each)?.allow_burst(count))
}

impl fmt::Debug for Buckets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Buckets")
    }
}

/// Buckets that are held before whoever names more keys is held back; twice as many are held at most.
const MANY: usize = 100_000;
/// Which is no key.
const ALL: &str = "*";

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> Option<KeyUri> {
        Some(KeyUri::parse(text).unwrap())
    }

    #[test]
    fn each_actor_and_key_has_a_bucket_of_its_own() {
        let buckets = Buckets::new("3/d", None).unwrap();
        let (k, l) = (key("local:k"), key("local:l"));
        for _ in 0..3 {
            assert!(buckets.take("cli:a", k.as_ref()));
        }
        assert!(!buckets.take("cli:a", k.as_ref()));
        assert!(buckets.take("cli:b", k.as_ref()) && buckets.take("cli:a", l.as_ref()));
    }

    #[test]
    fn a_key_of_azure_has_one_bucket_in_whatever_letters() {
        let buckets = Buckets::new("1/d", None).unwrap();
        assert!(buckets.take("cli:a", key("https://v.vault.azure.net/keys/Main").as_ref()));
        assert!(!buckets.take("cli:a", key("https://v.vault.azure.net/keys/main").as_ref()));
    }

    #[test]
    fn a_burst_may_be_smaller_than_the_rate() {
        let buckets = Buckets::new("1000/d", Some(2)).unwrap();
        assert!(buckets.take("cli:a", None) && buckets.take("cli:a", None));
        assert!(!buckets.take("cli:a", None));
    }

    #[test]
    fn who_names_very_many_keys_is_held_back_and_nobody_else() {
        let buckets = Buckets::new("2/d", None).unwrap();
        let named = |number: usize| key(&format!("local:k{number}"));
        for number in 0..=MANY {
            assert!(buckets.take("mcp:a", named(number).as_ref()), "{number}");
        }
        let more = [1, 2, 3].map(|more| buckets.take("mcp:a", named(MANY + more).as_ref()));
        assert_eq!(more, [true, true, false]);
        let other = [1, 2, 3].map(|_| buckets.take("mcp:b", named(0).as_ref()));
        assert_eq!(other, [true, true, false]);
    }

    #[test]
    fn what_is_no_limit_is_refused() {
        for rate in ["", "5", "5/", "0/s", "-1/s", "5/w", "5 / s", "99999999999/s"] {
            assert!(Buckets::new(rate, None).is_err(), "{rate}");
        }
        assert_eq!(Buckets::new("1/s", Some(0)).unwrap_err(), "`burst` is at least 1");
    }
}
