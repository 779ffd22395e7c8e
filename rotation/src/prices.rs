//! What calls to key stores cost, and how long they take.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};

/// Prices and quotas of key stores, by the names of their providers.
///
/// A table comes [with this crate](Self::builtin); each of its figures says where and when it was read. Nothing that is
/// estimated with it is a promise: contracts, free tiers, kinds of keys and regions differ.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(transparent)]
pub struct Prices {
    providers: BTreeMap<String, Price>,
}

/// What one key store takes.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
#[non_exhaustive]
pub struct Price {
    /// US dollars for 10,000 calls, where that is known.
    pub usd: Option<f64>,
    /// Calls in a second that it takes by default, where there is such a limit.
    pub quota: Option<u32>,
    /// Where the price was read.
    pub source: Option<String>,
    /// Where the quota was read.
    pub quota_source: Option<String>,
    /// When, as `2026-11-29`.
    pub date: Option<String>,
    /// What the figures leave out.
    pub note: Option<String>,
}

impl Prices {
    /// The table of this crate, `rotation/prices.toml`.
    #[must_use]
    pub fn builtin() -> Self {
        // A test reads it.
        Self::parse(BUILTIN).unwrap_or_default()
    }

    /// A table in the form of `rotation/prices.toml`.
    ///
    /// # Errors
    ///
    /// [`PricesError`]: it is not TOML, has a word that is not known, or a price below zero.
    pub fn parse(text: &str) -> Result<Self, PricesError> {
        let prices: Self = toml::from_str(text).map_err(|error| PricesError(error.to_string()))?;
        for (provider, price) in &prices.providers {
            if price.usd.is_some_and(|usd| !usd.is_finite() || usd < 0.0) {
                return Err(PricesError(format!("the price of {provider} is not a sum of money")));
            }
            if price.quota == Some(0) {
                return Err(PricesError(format!("the quota of {provider} is 0")));
            }
        }
        Ok(prices)
    }

    /// These prices, with those of `others` in the place of theirs.
    #[must_use]
    pub fn with(mut self, others: Self) -> Self {
        self.providers.extend(others.providers);
        self
    }

    /// What is known of a key store.
    #[must_use]
    pub fn of(&self, provider: &str) -> Option<&Price> {
        self.providers.get(provider)
    }

    /// What so many calls to each key store take. `rate`: most calls in a second, as the job is to make them.
    #[must_use]
    pub fn estimate(&self, calls: &BTreeMap<&'static str, u64>, rate: Option<u32>) -> Vec<Estimate> {
        let estimate = |(provider, calls): (&&'static str, &u64)| {
            let price = self.of(provider).cloned().unwrap_or_default();
            let per = |second: u32| *calls as f64 / f64::from(second.max(1));
            Estimate {
                provider,
                calls: *calls,
                usd: price.usd.map(|usd| usd * *calls as f64 / 10_000.0),
                quota: price.quota,
                seconds_at_quota: price.quota.map(per),
                seconds_at_rate: rate.map(per),
                source: price.source,
                quota_source: price.quota_source,
                date: price.date,
                note: price.note,
            }
        };
        calls.iter().map(estimate).collect()
    }
}

/// What the calls to one key store take.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Estimate {
    /// The name of its provider.
    pub provider: &'static str,
    /// Calls, at most.
    pub calls: u64,
    /// US dollars; `None` where no price is known.
    pub usd: Option<f64>,
    /// Calls in a second that it takes; `None` where no limit is known.
    pub quota: Option<u32>,
    /// Seconds if the whole quota is used.
    pub seconds_at_quota: Option<f64>,
    /// Seconds at the rate of the job.
    pub seconds_at_rate: Option<f64>,
    /// Where the price was read.
    pub source: Option<String>,
    /// Where the quota was read.
    pub quota_source: Option<String>,
    /// When.
    pub date: Option<String>,
    /// What the figures leave out.
    pub note: Option<String>,
}

