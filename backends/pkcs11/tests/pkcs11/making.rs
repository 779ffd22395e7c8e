//! Keys are made so that nobody uses one before it is settled that it is the one.

use std::{
    env,
    fs::File,
    io::{BufRead, BufReader, Write},
    path::PathBuf,
    pin::pin,
    process::{Child, Command, Stdio},
    task::{Context, Waker},
};

use cryptoki::object::{Attribute, CertificateType, ObjectClass, ObjectHandle};
use envelope_sdk::{
    KeyChange,
    KeyState::{Deactivated, Destroyed},
    ProviderErrorKind::{Invalid, Unavailable},
};
use futures_util::future::join_all;

use super::{tokens::LABEL_CHANGES, *};

on_each_token!(
    processes_that_rotate_or_create_at_once_leave_one_key_of_each_version_and_lose_no_wrap,
    objects_of_other_kinds_are_in_the_way_of_no_key,
    a_key_that_is_not_private_is_in_the_way_of_a_version_and_the_dry_run_says_so,
    a_version_whose_making_was_broken_off_is_told_with_the_way_out,
    several_keys_of_one_name_are_told_by_their_ids,
    a_token_that_lets_no_label_be_changed_makes_keys_all_the_same,
    what_a_token_did_before_it_reported_a_fault_is_looked_at,
    changes_that_wait_for_another_program_hold_up_no_wrap,
    changes_that_nobody_waits_for_any_more_are_not_begun,
);

fn labelled(token: &Token, label: &str) -> Vec<ObjectHandle> {
    let keys = [Attribute::Class(ObjectClass::SECRET_KEY), Attribute::Label(label.into())];
    token.session().find_objects(&keys).unwrap()
}

const ROUNDS: usize = 8;

