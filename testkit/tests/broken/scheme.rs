//! What opens keys by settings.

use std::{collections::BTreeSet, ffi::OsString, sync::Arc};

use async_trait::async_trait;
use envelope_sdk::{
    KeyAdmin, KeyProvider, KeyUri, NewKey, ProviderError, ProviderErrorKind, ProviderIdentity,
    admin::Details,
    registry::{Purpose, Scheme, SecretOption, SettingError, SettingOption, Settings, Surroundings},
};
use envelope_testkit::{
    AlteredProvider,
    conformance::{
        Report,
        scheme::{self, SchemeBackend},
    },
};
use futures_executor::block_on;

use super::example::ExampleProvider;

/// What is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Flaw {
    None,
    NamesASchemeTooMany,
    NamesASchemeInCapitals,
    DoesNotNameItsScheme,
    OpensAnotherProvider,
    OpensEveryKey,
    ManagesEveryKey,
    RefusesForAnother,
    AsksWhenItIsMade,
    AsksWhenItOpens,
    AsksWhoManages,
    AsksForABareName,
    AsksInASurvey,
    FailsInASurvey,
    OpensAnInstanceEachTime,
    OpensAnotherKey,
}

/// Flaws, and the check that finds each.
const FOUND: &[(Flaw, &str)] = &[
    (Flaw::NamesASchemeTooMany, "the_schemes_it_names_are_those_it_opens"),
    (Flaw::NamesASchemeInCapitals, "the_schemes_it_names_are_those_it_opens"),
    (Flaw::DoesNotNameItsScheme, "the_schemes_it_names_are_those_it_opens"),
    (Flaw::OpensAnotherProvider, "the_schemes_it_names_are_those_it_opens"),
    (Flaw::OpensEveryKey, "a_key_of_another_scheme_is_refused"),
    (Flaw::ManagesEveryKey, "a_key_of_another_scheme_is_refused"),
    (Flaw::RefusesForAnother, "a_key_of_another_scheme_is_refused"),
    (Flaw::AsksWhenItIsMade, "opening_asks_nobody"),
    (Flaw::AsksWhenItOpens, "opening_asks_nobody"),
    (Flaw::AsksWhoManages, "opening_asks_nobody"),
    (Flaw::AsksForABareName, "opening_asks_nobody"),
    (Flaw::AsksInASurvey, "a_survey_needs_no_secret"),
    (Flaw::FailsInASurvey, "a_survey_needs_no_secret"),
    (Flaw::OpensAnInstanceEachTime, "one_instance_is_opened_however_often"),
    (Flaw::OpensAnotherKey, "what_is_opened_to_encrypt_and_decrypt_does"),
];

#[test]
fn a_scheme_without_a_flaw_passes_every_check() {
    let report = scheme::run(&Broken(Flaw::None));
    report.assert_conforms();
    assert!(report.not_run.is_empty(), "{report}");
}

#[test]
fn each_flaw_is_found_by_its_check() {
    for flaw in FOUND.iter().map(|(flaw, _)| *flaw).collect::<BTreeSet<_>>() {
        let report = scheme::run(&Broken(flaw));
        for (_, check) in FOUND.iter().filter(|(of, _)| *of == flaw) {
            assert!(report.fails(check), "{flaw:?} was not found by {check}:\n{report}");
        }
    }
}

#[test]
fn every_check_finds_a_flaw() {
    for (check, _) in scheme::ALL {
        assert!(FOUND.iter().any(|(_, by)| by == check), "no flaw is found by {check}");
    }
}

struct Broken(Flaw);

impl SchemeBackend for Broken {
    fn scheme(&self, around: &Surroundings) -> Arc<dyn Scheme> {
        let provider = ExampleProvider::new();
        for name in ["one", "two"] {
            block_on(provider.create_key(&NewKey::named(name))).unwrap();
        }
        let scheme = Flawed { provider: Arc::new(provider), around: around.clone(), flaw: self.0 };
        scheme.asks(Flaw::AsksWhenItIsMade);
        Arc::new(scheme)
    }

    fn keys(&self) -> Vec<KeyUri> {
        ["example:one", "example:two"].map(|key| KeyUri::parse(key).unwrap()).into()
    }
}

/// A scheme of keys in memory, with a flaw.
struct Flawed {
    provider: Arc<ExampleProvider>,
    around: Surroundings,
    flaw: Flaw,
}

impl Flawed {
    fn asks(&self, flaw: Flaw) {
        if self.flaw == flaw {
            let _ = self.around.secrets.given("example-pin");
        }
    }

