//! Managing keys: conformance, and what Transit alone has.

use std::{collections::BTreeSet, sync::Arc};

use envelope_sdk::{
    KeyAdmin, KeyChange, KeyState, NewKey,
    ProviderErrorKind::{AccessDenied, Invalid, NotFound, Protocol, State, Unsupported},
    admin::{AutoRotation, Detail, all_keys},
};
use envelope_testkit::{
    conformance::{
        Task,
        admin::{self, AdminBackend},
    },
    http_server::{Answer, HttpServer},
};

use super::{
    between::{ask, passing},
    *,
};

#[test]
fn who_manages_keys_conforms() {
    manages(&[]);
}

#[test]
fn who_manages_derived_keys_conforms() {
    manages(&[("derived", "true")]);
}

fn manages(options: &'static [(&'static str, &'static str)]) {
    let Some(server) = Server::shared() else { return };
    // Keys of other tests come and go meanwhile.
    let mount = mount(&server);
    let vault = Arc::new(server.builder().mount(&mount).build());
    let report = admin::run(&Keys { vault, mount, options });
    report.assert_conforms();
    let not_run: Vec<_> = report.not_run.iter().map(|(check, _)| *check).collect();
    assert_eq!(
        not_run,
        [
            "the_end_of_a_cryptoperiod_is_told_and_its_key_is_due",
            "the_end_of_a_cryptoperiod_is_of_the_version_it_was_set_for",
            "a_destroyed_key_is_back_when_it_is_restored",
            "an_alias_is_the_key_it_was_made_for"
        ],
        "Transit has no such dates and aliases, and destroys a key at once"
    );
}

#[test]
fn a_new_key_is_what_was_asked_for_and_never_leaves_the_server() {
    let Some(server) = Server::shared() else { return };
    let vault = server.vault();
    for (kind, is_derived, made) in [
        (None, false, "aes256-gcm96"),
        (Some("chacha20-poly1305"), false, "chacha20-poly1305"),
        (Some("aes256-gcm96"), true, "aes256-gcm96"),
    ] {
        let mut new = NewKey::named(fresh_name()).option("derived", is_derived.to_string());
        new.algorithm = kind.map(str::to_owned);
        let described = block_on(vault.create_key(&new)).unwrap();
        let told = server.does("GET", &format!("transit/keys/{}", new.name), &json!({}));
        let told = &told["data"];
        assert_eq!((&told["type"], &told["derived"]), (&json!(made), &json!(is_derived)));
        assert_eq!((&told["exportable"], &told["allow_plaintext_backup"]), (&json!(false), &json!(false)));
        assert_eq!(described.details.get("kind"), Some(&made.into()));
        assert_eq!(described.details.get("derived"), Some(&is_derived.into()));
        assert_eq!(described.details.get("exportable"), Some(&false.into()));
        assert_eq!(described.details.get("deletion_allowed"), Some(&false.into()));
        assert_eq!(described.details.get("auto_rotate_seconds"), Some(&Detail::Nothing));
        assert!(described.versions[0].created.is_some());
        wrap(&vault, &described.uri).unwrap();
    }
    for option in ["exportable", "allow-plaintext-backup"] {
        let new = NewKey::named(fresh_name()).option(option, "true");
        let error = block_on(vault.create_key(&new)).unwrap_err();
        assert!(error.kind() == Unsupported && error.message().contains("are not made"), "{error}");
        assert_eq!(server.api("GET", &format!("transit/keys/{}", new.name), &json!({})).0, 404);
    }
}

/// Vault answers 204, and makes nothing.
#[test]
fn a_key_that_is_there_is_never_taken_for_a_new_one() {
    let Some(server) = Server::shared() else { return };
    for what in [json!({}), json!({"exportable": true}), json!({"type": "ed25519"})] {
        let key = server.key_with(&what);
        let new = NewKey::named(server::name(&key));
        for refused in [
            block_on(server.vault().check_new_key(&new)).unwrap_err(),
            block_on(server.vault().create_key(&new)).unwrap_err(),
        ] {
            assert_eq!((refused.kind(), refused.is_retryable()), (Invalid, false));
            assert!(
                refused.message().contains("there is a key") && refused.message().contains("already"),
                "{refused}"
            );
        }
    }
}