/// Another process that uses the same token, see [`a_racer`].
fn racer(token: &Token) -> Child {
    Command::new(env::current_exe().unwrap())
        .args(["--exact", "making::a_racer", "--nocapture"])
        .env("ENVELOPE_PKCS11_RACER", &token.label)
        .env("ENVELOPE_PKCS11_RACER_MODULE", token.module())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Does nothing, but in the processes that [`racer`] starts.
#[test]
fn a_racer() {
    let Ok(label) = env::var("ENVELOPE_PKCS11_RACER") else { return };
    let module = PathBuf::from(env::var_os("ENVELOPE_PKCS11_RACER_MODULE").unwrap());
    let config = Pkcs11Config::new(module, TokenSelector::label(label)).pin(PinSource::pin(pin(PIN)));
    let provider = Pkcs11Provider::open(config.sessions(1)).unwrap();
    let key = provider.key_uri("db").unwrap();
    block_on(provider.describe_key(&key)).unwrap();
    println!("ready");
    // All begin at once.
    std::io::stdin().read_line(&mut String::new()).unwrap();
    for round in 0..ROUNDS {
        if block_on(provider.create_key(&NewKey::named(format!("new-{round}")))).is_ok() {
            println!("created {round}");
        }
        match block_on(provider.rotate_key(&key)) {
            Ok(_) => println!("rotated"),
            Err(error) => println!("refused: {error}"),
        }
    }
}

fn processes_that_rotate_or_create_at_once_leave_one_key_of_each_version_and_lose_no_wrap(token: &Token) {
    let test = "processes_that_rotate_or_create_at_once_leave_one_key_of_each_version_and_lose_no_wrap";
    // SoftHSM may tell nothing of a token while other tests make theirs in the same folder.
    sessions::in_a_child("making", test, token, race);
}

fn race(token: &Token) {
    let (provider, key) = with_key(token);
    let mut racers = Vec::new();
    let mut wraps = Vec::new();
    let said = std::thread::scope(|scope| {
        let mut read = Vec::new();
        for _ in 0..3 {
            // One by one: SoftHSM may tell one process nothing of a token while another logs in.
            let mut racer = racer(token);
            let mut lines = BufReader::new(racer.stdout.take().unwrap()).lines();
            assert!(lines.by_ref().any(|line| line.unwrap() == "ready"), "the racer does not start");
            read.push(lines);
            racers.push(racer);
        }
        for racer in &mut racers {
            racer.stdin.take().unwrap().write_all(b"\n").unwrap();
        }
        let read: Vec<_> = read
            .into_iter()
            .map(|lines| scope.spawn(|| lines.map(Result::unwrap).collect::<Vec<_>>()))
            .collect();
        while !read.iter().all(std::thread::ScopedJoinHandle::is_finished) {
            let dek = dek();
            // A new provider remembers nothing. While others write, SoftHSM may not answer.
            if let Ok(wrapped) = wrap(&open(token), &key, &dek) {
                wraps.push((dek, wrapped));
            }
        }
        read.into_iter().flat_map(|lines| lines.join().unwrap()).collect::<Vec<_>>()
    });
    for mut racer in racers {
        assert!(racer.wait().unwrap().success(), "{said:#?}");
    }
    let done = said.iter().filter(|line| *line == "rotated").count();
    println!("{:?}: {done} rotations, {} wraps: {said:?}", token.kind, wraps.len());
    assert!(done > 0, "{said:#?}");
    let described = block_on(provider.describe_key(&key)).unwrap();
    let versions: Vec<_> = described.versions.iter().map(|version| version.version.clone()).collect();
    let expected: Vec<_> = (1..=done + 1).map(|version| version.to_string()).collect();
    assert_eq!(versions, expected, "{said:#?}");
    let mut made = 0;
    for round in 0..ROUNDS {
        match said.iter().filter(|line| **line == format!("created {round}")).count() {
            // All gave way.
            0 => continue,
            1 => made += 1,
            several => panic!("{round} was created {several} times: {said:#?}"),
        }
        wrap(&provider, &provider.key_uri(&format!("new-{round}")).unwrap(), &dek()).unwrap();
    }
    assert!(made > 0, "{said:#?}");
    assert!(!wraps.is_empty());
    for (dek, wrapped) in wraps {
        assert_eq!(unwrap(&provider, &wrapped).unwrap().expose(), dek.expose());
    }
    // Nothing is left of those that gave way.
    assert_eq!(list(&provider).len(), made + 1);
}

fn objects_of_other_kinds_are_in_the_way_of_no_key(token: &Token) {
    let session = token.session();
    for label in ["db", "db#v2", "db#v1-new", "db#v2-new"] {
        let object = |class, more: &[Attribute]| {
            let usual = [Attribute::Class(class), Attribute::Token(true), Attribute::Label(label.into())];
            session.create_object(&[&usual[..], more].concat()).unwrap();
        };
        object(ObjectClass::DATA, &[Attribute::Value(b"a note".to_vec())]);
        let public = [
            Attribute::Token(true),
            Attribute::Private(false),
            Attribute::Label(label.into()),
            Attribute::ModulusBits(2048.into()),
        ];
        let private = [Attribute::Token(true), Attribute::Private(true), Attribute::Label("other".into())];
        let mechanism = cryptoki::mechanism::Mechanism::RsaPkcsKeyPairGen;
        session.generate_key_pair(&mechanism, &public, &private).unwrap();
        if token.kind == Kind::SoftHsm {
            let certificate = [
                Attribute::CertificateType(CertificateType::X_509),
                Attribute::Subject(b"subject".to_vec()),
                Attribute::Value(b"certificate".to_vec()),
            ];
            object(ObjectClass::CERTIFICATE, &certificate);
        }
    }
    let provider = open(token);
    block_on(provider.check_new_key(&NewKey::named("db"))).unwrap();
    let key = create(&provider, "db").uri;
    block_on(provider.check_rotation(&key)).unwrap();
    block_on(provider.rotate_key(&key)).unwrap();
    wrap(&provider, &key, &dek()).unwrap();
}

fn a_key_that_is_not_private_is_in_the_way_of_a_version_and_the_dry_run_says_so(token: &Token) {
    let (provider, key) = with_key(token);
    let session = token.session();
    for label in ["db#v2", "taken"] {
        token.generate(&session, label, &[Attribute::Private(false), Attribute::Id(vec![7])]);
    }
    let new = NewKey::named("taken");
    let says = |label: &str| {
        format!("an AES key already with the label \"{label}\" and id=%07, which is not private")
    };
    refused(block_on(provider.check_new_key(&new)), Invalid, &says("taken"));
    refused(block_on(provider.create_key(&new)), Invalid, &says("taken"));
    refused(block_on(provider.check_rotation(&key)), Invalid, &says("db#v2"));
    refused(block_on(provider.rotate_key(&key)), Invalid, &says("db#v2"));
    let [handle] = labelled(token, "db#v2")[..] else { panic!("it stays there") };
    session.destroy_object(handle).unwrap();
    block_on(provider.rotate_key(&key)).unwrap();
}

fn a_version_whose_making_was_broken_off_is_told_with_the_way_out(token: &Token) {
    let (provider, key) = with_key(token);
    token.generate(&token.session(), "db#v2-new", &[Attribute::Id(vec![7])]);
    let says = "deactivate and then destroy the key with the label \"db#v2-new\" and id=%07, which has wrapped nothing";
    refused(block_on(provider.check_rotation(&key)), Invalid, says);
    refused(block_on(provider.rotate_key(&key)), Invalid, says);
    assert_eq!(labelled(token, "db#v2"), []);
    let claim = provider.key_uri("db#v2-new").unwrap();
    refused(wrap(&provider, &claim, &dek()), Invalid, "it names a version that is being made");
    let claim = KeyUri::parse(&format!("{claim};id=%07")).unwrap();
    assert!(list(&provider).iter().any(|listed| listed.uri == claim));
    for state in [Deactivated, Destroyed] {
        block_on(provider.change_key(&claim, None, KeyChange::State(state))).unwrap();
    }
    block_on(provider.rotate_key(&key)).unwrap();
}

fn several_keys_of_one_name_are_told_by_their_ids(token: &Token) {
    let (provider, key) = with_key(token);
    let session = token.session();
    for id in [1, 2] {
        token.generate(&session, "db#v2", &[Attribute::Id(vec![id])]);
    }
    let says = "several keys of the token have this name, with id=%01, id=%02: name one by its id= as well";
    for outcome in [
        wrap(&provider, &key, &dek()).map(drop),
        block_on(provider.rotate_key(&key)).map(drop),
        block_on(provider.check_rotation(&key)),
    ] {
        refused(outcome, Invalid, says);
    }
    // The way out.
    let other = KeyUri::parse(&format!("{};id=%02", provider.key_uri("db#v2").unwrap())).unwrap();
    for state in [Deactivated, Destroyed] {
        block_on(provider.change_key(&other, None, KeyChange::State(state))).unwrap();
    }
    assert_eq!(wrap(&provider, &key, &dek()).unwrap().key_version(), "2");
}

/// The token behind a module whose `C_SetAttributeValue` of a label returns `code`.
fn behind(token: &Token, folder: &tempfile::TempDir, code: u32, does: bool) -> Pkcs11Provider {
    let module = folder.path().join("module.so");
    let (returns, does) = (format!("-DRETURNS={code}"), format!("-DDOES={}", u8::from(does)));
    tokens::in_front_of(&token.module(), LABEL_CHANGES, &[returns, does], &module);
    let pin = PinSource::pin(pin(PIN));
    Pkcs11Provider::open(Pkcs11Config::new(module, TokenSelector::label(&token.label)).pin(pin)).unwrap()
}

fn a_token_that_lets_no_label_be_changed_makes_keys_all_the_same(token: &Token) {
    const READ_ONLY: u32 = 0x10;
    const OK: u32 = 0;
    for (name, code) in [("db", READ_ONLY), ("again", OK)] {
        let folder = tempfile::tempdir().unwrap();
        let provider = behind(token, &folder, code, false);
        let key = create(&provider, name).uri;
        assert_eq!(states(&block_on(provider.rotate_key(&key)).unwrap()).len(), 2);
        assert_eq!(wrap(&provider, &key, &dek()).unwrap().key_version(), "2");
    }
    assert_eq!(list(&open(token)).len(), 2);
}

/// Where it was made, somebody else may have wrapped under it by then.
fn what_a_token_did_before_it_reported_a_fault_is_looked_at(token: &Token) {
    const DEVICE_ERROR: u32 = 0x30;
    let (provider, key) = with_key(token);
    let folder = tempfile::tempdir().unwrap();
    let does_nothing = behind(token, &folder, DEVICE_ERROR, false);
    refused(block_on(does_nothing.rotate_key(&key)), Unavailable, "the token reports a fault");
    assert_eq!((labelled(token, "db#v2"), labelled(token, "db#v2-new")), (vec![], vec![]));
    let folder = tempfile::tempdir().unwrap();
    let does_it = behind(token, &folder, DEVICE_ERROR, true);
    assert_eq!(states(&block_on(does_it.rotate_key(&key)).unwrap()).len(), 2);
    assert_eq!(wrap(&provider, &key, &dek()).unwrap().key_version(), "2");
}

/// Whoever may read the module may hold its lock.
fn changes_that_wait_for_another_program_hold_up_no_wrap(token: &Token) {
    const OK: u32 = 0;
    let folder = tempfile::tempdir().unwrap();
    let provider = behind(token, &folder, OK, true);
    let key = create(&provider, "db").uri;
    let theirs = File::open(folder.path().join("module.so")).unwrap();
    theirs.lock().unwrap();
    // More than there are sessions.
    let mut rotations = pin!(join_all((0..8).map(|_| provider.rotate_key(&key))));
    assert!(rotations.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    assert_eq!(wrap(&provider, &key, &dek()).unwrap().key_version(), "1");
    drop(theirs);
    let rotated: Result<Vec<_>, _> = block_on(rotations).into_iter().collect();
    assert_eq!(rotated.unwrap().len(), 8);
    assert_eq!(wrap(&provider, &key, &dek()).unwrap().key_version(), "9");
}

/// Who gave up may have called again.
fn changes_that_nobody_waits_for_any_more_are_not_begun(token: &Token) {
    const OK: u32 = 0;
    let folder = tempfile::tempdir().unwrap();
    let provider = behind(token, &folder, OK, true);
    let key = create(&provider, "db").uri;
    let theirs = File::open(folder.path().join("module.so")).unwrap();
    theirs.lock().unwrap();
    {
        let mut rotations = pin!(join_all((0..5).map(|_| provider.rotate_key(&key))));
        assert!(rotations.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        // By now they are in the queue: this came after them.
        wrap(&provider, &key, &dek()).unwrap();
        assert!(rotations.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    }
    drop(theirs);
    let versions = states(&block_on(provider.rotate_key(&key)).unwrap()).len();
    // One may have begun.
    assert!(versions <= 3, "{versions}");
}
