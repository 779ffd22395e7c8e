//! Changes of states, of keys with several versions.

use envelope_sdk::{
    KeyAdmin, KeyChange, KeyProvider,
    KeyState::{Active, Deactivated, Destroyed, Suspended},
    ProviderErrorKind::{AccessDenied, Other, State, Unsupported},
};
use envelope_testkit::gcp_server::{Code, Reply};

use super::{canned::call_of, *};

/// A key with three versions, of which the last one is primary.
fn rotated(gcp: &Gcp) -> KeyUri {
    let key = gcp.key();
    block_on(gcp.kms.rotate_key(&key)).unwrap();
    block_on(gcp.kms.rotate_key(&key)).unwrap();
    key
}

fn states(gcp: &Gcp, key: &KeyUri) -> Vec<String> {
    let told = block_on(gcp.kms.describe(key)).unwrap();
    told.versions.iter().map(|version| version.state.name().to_owned()).collect()
}

#[test]
fn a_whole_key_is_suspended_and_active_again_with_each_of_its_versions() {
    let gcp = Gcp::new();
    let key = rotated(&gcp);
    let go = |state| block_on(gcp.kms.change_key(&key, None, KeyChange::State(state)));
    assert_eq!(go(Suspended).unwrap().state, Suspended);
    assert_eq!(states(&gcp, &key), ["DISABLED", "DISABLED", "DISABLED"]);
    assert_eq!(go(Active).unwrap().state, Active);
    assert_eq!(states(&gcp, &key), ["ENABLED", "ENABLED", "ENABLED"]);
    // What is so already is not done again.
    let _ = gcp.calls();
    go(Active).unwrap();
    assert!(gcp.calls().iter().all(|call| call.starts_with("GET")));
}

/// It goes on wrapping, by a version that nobody knew of when the others were changed.
#[test]
fn a_key_that_is_rotated_while_it_is_suspended_is_not_told_as_changed() {
    let gcp = Gcp::new();
    let key = gcp.key();
    let (other, uri, left) = (at(&gcp.http.url()).build(), key.clone(), AtomicUsize::new(1));
    let http = gcp.server.serve_with(move |request, reply| {
        let is_first = call_of(request) == "GET cryptoKeyVersions"
            && left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok();
        if is_first {
            block_on(other.rotate_key(&uri)).unwrap();
        }
        reply.into()
    });
    let kms = at(&http.url()).build();
    let go = || block_on(kms.change_key(&key, None, KeyChange::State(Suspended)));
    let error = go().unwrap_err();
    assert_eq!((error.kind(), error.key(), error.is_retryable()), (Other, Some(&key), false), "{error}");
    assert!(error.message().contains("the key is active all the same"), "{error}");
    assert_eq!(go().unwrap().state, Suspended);
}

#[test]
fn single_versions_go_as_the_table_says() {
    let gcp = Gcp::new();
    let key = rotated(&gcp);
    let go =
        |version: &str, state| block_on(gcp.kms.change_key(&key, Some(version), KeyChange::State(state)));
    // The primary one.
    assert_eq!(go("3", Destroyed).unwrap_err().kind(), State, "it is active");
    assert_eq!(go("3", Deactivated).unwrap_err().kind(), Unsupported);
    let suspended = go("3", Suspended).unwrap();
    assert_eq!((suspended.state, suspended.current().unwrap().state), (Deactivated, Suspended));
    assert_eq!(go("3", Active).unwrap().state, Active);
    // The others open only.
    assert_eq!(go("1", Active).unwrap_err().kind(), State);
    let error = go("1", Suspended).unwrap_err();
    assert_eq!(error.kind(), State);
    assert!(error.message().starts_with("version 1 is deactivated and cannot become suspended"), "{error}");
    go("1", Destroyed).unwrap();
    assert_eq!(states(&gcp, &key), ["DESTROY_SCHEDULED", "ENABLED", "ENABLED"]);
    for state in [Active, Deactivated] {
        assert_eq!(go("1", state).unwrap_err().message(), "it waits for its destruction: restore it first");
    }
    assert_eq!(go("1", Destroyed).unwrap_err().message(), "its destruction is scheduled already");
    block_on(gcp.kms.restore_key(&key)).unwrap();
    assert_eq!(states(&gcp, &key), ["DISABLED", "ENABLED", "ENABLED"]);
    let error = go("1", Active).unwrap_err();
    assert!(error.message().starts_with("version 1 is not the primary version"), "{error}");
    go("1", Deactivated).unwrap();
    assert_eq!(states(&gcp, &key), ["ENABLED", "ENABLED", "ENABLED"]);
}