/// Somebody else, between the look and the creation.
#[test]
fn a_key_that_others_made_meanwhile_in_another_way_is_told() {
    let Some(server) = Server::shared() else { return };
    for what in [json!({"derived": true}), json!({"exportable": true}), json!({"type": "chacha20-poly1305"})]
    {
        let url = server.url.clone();
        let between = passing(&server, move |request, answer| {
            if request.method == "GET" && answer.0 == 404 {
                let path = request.target.trim_start_matches("/v1/");
                ask(&url, "POST", path, &what.to_string());
            }
            answer.into()
        });
        let error =
            block_on(at(&between.url()).build().create_key(&NewKey::named(fresh_name()))).unwrap_err();
        assert_eq!((error.kind(), error.is_retryable()), (envelope_sdk::ProviderErrorKind::Other, false));
        assert!(error.message().contains("not the one that was asked for"), "{error}");
    }
}

#[test]
fn what_others_made_exportable_is_told() {
    let Some(server) = Server::shared() else { return };
    let key = server.key_with(&json!({"exportable": true, "allow_plaintext_backup": true}));
    let described = block_on(server.vault().describe_key(&key)).unwrap();
    assert_eq!(described.details.get("exportable"), Some(&true.into()));
    assert_eq!(described.details.get("plaintext_backup"), Some(&true.into()));
}

#[test]
fn a_list_of_several_pages_has_each_key_that_wraps_once() {
    let Some(server) = Server::shared() else { return };
    let mount = mount(&server);
    let vault = server.builder().mount(&mount).build();
    assert!(block_on(all_keys(&vault)).unwrap().is_empty());
    let mut made = BTreeSet::new();
    for number in 0..201 {
        let kind = if number == 7 { "ed25519" } else { "aes256-gcm96" };
        server.does("POST", &format!("{mount}/keys/k{number}"), &json!({"type": kind}));
        if number != 7 {
            made.insert(KeyUri::parse(&format!("hashivault://{mount}/k{number}")).unwrap());
        }
    }
    let listed: Vec<_> = block_on(all_keys(&vault)).unwrap().into_iter().map(|key| key.uri).collect();
    assert_eq!((listed.len(), listed.into_iter().collect::<BTreeSet<_>>()), (200, made));
    let first = block_on(vault.list_keys(None)).unwrap();
    assert_eq!((first.keys.len(), first.next.as_deref()), (100, Some("after k188")));
    for page in ["", "after ", "after a/b", "k19", "after -"] {
        let error = block_on(vault.list_keys(Some(page))).unwrap_err();
        assert!(error.kind() == Invalid && error.message().contains("no page"), "{error}");
    }
}

#[test]
fn a_mount_that_is_not_there_is_told_from_an_empty_one() {
    let Some(server) = Server::shared() else { return };
    let nowhere = server.builder().mount("not-mounted").build();
    let error = block_on(nowhere.list_keys(None)).unwrap_err();
    assert!(error.kind() == NotFound && error.message().contains("no Transit engine is mounted"), "{error}");
    for mount in ["a b", "..", "a//b", "a?b"] {
        let vault = server.builder().mount(mount).build();
        for error in [
            block_on(vault.list_keys(None)).unwrap_err(),
            block_on(vault.create_key(&NewKey::named("k"))).unwrap_err(),
        ] {
            assert!(error.kind() == Invalid && error.message().contains("set `mount`"), "{error}");
        }
    }
}

