//! How often: a token bucket for each actor and key.

use std::{fmt, num::NonZeroU32, time::Duration};

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

    /// Takes a token of this actor's and key's bucket, if there is one.
    pub(crate) fn take(&self, actor: &str, key: &str) -> bool {
        if self.limiter.len() > MANY {
            // Full buckets are as good as none.
            self.limiter.retain_recent();
            // Whoever can name so many keys in so short a time waits.
            if self.limiter.len() > MANY {
                return false;
            }
        }
        self.limiter.check_key(&(actor.into(), key.into())).is_ok()
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

/// Buckets that are held at most.
const MANY: usize = 100_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_actor_and_key_has_a_bucket_of_its_own() {
        let buckets = Buckets::new("3/d", None).unwrap();
        for _ in 0..3 {
            assert!(buckets.take("cli:a", "local:k"));
        }
        assert!(!buckets.take("cli:a", "local:k"));
        assert!(buckets.take("cli:b", "local:k") && buckets.take("cli:a", "local:l"));
    }

    #[test]
    fn a_burst_may_be_smaller_than_the_rate() {
        let buckets = Buckets::new("1000/d", Some(2)).unwrap();
        assert!(buckets.take("cli:a", "") && buckets.take("cli:a", ""));
        assert!(!buckets.take("cli:a", ""));
    }

    #[test]
    fn what_is_no_limit_is_refused() {
        for rate in ["", "5", "5/", "0/s", "-1/s", "5/w", "5 / s", "99999999999/s"] {
            assert!(Buckets::new(rate, None).is_err(), "{rate}");
        }
        assert_eq!(Buckets::new("1/s", Some(0)).unwrap_err(), "`burst` is at least 1");
    }
}
