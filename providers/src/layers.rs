//! `[layers]`: the layers over every key store, and those of one.

use std::collections::BTreeMap;

use envelope_layers::{LayerSettings, RetryBudget};
use serde::Deserialize;
use toml::{
    Spanned,
    de::{DeTable, DeValue, ValueDeserializer},
};

use crate::{Registration, file::is_of_a_key_store};

/// What `[layers]` says.
#[derive(Default)]
pub(crate) struct Layers {
    /// Of every key store that has no own ones.
    general: LayerSettings,
    of_key_stores: BTreeMap<String, LayerSettings>,
    /// Of the process.
    pub(crate) budget: RetryBudget,
}

impl Layers {
    /// Reads all of it, also what is of a key store that this build lacks.
    pub(crate) fn read(
        mut table: Spanned<DeValue<'_>>,
        registered: &[Registration],
    ) -> Result<Self, toml::de::Error> {
        let mut own: BTreeMap<String, Spanned<DeValue<'_>>> = BTreeMap::new();
        let mut budget = RetryBudget::default();
        if let DeValue::Table(table) = table.get_mut() {
            if let Some(said) = table.remove("retry-budget") {
                budget = RetryBudget::deserialize(ValueDeserializer::from(said))?;
            }
            let names: Vec<_> =
                table.keys().filter(|name| is_of_a_key_store(name.get_ref(), registered)).cloned().collect();
            own.extend(names.into_iter().filter_map(|name| {
                let table = table.remove(&name)?;
                Some((name.get_ref().to_string(), table))
            }));
        }
        let patient: Vec<_> =
            registered.iter().filter(|known| known.waits_for_a_person).map(|known| known.provider).collect();
        for provider in &patient {
            own.entry((*provider).to_owned())
                .or_insert_with(|| Spanned::new(table.span(), DeValue::Table(DeTable::new())));
        }
        let mut of_key_stores = BTreeMap::new();
        for (provider, own) in own {
            let mut merged = table.clone();
            if patient.contains(&provider.as_str())
                && let DeValue::Table(general) = merged.get_mut()
            {
                for layer in LayerSettings::HASTE {
                    general.remove(layer);
                }
            }
            merge(&mut merged, own);
            of_key_stores.insert(provider, settings(merged)?);
        }
        Ok(Self { general: settings(table)?, of_key_stores, budget })
    }

    pub(crate) fn of(&self, provider: &str) -> LayerSettings {
        self.of_key_stores.get(provider).unwrap_or(&self.general).clone()
    }
}

fn settings(table: Spanned<DeValue<'_>>) -> Result<LayerSettings, toml::de::Error> {
    LayerSettings::deserialize(ValueDeserializer::from(table))
}

/// Says what `own` says over `general`, setting by setting.
fn merge<'t>(general: &mut Spanned<DeValue<'t>>, own: Spanned<DeValue<'t>>) {
    if matches!((general.get_ref(), own.get_ref()), (DeValue::Table(_), DeValue::Table(_))) {
        let (DeValue::Table(general), DeValue::Table(own)) = (general.get_mut(), own.into_inner()) else {
            return;
        };
        for (name, value) in own {
            match general.get_mut(&name) {
                Some(setting) => merge(setting, value),
                None => drop(general.insert(name, value)),
            }
        }
    } else {
        *general = own;
    }
}