#[test]
fn a_name_that_is_none_is_refused_and_not_repeated() {
    let Some(server) = Server::shared() else { return };
    let (vault, long) = (server.vault(), "n".repeat(129));
    for name in ["", "-k", "k.", "a/b", "a b", "../sys/seal", "kü", "k\n", &long] {
        let error = block_on(vault.create_key(&NewKey::named(name))).unwrap_err();
        assert!(error.kind() == Invalid && error.message().contains("1 to 128 characters"), "{error}");
        assert!(name.is_empty() || !error.message().contains(name), "{error}");
    }
}

#[test]
fn a_period_of_rotation_is_set_and_told() {
    let Some(server) = Server::shared() else { return };
    let (vault, key) = (server.vault(), server.key());
    for days in [0, 36_501] {
        let error = block_on(vault.set_rotation(&key, AutoRotation::Days(days))).unwrap_err();
        assert!(error.kind() == Invalid && error.message().contains("1 to 36500 days"), "{error}");
    }
    block_on(vault.set_rotation(&key, AutoRotation::Days(30))).unwrap();
    let described = block_on(vault.rotate_key(&key)).unwrap();
    let status = block_on(vault.rotation_status(&key)).unwrap();
    let made = described.versions[1].created.unwrap();
    assert_eq!(
        (status.automatic, status.period_days, status.next),
        (true, Some(30), Some(made + 30 * 86_400))
    );
    assert_eq!(status.past.iter().map(|past| past.date).collect::<Vec<_>>(), [Some(made)]);
    // What somebody else set in hours is no number of days.
    server.does(
        "POST",
        &format!("transit/keys/{}/config", server::name(&key)),
        &json!({"auto_rotate_period": "36h"}),
    );
    let status = block_on(vault.rotation_status(&key)).unwrap();
    assert_eq!((status.automatic, status.period_days), (true, None));
    assert_eq!(status.details.get("period_seconds"), Some(&Detail::Number(36 * 3600)));
    block_on(vault.set_rotation(&key, AutoRotation::Off)).unwrap();
    let status = block_on(vault.rotation_status(&key)).unwrap();
    assert_eq!((status.automatic, status.period_days, status.next), (false, None, None));
}

#[test]
fn a_key_of_another_type_is_described_and_not_managed() {
    let Some(server) = Server::shared() else { return };
    let vault = server.vault();
    for kind in ["ed25519", "rsa-2048", "hmac"] {
        let key = server.key_with(&json!({"type": kind, "key_size": if kind == "hmac" { 32 } else { 0 }}));
        let before = block_on(vault.describe(&key)).unwrap();
        assert_eq!((before.kind.as_str(), before.wraps()), (kind, false));
        let destroy = KeyChange::State(KeyState::Destroyed);
        for refused in [
            block_on(vault.rotate_key(&key)).map(drop),
            block_on(vault.check_rotation(&key)),
            block_on(vault.change_key(&key, None, destroy)).map(drop),
            block_on(vault.change_key(&key, Some("1"), destroy)).map(drop),
            block_on(vault.set_rotation(&key, AutoRotation::Default)),
            block_on(vault.restore_key(&key)).map(drop),
            block_on(vault.allow_deletion(&key, true)).map(drop),
        ] {
            let error = refused.unwrap_err();
            assert!(
                error.kind() == Unsupported && error.message().contains("another type"),
                "{kind}: {error}"
            );
        }
        assert_eq!(block_on(vault.describe(&key)).unwrap(), before);
    }
}

/// An imported key, as Vault tells it.
#[test]
fn a_key_that_the_server_may_not_rotate_is_not_rotated() {
    let Some(server) = Server::shared() else { return };
    let key = server.key();
    let between = passing(&server, |_, mut answer| {
        answer.1["data"]["imported_key"] = json!(true);
        answer.1["data"]["imported_key_allow_rotation"] = json!(false);
        answer.into()
    });
    let vault = at(&between.url()).build();
    for refused in [
        block_on(vault.check_rotation(&key)),
        block_on(vault.rotate_key(&key)).map(drop),
        block_on(vault.set_rotation(&key, AutoRotation::Default)),
    ] {
        let error = refused.unwrap_err();
        assert!(error.kind() == State && error.message().contains("was imported"), "{error}");
    }
    assert_eq!(block_on(server.vault().describe(&key)).unwrap().latest_version, 1);
}

