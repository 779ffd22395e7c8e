//! What every [`KeyAdmin`] must do.
//!
//! A test describes who manages the keys, and who uses them, as an
//! [`AdminBackend`], calls [`run`] and demands that the report
//! [conforms](super::Report::assert_conforms). What a key store cannot it refuses
//! as [`Unsupported`](envelope_sdk::ProviderErrorKind::Unsupported); the checks of
//! that are then listed as not run. Every check makes keys of its own, looks at no
//! others, and leaves them behind.

mod ask;
mod change;
mod list;
mod more;
mod new;
mod refuse;
mod rotate;
mod used;

use std::sync::Arc;

use envelope_sdk::{KeyAdmin, KeyProvider, KeyUri, NewKey};

use super::{Outcome, Report, Task, report};

pub use change::{
    a_check_of_a_change_says_what_the_change_does, each_version_of_a_rotated_key_does_what_its_states_permit,
    no_check_changes_anything,
};
pub use list::{
    a_created_key_is_described_listed_and_used, a_list_has_every_key_once_and_knows_its_own_pages_alone,
};
pub use more::{
    a_destroyed_key_is_back_when_it_is_restored, an_alias_is_the_key_it_was_made_for,
    rotation_by_itself_is_told_as_it_was_set, the_end_of_a_cryptoperiod_is_of_the_version_it_was_set_for,
    the_end_of_a_cryptoperiod_is_told_and_its_key_is_due,
};
pub use new::{
    a_kind_option_or_name_that_no_key_store_has_is_refused,
    a_name_that_is_taken_is_refused_by_check_and_creation,
    what_a_new_key_is_asked_to_have_is_told_of_it_or_refused,
};
pub use refuse::{an_unknown_key_is_not_found, what_a_key_store_cannot_is_unsupported_and_not_worth_a_retry};
pub use rotate::a_check_of_a_rotation_says_what_the_rotation_does;

/// Who manages keys, who uses them, and the keys to make.
///
/// Where a method may panic, it stops the check with that panic.
pub trait AdminBackend: Sync {
    /// Who manages the keys: the same at each call.
    fn admin(&self) -> Arc<dyn KeyAdmin>;

    /// Who wraps and unwraps with them: the same at each call. What the one
    /// changes the other knows at once.
    fn provider(&self) -> Arc<dyn KeyProvider>;

    /// A key that can be made, with nothing but a name that is not taken; another
    /// name at each call. The names may also be those of
    /// aliases, if the key store has them.
    fn new_key(&self) -> NewKey;

    /// A key URI that the key store could have, and has not.
    fn unknown_key(&self) -> KeyUri;

    /// Runs a future to its end on the calling thread, as
    /// [`Backend::block_on`](super::Backend::block_on).
    fn block_on(&self, future: Task<'_>) {
        futures_executor::block_on(future);
    }
}

/// One check: its name, which is what must hold, and its function.
pub type AdminCheck = (&'static str, fn(&dyn AdminBackend) -> Outcome);

/// Runs every check, one after the other.
pub fn run(backend: &dyn AdminBackend) -> Report {
    report::run(ALL.iter().map(|(name, check)| (*name, move || check(backend))))
}

/// Every check with its name.
pub const ALL: &[AdminCheck] = &[
    ("a_created_key_is_described_listed_and_used", a_created_key_is_described_listed_and_used),
    (
        "a_list_has_every_key_once_and_knows_its_own_pages_alone",
        a_list_has_every_key_once_and_knows_its_own_pages_alone,
    ),
    (
        "a_name_that_is_taken_is_refused_by_check_and_creation",
        a_name_that_is_taken_is_refused_by_check_and_creation,
    ),
    (
        "what_a_new_key_is_asked_to_have_is_told_of_it_or_refused",
        what_a_new_key_is_asked_to_have_is_told_of_it_or_refused,
    ),
    (
        "a_kind_option_or_name_that_no_key_store_has_is_refused",
        a_kind_option_or_name_that_no_key_store_has_is_refused,
    ),
    ("an_unknown_key_is_not_found", an_unknown_key_is_not_found),
    (
        "what_a_key_store_cannot_is_unsupported_and_not_worth_a_retry",
        what_a_key_store_cannot_is_unsupported_and_not_worth_a_retry,
    ),
    ("no_check_changes_anything", no_check_changes_anything),
    ("a_check_of_a_change_says_what_the_change_does", a_check_of_a_change_says_what_the_change_does),
    (
        "each_version_of_a_rotated_key_does_what_its_states_permit",
        each_version_of_a_rotated_key_does_what_its_states_permit,
    ),
    ("a_check_of_a_rotation_says_what_the_rotation_does", a_check_of_a_rotation_says_what_the_rotation_does),
    (
        "the_end_of_a_cryptoperiod_is_told_and_its_key_is_due",
        the_end_of_a_cryptoperiod_is_told_and_its_key_is_due,
    ),
    (
        "the_end_of_a_cryptoperiod_is_of_the_version_it_was_set_for",
        the_end_of_a_cryptoperiod_is_of_the_version_it_was_set_for,
    ),
    ("a_destroyed_key_is_back_when_it_is_restored", a_destroyed_key_is_back_when_it_is_restored),
    ("an_alias_is_the_key_it_was_made_for", an_alias_is_the_key_it_was_made_for),
    ("rotation_by_itself_is_told_as_it_was_set", rotation_by_itself_is_told_as_it_was_set),
];

/// In the year 2100, at the end of a day: a key store may keep no more than days.
const END: u64 = 4_102_531_199;
