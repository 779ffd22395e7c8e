//! Changes of the states of keys and versions.
//!
//! Transit moves a border: what is below `min_decryption_version` opens nothing. So versions go from the oldest one on, and come back from the newest one on; a change
//! of another version would change those between, and is refused with the version that is next.

use envelope_sdk::{
    KeyChange, KeyDescription, KeyState, KeyUri, ProviderError,
    ProviderErrorKind::{self, NotFound, State, Unsupported},
    lifecycle, printable,
};
use serde::Serialize;

use super::{CONFIG, key::TransitKey, path};
use crate::{
    HashiVault,
    call::Call,
    error::{SOFT_DELETED, refusal},
    failure::failure,
    scheme::name_of,
};

/// What is set of a key. What is `None` stays.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(super) struct Config {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) min_decryption_version: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) min_encryption_version: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) deletion_allowed: Option<bool>,
    /// In seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) auto_rotate_period: Option<u64>,
}

impl Config {
    /// Whether a key has it.
    pub(super) fn is_of(&self, key: &TransitKey) -> bool {
        let is = |asked: Option<u32>, told: u32| asked.is_none_or(|asked| asked == told);
        is(self.min_decryption_version, key.min_decryption_version)
            && is(self.min_encryption_version, key.min_encryption_version)
            && self.deletion_allowed.is_none_or(|allowed| allowed == key.deletion_allowed)
            && self.auto_rotate_period.is_none_or(|period| period == key.auto_rotate_period)
    }
}

/// A change that may be done.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Plan {
    Nothing,
    Set(Config),
    Delete,
}

impl HashiVault {
    /// What a change does, for the change and for its dry run, which so refuse the same.
    pub(super) async fn plan_change(
        &self,
        key: &KeyUri,
        version: Option<&str>,
        change: KeyChange,
    ) -> Result<(TransitKey, Plan), ProviderError> {
        let refuse = |words: &str| Err(failure(Unsupported, key, words));
        let next = match change {
            KeyChange::State(next) => next,
            KeyChange::Archive => return refuse("this key store cannot archive keys: leave it"),
            _ => return refuse("this key store cannot do this change"),
        };
        match (version, next) {
            (_, KeyState::PreActive) => return refuse("this key store cannot make a key pre-active"),
            (_, KeyState::Compromised) => return refuse(COMPROMISED),
            (None, KeyState::Suspended | KeyState::Deactivated) => return refuse(WHOLE),
            _ => {}
        }
        let told = self.describe_ours(key).await?;
        if version.is_some() || next != KeyState::Destroyed {
            check_not_deleted(&told)?;
        }
        let plan = match version {
            None => of_key(&told, next),
            Some(name) => match number(&told, name) {
                Some(version) => of_version(&told, version, next),
                None => Err((NotFound, format!("the key has no version {}", printable::cut(name, SHOWN)))),
            },
        };
        match plan {
            Ok(plan) => Ok((told, plan)),
            Err((kind, message)) => Err(failure(kind, key, message)),
        }
    }

    /// Does it. What fails half-way can be done again.
    pub(super) async fn carry_out(
        &self,
        told: &TransitKey,
        plan: Plan,
    ) -> Result<KeyDescription, ProviderError> {
        let key = &told.uri;
        match plan {
            Plan::Nothing => Ok(told.describe()),
            Plan::Set(config) => Ok(self.set(key, &config).await?.describe()),
            Plan::Delete => {
                self.delete(key).await?;
                Ok(told.describe_deleted())
            }
        }
    }

    /// Sets what is the same each time that it is set.
    pub(super) async fn set(&self, key: &KeyUri, config: &Config) -> Result<TransitKey, ProviderError> {
        let call = Call::write(path(name_of(key)?, CONFIG)).json(config).repeatable();
        self.reach().call(&call).await.map_err(|failed| refusal(&call, key, &failed))?;
        self.describe_changed(key, |now| config.is_of(now)).await
    }

    /// What brings back every version that is held back: for that and for its dry run.
    pub(super) async fn plan_restoration(&self, key: &KeyUri) -> Result<(TransitKey, Plan), ProviderError> {
        let told = self.describe_ours(key).await?;
        check_not_deleted(&told)?;
        let first = told.first_available();
        if told.min_decryption_version == first {
            let message = "no version of the key is held back, and what is trimmed or deleted does not come back: there is \
                           nothing to restore";
            return Err(failure(State, key, message));
        }
        let config = Config { min_decryption_version: Some(first), ..Config::default() };
        Ok((told, Plan::Set(config)))
    }
}

/// Refuses a key that is soft-deleted, as OpenBao has it: of that nothing is changed, but that it may be deleted for good.
pub(super) fn check_not_deleted(told: &TransitKey) -> Result<(), ProviderError> {
    if told.soft_deleted { Err(failure(State, &told.uri, SOFT_DELETED)) } else { Ok(()) }
}

type Refusal = (ProviderErrorKind, String);

fn of_key(key: &TransitKey, next: KeyState) -> Result<Plan, Refusal> {
    match next {
        KeyState::Active => Ok(Plan::Nothing),
        KeyState::Destroyed if key.deletion_allowed => Ok(Plan::Delete),
        KeyState::Destroyed => Err((State, NOT_ALLOWED.to_owned())),
        next => Err((State, words_for("the key", KeyState::Active, next))),
    }
}