/// As OpenBao tells it.
#[test]
fn a_key_that_is_soft_deleted_is_told_as_suspended_and_not_changed() {
    let Some(server) = Server::shared() else { return };
    let key = server.key();
    let between = passing(&server, |_, mut answer| {
        answer.1["data"]["soft_deleted"] = json!(true);
        answer.into()
    });
    let vault = at(&between.url()).build();
    let described = block_on(vault.describe_key(&key)).unwrap();
    assert_eq!((described.state, described.versions[0].state), (KeyState::Suspended, KeyState::Suspended));
    for refused in [
        block_on(vault.rotate_key(&key)).map(drop),
        block_on(vault.check_rotation(&key)),
        block_on(vault.set_rotation(&key, AutoRotation::Default)),
        block_on(vault.change_key(&key, None, KeyChange::State(KeyState::Active))).map(drop),
        block_on(vault.change_key(&key, Some("1"), KeyChange::State(KeyState::Destroyed))).map(drop),
        block_on(vault.restore_key(&key)).map(drop),
        block_on(vault.trim_below(&key, 1)).map(drop),
    ] {
        let error = refused.unwrap_err();
        assert!(error.kind() == State && error.message().contains("soft-delete-restore"), "{error}");
    }
    // That it is deleted for good takes what it takes of others.
    let error = block_on(vault.change_key(&key, None, KeyChange::State(KeyState::Destroyed))).unwrap_err();
    assert!(error.kind() == State && error.message().contains("deletion_allowed"), "{error}");
}

#[test]
fn an_answer_about_another_key_or_of_numbers_that_cannot_be_is_refused() {
    let Some(server) = Server::shared() else { return };
    let key = server.key();
    for (field, value) in [
        ("name", json!("another")),
        ("latest_version", json!(0)),
        ("latest_version", json!(4_294_967_295_u32)),
        ("min_decryption_version", json!(2)),
        ("exportable", json!(null)),
        ("derived", json!("no")),
    ] {
        let between = passing(&server, move |_, mut answer| {
            answer.1["data"][field] = value.clone();
            answer.into()
        });
        let error = block_on(at(&between.url()).build().describe_key(&key)).unwrap_err();
        assert_eq!(error.kind(), Protocol, "{field}: {error}");
    }
    for names in [json!(["a", "a"]), json!(["a/b"]), json!(["../sys"]), json!("a")] {
        let between =
            HttpServer::answering(move |_| Answer::json(200, json!({"data": {"keys": names}}).to_string()));
        let error = block_on(at(&between.url()).build().list_keys(None)).unwrap_err();
        assert_eq!(error.kind(), Protocol, "{error}");
    }
}