#[test]
fn a_dry_run_refuses_what_the_change_refuses_in_the_same_words_and_does_nothing() {
    use envelope_testkit::gcp_server::State as Of;
    let gcp = Gcp::new();
    for state in [Of::Enabled, Of::Disabled, Of::DestroyScheduled, Of::Destroyed, Of::PendingImport] {
        for next in envelope_sdk::KeyState::ALL {
            for version in [None, Some("1")] {
                let key = gcp.key();
                let name = format!("{}/cryptoKeyVersions/1", key.rest().trim_start_matches('/'));
                gcp.server.set_state(&name, state);
                let _ = gcp.calls();
                let checked = block_on(gcp.kms.check_change(&key, version, KeyChange::State(next)));
                assert!(gcp.calls().iter().all(|call| call.starts_with("GET")));
                let done = block_on(gcp.kms.change_key(&key, version, KeyChange::State(next)));
                match (checked, done) {
                    (Ok(()), Ok(_)) => {}
                    (Err(checked), Err(done)) => {
                        assert_eq!(checked.to_string(), done.to_string());
                    }
                    (checked, done) => {
                        panic!("{} to {next} {version:?}: {checked:?}, {done:?}", state.name())
                    }
                }
            }
        }
    }
}

/// The change is done, and its answer lost: the version is looked at.
#[test]
fn a_change_whose_answer_is_lost_is_done() {
    let gcp = Gcp::new();
    for (verb, way) in [("PATCH cryptoKeyVersions", &[Suspended][..]), ("destroy", &[Suspended, Destroyed])] {
        let key = gcp.key();
        let http = gcp.server.serve_with(move |request, reply| {
            if call_of(request) == verb {
                Reply::error(Code::Unavailable, "lost").into()
            } else {
                reply.into()
            }
        });
        let kms = once_at(&http.url()).build();
        for state in way {
            block_on(kms.change_key(&key, None, KeyChange::State(*state))).unwrap();
        }
    }
}

#[test]
fn a_change_that_is_not_done_says_so_and_what_was_done_before() {
    let gcp = Gcp::new();
    let key = rotated(&gcp);
    let http = gcp.server.serve_with(|request, reply| {
        let is_second = request.path().ends_with("/cryptoKeyVersions/2");
        if request.method == "PATCH" && is_second {
            Reply::error(Code::PermissionDenied, "no").into()
        } else {
            reply.into()
        }
    });
    let kms = once_at(&http.url()).build();
    let error = block_on(kms.change_key(&key, None, KeyChange::State(Suspended))).unwrap_err();
    assert_eq!((error.kind(), error.key()), (AccessDenied, Some(&key)));
    let words = "1 of 3 versions were changed, and version 2 was not: Google refuses the caller";
    assert!(error.message().starts_with(words), "{error}");
    assert!(error.message().contains("cloudkms.cryptoKeyVersions.update on this key"), "{error}");
}

#[test]
fn a_change_that_failed_half_way_is_finished_when_it_is_called_again() {
    let gcp = Gcp::new();
    let key = rotated(&gcp);
    // The primary one is the last to be disabled and the first to be enabled. The stand-in does what is refused.
    for (state, refused, left, all) in [
        (Suspended, "2", ["DISABLED", "DISABLED", "ENABLED"], "DISABLED"),
        (Active, "1", ["ENABLED", "DISABLED", "ENABLED"], "ENABLED"),
    ] {
        let http = gcp.server.serve_with(move |request, reply| {
            let is_it = request.path().ends_with(&format!("/cryptoKeyVersions/{refused}"));
            if request.method == "PATCH" && is_it {
                Reply::error(Code::PermissionDenied, "no").into()
            } else {
                reply.into()
            }
        });
        let change = KeyChange::State(state);
        let error = block_on(once_at(&http.url()).build().change_key(&key, None, change)).unwrap_err();
        assert_eq!(error.kind(), AccessDenied, "{error}");
        assert_eq!(states(&gcp, &key), left);
        block_on(gcp.kms.change_key(&key, None, change)).unwrap();
        assert_eq!(states(&gcp, &key), [all; 3]);
    }
}

/// A key that is suspended opens nothing, whichever version wrapped.
#[test]
fn a_suspended_key_opens_nothing() {
    let gcp = Gcp::new();
    let key = gcp.key();
    let first = block_on(gcp.kms.wrap_dek(&key, &fresh_dek(), &context())).unwrap();
    block_on(gcp.kms.rotate_key(&key)).unwrap();
    let second = block_on(gcp.kms.wrap_dek(&key, &fresh_dek(), &context())).unwrap();
    block_on(gcp.kms.change_key(&key, None, KeyChange::State(Suspended))).unwrap();
    for wrapped in [&first, &second] {
        assert_eq!(block_on(gcp.kms.unwrap_dek(wrapped, &context())).unwrap_err().kind(), State);
    }
}