    fn check(&self, key: &KeyUri, takes_all: Flaw) -> Result<(), ProviderError> {
        if key.scheme() == "example" || self.flaw == takes_all {
            return Ok(());
        }
        let provider = if self.flaw == Flaw::RefusesForAnother { "elpmaxe" } else { "example" };
        Err(ProviderError::new(ProviderErrorKind::Unsupported, provider, key, "of another scheme"))
    }
}

#[async_trait]
impl Scheme for Flawed {
    fn provider(&self) -> &'static str {
        "example"
    }

    fn schemes(&self) -> &'static [&'static str] {
        match self.flaw {
            Flaw::NamesASchemeTooMany => &["example", "elpmaxe"],
            Flaw::NamesASchemeInCapitals => &["example", "EXAMPLE"],
            Flaw::DoesNotNameItsScheme => &[],
            _ => &["example"],
        }
    }

    fn open(&self, key: &KeyUri, _: Purpose) -> Result<Arc<dyn KeyProvider>, ProviderError> {
        self.asks(Flaw::AsksWhenItOpens);
        self.check(key, Flaw::OpensEveryKey)?;
        let altered = AlteredProvider::new(self.provider.clone());
        Ok(match self.flaw {
            Flaw::OpensAnotherProvider => Arc::new(altered.named("elpmaxe")),
            Flaw::OpensAnInstanceEachTime => Arc::new(altered.identified(Some(ProviderIdentity::unique()))),
            Flaw::OpensAnotherKey => Arc::new(ExampleProvider::new()),
            _ => self.provider.clone(),
        })
    }

    fn key_named(&self, _name: &str) -> Result<Option<KeyUri>, ProviderError> {
        self.asks(Flaw::AsksForABareName);
        Ok(None)
    }

    fn admin(&self, key: Option<&KeyUri>) -> Result<Arc<dyn KeyAdmin>, ProviderError> {
        self.asks(Flaw::AsksWhoManages);
        key.map_or(Ok(()), |key| self.check(key, Flaw::ManagesEveryKey))?;
        Ok(self.provider.clone())
    }

    async fn survey(&self) -> Result<Details, ProviderError> {
        self.asks(Flaw::AsksInASurvey);
        if self.flaw == Flaw::FailsInASurvey {
            return Err(ProviderError::without_key(ProviderErrorKind::Invalid, "example", "name a key"));
        }
        Ok(Details::new().with("keys", 2_u64))
    }
}

// Settings

#[test]
fn each_flaw_of_settings_is_found_by_its_check() {
    run::<0>().assert_conforms();
    for (report, check) in [
        (run::<1>(), "the_names_of_settings_are_plain_and_differ"),
        (run::<2>(), "the_names_of_settings_are_plain_and_differ"),
        (run::<3>(), "a_setting_that_is_offered_is_taken"),
        (run::<4>(), "a_setting_that_there_is_not_is_refused_without_its_value"),
        (run::<5>(), "a_setting_that_there_is_not_is_refused_without_its_value"),
        (run::<6>(), "settings_that_say_nothing_make_the_scheme"),
        (run::<7>(), "settings_that_say_nothing_make_the_scheme"),
    ] {
        assert!(report.fails(check), "{report}");
    }
}

fn run<const FLAW: u8>() -> Report {
    scheme::run_settings::<Set<FLAW>>()
}

/// Settings with a flaw, which a number names, since there is a type for each.
#[derive(Default)]
struct Set<const FLAW: u8>;

impl<const FLAW: u8> Settings for Set<FLAW> {
    const PROVIDER: &'static str = if FLAW == 7 { "elpmaxe" } else { "example" };

    const OPTIONS: &'static [SettingOption] = match FLAW {
        1 => &[SettingOption::new("Page_Len", "N", "Help")],
        3 => &[SettingOption::new("page-len", "N", "Help"), SettingOption::new("forgotten", "N", "Help")],
        _ => &[SettingOption::new("page-len", "N", "Help")],
    };

    const SECRETS: &'static [SecretOption] = match FLAW {
        2 => &[SecretOption::new("page-len", "the length")],
        _ => &[SecretOption::new("pin", "the PIN")],
    };

    fn set(&mut self, name: &str, _value: OsString) -> Result<(), SettingError> {
        match (FLAW, name) {
            (_, "page-len") | (4, _) => Ok(()),
            (5, _) => Err(SettingError::Value("another one")),
            _ => Err(SettingError::Unknown),
        }
    }

    fn into_scheme(self, around: &Surroundings) -> Result<Arc<dyn Scheme>, ProviderError> {
        match FLAW {
            6 => Err(ProviderError::without_key(ProviderErrorKind::Invalid, "example", "name a page length")),
            _ => Ok(Broken(Flaw::None).scheme(around)),
        }
    }
}
