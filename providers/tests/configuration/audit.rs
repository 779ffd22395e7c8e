//! `[audit]`: what is done through the key stores of a configuration is recorded, or not done.

use std::path::Path;

use envelope_audit::{Filter, Log, LogOptions, Outcome, Record, VerifyError, read};
use envelope_policy::{Actor, ActorKind, Denied, Operation};
use envelope_sdk::http::find_cause;

use super::*;

/// A place with a log under its key.
fn place() -> Place {
    let place = Place::new(&["main"]);
    let keyring = place.providers(KEYS).keyring().unwrap();
    block_on(Log::create(&place.file("log"), &Envelope::new(keyring), LogOptions::new("creator"))).unwrap();
    place
}

fn audited(place: &Place, more: &str) -> Builder {
    place.builder(&format!("{KEYS}\n[audit]\nfile = {:?}\n{more}", place.file("log")))
}

fn records(log: &Path) -> Vec<Record> {
    let mut records = Vec::new();
    read(log, &Filter::new(), |record, _| {
        if !record.is_of_the_log() && record.entry.operation != "config" {
            records.push(record.clone());
        }
        Ok::<(), VerifyError>(())
    })
    .unwrap();
    records
}

fn told(log: &Path) -> Vec<String> {
    let said = |record: &Record| format!("{} {}", record.entry.operation, record.entry.outcome.name());
    records(log).iter().map(said).collect()
}

const KEYS: &str = "keys = ['local:main']\n[local]\nkeystore = 'KEYSTORE'";

#[test]
fn what_keyrings_and_envelopes_do_is_recorded_and_the_keystore_is_opened_once_for_both() {
    let place = place();
    let secrets = Arc::new(Counting::default());
    let builder = audited(&place, "actor = 'payroll'\nshow-values = ['tenant']");
    let providers = builder.secrets(Arc::clone(&secrets) as Arc<dyn Secrets>).build().unwrap();
    let envelope = providers.audited(Envelope::new(providers.keyring().unwrap()));
    assert_eq!((secrets.asked(), providers.audit().unwrap().opened().is_some()), (0, false));
    let context = EncryptionContext::new().with("tenant", "acme").with("patient", "Jane");
    let sealed = block_on(envelope.encrypt(b"data", &context)).unwrap();
    assert_eq!(block_on(envelope.decrypt(&sealed, &context)).unwrap(), b"data");
    let other = EncryptionContext::new().with("tenant", "other");
    let error = block_on(envelope.decrypt(&sealed, &other)).unwrap_err();
    assert!(matches!(error, DecryptError::NotAuthentic), "{error}");
    let rewrapped = block_on(envelope.rewrap(&sealed, &context)).unwrap();
    let reencrypted = block_on(envelope.reencrypt(&rewrapped, &context)).unwrap();
    assert_eq!(secrets.asked(), 1);
    let records = records(&place.file("log"));
    let verbs: Vec<_> = records.iter().filter(|record| !record.entry.operation.ends_with("_dek")).collect();
    let said: Vec<_> = verbs.iter().map(|record| (&*record.entry.operation, record.entry.outcome)).collect();
    let (ok, failed) = (Outcome::Ok, Outcome::Failed);
    let expected = [("encrypt", ok), ("decrypt", ok), ("decrypt", failed), ("rewrap", ok), ("reencrypt", ok)];
    assert_eq!(said, expected);
    let id = |bytes: &[u8]| *Envelope::inspect(bytes).unwrap().envelope_id();
    for record in &verbs[..4] {
        assert_eq!(record.entry.envelope, Some(id(&sealed)));
        assert_eq!(record.entry.context.len(), 1, "what is not listed is not recorded");
    }
    assert_eq!((verbs[2].entry.error.as_deref(), verbs[3].entry.generation), (Some("unauthentic"), Some(1)));
    assert_eq!(verbs[4].entry.envelope, Some(id(&reencrypted)));
    assert!(records.iter().all(|record| record.entry.actor.as_deref() == Some("payroll")));
    let wraps = records.iter().filter(|record| record.entry.operation.ends_with("_dek")).count();
    assert!(wraps >= 5, "{records:?}");
}