/// Each operation with its own policy, and with that of the others alone.
#[test]
fn policies_of_least_privilege_suffice_and_what_lacks_is_named() {
    let Some(server) = Server::shared() else { return };
    let mount = mount(&server);
    let as_token = |rules: &[(&str, &str)]| {
        let rule = |(path, can): &(&str, &str)| {
            format!("path \"{mount}/{path}\" {{ capabilities = [\"{can}\"] }}\n")
        };
        let policy: String = rules.iter().map(rule).collect();
        server.builder().token(server.token(&policy, &json!({}))).mount(&mount).build()
    };
    let read = ("keys/+", "read");
    let root = server.builder().mount(&mount).build();
    let new_key = || block_on(root.create_key(&NewKey::named(fresh_name()))).unwrap().uri;
    let rotated = || {
        let key = new_key();
        block_on(root.rotate_key(&key)).unwrap();
        key
    };
    let destroy = KeyChange::State(KeyState::Destroyed);

    let reads = as_token(&[read]);
    let key = rotated();
    block_on(reads.describe_key(&key)).unwrap();
    block_on(reads.check_rotation(&key)).unwrap();
    block_on(reads.check_change(&key, Some("1"), destroy)).unwrap();
    block_on(reads.check_new_key(&NewKey::named(fresh_name()))).unwrap();
    for (error, needs) in [
        (block_on(reads.list_keys(None)).map(drop), "`list` on MOUNT/keys"),
        (block_on(reads.create_key(&NewKey::named("new"))).map(drop), "`update` on MOUNT/keys/new"),
        (block_on(reads.rotate_key(&key)).map(drop), "`update` on MOUNT/keys/KEY/rotate"),
        (block_on(reads.change_key(&key, Some("1"), destroy)).map(drop), "`update` on MOUNT/keys/KEY/config"),
        (block_on(reads.set_rotation(&key, AutoRotation::Off)), "`update` on MOUNT/keys/KEY/config"),
        (block_on(reads.allow_deletion(&key, true)).map(drop), "`update` on MOUNT/keys/KEY/config"),
    ] {
        let (error, needs) =
            (error.unwrap_err(), needs.replace("MOUNT", &mount).replace("KEY", server::name(&key)));
        assert!(error.kind() == AccessDenied && error.message().contains(&needs), "{needs}: {error}");
    }

    let lists = as_token(&[read, ("keys", "list")]);
    assert!(!block_on(all_keys(&lists)).unwrap().is_empty());
    // A list has what the caller may look at.
    assert!(block_on(all_keys(&as_token(&[("keys", "list")]))).unwrap().is_empty());
    // `read` and `update` on one path are one rule there.
    let creates = server
        .token(&format!("path \"{mount}/keys/+\" {{ capabilities = [\"read\", \"update\"] }}"), &json!({}));
    let creates = server.builder().token(creates).mount(&mount).build();
    block_on(creates.create_key(&NewKey::named(fresh_name()))).unwrap();
    block_on(as_token(&[read, ("keys/+/rotate", "update")]).rotate_key(&key)).unwrap();
    let changes = as_token(&[read, ("keys/+/config", "update")]);
    block_on(changes.change_key(&key, Some("1"), destroy)).unwrap();
    block_on(changes.set_rotation(&key, AutoRotation::Default)).unwrap();
    block_on(changes.allow_deletion(&key, true)).unwrap();
    let trims = as_token(&[read, ("keys/+/config", "update"), ("keys/+/trim", "update")]);
    block_on(trims.trim_below(&key, 2)).unwrap();
    let deletes = server
        .token(&format!("path \"{mount}/keys/+\" {{ capabilities = [\"read\", \"delete\"] }}"), &json!({}));
    let deletes = server.builder().token(deletes).mount(&mount).build();
    block_on(deletes.change_key(&key, None, destroy)).unwrap();
    assert_eq!(block_on(root.describe_key(&key)).unwrap_err().kind(), NotFound);
}

/// A Transit of this test alone.
pub(crate) fn mount(server: &Server) -> String {
    let mount = fresh_name();
    server.does("POST", &format!("sys/mounts/{mount}"), &json!({"type": "transit"}));
    mount
}

struct Keys {
    vault: Arc<HashiVault>,
    mount: String,
    options: &'static [(&'static str, &'static str)],
}

impl AdminBackend for Keys {
    fn admin(&self) -> Arc<dyn KeyAdmin> {
        self.vault.clone()
    }

    fn provider(&self) -> Arc<dyn KeyProvider> {
        self.vault.clone()
    }

    fn new_key(&self) -> NewKey {
        self.options.iter().fold(NewKey::named(fresh_name()), |new, (name, value)| new.option(*name, *value))
    }

    fn unknown_key(&self) -> KeyUri {
        KeyUri::parse(&format!("hashivault://{}/nobody-made-it", self.mount)).unwrap()
    }

    fn block_on(&self, task: Task<'_>) {
        RUNTIME.block_on(task);
    }
}
