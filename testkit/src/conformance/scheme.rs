//! What every [`Scheme`] must do, and its [`Settings`].
//!
//! A test describes how the scheme is made, and the keys that it opens, as a
//! [`SchemeBackend`], calls [`run`] and demands that the report
//! [conforms](super::Report::assert_conforms). [`run_settings`] checks the
//! settings by themselves.

use std::{
    collections::BTreeSet,
    ffi::OsString,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use envelope_sdk::{
    KeyProvider, KeyUri, ProviderError,
    ProviderErrorKind::{Invalid, Unsupported},
    registry::{Purpose, Scheme, SettingError, Settings, Surroundings},
    secret::{Prompt, SecretError, Secrets},
};

use zeroize::Zeroizing;

use super::{
    Outcome, Report, Task,
    ask::{Step, context, decide, fails, fresh_dek, must_refuse, not_run, told, wait},
    report,
};

/// How a scheme is made, and keys that it opens.
///
/// Where a method may panic, it stops the check with that panic.
pub trait SchemeBackend: Sync {
    /// The scheme, made anew from the same settings.
    fn scheme(&self, around: &Surroundings) -> Arc<dyn Scheme>;

    /// Keys that the scheme opens, one or more of each of its schemes. Those of one
    /// scheme are reached with one set of credentials.
    fn keys(&self) -> Vec<KeyUri>;

    /// What is around the scheme when its keys are used: the secrets that open
    /// them. None are needed by default.
    fn around(&self) -> Surroundings {
        Surroundings::default()
    }

    /// Runs a future to its end on the calling thread, as
    /// [`Backend::block_on`](super::Backend::block_on).
    fn block_on(&self, future: Task<'_>) {
        futures_executor::block_on(future);
    }
}

/// One check: its name, which is what must hold, and its function.
pub type SchemeCheck = (&'static str, fn(&dyn SchemeBackend) -> Outcome);

/// Runs every check, one after the other.
pub fn run(backend: &dyn SchemeBackend) -> Report {
    report::run(ALL.iter().map(|(name, check)| (*name, move || check(backend))))
}

/// Every check with its name.
pub const ALL: &[SchemeCheck] = &[
    ("the_schemes_it_names_are_those_it_opens", the_schemes_it_names_are_those_it_opens),
    ("a_key_of_another_scheme_is_refused", a_key_of_another_scheme_is_refused),
    ("opening_asks_nobody", opening_asks_nobody),
    ("a_survey_needs_no_secret", a_survey_needs_no_secret),
    ("one_instance_is_opened_however_often", one_instance_is_opened_however_often),
    ("what_is_opened_to_encrypt_and_decrypt_does", what_is_opened_to_encrypt_and_decrypt_does),
];

/// Opens a key of each scheme that it names, and no key is of another. The
/// provider has the name that the scheme says, or that of the key's scheme.
#[must_use]
pub fn the_schemes_it_names_are_those_it_opens(backend: &dyn SchemeBackend) -> Outcome {
    decide(|| {
        let scheme = backend.scheme(&backend.around());
        for name in scheme.schemes() {
            let probe = KeyUri::parse(&format!("{name}:x")).map(|key| key.scheme() == *name);
            // `passphrase:x` is no key URI, and says so.
            if probe == Ok(false) || name.is_empty() || name.contains(|c: char| c == ':' || c.is_uppercase())
            {
                return fails(format!(
                    "{name:?} is no scheme of key URIs, in lower case and without the colon"
                ));
            }
            if !backend.keys().iter().any(|key| key.scheme() == *name) {
                return fails(format!("it names the scheme {name}, and the backend has no such key"));
            }
        }
        for key in backend.keys() {
            if !scheme.schemes().contains(&key.scheme()) {
                return fails(format!("it does not name the scheme of {key}"));
            }
            let provider = must_open(&*scheme, &key, Purpose::Decrypt)?;
            // One scheme may open by several providers: passphrases are not of the keystore.
            if ![scheme.provider(), key.scheme()].contains(&provider.name()) {
                return fails(format!(
                    "{key}: the provider is {}, not {}",
                    provider.name(),
                    scheme.provider()
                ));
            }
            match scheme.admin(Some(&key)) {
                Ok(admin) if admin.provider() != scheme.provider() => {
                    return fails(format!(
                        "{key} is managed by {}, not {}",
                        admin.provider(),
                        scheme.provider()
                    ));
                }
                Ok(_) => {}
                Err(error) => {
                    must_refuse::<()>("managing", Err(error), &[Unsupported])?;
                }
            }
        }
        Ok(())
    })
}

/// Opens and manages a key of a scheme that no provider has.
#[must_use]
pub fn a_key_of_another_scheme_is_refused(backend: &dyn SchemeBackend) -> Outcome {
    decide(|| {
        let scheme = backend.scheme(&backend.around());
        let foreign = KeyUri::parse("conformance-suite:foreign").or_else(|error| fails(error.to_string()))?;
        for purpose in PURPOSES {
            let what = format!("opening a foreign key to {purpose:?}");
            let error =
                must_refuse(&what, scheme.open(&foreign, purpose).map(drop), &[Unsupported, Invalid])?;
            must_be_told_well(&*scheme, &what, &error)?;
        }
        let outcome = scheme.admin(Some(&foreign)).map(drop);
        let error = must_refuse("managing a foreign key", outcome, &[Unsupported, Invalid])?;
        must_be_told_well(&*scheme, "managing a foreign key", &error)
    })
}

/// Opens every key for every purpose, and who manages it, where asking for a
/// secret stops the check.
#[must_use]
pub fn opening_asks_nobody(backend: &dyn SchemeBackend) -> Outcome {
    decide(|| {
        let asked = Arc::new(Asked::default());
        let mut around = backend.around();
        around.secrets = asked.clone();
        let scheme = backend.scheme(&around);
        must_not_have_asked("making the scheme", &asked)?;
        for key in backend.keys() {
            for purpose in PURPOSES {
                must_open(&*scheme, &key, purpose)?;
                must_not_have_asked(&format!("opening {key} to {purpose:?}"), &asked)?;
            }
            // A key store may manage no keys.
            let _ = scheme.admin(Some(&key));
            must_not_have_asked(&format!("opening who manages {key}"), &asked)?;
        }
        let _ = scheme.admin(None);
        must_not_have_asked("opening who manages keys", &asked)?;
        let _ = scheme.key_named("conformance-suite");
        let _ = scheme.key_of_other_tools("https://conformance.example/v1/suite/keys/key");
        must_not_have_asked("looking for a bare name", &asked)
    })
}

/// Surveys where there is no secret. Not run where there is nothing to tell.
#[must_use]
pub fn a_survey_needs_no_secret(backend: &dyn SchemeBackend) -> Outcome {
    decide(|| {
        let asked = Arc::new(Asked::default());
        let mut around = backend.around();
        around.secrets = asked.clone();
        let scheme = backend.scheme(&around);
        let survey = wait(backend, scheme.survey())?;
        must_not_have_asked("a survey", &asked)?;
        match survey {
            Ok(_) => Ok(()),
            Err(error) if error.kind() == Unsupported => not_run(error.to_string()),
            Err(error) => fails(format!("a survey failed: {}", told(&error))),
        }
    })
}

/// Opens each key twice, and all keys of one scheme, for one purpose: it is one
/// instance, or has one identity.
#[must_use]
pub fn one_instance_is_opened_however_often(backend: &dyn SchemeBackend) -> Outcome {
    decide(|| {
        let scheme = backend.scheme(&backend.around());
        let keys = backend.keys();
        for purpose in PURPOSES {
            for name in scheme.schemes() {
                let of_scheme = || keys.iter().filter(|key| key.scheme() == *name);
                let opened: Vec<_> = of_scheme()
                    .chain(of_scheme())
                    .map(|key| must_open(&*scheme, key, purpose))
                    .collect::<Step<_>>()?;
                let Some(first) = opened.first() else { continue };
                let same = |other: &Arc<dyn KeyProvider>| {
                    Arc::ptr_eq(first, other)
                        || (first.identity().is_some() && first.identity() == other.identity())
                };
                if !opened.iter().all(same) {
                    return fails(format!("keys of {name}: were opened by several instances to {purpose:?}"));
                }
            }
        }
        Ok(())
    })
}

/// Opens each key to encrypt and to decrypt, with its secrets, wraps with the one and
/// unwraps with the other.
#[must_use]
pub fn what_is_opened_to_encrypt_and_decrypt_does(backend: &dyn SchemeBackend) -> Outcome {
    decide(|| {
        let scheme = backend.scheme(&backend.around());
        for key in backend.keys() {
            let encrypting = must_open(&*scheme, &key, Purpose::Encrypt)?;
            let decrypting = must_open(&*scheme, &key, Purpose::Decrypt)?;
            let (dek, context) = (fresh_dek(), context());
            let wrapped = wait(backend, encrypting.wrap_dek(&key, &dek, &context))?
                .or_else(|error| fails(format!("wrapping with {key} failed: {}", told(&error))))?;
            match wait(backend, decrypting.unwrap_dek(&wrapped, &context))? {
                Ok(back) if back.expose() == dek.expose() => {}
                Ok(_) => return fails(format!("{key} gave another DEK")),
                Err(error) => return fails(format!("unwrapping with {key} failed: {}", told(&error))),
            }
        }
        Ok(())
    })
}

fn must_open(scheme: &dyn Scheme, key: &KeyUri, purpose: Purpose) -> Step<Arc<dyn KeyProvider>> {
    scheme
        .open(key, purpose)
        .or_else(|error| fails(format!("opening {key} to {purpose:?} failed: {}", told(&error))))
}

fn must_be_told_well(scheme: &dyn Scheme, what: &str, error: &ProviderError) -> Step<()> {
    if error.provider() != scheme.provider() {
        return fails(format!(
            "{what}: the error names the provider {}, not {}",
            error.provider(),
            scheme.provider()
        ));
    }
    if error.is_retryable() {
        return fails(format!("{what}: the error is retryable: {}", told(error)));
    }
    Ok(())
}

fn must_not_have_asked(what: &str, asked: &Asked) -> Step<()> {
    match asked.0.load(Ordering::SeqCst) {
        0 => Ok(()),
        _ => fails(format!("{what} asked for a secret: that is done when a key is used")),
    }
}

/// Counts who asks, and gives nothing.
#[derive(Default)]
struct Asked(AtomicUsize);

impl Secrets for Asked {
    fn given(&self, name: &str) -> Result<Option<Zeroizing<String>>, SecretError> {
        self.0.fetch_add(1, Ordering::SeqCst);
        Err(SecretError::new(Invalid, format!("the secret {name} was asked for")))
    }

    fn ask(&self, name: &str, _prompt: &Prompt<'_>) -> Result<Zeroizing<String>, SecretError> {
        self.0.fetch_add(1, Ordering::SeqCst);
        Err(SecretError::new(Invalid, format!("the secret {name} was asked for")))
    }
}

/// Checks settings by themselves.
pub fn run_settings<S: Settings>() -> Report {
    type SettingsCheck = (&'static str, fn() -> Outcome);
    let checks: [SettingsCheck; 4] = [
        ("the_names_of_settings_are_plain_and_differ", names_are_plain::<S>),
        ("a_setting_that_is_offered_is_taken", offered_settings_are_taken::<S>),
        ("a_setting_that_there_is_not_is_refused_without_its_value", unknown_settings_are_refused::<S>),
        ("settings_that_say_nothing_make_the_scheme", defaults_make_the_scheme::<S>),
    ];
    report::run(checks.into_iter())
}

fn names_are_plain<S: Settings>() -> Outcome {
    decide(|| {
        let mut seen = BTreeSet::new();
        let options = S::OPTIONS.iter().map(|option| option.name);
        let secrets = S::SECRETS.iter().map(|secret| secret.name);
        for name in options.chain(secrets).chain([S::PROVIDER]) {
            let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
            if name.is_empty() || !name.bytes().all(plain) {
                return fails(format!("{name:?} is not of a–z 0–9 and -, as names of configurations are"));
            }
            if !seen.insert(name) {
                return fails(format!("{name} is the name of two things"));
            }
        }
        Ok(())
    })
}

fn offered_settings_are_taken<S: Settings>() -> Outcome {
    decide(|| {
        if S::OPTIONS.is_empty() {
            return not_run("it offers no setting for one call");
        }
        for option in S::OPTIONS {
            // Which values can be, only the key store knows.
            if S::default().set(option.name, OsString::from("1")) == Err(SettingError::Unknown) {
                return fails(format!("{} is offered, and there is no such setting", option.name));
            }
        }
        Ok(())
    })
}

fn unknown_settings_are_refused<S: Settings>() -> Outcome {
    decide(|| match S::default().set("conformance-suite", OsString::from("canary")) {
        Err(error) if error.to_string().contains("canary") => fails("the error repeats the value"),
        Err(SettingError::Unknown) => Ok(()),
        Err(error) => fails(format!("the error must be Unknown, not: {error}")),
        Ok(()) => fails("a setting that there is not was taken"),
    })
}

fn defaults_make_the_scheme<S: Settings>() -> Outcome {
    decide(|| {
        let scheme = S::default()
            .into_scheme(&Surroundings::default())
            .or_else(|error| fails(format!("nothing is set, and that is refused: {}", told(&error))))?;
        if scheme.provider() != S::PROVIDER {
            return fails(format!("its table is [{}], and its provider {}", S::PROVIDER, scheme.provider()));
        }
        Ok(())
    })
}

const PURPOSES: [Purpose; 3] = [Purpose::Encrypt, Purpose::Decrypt, Purpose::Replace];