impl fmt::Display for Estimate {
    /// One line: `aws: 40,000 calls, 0.12 USD, 4 s at its quota of 10000/s (2026-11-29; …)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} calls", self.provider, self.calls)?;
        match self.usd {
            // A calculation of nothing is no news.
            Some(0.0) => {}
            Some(usd) if usd < 0.01 => f.write_str(", less than 0.01 USD")?,
            Some(usd) => write!(f, ", {usd:.2} USD")?,
            None => f.write_str(", price not known")?,
        }
        if let (Some(quota), Some(seconds)) = (self.quota, self.seconds_at_quota) {
            write!(f, ", {} at its quota of {quota}/s", Time(seconds))?;
        }
        if let Some(seconds) = self.seconds_at_rate {
            write!(f, ", {} at the given rate", Time(seconds))?;
        }
        let of: Vec<_> = [&self.date, &self.note].into_iter().flatten().map(String::as_str).collect();
        if of.is_empty() { Ok(()) } else { write!(f, " ({})", envelope_sdk::printable::text(&of.join("; "))) }
    }
}

/// Seconds, minutes or hours.
struct Time(f64);

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            seconds if seconds < 1.0 => f.write_str("less than 1 s"),
            seconds if seconds < 120.0 => write!(f, "{seconds:.0} s"),
            seconds if seconds < 7_200.0 => write!(f, "{:.0} min", seconds / 60.0),
            seconds => write!(f, "{:.1} h", seconds / 3_600.0),
        }
    }
}

/// Why a text is no table of prices.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("it is no table of prices: {0}")]
pub struct PricesError(String);

const BUILTIN: &str = include_str!("../prices.toml");

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that goes wrong shall stop")]
mod tests {
    use super::*;

    #[test]
    fn each_price_and_quota_of_the_table_says_where_and_when_it_was_read() {
        let prices = Prices::parse(BUILTIN).unwrap();
        for provider in ["aws", "azure", "gcp", "vault", "local", "passphrase", "pkcs11"] {
            let price = prices.of(provider).unwrap();
            assert!(price.date.as_ref().is_some_and(|date| date.len() == 10), "{provider}");
            assert!(price.usd == Some(0.0) || price.source.is_some(), "{provider}");
            assert!(price.quota.is_none() || price.quota_source.is_some(), "{provider}");
            assert!(price.usd.is_some() && price.note.is_some(), "{provider}");
        }
    }

    #[test]
    fn money_and_time_are_of_the_calls_and_a_table_of_ones_own_goes_before() {
        let own = Prices::parse("[aws]\nusd = 0.06\nquota = 500\n").unwrap();
        let prices = Prices::builtin().with(own);
        let calls = BTreeMap::from([("aws", 3_600_000), ("local", 7), ("other", 1)]);
        let estimates = prices.estimate(&calls, Some(250));
        let [aws, local, other] = estimates.as_slice() else { panic!("{estimates:?}") };
        assert_eq!(
            aws.to_string(),
            "aws: 3600000 calls, 21.60 USD, 2.0 h at its quota of 500/s, 4.0 h at the given rate"
        );
        assert_eq!(
            (aws.usd, aws.seconds_at_quota, aws.seconds_at_rate),
            (Some(21.6), Some(7200.0), Some(14400.0))
        );
        assert_eq!(local.usd, Some(0.0));
        assert_eq!(other.to_string(), "other: 1 calls, price not known, less than 1 s at the given rate");
    }

    #[test]
    fn what_is_no_table_of_prices_is_refused() {
        for text in [
            "[aws",
            "[aws]\nusd = -1\n",
            "[aws]\nusd = nan\n",
            "[aws]\nquota = 0\n",
            "[aws]\nprize = 1\n",
            "aws = 3",
        ] {
            let error = Prices::parse(text).unwrap_err().to_string();
            assert!(error.starts_with("it is no table of prices: "), "{text:?}: {error}");
        }
    }
}