fn of_version(key: &TransitKey, version: u32, next: KeyState) -> Result<Plan, Refusal> {
    use KeyState::{Active, Deactivated, Destroyed, Suspended};
    let what = format!("version {version}");
    let Some(state) = key.state_of(version) else { return Err((NotFound, format!("the key has no {what}"))) };
    // What is above is open, and what is below is not.
    let border = key.min_decryption_version;
    let next_one =
        |turn: u32, how: &str| Err((State, format!("versions {how}: version {turn} is the next one")));
    match (state, next) {
        (from, next) if from == next => Ok(Plan::Nothing),
        (Deactivated, Destroyed) if version == border => {
            let border = version + 1;
            let too_low = (1..border).contains(&key.min_encryption_version);
            Ok(Plan::Set(Config {
                min_decryption_version: Some(border),
                min_encryption_version: too_low.then_some(border),
                ..Config::default()
            }))
        }
        (Deactivated, Destroyed) => next_one(border, FROM_THE_OLDEST),
        // Who repeats a call because its answer was lost must not lose the version by that.
        (Suspended, Destroyed) => Err((
            State,
            format!(
                "{what} is held back already: restore it, or trim it for good (`vault write MOUNT/keys/KEY/trim \
                 min_available_version={}`)",
                version + 1
            ),
        )),
        (Suspended, Deactivated) if version + 1 == border => {
            Ok(Plan::Set(Config { min_decryption_version: Some(version), ..Config::default() }))
        }
        (Suspended, Deactivated) => next_one(border - 1, "come back from the newest on"),
        (Suspended, Active) => {
            Err((State, format!("{what} is not the latest one, and wraps no more: make it deactivated")))
        }
        (Active, Suspended | Deactivated) => Err((
            Unsupported,
            format!(
                "this key store cannot hold back its latest version: rotate the key, and {what} is deactivated"
            ),
        )),
        (Deactivated, Suspended) => Err((
            State,
            format!(
                "{what} is deactivated and cannot become suspended: destroy it, and it is held back until it is trimmed"
            ),
        )),
        (from, next) => Err((State, words_for(&what, from, next))),
    }
}

/// The number of a version of the key.
fn number(key: &TransitKey, name: &str) -> Option<u32> {
    let number: u32 = name.parse().ok().filter(|number: &u32| number.to_string() == name)?;
    key.state_of(number).map(|_| number)
}

fn words_for(what: &str, from: KeyState, next: KeyState) -> String {
    match lifecycle::check_transition(what, from, next) {
        Err(words) => words,
        Ok(()) => format!("{what} is {from}, and Transit does not make it {next}"),
    }
}

const FROM_THE_OLDEST: &str = "are destroyed from the oldest on";
const WHOLE: &str = "this key store cannot hold back a key as a whole: rotate it and destroy old versions, take the callers' \
                     policies away, or encrypt with another key";
const COMPROMISED: &str =
    "this key store cannot make a key compromised, so that it unwraps only: rotate it and rewrap";
const NOT_ALLOWED: &str = "the key is active, and its deletion is not allowed: see that nothing needs it any more, and set \
                           deletion_allowed first (`vault write MOUNT/keys/KEY/config deletion_allowed=true`)";
/// Characters that are shown of a word of the caller.
const SHOWN: usize = 100;

#[cfg(test)]
mod tests {
    use super::{super::key::of_numbers, *};

    fn kind_of(plan: Result<Plan, Refusal>) -> Result<Plan, ProviderErrorKind> {
        plan.map_err(|(kind, _)| kind)
    }

    #[test]
    fn versions_go_from_the_oldest_on_and_come_back_from_the_newest_on() {
        use KeyState::{Deactivated, Destroyed, Suspended};
        // 1 is gone, 2 and 3 are held back, 4 and 5 open, 6 wraps.
        let key = of_numbers(6, 4, 4, 2).unwrap();
        let of = |version, next| kind_of(of_version(&key, version, next));
        let border = |decryption, encryption| {
            let config = Config {
                min_decryption_version: Some(decryption),
                min_encryption_version: encryption,
                ..Config::default()
            };
            Ok(Plan::Set(config))
        };
        assert_eq!(of(1, Destroyed), Ok(Plan::Nothing));
        assert_eq!(of(2, Destroyed), Err(State));
        assert_eq!(of(3, Destroyed), Err(State));
        assert_eq!(of(3, Deactivated), border(3, None));
        assert_eq!(of(2, Deactivated), Err(State));
        assert_eq!(of(4, Destroyed), border(5, Some(5)));
        assert_eq!(of(5, Destroyed), Err(State));
        assert_eq!(of(4, Suspended), Err(State));
        assert_eq!(of(6, Destroyed), Err(State));
        assert_eq!(of(6, Suspended), Err(Unsupported));
        assert_eq!(of(7, Destroyed), Err(NotFound));
        let (_, words) = of_version(&key, 5, Destroyed).unwrap_err();
        assert!(words.contains("version 4 is the next one"), "{words}");
    }

    #[test]
    fn what_is_not_changed_is_not_written() {
        let config = Config { deletion_allowed: Some(true), ..Config::default() };
        assert_eq!(serde_json::to_value(config).unwrap(), serde_json::json!({"deletion_allowed": true}));
    }

    #[test]
    fn a_key_is_deleted_only_where_that_was_allowed_before() {
        let key = of_numbers(1, 0, 1, 0).unwrap();
        let (kind, words) = of_key(&key, KeyState::Destroyed).unwrap_err();
        assert!(kind == State && words.contains("deletion_allowed first"), "{words}");
        let allowed = TransitKey { deletion_allowed: true, ..key };
        assert_eq!(of_key(&allowed, KeyState::Destroyed), Ok(Plan::Delete));
        assert_eq!(of_key(&allowed, KeyState::Active), Ok(Plan::Nothing));
    }

    #[test]
    fn a_version_has_one_name() {
        let key = of_numbers(3, 0, 1, 0).unwrap();
        assert_eq!(number(&key, "3"), Some(3));
        for name in ["0", "4", "03", "+3", " 3", "", "v3", "4294967299"] {
            assert_eq!(number(&key, name), None, "{name}");
        }
    }
}