#[test]
fn a_log_that_is_not_there_lets_nothing_be_done_unless_the_configuration_says_so() {
    let place = Place::new(&["main"]);
    let sealed = encrypt(place.providers(KEYS).keyring().unwrap());
    let refused = audited(&place, "").build().unwrap().keyring().unwrap();
    let error = decrypt(refused, &sealed).unwrap_err().to_string();
    assert!(
        error.contains("nothing was done, since it cannot be recorded: there is no audit log"),
        "{error}"
    );
    let providers = audited(&place, "if-unwritable = 'go-on'").build().unwrap();
    assert_eq!(decrypt(providers.keyring().unwrap(), &sealed).unwrap(), b"data");
    assert!(!place.file("log").exists(), "nobody begins a log by writing");
}

#[test]
fn what_the_policy_denies_is_denied_with_a_log_and_without_and_recorded_with_its_rule() {
    let place = place();
    let policy = place.file("policy.toml");
    fs::write(&policy, "version = 1\n[[rule]]\nname = 'nobody'\neffect = 'deny'\nactor = ['mcp:*']").unwrap();
    fs::set_permissions(&policy, Permissions::from_mode(0o600)).unwrap();
    let client = Actor::new(ActorKind::Mcp, "client").unwrap();
    let governed = format!("[policy]\nfile = {policy:?}");
    let with = audited(&place, &governed).actor(client.clone()).build().unwrap();
    let without = place.builder(&format!("{KEYS}\n{governed}")).actor(client).build().unwrap();
    let key = KeyUri::parse("local:main").unwrap();
    for providers in [&with, &without] {
        for keys in [&[][..], &[&key]] {
            let denied = block_on(providers.check(Operation::Inspect, keys)).unwrap_err();
            assert_eq!(find_cause::<Denied>(&denied).unwrap().rule.as_deref(), Some("nobody"));
        }
        let keyring = providers.keyring_to_encrypt(&[]).unwrap();
        block_on(Envelope::new(keyring).encrypt(b"data", &EncryptionContext::new())).unwrap_err();
    }
    let log = place.file("log");
    let records = records(&log);
    assert_eq!(told(&log), ["inspect denied", "inspect denied", "wrap_dek denied"]);
    for record in &records {
        let entry = &record.entry;
        assert_eq!((entry.rule.as_deref(), entry.actor.as_deref()), (Some("nobody"), Some("mcp:client")));
        let known = with.policy().unwrap().current().unwrap().id().to_string();
        assert_eq!(entry.detail.get("policy"), Some(&known));
    }
}

#[test]
fn words_of_the_table_that_cannot_be_are_refused() {
    let place = Place::new(&["main"]);
    for (table, what) in [
        ("file = 'log'", "[audit]: `file` is a path from / on"),
        ("actor = 'payroll'", "[audit]: `file` is missing"),
        ("file = '/log'\nactor = ''", "[audit]: `actor` has 1 to 1024 bytes"),
        ("file = '/log'\nif-unwritable = 'later'", "unknown word …, expected `fail` or `go-on`"),
        ("file = '/log'\nsegment-age = '0s'", "it must be a time such as"),
        (
            "file = '/log'\nsegment-bytes = 0",
            "[audit]: `segment-bytes` is 65536, what one record may have, or more",
        ),
        ("file = '/log'\nsegment-bytes = 65535", "`segment-bytes` is 65536"),
        ("file = '/log'\nsinks = ['paper']", "unknown word …, expected one of"),
        ("files = '/log'", "unknown field `files`"),
    ] {
        let error = place.builder(&format!("[audit]\n{table}")).build().err().expect(table).to_string();
        assert!(error.contains(what), "{table}: {error}");
    }
    let named = place.builder("[audit]\nactor = 'payroll'").audit_file("log").build().unwrap();
    assert_eq!(named.audit().unwrap().path(), Path::new("log"));
    let off = place.builder("[audit]\nfile = '/log'").without_audit().build().unwrap();
    assert!(off.audit().is_none());
}
