//! Administration against the stand-in.

use envelope_gcp::Protection;
use envelope_sdk::{
    KeyAdmin, KeyChange, KeyProvider,
    KeyState::{Active, Compromised, Deactivated, Destroyed, PreActive, Suspended},
    ProviderErrorKind::{Invalid, NotFound, State, Unsupported},
    WrappedDek,
    admin::{AutoRotation, Detail, Details, Rotation},
};
use serde_json::Value;

use super::{canned::the_key, *};

const DAY: u64 = 24 * 60 * 60;

#[test]
fn a_key_is_created_with_its_options_described_and_listed() {
    let gcp = Gcp::new();
    let new = NewKey::named("orders")
        .tag("team", "storage")
        .option("protection", "hsm")
        .option("rotation-period-days", "90")
        .option("destroy-delay-days", "7");
    block_on(gcp.kms.check_new_key(&new)).unwrap();
    let made = block_on(gcp.kms.create_key(&new)).unwrap();
    assert_eq!(made.uri, key("orders"));
    let told = block_on(gcp.kms.describe(&made.uri)).unwrap();
    assert_eq!(told.protection, Some(Protection::Hsm));
    assert_eq!((told.rotation_period, told.destroy_delay), (Some(90 * DAY), Some(7 * DAY)));
    assert!(told.wraps && !told.import_only && told.next_rotation > told.created);
    let version = Details::new()
        .with("version", "1")
        .with("gcp_state", "ENABLED")
        .with("protection", "hsm")
        .with("algorithm", "GOOGLE_SYMMETRIC_ENCRYPTION");
    let expected = Details::new()
        .with("protection", "hsm")
        .with("labels", ["team=storage"].into_iter().collect::<Detail>())
        .with("rotation_period_days", 90_u32)
        .with("next_rotation", Detail::Time(told.next_rotation.unwrap()))
        .with("destroy_delay_days", 7_u32)
        .with("versions", [version].into_iter().collect::<Detail>());
    assert_eq!(made.details, expected);
    assert_eq!(made.state, Active);
    assert_eq!(block_on(gcp.kms.describe_key(&made.uri)).unwrap(), made);
    assert_eq!(block_on(gcp.kms.list_keys(None)).unwrap().keys, std::slice::from_ref(&made));
    let taken = block_on(gcp.kms.create_key(&NewKey::named("orders"))).unwrap_err();
    assert_eq!((taken.kind(), taken.key()), (Invalid, None));
    assert_eq!(taken.message(), "there is a key orders already: rotate it, or take another name");
    // What the server was sent: the first rotation lies one period ahead.
    let gap = told.next_rotation.unwrap() - told.created.unwrap();
    assert!(gap.abs_diff(90 * DAY) < DAY, "{gap}");
}

#[test]
fn a_key_ring_is_made_if_that_is_asked_for() {
    let server = GcpServer::new();
    let kms = at(&server.serve().url()).build();
    let new = NewKey::named("k");
    for refused in [block_on(kms.check_new_key(&new)), block_on(kms.create_key(&new)).map(drop)] {
        let error = refused.unwrap_err();
        assert_eq!((error.kind(), error.key()), (NotFound, None));
        assert!(error.message().contains("create-key-ring=true"), "{error}");
    }
    assert!(!block_on(kms.has_key_ring(RING)).unwrap());
    let new = new.option("create-key-ring", "true");
    block_on(kms.check_new_key(&new)).unwrap();
    assert!(!block_on(kms.has_key_ring(RING)).unwrap(), "a dry run makes none");
    block_on(kms.create_key(&new)).unwrap();
    assert!(block_on(kms.has_key_ring(RING)).unwrap());
    // Once more is no error.
    block_on(kms.create_key_ring(RING)).unwrap();
    let location = RING.split("/keyRings/").next().unwrap();
    assert_eq!(block_on(kms.key_rings(location)).unwrap(), [RING]);
    for bad in ["r", "projects/p/locations/l", "projects/p/locations/l/keyRings/a/b"] {
        assert_eq!(block_on(kms.create_key_ring(bad)).unwrap_err().kind(), Invalid, "{bad}");
        assert_eq!(block_on(kms.import_jobs(bad)).unwrap_err().kind(), Invalid, "{bad}");
    }
}

#[test]
fn without_a_key_ring_no_key_is_made_or_listed() {
    let kms = GcpKms::builder().endpoint_url("http://127.0.0.1:1").anonymous().build();
    let missing = [
        block_on(kms.check_new_key(&NewKey::named("k"))).unwrap_err(),
        block_on(kms.list_keys(None)).map(drop).unwrap_err(),
    ];
    for error in missing {
        assert_eq!(error.kind(), Invalid);
        assert!(error.message().contains("projects/P/locations/L/keyRings/R"), "{error}");
        let missing = envelope_sdk::http::find_cause::<envelope_sdk::registry::MissingSetting>(&error);
        assert_eq!(missing.map(|missing| missing.setting), Some("key-ring"));
    }
}

