//! The checks. The name of each is what must hold; its documentation says how it
//! is tried.
//!
//! They can be called one by one; [`run`](super::run) calls [`ALL`] of them.

mod inside;
mod life;
mod load;
mod names;
mod refusals;
mod secrecy;
mod wrapping;

pub use inside::{
    a_generated_dek_is_fresh_and_comes_back, a_rewrapped_dek_is_the_same_under_the_same_context_alone,
};
pub use life::{
    a_compromised_key_unwraps_and_does_not_wrap, a_deactivated_key_unwraps_and_does_not_wrap,
    a_destroyed_key_neither_wraps_nor_unwraps, a_key_without_its_server_is_unavailable_and_worth_a_retry,
    a_suspended_key_neither_wraps_nor_unwraps_until_it_is_active_again,
    what_was_wrapped_before_a_rotation_unwraps_after_it,
};
pub use load::{
    a_call_dropped_half_way_leaves_the_provider_working, sixty_four_tasks_each_get_their_own_dek,
};
pub use names::{
    a_provider_behind_a_pointer_answers_as_itself, a_provider_that_rewraps_has_an_identity_of_its_own,
    an_unknown_key_means_itself_or_is_not_found, resolving_a_key_is_final_and_stays_in_its_scheme,
};
pub use refusals::{
    a_changed_wrap_does_not_unwrap, a_shortened_or_lengthened_wrap_does_not_unwrap,
    a_wrap_does_not_unwrap_under_another_key, an_unknown_key_is_not_found, keys_of_other_schemes_are_refused,
    refusals_name_provider_and_key_and_are_not_worth_a_retry,
};
pub use secrecy::no_dek_is_in_errors_or_logs;
pub use wrapping::{
    a_wrap_names_the_key_it_was_asked_for, a_wrapped_dek_comes_back,
    an_envelope_opens_under_its_own_context_alone, contexts_of_every_shape_wrap_or_are_refused_as_invalid,
    contexts_that_differ_late_or_in_a_letter_alone_are_told_apart,
    contexts_that_read_alike_without_borders_are_told_apart, no_two_wraps_share_a_keystream,
    the_context_is_bound_as_declared, wraps_that_are_unwrapped_together_unwrap_as_each_by_itself,
};

use super::report::Check;

/// Every check with its name.
pub const ALL: &[Check] = &[
    ("a_wrapped_dek_comes_back", a_wrapped_dek_comes_back),
    ("no_two_wraps_share_a_keystream", no_two_wraps_share_a_keystream),
    (
        "wraps_that_are_unwrapped_together_unwrap_as_each_by_itself",
        wraps_that_are_unwrapped_together_unwrap_as_each_by_itself,
    ),
    ("a_generated_dek_is_fresh_and_comes_back", a_generated_dek_is_fresh_and_comes_back),
    ("a_wrap_names_the_key_it_was_asked_for", a_wrap_names_the_key_it_was_asked_for),
    ("resolving_a_key_is_final_and_stays_in_its_scheme", resolving_a_key_is_final_and_stays_in_its_scheme),
    (
        "a_provider_that_rewraps_has_an_identity_of_its_own",
        a_provider_that_rewraps_has_an_identity_of_its_own,
    ),
    ("a_provider_behind_a_pointer_answers_as_itself", a_provider_behind_a_pointer_answers_as_itself),
    ("the_context_is_bound_as_declared", the_context_is_bound_as_declared),
    (
        "contexts_that_read_alike_without_borders_are_told_apart",
        contexts_that_read_alike_without_borders_are_told_apart,
    ),
    (
        "contexts_that_differ_late_or_in_a_letter_alone_are_told_apart",
        contexts_that_differ_late_or_in_a_letter_alone_are_told_apart,
    ),
    (
        "contexts_of_every_shape_wrap_or_are_refused_as_invalid",
        contexts_of_every_shape_wrap_or_are_refused_as_invalid,
    ),
    (
        "a_rewrapped_dek_is_the_same_under_the_same_context_alone",
        a_rewrapped_dek_is_the_same_under_the_same_context_alone,
    ),
    ("an_envelope_opens_under_its_own_context_alone", an_envelope_opens_under_its_own_context_alone),
    ("a_wrap_does_not_unwrap_under_another_key", a_wrap_does_not_unwrap_under_another_key),
    ("a_changed_wrap_does_not_unwrap", a_changed_wrap_does_not_unwrap),
    ("a_shortened_or_lengthened_wrap_does_not_unwrap", a_shortened_or_lengthened_wrap_does_not_unwrap),
    ("keys_of_other_schemes_are_refused", keys_of_other_schemes_are_refused),
    ("an_unknown_key_is_not_found", an_unknown_key_is_not_found),
    ("an_unknown_key_means_itself_or_is_not_found", an_unknown_key_means_itself_or_is_not_found),
    (
        "refusals_name_provider_and_key_and_are_not_worth_a_retry",
        refusals_name_provider_and_key_and_are_not_worth_a_retry,
    ),
    (
        "what_was_wrapped_before_a_rotation_unwraps_after_it",
        what_was_wrapped_before_a_rotation_unwraps_after_it,
    ),
    (
        "a_suspended_key_neither_wraps_nor_unwraps_until_it_is_active_again",
        a_suspended_key_neither_wraps_nor_unwraps_until_it_is_active_again,
    ),
    ("a_deactivated_key_unwraps_and_does_not_wrap", a_deactivated_key_unwraps_and_does_not_wrap),
    ("a_compromised_key_unwraps_and_does_not_wrap", a_compromised_key_unwraps_and_does_not_wrap),
    ("a_destroyed_key_neither_wraps_nor_unwraps", a_destroyed_key_neither_wraps_nor_unwraps),
    (
        "a_key_without_its_server_is_unavailable_and_worth_a_retry",
        a_key_without_its_server_is_unavailable_and_worth_a_retry,
    ),
    ("sixty_four_tasks_each_get_their_own_dek", sixty_four_tasks_each_get_their_own_dek),
    (
        "a_call_dropped_half_way_leaves_the_provider_working",
        a_call_dropped_half_way_leaves_the_provider_working,
    ),
    ("no_dek_is_in_errors_or_logs", no_dek_is_in_errors_or_logs),
];
