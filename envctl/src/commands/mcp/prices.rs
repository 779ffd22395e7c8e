//! What calls to key stores cost: the table of `envelope-rotation`, or the operator's over it.

use std::path::Path;

use envelope_mcp::Estimate;
use envelope_rotation::Prices;
use envelope_sdk::printable;

use crate::error::{CliError, Result};

pub(super) struct KnownPrices(Prices);

impl KnownPrices {
    pub(super) fn new(file: Option<&Path>) -> Result<Self> {
        let Some(path) = file else { return Ok(Self(Prices::builtin())) };
        let text = std::fs::read_to_string(path).map_err(|error| CliError::io("read", path, &error))?;
        let own = Prices::parse(&text);
        let own = own.map_err(|error| CliError::usage(error.to_string()).about(printable::path(path)))?;
        Ok(Self(Prices::builtin().with(own)))
    }
}

impl envelope_mcp::Prices for KnownPrices {
    fn estimate(&self, store: &str, calls: u64, rate: Option<u32>) -> Estimate {
        let price = self.0.of(store).cloned().unwrap_or_default();
        let hours = |per_second: u32| calls as f64 / f64::from(per_second.max(1)) / 3600.0;
        Estimate {
            store: store.to_owned(),
            calls,
            usd: price.usd.map(|usd| usd * calls as f64 / 10_000.0),
            quota_per_second: price.quota,
            hours_at_quota: price.quota.map(hours),
            hours_at_rate: rate.map(hours),
            source: price.source,
            date: price.date,
            note: price.note,
        }
    }
}