#[test]
fn every_page_of_keys_is_listed_and_keys_that_wrap_nothing_are_not() {
    let gcp = Gcp::new();
    let mut made: Vec<KeyUri> = (0..105).map(|_| gcp.key()).collect();
    made.sort();
    let first = block_on(gcp.kms.list_keys(None)).unwrap();
    assert_eq!(first.keys.len(), 100);
    let next = first.next.clone().unwrap();
    let second = block_on(gcp.kms.list_keys(Some(&next))).unwrap();
    assert_eq!((second.keys.len(), second.next), (5, None));
    let mut listed: Vec<KeyUri> = first.keys.iter().chain(&second.keys).map(|key| key.uri.clone()).collect();
    listed.sort();
    assert_eq!(listed, made);
    // A page is of its key ring.
    let other = at(&gcp.http.url()).key_ring(format!("{RING}-2")).build();
    assert_eq!(block_on(other.list_keys(Some(&next))).unwrap_err().kind(), Invalid);
}

#[test]
fn a_rotated_key_wraps_with_its_new_version_and_opens_with_each() {
    let gcp = Gcp::new();
    let key = gcp.key();
    let dek = fresh_dek();
    let mut wraps = vec![block_on(gcp.kms.wrap_dek(&key, &dek, &context())).unwrap()];
    for number in ["2", "3"] {
        let rotated = block_on(gcp.kms.rotate_key(&key)).unwrap();
        assert_eq!(rotated.current().unwrap().version, number);
        wraps.push(block_on(gcp.kms.wrap_dek(&key, &dek, &context())).unwrap());
    }
    let numbers: Vec<_> = wraps.iter().map(WrappedDek::key_version).collect();
    assert_eq!(numbers, ["1", "2", "3"]);
    for wrapped in &wraps {
        assert_eq!(block_on(gcp.kms.unwrap_dek(wrapped, &context())).unwrap().expose(), dek.expose());
    }
    // The primary version is told last, also when it is not the newest one.
    block_on(gcp.kms.make_primary(&key, "2")).unwrap();
    let told = block_on(gcp.kms.describe_key(&key)).unwrap();
    let versions: Vec<_> =
        told.versions.iter().map(|version| (version.version.as_str(), version.state)).collect();
    assert_eq!(versions, [("1", Deactivated), ("3", Deactivated), ("2", Active)]);
    assert_eq!(block_on(gcp.kms.wrap_dek(&key, &dek, &context())).unwrap().key_version(), "2");
}

/// A Cloud HSM needs a moment to make a version.
#[test]
fn a_version_that_is_still_generated_is_waited_for() {
    let gcp = Gcp::new();
    let key = gcp.key();
    let asked = AtomicUsize::new(0);
    let http = gcp.server.serve_with(move |request, mut reply| {
        let is_new = canned::call_of(request) == "POST cryptoKeyVersions";
        let is_asked = request.method == "GET" && request.path().ends_with("/cryptoKeyVersions/2");
        if is_new || (is_asked && asked.fetch_add(1, Ordering::SeqCst) == 0) {
            reply.body["state"] = Value::from("PENDING_GENERATION");
        }
        reply.into()
    });
    let kms = at(&http.url()).build();
    let rotated = block_on(kms.rotate_key(&key)).unwrap();
    assert_eq!(rotated.current().unwrap().version, "2");
    let asked = http.requests().iter().filter(|it| it.path().ends_with("/cryptoKeyVersions/2")).count();
    assert_eq!(asked, 2);
}

#[test]
fn rotation_by_itself_is_set_told_and_done() {
    let gcp = Gcp::new();
    let key = gcp.key();
    for (rotation, days) in
        [(AutoRotation::Default, Some(90)), (AutoRotation::Days(30), Some(30)), (AutoRotation::Off, None)]
    {
        block_on(gcp.kms.check_set_rotation(&key, rotation)).unwrap();
        block_on(gcp.kms.set_rotation(&key, rotation)).unwrap();
        let status = block_on(gcp.kms.rotation_status(&key)).unwrap();
        assert_eq!((status.automatic, status.period_days), (days.is_some(), days), "{rotation:?}");
        assert_eq!(status.next.is_some(), days.is_some(), "{rotation:?}");
    }
    for days in [0, 36_501] {
        let error = block_on(gcp.kms.set_rotation(&key, AutoRotation::Days(days))).unwrap_err();
        assert_eq!((error.kind(), error.message()), (Invalid, "a key rotates every 1 to 36500 days"));
    }
    block_on(gcp.kms.set_rotation(&key, AutoRotation::Days(1))).unwrap();
    gcp.server.advance(Duration::from_secs(DAY + 60));
    let status = block_on(gcp.kms.rotation_status(&key)).unwrap();
    let told = block_on(gcp.kms.describe(&key)).unwrap();
    let second = told.version("2").unwrap();
    assert!(second.primary, "{told:?}");
    assert_eq!(status.past, [Rotation::new(second.created, None)]);
    assert_eq!(status.details.get("primary"), Some(&"2".into()));
}

