//! `[keyring]`: how the keys of a configuration are used beside each other.

use std::{num::NonZeroUsize, sync::Arc, time::Duration};

use envelope_layers::LayerSettings;
use envelope_sdk::{Hedging, Keyring, KeyringListener, Order, Timer, TokioTimer, WrapPolicy};
use serde::{
    Deserialize, Deserializer,
    de::{Error, MapAccess, Visitor, value::MapAccessDeserializer},
};

/// The table, that of the file or of a profile. What is not said is as a [`Keyring`] has it.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(try_from = "Table")]
pub(crate) struct KeyringWords {
    order: Option<Order>,
    deadline: Option<Duration>,
    hedging: Option<Switch>,
    wrap: Option<WrapPolicy>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields, expecting = "a table")]
struct Table {
    order: Option<OrderWord>,
    #[serde(deserialize_with = "time_to_wait")]
    deadline: Option<Duration>,
    hedging: Option<Switch>,
    wrap: Option<WrapWord>,
    wrap_at_least: Option<NonZeroUsize>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum OrderWord {
    Header,
    Keyring,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum WrapWord {
    All,
}

/// `false`, `true`, or a table of settings.
#[derive(Debug, Clone, Copy)]
enum Switch {
    Off,
    On(HedgingTable),
}

#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
struct HedgingTable {
    #[serde(deserialize_with = "time_to_wait")]
    first_delay: Option<Duration>,
    #[serde(deserialize_with = "time_to_wait")]
    least_delay: Option<Duration>,
    #[serde(deserialize_with = "time_to_wait")]
    longest_delay: Option<Duration>,
    percent: Option<u8>,
}

impl TryFrom<Table> for KeyringWords {
    type Error = &'static str;

    fn try_from(Table { order, deadline, hedging, wrap, wrap_at_least }: Table) -> Result<Self, Self::Error> {
        let wrap = match (wrap, wrap_at_least) {
            (None, None) => None,
            (Some(WrapWord::All), None) => Some(WrapPolicy::All),
            (None, Some(least)) => Some(WrapPolicy::AtLeast(least.get())),
            (Some(_), Some(_)) => return Err("either `wrap` or `wrap-at-least`, not both"),
        };
        let order = order.map(|order| match order {
            OrderWord::Header => Order::Header,
            OrderWord::Keyring => Order::Keyring,
        });
        Ok(Self { order, deadline, hedging, wrap })
    }
}

impl KeyringWords {
    /// Refuses a time of the whole call that ends each attempt below these layers before it can fail.
    pub(crate) fn check(&self, layers: &LayerSettings) -> Result<(), String> {
        match (self.deadline, layers.attempt_time()) {
            (Some(whole), Some(attempt)) if attempt >= whole => Err(format!(
                "`deadline` of [layers], the time of one attempt, is {}, and [keyring] gives a whole call {}: a key store \
                 that is away would use up all of it, no second key would be asked, and no breaker would open; set a \
                 shorter one in [layers], or a longer one in [keyring]",
                humantime::format_duration(attempt),
                humantime::format_duration(whole)
            )),
            _ => Ok(()),
        }
    }

    /// These, and `general` where they say nothing.
    pub(crate) fn over(self, general: Self) -> Self {
        Self {
            order: self.order.or(general.order),
            deadline: self.deadline.or(general.deadline),
            hedging: self.hedging.or(general.hedging),
            wrap: self.wrap.or(general.wrap),
        }
    }
}

/// What all keyrings of one configuration have in common.
pub(crate) struct Common {
    order: Order,
    deadline: Option<Duration>,
    hedging: Option<Hedging>,
    wrap: WrapPolicy,
    timer: Arc<dyn Timer>,
    listeners: Vec<Arc<dyn KeyringListener>>,
}

impl Common {
    pub(crate) fn new(words: KeyringWords, listeners: Vec<Arc<dyn KeyringListener>>) -> Self {
        let timer: Arc<dyn Timer> = Arc::new(TokioTimer::new());
        let hedging = match words.hedging {
            Some(Switch::On(table)) => Some(table.hedging(Arc::clone(&timer))),
            Some(Switch::Off) | None => None,
        };
        Self {
            order: words.order.unwrap_or_default(),
            deadline: words.deadline,
            // One for all keyrings, so that they share what hedges there may be.
            hedging,
            wrap: words.wrap.unwrap_or_default(),
            timer,
            listeners,
        }
    }

    /// A keyring without keys.
    pub(crate) fn keyring(&self) -> Keyring {
        let mut keyring = Keyring::new().order(self.order);
        if let Some(time) = self.deadline {
            keyring = keyring.deadline(time, Arc::clone(&self.timer));
        }
        if let Some(hedging) = &self.hedging {
            keyring = keyring.hedging(hedging.clone());
        }
        self.listeners.iter().map(Arc::clone).fold(keyring, Keyring::tell)
    }

    pub(crate) fn wrap(&self) -> WrapPolicy {
        self.wrap
    }
}

impl HedgingTable {
    fn hedging(self, timer: Arc<dyn Timer>) -> Hedging {
        let mut hedging = Hedging::new(timer);
        if let Some(delay) = self.first_delay {
            hedging = hedging.first_delay(delay);
        }
        if self.least_delay.is_some() || self.longest_delay.is_some() {
            let least = self.least_delay.unwrap_or(LEAST_DELAY);
            hedging = hedging.between(least, self.longest_delay.unwrap_or(LONGEST_DELAY.max(least)));
        }
        match self.percent {
            Some(percent) => hedging.at_most_percent(percent),
            None => hedging,
        }
    }
}

impl<'de> Deserialize<'de> for Switch {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct TableOrBool;
        impl<'de> Visitor<'de> for TableOrBool {
            type Value = Switch;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a table, true or false")
            }

            fn visit_bool<E: Error>(self, on: bool) -> Result<Switch, E> {
                Ok(if on { Switch::On(HedgingTable::default()) } else { Switch::Off })
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Switch, A::Error> {
                HedgingTable::deserialize(MapAccessDeserializer::new(map)).map(Switch::On)
            }
        }
        from.deserialize_any(TableOrBool)
    }
}

/// Within no time nothing is done. What humantime says quotes the text.
fn time_to_wait<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Duration>, D::Error> {
    let text = String::deserialize(from)?;
    match humantime::parse_duration(&text) {
        Ok(time) if !time.is_zero() => Ok(Some(time)),
        _ => Err(D::Error::custom("it must be a time such as `5s` or `200ms`")),
    }
}

/// The defaults of [`Hedging::between`].
const LEAST_DELAY: Duration = Duration::from_millis(5);
const LONGEST_DELAY: Duration = Duration::from_secs(2);