#[test]
fn what_cloud_kms_has_not_is_unsupported() {
    let gcp = Gcp::new();
    let key = gcp.key();
    let go = |state| block_on(gcp.kms.change_key(&key, None, KeyChange::State(state)));
    for state in [Deactivated, Compromised, PreActive] {
        let error = go(state).unwrap_err();
        assert_eq!((error.kind(), error.key()), (Unsupported, Some(&key)), "{state}");
    }
    assert!(go(Deactivated).unwrap_err().message().contains("roles/cloudkms.cryptoKeyEncrypter"));
    let archived = block_on(gcp.kms.change_key(&key, None, KeyChange::Archive)).unwrap_err();
    assert_eq!(archived.kind(), Unsupported);
    for error in [
        block_on(gcp.kms.set_alias("a", &key)).unwrap_err(),
        block_on(gcp.kms.check_set_alias("a", &key)).unwrap_err(),
        block_on(gcp.kms.set_not_after(&key, None, Some(1))).unwrap_err(),
        block_on(gcp.kms.check_set_not_after(&key, None, None)).unwrap_err(),
    ] {
        assert_eq!((error.kind(), error.key()), (Unsupported, Some(&key)));
        assert!(error.message().starts_with("this key store cannot"), "{error}");
    }
}

#[test]
fn an_unknown_key_or_version_is_not_found() {
    let gcp = Gcp::new();
    for error in [
        block_on(gcp.kms.describe_key(&the_key())).map(drop).unwrap_err(),
        block_on(gcp.kms.rotate_key(&the_key())).map(drop).unwrap_err(),
        block_on(gcp.kms.restore_key(&the_key())).map(drop).unwrap_err(),
        block_on(gcp.kms.rotation_status(&the_key())).map(drop).unwrap_err(),
    ] {
        assert_eq!((error.kind(), error.key()), (NotFound, Some(&the_key())));
    }
    let key = gcp.key();
    let error = block_on(gcp.kms.change_key(&key, Some("9\n"), KeyChange::State(Suspended))).unwrap_err();
    assert_eq!((error.kind(), error.message()), (NotFound, "the key has no version 9\\u{a}"));
}

#[test]
fn destruction_is_scheduled_and_cancelled_and_comes_in_the_end() {
    let gcp = Gcp::new();
    let key = gcp.key_with(|new| new.option("destroy-delay-days", "2"));
    let go = |state| block_on(gcp.kms.change_key(&key, None, KeyChange::State(state)));
    let refused = go(Destroyed).unwrap_err();
    assert_eq!(refused.kind(), State);
    assert_eq!(
        refused.message(),
        "the key is active: suspend it first, and see whether anything still needs it"
    );
    go(Suspended).unwrap();
    assert_eq!(go(Destroyed).unwrap().state, Suspended, "it can be cancelled");
    let waiting = block_on(gcp.kms.describe(&key)).unwrap();
    let version = waiting.version("1").unwrap();
    assert!(version.state.is_scheduled_for_destruction());
    assert!((version.destruction.unwrap() - version.created.unwrap()).abs_diff(2 * DAY) < DAY);
    assert_eq!(go(Destroyed).unwrap_err().message(), "its destruction is scheduled already");
    assert_eq!(go(Active).unwrap_err().message(), "it waits for its destruction: restore it first");
    assert_eq!(block_on(gcp.kms.restore_key(&key)).unwrap().state, Suspended);
    assert_eq!(go(Active).unwrap().state, Active);
    go(Suspended).unwrap();
    go(Destroyed).unwrap();
    gcp.server.advance(Duration::from_secs(3 * DAY));
    let gone = block_on(gcp.kms.describe(&key)).unwrap();
    assert_eq!(gone.state(), Destroyed);
    assert!(gone.version("1").unwrap().destroyed.is_some());
    assert_eq!(block_on(gcp.kms.restore_key(&key)).unwrap_err().kind(), State);
}
